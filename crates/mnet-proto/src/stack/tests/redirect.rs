//! Redirects to better first hops (RFC 4861 §8).

use std::net::Ipv6Addr;

use super::ndp::{OTHER_MAC, ask, second, way};
use super::scene6::*;
use super::*;

/// A host that sends to `far()` by a router.
fn routed() -> Scene {
    let mut scene = scene();
    scene.advertise(&link_option(1, ROUTER_MAC));
    assert_eq!(way(&mut scene, far()), Some(ROUTER_MAC));
    scene
}

fn far() -> Ipv6Addr {
    a("2001:db8:ffff::1")
}

#[test]
fn a_redirect_from_the_first_hop_is_followed() {
    let better = a("fe80::7");
    let mut scene = routed();
    scene.receive(&redirect(better, far(), Some(OTHER_MAC)).frame());
    assert_eq!(way(&mut scene, far()), Some(OTHER_MAC));
    assert_eq!(way(&mut scene, a("2001:db8:ffff::2")), Some(ROUTER_MAC));
    assert_eq!(scene.stack.stats().redirects, 1);
    // The destination itself, on the link after all; its address is to be asked for.
    let mut scene = routed();
    scene.receive(&redirect(far(), far(), None).frame());
    assert_eq!(ask(&mut scene, far()).destination, solicited(far()));
}

#[test]
fn a_redirect_is_followed_for_those_who_are_only_answered_and_before_anything_is_sent() {
    let mut scene = routed();
    let (pinger, better) = (a("2001:db8:ffff::5"), a("fe80::7"));
    let to = |scene: &mut Scene| scene.answers(echo(b"x").from(pinger))[0].to;
    assert_eq!(to(&mut scene), ROUTER_MAC);
    scene.receive(&redirect(better, pinger, Some(OTHER_MAC)).frame());
    assert_eq!(to(&mut scene), OTHER_MAC);
    assert_eq!(way(&mut scene, pinger), Some(OTHER_MAC));
    assert_eq!(way(&mut scene, far()), Some(ROUTER_MAC));
    assert_eq!(scene.stack.stats().redirects, 1);
    // Who is not the first hop cannot say so.
    let other = a("2001:db8:ffff::6");
    scene.receive(&redirect(better, other, Some(OTHER_MAC)).from(a("fe80::98")).frame());
    assert_eq!(way(&mut scene, other), Some(ROUTER_MAC));
}

#[test]
fn redirects_put_nobody_out_that_is_spoken_to() {
    let mut scene = scene_with(|config| config.destinations = 4);
    scene.advertise(&link_option(1, ROUTER_MAC));
    assert_eq!(way(&mut scene, far()), Some(ROUTER_MAC));
    scene.receive(&redirect(a("fe80::7"), far(), Some(OTHER_MAC)).frame());
    for _ in 0..2 {
        for host in 10..30 {
            let to = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, host);
            scene.receive(&redirect(a("fe80::7"), to, Some(OTHER_MAC)).frame());
        }
    }
    assert_eq!(way(&mut scene, far()), Some(OTHER_MAC));
}

#[test]
fn a_better_first_hop_that_is_no_router_is_left_unless_it_is_the_destination() {
    for (target, to) in [(a("fe80::7"), ROUTER_MAC), (far(), OTHER_MAC)] {
        let mut scene = routed();
        scene.receive(&redirect(target, far(), Some(OTHER_MAC)).frame());
        assert_eq!(way(&mut scene, far()), Some(OTHER_MAC));
        scene.receive(&advert(target, ROUTER | OVERRIDE, Some(OTHER_MAC)).to(host()).frame());
        assert_eq!(way(&mut scene, far()), Some(OTHER_MAC));
        scene.receive(&advert(target, OVERRIDE, Some(OTHER_MAC)).to(host()).frame());
        assert_eq!(way(&mut scene, far()), Some(to));
    }
}

#[test]
fn a_better_first_hop_that_is_a_router_no_more_is_left() {
    let better = a("fe80::7");
    let says = |lifetime| router_advert(lifetime, &[]).from(better).sender_mac(OTHER_MAC).frame();
    for wait in [0, 4] {
        let mut scene = routed();
        scene.receive(&says(4));
        scene.receive(&redirect(better, far(), Some(OTHER_MAC)).frame());
        assert_eq!(way(&mut scene, far()), Some(OTHER_MAC));
        if wait == 0 {
            scene.receive(&says(0));
        }
        scene.drive(second(f64::from(wait)));
        assert_eq!(way(&mut scene, far()), Some(ROUTER_MAC), "{wait}");
    }
}

#[test]
fn a_redirect_holds_when_the_router_advertises_itself_again() {
    let mut scene = routed();
    scene.advertise(&[]);
    scene.receive(&redirect(a("fe80::7"), far(), Some(OTHER_MAC)).frame());
    scene.advertise(&[]);
    assert_eq!(way(&mut scene, far()), Some(OTHER_MAC));
}

#[test]
fn a_redirect_that_breaks_a_rule_is_not_followed() {
    let better = a("fe80::7");
    let good = || redirect(better, far(), Some(OTHER_MAC));
    let mut code = good();
    code.payload[1] = 1;
    let mut short = redirect(better, far(), None);
    short.payload.truncate(39);
    let mut no_length = good();
    no_length.payload[41] = 0;
    for (at, case) in [
        good().hops(254),
        good().from(a("2001:db8::99")),
        good().from(a("fe80::98")),
        good().header(FRAGMENT, &fragment_header(0, false, 1)),
        code,
        short,
        no_length,
        redirect(a("2001:db8::7"), far(), Some(OTHER_MAC)),
        redirect(better, a("ff0e::1"), Some(OTHER_MAC)),
        redirect(host_local(), far(), Some(OTHER_MAC)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut scene = routed();
        scene.receive(&case.frame());
        assert_eq!(way(&mut scene, far()), Some(ROUTER_MAC), "{at}");
        assert_eq!(scene.stack.stats().redirects, 0, "{at}");
    }
}

#[test]
fn a_better_first_hop_that_does_not_answer_is_left_for_the_router() {
    let mut scene = routed();
    scene.receive(&redirect(a("fe80::7"), far(), None).frame());
    assert_eq!(way(&mut scene, far()), None);
    scene.drive(second(3.1));
    assert_eq!(way(&mut scene, far()), Some(ROUTER_MAC));
}
