//! UDP (RFC 768, RFC 1122 §4.1, RFC 8085), and the bounds of its queues.

use netdev::HEADROOM;

use super::link::{Card, Frame, checksum, message, pattern, udp_bytes};
use super::*;

fn host() -> (Scene, SocketId) {
    let mut scene = Card::default().host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    (scene, socket)
}

#[test]
fn a_checksum_that_is_there_is_verified_and_none_is_right_too() {
    let (mut scene, socket) = host();
    for length in [0, 1, 2, 3, 1_471, 1_472] {
        let payload = pattern(length);
        let good = Frame::udp(&payload);
        scene.receive(&good.bytes());
        let mut none = good.clone();
        none.payload[6..8].fill(0);
        scene.receive(&none.bytes());
        assert_eq!(scene.read(socket), [payload.clone(), payload]);
        for at in 0..good.payload.len().min(12) {
            let mut bad = good.clone();
            bad.payload[at] ^= 0x10;
            scene.receive(&bad.bytes());
            assert!(scene.read(socket).is_empty(), "{length}: {at}");
        }
    }
    // What is sent as all ones is a sum of zero.
    let mut payload = pattern(64);
    payload[..2].fill(0);
    let sum = udp_bytes((PEER, 5_000), (HOST, 7), &payload);
    payload[..2].copy_from_slice(&sum[6..8]);
    let datagram = udp_bytes((PEER, 5_000), (HOST, 7), &payload);
    assert_eq!(datagram[6..8], [0xff, 0xff]);
    scene.receive(&Frame::new(17, &datagram).bytes());
    assert_eq!(scene.read(socket), [payload]);
    assert_eq!(checksum(&[&[0xff, 0xff]]), [0, 0]);
}

#[test]
fn a_length_that_cannot_be_is_dropped_and_one_that_is_short_cuts() {
    let (mut scene, socket) = host();
    for (length, read) in [(0u16, false), (7, false), (8, true), (12, true), (13, false)] {
        let mut frame = Frame::udp(b"abcd");
        frame.payload[4..6].copy_from_slice(&length.to_be_bytes());
        frame.payload[6..8].fill(0);
        scene.receive(&frame.bytes());
        let expected = read.then(|| b"abcd"[..usize::from(length.max(8)) - 8].to_vec());
        assert_eq!(scene.read(socket), Vec::from_iter(expected));
    }
    for length in 0..8 {
        scene.receive(&Frame::new(17, &vec![0; length]).bytes());
    }
    assert_eq!(scene.dropped(), [(Drop::UdpMalformed, 11)]);
    assert!(scene.sent().is_empty());
}

#[test]
fn port_0_sends_and_nobody_listens_there() {
    let (mut scene, socket) = host();
    scene.receive(&Frame::new(17, &udp_bytes((PEER, 0), (HOST, 7), b"x")).bytes());
    let datagram = scene.stack.udp_mut().receive(socket).unwrap();
    assert_eq!(datagram.remote(), (PEER, 0).into());
    let refused = scene.send(datagram.local().into(), datagram.remote(), datagram.into_packet());
    assert_eq!(refused, Err(SendError::PortZero));
    let to_port_0 = Frame::new(17, &udp_bytes((PEER, 5_000), (HOST, 0), b"x")).bytes();
    scene.receive(&to_port_0);
    assert_eq!(scene.dropped(), [(Drop::UdpNoSocket, 1)]);
    assert_eq!(scene.sent_v4()[0].icmp(), (3, 3, [0; 4], &to_port_0[14..]));
}

#[test]
fn a_socket_on_one_address_hears_nothing_for_another() {
    let mut scene = Card::default().host(|_| ());
    let now = scene.now;
    scene.stack.add_address(now, "10.0.0.3/24".parse().unwrap()).unwrap();
    let second = Ipv4Addr::new(10, 0, 0, 3);
    let socket = scene.stack.udp_bind((second, 7)).unwrap();
    scene.sent();
    scene.receive(&Frame::udp(b"to the first").bytes());
    assert_eq!(scene.sent_v4()[0].icmp().0, 3);
    let payload = udp_bytes((PEER, 5_000), (second, 7), b"to the second");
    scene.receive(&Frame { destination: second, ..Frame::new(17, &payload) }.bytes());
    assert_eq!(scene.read(socket), [b"to the second"]);
}

#[test]
fn what_a_datagram_came_with_is_told() {
    let (mut scene, socket) = host();
    scene.receive(&Frame { tos: 0xb9, ttl: 3, ..Frame::udp(b"x") }.bytes());
    let datagram = scene.stack.udp_mut().receive(socket).unwrap();
    assert_eq!((datagram.traffic_class(), datagram.hop_limit()), (0xb9, 3));
    assert_eq!((datagram.arrived(), datagram.dropped_before()), (scene.now, 0));
}

/// A host with a pool as it is by default.
fn with_default_pool() -> (Scene, SocketId) {
    let (mut scene, _) = host();
    let config = Config::new(crate::Ipv4Cidr::new(HOST, 24).unwrap());
    let pool = config.pool(1_500).unwrap();
    let now = scene.now;
    scene.stack = Stack::new(&config, &Card::default(), pool.clone(), now, [9; 32]).unwrap();
    scene.pool = pool;
    scene.drive(Duration::from_secs(20));
    scene.receive(&arp(REQUEST, (PEER_MAC, PEER), HOST));
    scene.sent();
    let socket = scene.stack.udp_bind(7).unwrap();
    (scene, socket)
}

#[test]
fn a_flood_of_every_kind_leaves_packets_for_a_conversation() {
    let (mut scene, socket) = with_default_pool();
    for port in 1_000..2_000 {
        scene.stack.udp_bind(port).unwrap();
    }
    let ping = message(8, 0, &[0; 8]);
    for round in 0..3_000u32 {
        let stranger = Ipv4Addr::new(10, 0, 0, 100 + (round % 100) as u8);
        let port = 1_000 + (round % 200) as u16;
        let flood = [
            Frame::new(17, &udp_bytes((stranger, 5_000), (HOST, port), &[0; 1_000])),
            Frame::new(17, &udp_bytes((stranger, 5_000), (HOST, 9), &[0; 1_000])),
            Frame { more: true, id: round as u16, ..Frame::new(17, &[0; 1_480]) },
            Frame::new(1, &ping),
        ];
        for frame in flood {
            if scene.pool.available() <= scene.pool.capacity() / 8 {
                panic!("no packet is left to receive into");
            }
            scene.receive(&Frame { source: stranger, ..frame }.bytes());
        }
        if round % 100 == 0 {
            scene.sent();
            scene.receive(&arp(REQUEST, (PEER_MAC, PEER), HOST));
            scene.sent();
            scene.converses(socket);
        }
        if scene.stack.is_congested() {
            scene.sent();
        }
        scene.now += Duration::from_millis(1);
        scene.stack.handle_timeout(scene.now);
    }
}

#[test]
fn small_packets_that_come_when_none_is_left_are_counted() {
    let (mut scene, _) = host();
    let held: Vec<_> = std::iter::from_fn(|| scene.pool.take_for_receive()).collect();
    assert_eq!(scene.pool.available(), scene.pool.capacity() / 8);
    scene.stack.count_missed(3);
    assert_eq!(scene.stack.stats().frames_missed, 3);
    // An eighth is there to send from.
    scene.send_v4(7, (PEER, 9), b"x", &Options::default()).unwrap();
    assert_eq!(scene.sent_v4().len(), 1);
    drop(held);
    let packet = scene.pool.take().unwrap();
    assert_eq!(packet.headroom(), HEADROOM);
}
