//! IPv6: neighbour discovery, and datagrams.

use std::net::{Ipv6Addr, SocketAddrV6};

use mnet_proto::wire::ndp::{self, NdpOption};
use mnet_proto::wire::{icmpv6, ipv4, ipv6, udp};

use super::super::super::link::pseudo_header;
use super::*;

const RESIDENT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 2, 0, 0, 0, 0, 0xabcd);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xabcd);
const REMOTE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const NONE: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

/// A frame of the guest, from what comes behind its IPv6 header.
fn packet_frame(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    hop_limit: u8,
    mut packet: Packet,
) -> Vec<u8> {
    let fields = ipv6::Fields {
        source,
        destination,
        next_header,
        hop_limit,
        traffic_class: 0,
        flow_label: 7,
    };
    assert!(ipv6::Header::emit(&mut packet, &fields));
    let group = destination.is_multicast();
    let to = if group { ipv6::multicast_mac(destination) } else { MAC };
    assert!(ethernet::Header::emit(&mut packet, to, GUEST_MAC, ethernet::IPV6));
    packet.bytes().to_vec()
}

/// A frame of the guest with a datagram in it.
pub(super) fn frame(port: u16, to: Ipv6Addr, to_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = packet(payload);
    let sum = |length| pseudo_header(RESIDENT.into(), to.into(), ipv4::UDP, length);
    assert!(udp::Header::emit(&mut packet, port, to_port, Some(sum)));
    packet_frame(RESIDENT, to, ipv4::UDP, 64, packet)
}

/// A frame of the guest with a message of neighbour discovery in it.
fn ndp_frame(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    emit: impl FnOnce(&mut Packet) -> bool,
) -> Vec<u8> {
    let mut packet = packet(b"");
    assert!(emit(&mut packet));
    packet_frame(source, destination, ipv6::ICMP, 255, packet)
}

fn solicit(source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let to = ipv6::solicited_node(target);
    let link = (!source.is_unspecified()).then_some(GUEST_MAC);
    ndp_frame(source, to, |packet| ndp::neighbor_solicit(packet, target, link, None, source, to))
}

/// Source, destination, hop limit, and what is behind the header, of a frame to the guest.
fn open(frame: &[u8]) -> (Ipv6Addr, Ipv6Addr, u8, &[u8]) {
    let header = ipv6::Header::parse(&frame[14..]).unwrap();
    assert_eq!((&frame[6..12], &frame[12..14]), (&MAC.0[..], &[0x86, 0xdd][..]));
    let to = if header.destination().is_multicast() {
        ipv6::multicast_mac(header.destination())
    } else {
        GUEST_MAC
    };
    assert_eq!(frame[..6], to.0);
    assert_eq!(header.payload_len(), frame.len() - 54);
    (header.source(), header.destination(), header.hop_limit, &frame[54..])
}

/// The same of a datagram, with its ports and payload.
fn datagram(frame: &[u8]) -> (SocketAddr, SocketAddr, Vec<u8>) {
    let (source, destination, _, upper) = open(frame);
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(TransportSlice::Udp(theirs)) = packet.transport else { panic!("no UDP") };
    let sum = pseudo_header(source.into(), destination.into(), ipv4::UDP, upper.len() as u16);
    assert!(sum.add_bytes(upper).is_valid());
    (
        SocketAddr::new(source.into(), theirs.source_port()),
        SocketAddr::new(destination.into(), theirs.destination_port()),
        theirs.payload().to_vec(),
    )
}

/// Source, destination and text of a message of neighbour discovery to the guest.
fn message(frame: &[u8]) -> (Ipv6Addr, Ipv6Addr, ndp::Message<'_>) {
    let (source, destination, hop_limit, message) = open(frame);
    assert_eq!(hop_limit, 255);
    let header = icmpv6::Header::parse(message, source, destination).unwrap();
    (source, destination, ndp::Message::parse(header.kind, message).unwrap())
}

fn socket(address: Ipv6Addr, port: u16) -> SocketAddr {
    SocketAddrV6::new(address, port, 0, 0).into()
}

/// A gateway whose guest has taken an address.
fn resident() -> Scene {
    let mut scene = gateway();
    assert_eq!(scene.send(at(0), &solicit(NONE, RESIDENT)), Action::None);
    assert_eq!(scene.frame(), None, "nobody else has it");
    scene
}

#[test]
fn who_asks_for_routers_learns_all_of_the_network() {
    let ask = |source| {
        let to = ipv6::ALL_ROUTERS;
        ndp_frame(source, to, |packet| ndp::router_solicit(packet, None, source, to))
    };
    let mut scene = with_nameserver(Some("192.0.2.53:53"));
    for (source, to) in [(NONE, ipv6::ALL_NODES), (LINK_LOCAL, LINK_LOCAL)] {
        let reply = scene.reply(&ask(source));
        let (source, destination, message) = message(&reply);
        assert_eq!((source, destination), (ROUTER_V6, to));
        let ndp::Message::RouterAdvert(advert) = message else { panic!("{message:?}") };
        assert!(advert.lifetime >= 600 && !advert.managed && !advert.other);
        assert_eq!((advert.options.source_link(), advert.options.mtu()), (Some(MAC), Some(1500)));
        let options: Vec<_> = advert.options.iter().collect();
        let prefix = options.iter().find_map(|option| match option {
            NdpOption::Prefix(prefix) => Some(prefix),
            _ => None,
        });
        let prefix = prefix.unwrap();
        assert_eq!((prefix.prefix.to_string(), prefix.prefix_len), ("fd00:10:2::".into(), 64));
        assert!(prefix.on_link && prefix.autonomous && prefix.preferred >= 86_400);
        let servers = [NAMESERVER_V6.octets()];
        assert!(options.contains(&NdpOption::Rdnss { lifetime: 1800, servers: &servers }));
    }
    let reply = gateway().reply(&ask(NONE));
    let ndp::Message::RouterAdvert(advert) = message(&reply).2 else { panic!() };
    let mut options = advert.options.iter();
    assert!(!options.any(|option| matches!(option, NdpOption::Rdnss { .. })));
}

#[test]
fn the_router_advertises_itself_now_and_then_to_a_guest_that_speaks_ipv6() {
    let mut scene = gateway();
    scene.send(at(0), &super::frame(4000, super::REMOTE, 53, b""));
    scene.gateway.handle_timeout(at(60), &mut scene.queue, |_| {});
    assert_eq!(scene.gateway.poll_timeout(), None);

    let mut scene = resident();
    for seconds in [200, 400, 600] {
        assert_eq!(scene.gateway.poll_timeout(), Some(at(seconds)));
        scene.gateway.handle_timeout(at(seconds - 1), &mut scene.queue, |_| {});
        assert_eq!(scene.frame(), None);
        scene.gateway.handle_timeout(at(seconds), &mut scene.queue, |_| {});
        let advert = scene.frame().unwrap();
        let (source, destination, advert) = message(&advert);
        assert_eq!((source, destination), (ROUTER_V6, ipv6::ALL_NODES));
        assert!(matches!(advert, ndp::Message::RouterAdvert(_)));
    }
}

#[test]
fn who_asks_for_an_address_of_the_gateway_is_answered() {
    let mut scene = with_nameserver(Some("192.0.2.53:53"));
    for own in [GATEWAY_V6, ROUTER_V6, NAMESERVER_V6] {
        for (asks, to) in [(RESIDENT, RESIDENT), (LINK_LOCAL, LINK_LOCAL), (NONE, ipv6::ALL_NODES)]
        {
            let reply = scene.reply(&solicit(asks, own));
            let (source, destination, message) = message(&reply);
            assert_eq!((source, destination), (own, to));
            let ndp::Message::NeighborAdvert { router, solicited, target, options, .. } = message
            else {
                panic!("{message:?}")
            };
            assert_eq!((router, solicited), (true, !asks.is_unspecified()));
            assert_eq!((target, options.target_link()), (own, Some(MAC)));
        }
    }
    for other in [RESIDENT, REMOTE, "fd00:10:2::4".parse().unwrap()] {
        assert_eq!(scene.send(at(0), &solicit(LINK_LOCAL, other)), Action::None);
        assert_eq!(scene.frame(), None, "{other} is nobody's");
    }
}

#[test]
fn a_peer_over_ipv6_reaches_the_guest_over_ipv6_once_that_has_an_address() {
    let peer = |port| Peer {
        publish: 0,
        asked: Ipv6Addr::LOCALHOST.into(),
        address: socket(Ipv6Addr::LOCALHOST, port),
    };
    let mut scene = resident();
    let early = scene.publish(at(0), peer(5000), b"early").unwrap();
    assert_eq!(super::datagram(&early), (ADDRESS, 5000, 7, b"early".to_vec()));

    scene.gateway.handle_published(at(1), peer(5001), &mut packet(b"hello"), &mut scene.queue);
    let introduction = scene.frame().unwrap();
    let (source, to, asks) = message(&introduction);
    assert_eq!((source, to), (GATEWAY_V6, ipv6::solicited_node(RESIDENT)));
    let ndp::Message::NeighborSolicit { target, options } = asks else { panic!("{asks:?}") };
    assert_eq!((target, options.source_link()), (RESIDENT, Some(MAC)));
    let hello = scene.frame().unwrap();
    let expected = (socket(GATEWAY_V6, 5001), socket(RESIDENT, 7), b"hello".to_vec());
    assert_eq!(datagram(&hello), expected);

    let answer = frame(7, GATEWAY_V6, 5001, b"world");
    let expected = Action::Published { peer: peer(5001), payload: Payload::Frame(b"world") };
    assert_eq!(scene.send(at(1), &answer), expected);
    // Who came before goes on as it began; and so do those over IPv4.
    let again = scene.publish(at(2), peer(5000), b"again").unwrap();
    assert_eq!(super::datagram(&again), (ADDRESS, 5000, 7, b"again".to_vec()));
    let other = scene.publish(at(2), super::peer("192.0.2.1:5001"), b"other").unwrap();
    assert_eq!(super::datagram(&other), (ADDRESS, 5001, 7, b"other".to_vec()));

    let late = frame(7, GATEWAY_V6, 5002, b"to nobody");
    assert_eq!(scene.send(at(2), &late), Action::None);
    assert_eq!(scene.gateway.drops().iter().count(), 1);
}

#[test]
fn what_the_guest_sends_elsewhere_leaves_over_ipv6_and_what_answers_comes_back() {
    let mut scene = with_nameserver(Some("192.0.2.53:53"));
    let remote = socket(REMOTE, 53);
    let loopback = socket(Ipv6Addr::LOCALHOST, 53);
    let nameserver = "192.0.2.53:53".parse().unwrap();
    for (index, (to, host)) in
        [(REMOTE, remote), (GATEWAY_V6, loopback), (NAMESERVER_V6, nameserver)].iter().enumerate()
    {
        // One after the other, from three ports.
        let port = 4000 + index as u16;
        let question = frame(port, *to, 53, b"question");
        let expected = Action::Outgoing {
            socket: index,
            open: true,
            to: *host,
            payload: Payload::Frame(b"question"),
        };
        assert_eq!(scene.send(at(0), &question), expected);
        let answer = scene.answer(index, *host, b"answer").unwrap();
        assert_eq!(
            datagram(&answer),
            (socket(*to, 53), socket(RESIDENT, port), b"answer".to_vec())
        );
    }
    assert_eq!(scene.gateway.drops(), &Drops::default());
}

#[test]
fn what_is_only_on_the_hosts_own_links_is_out_of_reach_over_ipv6() {
    for forbidden in [
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:192.0.2.1",
        "fe80::1",
        "fe80::2",
        "febf::1",
        "fd00:10:2::3",
        "fd00:10:2::4",
    ] {
        let forbidden: Ipv6Addr = forbidden.parse().unwrap();
        assert_dropped(&frame(4000, forbidden, 53, b""), Drop::Destination);
        let mut scene = gateway();
        scene.send(at(0), &frame(4000, REMOTE, 53, b""));
        let passed = scene.answer(0, socket(forbidden, 53), b"").is_some();
        assert_eq!(passed, forbidden.is_loopback(), "the host itself answers from there");
    }
    assert_dropped(&frame(4000, "ff02::fb".parse().unwrap(), 5353, b""), Drop::NotForGateway);
}

#[test]
fn the_gateway_answers_a_ping_over_ipv6() {
    let ping = |source: Ipv6Addr, to: Ipv6Addr| {
        let mut packet = packet(b"odd");
        let rest = [0x12, 0x34, 0, 1];
        assert!(icmpv6::Header::emit(&mut packet, icmpv6::ECHO_REQUEST, 0, rest, source, to));
        packet_frame(source, to, ipv6::ICMP, 64, packet)
    };
    for (source, to) in [(RESIDENT, GATEWAY_V6), (LINK_LOCAL, ROUTER_V6)] {
        let reply = gateway().reply(&ping(source, to));
        let (from, back, _, message) = open(&reply);
        assert_eq!((from, back), (to, source));
        let header = icmpv6::Header::parse(message, from, back).unwrap();
        assert_eq!((header.kind, header.rest), (icmpv6::ECHO_REPLY, [0x12, 0x34, 0, 1]));
        assert_eq!(&message[8..], b"odd");
    }
    assert_dropped(&ping(RESIDENT, REMOTE), Drop::Destination);
}

#[test]
fn malformed_ipv6_is_dropped_under_its_name() {
    let good = || frame(4000, REMOTE, 53, b"payload");
    let changed = |at: usize, byte: u8| {
        let mut frame = good();
        frame[at] = byte;
        frame
    };
    assert_dropped(&good()[..53], Drop::Ipv6Header);
    assert_dropped(&changed(14, 0x45), Drop::Ipv6Header);
    assert_dropped(&changed(19, 0xff), Drop::Ipv6Header);
    assert_dropped(&changed(20, 6), Drop::Protocol);
    assert_dropped(&changed(0, 2), Drop::NotForGateway);
    assert_dropped(&changed(22, 0x20), Drop::Source);
    assert_dropped(&changed(62, b'P'), Drop::UdpChecksum);
    let mut without = good();
    without[60..62].fill(0);
    assert_dropped(&without, Drop::UdpChecksum);
    // Of the gateway's own address.
    assert_dropped(&changed(37, 2)[..], Drop::UdpChecksum);
    let mut own = good();
    own[36..38].copy_from_slice(&[0, 2]);
    assert_dropped(&own, Drop::Source);
    // From farther away than the link.
    let mut far = solicit(RESIDENT, GATEWAY_V6);
    far[21] = 254;
    assert_dropped(&far, Drop::Ndp);
}

#[test]
fn headers_before_a_datagram_are_passed_over_if_they_may_be() {
    let with = |headers: &[u8]| {
        let plain = frame(4000, REMOTE, 53, b"payload");
        let packet = packet(&[headers, &plain[54..]].concat());
        packet_frame(RESIDENT, REMOTE, headers[headers.len() - 1], 64, packet)
    };
    // The last byte of each says which kind it is, in an option that is passed over by whoever does not
    // know it (RFC 4727 §3.6).
    let mut scene = gateway();
    let skipped = [17, 0, 0x1e, 4, 0, 0, 0, 60];
    let frame = with(&skipped);
    let action = scene.send(at(0), &frame);
    assert!(
        matches!(action, Action::Outgoing { payload: Payload::Frame(b"payload"), .. }),
        "{action:?}"
    );
    let unknown = [17, 0, 0xc1, 4, 0, 0, 0, 60];
    assert_dropped(&with(&unknown), Drop::Ipv6Header);
    let endless = [60, 0, 0x1e, 4, 0, 0, 0, 60].repeat(9);
    assert_dropped(&with(&endless), Drop::Ipv6Header);
    let twice = [[0, 0, 0x1e, 4, 0, 0, 0, 0], [17, 0, 0x1e, 4, 0, 0, 0, 0]].concat();
    assert_dropped(&with(&twice), Drop::Ipv6Header);
    let short = [17, 200, 0x1e, 4, 0, 0, 0, 60];
    assert_dropped(&with(&short), Drop::Ipv6Header);
    let routed = [17, 0, 0, 1, 0, 0, 0, 43];
    assert_dropped(&with(&routed), Drop::Ipv6Header);
}

proptest! {
    #[test]
    fn no_ipv6_frame_makes_it_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 54..200),
        next in prop_oneof![Just(0u8), Just(17), Just(43), Just(44), Just(58), Just(60)],
        kind in 128u8..144,
    ) {
        bytes[..6].copy_from_slice(&MAC.0);
        bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
        bytes[14] = 0x60;
        let length = bytes.len() - 54;
        bytes[18..20].copy_from_slice(&(length as u16).to_be_bytes());
        bytes[20..22].copy_from_slice(&[next, 255]);
        bytes[22..38].copy_from_slice(&RESIDENT.octets());
        if next == 58 && length >= 8 {
            (bytes[54], bytes[55]) = (kind, 0);
            bytes[56..58].fill(0);
            let destination = Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[38..54]).unwrap());
            let sum = ipv6::pseudo_header(RESIDENT, destination, 58, length as u32);
            let sum = sum.add_bytes(&bytes[54..]).finish();
            bytes[56..58].copy_from_slice(&sum);
        }
        gateway().send(at(0), &bytes);
    }
}
