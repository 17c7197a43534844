use etherparse::Icmpv6Slice;
use etherparse::icmpv6::{NdpOptionSlice, NdpOptionsIterator};
use netdev::Pool;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use smoltcp::time::Duration;
use smoltcp::wire::{
    Icmpv6Packet, NdiscNeighborFlags, NdiscPrefixInfoFlags, NdiscRepr, NdiscRouterFlags,
};

use super::*;

const A: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const B: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const REMOTE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn packet() -> Packet {
    Pool::new(1, 3000).take().unwrap()
}

/// What is in an ICMPv6 message from A to B, if others find its checksum right too.
fn parse(packet: &Packet) -> Option<Message<'_>> {
    let theirs = Icmpv6Slice::from_slice(packet.bytes()).unwrap();
    assert!(theirs.is_checksum_valid(A.octets(), B.octets()));
    let header = icmpv6::Header::parse(packet.bytes(), A, B)?;
    Message::parse(header.kind, packet.bytes())
}

fn parse_theirs(packet: &Packet) -> NdiscRepr<'_> {
    NdiscRepr::parse(&Icmpv6Packet::new_checked(packet.bytes()).unwrap()).unwrap()
}

fn any_mac() -> impl Strategy<Value = Option<Mac>> {
    option::of(any::<[u8; 6]>().prop_map(Mac))
}

fn any_target() -> impl Strategy<Value = Ipv6Addr> {
    any::<[u8; 16]>().prop_map(Ipv6Addr::from).prop_filter("a group", |a| !a.is_multicast())
}

fn any_preference() -> impl Strategy<Value = Preference> {
    prop_oneof![Just(Preference::Low), Just(Preference::Medium), Just(Preference::High)]
}

prop_compose! {
    fn any_advert()(
        hop_limit: u8, managed: bool, other: bool, preference in any_preference(),
        lifetime: u16, reachable: u32, retransmit: u32,
    ) -> RouterAdvert<'static> {
        let options = Options::default();
        RouterAdvert {
            hop_limit, managed, other, preference, lifetime, reachable, retransmit, options,
        }
    }
}

prop_compose! {
    fn any_prefix()(
        bits: u128, prefix_len in 0u8..=128, on_link: bool, autonomous: bool, valid: u32,
        preferred: u32,
    ) -> Prefix {
        let kept = if prefix_len == 0 { 0 } else { u128::MAX << (128 - u32::from(prefix_len)) };
        let prefix = Ipv6Addr::from_bits(bits & kept);
        Prefix { prefix, prefix_len, on_link, autonomous, valid, preferred }
    }
}

proptest! {
    #[test]
    fn a_router_solicitation_is_read_as_written(mac in any_mac()) {
        let mut packet = packet();
        prop_assert!(router_solicit(&mut packet, mac, A, B));
        let Some(Message::RouterSolicit { options }) = parse(&packet) else { panic!() };
        prop_assert_eq!((options.source_link(), options.target_link()), (mac, None));
        let lladdr = mac.map(|mac| smoltcp::wire::EthernetAddress(mac.0).into());
        prop_assert_eq!(parse_theirs(&packet), NdiscRepr::RouterSolicit { lladdr });
    }

    #[test]
    fn a_neighbour_solicitation_is_read_as_written(
        target_addr in any_target(), mac in any_mac(), nonce: Option<[u8; 6]>,
    ) {
        let mut packet = packet();
        prop_assert!(neighbor_solicit(&mut packet, target_addr, mac, nonce, A, B));
        let message = parse(&packet);
        let Some(Message::NeighborSolicit { target, options }) = message else { panic!() };
        prop_assert_eq!(target, target_addr);
        let link = mac.map(NdpOption::SourceLink);
        let number = nonce.as_ref().map(|nonce| NdpOption::Nonce(nonce));
        prop_assert!(options.iter().eq(link.into_iter().chain(number)));
        let lladdr = mac.map(|mac| smoltcp::wire::EthernetAddress(mac.0).into());
        prop_assert_eq!(parse_theirs(&packet), NdiscRepr::NeighborSolicit { target_addr, lladdr });
    }

    #[test]
    fn a_neighbour_advertisement_is_read_as_written(
        target_addr in any_target(), mac in any_mac(),
        router: bool, solicited: bool, overrides: bool,
    ) {
        let mut packet = packet();
        let flags = AdvertFlags { router, solicited, overrides };
        prop_assert!(neighbor_advert(&mut packet, flags, target_addr, mac, A, B));
        let message = parse(&packet);
        let Some(Message::NeighborAdvert {
            router: r, solicited: s, overrides: o, target, options,
        }) = message else { panic!() };
        prop_assert_eq!((r, s, o, target), (router, solicited, overrides, target_addr));
        prop_assert_eq!((options.source_link(), options.target_link()), (None, mac));
        let mut flags = NdiscNeighborFlags::empty();
        flags.set(NdiscNeighborFlags::ROUTER, router);
        flags.set(NdiscNeighborFlags::SOLICITED, solicited);
        flags.set(NdiscNeighborFlags::OVERRIDE, overrides);
        let lladdr = mac.map(|mac| smoltcp::wire::EthernetAddress(mac.0).into());
        let expected = NdiscRepr::NeighborAdvert { flags, target_addr, lladdr };
        prop_assert_eq!(parse_theirs(&packet), expected);
    }

    #[test]
    fn a_redirect_is_read_as_written(
        dest_addr in any_target(), to_router: bool, mac in any_mac(),
        quoted in option::of(vec(any::<u8>(), 48..200)),
    ) {
        let mut packet = packet();
        let target_addr = if to_router { A } else { dest_addr };
        prop_assert!(redirect(&mut packet, target_addr, dest_addr, mac, quoted.as_deref(), A, B));
        let Some(Message::Redirect { target, destination, options }) = parse(&packet) else {
            panic!()
        };
        prop_assert_eq!((target, destination), (target_addr, dest_addr));
        prop_assert_eq!(options.target_link(), mac);
        let redirected = options.iter().find_map(|option| match option {
            NdpOption::Redirected(bytes) => Some(bytes),
            _ => None,
        });
        prop_assert_eq!(redirected.is_some(), quoted.is_some());
        if let (Some(redirected), Some(quoted)) = (redirected, &quoted) {
            let (start, padding) = redirected.split_at(quoted.len());
            prop_assert_eq!(start, &quoted[..]);
            prop_assert!(padding.len() < 8 && padding.iter().all(|byte| *byte == 0));
        }
        let theirs = Icmpv6Slice::from_slice(packet.bytes()).unwrap();
        let theirs = NdpOptionsIterator::from_slice(&theirs.payload()[32..]);
        let theirs = theirs.map(Result::unwrap).find_map(|option| match option {
            NdpOptionSlice::RedirectedHeader(header) => Some(header.redirected_packet()),
            _ => None,
        });
        prop_assert_eq!(redirected, theirs);
    }

    #[test]
    fn a_router_advertisement_is_read_as_written(
        advert in any_advert(), mac: [u8; 6], mtu: u32, prefix in any_prefix(),
        route in any_prefix(), preference in any_preference(), lifetime: u32,
        servers in vec(any::<[u8; 16]>(), 1..4), nonce: [u8; 14], unknown in 100u8..,
    ) {
        let Prefix { prefix: route, prefix_len, .. } = route;
        let options = [
            NdpOption::SourceLink(Mac(mac)),
            NdpOption::Mtu(mtu),
            NdpOption::Prefix(prefix),
            NdpOption::Route { prefix: route, prefix_len, preference, lifetime },
            NdpOption::Rdnss { lifetime, servers: &servers },
            NdpOption::Unknown(unknown),
            NdpOption::Nonce(&nonce),
            NdpOption::TargetLink(Mac(mac)),
        ];
        let mut first = packet();
        prop_assert!(router_advert(&mut first, &advert, &options, A, B));
        let Some(Message::RouterAdvert(parsed)) = parse(&first) else { panic!() };
        prop_assert!(parsed.options.iter().eq(options));
        prop_assert_eq!(parsed.options.mtu(), Some(mtu));
        prop_assert_eq!(RouterAdvert { options: Options::default(), ..parsed }, advert);

        let mut second = packet();
        prop_assert!(router_advert(&mut second, &parsed, &[], A, B));
        prop_assert_eq!(second.bytes(), first.bytes());

        let NdiscRepr::RouterAdvert {
            hop_limit, flags, router_lifetime, reachable_time, retrans_time, lladdr,
            mtu: their_mtu, prefix_info,
        } = parse_theirs(&first) else { panic!() };
        prop_assert_eq!(hop_limit, advert.hop_limit);
        prop_assert_eq!(flags.contains(NdiscRouterFlags::MANAGED), advert.managed);
        prop_assert_eq!(flags.contains(NdiscRouterFlags::OTHER), advert.other);
        prop_assert_eq!(router_lifetime, Duration::from_secs(advert.lifetime.into()));
        prop_assert_eq!(reachable_time, Duration::from_millis(advert.reachable.into()));
        prop_assert_eq!(retrans_time, Duration::from_millis(advert.retransmit.into()));
        prop_assert_eq!(lladdr, Some(smoltcp::wire::EthernetAddress(mac).into()));
        prop_assert_eq!(their_mtu, Some(mtu));
        let theirs = prefix_info.unwrap();
        prop_assert_eq!((theirs.prefix, theirs.prefix_len), (prefix.prefix, prefix.prefix_len));
        prop_assert_eq!(theirs.flags.contains(NdiscPrefixInfoFlags::ON_LINK), prefix.on_link);
        prop_assert_eq!(theirs.flags.contains(NdiscPrefixInfoFlags::ADDRCONF), prefix.autonomous);
        prop_assert_eq!(theirs.valid_lifetime, Duration::from_secs(prefix.valid.into()));
        prop_assert_eq!(theirs.preferred_lifetime, Duration::from_secs(prefix.preferred.into()));
    }

    #[test]
    fn etherparse_accepts_the_same_chains_of_options(
        units in vec(0u8..4, 0..6), kind in 100u8.., cut in 0usize..10,
    ) {
        let mut message = vec![0; 8];
        for units in units {
            let start = message.len();
            message.resize(start + 8 * usize::from(units).max(1), 0xaa);
            message[start..start + 2].copy_from_slice(&[kind, units]);
        }
        message.truncate(message.len().saturating_sub(cut).max(8));
        let theirs: Result<Vec<_>, _> = NdpOptionsIterator::from_slice(&message[8..]).collect();
        let ours = Message::parse(ROUTER_SOLICIT, &message);
        prop_assert_eq!(ours.is_some(), theirs.is_ok());
        if let (Some(Message::RouterSolicit { options }), Ok(theirs)) = (ours, theirs) {
            prop_assert!(options.iter().eq(theirs.iter().map(|_| NdpOption::Unknown(kind))));
        }
    }

    #[test]
    fn any_message_can_be_read_to_its_end(
        kind in ROUTER_SOLICIT..=REDIRECT, mut bytes in vec(any::<u8>(), 0..200),
        options in vec((0u8..30, 1u8..5), 0..8),
    ) {
        // What starts as a message of the kind should be read, so its options mostly fit.
        let fixed = [8, 16, 24, 24, 40][usize::from(kind - ROUTER_SOLICIT)];
        let mut at = fixed;
        for (option, units) in options {
            if bytes.len() >= at + 2 {
                bytes[at..at + 2].copy_from_slice(&[option, units]);
            }
            at += usize::from(units) * 8;
        }
        bytes.truncate(at);
        if bytes.len() > 1 {
            bytes[1] = 0;
        }
        let options = match Message::parse(kind, &bytes) {
            None => None,
            Some(
                Message::RouterSolicit { options }
                | Message::NeighborSolicit { options, .. }
                | Message::NeighborAdvert { options, .. }
                | Message::Redirect { options, .. },
            ) => Some(options),
            Some(Message::RouterAdvert(advert)) => Some(advert.options),
        };
        if let Some(options) = options {
            prop_assert!(options.iter().count() <= bytes.len() / 8);
            prop_assert_eq!(options.bytes(), &bytes[fixed..]);
        }
    }
}

/// One valid message of each kind, and how long it is without options.
fn messages() -> [(u8, Vec<u8>, usize); 5] {
    let mut packets = [packet(), packet(), packet(), packet(), packet()];
    let [rs, ra, ns, na, rd] = &mut packets;
    let advert = RouterAdvert { lifetime: 1800, ..RouterAdvert::default() };
    assert!(router_solicit(rs, Some(MAC), A, B));
    assert!(router_advert(ra, &advert, &[NdpOption::Mtu(1500)], A, B));
    assert!(neighbor_solicit(ns, REMOTE, Some(MAC), None, A, B));
    assert!(neighbor_advert(na, AdvertFlags::default(), REMOTE, Some(MAC), A, B));
    assert!(redirect(rd, A, REMOTE, Some(MAC), None, A, B));
    let mut lengths = [8, 16, 24, 24, 40].into_iter();
    packets.map(|packet| {
        let bytes = packet.bytes().to_vec();
        assert!(Message::parse(bytes[0], &bytes).is_some());
        (bytes[0], bytes, lengths.next().unwrap())
    })
}

#[test]
fn invalid_messages_are_none() {
    for (kind, valid, fixed) in messages() {
        for len in 0..valid.len() {
            let expected = len == fixed;
            assert_eq!(Message::parse(kind, &valid[..len]).is_some(), expected, "{kind}: {len}");
        }
        let with = |at: usize, byte| {
            let mut bytes = valid.clone();
            bytes[at] = byte;
            bytes
        };
        assert!(Message::parse(kind, &with(1, 1)).is_none(), "{kind}: a code");
        assert!(Message::parse(kind, &with(fixed + 1, 0)).is_none(), "{kind}: no length");
        assert!(Message::parse(kind, &with(fixed + 1, 2)).is_none(), "{kind}: too long");
        if kind >= NEIGHBOR_SOLICIT {
            assert!(Message::parse(kind, &with(8, 0xff)).is_none(), "{kind}: a group");
        }
        assert!(Message::parse(icmpv6::ECHO_REQUEST, &valid).is_none(), "another protocol");
    }
}

#[test]
fn a_redirect_leads_to_a_router_of_the_link_or_onto_the_link() {
    let parse = |target, redirected| {
        let mut packet = packet();
        assert!(redirect(&mut packet, target, redirected, None, None, A, B));
        Message::parse(REDIRECT, packet.bytes()).is_some()
    };
    assert!(parse(A, REMOTE));
    assert!(parse(REMOTE, REMOTE));
    assert!(!parse(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), REMOTE));
    assert!(!parse(A, Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 1)));
}

/// The one option of these bytes.
fn option(bytes: &[u8]) -> NdpOption<'_> {
    let options: Vec<_> = Options::check(bytes).unwrap().iter().collect();
    let [option] = options[..] else { panic!("{options:?}") };
    option
}

#[test]
fn options_of_another_form_than_their_type_has_are_unknown() {
    let sized = |kind, units: u8| {
        let mut bytes = vec![0; usize::from(units) * 8];
        bytes[..2].copy_from_slice(&[kind, units]);
        bytes
    };
    for (kind, right, wrong) in [
        (1, &[1][..], &[][..]),
        (2, &[1], &[]),
        (3, &[4], &[1, 3, 5]),
        (4, &[1, 2, 9], &[]),
        (5, &[1], &[2]),
        (14, &[1, 2, 3], &[]),
        (24, &[1, 2, 3], &[4]),
        (25, &[3, 5], &[1, 2, 4]),
    ] {
        for units in right {
            let bytes = sized(kind, *units);
            assert_ne!(option(&bytes), NdpOption::Unknown(kind), "{kind} of {units}");
        }
        for units in wrong {
            let bytes = sized(kind, *units);
            assert_eq!(option(&bytes), NdpOption::Unknown(kind), "{kind} of {units}");
        }
    }
    for kind in [1, 2] {
        assert_eq!(Options::check(&sized(kind, 2)), None, "no Ethernet address is as long");
    }
}

#[test]
fn a_prefix_is_no_longer_than_an_address() {
    let mut bytes = [0; 32];
    bytes[..3].copy_from_slice(&[3, 4, 129]);
    assert_eq!(option(&bytes), NdpOption::Unknown(3));
    bytes[2] = 128;
    assert!(matches!(option(&bytes), NdpOption::Prefix(Prefix { prefix_len: 128, .. })));
}

#[test]
fn bits_behind_a_prefix_do_not_count() {
    let mut bytes = [0xff; 32];
    bytes[..3].copy_from_slice(&[3, 4, 65]);
    let NdpOption::Prefix(prefix) = option(&bytes) else { panic!() };
    assert_eq!(prefix.prefix.to_string(), "ffff:ffff:ffff:ffff:8000::");
    bytes[2] = 0;
    let NdpOption::Prefix(prefix) = option(&bytes) else { panic!() };
    assert_eq!(prefix.prefix, Ipv6Addr::UNSPECIFIED);
}

#[test]
fn a_route_has_as_much_of_its_prefix_as_counts() {
    let route = |prefix_len, flags, units: u8| {
        let mut bytes = vec![0xff; usize::from(units) * 8];
        bytes[..8].copy_from_slice(&[24, units, prefix_len, flags, 0, 0, 0, 1]);
        match option(&bytes) {
            NdpOption::Route { prefix, preference, lifetime: 1, .. } => {
                Some((prefix.to_string(), preference))
            }
            _ => None,
        }
    };
    let medium = |prefix: &str| Some((prefix.to_owned(), Preference::Medium));
    assert_eq!(route(0, 0, 1), medium("::"));
    assert_eq!(route(1, 0, 1), None);
    assert_eq!(route(48, 0, 2), medium("ffff:ffff:ffff::"));
    assert_eq!(route(65, 0, 2), None);
    assert_eq!(route(65, 0, 3), medium("ffff:ffff:ffff:ffff:8000::"));
    assert_eq!(route(129, 0, 3), None);
    assert_eq!(route(0, 0x08, 1), Some(("::".to_owned(), Preference::High)));
    assert_eq!(route(0, 0x18, 1), Some(("::".to_owned(), Preference::Low)));
    assert_eq!(route(0, 0x10, 1), None, "the reserved preference");
}

#[test]
fn a_router_of_reserved_preference_is_as_any_other() {
    let mut message = [0; 16];
    message[5] = 0x10;
    let Some(Message::RouterAdvert(advert)) = Message::parse(ROUTER_ADVERT, &message) else {
        panic!()
    };
    assert_eq!(advert.preference, Preference::Medium);
    assert!(Preference::Low < advert.preference && advert.preference < Preference::High);
}

#[test]
fn of_two_addresses_the_first_counts() {
    let mut bytes = [0; 16];
    bytes[..3].copy_from_slice(&[1, 1, 2]);
    bytes[8..11].copy_from_slice(&[1, 1, 4]);
    let options = Options::check(&bytes).unwrap();
    assert_eq!(options.source_link(), Some(Mac([2, 0, 0, 0, 0, 0])));
    assert_eq!((options.target_link(), options.mtu()), (None, None));
}

#[test]
fn what_has_no_room_is_not_written() {
    let mut small = Pool::new(1, 150).take().unwrap();
    assert!(!redirect(&mut small, A, REMOTE, Some(MAC), None, A, B));
    let quoted = [0; 2033];
    assert!(redirect(&mut packet(), A, REMOTE, None, Some(&quoted[..2032]), A, B));
    assert!(!redirect(&mut packet(), A, REMOTE, None, Some(&quoted), A, B));
    let mut full = packet();
    let headroom = full.headroom();
    full.prepend(headroom - 7).unwrap();
    assert!(!router_solicit(&mut full, None, A, B));
}
