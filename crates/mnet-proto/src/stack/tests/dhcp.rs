//! An address that is leased: the whole exchange, frame by frame (RFC 2131).

use super::link::{Card, Frame, Seen, message, udp_bytes};
use super::*;
use crate::AddressEvent;
use crate::wire::dhcpv4::{Kind, Message};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const LEASED: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0, 3]);
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

/// A message that the host has sent, and how.
struct Said {
    seen: Seen,
    message: Message,
}

impl Scene {
    /// What the host has said to servers.
    fn said(&mut self) -> Vec<Said> {
        let frames = self.sent();
        let seen = frames.iter().filter_map(|frame| Seen::read(frame));
        let dhcp = seen.filter(|seen| seen.header.protocol.0 == 17);
        dhcp.filter(|seen| seen.payload[..4] == [0, 68, 0, 67])
            .map(|seen| Said { message: Message::parse(seen.udp()).unwrap(), seen })
            .collect()
    }

    /// The one thing that the host has said.
    fn says(&mut self, kind: Kind) -> Said {
        let mut said = self.said();
        assert_eq!(said.len(), 1);
        let said = said.remove(0);
        assert_eq!(said.message.kind, kind);
        said
    }

    /// Answers as the server, in a frame to the host alone.
    fn answer(&mut self, to: Ipv4Addr, message: &Message) {
        self.receive(&reply(to, message).bytes());
    }

    /// Goes through the exchange, with the server's answers changed.
    fn lease(&mut self, change: impl Fn(&mut Message)) {
        let discover = self.says(Kind::Discover);
        self.answer(LEASED, &server(Kind::Offer, &discover.message, &change));
        let request = self.says(Kind::Request);
        self.answer(LEASED, &server(Kind::Ack, &request.message, &change));
        assert!(self.stack.lease().is_some());
    }
}

fn reply(to: Ipv4Addr, message: &Message) -> Frame {
    let payload = udp_bytes((SERVER, 67), (to, 68), &message.emit());
    Frame { source: SERVER, destination: to, ..Frame::new(17, &payload) }
}

fn server(kind: Kind, to: &Message, change: impl Fn(&mut Message)) -> Message {
    let mut message = Message::new(kind, to.xid, HOST_MAC);
    message.server_id = Some(SERVER);
    if kind != Kind::Nak {
        message.yiaddr = LEASED;
        message.subnet_mask = Some([255, 255, 255, 0].into());
        message.routers = vec![ROUTER];
        message.dns_servers = vec![[10, 0, 0, 4].into()];
        message.lease_time = Some(3_600);
    }
    change(&mut message);
    message
}

fn fresh() -> Scene {
    Card::default().fresh(|config| config.ipv4 = Ipv4Config::Dhcp)
}

/// A host that has a lease, and neighbours.
fn leased(change: impl Fn(&mut Message)) -> Scene {
    let mut scene = fresh();
    scene.lease(change);
    scene.drive(Duration::from_secs(20));
    for (mac, address) in [(PEER_MAC, PEER), (ROUTER_MAC, ROUTER)] {
        scene.receive(&arp(REQUEST, (mac, address), LEASED));
    }
    scene.sent();
    while scene.stack.poll_event().is_some() {}
    scene
}

fn addresses(scene: &Scene) -> Vec<String> {
    scene.stack.addresses().map(|address| address.cidr.to_string()).collect()
}

#[test]
fn a_host_asks_everybody_for_an_address_and_uses_what_it_gets() {
    let mut scene = fresh();
    let Said { seen, message: discover } = scene.says(Kind::Discover);
    assert_eq!((seen.to, seen.source()), (Mac::BROADCAST, Ipv4Addr::UNSPECIFIED));
    assert_eq!((seen.destination(), seen.header.time_to_live), (Ipv4Addr::BROADCAST, 64));
    assert!(discover.ciaddr.is_unspecified() && discover.server_id.is_none());
    assert_eq!(addresses(&scene), [""; 0]);
    scene.answer(LEASED, &server(Kind::Offer, &discover, |_| ()));

    let Said { seen, message: request } = scene.says(Kind::Request);
    assert_eq!((seen.to, seen.source()), (Mac::BROADCAST, Ipv4Addr::UNSPECIFIED));
    assert_eq!((request.requested_address, request.server_id), (Some(LEASED), Some(SERVER)));
    assert_eq!((request.xid, request.ciaddr), (discover.xid, Ipv4Addr::UNSPECIFIED));
    scene.answer(LEASED, &server(Kind::Ack, &request, |ack| ack.mtu = Some(1_400)));

    assert_eq!(addresses(&scene), ["10.0.0.50/24"]);
    assert!(matches!(scene.stack.poll_event(), Some(Event::Address(AddressEvent::Added(_)))));
    assert_eq!(scene.stack.dns_servers().collect::<Vec<_>>(), [IpAddr::from([10, 0, 0, 4])]);
    assert_eq!(scene.stack.lease().unwrap().gateway(), Some(ROUTER));
    // It asks whether somebody has the address all the same (RFC 2131 §4.4.1).
    scene.drive(Duration::from_secs(20));
    let probes = scene.sent().into_iter().filter(|frame| frame[12..14] == [8, 6]);
    assert_eq!(probes.count(), 5);

    scene.receive(&arp(REQUEST, (ROUTER_MAC, ROUTER), LEASED));
    scene.sent();
    scene.stack.udp_bind(7).unwrap();
    scene.send_v4(7, (FAR, 9), &[0; 1_372], &Options::default()).unwrap();
    let sent = scene.sent_v4();
    assert_eq!((sent.len(), sent[0].to, sent[0].source()), (1, ROUTER_MAC, LEASED));
    scene.send_v4(7, (FAR, 9), &[0; 1_373], &Options::default()).unwrap();
    assert_eq!(scene.sent_v4().len(), 2);
}

#[test]
fn answers_may_come_to_everybody_or_to_the_address_to_be() {
    for to in [Ipv4Addr::BROADCAST, LEASED] {
        for mac in [HOST_MAC, Mac::BROADCAST] {
            let mut scene = fresh();
            let discover = scene.says(Kind::Discover).message;
            let offer = reply(to, &server(Kind::Offer, &discover, |_| ()));
            scene.receive(&Frame { to: mac, ..offer }.bytes());
            // One host's datagram in a frame to everybody is none.
            let taken = scene.said().len() == 1;
            assert_eq!(taken, to == Ipv4Addr::BROADCAST || mac == HOST_MAC);
        }
    }
}

#[test]
fn whether_others_have_a_leased_address_is_asked_before_anything_leaves_from_it() {
    let mut scene = fresh();
    let (now, socket) = (scene.now, scene.stack.udp_bind(7).unwrap());
    let group = [239, 1, 2, 3].into();
    scene.stack.udp_join(now, socket, group, Filter::ANY).unwrap();
    scene.lease(|_| ());
    let sent = scene.sent();
    let probe = arp(REQUEST, (HOST_MAC, Ipv4Addr::UNSPECIFIED), LEASED);
    assert_eq!(sent[0], probe);
    assert_eq!(Seen::read(&sent[1]).unwrap().source(), LEASED);
}

#[test]
fn servers_may_send_from_any_port() {
    let mut scene = fresh();
    let discover = scene.says(Kind::Discover).message;
    let offer = server(Kind::Offer, &discover, |_| ()).emit();
    let payload = udp_bytes((SERVER, 5_000), (LEASED, 68), &offer);
    scene.receive(
        &Frame { source: SERVER, destination: LEASED, ..Frame::new(17, &payload) }.bytes(),
    );
    scene.says(Kind::Request);
}

#[test]
fn before_there_is_an_address_nothing_else_is_heard() {
    let mut scene = fresh();
    scene.stack.udp_bind(7).unwrap();
    let discover = scene.says(Kind::Discover).message;
    let offer = server(Kind::Offer, &discover, |_| ()).emit();
    let payload = udp_bytes((SERVER, 67), (LEASED, 7), &offer);
    scene.receive(&Frame { destination: LEASED, ..Frame::new(17, &payload) }.bytes());
    let ping = message(8, 0, &[0; 8]);
    scene.receive(&Frame { destination: LEASED, ..Frame::new(1, &ping) }.bytes());
    for nowhere in ["127.0.0.1", "0.0.0.0", "224.0.0.9"] {
        let nowhere = nowhere.parse().unwrap();
        scene.receive(&reply(nowhere, &server(Kind::Offer, &discover, |_| ())).bytes());
    }
    scene.receive(&arp(REQUEST, (PEER_MAC, PEER), LEASED));
    assert!(scene.sent().is_empty());
    assert_eq!(scene.dropped(), [(Drop::Ipv4Destination, 5)]);
    let sent = scene.send_v4(7, (PEER, 9), b"x", &Options::default());
    assert_eq!(sent, Err(SendError::RouteNotFound));
}

#[test]
fn answers_for_others_are_ignored_and_bad_ones_too() {
    let mut scene = fresh();
    let discover = scene.says(Kind::Discover).message;
    let changes: [fn(&mut Message); 4] = [
        |message| message.xid ^= 1,
        |message| message.chaddr = PEER_MAC,
        |message| message.server_id = None,
        |message| message.yiaddr = Ipv4Addr::BROADCAST,
    ];
    for change in changes {
        scene.answer(LEASED, &server(Kind::Offer, &discover, change));
    }
    assert_eq!(scene.dropped(), [(Drop::DhcpIgnored, 4)]);
    let mut corrupt = reply(LEASED, &server(Kind::Offer, &discover, |_| ()));
    corrupt.payload[40] ^= 1;
    scene.receive(&corrupt.bytes());
    assert_eq!(scene.stack.stats().dropped[Drop::UdpChecksum], 1);
    assert!(scene.said().is_empty());
}

#[test]
fn a_lease_is_renewed_with_its_server_alone_and_then_with_anybody() {
    let mut scene = leased(|_| ());
    // T1 is half of the time, T2 seven eighths.
    scene.drive(Duration::from_secs(1_779));
    assert!(scene.said().is_empty());
    scene.drive(Duration::from_secs(2));
    let Said { seen, message } = scene.says(Kind::Request);
    assert_eq!((seen.to, seen.source(), seen.destination()), (PEER_MAC, LEASED, SERVER));
    assert_eq!(message.ciaddr, LEASED);
    assert!(message.requested_address.is_none() && message.server_id.is_none());
    scene.answer(LEASED, &server(Kind::Ack, &message, |_| ()));
    assert_eq!((addresses(&scene), scene.stack.poll_event()), (vec!["10.0.0.50/24".into()], None));

    // Nobody answers any more.
    scene.drive(Duration::from_secs(3_148));
    scene.sent();
    scene.drive(Duration::from_secs(2));
    let Said { seen, message } = scene.says(Kind::Request);
    assert_eq!((seen.to, seen.destination()), (Mac::BROADCAST, Ipv4Addr::BROADCAST));
    assert_eq!((seen.source(), message.ciaddr), (LEASED, LEASED));
    scene.drive(Duration::from_secs(440));
    assert_eq!(addresses(&scene), ["10.0.0.50/24"]);
    scene.sent();
    scene.drive(Duration::from_secs(10));
    assert_eq!(addresses(&scene), [""; 0]);
    assert!(matches!(scene.stack.poll_event(), Some(Event::Address(AddressEvent::Removed(_)))));
    scene.says(Kind::Discover);
    assert!(scene.stack.lease().is_none());
    for to in [PEER, FAR] {
        let sent = scene.send_v4(0, (to, 9), b"x", &Options::default());
        assert_eq!(sent, Err(SendError::RouteNotFound));
    }
}

#[test]
fn a_lease_that_is_refused_is_given_up_at_once() {
    for to in [LEASED, Ipv4Addr::BROADCAST] {
        let mut scene = leased(|_| ());
        scene.drive(Duration::from_secs(1_785));
        let request = scene.says(Kind::Request).message;
        scene.answer(to, &server(Kind::Nak, &request, |_| ()));
        assert_eq!(addresses(&scene), [""; 0]);
        scene.lease(|_| ());
        assert_eq!(addresses(&scene), ["10.0.0.50/24"]);
    }
}

#[test]
fn another_lease_takes_the_place_of_the_first() {
    let mut scene = leased(|lease| lease.mtu = Some(1_000));
    scene.stack.udp_bind(7).unwrap();
    scene.send_v4(7, (FAR, 9), b"x", &Options::default()).unwrap();
    scene.drive(Duration::from_secs(1_785));
    let request = scene.said().pop().unwrap().message;
    scene.answer(LEASED, &server(Kind::Nak, &request, |_| ()));
    scene.lease(|lease| {
        lease.yiaddr = [10, 0, 0, 60].into();
        lease.routers = vec![PEER];
    });
    assert_eq!(addresses(&scene), ["10.0.0.60/24"]);
    scene.sent();
    scene.receive(&arp(REQUEST, (PEER_MAC, PEER), [10, 0, 0, 60].into()));
    scene.sent();
    scene.send_v4(7, (FAR, 9), &[0; 1_472], &Options::default()).unwrap();
    let sent = scene.sent_v4();
    assert_eq!((sent.len(), sent[0].to), (1, PEER_MAC));
    assert_eq!(sent[0].source(), Ipv4Addr::from([10, 0, 0, 60]));
}

#[test]
fn a_renewal_that_says_something_else_changes_what_is_used() {
    let mut scene = leased(|_| ());
    scene.stack.udp_bind(7).unwrap();
    scene.send_v4(7, (FAR, 9), b"x", &Options::default()).unwrap();
    assert_eq!(scene.sent_v4()[0].to, ROUTER_MAC);
    scene.drive(Duration::from_secs(1_785));
    let request = scene.says(Kind::Request).message;
    scene.answer(
        LEASED,
        &server(Kind::Ack, &request, |lease| {
            lease.routers = vec![];
            lease.mtu = Some(576);
        }),
    );
    let sent = scene.send_v4(7, (FAR, 9), b"x", &Options::default());
    assert_eq!(sent, Err(SendError::RouteNotFound));
    scene.send_v4(7, (PEER, 9), &[0; 549], &Options::default()).unwrap();
    assert_eq!(scene.sent_v4().len(), 2);
}

#[test]
fn a_leased_address_that_somebody_has_is_declined() {
    let thief = (Mac([2, 0, 0, 0, 0, 66]), LEASED);
    // While it is asked for, and later when it is held: a second time within ten seconds.
    for (after, conflicts) in [(0, 1), (20, 2)] {
        let mut scene = fresh();
        scene.lease(|_| ());
        scene.drive(Duration::from_secs(after));
        scene.sent();
        for _ in 0..conflicts {
            assert_eq!(addresses(&scene), ["10.0.0.50/24"]);
            assert!(scene.said().is_empty());
            scene.receive(&arp(REQUEST, thief, PEER));
        }
        let Said { seen, message } = scene.says(Kind::Decline);
        assert_eq!(
            (seen.source(), seen.destination()),
            (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST)
        );
        assert_eq!((message.requested_address, message.server_id), (Some(LEASED), Some(SERVER)));
        assert!(message.ciaddr.is_unspecified());
        assert_eq!(addresses(&scene), [""; 0]);
        // Servers are left alone for ten seconds.
        scene.drive(Duration::from_millis(9_900));
        assert!(scene.said().is_empty());
        scene.drive(Duration::from_millis(200));
        scene.lease(|lease| lease.yiaddr = [10, 0, 0, 51].into());
        assert_eq!(addresses(&scene), ["10.0.0.51/24"]);
    }
}

#[test]
fn without_an_answer_the_host_asks_again_later_and_later() {
    let mut scene = fresh();
    scene.says(Kind::Discover);
    let mut delays = Vec::new();
    while delays.len() < 6 {
        let start = scene.now;
        while scene.stack.outgoing().is_empty() {
            let next = scene.stack.poll_timeout().unwrap();
            scene.now = scene.now.max(next);
            scene.stack.handle_timeout(scene.now);
        }
        scene.says(Kind::Discover);
        delays.push((scene.now - start).as_secs_f64());
    }
    for (delay, expected) in delays.iter().zip([4.0, 8.0, 16.0, 32.0, 64.0, 64.0]) {
        assert!((delay - expected).abs() <= 1.0, "{delays:?}");
    }
}

#[test]
fn that_no_server_answers_is_told_once() {
    let mut scene = fresh();
    scene.drive(Duration::from_secs(9));
    assert_eq!(scene.stack.poll_event(), None);
    scene.drive(Duration::from_secs(300));
    let told = Event::Address(AddressEvent::NoDhcpServer);
    assert_eq!(scene.stack.poll_event(), Some(told));
    assert_eq!(scene.stack.poll_event(), None);
}

#[test]
fn port_68_is_the_clients_own() {
    let mut scene = fresh();
    assert_eq!(scene.stack.udp_bind(68), Err(BindError::PortInUse { port: 68, by: Holder::Dhcp }));
    let mut scene = Card::default().fresh(|_| ());
    assert!(scene.stack.udp_bind(68).is_ok());
}

#[test]
fn classless_routes_are_followed() {
    let mut scene = leased(|lease| {
        let prefix = |text: &str| text.parse().unwrap();
        lease.classless_routes =
            vec![(prefix("192.0.2.0/24"), PEER), (prefix("0.0.0.0/0"), ROUTER)];
        lease.routers = vec![[10, 0, 0, 99].into()];
    });
    scene.stack.udp_bind(7).unwrap();
    scene.send_v4(7, (FAR, 9), b"x", &Options::default()).unwrap();
    scene.send_v4(7, ([198, 51, 100, 1].into(), 9), b"x", &Options::default()).unwrap();
    let sent: Vec<_> = scene.sent_v4().iter().map(|seen| seen.to).collect();
    assert_eq!(sent, [PEER_MAC, ROUTER_MAC]);
}

#[test]
fn a_lost_lease_leaves_nothing_behind_for_other_addresses() {
    let mut scene = leased(|lease| lease.mtu = Some(576));
    let (now, cidr) = (scene.now, "10.0.0.70/24".parse().unwrap());
    scene.stack.add_address(now, cidr).unwrap();
    scene.drive(Duration::from_secs(1_785));
    let request = scene.said().pop().unwrap().message;
    scene.answer(LEASED, &server(Kind::Nak, &request, |_| ()));
    scene.sent();
    assert_eq!(addresses(&scene), ["10.0.0.70/24"]);
    scene.receive(&arp(REQUEST, (PEER_MAC, PEER), [10, 0, 0, 70].into()));
    scene.sent();
    scene.send_v4(7, (PEER, 9), &[0; 1_472], &Options::default()).unwrap();
    let sent = scene.sent_v4();
    assert_eq!((sent.len(), sent[0].source()), (1, [10, 0, 0, 70].into()));
    let sent = scene.send_v4(7, (FAR, 9), b"x", &Options::default());
    assert_eq!(sent, Err(SendError::RouteNotFound));
}
