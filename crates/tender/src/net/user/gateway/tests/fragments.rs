//! Datagrams that are longer than a frame, over either family.

use std::net::Ipv6Addr;

use mnet_proto::ip::fragment::cuts;
use mnet_proto::wire::{icmpv4, icmpv6, ipv4, ipv6, ndp, udp};
use zerocopy::IntoBytes;

use super::super::super::link::pseudo_header;
use super::*;

const RESIDENT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 2, 0, 0, 0, 0, 0xabcd);

fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 7 / 3) as u8).collect()
}

/// A packet of any size that holds this.
fn packet(bytes: &[u8]) -> Packet {
    let mut packet = Pool::new(0, 2048).take_large(65_535).unwrap();
    packet.append(bytes.len()).unwrap().copy_from_slice(bytes);
    packet
}

/// The UDP datagram of a payload.
fn udp(source: IpAddr, destination: IpAddr, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = packet(payload);
    let sum = |length| pseudo_header(source, destination, ipv4::UDP, length);
    assert!(udp::Header::emit(&mut packet, 4000, port, Some(sum)));
    packet.bytes().to_vec()
}

/// Frames of the guest that carry this in fragments.
fn fragments_v4(destination: Ipv4Addr, protocol: u8, upper: &[u8]) -> Vec<Vec<u8>> {
    let fields = ipv4::Fields {
        source: GUEST,
        destination,
        protocol,
        hop_limit: 64,
        traffic_class: 0,
        identification: 99,
        dont_fragment: false,
        router_alert: false,
    };
    let mut original = packet(b"");
    assert!(ipv4::Header::emit(&mut original, &fields, true));
    let original = *ipv4::Header::parse(original.bytes()).unwrap();
    let cut = |(offset, len, more)| {
        let mut part = packet(&upper[offset..offset + len]);
        assert!(ipv4::Header::emit_fragment(&mut part, (&original, &[]), (offset, more), true));
        assert!(ethernet::Header::emit(&mut part, MAC, GUEST_MAC, ethernet::IPV4));
        part.bytes().to_vec()
    };
    cuts(upper.len(), 1480).map(cut).collect()
}

fn fragment_v6(
    destination: Ipv6Addr,
    next_header: u8,
    (offset, more): (usize, bool),
    part: &[u8],
) -> Vec<u8> {
    let mut part = packet(part);
    let header = ipv6::Fragment::new(next_header, offset, more, 99);
    part.prepend(8).unwrap().copy_from_slice(header.as_bytes());
    let fields = ipv6::Fields {
        source: RESIDENT,
        destination,
        next_header: ipv6::FRAGMENT,
        hop_limit: 255,
        traffic_class: 0,
        flow_label: 0,
    };
    assert!(ipv6::Header::emit(&mut part, &fields));
    assert!(ethernet::Header::emit(&mut part, MAC, GUEST_MAC, ethernet::IPV6));
    part.bytes().to_vec()
}

fn fragments_v6(destination: Ipv6Addr, next_header: u8, upper: &[u8]) -> Vec<Vec<u8>> {
    let cut = |(offset, len, more)| {
        fragment_v6(destination, next_header, (offset, more), &upper[offset..offset + len])
    };
    cuts(upper.len(), 1448).map(cut).collect()
}

/// What the frames to the guest carry, whose fragments fit together.
fn whole(scene: &mut Scene) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last = true;
    let mut identifications = Vec::new();
    while let Some(frame) = scene.frame() {
        assert!(frame.len() <= MAX_FRAME);
        let (offset, more, identification, start) = if frame[12] == 0x08 {
            let header = ipv4::Header::parse(&frame[14..]).unwrap();
            assert!(ipv4::checksum_is_valid(&frame[14..], 20) && !header.dont_fragment());
            assert_eq!((header.total_len(), header.source()), (frame.len() - 14, ADDRESS));
            let (offset, more) = (header.fragment_offset(), header.more_fragments());
            (offset, more, header.identification.get().into(), 34)
        } else {
            let header = ipv6::Header::parse(&frame[14..]).unwrap();
            assert_eq!((header.next_header, header.source()), (ipv6::FRAGMENT, GATEWAY_V6));
            let fragment = ipv6::Fragment::parse(&frame[54..]).unwrap();
            assert_eq!(fragment.next_header, ipv4::UDP);
            (fragment.offset(), fragment.more(), fragment.identification.get(), 62)
        };
        assert_eq!(offset, bytes.len());
        bytes.extend(&frame[start..]);
        identifications.push(identification);
        last = !more;
    }
    assert!(last);
    identifications.dedup();
    assert_eq!(identifications.len(), 1);
    bytes
}

#[test]
fn a_long_datagram_to_the_guest_goes_in_fragments_that_fit_together() {
    for size in [1_473, 1_480, 2_952, 2_953, 9_000, 65_507] {
        let mut scene = gateway();
        let from = peer("192.0.2.1:5000");
        scene.publish(at(0), from, b"").unwrap();
        let sent = payload(size);
        scene.gateway.handle_published(at(0), from, &mut packet(&sent), &mut scene.queue);
        let datagram = whole(&mut scene);
        let length = datagram.len() as u16;
        let sum = pseudo_header(ADDRESS.into(), GUEST.into(), ipv4::UDP, length);
        assert!(sum.add_bytes(&datagram).is_valid());
        assert!(datagram[8..] == sent, "{size} bytes");
        assert_eq!(scene.gateway.drops(), &Drops::default());
    }
    for size in [1_453, 65_527] {
        let mut scene = gateway();
        // There is room where one may be read.
        scene.queue = Queue::new(MAX_FRAMES);
        let question = fragment_v6(
            GATEWAY_V6,
            ipv4::UDP,
            (0, false),
            &udp(RESIDENT.into(), GATEWAY_V6.into(), 53, b""),
        );
        scene.send(at(0), &question);
        let sent = payload(size);
        let from = SocketAddr::from((Ipv6Addr::LOCALHOST, 53));
        scene.gateway.handle_outgoing(0, from, &mut packet(&sent), &mut scene.queue);
        let datagram = whole(&mut scene);
        let length = datagram.len() as u16;
        let sum = pseudo_header(GATEWAY_V6.into(), RESIDENT.into(), ipv4::UDP, length);
        assert!(sum.add_bytes(&datagram).is_valid());
        assert!(datagram[8..] == sent, "{size} bytes over IPv6");
    }
}

#[test]
fn a_long_datagram_goes_whole_or_not_at_all() {
    let mut scene = gateway();
    scene.queue = Queue::new(44);
    let from = peer("192.0.2.1:5000");
    scene.publish(at(0), from, b"").unwrap();
    scene.gateway.handle_published(at(0), from, &mut packet(&payload(65_507)), &mut scene.queue);
    assert_eq!(scene.frame(), None);
    scene.gateway.handle_published(at(0), from, &mut packet(&payload(65_508)), &mut scene.queue);
    assert_eq!(scene.frame(), None);
    let dropped: Vec<_> = scene.gateway.drops().iter().collect();
    assert_eq!(
        dropped,
        [(1, "datagrams that are too long for IP"), (1, "datagrams that the image did not take")]
    );
}

#[test]
fn fragments_of_the_guest_leave_as_one_datagram_in_whatever_order_they_come() {
    for size in [1_473, 3_000, 65_507] {
        let sent = payload(size);
        let upper = udp(GUEST.into(), REMOTE.into(), 53, &sent);
        let frames = fragments_v4(REMOTE, ipv4::UDP, &upper);
        for reversed in [false, true] {
            let mut scene = gateway();
            let mut order: Vec<_> = frames.iter().collect();
            if reversed {
                order.reverse();
            }
            let last = order.pop().unwrap();
            for frame in order {
                assert_eq!(scene.send(at(0), frame), Action::None);
            }
            let Action::Outgoing { payload, to, .. } = scene.send(at(0), last) else { panic!() };
            assert!(*payload == *sent && to == SocketAddr::from((REMOTE, 53)));
            assert_eq!(scene.gateway.drops(), &Drops::default());
        }
    }
    let remote: Ipv6Addr = "2001:db8::1".parse().unwrap();
    for size in [1_453, 65_527] {
        let sent = payload(size);
        let upper = udp(RESIDENT.into(), remote.into(), 53, &sent);
        let mut frames = fragments_v6(remote, ipv4::UDP, &upper);
        let mut scene = gateway();
        let first = frames.remove(0);
        for frame in &frames {
            assert_eq!(scene.send(at(0), frame), Action::None);
        }
        let Action::Outgoing { payload, .. } = scene.send(at(0), &first) else { panic!() };
        assert!(*payload == *sent, "{size} bytes over IPv6");
    }
}

#[test]
fn a_long_ping_is_answered_as_long() {
    let sent = payload(5_000);
    let mut echo = packet(&sent);
    assert!(icmpv4::Header::emit(&mut echo, icmpv4::ECHO_REQUEST, 0, [1, 2, 3, 4]));
    let mut scene = gateway();
    for frame in fragments_v4(ADDRESS, ipv4::ICMP, echo.bytes()) {
        assert_eq!(scene.send(at(0), &frame), Action::None);
    }
    let reply = whole(&mut scene);
    assert_eq!(icmpv4::Header::parse(&reply).unwrap().kind, icmpv4::ECHO_REPLY);
    assert!(reply[8..] == sent);
}

#[test]
fn what_does_not_become_whole_is_counted_and_given_up() {
    let sent = payload(3_000);
    let frames = fragments_v4(REMOTE, ipv4::UDP, &udp(GUEST.into(), REMOTE.into(), 53, &sent));
    let mut scene = gateway();
    assert_eq!(scene.send(at(0), &frames[0]), Action::None);
    assert_eq!(scene.send(at(0), &frames[1]), Action::None);
    assert_eq!(scene.gateway.poll_timeout(), Some(at(30)));
    scene.gateway.handle_timeout(at(30), &mut scene.queue, |_| {});
    assert_eq!(scene.gateway.poll_timeout(), None);
    assert_eq!(scene.send(at(30), &frames[2]), Action::None);
    let dropped: Vec<_> = scene.gateway.drops().iter().collect();
    assert_eq!(dropped, [(1, "fragments that made no datagram")]);
}

#[test]
fn fragments_that_contradict_each_other_make_no_datagram() {
    let upper = udp(GUEST.into(), REMOTE.into(), 53, &payload(3_000));
    let frames = fragments_v4(REMOTE, ipv4::UDP, &upper);
    let mut scene = gateway();
    assert_eq!(scene.send(at(0), &frames[0]), Action::None);
    let mut overlap = fragments_v4(REMOTE, ipv4::UDP, &upper[8..]).remove(1);
    overlap[20..22].copy_from_slice(&(0x2000u16 | 184).to_be_bytes());
    assert_eq!(scene.send(at(0), &with_checksum(overlap)), Action::None);
    assert_eq!(scene.send(at(0), &frames[1]), Action::None);
    assert_eq!(scene.send(at(0), &frames[2]), Action::None);
    assert!(scene.gateway.drops().iter().any(|(_, what)| what.starts_with("fragments")));
}

#[test]
fn neighbour_discovery_in_fragments_is_not_believed() {
    let to = ipv6::solicited_node(GATEWAY_V6);
    let mut solicit = packet(b"");
    assert!(ndp::neighbor_solicit(&mut solicit, GATEWAY_V6, Some(GUEST_MAC), None, RESIDENT, to));
    let frame = fragment_v6(to, ipv6::ICMP, (0, false), solicit.bytes());
    assert_dropped(&frame, Drop::Ndp);
    // A ping may be one fragment (RFC 6946).
    let mut echo = packet(b"ping");
    assert!(icmpv6::Header::emit(&mut echo, icmpv6::ECHO_REQUEST, 0, [0; 4], RESIDENT, GATEWAY_V6));
    let frame = fragment_v6(GATEWAY_V6, ipv6::ICMP, (0, false), echo.bytes());
    gateway().reply(&frame);
}

proptest! {
    #[test]
    fn no_fragments_make_it_panic(
        parts in proptest::collection::vec((0u16..0x2000, any::<bool>(), 0usize..100), 0..40),
        ipv6: bool,
    ) {
        let mut scene = gateway();
        for (offset, more, len) in parts {
            let bytes = payload(len);
            let frame = if ipv6 {
                let place = (usize::from(offset) * 8, more);
                fragment_v6(GATEWAY_V6, ipv4::UDP, place, &bytes)
            } else {
                let mut frame = fragments_v4(REMOTE, ipv4::UDP, &payload(len + 1)).remove(0);
                let flags = if more { 0x2000 } else { 0 };
                frame[20..22].copy_from_slice(&(offset | flags).to_be_bytes());
                with_checksum(frame)
            };
            scene.send(at(0), &frame);
        }
    }
}
