//! What the guest is told of datagrams that did not arrive.

use std::net::Ipv6Addr;

use mnet_proto::wire::{icmpv4, icmpv6, ipv4, ipv6};

use super::*;

/// Who tells, the code, and what is quoted, of an ICMP error to the guest.
#[track_caller]
fn error(frame: &[u8]) -> (IpAddr, u8, &[u8]) {
    if frame[12] == 0x08 {
        let header = ipv4::Header::parse(&frame[14..]).unwrap();
        assert_eq!((header.protocol, header.destination()), (ipv4::ICMP, GUEST));
        assert!(header.total_len() <= 576);
        let icmp = icmpv4::Header::parse(&frame[34..]).unwrap();
        assert_eq!((icmp.kind, icmp.rest), (icmpv4::DESTINATION_UNREACHABLE, [0; 4]));
        (header.source().into(), icmp.code, &frame[42..])
    } else {
        let header = ipv6::Header::parse(&frame[14..]).unwrap();
        let (source, destination) = (header.source(), header.destination());
        assert!(header.payload_len() <= 1240);
        let icmp = icmpv6::Header::parse(&frame[54..], source, destination).unwrap();
        assert_eq!((icmp.kind, icmp.rest), (icmpv6::DESTINATION_UNREACHABLE, [0; 4]));
        (source.into(), icmp.code, &frame[62..])
    }
}

/// Whether this is what the guest sent, but for identification, TTL and checksum of IPv4.
#[track_caller]
fn assert_quotes(quoted: &[u8], frame: &[u8]) {
    let sent = &frame[14..][..quoted.len()];
    assert_eq!((&quoted[..4], &quoted[9..10]), (&sent[..4], &sent[9..10]));
    assert_eq!(quoted[12..], sent[12..]);
}

#[test]
fn a_host_that_refuses_is_told_of_as_the_guest_knows_it() {
    for (to, host) in [(ADDRESS, Ipv4Addr::LOCALHOST), (REMOTE, REMOTE)] {
        for size in [5, 1400] {
            let sent = vec![7; size];
            let frame = frame(4000, to, 53, &sent);
            let mut scene = gateway();
            scene.send(at(0), &frame);
            let host = SocketAddr::from((host, 53));
            let Scene { gateway, queue } = &mut scene;
            gateway.handle_outgoing_error(at(0), 0, host, Unreachable::Port, &sent, queue);
            let told = scene.frame().unwrap();
            let (source, code, quoted) = error(&told);
            assert_eq!((source, code), (to.into(), icmpv4::PORT_UNREACHABLE));
            assert_eq!(quoted.len(), (28 + size).min(548));
            assert_quotes(quoted, &frame);
        }
    }
}

#[test]
fn what_lies_between_is_told_of_by_the_gateway() {
    for (why, v4, v6) in
        [(Unreachable::Network, 0, 0), (Unreachable::Host, 1, 3), (Unreachable::Prohibited, 13, 1)]
    {
        let mut scene = gateway();
        let frame = frame(4000, REMOTE, 53, b"hello");
        scene.send(at(0), &frame);
        let Scene { gateway, queue } = &mut scene;
        let host = SocketAddr::from((REMOTE, 53));
        gateway.handle_outgoing_error(at(0), 0, host, why, b"hello", queue);
        let told = scene.frame().unwrap();
        let (source, code, quoted) = error(&told);
        assert_eq!((source, code), (ADDRESS.into(), v4));
        assert_quotes(quoted, &frame);

        let remote: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let frame = super::ipv6::frame(4000, remote, 53, b"hello");
        let Action::Outgoing { socket, to, .. } = scene.send(at(0), &frame) else { panic!() };
        let Scene { gateway, queue } = &mut scene;
        gateway.handle_outgoing_error(at(0), socket, to, why, b"hello", queue);
        let told = scene.frame().unwrap();
        let (source, code, quoted) = error(&told);
        assert_eq!((source, code), (GATEWAY_V6.into(), v6));
        // All but the flow label and the hop limit.
        assert_eq!((&quoted[4..7], &quoted[8..]), (&frame[18..21], &frame[22..]));
    }
}

#[test]
fn a_peer_that_is_gone_is_told_of_under_the_port_that_stands_for_it() {
    let mut scene = gateway();
    let peer = peer("192.0.2.1:5000");
    scene.publish(at(0), peer, b"").unwrap();
    let answer = frame(7, ADDRESS, 5000, b"answer");
    scene.send(at(0), &answer);
    let Scene { gateway, queue } = &mut scene;
    gateway.handle_published_error(at(0), peer, Unreachable::Port, b"answer", queue);
    let stranger = Peer { publish: 1, ..peer };
    gateway.handle_published_error(at(0), stranger, Unreachable::Port, b"answer", queue);
    let told = scene.frame().unwrap();
    let (source, code, quoted) = error(&told);
    assert_eq!((source, code), (ADDRESS.into(), icmpv4::PORT_UNREACHABLE));
    assert_quotes(quoted, &answer);
    assert_eq!(scene.frame(), None);
}

#[test]
fn what_is_out_of_reach_is_refused_at_once_but_to_no_group() {
    for (to, code) in [
        (Ipv4Addr::LOCALHOST, Some(icmpv4::COMMUNICATION_PROHIBITED)),
        (Ipv4Addr::new(10, 0, 2, 3), Some(icmpv4::COMMUNICATION_PROHIBITED)),
        (Ipv4Addr::new(224, 0, 0, 251), None),
        (Ipv4Addr::new(10, 0, 2, 255), None),
        (Ipv4Addr::BROADCAST, None),
    ] {
        let frame = frame(4000, to, 53, b"hello");
        let mut scene = gateway();
        assert_eq!(scene.send(at(0), &frame), Action::None);
        let told = scene.frame();
        assert_eq!(told.as_deref().map(|told| error(told).1), code, "{to}");
    }
    let mut scene = with_nameserver(Some("192.0.2.53:53"));
    scene.send(at(0), &frame(4000, Ipv4Addr::new(10, 0, 2, 3), 54, b""));
    let told = scene.frame().unwrap();
    let source = Ipv4Addr::new(10, 0, 2, 3).into();
    assert_eq!((error(&told).0, error(&told).1), (source, icmpv4::PORT_UNREACHABLE));
}

#[test]
fn a_guest_that_errs_all_the_time_is_not_told_each_time() {
    let mut scene = gateway();
    let frame = frame(4000, Ipv4Addr::LOCALHOST, 53, b"");
    let mut told = 0;
    for millis in 0..1000 {
        let now = Instant::ZERO + Duration::from_millis(millis);
        scene.send(now, &frame);
        told += iter::from_fn(|| scene.frame()).count();
    }
    assert_eq!(told, 149, "50 at once, and one each 10 ms");
}
