//! What of IPv4 is for a host, and how it leaves (RFC 791, RFC 1122 §3.2.1, RFC 6864).

use super::link::{Card, Frame, Seen, behind_gateway, message, pattern, udp_bytes};
use super::*;

const EVERYBODY: Mac = Mac::BROADCAST;

/// What becomes of a frame: what it is dropped for, if it is, and whether there is an answer.
fn fate(frame: &Frame) -> (Option<Drop>, usize) {
    let mut scene = Card::default().host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    scene.receive(&frame.bytes());
    let dropped = scene.dropped();
    assert!(dropped.len() < 2);
    let received = scene.read(socket).len();
    assert_eq!(received, usize::from(dropped.is_empty()));
    (dropped.first().map(|&(reason, _)| reason), scene.sent().len())
}

#[test]
fn sources_that_no_host_may_have_are_dropped_in_silence() {
    for source in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.255",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "10.0.0.255",
        "10.0.0.2",
    ] {
        // To a closed port, which would be told of.
        let source = source.parse().unwrap();
        let payload = udp_bytes((source, 5_000), (HOST, 9), b"x");
        let frame = Frame { source, ..Frame::new(17, &payload) };
        assert_eq!(fate(&frame), (Some(Drop::Ipv4Source), 0), "{source}");
    }
}

#[test]
fn destinations_that_are_not_the_hosts_are_dropped_in_silence() {
    for destination in ["10.0.0.3", "0.0.0.0", "127.0.0.1", "10.0.0.0", "192.0.2.255", "224.0.0.5"]
    {
        let destination = destination.parse().unwrap();
        let payload = udp_bytes((PEER, 5_000), (destination, 9), b"x");
        let frame = Frame { destination, ..Frame::new(17, &payload) };
        assert_eq!(fate(&frame), (Some(Drop::Ipv4Destination), 0), "{destination}");
    }
}

#[test]
fn one_hosts_datagram_in_a_frame_to_many_is_dropped_in_silence() {
    for to in [EVERYBODY, Mac([1, 0, 0x5e, 0, 0, 1])] {
        for protocol in [17, 99] {
            let frame = Frame { to, protocol, ..Frame::udp(b"x") };
            assert_eq!(fate(&frame), (Some(Drop::Ipv4Destination), 0), "{to}");
        }
    }
}

#[test]
fn what_is_sent_to_everybody_is_for_sockets_that_ask_for_it() {
    for (destination, to) in [
        (Ipv4Addr::BROADCAST, EVERYBODY),
        (Ipv4Addr::new(10, 0, 0, 255), EVERYBODY),
        // However the link brings it.
        (Ipv4Addr::new(10, 0, 0, 255), HOST_MAC),
    ] {
        let mut scene = Card::default().host(|_| ());
        let [asks, other] = [7, 8].map(|port| scene.stack.udp_bind(port).unwrap());
        scene.stack.udp_mut().set_broadcast(asks, true);
        for port in [7, 8, 9] {
            let payload = udp_bytes((PEER, 5_000), (destination, port), b"all");
            scene.receive(&Frame { to, destination, ..Frame::new(17, &payload) }.bytes());
        }
        let datagram = scene.stack.udp_mut().receive(asks).unwrap();
        assert_eq!(datagram.local(), (destination, 7).into());
        assert!(scene.read(asks).is_empty() && scene.read(other).is_empty());
        assert_eq!(scene.dropped(), [(Drop::UdpNoSocket, 1), (Drop::UdpBroadcast, 1)]);
        assert!(scene.sent().is_empty(), "nobody is told of what went to everybody");
        // The answer leaves from the host's own address.
        scene.send(datagram.local().into(), datagram.remote(), datagram.into_packet()).unwrap();
        assert_eq!(scene.sent_v4()[0].source(), HOST);
    }
}

#[test]
fn sending_to_everybody_needs_leave_and_goes_to_every_card() {
    let mut scene = Card::default().host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    for to in [Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 0, 0, 255)] {
        scene.stack.udp_mut().set_broadcast(socket, false);
        let refused = scene.send_v4(7, (to, 9), b"x", &Options::default());
        assert_eq!(refused, Err(SendError::BroadcastNotAllowed));
        let refused = scene.send_v4(0, (to, 9), b"x", &Options::default());
        assert_eq!(refused, Err(SendError::BroadcastNotAllowed));
        scene.stack.udp_mut().set_broadcast(socket, true);
        scene.send_v4(7, (to, 9), b"x", &Options::default()).unwrap();
        let sent = scene.sent_v4();
        assert_eq!((sent[0].to, sent[0].destination()), (EVERYBODY, to));
    }
}

#[test]
fn a_time_to_live_of_nothing_is_enough_for_the_last_hop() {
    for ttl in [0, 1] {
        assert_eq!(fate(&Frame { ttl, ..Frame::udp(b"x") }), (None, 0));
    }
}

#[test]
fn options_are_passed_over_and_source_routes_dropped() {
    let with = |options: &[u8]| fate(&Frame { options: options.into(), ..Frame::udp(b"x") });
    for options in [
        &[0, 0, 0, 0][..],
        &[1, 1, 1, 1],
        &[0x94, 4, 0, 0],
        &[7, 7, 4, 0, 0, 0, 0, 0],
        &[68, 8, 5, 0, 0, 0, 0, 0],
        &[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[222, 4, 1, 2],
    ] {
        assert_eq!(with(options), (None, 0), "{options:02x?}");
    }
    assert_eq!(with(&[131, 7, 4, 10, 0, 0, 9, 0]), (Some(Drop::Ipv4SourceRoute), 0));
    assert_eq!(with(&[137, 7, 8, 10, 0, 0, 9, 0]), (Some(Drop::Ipv4SourceRoute), 0));
}

#[test]
fn whoever_sends_malformed_options_is_told_where() {
    for (pointer, options) in [
        (20, [30, 0, 0, 0]),
        (20, [30, 9, 0, 0]),
        (21, [1, 1, 1, 7]),
        (22, [7, 4, 3, 0]),
        (22, [7, 4, 4, 0]),
    ] {
        let pointer = if options[0] == 1 { 23 } else { pointer };
        let mut scene = Card::default().host(|_| ());
        let frame = Frame { options: options.into(), ..Frame::udp(b"x") };
        scene.receive(&frame.bytes());
        assert_eq!(scene.dropped(), [(Drop::Ipv4Options, 1)]);
        let sent = scene.sent_v4();
        assert_eq!(sent[0].icmp(), (12, 0, [pointer, 0, 0, 0], &frame.bytes()[14..]));
        // Of many nobody is told.
        let all = Frame { destination: Ipv4Addr::BROADCAST, to: EVERYBODY, ..frame.clone() };
        scene.receive(&all.bytes());
        let later = Frame { offset: 8, ..frame };
        scene.receive(&later.bytes());
        assert!(scene.sent().is_empty());
    }
}

#[test]
fn whoever_speaks_what_is_not_spoken_here_is_told_so() {
    let mut scene = Card::default().host(|_| ());
    let frame = Frame { options: vec![1, 1, 1, 0], ..Frame::new(132, &pattern(800)) };
    scene.receive(&frame.bytes());
    let sent = scene.sent_v4();
    assert_eq!(sent[0].icmp(), (3, 2, [0; 4], &frame.bytes()[14..][..548]));
    assert_eq!((sent[0].source(), sent[0].destination()), (HOST, PEER));
    for (destination, to) in
        [(Ipv4Addr::BROADCAST, EVERYBODY), (Ipv4Addr::new(224, 0, 0, 1), EVERYBODY)]
    {
        scene.receive(&Frame { destination, to, ..frame.clone() }.bytes());
    }
    assert!(scene.sent().is_empty());
}

#[test]
fn without_ipv4_nothing_of_it_is_heard_or_said() {
    let mut scene = Card::default().fresh(|config| {
        config.ipv4 = Ipv4Config::Off;
        config.ipv6.enabled = true;
    });
    scene.drive(Duration::from_secs(20));
    scene.sent();
    let socket = scene.stack.udp_bind(7).unwrap();
    scene.stack.udp_mut().set_broadcast(socket, true);
    let to_all = Frame { destination: Ipv4Addr::BROADCAST, to: EVERYBODY, ..Frame::udp(b"x") };
    scene.receive(&to_all.bytes());
    scene.receive(&arp(REQUEST, (PEER_MAC, PEER), HOST));
    assert!(scene.read(socket).is_empty() && scene.sent().is_empty());
    assert_eq!(scene.dropped(), [(Drop::EthernetProtocol, 2)]);
    let (now, cidr) = (scene.now, "10.0.0.2/24".parse().unwrap());
    assert_eq!(scene.stack.add_address(now, cidr), Err(AddressError::FamilyOff));
}

#[test]
fn a_datagram_says_what_it_is_asked_to_say_and_else_what_is_usual() {
    let mut scene = Card::default().host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    let mut send = |options: Options| {
        scene.send_v4(7, (PEER, 9), b"hello", &options)?;
        Ok::<_, SendError>(scene.sent_v4().remove(0))
    };
    let plain = send(Options::default()).unwrap();
    assert_eq!(plain.udp(), b"hello");
    let header = &plain.header;
    assert_eq!((header.time_to_live, header.dscp.value(), header.ecn.value()), (64, 0, 0));
    assert!(header.dont_fragment && !header.more_fragments && header.options.is_empty());
    let options = Options {
        hop_limit: Some(255),
        dscp: Some(0b10_1110),
        ecn: Some(0b10),
        router_alert: Some(true),
        ..Options::default()
    };
    let asked = send(options).unwrap();
    assert_eq!(asked.udp(), b"hello");
    let header = &asked.header;
    assert_eq!((header.time_to_live, header.dscp.value()), (255, 0b10_1110));
    assert_eq!((header.ecn.value(), header.options.as_slice()), (0b10, &[0x94, 4, 0, 0][..]));
    let nowhere = Options { hop_limit: Some(0), ..Options::default() };
    assert_eq!(send(nowhere).unwrap_err(), SendError::RouteNotFound);
}

#[test]
fn a_checksum_that_comes_out_as_zero_is_sent_as_all_ones() {
    let mut scene = Card::default().host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    // Each two bytes of payload make one sum zero.
    for high in 0..=u8::MAX {
        for low in [0, high, 0xff - high, 0xff] {
            scene.send_v4(7, (PEER, 9), &[high, low], &Options::default()).unwrap();
            assert_eq!(scene.sent_v4()[0].udp(), [high, low]);
        }
    }
}

#[test]
fn a_card_that_makes_checksums_is_left_to_it() {
    let checksums = netdev::Checksums { fills_ipv4: true, fills_udp: true, ..Default::default() };
    let mut scene = Card { mtu: 1_500, checksums }.host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    scene.send_v4(7, (PEER, 9), &[1; 100], &Options::default()).unwrap();
    let frame = scene.sent().remove(0);
    assert_eq!((&frame[24..26], &frame[40..42]), (&[0, 0][..], &[0, 0][..]));
}

#[test]
fn a_card_that_verifies_checksums_is_believed() {
    let checksums =
        netdev::Checksums { verifies_ipv4: true, verifies_udp: true, ..Default::default() };
    let mut scene = Card { mtu: 1_500, checksums }.host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    let mut frame = Frame::udp(b"checked").bytes();
    frame[24] ^= 1;
    frame[40] ^= 1;
    scene.receive(&frame);
    assert_eq!(scene.read(socket), [b"checked"]);
    // Of what came in pieces it can have verified nothing.
    let mut bad = Frame::udp(&pattern(64));
    bad.payload[6] ^= 1;
    bad.pieces(24).iter().for_each(|piece| scene.receive(&piece.bytes()));
    assert_eq!(scene.dropped(), [(Drop::UdpChecksum, 1)]);
}

#[test]
fn the_longest_prefix_decides_who_takes_a_datagram_on() {
    let mut scene = behind_gateway();
    scene.stack.udp_bind(7).unwrap();
    let other: Ipv4Addr = "10.0.0.7".parse().unwrap();
    let other_mac = Mac([2, 0, 0, 0, 0, 7]);
    scene.receive(&arp(REQUEST, (other_mac, other), HOST));
    scene.sent();
    let by = |scene: &mut Scene, to: &str| {
        scene.send_v4(7, (to.parse().unwrap(), 9), b"x", &Options::default()).ok()?;
        Some(scene.sent_v4()[0].to)
    };
    let far = "192.0.2.9";
    assert_eq!(by(&mut scene, far), Some(PEER_MAC));
    let prefix = "192.0.2.0/28".parse().unwrap();
    scene.stack.add_route(prefix, Some(other.into())).unwrap();
    assert_eq!(by(&mut scene, far), Some(other_mac));
    assert_eq!(by(&mut scene, "192.0.2.16"), Some(PEER_MAC));
    assert!(scene.stack.remove_route(prefix, Some(other.into())));
    assert!(!scene.stack.remove_route(prefix, Some(other.into())));
    assert_eq!(by(&mut scene, far), Some(PEER_MAC));
    assert!(scene.stack.remove_route("0.0.0.0/0".parse().unwrap(), Some(PEER.into())));
    assert_eq!(by(&mut scene, far), None);
    for gateway in ["10.0.0.2", "10.0.0.255", "224.0.0.1", "0.0.0.0", "127.0.0.1"] {
        let refused = scene.stack.add_route(prefix, Some(gateway.parse().unwrap()));
        assert_eq!(refused, Err(RouteError::NotRouter), "{gateway}");
    }
    let of_ipv6 = scene.stack.add_route(prefix, Some("fe80::1".parse().unwrap()));
    assert_eq!(of_ipv6, Err(RouteError::FamilyMismatch));
}

#[test]
fn each_of_several_addresses_is_answered_from_and_the_nearest_is_chosen() {
    let mut scene = behind_gateway();
    let socket = scene.stack.udp_bind(7).unwrap();
    let second: Ipv4Addr = "172.16.5.2".parse().unwrap();
    let (now, cidr) = (scene.now, "172.16.5.2/16".parse().unwrap());
    scene.stack.add_address(now, cidr).unwrap();
    assert_eq!(scene.stack.add_address(now, cidr), Err(AddressError::InUse));
    let network = scene.stack.add_address(now, "172.16.0.0/16".parse().unwrap());
    assert_eq!(network, Err(AddressError::NotHost));
    scene.drive(Duration::from_secs(20));
    scene.sent();
    let neighbor: Ipv4Addr = "172.16.0.1".parse().unwrap();
    scene.receive(&arp(REQUEST, (PEER_MAC, neighbor), second));
    assert_eq!(scene.sent().len(), 1, "the second address is answered for");

    // Whichever address is asked, answers.
    let payload = udp_bytes((PEER, 5_000), (second, 7), b"x");
    scene.receive(&Frame { destination: second, ..Frame::new(17, &payload) }.bytes());
    let datagram = scene.stack.udp_mut().receive(socket).unwrap();
    scene.send(datagram.local().into(), datagram.remote(), datagram.into_packet()).unwrap();
    assert_eq!(scene.sent_v4()[0].source(), second);

    let from = |scene: &mut Scene, to: &str| {
        scene.send_v4(7, (to.parse().unwrap(), 9), b"x", &Options::default()).ok()?;
        Some(scene.sent_v4()[0].source())
    };
    assert_eq!(from(&mut scene, "172.16.0.1"), Some(second));
    assert_eq!(from(&mut scene, "10.0.0.1"), Some(HOST));
    assert_eq!(from(&mut scene, "192.0.2.1"), Some(HOST));
    assert!(scene.stack.remove_address(now, second.into()));
    assert!(!scene.stack.remove_address(now, second.into()));
    // By the gateway now.
    assert_eq!(from(&mut scene, "172.16.0.1"), Some(HOST));
    let gone = Frame { destination: second, ..Frame::new(17, &payload) };
    scene.receive(&gone.bytes());
    assert!(scene.read(socket).is_empty());
}

#[test]
fn more_destinations_than_are_remembered_disturb_nobody() {
    let mut scene = behind_gateway();
    let socket = scene.stack.udp_bind(7).unwrap();
    scene.send_v4(7, (PEER, 5_000), b"first", &Options::default()).unwrap();
    let first = scene.sent_v4().remove(0);
    for number in 0..5_000u32 {
        let stranger = Ipv4Addr::from(0xc633_6400 + number);
        // Pings and datagrams to closed ports are answered, and nobody is remembered for it.
        let ping = message(8, 0, &[0; 8]);
        scene.receive(&Frame { source: stranger, ..Frame::new(1, &ping) }.bytes());
        let refused = udp_bytes((stranger, 5_000), (HOST, 9), b"x");
        scene.receive(&Frame { source: stranger, ..Frame::new(17, &refused) }.bytes());
        scene.sent();
    }
    // What a router says of what was sent before is understood still.
    scene.receive(&first.error(PEER, 3, 3, [0; 4]).bytes());
    assert!(scene.stack.udp_mut().receive_error(socket).is_some());
    scene.converses(socket);
    // Those that are sent to make room for each other, and each is reached.
    for number in 0..5_000u32 {
        let stranger = Ipv4Addr::from(0xc633_6400 + number);
        scene.send_v4(7, (stranger, 9), b"x", &Options::default()).unwrap();
        assert_eq!(scene.sent_v4()[0].destination(), stranger);
    }
    scene.converses(socket);
    assert_eq!(scene.pool.available(), scene.pool.capacity());
}

#[test]
fn more_routes_than_are_kept_leave_those_that_are_there() {
    let mut scene = behind_gateway();
    let socket = scene.stack.udp_bind(7).unwrap();
    for number in 0..100u8 {
        let prefix = crate::Ipv4Cidr::new(Ipv4Addr::new(198, 51, number, 0), 24).unwrap();
        let added = scene.stack.add_route(prefix.into(), Some(PEER.into()));
        // Two are there from the start: the link and the gateway.
        assert_eq!(added, if number < 30 { Ok(()) } else { Err(RouteError::TooMany) });
    }
    scene.converses(socket);
    scene.send_v4(7, ([192, 0, 2, 1].into(), 9), b"x", &Options::default()).unwrap();
    let sent: Vec<Seen> = scene.sent_v4();
    assert_eq!(sent[0].to, PEER_MAC);
    for number in 0..100u8 {
        let (now, address) = (scene.now, Ipv4Addr::new(10, 1, 0, number));
        let cidr = crate::Ipv4Cidr::new(address, 32).unwrap();
        let added = scene.stack.add_address(now, cidr.into());
        assert_eq!(added, if number < 15 { Ok(()) } else { Err(AddressError::TooMany) });
    }
    assert_eq!(scene.stack.addresses().count(), 16);
}

#[test]
fn an_address_for_whose_link_there_is_no_room_among_the_routes_is_refused() {
    let mut scene = Scene::with(|config| config.routes = 1);
    let added = scene.stack.add_address(scene.now, "192.0.2.2/24".parse().unwrap());
    assert_eq!(added, Err(AddressError::TooManyRoutes));
    assert_eq!(scene.stack.addresses().count(), 1);
    scene.stack.add_address(scene.now, "192.0.2.2/32".parse().unwrap()).unwrap();
}
