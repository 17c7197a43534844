use etherparse::{Ipv6FragmentHeader, Ipv6RawExtHeaderSlice};
use netdev::Pool;
use proptest::collection::vec;
use proptest::prelude::*;
use smoltcp::wire::{
    Ipv6ExtHeader, Ipv6FragmentHeader as SmoltcpFragment, Ipv6OptionRepr, Ipv6OptionRouterAlert,
    Ipv6OptionsIterator, Ipv6Packet,
};

use super::*;

const A: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

const FIELDS: Fields = Fields {
    source: A,
    destination: ALL_NODES,
    next_header: ICMP,
    hop_limit: 255,
    traffic_class: 0,
    flow_label: 0,
};

fn packet(payload: &[u8]) -> Packet {
    let mut packet = Pool::new(1, 300).take().unwrap();
    packet.append(payload.len()).unwrap().copy_from_slice(payload);
    packet
}

proptest! {
    #[test]
    fn what_is_emitted_is_what_is_parsed_here_and_by_others(
        source: [u8; 16], destination: [u8; 16], next_header: u8, hop_limit: u8,
        traffic_class: u8, flow_label in 0u32..1 << 20, payload in vec(any::<u8>(), 0..100),
    ) {
        let (source, destination) = (source.into(), destination.into());
        let fields =
            Fields { source, destination, next_header, hop_limit, traffic_class, flow_label };
        let mut packet = packet(&payload);
        prop_assert!(Header::emit(&mut packet, &fields));

        let header = Header::parse(packet.bytes()).unwrap();
        prop_assert_eq!((header.source(), header.destination()), (source, destination));
        prop_assert_eq!((header.next_header, header.hop_limit), (next_header, hop_limit));
        prop_assert_eq!(header.traffic_class(), traffic_class);
        prop_assert_eq!(header.flow_label(), flow_label);
        prop_assert_eq!(header.payload_len(), payload.len());

        let (theirs, rest) = etherparse::Ipv6Header::from_slice(packet.bytes()).unwrap();
        prop_assert_eq!(theirs.source_addr(), source);
        prop_assert_eq!(theirs.destination_addr(), destination);
        prop_assert_eq!((theirs.next_header.0, theirs.hop_limit), (next_header, hop_limit));
        prop_assert_eq!(theirs.traffic_class, traffic_class);
        prop_assert_eq!(theirs.flow_label.value(), flow_label);
        prop_assert_eq!(usize::from(theirs.payload_length), payload.len());
        prop_assert_eq!(rest, &payload[..]);

        let theirs = Ipv6Packet::new_checked(packet.bytes()).unwrap();
        prop_assert_eq!((theirs.src_addr(), theirs.dst_addr()), (source, destination));
        prop_assert_eq!(u8::from(theirs.next_header()), next_header);
        prop_assert_eq!(theirs.payload(), &payload[..]);
    }

    #[test]
    fn smoltcp_accepts_the_same_headers(mut bytes in vec(any::<u8>(), 0..100), mend: bool) {
        if mend && bytes.len() > 5 {
            bytes[0] = 0x60 | bytes[0] & 0x0f;
            bytes[4] = 0;
            bytes[5] &= 0x7f;
        }
        let theirs = Ipv6Packet::new_checked(&bytes[..]).is_ok_and(|packet| packet.version() == 6);
        prop_assert_eq!(Header::parse(&bytes).is_ok(), theirs);
        prop_assert_eq!(Header::parse_mut(&mut bytes).is_ok(), theirs);
    }

    #[test]
    fn a_fragment_header_is_read_as_others_read_it(
        next_header: u8, eighths in 0usize..1 << 13, more: bool, identification: u32,
    ) {
        let header = Fragment::new(next_header, eighths * 8, more, identification);
        let bytes = header.as_bytes();
        prop_assert_eq!(bytes.len(), FRAGMENT_LEN);

        let parsed = Fragment::parse(bytes).unwrap();
        prop_assert_eq!((parsed.offset(), parsed.more()), (eighths * 8, more));
        prop_assert_eq!(parsed.next_header, next_header);
        prop_assert_eq!(parsed.identification.get(), identification);

        let (theirs, _) = Ipv6FragmentHeader::from_slice(bytes).unwrap();
        prop_assert_eq!(theirs.next_header.0, next_header);
        prop_assert_eq!(usize::from(theirs.fragment_offset.value()), eighths);
        prop_assert_eq!((theirs.more_fragments, theirs.identification), (more, identification));

        // Smoltcp's is what is behind the first two bytes.
        let theirs = SmoltcpFragment::new_checked(&bytes[2..]).unwrap();
        prop_assert_eq!(usize::from(theirs.frag_offset()), eighths);
        prop_assert_eq!((theirs.more_frags(), theirs.ident()), (more, identification));
    }

    #[test]
    fn others_accept_the_same_extension_headers(mut bytes in vec(any::<u8>(), 0..100), mend: bool) {
        if mend && bytes.len() > 1 {
            bytes[1] %= 16;
        }
        let theirs = Ipv6RawExtHeaderSlice::from_slice(&bytes).ok();
        let theirs = theirs.map(|header| (header.next_header().0, header.slice().len()));
        let options = Options::parse(&bytes).map(|header| (header.next_header, header.len()));
        let routing = Routing::parse(&bytes).map(|header| (header.next_header, header.len()));
        prop_assert_eq!(options, theirs);
        prop_assert_eq!(options, routing);
        prop_assert_eq!(options.is_some(), Ipv6ExtHeader::new_checked(&bytes[..]).is_ok());
    }

    #[test]
    fn smoltcp_reads_the_same_options(
        mut bytes in vec(any::<u8>(), 0..60), kinds in vec((0u8..8, 0u8..10), 0..6),
    ) {
        // One in two is a chain of options that mostly fit.
        if let Some((&(first, _), _)) = kinds.split_first() && first % 2 == 0 {
            bytes.clear();
            for (kind, len) in kinds {
                bytes.extend([kind, len]);
                bytes.extend((0..len).map(|_| 0xaa));
            }
        }
        let mut theirs = Vec::new();
        for option in Ipv6OptionsIterator::new(&bytes) {
            match option {
                Ok(Ipv6OptionRepr::Pad1 | Ipv6OptionRepr::PadN(_)) => {}
                Ok(Ipv6OptionRepr::RouterAlert(value)) => {
                    theirs.push(Ok((ROUTER_ALERT, u16::from(value).to_be_bytes().to_vec())));
                }
                Ok(Ipv6OptionRepr::Unknown { type_, data, .. }) => {
                    theirs.push(Ok((type_.into(), data.to_vec())));
                }
                Ok(option) => panic!("{option}"),
                Err(_) => theirs.push(Err(Malformed::Truncated)),
            }
        }
        let ours: Vec<_> = options(&bytes).map(|option| option.map(|option| {
            assert_eq!(bytes[option.at], option.kind);
            (option.kind, option.data.to_vec())
        })).collect();
        // Smoltcp stops at a router alert of a wrong length, whose reader is to see to that here,
        // and does not look at padding.
        let stop = ours.iter().position(|option| match option {
            Ok((kind, data)) => *kind == ROUTER_ALERT && data.len() != 2,
            Err(wrong) => *wrong == Malformed::Padding,
        });
        if let Some(stop) = stop {
            prop_assert_eq!(&ours[..stop], &theirs[..stop]);
            prop_assert!(ours[stop].is_err() || theirs.len() == stop + 1);
        } else {
            prop_assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn what_is_wrong_with_a_header_is_told() {
    let mut whole = packet(b"payload");
    assert!(Header::emit(&mut whole, &FIELDS));
    let mut bytes = whole.bytes().to_vec();
    assert_eq!(Header::parse(&bytes[..39]).err(), Some(Malformed::Truncated));
    assert_eq!(Header::parse(&bytes[..46]).err(), Some(Malformed::Length));
    assert!(Header::parse(&bytes).is_ok());
    bytes.push(0);
    assert!(Header::parse(&bytes).is_ok(), "what is behind it is the frame's padding");
    bytes[0] = 0x45;
    assert_eq!(Header::parse(&bytes).err(), Some(Malformed::Version));
    assert_eq!(Header::parse_mut(&mut bytes).err(), Some(Malformed::Version));
}

#[test]
fn there_is_no_header_without_headroom() {
    let mut full = packet(b"payload");
    let headroom = full.headroom();
    full.prepend(headroom - HEADER_LEN + 1).unwrap();
    assert!(!Header::emit(&mut full, &FIELDS));
}

#[test]
fn a_flow_label_that_is_too_long_leaves_the_rest_alone() {
    let mut packet = packet(b"payload");
    assert!(Header::emit(&mut packet, &Fields { flow_label: u32::MAX, ..FIELDS }));
    let header = Header::parse(packet.bytes()).unwrap();
    assert_eq!((header.traffic_class(), header.flow_label()), (0, 0x000f_ffff));
}

#[test]
fn a_header_can_be_given_another_payload() {
    let mut packet = packet(b"payload");
    assert!(Header::emit(&mut packet, &FIELDS));
    let header = Header::parse_mut(packet.bytes_mut()).unwrap();
    header.set_payload_len(3);
    header.next_header = NO_NEXT_HEADER;
    let header = Header::parse(packet.bytes()).unwrap();
    assert_eq!((header.payload_len(), header.next_header), (3, NO_NEXT_HEADER));
}

#[test]
fn a_fragment_header_that_is_cut_short_is_none() {
    let header = Fragment::new(ICMP, 8, true, 1);
    assert!(Fragment::parse(&header.as_bytes()[..7]).is_none());
}

#[test]
fn padding_is_skipped_and_options_say_where_they_stand() {
    let bytes = [0, 1, 2, 0, 0, 0x3e, 1, 7, 0, 0xc1, 0];
    let first = Opt { at: 5, kind: 0x3e, data: &[7] };
    let second = Opt { at: 9, kind: 0xc1, data: &[] };
    assert!(options(&bytes).eq([Ok(first), Ok(second)]));
}

#[test]
fn padding_has_nothing_in_it_and_is_no_more_than_aligns_to_eight_bytes() {
    let most = [&[0; 7][..], &[0x3e, 0], &[1, 5, 0, 0, 0, 0, 0]].concat();
    assert!(options(&most).eq([Ok(Opt { at: 7, kind: 0x3e, data: &[] })]));
    for bytes in [&[0; 8][..], &[1, 6, 0, 0, 0, 0, 0, 0], &[0, 1, 5, 0, 0, 0, 0, 0], &[1, 1, 9]] {
        assert!(options(bytes).eq([Err(Malformed::Padding)]), "{bytes:?}");
    }
}

#[test]
fn an_option_that_ends_behind_the_header_is_the_last() {
    for bytes in [&[0x3e][..], &[0x3e, 1], &[1, 3, 0, 0], &[0, 0, 1]] {
        assert!(options(bytes).eq([Err(Malformed::Truncated)]), "{bytes:?}");
    }
}

#[test]
fn what_to_do_about_an_option_is_in_its_type() {
    let action = |kind| Opt { at: 0, kind, data: &[] }.action();
    assert_eq!(action(0x3f), Action::Skip);
    assert_eq!(action(0x40), Action::Discard);
    assert_eq!(action(0xbf), Action::ParameterProblem);
    assert_eq!(action(0xc2), Action::ParameterProblemUnlessMulticast);
}

#[test]
fn the_router_alert_of_mld_is_what_smoltcp_knows() {
    let bytes = ROUTER_ALERT_HOP_BY_HOP(ICMP);
    let header = Options::parse(&bytes).unwrap();
    assert_eq!((header.next_header, header.len()), (ICMP, bytes.len()));
    let alert = Opt { at: 0, kind: ROUTER_ALERT, data: &[0, 0] };
    assert!(options(&bytes[2..]).eq([Ok(alert)]));
    let theirs: Vec<_> = Ipv6OptionsIterator::new(&bytes[2..]).map(Result::unwrap).collect();
    let mld = Ipv6OptionRouterAlert::MulticastListenerDiscovery;
    assert_eq!(theirs, [Ipv6OptionRepr::RouterAlert(mld), Ipv6OptionRepr::PadN(0)]);
}

#[test]
fn a_host_has_none_of_the_special_addresses() {
    for special in ["::", "::1", "ff02::1", "::ffff:192.0.2.1"] {
        assert!(!is_host_address(special.parse().unwrap()), "{special}");
    }
    for host in ["fe80::1", "fd00::1", "2001:db8::1", "::2"] {
        assert!(is_host_address(host.parse().unwrap()), "{host}");
    }
}

#[test]
fn groups_are_made_as_in_rfc_4291_and_rfc_2464() {
    let address: Ipv6Addr = "4037::1:800:200e:8c6c".parse().unwrap();
    let group = solicited_node(address);
    assert_eq!(group.to_string(), "ff02::1:ff0e:8c6c");
    assert_eq!(multicast_mac(group).to_string(), "33:33:ff:0e:8c:6c");
    assert_eq!(multicast_mac(ALL_ROUTERS).to_string(), "33:33:00:00:00:02");
}

#[test]
fn scopes_are_those_of_rfc_6724() {
    for (address, expected) in [
        ("ff01::1", 1),
        ("ff02::1", 2),
        ("ff35::1", 5),
        ("ff0e::1", 14),
        ("fe80::1", 2),
        ("febf::1", 2),
        ("fec0::1", 5),
        ("feff::1", 5),
        ("fe00::1", 14),
        ("::1", 2),
        ("fd00::1", 14),
        ("2001:db8::1", 14),
    ] {
        assert_eq!(scope(address.parse().unwrap()), expected, "{address}");
    }
}
