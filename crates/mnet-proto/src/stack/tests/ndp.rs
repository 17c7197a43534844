//! Neighbour discovery: solicitations, advertisements, and unreachability (RFC 4861 §7; RFC 6980,
//! 7527).

use std::net::Ipv6Addr;

use super::scene6::*;
use super::*;
use crate::IcmpError;

pub(super) const OTHER_MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);
const NOBODY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

pub(super) fn second(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// To which card a datagram for an address goes; `None` if the card is asked for first.
pub(super) fn way(scene: &mut Scene, to: Ipv6Addr) -> Option<Mac> {
    scene.sent();
    scene.send6(to, b"x").unwrap();
    let mut sent = scene.sent6();
    sent.retain(|seen| seen.next == UDP);
    sent.first().map(|seen| seen.to)
}

/// Sends to a neighbour that is not known, and takes the question for it.
pub(super) fn ask(scene: &mut Scene, address: Ipv6Addr) -> Seen6 {
    scene.sent();
    scene.send6(address, b"x").unwrap();
    scene.sent_one()
}

/// A neighbour that has just answered.
fn reachable() -> Scene {
    let mut scene = scene();
    ask(&mut scene, peer());
    scene.receive(&answer(Some(PEER_MAC)).frame());
    assert_eq!(scene.sent_one().next, UDP);
    scene
}

fn answer(mac: Option<Mac>) -> Datagram6 {
    advert(peer(), SOLICITED | OVERRIDE, mac)
}

#[test]
fn a_neighbour_is_asked_for_by_its_group_and_gets_what_waited() {
    let mut scene = scene();
    let question = ask(&mut scene, peer());
    assert_eq!((question.kind(), question.target()), (Some((135, 0)), peer()));
    assert_eq!((question.source, question.destination), (host(), solicited(peer())));
    assert_eq!((question.hop_limit, &question.payload[24..]), (255, &link_option(1, HOST_MAC)[..]));
    scene.receive(&answer(Some(PEER_MAC)).frame());
    let sent = scene.sent_one();
    assert_eq!((sent.next, sent.to, sent.hop_limit), (UDP, PEER_MAC, 64));
}

#[test]
fn a_question_comes_from_the_address_that_what_waits_comes_from() {
    let mut scene = scene();
    let local = Local::from((host_local(), 9));
    let packet = scene.pool.take().unwrap();
    scene.send(local, (peer(), 9).into(), packet).unwrap();
    assert_eq!(scene.sent_one().source, host_local());
}

#[test]
fn a_solicitation_is_answered_to_who_asks() {
    for target in [host(), host_local()] {
        let mut scene = scene();
        for to in [solicited(target), target] {
            let answers = scene.answers(solicit(target, Some(PEER_MAC)).to(to));
            let [answer] = answers.as_slice() else { panic!("{answers:?}") };
            assert_eq!((answer.kind(), answer.target()), (Some((136, 0)), target));
            assert_eq!(answer.payload[4..8], [SOLICITED | OVERRIDE, 0, 0, 0]);
            assert_eq!(answer.payload[24..], link_option(2, HOST_MAC));
            assert_eq!((answer.source, answer.destination), (target, peer()));
            assert_eq!((answer.hop_limit, answer.to), (255, PEER_MAC));
        }
    }
}

#[test]
fn who_has_no_address_yet_is_answered_before_all() {
    let mut scene = scene();
    let answers = scene.answers(solicit(host(), None).from(NOBODY));
    let [answer] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!((answer.kind(), answer.target()), (Some((136, 0)), host()));
    assert_eq!(answer.payload[4..8], [OVERRIDE, 0, 0, 0]);
    assert_eq!(answer.payload[24..], link_option(2, HOST_MAC));
    assert_eq!((answer.destination, answer.hop_limit), (a("ff02::1"), 255));
}

#[test]
fn a_solicitation_that_breaks_a_rule_is_not_answered() {
    let good = || solicit(host(), Some(PEER_MAC));
    let mut code = good();
    code.payload[1] = 1;
    let mut group = good();
    group.payload[8..24].copy_from_slice(&solicited(host()).octets());
    let mut short = good();
    short.payload.truncate(23);
    let mut no_length = good();
    no_length.payload[25] = 0;
    let mut long_option = good();
    long_option.payload[25] = 2;
    let mut long_address = long_option.clone();
    long_address.payload.extend([0; 8]);
    let atomic = fragment_header(0, false, 1);
    let cases = [
        good().hops(254),
        good().hops(1),
        code,
        group,
        short,
        no_length,
        long_option,
        long_address,
        solicit(host(), Some(PEER_MAC)).from(NOBODY),
        solicit(host(), None).from(NOBODY).to(a("ff02::1")),
        solicit(host(), None).from(NOBODY).to(host()),
        good().header(FRAGMENT, &atomic),
        solicit(a("2001:db8::3"), Some(PEER_MAC)).to(solicited(host())),
    ];
    for (at, case) in cases.into_iter().enumerate() {
        let mut scene = scene();
        assert_eq!(scene.answers(case), [], "{at}");
        let foreign = [(Drop::NdpForeign, 1)];
        let malformed = [(Drop::NdpMalformed, 1)];
        assert_eq!(scene.dropped(), if at == 12 { foreign } else { malformed }, "{at}");
        // Nor is anything learnt from it.
        assert_eq!(way(&mut scene, peer()), None, "{at}");
    }
    let mut in_pieces = scene();
    good().fragments(3, &[24, 32]).iter().for_each(|frame| in_pieces.receive(frame));
    assert_eq!(in_pieces.sent6(), []);
    let mut checksum = good().frame();
    checksum[60] ^= 1;
    let mut scene = scene();
    scene.receive(&checksum);
    assert_eq!((scene.sent6(), scene.dropped()), (vec![], vec![(Drop::IcmpMalformed, 1)]));
}

#[test]
fn unknown_options_are_passed_over() {
    let mut scene = scene();
    let mut question = solicit(host(), Some(PEER_MAC));
    question.payload.extend([200, 2].into_iter().chain([0xff; 14]));
    assert_eq!(scene.answers(question).len(), 1);
    assert_eq!(way(&mut scene, peer()), Some(PEER_MAC));
}

#[test]
fn a_solicitation_makes_its_sender_known_and_changes_what_is_known() {
    let mut scene = scene();
    scene.meet(peer(), PEER_MAC);
    assert_eq!(way(&mut scene, peer()), Some(PEER_MAC));
    scene.meet(peer(), OTHER_MAC);
    assert_eq!(way(&mut scene, peer()), Some(OTHER_MAC));
    // It is not known to hear us: it is asked after five seconds, itself.
    scene.drive(second(5.1));
    let probe = scene.sent_one();
    assert_eq!((probe.kind(), probe.to), (Some((135, 0)), OTHER_MAC));
}

#[test]
fn an_advertisement_that_nobody_asked_for_makes_nobody_known() {
    let mut scene = scene();
    for flags in [0, SOLICITED | OVERRIDE, OVERRIDE] {
        scene.receive(&advert(peer(), flags, Some(PEER_MAC)).frame());
    }
    assert_eq!(way(&mut scene, peer()), None);
}

#[test]
fn an_advertisement_that_breaks_a_rule_is_not_believed() {
    let mut code = answer(Some(PEER_MAC));
    code.payload[1] = 1;
    let mut short = answer(None);
    short.payload.truncate(23);
    let mut group = answer(Some(PEER_MAC));
    group.payload[8] = 0xff;
    let mut no_length = answer(Some(PEER_MAC));
    no_length.payload[25] = 0;
    for (at, case) in [
        answer(Some(PEER_MAC)).hops(254),
        code,
        short,
        group,
        no_length,
        answer(Some(PEER_MAC)).to(a("ff02::1")),
        answer(Some(PEER_MAC)).header(FRAGMENT, &fragment_header(0, false, 1)),
        answer(None),
        answer(Some(Mac::BROADCAST)),
        advert(a("2001:db8::9"), SOLICITED | OVERRIDE, Some(OTHER_MAC)).from(peer()),
    ]
    .into_iter()
    .enumerate()
    {
        let mut scene = scene();
        ask(&mut scene, peer());
        scene.receive(&case.frame());
        assert_eq!(scene.sent6(), [], "{at}");
        scene.receive(&answer(Some(PEER_MAC)).frame());
        assert_eq!(scene.sent_one().to, PEER_MAC, "{at}");
    }
}

#[test]
fn an_advertisement_that_is_not_solicited_resolves_and_is_checked_soon() {
    let mut scene = scene();
    ask(&mut scene, peer());
    scene.receive(&advert(peer(), 0, Some(PEER_MAC)).to(a("ff02::1")).frame());
    assert_eq!(scene.sent_one().to, PEER_MAC);
    scene.drive(second(5.1));
    let probe = scene.sent_one();
    assert_eq!((probe.kind(), probe.to), (Some((135, 0)), PEER_MAC));
    assert_eq!(probe.destination, peer());
}

/// What becomes of a reachable neighbour by an advertisement: who is sent to, and whether it is
/// asked within six seconds if it is still there.
fn after(flags: u8, mac: Option<Mac>) -> (Mac, bool) {
    let mut scene = reachable();
    let to = if flags & SOLICITED != 0 { host() } else { a("ff02::1") };
    scene.receive(&advert(peer(), flags, mac).to(to).frame());
    let to = way(&mut scene, peer()).unwrap();
    scene.drive(second(6.0));
    (to, !scene.sent_icmp(135).is_empty())
}

#[test]
fn what_is_known_changes_as_in_the_table_of_rfc_4861() {
    // Without override, another address makes it doubted, and the old one stays.
    assert_eq!(after(0, Some(OTHER_MAC)), (PEER_MAC, true));
    assert_eq!(after(SOLICITED, Some(OTHER_MAC)), (PEER_MAC, true));
    // With it, the new one is taken, and doubted unless it was asked for.
    assert_eq!(after(OVERRIDE, Some(OTHER_MAC)), (OTHER_MAC, true));
    assert_eq!(after(SOLICITED | OVERRIDE, Some(OTHER_MAC)), (OTHER_MAC, false));
    // The same address, or none, changes nothing.
    for flags in [0, OVERRIDE, SOLICITED, SOLICITED | OVERRIDE] {
        assert_eq!(after(flags, Some(PEER_MAC)), (PEER_MAC, false));
        assert_eq!(after(flags, None), (PEER_MAC, false));
    }
}

#[test]
fn a_stale_neighbour_is_not_confirmed_by_an_address_without_override() {
    let mut scene = scene();
    scene.meet(peer(), PEER_MAC);
    assert_eq!(way(&mut scene, peer()), Some(PEER_MAC));
    scene.receive(&advert(peer(), SOLICITED, Some(OTHER_MAC)).frame());
    scene.drive(second(5.1));
    assert_eq!(scene.sent_icmp(135).len(), 1);
}

#[test]
fn an_answer_without_an_address_confirms_who_is_probed() {
    let mut scene = scene();
    scene.meet(peer(), PEER_MAC);
    way(&mut scene, peer());
    scene.drive(second(5.1));
    assert_eq!(scene.sent_icmp(135).len(), 1);
    scene.receive(&answer(None).frame());
    scene.drive(second(10.0));
    assert_eq!(scene.sent_icmp(135), []);
    assert_eq!(way(&mut scene, peer()), Some(PEER_MAC));
}

#[test]
fn a_neighbour_that_answered_is_believed_about_half_a_minute() {
    let mut scene = reachable();
    scene.drive(second(14.9));
    assert_eq!(way(&mut scene, peer()), Some(PEER_MAC));
    scene.drive(second(30.2));
    assert_eq!(scene.sent_icmp(135), []);
    // Then it is asked, five seconds after it is used again, three times, a second apart.
    assert_eq!(way(&mut scene, peer()), Some(PEER_MAC));
    let times: Vec<_> = (0..100)
        .filter(|_| {
            scene.drive(second(0.1));
            let probes = scene.sent_icmp(135);
            let unicast = |probe: &Seen6| (probe.to, probe.destination) == (PEER_MAC, peer());
            assert!(probes.iter().all(unicast));
            !probes.is_empty()
        })
        .collect();
    assert_eq!(times.len(), 3);
    assert!((49..=50).contains(&times[0]) && times[2] - times[0] == 20, "{times:?}");
    // It is forgotten after that.
    assert_eq!(way(&mut scene, peer()), None);
}

#[test]
fn who_does_not_answer_is_asked_three_times_and_senders_are_told() {
    let mut scene = scene();
    scene.send6(peer(), b"x").unwrap();
    let mut asked = 0;
    for _ in 0..29 {
        scene.drive(second(0.1));
        asked += scene.sent_icmp(135).len();
        scene.send6(peer(), b"y").unwrap();
    }
    assert_eq!(asked, 3);
    scene.drive(second(0.2));
    assert_eq!(scene.sent6(), []);
    let error = SendError::DestinationUnreachable(IcmpError::HostUnreachable);
    assert_eq!(scene.send6(peer(), b"z"), Err(error));
    // Late is as good as never, and it is asked again after a while.
    scene.receive(&answer(Some(PEER_MAC)).frame());
    assert_eq!(scene.send6(peer(), b"z"), Err(error));
    scene.drive(second(1.1));
    assert_eq!(way(&mut scene, peer()), None);
}

#[test]
fn what_waited_in_vain_is_told_of_to_its_socket() {
    let mut scene = scene();
    let socket = scene.stack.udp_bind(5_353).unwrap();
    scene.send6(peer(), b"x").unwrap();
    scene.drive(second(2.9));
    assert_eq!(scene.stack.udp_mut().receive_error(socket), None);
    scene.drive(second(0.2));
    let report = scene.stack.udp_mut().receive_error(socket).unwrap();
    assert_eq!((report.local, report.remote), ((host(), 5_353).into(), (peer(), 9).into()));
    assert_eq!((report.reporter, report.error), (host().into(), IcmpError::HostUnreachable));
    assert_eq!(scene.stack.udp_mut().receive_error(socket), None);
    assert_eq!(scene.dropped(), [(Drop::NeighborUnreachable, 1)]);
}

#[test]
fn eight_packets_wait_for_each_neighbour_and_the_newest_stay() {
    let mut scene = scene();
    for number in 0..12u8 {
        scene.send6(peer(), &[number]).unwrap();
        scene.send6(a("2001:db8::9"), &[number]).unwrap();
    }
    scene.sent();
    scene.receive(&answer(Some(PEER_MAC)).frame());
    let sent: Vec<_> = scene.sent6().iter().map(|seen| seen.payload[8]).collect();
    assert_eq!(sent, (4..12).collect::<Vec<_>>());
    assert_eq!(scene.dropped(), [(Drop::NeighborQueueFull, 8)]);
}

#[test]
fn however_many_neighbours_ask_a_conversation_goes_on() {
    let mut scene = reachable();
    let all = 0..2_000u16;
    for number in all.clone() {
        let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 1, 0, 0, number);
        scene.receive(&solicit(host(), Some(OTHER_MAC)).from(other).frame());
        if number % 100 == 0 {
            scene.drive(second(0.1));
            assert_eq!(way(&mut scene, peer()), Some(PEER_MAC));
        }
    }
    // Not even if it rests for longer than they take, and others find a place still.
    for _ in 0..600 {
        scene.drive(second(0.1));
        scene.sent();
    }
    for number in all.clone() {
        let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 3, 0, 0, number);
        scene.receive(&solicit(host(), Some(OTHER_MAC)).from(other).frame());
        scene.sent();
    }
    assert_eq!(way(&mut scene, peer()), Some(PEER_MAC));
    assert_eq!(ask(&mut scene, a("2001:db8::99")).target(), a("2001:db8::99"));
    scene.receive(&answer(Some(PEER_MAC)).frame());
    // Nor do those that are asked for in vain take its place.
    for number in all {
        let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 2, 0, 0, number);
        let _ = scene.send6(other, b"x");
        scene.sent();
    }
    assert_eq!(way(&mut scene, peer()), Some(PEER_MAC));
    assert!(scene.pool.available() > 0);
    scene.drive(second(5.0));
    scene.sent();
    assert_eq!(scene.pool.available(), scene.pool.capacity());
}
