//! Routers, prefixes, and the addresses that a host makes of them (RFC 4861 §6, RFC 4191, 4862, 5942,
//! 7559, 8106).

use std::net::Ipv6Addr;

use super::scene6::*;
use super::*;
use crate::Origin;

const BOTH: u8 = ON_LINK | AUTONOMOUS;
const FOREVER: u32 = u32::MAX;

fn far() -> Ipv6Addr {
    a("2001:db8:ffff::1")
}

/// The neighbour that is asked for, or sent to, if `to` is sent to.
fn first_hop(scene: &mut Scene, to: Ipv6Addr) -> Option<Ipv6Addr> {
    scene.sent();
    scene.send6(to, b"x").ok()?;
    if scene.stack.outgoing().is_empty() {
        // It is being asked for already.
        scene.drive(seconds(1));
    }
    let sent = scene.sent6().pop()?;
    match sent.kind() {
        Some((135, _)) => Some(sent.target()),
        _ => Some(if sent.to == ROUTER_MAC { router() } else { sent.destination }),
    }
}

fn made(scene: &Scene) -> Vec<Address> {
    scene.stack.addresses().filter(|address| address.origin == Origin::Router).collect()
}

fn slaac(prefix: &str) -> Ipv6Addr {
    a(&format!("{prefix}:0:ff:fe00:2"))
}

#[test]
fn listeners_are_told_of_from_nobody_until_there_is_an_address() {
    let mut scene = new_host(|_| ());
    let reports = of_kind(&record(&mut scene, seconds(6)), 143);
    let held = |(_, report): &&(u64, Seen6)| report.source == host_local();
    let (after, before): (Vec<_>, Vec<_>) = reports.iter().partition(held);
    assert!(!before.is_empty() && !after.is_empty());
    assert!(before.iter().all(|(at, report)| report.source == NOBODY && *at < 2_020));
    for (_, report) in reports {
        assert_eq!((report.hop_limit, report.destination), (1, a("ff02::16")));
        assert!(report.hop_by_hop.is_some());
        // All nodes' group is nobody's to tell of.
        assert_eq!(report.payload[4..8], [0, 0, 0, 1]);
        assert_eq!(report.payload[12..28], solicited(host_local()).octets());
    }
}

#[test]
fn routers_are_asked_for_ever_less_often_until_one_answers() {
    let mut scene = new_host(|_| ());
    let seen = record(&mut scene, seconds(300));
    let solicits = of_kind(&seen, 133);
    let mut expected = 4_000.0;
    for pair in solicits.windows(2) {
        let gap = (pair[1].0 - pair[0].0) as f64;
        assert!((0.89..1.11).contains(&(gap / expected)), "{gap} for {expected}");
        expected *= 2.0;
    }
    assert!(solicits.len() >= 6, "{}", solicits.len());
    let (_, solicit) = &solicits[0];
    assert_eq!((solicit.source, solicit.destination), (host_local(), a("ff02::2")));
    assert_eq!((solicit.hop_limit, &solicit.payload[8..]), (255, &link_option(1, HOST_MAC)[..]));
    // One that is no default router does not end it.
    scene.receive(&router_advert(0, &[]).frame());
    assert_ne!(of_kind(&record(&mut scene, seconds(600)), 133), []);
    scene.advertise(&[]);
    assert_eq!(of_kind(&record(&mut scene, seconds(1_700)), 133), []);
}

#[test]
fn a_router_that_has_spoken_already_is_not_asked_for() {
    let mut scene = new_host(|_| ());
    scene.advertise(&[]);
    assert_eq!(of_kind(&record(&mut scene, seconds(100)), 133), []);
    assert!(has(&scene, host_local()));
}

#[test]
fn a_router_is_used_for_its_lifetime_and_no_longer() {
    let mut scene = scene();
    assert_eq!(scene.send6(far(), b"x"), Err(SendError::RouteNotFound));
    scene.receive(&router_advert(10, &link_option(1, ROUTER_MAC)).frame());
    assert_eq!(sends(&mut scene, far()).to, ROUTER_MAC);
    scene.drive(seconds(9));
    assert_eq!(first_hop(&mut scene, far()), Some(router()));
    scene.drive(seconds(2));
    assert_eq!(scene.send6(far(), b"x"), Err(SendError::RouteNotFound));
    scene.advertise(&link_option(1, ROUTER_MAC));
    assert_eq!(first_hop(&mut scene, far()), Some(router()));
    scene.receive(&router_advert(0, &[]).frame());
    assert_eq!(scene.send6(far(), b"x"), Err(SendError::RouteNotFound));
}

#[test]
fn a_router_advertisement_that_breaks_a_rule_is_not_believed() {
    let prefix = prefix_option("2001:db8:1::/64", BOTH, 600, 600);
    let good = || router_advert(1_800, &prefix);
    let mut code = good();
    code.payload[1] = 1;
    let mut short = router_advert(1_800, &[]);
    short.payload.truncate(15);
    let mut no_length = good();
    no_length.payload[17] = 0;
    let mut long_option = good();
    long_option.payload[17] = 5;
    for (at, case) in [
        good().hops(254),
        good().from(a("2001:db8::99")),
        good().from(NOBODY),
        good().header(FRAGMENT, &fragment_header(0, false, 1)),
        code,
        short,
        no_length,
        long_option,
    ]
    .into_iter()
    .enumerate()
    {
        let mut scene = scene();
        scene.receive(&case.frame());
        assert_eq!(scene.send6(far(), b"x"), Err(SendError::RouteNotFound), "{at}");
        assert_eq!(made(&scene), [], "{at}");
        assert_eq!(scene.dropped(), [(Drop::NdpMalformed, 1)], "{at}");
    }
}

#[test]
fn one_that_says_it_is_no_router_any_more_is_none() {
    let mut scene = scene();
    scene.advertise(&link_option(1, ROUTER_MAC));
    let says = |flags| advert(router(), flags, Some(ROUTER_MAC)).to(host_local());
    scene.receive(&says(ROUTER | SOLICITED).frame());
    assert_eq!(first_hop(&mut scene, far()), Some(router()));
    // What is passed over changes nothing.
    scene.receive(&advert(router(), 0, Some(PEER_MAC)).to(a("ff02::1")).frame());
    assert_eq!(first_hop(&mut scene, far()), Some(router()));
    scene.receive(&says(SOLICITED | OVERRIDE).frame());
    assert_eq!(scene.send6(far(), b"x"), Err(SendError::RouteNotFound));
}

/// An advertisement of another router, of a preference as in its flags.
fn other_router(number: u16, preference: u8, options: &[u8]) -> Datagram6 {
    let mut advert = router_advert(1_800, options);
    advert.payload[5] = preference;
    advert.from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number))
}

#[test]
fn a_router_that_is_preferred_is_chosen_and_of_the_reachable_ones_first() {
    const HIGH: u8 = 0x08;
    const LOW: u8 = 0x18;
    let mut scene = scene();
    scene.receive(&other_router(1, LOW, &[]).frame());
    assert_eq!(first_hop(&mut scene, far()), Some(a("fe80::1")));
    scene.receive(&other_router(2, 0, &[]).frame());
    assert_eq!(first_hop(&mut scene, far()), Some(a("fe80::2")));
    scene.receive(&other_router(3, HIGH, &[]).frame());
    assert_eq!(first_hop(&mut scene, far()), Some(a("fe80::3")));
    // One that is known to be there goes before.
    scene.receive(&other_router(1, LOW, &link_option(1, PEER_MAC)).frame());
    assert_eq!(sends(&mut scene, far()).to, PEER_MAC);
    // The reserved value is medium.
    scene.receive(&other_router(4, 0x10, &link_option(1, ROUTER_MAC)).frame());
    assert_eq!(sends(&mut scene, far()).to, ROUTER_MAC);
}

#[test]
fn a_router_that_is_dead_is_replaced_by_another() {
    let mut scene = scene();
    scene.receive(&other_router(1, 0x08, &link_option(1, PEER_MAC)).frame());
    scene.receive(&other_router(2, 0, &link_option(1, ROUTER_MAC)).frame());
    assert_eq!(sends(&mut scene, far()).to, PEER_MAC);
    // Five seconds of waiting for a sign of life, and three questions.
    scene.drive(Duration::from_millis(8_100));
    assert_eq!(sends(&mut scene, far()).to, ROUTER_MAC);
    // None that was ever heard from: they take turns.
    let mut scene = scene_with(|_| ());
    scene.receive(&other_router(1, 0x08, &[]).frame());
    scene.receive(&other_router(2, 0, &[]).frame());
    assert_eq!(first_hop(&mut scene, far()), Some(a("fe80::1")));
    scene.drive(Duration::from_millis(3_100));
    assert_eq!(first_hop(&mut scene, far()), Some(a("fe80::2")));
}

#[test]
fn of_too_many_routers_and_prefixes_the_newcomers_are_ignored() {
    let mut scene = scene();
    scene.advertise(&link_option(1, ROUTER_MAC));
    for number in 1..1_000u16 {
        let prefix = prefix_option(&format!("2001:db8:{number:x}::/64"), BOTH, 7_200, 7_200);
        scene.receive(&other_router(number, 0, &prefix).frame());
    }
    assert_eq!(sends(&mut scene, far()).to, ROUTER_MAC);
    assert_eq!(scene.stack.addresses().count(), 16);
    let dropped = scene.stack.stats().dropped.clone();
    // One of them is the first again.
    assert_eq!(dropped[Drop::TooManyRoutes], (998 - 7) + (999 - 16));
    assert_eq!(dropped[Drop::TooManyAddresses], 999 - 14);
    // On the link is what was named first.
    let on_link = a("2001:db8:10::7");
    assert_eq!(first_hop(&mut scene, on_link), Some(on_link));
    assert_eq!(first_hop(&mut scene, a("2001:db8:11::7")), Some(router()));
}

#[test]
fn what_is_on_the_link_is_told_by_routers_alone() {
    let mut scene = scene();
    let there = a("2001:db8:1::7");
    scene.advertise(&link_option(1, ROUTER_MAC));
    assert_eq!(first_hop(&mut scene, there), Some(router()));
    for near in [a("fe80::7"), a("fe80:0:0:1::7"), a("febf:1::7")] {
        assert_eq!(first_hop(&mut scene, near), Some(near));
    }
    // RFC 5942 §4: an address of one's own says nothing of others.
    scene.advertise(&prefix_option("2001:db8:1::/64", AUTONOMOUS, 7_200, 7_200));
    scene.drive(seconds(3));
    assert!(has(&scene, slaac("2001:db8:1:0")));
    assert_eq!(first_hop(&mut scene, there), Some(router()));
    scene.advertise(&prefix_option("2001:db8:1::/64", ON_LINK, 100, 100));
    assert_eq!(first_hop(&mut scene, there), Some(there));
    // A prefix without the bit takes nothing back.
    scene.advertise(&prefix_option("2001:db8:1::/64", 0, 0, 0));
    assert_eq!(first_hop(&mut scene, there), Some(there));
    scene.drive(seconds(101));
    assert_eq!(first_hop(&mut scene, there), Some(router()));
    scene.advertise(&prefix_option("2001:db8:1::/64", ON_LINK, 100, 100));
    scene.advertise(&prefix_option("2001:db8:1::/64", ON_LINK, 0, 0));
    assert_eq!(first_hop(&mut scene, there), Some(router()));
}

#[test]
fn an_address_is_made_of_a_prefix_asked_for_and_used() {
    let mut scene = scene();
    scene.advertise(&prefix_option("2001:db8:1::/64", BOTH, 7_200, 3_600));
    assert!(made(&scene)[0].tentative);
    let own = slaac("2001:db8:1:0");
    let seen = record(&mut scene, seconds(3));
    let probes = of_kind(&seen, 135);
    assert_eq!((probes.len(), probes[0].1.target(), probes[0].1.source), (1, own, NOBODY));
    let address = made(&scene)[0];
    assert_eq!((address.cidr.address(), address.tentative), (own.into(), false));
    assert_eq!(sends(&mut scene, a("2001:db8:1::7")).source, own);
    scene.meet(peer(), PEER_MAC);
    assert_eq!(scene.answers(echo(b"").to(own))[0].source, own);
}

#[test]
fn prefixes_of_which_no_address_can_be_made_are_passed_over() {
    let mut scene = scene();
    for (prefix, flags, valid, preferred) in [
        ("2001:db8:1::/64", BOTH, 3_600, 7_200),
        ("2001:db8:1::/64", BOTH, 0, 0),
        ("2001:db8:1::/64", ON_LINK, 7_200, 7_200),
        ("2001:db8:1::/63", BOTH, 7_200, 7_200),
        ("2001:db8:1::/80", BOTH, 7_200, 7_200),
        ("2001:db8:1::/129", BOTH, 7_200, 7_200),
        ("fe80::/64", BOTH, 7_200, 7_200),
        ("ff02::/64", BOTH, 7_200, 7_200),
    ] {
        scene.advertise(&prefix_option(prefix, flags, valid, preferred));
        assert_eq!(made(&scene), [], "{prefix} {flags} {valid} {preferred}");
    }
    // Who contradicts itself is not believed in what is on the link either.
    let mut scene = self::scene();
    scene.advertise(&prefix_option("2001:db8:9::/64", ON_LINK, 3_600, 7_200));
    assert_eq!(sends(&mut scene, a("2001:db8:9::1")).target(), router());
}

#[test]
fn nobody_shortens_the_life_of_an_address_below_two_hours() {
    let life = |first: u32, later: u32| {
        let mut scene = scene();
        scene.advertise(&prefix_option("2001:db8:1::/64", BOTH, first, first));
        scene.advertise(&prefix_option("2001:db8:1::/64", BOTH, later, later.min(60)));
        let address = made(&scene)[0];
        assert_eq!((address.preferred_until - scene.now).as_secs(), later.min(60).into());
        (address.valid_until - scene.now).as_secs()
    };
    assert_eq!(life(86_400, 0), 7_200);
    assert_eq!(life(86_400, 60), 7_200);
    assert_eq!(life(86_400, 7_200), 7_200);
    assert_eq!(life(86_400, 7_201), 7_201);
    assert_eq!(life(86_400, 90_000), 90_000);
    assert_eq!(life(3_600, 60), 3_600);
    assert_eq!(life(3_600, 3_601), 3_601);
    assert_eq!(life(3_600, 10_000), 10_000);
    assert_eq!(life(FOREVER, 60), 7_200);
}

#[test]
fn an_address_that_is_not_preferred_is_answered_from_and_not_chosen() {
    let mut scene = scene();
    scene.advertise(&prefix_option("2001:db8:1::/64", BOTH, 7_200, 100));
    scene.advertise(&link_option(1, ROUTER_MAC));
    scene.drive(seconds(3));
    let (to, own) = (a("2001:db8:1:1::7"), slaac("2001:db8:1:0"));
    assert_eq!(sends(&mut scene, to).source, own);
    scene.drive(seconds(98));
    assert_eq!(sends(&mut scene, to).source, host());
    scene.meet(peer(), PEER_MAC);
    assert_eq!(scene.answers(echo(b"").to(own))[0].source, own);
    scene.advertise(&link_option(1, ROUTER_MAC));
    scene.advertise(&prefix_option("2001:db8:1::/64", BOTH, 7_200, 100));
    assert_eq!(sends(&mut scene, to).source, own);
}

#[test]
fn an_address_that_is_not_valid_is_gone() {
    let mut scene = scene();
    scene.advertise(&prefix_option("2001:db8:1::/64", BOTH, 100, 50));
    scene.drive(seconds(99));
    let own = slaac("2001:db8:1:0");
    assert!(has(&scene, own));
    while scene.stack.poll_event().is_some() {}
    scene.drive(seconds(2));
    assert!(!has(&scene, own));
    let event = scene.stack.poll_event();
    assert!(matches!(event, Some(Event::Address(AddressEvent::Removed(_)))), "{event:?}");
    scene.sent();
    scene.receive(&solicit(own, Some(PEER_MAC)).frame());
    assert_eq!(scene.sent_icmp(136), []);
}

#[test]
fn a_router_says_how_far_datagrams_go_and_how_large_they_are() {
    let mtu = |mtu: u32| [&[5, 1, 0, 0][..], &mtu.to_be_bytes()].concat();
    let mut scene = scene_with_neighbor();
    for (said, passes) in [
        (1_400, 1_400),
        (1_279, 1_400),
        (1_501, 1_400),
        (u32::MAX, 1_400),
        (1_280, 1_280),
        (1_500, 1_500),
    ] {
        scene.advertise(&mtu(said));
        scene.sent();
        scene.send6(peer(), &[0; 1_452]).unwrap();
        let longest = scene.sent6().iter().map(|seen| 40 + seen.payload.len()).max().unwrap();
        assert_eq!(longest, passes / 8 * 8 + (passes % 8).min(4), "{said}");
    }
    let mut advert = router_advert(1_800, &[]);
    advert.payload[4] = 17;
    scene.receive(&advert.clone().frame());
    assert_eq!(sends(&mut scene, peer()).hop_limit, 17);
    advert.payload[4] = 0;
    scene.receive(&advert.frame());
    assert_eq!(sends(&mut scene, peer()).hop_limit, 17);
}

#[test]
fn a_router_says_how_long_neighbours_are_believed_and_asked() {
    let mut scene = scene();
    let mut advert6 = router_advert(1_800, &[]);
    advert6.payload[8..12].copy_from_slice(&2_000u32.to_be_bytes());
    advert6.payload[12..16].copy_from_slice(&250u32.to_be_bytes());
    scene.receive(&advert6.frame());
    scene.send6(peer(), b"x").unwrap();
    let questions = of_kind(&record(&mut scene, seconds(2)), 135);
    let times: Vec<_> = questions.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 250, 500]);
    // Nothing is said by 0.
    scene.advertise(&[]);
    scene.send6(peer(), b"x").unwrap();
    scene.receive(&advert(peer(), SOLICITED | OVERRIDE, Some(PEER_MAC)).frame());
    scene.drive(seconds(3));
    assert_eq!(sends(&mut scene, peer()).to, PEER_MAC);
    let probes = of_kind(&record(&mut scene, seconds(6)), 135);
    let times: Vec<_> = probes.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [5_000, 5_250, 5_500]);
}

#[test]
fn dns_servers_are_known_for_their_lifetimes() {
    let rdnss = |lifetime: u32, servers: &[&str]| {
        let mut option = vec![25, 1 + 2 * servers.len() as u8, 0, 0];
        option.extend(lifetime.to_be_bytes());
        servers.iter().for_each(|server| option.extend(a(server).octets()));
        option
    };
    let servers = |scene: &Scene| -> Vec<_> {
        scene.stack.dns_servers().map(|server| server.to_string()).collect()
    };
    let mut scene = scene();
    scene.advertise(&rdnss(100, &["2001:db8::53", "fe80::53"]));
    scene.advertise(&rdnss(200, &["2001:db8::54", "ff02::fb", "::"]));
    assert_eq!(servers(&scene), ["2001:db8::53", "fe80::53", "2001:db8::54"]);
    scene.advertise(&rdnss(0, &["fe80::53", "2001:db8::55"]));
    assert_eq!(servers(&scene), ["2001:db8::53", "2001:db8::54"]);
    scene.drive(seconds(101));
    assert_eq!(servers(&scene), ["2001:db8::54"]);
    for number in 0..100 {
        scene.advertise(&rdnss(FOREVER, &[&format!("2001:db8::1:{number}")]));
    }
    assert_eq!(servers(&scene).len(), 8);
    assert_eq!(servers(&scene)[0], "2001:db8::54");
    let mut malformed = rdnss(100, &["2001:db8::99"]);
    malformed[1] = 2;
    malformed.truncate(16);
    scene.drive(seconds(200));
    scene.advertise(&malformed);
    assert_eq!(servers(&scene).len(), 7);
}

#[test]
fn without_autoconfiguration_routers_are_not_listened_to() {
    let mut scene = scene_with(|config| config.ipv6.autoconf = false);
    scene.advertise(&prefix_option("2001:db8:1::/64", BOTH, 7_200, 7_200));
    assert_eq!(made(&scene), []);
    assert_eq!(scene.send6(far(), b"x"), Err(SendError::RouteNotFound));
}
