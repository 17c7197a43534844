//! Groups over IPv4: who hears what, and what routers are told (RFC 1112, RFC 2236, RFC 3376).

use super::link::{Card, Frame, Seen, checksum, message, udp_bytes};
use super::*;
use crate::{Filter, JoinError};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 129, 2, 3);
const GROUP_MAC: Mac = Mac([1, 0, 0x5e, 1, 2, 3]);
const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const ALL_SYSTEMS_MAC: Mac = Mac([1, 0, 0x5e, 0, 0, 1]);
const V3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

impl Scene {
    fn join(&mut self, socket: SocketId, filter: Filter) {
        self.stack.udp_join(self.now, socket, GROUP.into(), filter).unwrap();
    }

    /// The messages of IGMP that are sent over a time.
    fn reports(&mut self, time: Duration) -> Vec<Seen> {
        self.drive(time);
        let frames = self.sent();
        let seen = frames.iter().filter_map(|frame| Seen::read(frame));
        let reports: Vec<_> = seen.filter(|seen| seen.header.protocol.0 == 2).collect();
        for report in &reports {
            let header = &report.header;
            assert_eq!((header.time_to_live, header.dscp.value() << 2), (1, 0xc0));
            assert_eq!(header.options.as_slice(), [0x94, 4, 0, 0]);
            let [_, a, b, c] = header.destination;
            assert_eq!(report.to, Mac([1, 0, 0x5e, a & 0x7f, b, c]));
            assert_eq!(checksum(&[&report.payload]), [0, 0]);
        }
        reports
    }
}

/// What comes for the group, or for another, on port 7.
fn to_group(source: Ipv4Addr, destination: Ipv4Addr, to: Mac) -> Vec<u8> {
    let payload = udp_bytes((source, 5_000), (destination, 7), b"news");
    Frame { source, destination, to, ttl: 1, ..Frame::new(17, &payload) }.bytes()
}

/// A query of a version, of one group or of all.
fn query(version: u8, group: Ipv4Addr, destination: Ipv4Addr) -> Frame {
    let mut body = group.octets().to_vec();
    if version == 3 {
        body.extend([2, 125, 0, 0]);
    }
    let tenths = if version == 1 { 0 } else { 10 };
    let to = if destination == HOST { HOST_MAC } else { ALL_SYSTEMS_MAC };
    let options = vec![0x94, 4, 0, 0];
    Frame { destination, to, ttl: 1, options, ..Frame::new(2, &message(0x11, tenths, &body)) }
}

/// A report of version 3 with one record.
fn record(kind: u8, sources: &[Ipv4Addr]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 1, kind, 0, 0, sources.len() as u8];
    body.extend(GROUP.octets());
    sources.iter().for_each(|source| body.extend(source.octets()));
    message(0x22, 0, &body)
}

const TO_EXCLUDE: u8 = 4;
const TO_INCLUDE: u8 = 3;
const IS_EXCLUDE: u8 = 2;
const ALLOW: u8 = 5;

fn host() -> (Scene, SocketId) {
    let mut scene = Card::default().host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    (scene, socket)
}

#[test]
fn a_group_is_heard_by_those_who_have_joined_it_and_until_they_leave() {
    let (mut scene, socket) = host();
    let other = scene.stack.udp_bind(8).unwrap();
    scene.receive(&to_group(PEER, GROUP, GROUP_MAC));
    scene.join(other, Filter::ANY);
    scene.receive(&to_group(PEER, GROUP, GROUP_MAC));
    assert_eq!(scene.dropped(), [(Drop::Ipv4Destination, 1), (Drop::UdpNotMember, 1)]);
    scene.join(socket, Filter::ANY);
    scene.receive(&to_group(PEER, GROUP, GROUP_MAC));
    // Another group that has the same Ethernet address.
    scene.receive(&to_group(PEER, [239, 1, 2, 3].into(), GROUP_MAC));
    let datagram = scene.stack.udp_mut().receive(socket).unwrap();
    assert_eq!((datagram.payload(), datagram.local()), (&b"news"[..], (GROUP, 7).into()));
    assert!(scene.read(socket).is_empty() && scene.read(other).is_empty());
    // The answer goes to the one who sent, from an address of the host's own.
    scene.sent();
    scene.send(datagram.local().into(), datagram.remote(), datagram.into_packet()).unwrap();
    let sent = scene.sent_v4();
    assert_eq!((sent[0].source(), sent[0].destination()), (HOST, PEER));
    let now = scene.now;
    assert!(scene.stack.udp_leave(now, socket, GROUP.into()));
    assert!(!scene.stack.udp_leave(now, socket, GROUP.into()));
    scene.stack.udp_close(now, other);
    scene.receive(&to_group(PEER, GROUP, GROUP_MAC));
    assert!(scene.read(socket).is_empty());
    assert_eq!(scene.stack.stats().dropped[Drop::Ipv4Destination], 3);
}

#[test]
fn a_member_hears_the_sources_that_it_wants() {
    let other = Ipv4Addr::new(10, 0, 0, 9);
    for (filter, heard) in [
        (Filter::ANY, [true, true]),
        (Filter::Include(vec![other.into()]), [false, true]),
        (Filter::Exclude(vec![other.into()]), [true, false]),
    ] {
        let (mut scene, socket) = host();
        scene.join(socket, filter);
        let sources = [PEER, other].map(|source| {
            scene.receive(&to_group(source, GROUP, GROUP_MAC));
            !scene.read(socket).is_empty()
        });
        assert_eq!(sources, heard);
    }
}

#[test]
fn routers_are_told_twice_who_joins_and_who_leaves() {
    let (mut scene, socket) = host();
    scene.join(socket, Filter::ANY);
    let reports = scene.reports(Duration::from_secs(5));
    assert_eq!(reports.len(), 2);
    for report in reports {
        assert_eq!((report.source(), report.destination()), (HOST, V3_ROUTERS));
        assert_eq!(report.payload, record(TO_EXCLUDE, &[]));
    }
    let now = scene.now;
    scene.stack.udp_leave(now, socket, GROUP.into());
    let left: Vec<_> = scene.reports(Duration::from_secs(5));
    let left: Vec<_> = left.into_iter().map(|report| report.payload).collect();
    assert_eq!(left, [record(TO_INCLUDE, &[]), record(TO_INCLUDE, &[])]);
    scene.join(socket, Filter::Include(vec![PEER.into()]));
    let joined: Vec<_> = scene.reports(Duration::from_secs(5));
    assert_eq!(joined[0].payload, record(ALLOW, &[PEER]));
    scene.stack.udp_close(scene.now, socket);
    assert_eq!(scene.reports(Duration::from_secs(5)).len(), 2);
}

#[test]
fn queries_of_the_third_version_are_answered_to_its_routers() {
    for destination in [ALL_SYSTEMS, HOST] {
        let (mut scene, socket) = host();
        scene.join(socket, Filter::ANY);
        scene.reports(Duration::from_secs(5));
        scene.receive(&query(3, Ipv4Addr::UNSPECIFIED, destination).bytes());
        let reports = scene.reports(Duration::from_millis(1_100));
        let [report] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!(report.payload, record(IS_EXCLUDE, &[]));
        assert_eq!(report.destination(), V3_ROUTERS);
        scene.receive(&Frame { to: GROUP_MAC, ..query(3, GROUP, GROUP) }.bytes());
        assert_eq!(scene.reports(Duration::from_millis(1_100)).len(), 1);
        assert!(scene.dropped().is_empty());
    }
}

#[test]
fn older_queries_are_answered_as_older_routers_understand() {
    for (version, kind) in [(1, 0x12), (2, 0x16)] {
        let (mut scene, socket) = host();
        scene.join(socket, Filter::ANY);
        scene.reports(Duration::from_secs(5));
        // One of the link's switches may ask, that has no address.
        let asked = query(version, Ipv4Addr::UNSPECIFIED, ALL_SYSTEMS);
        let options = if version == 1 { vec![] } else { asked.options.clone() };
        scene.receive(&Frame { source: Ipv4Addr::UNSPECIFIED, options, ..asked }.bytes());
        let reports = scene.reports(Duration::from_secs(11));
        let [report] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!(report.destination(), GROUP);
        assert_eq!(report.payload, message(kind, 0, &GROUP.octets()));
        let now = scene.now;
        scene.stack.udp_leave(now, socket, GROUP.into());
        let left = scene.reports(Duration::from_secs(1));
        if version == 2 {
            assert_eq!(left[0].payload, message(0x17, 0, &GROUP.octets()));
            assert_eq!(left[0].destination(), Ipv4Addr::new(224, 0, 0, 2));
        } else {
            assert!(left.is_empty());
        }
    }
}

#[test]
fn queries_from_afar_and_malformed_ones_are_ignored() {
    let (mut scene, socket) = host();
    scene.join(socket, Filter::ANY);
    scene.reports(Duration::from_secs(5));
    let good = query(3, Ipv4Addr::UNSPECIFIED, ALL_SYSTEMS);
    let mut corrupt = good.clone();
    corrupt.payload[3] ^= 1;
    let short = Frame { payload: good.payload[..7].to_vec(), ..good.clone() };
    let odd = Frame { payload: message(0x11, 10, &[0; 5]), ..good.clone() };
    let far = Frame { ttl: 63, ..query(3, Ipv4Addr::UNSPECIFIED, HOST) };
    // Other options keep no router from passing it on.
    let passed_on = Frame { options: vec![1; 4], ttl: 1, ..far.clone() };
    let elsewhere = query(3, Ipv4Addr::UNSPECIFIED, GROUP);
    for (frame, reason) in [
        (corrupt, Drop::MulticastMalformed),
        (short, Drop::MulticastMalformed),
        (odd, Drop::MulticastMalformed),
        (far, Drop::MulticastMalformed),
        (passed_on, Drop::MulticastMalformed),
        (elsewhere, Drop::MulticastMalformed),
    ] {
        let before = scene.stack.stats().dropped[reason];
        scene.receive(&frame.bytes());
        assert_eq!(scene.stack.stats().dropped[reason], before + 1);
        assert!(scene.reports(Duration::from_secs(20)).is_empty());
    }
}

#[test]
fn a_querier_of_another_subnet_on_the_link_is_answered_and_none_from_beyond() {
    for (group, destination, answers) in
        [(Ipv4Addr::UNSPECIFIED, ALL_SYSTEMS, 1), (GROUP, ALL_SYSTEMS, 1), (GROUP, GROUP, 0)]
    {
        let (mut scene, socket) = host();
        scene.join(socket, Filter::ANY);
        scene.reports(Duration::from_secs(5));
        let source = Ipv4Addr::new(172, 16, 0, 1);
        scene.receive(&Frame { source, ..query(3, group, destination) }.bytes());
        assert_eq!(scene.reports(Duration::from_secs(5)).len(), answers);
    }
}

#[test]
fn nobody_is_told_of_the_group_of_all_systems() {
    let (mut scene, socket) = host();
    let now = scene.now;
    scene.stack.udp_join(now, socket, ALL_SYSTEMS.into(), Filter::ANY).unwrap();
    scene.receive(&query(3, Ipv4Addr::UNSPECIFIED, ALL_SYSTEMS).bytes());
    assert!(scene.reports(Duration::from_secs(20)).is_empty());
    scene.receive(&to_group(PEER, ALL_SYSTEMS, ALL_SYSTEMS_MAC));
    assert_eq!(scene.read(socket), [b"news"]);
}

#[test]
fn what_is_sent_to_a_group_goes_to_its_address_and_no_farther_than_the_link() {
    let (mut scene, _) = host();
    scene.send_v4(7, (GROUP, 9), b"x", &Options::default()).unwrap();
    let far = Options { hop_limit: Some(16), ..Options::default() };
    scene.send_v4(7, (GROUP, 9), b"x", &far).unwrap();
    scene.send_v4(7, (GROUP, 9), &[7; 3_000], &Options::default()).unwrap();
    let sent = scene.sent_v4();
    let lives: Vec<_> = sent.iter().map(|seen| seen.header.time_to_live).collect();
    assert_eq!(lives, [1, 16, 1, 1, 1]);
    assert!(sent.iter().all(|seen| seen.to == GROUP_MAC && seen.source() == HOST));
}

#[test]
fn nobody_is_told_of_what_goes_wrong_with_what_goes_to_a_group() {
    let (mut scene, socket) = host();
    scene.join(socket, Filter::ANY);
    scene.reports(Duration::from_secs(5));
    let closed = udp_bytes((PEER, 5_000), (GROUP, 9), b"x");
    for protocol in [17, 99] {
        let frame = Frame { destination: GROUP, to: GROUP_MAC, ..Frame::new(protocol, &closed) };
        scene.receive(&frame.bytes());
        scene.receive(&Frame { options: vec![30, 0, 0, 0], ..frame }.bytes());
    }
    assert!(scene.sent().is_empty());
}

#[test]
fn more_groups_than_may_be_joined_are_refused_and_the_rest_goes_on() {
    let (mut scene, socket) = host();
    let now = scene.now;
    for number in 0..200u8 {
        let group = IpAddr::from([239, 0, 0, number]);
        let joined = scene.stack.udp_join(now, socket, group, Filter::ANY);
        let expected = if number < 64 { Ok(()) } else { Err(JoinError::TooManyGroups) };
        assert_eq!(joined, expected);
    }
    let many: Vec<_> = (0..200u8).map(|number| IpAddr::from([10, 0, 9, number])).collect();
    let group = IpAddr::from([239, 0, 0, 1]);
    let joined = scene.stack.udp_join(now, socket, group, Filter::Include(many));
    assert_eq!(joined, Err(JoinError::TooManySources));
    let not_one = scene.stack.udp_join(now, socket, PEER.into(), Filter::ANY);
    assert_eq!(not_one, Err(JoinError::NotMulticast));
    let first = Ipv4Addr::new(239, 0, 0, 0);
    scene.receive(&to_group(PEER, first, Mac([1, 0, 0x5e, 0, 0, 0])));
    assert_eq!(scene.read(socket), [b"news"]);
    assert!(!scene.reports(Duration::from_secs(5)).is_empty());
    scene.receive(&arp(REQUEST, (PEER_MAC, PEER), HOST));
    scene.sent();
    scene.converses(socket);
}
