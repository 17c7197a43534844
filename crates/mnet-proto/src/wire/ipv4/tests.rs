use netdev::Pool;
use proptest::prelude::*;

use super::*;

fn packet(payload: &[u8]) -> Packet {
    let mut packet = Pool::new(1, 1000).take().unwrap();
    packet.append(payload.len()).unwrap().copy_from_slice(payload);
    packet
}

const FIELDS: Fields = Fields {
    source: Ipv4Addr::new(10, 0, 0, 1),
    destination: Ipv4Addr::new(10, 0, 0, 2),
    protocol: UDP,
    hop_limit: 64,
    traffic_class: 0,
    identification: 7,
    dont_fragment: false,
    router_alert: false,
};

prop_compose! {
    fn any_fields()(
        source: [u8; 4], destination: [u8; 4], protocol: u8, hop_limit: u8, traffic_class: u8,
        identification: u16, dont_fragment: bool, router_alert: bool,
    ) -> Fields {
        let (source, destination) = (source.into(), destination.into());
        Fields {
            source, destination, protocol, hop_limit, traffic_class,
            identification, dont_fragment, router_alert,
        }
    }
}

proptest! {
    #[test]
    fn what_is_emitted_is_what_is_parsed_here_and_by_etherparse(
        fields in any_fields(), payload in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut packet = packet(&payload);
        prop_assert!(Header::emit(&mut packet, &fields, true));
        let header_len = if fields.router_alert { 24 } else { HEADER_LEN };

        let header = Header::parse(packet.bytes()).unwrap();
        prop_assert_eq!(header.source(), fields.source);
        prop_assert_eq!(header.destination(), fields.destination);
        prop_assert_eq!(header.header_len(), header_len);
        prop_assert_eq!(header.total_len(), header_len + payload.len());
        prop_assert_eq!(header.identification.get(), fields.identification);
        prop_assert_eq!(header.dont_fragment(), fields.dont_fragment);
        prop_assert!(!header.is_fragment());
        prop_assert!(checksum_is_valid(packet.bytes(), header_len));

        let (theirs, rest) = etherparse::Ipv4Header::from_slice(packet.bytes()).unwrap();
        prop_assert_eq!(theirs.calc_header_checksum(), theirs.header_checksum);
        prop_assert_eq!(Ipv4Addr::from(theirs.source), fields.source);
        prop_assert_eq!(Ipv4Addr::from(theirs.destination), fields.destination);
        prop_assert_eq!(theirs.protocol.0, fields.protocol);
        prop_assert_eq!(theirs.time_to_live, fields.hop_limit);
        prop_assert_eq!(theirs.dscp.value() << 2 | theirs.ecn.value(), fields.traffic_class);
        prop_assert_eq!(theirs.identification, fields.identification);
        prop_assert_eq!(theirs.dont_fragment, fields.dont_fragment);
        prop_assert!(!theirs.is_fragmenting_payload());
        let options: &[u8] = if fields.router_alert { &[0x94, 4, 0, 0] } else { &[] };
        prop_assert_eq!(theirs.options.as_slice(), options);
        prop_assert_eq!(rest, &payload[..]);
    }

    #[test]
    fn a_fragment_says_where_it_belongs_here_and_to_etherparse(
        fields in any_fields(), eighths in 0usize..8_000, more: bool,
        payload in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut whole = packet(b"the datagram");
        prop_assert!(Header::emit(&mut whole, &fields, true));
        let original = Header::parse(whole.bytes()).unwrap();
        let mut part = packet(&payload);
        let options = &whole.bytes()[HEADER_LEN..original.header_len()];
        let place = (eighths * 8, more);
        prop_assert!(Header::emit_fragment(&mut part, (original, options), place, true));

        let header = Header::parse(part.bytes()).unwrap();
        prop_assert_eq!(header.header_len(), original.header_len());
        prop_assert_eq!(header.total_len(), original.header_len() + payload.len());
        prop_assert_eq!((header.fragment_offset(), header.more_fragments()), (eighths * 8, more));
        prop_assert_eq!(header.is_fragment(), eighths > 0 || more);

        let (theirs, rest) = etherparse::Ipv4Header::from_slice(part.bytes()).unwrap();
        prop_assert_eq!(theirs.calc_header_checksum(), theirs.header_checksum);
        prop_assert_eq!(Ipv4Addr::from(theirs.source), fields.source);
        prop_assert_eq!(Ipv4Addr::from(theirs.destination), fields.destination);
        prop_assert_eq!(theirs.protocol.0, fields.protocol);
        prop_assert_eq!(theirs.time_to_live, fields.hop_limit);
        prop_assert_eq!(theirs.dscp.value() << 2 | theirs.ecn.value(), fields.traffic_class);
        prop_assert_eq!(theirs.identification, fields.identification);
        prop_assert_eq!(usize::from(theirs.fragment_offset.value()), eighths);
        prop_assert_eq!(theirs.more_fragments, more);
        prop_assert!(!theirs.dont_fragment);
        prop_assert_eq!(theirs.options.as_slice(), options);
        prop_assert_eq!(rest, &payload[..]);
    }

    #[test]
    fn a_header_that_is_made_that_of_a_part_is_as_one_that_is_emitted(
        fields in any_fields(), eighths in 0usize..8_000, more: bool, summed: bool,
        payload in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut whole = packet(b"the datagram");
        let fields = Fields { router_alert: false, ..fields };
        prop_assert!(Header::emit(&mut whole, &fields, true));
        let mut header = *Header::parse(whole.bytes()).unwrap();
        let (mut part, place) = (packet(&payload), (eighths * 8, more));
        prop_assert!(Header::emit_fragment(&mut part, (&header, &[]), place, summed));
        let sum = summed.then(|| header.sum_of_parts());
        header.set_part(place, payload.len() as u16, sum);
        prop_assert_eq!(header.as_bytes(), &part.bytes()[..HEADER_LEN]);

        header.set_whole();
        prop_assert!(header.dont_fragment() && !header.is_fragment());
    }

    #[test]
    fn a_mended_first_fragment_is_the_whole_datagram(
        mut fields in any_fields(), rest in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        fields.dont_fragment = false;
        let mut expected = packet(b"first, 8");
        expected.append(rest.len()).unwrap().copy_from_slice(&rest);
        prop_assert!(Header::emit(&mut expected, &fields, true));

        let mut first = packet(b"first, 8");
        prop_assert!(Header::emit(&mut first, &fields, true));
        first.bytes_mut()[6] |= (MORE_FRAGMENTS >> 8) as u8;
        first.append(rest.len()).unwrap().copy_from_slice(&rest);
        let total_len = first.len() as u16;
        Header::mend(first.bytes_mut(), total_len);
        prop_assert_eq!(first.bytes(), expected.bytes());
    }

    #[test]
    fn smoltcp_accepts_the_same_headers(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..80), mend: bool,
    ) {
        if mend && bytes.len() > 3 {
            bytes[0] = 0x40 | bytes[0] & 0x0f;
            bytes[2] = 0;
        }
        let theirs = smoltcp::wire::Ipv4Packet::new_checked(&bytes[..])
            .is_ok_and(|packet| packet.version() == 4 && packet.header_len() >= 20);
        prop_assert_eq!(Header::parse(&bytes).is_ok(), theirs);
    }

    #[test]
    fn any_bytes_can_be_mended(mut bytes: Vec<u8>, total_len: u16) {
        Header::mend(&mut bytes, total_len);
    }
}

#[test]
fn what_is_wrong_with_a_header_is_told() {
    let mut whole = packet(b"payload");
    assert!(Header::emit(&mut whole, &FIELDS, true));
    let parse = |len: usize, at: usize, byte: u8| {
        let mut bytes = whole.bytes()[..len].to_vec();
        bytes[at] = byte;
        Header::parse(&bytes).err()
    };
    assert_eq!(parse(27, 0, 0x45), None);
    assert_eq!(parse(19, 0, 0x45), Some(Malformed::Truncated));
    assert_eq!(parse(27, 0, 0x65), Some(Malformed::Version));
    assert_eq!(parse(27, 0, 0x44), Some(Malformed::Length), "a header too short");
    assert_eq!(parse(27, 0, 0x47), Some(Malformed::Length), "a header longer than the datagram");
    assert_eq!(parse(26, 0, 0x45), Some(Malformed::Length), "more than there is");
}

#[test]
fn no_fragment_starts_off_the_grid_or_ends_where_no_datagram_does() {
    let mut whole = packet(b"payload");
    assert!(Header::emit(&mut whole, &FIELDS, true));
    let original = Header::parse(whole.bytes()).unwrap();
    let emit = |len: usize, offset| {
        let place = (offset, false);
        Header::emit_fragment(&mut packet(&vec![0; len]), (original, &[]), place, true)
    };
    assert!(!emit(8, 4));
    assert!(!emit(8, 65_536));
    assert!(!emit(8, usize::MAX - 7));
    // 65,515 bytes are the most behind a header.
    assert!(emit(3, 65_512));
    assert!(!emit(4, 65_512));
}

#[test]
fn there_is_no_header_without_headroom() {
    let mut whole = packet(b"payload");
    assert!(Header::emit(&mut whole, &FIELDS, true));
    let original = *Header::parse(whole.bytes()).unwrap();
    let mut full = packet(b"payload");
    let headroom = full.headroom();
    full.prepend(headroom - 23).unwrap();
    assert!(!Header::emit(&mut full, &Fields { router_alert: true, ..FIELDS }, true));
    full.prepend(4).unwrap();
    assert!(!Header::emit(&mut full, &FIELDS, true));
    assert!(!Header::emit_fragment(&mut full, (&original, &[]), (0, true), true));
}

#[test]
fn groups_have_the_addresses_of_rfc_1112() {
    let mac = |a, b, c, d| multicast_mac(Ipv4Addr::new(a, b, c, d)).to_string();
    assert_eq!(mac(224, 0, 0, 1), "01:00:5e:00:00:01");
    assert_eq!(mac(239, 255, 255, 250), "01:00:5e:7f:ff:fa");
    assert_eq!(mac(224, 128, 1, 2), "01:00:5e:00:01:02");
}
