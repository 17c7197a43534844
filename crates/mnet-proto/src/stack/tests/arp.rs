//! Who has which address on the link (RFC 826, RFC 1122 §2.3.2), and whose the host's own is (RFC
//! 5227).

use super::link::{Card, Frame, udp_bytes};
use super::*;
use crate::{AddressEvent, IcmpError};

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const OTHER_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// An ARP packet, byte for byte.
struct Arp {
    opcode: u16,
    sender: (Mac, Ipv4Addr),
    target: (Mac, Ipv4Addr),
}

impl Arp {
    fn bytes(&self) -> Vec<u8> {
        let Self { opcode, sender, target } = self;
        [
            &[0, 1, 8, 0, 6, 4],
            &opcode.to_be_bytes()[..],
            &sender.0.0,
            &sender.1.octets(),
            &target.0.0,
            &target.1.octets(),
        ]
        .concat()
    }

    fn frame(&self, to: Mac) -> Vec<u8> {
        [&to.0[..], &self.sender.0.0, &[8, 6], &self.bytes()].concat()
    }
}

fn request(sender: (Mac, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    Arp { opcode: 1, sender, target: (Mac::default(), target) }.frame(Mac::BROADCAST)
}

/// What the host asks, or tells, everybody.
fn asks(sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    request((HOST_MAC, sender), target)
}

/// The frames that are sent in a time, each with its second.
fn over(scene: &mut Scene, time: Duration) -> Vec<(u64, Vec<u8>)> {
    let (start, end) = (scene.now, scene.now + time);
    let mut frames = Vec::new();
    while let Some(next) = scene.stack.poll_timeout().filter(|&next| next <= end) {
        scene.now = next;
        scene.stack.handle_timeout(next);
        let second = (next - start).as_secs();
        frames.extend(scene.sent().into_iter().map(|frame| (second, frame)));
    }
    scene.now = end;
    frames
}

fn events(scene: &mut Scene) -> Vec<Event> {
    std::iter::from_fn(|| scene.stack.poll_event()).collect()
}

#[test]
fn an_address_is_asked_for_three_times_and_told_of_twice() {
    let mut scene = Card::default().fresh(|_| ());
    let frames = over(&mut scene, Duration::from_secs(60));
    let contents: Vec<_> = frames.iter().map(|(_, frame)| frame.clone()).collect();
    let (probe, announcement) = (asks(NOBODY, HOST), asks(HOST, HOST));
    assert_eq!(contents, [&probe, &probe, &probe, &announcement, &announcement].map(Vec::clone));
    let seconds: Vec<_> = frames.iter().map(|&(second, _)| second).collect();
    assert!(seconds[0] < 1 && (3..=9).contains(&seconds[3]), "{seconds:?}");
}

#[test]
fn an_address_counts_as_asked_for_only_if_there_was_a_packet_to_ask_with() {
    let mut scene = Card::default().fresh(|_| ());
    let all: Vec<_> = std::iter::from_fn(|| scene.pool.take()).collect();
    assert!(over(&mut scene, Duration::from_secs(30)).is_empty());
    assert!(scene.stack.addresses().all(|own| own.tentative));
    drop(all);
    let frames = over(&mut scene, Duration::from_secs(60));
    let contents: Vec<_> = frames.into_iter().map(|(_, frame)| frame).collect();
    let (probe, announcement) = (asks(NOBODY, HOST), asks(HOST, HOST));
    assert_eq!(contents, [&probe, &probe, &probe, &announcement, &announcement].map(Vec::clone));
}

#[test]
fn an_address_that_somebody_has_is_not_used_and_asked_for_again_after_a_minute() {
    for conflict in [
        // It answers, or it asks for another.
        Arp { opcode: 2, sender: (OTHER_MAC, HOST), target: (HOST_MAC, NOBODY) },
        Arp { opcode: 1, sender: (OTHER_MAC, HOST), target: (Mac::default(), PEER) },
    ] {
        let mut scene = Card::default().fresh(|_| ());
        scene.stack.udp_bind(7).unwrap();
        over(&mut scene, Duration::from_secs(1));
        events(&mut scene);
        scene.receive(&conflict.frame(Mac::BROADCAST));
        let said = events(&mut scene);
        assert!(
            matches!(said[..], [Event::Address(AddressEvent::Conflict(lost))]
                if lost.cidr.address() == IpAddr::V4(HOST)),
            "{said:?}"
        );
        assert_eq!(scene.stack.addresses().count(), 0);
        scene.receive(&request((PEER_MAC, PEER), HOST));
        assert!(scene.sent().is_empty(), "the other is left to answer");
        let sent = scene.send_v4(7, (PEER, 9), b"x", &Options::default());
        assert_eq!(sent, Err(SendError::RouteNotFound));
        scene.receive(&Frame::udp(b"x").bytes());
        assert_eq!(scene.stack.stats().dropped[Drop::Ipv4Destination], 1);

        // It is used again when nobody has answered for it, and not while that is asked.
        assert!(over(&mut scene, Duration::from_secs(59)).is_empty());
        let frames = over(&mut scene, Duration::from_millis(3_300));
        assert_eq!(frames[0].1, asks(NOBODY, HOST));
        assert!(!scene.stack.has_address());
        scene.receive(&request((PEER_MAC, PEER), HOST));
        assert!(scene.sent().is_empty() && events(&mut scene).is_empty());
        over(&mut scene, Duration::from_secs(20));
        let said = events(&mut scene);
        assert!(matches!(said[..], [Event::Address(AddressEvent::Added(_))]), "{said:?}");
        scene.receive(&request((PEER_MAC, PEER), HOST));
        assert_eq!(scene.sent().len(), 1);
    }
}

#[test]
fn who_is_about_to_take_an_address_in_use_is_told_so_and_one_that_is_not_is_left_to_them() {
    let probe = Arp { opcode: 1, sender: (OTHER_MAC, NOBODY), target: (Mac::default(), HOST) };
    let mut scene = Card::default().fresh(|_| ());
    over(&mut scene, Duration::from_secs(1));
    scene.receive(&probe.frame(Mac::BROADCAST));
    assert_eq!(scene.sent().len(), 1);
    assert_eq!(scene.stack.addresses().count(), 1);

    // Once it was another's, it is asked for before it is used again.
    let theft = Arp { opcode: 2, sender: (OTHER_MAC, HOST), target: (HOST_MAC, NOBODY) };
    scene.receive(&theft.frame(Mac::BROADCAST));
    let asked = over(&mut scene, Duration::from_secs(62));
    assert_eq!(asked[0].1, asks(NOBODY, HOST));
    scene.receive(&probe.frame(Mac::BROADCAST));
    assert!(scene.sent().is_empty());
    assert!(over(&mut scene, Duration::from_secs(59)).is_empty(), "another minute it waits");
}

#[test]
fn an_address_is_defended_once_in_ten_seconds_and_kept() {
    let mut scene = Card::default().host(|_| ());
    let theft = Arp { opcode: 1, sender: (OTHER_MAC, HOST), target: (Mac::default(), HOST) };
    let mut defended = Vec::new();
    for second in 0..21 {
        scene.receive(&theft.frame(Mac::BROADCAST));
        for frame in scene.sent() {
            assert_eq!(frame, asks(HOST, HOST));
            defended.push(second);
        }
        scene.now += Duration::from_secs(1);
    }
    assert_eq!(defended, [0, 10, 20]);
    assert_eq!(scene.stack.stats().dropped[Drop::ArpConflict], 21);
    scene.receive(&request((PEER_MAC, PEER), HOST));
    assert_eq!(scene.sent().len(), 1);
}

#[test]
fn what_the_host_has_sent_itself_is_no_conflict() {
    for probing in [true, false] {
        let mut scene = Card::default().fresh(|_| ());
        over(&mut scene, Duration::from_secs(if probing { 1 } else { 20 }));
        events(&mut scene);
        for mut echo in [asks(NOBODY, HOST), asks(HOST, HOST)] {
            // A bridge may change by whom a frame is sent, if anything.
            scene.receive(&echo);
            echo[6..12].copy_from_slice(&OTHER_MAC.0);
            scene.receive(&echo);
        }
        assert!(scene.sent().is_empty() && events(&mut scene).is_empty());
        assert_eq!(scene.dropped(), [(Drop::ArpMalformed, 4)]);
    }
}

#[test]
fn whoever_asks_is_answered_and_nobody_else() {
    let mut scene = Card::default().host(|_| ());
    let reply = |to: (Mac, Ipv4Addr)| {
        let reply = Arp { opcode: 2, sender: (HOST_MAC, HOST), target: to };
        [&to.0.0[..], &HOST_MAC.0, &[8, 6], &reply.bytes()].concat()
    };
    for sender in [(OTHER_MAC, OTHER), (OTHER_MAC, NOBODY)] {
        scene.receive(&request(sender, HOST));
        assert_eq!(scene.sent(), [reply(sender)]);
        // One who asks the host alone, to see if it is there still.
        let ask = Arp { opcode: 1, sender, target: (HOST_MAC, HOST) };
        scene.receive(&ask.frame(HOST_MAC));
        assert_eq!(scene.sent(), [reply(sender)]);
    }
    // Padding is no part of it.
    scene.receive(&[&request((OTHER_MAC, OTHER), HOST)[..], &[0xee; 18]].concat());
    assert_eq!(scene.sent(), [reply((OTHER_MAC, OTHER))]);
    for target in [OTHER, PEER, Ipv4Addr::BROADCAST, [10, 0, 0, 255].into(), NOBODY] {
        scene.receive(&request((OTHER_MAC, OTHER), target));
        assert!(scene.sent().is_empty(), "{target}");
    }
}

#[test]
fn what_is_no_arp_of_ethernet_and_ipv4_is_dropped() {
    let mut scene = Card::default().host(|_| ());
    let good = request((OTHER_MAC, OTHER), HOST);
    let change = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[at] = value;
        frame
    };
    let sender = |mac, address| request((mac, address), HOST);
    let mut group = good.clone();
    group[22] = 1;
    for bad in [
        change(15, 6),
        change(16, 0x86),
        change(18, 8),
        change(19, 16),
        change(21, 0),
        change(21, 3),
        change(20, 1),
        good[..41].to_vec(),
        group,
        change(22, 0xff),
        sender(OTHER_MAC, Ipv4Addr::BROADCAST),
        sender(OTHER_MAC, [10, 0, 0, 255].into()),
        sender(OTHER_MAC, [224, 0, 0, 1].into()),
        sender(OTHER_MAC, [127, 0, 0, 1].into()),
    ] {
        let before = scene.stack.stats().dropped[Drop::ArpMalformed];
        scene.receive(&bad);
        assert_eq!(scene.stack.stats().dropped[Drop::ArpMalformed], before + 1, "{bad:02x?}");
        assert!(scene.sent().is_empty());
    }
}

/// Where a datagram goes, if its neighbour is known.
fn known(scene: &mut Scene, address: Ipv4Addr) -> Option<Mac> {
    scene.send_v4(7, (address, 9), b"x", &Options::default()).unwrap();
    let frames = scene.sent();
    let [frame] = &frames[..] else { panic!("{frames:02x?}") };
    (frame[12..14] == [8, 0]).then(|| Mac(frame[..6].try_into().unwrap()))
}

#[test]
fn only_those_who_ask_for_the_host_are_known_without_being_asked() {
    let news = |opcode, target| Arp { opcode, sender: (OTHER_MAC, OTHER), target };
    for (arp, learnt) in [
        (news(1, (Mac::default(), HOST)), true),
        // Announcements, answers that nobody asked for, and what is between others.
        (news(1, (Mac::default(), OTHER)), false),
        (news(2, (Mac::BROADCAST, OTHER)), false),
        (news(2, (HOST_MAC, HOST)), false),
        (news(1, (Mac::default(), PEER)), false),
    ] {
        let mut scene = Card::default().host(|_| ());
        scene.stack.udp_bind(7).unwrap();
        scene.receive(&arp.frame(Mac::BROADCAST));
        scene.sent();
        assert_eq!(known(&mut scene, OTHER), learnt.then_some(OTHER_MAC));
    }
}

#[test]
fn an_announcement_changes_what_is_known_already() {
    let mut scene = Card::default().host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    assert_eq!(known(&mut scene, PEER), Some(PEER_MAC));
    let moved = Arp { opcode: 1, sender: (OTHER_MAC, PEER), target: (Mac::default(), PEER) };
    scene.receive(&moved.frame(Mac::BROADCAST));
    assert_eq!(known(&mut scene, PEER), Some(OTHER_MAC));
}

#[test]
fn a_neighbour_is_asked_once_a_second_and_given_up_after_three() {
    let mut scene = Card::default().host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    for _ in 0..20 {
        scene.send_v4(7, (OTHER, 9), b"x", &Options::default()).unwrap();
    }
    assert_eq!(scene.sent(), [asks(HOST, OTHER)]);
    let frames = over(&mut scene, Duration::from_millis(2_999));
    assert_eq!(frames, [(1, asks(HOST, OTHER)), (2, asks(HOST, OTHER))]);
    over(&mut scene, Duration::from_millis(1));
    let refused = scene.send_v4(7, (OTHER, 9), b"x", &Options::default());
    assert_eq!(refused, Err(SendError::DestinationUnreachable(IcmpError::HostUnreachable)));
    assert_eq!(scene.dropped(), [(Drop::NeighborUnreachable, 9), (Drop::NeighborQueueFull, 12)]);
    assert_eq!(scene.pool.available(), scene.pool.capacity());
}

#[test]
fn a_neighbour_in_use_is_asked_alone_before_it_is_forgotten() {
    let mut scene = Card::default().host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    assert_eq!(known(&mut scene, PEER), Some(PEER_MAC));
    // Nobody has shown that it hears us: after five seconds it is asked.
    let frames = over(&mut scene, Duration::from_millis(5_100));
    let mut ask = asks(HOST, PEER);
    ask[..6].copy_from_slice(&PEER_MAC.0);
    assert_eq!(frames, [(5, ask.clone())]);
    let answer = Arp { opcode: 2, sender: (PEER_MAC, PEER), target: (HOST_MAC, HOST) };
    scene.receive(&answer.frame(HOST_MAC));
    assert!(over(&mut scene, Duration::from_secs(10)).is_empty());
    // One that is gone is asked three times, and then everybody.
    over(&mut scene, Duration::from_secs(60));
    assert_eq!(known(&mut scene, PEER), Some(PEER_MAC));
    let frames = over(&mut scene, Duration::from_secs(10));
    assert_eq!(frames, [(5, ask.clone()), (6, ask.clone()), (7, ask)]);
    assert_eq!(known(&mut scene, PEER), None);
}

#[test]
fn more_neighbours_than_are_kept_disturb_no_conversation() {
    let mut scene = Card::default().host(|config| {
        let addresses = vec!["10.0.0.2/8".parse().unwrap()];
        config.ipv4 = Ipv4Config::Static { addresses, gateway: None };
    });
    let socket = scene.stack.udp_bind(7).unwrap();
    scene.converses(socket);
    for number in 0..5_000u32 {
        let stranger = Ipv4Addr::from(0x0a01_0000 + number);
        scene.receive(&request((OTHER_MAC, stranger), HOST));
        scene.sent();
    }
    scene.converses(socket);
    for number in 0..5_000u32 {
        // They make the host ask for them.
        let stranger = Ipv4Addr::from(0x0a02_0000 + number);
        let payload = udp_bytes((stranger, 5_000), (HOST, 9), b"x");
        scene.receive(&Frame { source: stranger, ..Frame::new(17, &payload) }.bytes());
        scene.sent();
        scene.now += Duration::from_millis(10);
    }
    scene.converses(socket);
    over(&mut scene, Duration::from_secs(10));
    assert_eq!(scene.pool.available(), scene.pool.capacity());
}
