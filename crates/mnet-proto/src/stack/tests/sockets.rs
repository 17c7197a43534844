//! What a socket asks for, with whom it speaks, and what it is told.

use super::link::{Card, Frame, udp_bytes};
use super::*;

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

fn host() -> (Scene, SocketId) {
    let mut scene = Card::default().host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    (scene, socket)
}

fn from(source: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    Frame { source, ..Frame::new(17, &udp_bytes((source, port), (HOST, 7), payload)) }.bytes()
}

#[test]
fn a_connected_socket_hears_its_peer_alone() {
    let (mut scene, socket) = host();
    scene.receive(&from(OTHER, 5_000, b"before"));
    scene.receive(&from(PEER, 5_000, b"queued"));
    let now = scene.now;
    scene.stack.udp_connect(now, socket, Some((PEER, 5_000).into())).unwrap();
    assert_eq!(scene.stack.udp().peer(socket), Some((PEER, 5_000).into()));
    for (source, port) in [(OTHER, 5_000), (PEER, 5_001), (PEER, 5_000)] {
        scene.receive(&from(source, port, b"after"));
    }
    assert_eq!(scene.read(socket), [&b"queued"[..], b"after"]);
    assert_eq!(scene.dropped(), [(Drop::UdpNoSocket, 2), (Drop::UdpNotPeer, 1)]);

    scene.stack.udp_connect(now, socket, None).unwrap();
    scene.receive(&from(OTHER, 5_000, b"anybody"));
    assert_eq!(scene.read(socket), [b"anybody"]);
}

#[test]
fn a_queue_from_which_others_were_dropped_has_all_its_room_again() {
    let (mut scene, socket) = host();
    let mut fill = |source| {
        (0..300).for_each(|_| scene.receive(&from(source, 5_000, &[0; 100])));
        let now = scene.now;
        scene.stack.udp_connect(now, socket, Some((PEER, 5_000).into())).unwrap();
        let read = scene.read(socket).len();
        scene.stack.udp_connect(now, socket, None).unwrap();
        read
    };
    let whole = fill(PEER);
    assert!(whole > 0);
    assert_eq!((fill(OTHER), fill(PEER)), (0, whole));
    assert_eq!(scene.pool.available(), scene.pool.capacity());
}

#[test]
fn a_socket_is_not_connected_to_what_cannot_be_a_peer() {
    let (mut scene, _) = host();
    let now = scene.now;
    let bound = scene.stack.udp_bind((HOST, 8)).unwrap();
    for (to, error) in [
        (SocketAddr::from((PEER, 0)), SendError::PortZero),
        ("[2001:db8::1]:9".parse().unwrap(), SendError::FamilyMismatch),
        ("192.0.2.1:9".parse().unwrap(), SendError::RouteNotFound),
    ] {
        assert_eq!(scene.stack.udp_connect(now, bound, Some(to)), Err(error));
        assert_eq!(scene.stack.udp().peer(bound), None);
    }
}

#[test]
fn an_error_about_another_than_the_peer_is_not_the_sockets() {
    let (mut scene, socket) = host();
    let now = scene.now;
    let mut refuse = |to, connected: Option<SocketAddr>| {
        scene.send_v4(7, to, b"x", &Options::default()).unwrap();
        scene.stack.udp_connect(now, socket, connected).unwrap();
        let sent = scene.sent_v4().remove(0);
        scene.receive(&sent.error(to.0, 3, 3, [0; 4]).bytes());
        let read = scene.stack.udp_mut().receive_failure(socket);
        let told = scene.stack.poll_event();
        let again = scene.stack.udp_mut().receive_failure(socket);
        assert_eq!(again, None);
        (read, told, scene.stack.udp_mut().receive_error(socket).is_some())
    };
    let peer = Some((PEER, 9).into());
    let told = Some(Event::Readable(socket));
    assert_eq!(refuse((PEER, 9), peer), (Some(IcmpError::PortUnreachable), told, true));
    assert_eq!(refuse((PEER, 10), peer), (None, None, false));
    assert_eq!(refuse((PEER, 10), None), (None, told, true));
    assert_eq!(scene.stack.udp().stats(socket).unwrap().errors, 2);
}

#[test]
fn one_senders_datagrams_are_read_and_the_others_stay() {
    let (mut scene, socket) = host();
    for (source, payload) in [(OTHER, b"a"), (PEER, b"b"), (OTHER, b"c"), (PEER, b"d")] {
        scene.receive(&from(source, 5_000, payload));
    }
    let udp = scene.stack.udp_mut();
    let of_peer = std::iter::from_fn(|| udp.receive_from(socket, PEER.into()));
    let of_peer: Vec<_> = of_peer.map(|datagram| datagram.payload().to_vec()).collect();
    assert_eq!(of_peer, [b"b", b"d"]);
    assert_eq!(scene.read(socket), [b"a", b"c"]);
}

#[test]
fn what_comes_behind_what_nobody_has_read_is_told_of_too() {
    let (mut scene, socket) = host();
    for _ in 0..2 {
        scene.receive(&from(PEER, 5_000, b"x"));
        assert_eq!(scene.stack.poll_event(), Some(Event::Readable(socket)));
        assert_eq!(scene.stack.poll_event(), None);
    }
}

#[test]
fn sockets_are_told_of_in_order_and_closed_ones_are_not() {
    let mut scene = Card::default().host(|_| ());
    let sockets = [7, 8, 9, 10].map(|port| scene.stack.udp_bind(port).unwrap());
    let receive = |scene: &mut Scene, port: u16| {
        let payload = udp_bytes((PEER, 5_000), (HOST, port), b"x");
        scene.receive(&Frame::new(17, &payload).bytes());
    };
    [9, 7, 10, 8].into_iter().for_each(|port| receive(&mut scene, port));
    let now = scene.now;
    scene.stack.udp_close(now, sockets[2]);
    assert_eq!(scene.stack.poll_event(), Some(Event::Readable(sockets[0])));
    receive(&mut scene, 7);
    scene.stack.udp_close(now, sockets[3]);
    for expected in [sockets[1], sockets[0]] {
        assert_eq!(scene.stack.poll_event(), Some(Event::Readable(expected)));
    }
    assert_eq!(scene.stack.poll_event(), None);
}

#[test]
fn a_socket_asks_for_the_same_each_time_and_a_datagram_for_something_else() {
    let (mut scene, socket) = host();
    let udp = scene.stack.udp_mut();
    let options = Options {
        hop_limit: Some(9),
        dscp: Some(46),
        ecn: Some(1),
        dont_fragment: Some(true),
        ..Options::default()
    };
    udp.set_options(socket, options);
    assert_eq!(udp.options(socket), Some(options));
    udp.set_multicast_hop_limit(socket, 3);
    let mut sent = |to: Destination| {
        let mut packet = scene.pool.take().unwrap();
        packet.append(1).unwrap();
        let now = scene.now;
        scene.stack.udp_send(now, 7.into(), to, packet).unwrap();
        let header = scene.sent_v4().remove(0).header;
        let (dscp, ecn) = (header.dscp.value(), header.ecn.value());
        (header.time_to_live, dscp, ecn, header.dont_fragment)
    };
    let plain = Destination::from((PEER, 9));
    assert_eq!(sent(plain), (9, 46, 1, true));
    assert_eq!(sent(plain.hop_limit(200).dscp(0)), (200, 0, 1, true));
    assert_eq!(sent(plain.ecn(0xfe)), (9, 46, 2, true));
    for (dscp, counts) in [(63, 63), (64, 0), (128 + 46, 46), (u8::MAX, 63)] {
        assert_eq!(sent(plain.dscp(dscp)), (9, counts, 1, true));
    }
    let group = Destination::from((Ipv4Addr::new(239, 1, 2, 3), 9));
    assert_eq!(sent(group), (3, 46, 1, true));
    assert_eq!(sent(group.hop_limit(1)), (1, 46, 1, true));

    let whole = Options { dont_fragment: Some(true), ..Options::default() };
    let pieces = Options { dont_fragment: Some(false), ..Options::default() };
    let refused = scene.send_v4(7, (PEER, 9), &[0; 1_473], &whole);
    assert_eq!(refused, Err(SendError::PacketTooBig { mtu: 1_500 }));
    scene.send_v4(7, (PEER, 9), &[0; 1_473], &pieces).unwrap();
    assert_eq!(scene.sent_v4().len(), 2);
    assert_eq!(scene.stack.udp().stats(socket).unwrap().sent, 10);
}

#[test]
fn of_dscp_and_ecn_a_socket_keeps_the_bits_that_are_sent() {
    let (mut scene, socket) = host();
    let udp = scene.stack.udp_mut();
    for (dscp, ecn, kept) in [(63, 3, (63, 3)), (64, 4, (0, 0)), (64 + 46, 0xff, (46, 3))] {
        let options = Options { dscp: Some(dscp), ecn: Some(ecn), ..Options::default() };
        udp.set_options(socket, options);
        let options = udp.options(socket).unwrap();
        assert_eq!((options.dscp.unwrap(), options.ecn.unwrap()), kept);
    }
}

#[test]
fn a_datagram_leaves_from_the_address_that_it_is_asked_to() {
    let (mut scene, _) = host();
    let now = scene.now;
    let second = Ipv4Addr::new(10, 0, 0, 77);
    scene.stack.add_address(now, "10.0.0.77/24".parse().unwrap()).unwrap();
    scene.sent();
    let mut send = |source: IpAddr| {
        let packet = scene.pool.take().unwrap();
        scene.stack.udp_send(now, 7.into(), Destination::from((PEER, 9)).source(source), packet)?;
        Ok(scene.sent_v4().remove(0).source())
    };
    assert_eq!((send(second.into()), send(HOST.into())), (Ok(second), Ok(HOST)));
    assert_eq!(send(OTHER.into()), Err(SendError::SourceNotLocal));
    assert_eq!(send("fe80::1".parse().unwrap()), Err(SendError::FamilyMismatch));
}

#[test]
fn a_socket_on_all_of_ipv4_speaks_no_ipv6() {
    let mut scene = scene6::scene_with_neighbor();
    let v4: SocketAddr = "0.0.0.0:7".parse().unwrap();
    let socket = scene.stack.udp_bind(v4).unwrap();
    scene.receive(&scene6::udp6(b"x").frame());
    assert_eq!(scene.stack.udp_mut().receive(socket).map(|datagram| datagram.remote()), None);
    let packet = scene.pool.take().unwrap();
    let now = scene.now;
    let refused = scene.stack.udp_send(now, v4.into(), (scene6::peer(), 9), packet);
    assert_eq!(refused, Err(SendError::FamilyMismatch));
    scene.stack.udp_close(now, socket);
    // That of IPv6 is any, as on other hosts.
    let any: SocketAddr = "[::]:7".parse().unwrap();
    let socket = scene.stack.udp_bind(any).unwrap();
    scene.receive(&scene6::udp6(b"x").frame());
    assert_eq!(
        scene.stack.udp_mut().receive(socket).map(|datagram| datagram.payload().len()),
        Some(1)
    );
}

#[test]
fn who_has_a_port_is_told_and_readers_share_theirs() {
    let (mut scene, socket) = host();
    let reader = scene.stack.udp_reader(8).unwrap();
    assert_eq!(scene.stack.udp_reader(8), Ok(reader));
    assert_ne!(reader, socket);
    scene.stack.udp_bind((HOST, 9)).unwrap();
    for (port, whose) in [(7, "a socket on all addresses"), (9, "a socket on 10.0.0.2")] {
        let expected = format!("UDP port {port} is in use by {whose}");
        assert_eq!(scene.stack.udp_reader(port).unwrap_err().to_string(), expected);
        assert_eq!(scene.stack.udp_bind(port).unwrap_err().to_string(), expected);
    }
    let taken = scene.stack.udp_bind(8).unwrap_err();
    assert_eq!(taken, BindError::PortInUse { port: 8, by: Holder::Reader });
    assert_eq!(scene.stack.udp_reader(0), Err(BindError::PortZero));
}
