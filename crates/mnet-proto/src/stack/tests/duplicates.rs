//! Which addresses are the host's and which another's (RFC 4862 §5.4, RFC 7217 §6, RFC 7527).

use super::scene6::*;
use super::*;
use crate::Origin;
use crate::config::InterfaceId;

#[test]
fn an_address_is_asked_for_before_it_is_used() {
    let mut scene = new_host(|_| ());
    let seen = record(&mut scene, seconds(3));
    let probes = of_kind(&seen, 135);
    let [(at, probe)] = probes.as_slice() else { panic!("{probes:?}") };
    assert!(*at <= 1_010);
    assert_eq!((probe.source, probe.destination), (NOBODY, solicited(host_local())));
    assert_eq!((probe.target(), probe.hop_limit), (host_local(), 255));
    // A nonce, and no link-layer address.
    assert_eq!((probe.payload[24], probe.payload[25], probe.payload.len()), (14, 1, 32));
    let first_router_solicit = of_kind(&seen, 133)[0].clone();
    assert!(first_router_solicit.0 >= at + 1_000);
    let events: Vec<_> = std::iter::from_fn(|| scene.stack.poll_event()).collect();
    let [Event::Address(AddressEvent::Added(own))] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((own.cidr.address(), own.origin), (host_local().into(), Origin::LinkLocal));
}

#[test]
fn an_address_is_not_used_before_there_was_a_packet_to_ask_for_it_with() {
    let mut scene = new_host(|_| ());
    scene.sent();
    let all: Vec<_> = std::iter::from_fn(|| scene.pool.take()).collect();
    scene.drive(seconds(30));
    assert!(scene.stack.addresses().all(|own| own.tentative));
    assert_eq!((scene.sent6(), events(&mut scene)), (vec![], vec![]));
    // Not as fast as it can.
    let dropped = scene.stack.stats().dropped[Drop::NoPacket];
    assert!((30..400).contains(&dropped), "{dropped}");
    drop(all);
    let seen = record(&mut scene, seconds(3));
    let probes = of_kind(&seen, 135);
    let [(at, probe)] = probes.as_slice() else { panic!("{probes:?}") };
    assert!(*at <= 200 && probe.target() == host_local(), "{probes:?}");
    assert!(scene.stack.addresses().all(|own| !own.tentative));
    // Nor if that was so when it was asked for again.
    let mut scene = while_tentative(|_| advert(host_local(), 0, None).to(a("ff02::1")));
    scene.sent();
    let all: Vec<_> = std::iter::from_fn(|| scene.pool.take()).collect();
    scene.drive(seconds(90));
    drop(all);
    assert!(scene.sent().is_empty() && scene.stack.addresses().all(|own| own.tentative));
    let probes = of_kind(&record(&mut scene, seconds(4)), 135);
    assert_eq!(probes.len(), 3, "{probes:?}");
    assert!(scene.stack.addresses().all(|own| !own.tentative));
}

#[test]
fn nothing_is_answered_or_sent_from_an_address_that_is_not_held_yet() {
    let mut scene = new_host(|_| ());
    let to = |datagram: Datagram6| datagram.to(host_local()).from(a("fe80::1"));
    assert!(scene.answers(to(echo(b"x"))).is_empty());
    assert!(scene.answers(to(raw(6, b"x"))).is_empty());
    let question = solicit(host_local(), Some(PEER_MAC)).from(a("fe80::1"));
    assert!(scene.answers(question).is_empty());
    assert_eq!(scene.send6(a("fe80::1"), b"x"), Err(SendError::RouteNotFound));
    // A neighbour's question is no conflict.
    scene.drive(seconds(3));
    assert!(scene.stack.addresses().all(|own| !own.tentative));
    scene.sent();
    assert_eq!(scene.answers(to(echo(b"x")))[0].kind(), Some((136 - 1, 0)));
}

fn events(scene: &mut Scene) -> Vec<AddressEvent> {
    let events = std::iter::from_fn(|| scene.stack.poll_event());
    let address = |event| match event {
        Event::Address(event) => Some(event),
        Event::Readable(_) => None,
    };
    events.filter_map(address).collect()
}

/// What comes of `frame` while the address for the link is asked for.
fn while_tentative(frame: impl FnOnce(&Seen6) -> Datagram6) -> Scene {
    let mut scene = new_host(|_| ());
    scene.drive(seconds(1));
    let probe = scene.sent_icmp(135).remove(0);
    scene.receive(&frame(&probe).frame());
    scene
}

#[test]
fn an_address_that_another_has_or_is_about_to_take_is_not_used_but_asked_for_again_later() {
    let claims: [fn(&Seen6) -> Datagram6; 3] = [
        |_| advert(host_local(), OVERRIDE, Some(PEER_MAC)).to(a("ff02::1")),
        |_| advert(host_local(), 0, Some(PEER_MAC)).to(a("ff02::1")).from(a("fe80::1")),
        |_| solicit(host_local(), None).from(NOBODY),
    ];
    for claim in claims {
        let mut scene = while_tentative(claim);
        let said = events(&mut scene);
        assert!(matches!(said[..], [AddressEvent::Conflict(_)]), "{said:?}");
        let seen = record(&mut scene, Duration::from_millis(59_900));
        // It is another's, and its group is of no use.
        assert_eq!(of_kind(&seen, 135), []);
        assert_eq!(scene.stack.addresses().count(), 0);
        let question = || solicit(host_local(), Some(PEER_MAC)).from(a("fe80::1"));
        assert_eq!(scene.answers(question()), []);
        let dropped = scene.dropped();
        assert!(dropped.contains(&(Drop::NdpConflict, 1)), "{dropped:?}");
        assert!(dropped.contains(&(Drop::Ipv6Destination, 1)), "{dropped:?}");

        // It is asked for in its group, three times, and used when nobody has spoken up.
        let seen = record(&mut scene, Duration::from_millis(2_900));
        let probes = of_kind(&seen, 135);
        assert_eq!(probes.len(), 3, "{probes:?}");
        for (_, probe) in probes {
            assert_eq!((probe.source, probe.target()), (NOBODY, host_local()));
        }
        assert_ne!(of_kind(&seen, 143), []);
        assert!(scene.stack.addresses().all(|own| own.tentative) && events(&mut scene).is_empty());
        scene.drive(seconds(1));
        let said = events(&mut scene);
        assert!(
            matches!(said[..], [AddressEvent::Added(own)]
            if own.cidr.address() == IpAddr::V6(host_local())),
            "{said:?}"
        );
        // Routers are asked for, as at the start.
        assert_eq!(scene.sent_icmp(133).len(), 1);
        assert_eq!(scene.answers(question())[0].kind(), Some((136, 0)));
    }
}

#[test]
fn whoever_claims_all_addresses_for_long_has_the_host_say_little_and_has_them_no_longer_than_that()
{
    let mut scene =
        new_host(|config| config.ipv6.addresses = vec!["2001:db8::2/64".parse().unwrap()]);
    let ours = [host_local(), host()];
    let (mut said, mut per_minute) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let mut sent = 0;
        for _ in 0..600 {
            for target in ours {
                scene.receive(&advert(target, OVERRIDE, Some(PEER_MAC)).to(a("ff02::1")).frame());
                scene.receive(&solicit(target, None).from(NOBODY).frame());
            }
            sent += record(&mut scene, Duration::from_millis(100)).len();
            said.extend(events(&mut scene));
            assert!(ours.iter().all(|&own| scene.answers(solicit(own, Some(PEER_MAC))).is_empty()));
        }
        per_minute.push(sent);
    }
    assert!(matches!(said[..], [AddressEvent::Conflict(_), AddressEvent::Conflict(_)]), "{said:?}");
    // Of each address: that its group is joined, and left, twice either, and the question.
    assert!(per_minute.iter().all(|&sent| sent <= 2 * 5), "{per_minute:?}");
    scene.drive(seconds(64));
    let said = events(&mut scene);
    assert!(matches!(said[..], [AddressEvent::Added(_), AddressEvent::Added(_)]), "{said:?}");
    assert!(ours.iter().all(|&own| has(&scene, own)));
}

#[test]
fn another_nonce_is_anothers_and_ones_own_that_comes_back_is_not() {
    let repeat = |probe: &Seen6, nonce: u8| {
        let mut body = probe.payload[8..].to_vec();
        body[23] ^= nonce;
        icmp6(135, 0, [0; 4], &body).from(NOBODY).to(probe.destination).hops(255)
    };
    let mut scene = while_tentative(|probe| repeat(probe, 0));
    scene.drive(seconds(2));
    assert!(has(&scene, host_local()) && scene.stack.addresses().all(|own| !own.tentative));
    let scene = while_tentative(|probe| repeat(probe, 1));
    assert!(!has(&scene, host_local()));
}

#[test]
fn an_address_that_is_lost_can_be_spoken_to() {
    let mut scene = while_tentative(|_| advert(host_local(), OVERRIDE, None).to(a("ff02::1")));
    scene.stack.add_address(scene.now, "fe80::2/64".parse().unwrap()).unwrap();
    scene.drive(seconds(3));
    assert_eq!(sends(&mut scene, host_local()).target(), host_local());
    scene.receive(&advert(host_local(), SOLICITED, Some(PEER_MAC)).to(a("fe80::2")).frame());
    assert_eq!(scene.sent_one().to, PEER_MAC);
    let answers = scene.answers(echo(b"x").from(host_local()).to(a("fe80::2")));
    assert_eq!(answers[0].kind(), Some((129, 0)));
}

#[test]
fn a_held_address_stays_whoever_else_claims_it() {
    let mut scene = scene();
    scene.receive(&advert(host(), OVERRIDE, Some(PEER_MAC)).from(peer()).to(a("ff02::1")).frame());
    assert_eq!(scene.dropped(), [(Drop::NdpConflict, 1)]);
    scene.meet(peer(), PEER_MAC);
    assert_eq!(scene.answers(echo(b""))[0].source, host());
}

#[test]
fn of_a_stable_identifier_there_are_three_more_after_conflicts_and_the_last_is_asked_for_again() {
    let mut scene = new_host(|config| config.ipv6.interface_id = InterfaceId::default());
    let mut tried = Vec::new();
    for _ in 0..600 {
        scene.drive(Duration::from_millis(100));
        for probe in scene.sent_icmp(135) {
            tried.push(probe.target());
            let claim = advert(probe.target(), OVERRIDE, Some(PEER_MAC)).to(a("ff02::1"));
            scene.receive(&claim.frame());
        }
    }
    assert_eq!(tried.len(), 4);
    tried.dedup();
    assert_eq!(tried.len(), 4);
    assert_eq!(scene.stack.addresses().count(), 0);
    assert!(tried.iter().all(|address| address.segments()[..4] == [0xfe80, 0, 0, 0]));
    let said = events(&mut scene);
    let is_conflict = |event: &_| matches!(event, AddressEvent::Conflict(_));
    assert!(said.len() == 4 && said.iter().all(is_conflict), "{said:?}");
    // After a minute the last of them is asked for again.
    let probes = of_kind(&record(&mut scene, seconds(20)), 135);
    assert!(probes.len() == 3 && probes.iter().all(|(_, probe)| probe.target() == tried[3]));
    let said = events(&mut scene);
    assert!(
        matches!(said[..], [AddressEvent::Added(own)]
        if own.cidr.address() == IpAddr::V6(tried[3])),
        "{said:?}"
    );
}
