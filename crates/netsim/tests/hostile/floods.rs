//! One of the two that talk is flooded until a table of its is full: it keeps its bounds, and the
//! conversation goes on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mnet_proto::wire::ipv6::{ALL_NODES, multicast_mac};
use mnet_proto::wire::ndp::{self, NdpOption, Options, Preference, Prefix, RouterAdvert};
use mnet_proto::wire::{arp, ethernet, ipv6};
use mnet_proto::{Config, Drop as Reason, Stats};
use netdev::{HEADROOM, Mac, Pool};

use crate::craft::{self, STRANGER};
use crate::scene::{ROUND, Scene};

const ROUNDS: u32 = 500;
/// Frames from the flood in each round.
const BURST: u32 = 10;
/// By then nothing is waited for any more that came before.
const QUIET: Duration = Duration::from_secs(70);

/// Floods the first of those that talk, which loses nothing of the conversation by it, keeps its
/// bounds, and holds nothing when it is over. `frames` gives each of the flood, by its number.
fn flood(scene: &mut Scene, mut frames: impl FnMut(u32) -> Vec<u8>) {
    for round in 0..ROUNDS {
        for number in 0..BURST {
            let frame = frames(round * BURST + number);
            scene.net.inject(scene.lan, &frame);
        }
        scene.talk(ROUND);
        scene.assert_bounds_hold("in the flood");
    }
    assert_eq!(scene.missing(), (0, 0), "of {ROUNDS}, datagrams not answered, and refused");
}

/// The flooded host's counters.
fn stats(scene: &Scene) -> &Stats {
    scene.net.stack(scene.talkers[0]).stats()
}

/// The flooded host's card, and its address of a family.
fn target(scene: &Scene, number: u32) -> (Mac, IpAddr) {
    (scene.net.mac(scene.talkers[0]), scene.addresses[0][(number % 2) as usize])
}

/// One of many addresses, of either family, that are on the link but nobody's there; or elsewhere.
fn stranger(number: u32, on_link: bool) -> IpAddr {
    if number.is_multiple_of(2) {
        // Few are free on the link.
        let (here, elsewhere) = (0x0a00_0000 + 100 + number / 2 % 100, 0xc600_0000 + number);
        return Ipv4Addr::from_bits(if on_link { here } else { elsewhere }).into();
    }
    let network = if on_link { 0xfd00_0000_0000_0001 } else { 0x2001_0db8_0000_0000_u64 };
    Ipv6Addr::from_bits(u128::from(network) << 64 | 0x1_0000 | u128::from(number)).into()
}

#[test]
fn of_neighbours_beyond_number_none_displaces_one_that_is_talked_to() {
    let mut scene = Scene::new(1);
    let packet = Pool::new(1, 2_048);
    let [a, _] = scene.talkers;
    let (mac, v4) = target(&scene, 0);
    let IpAddr::V4(v4) = v4 else { panic!("IPv4 comes first") };
    let v6 = scene.addresses[0][1];
    flood(&mut scene, |number| {
        let from = stranger(number, true);
        match from {
            // Everybody asks for it, and so might soon be talked to.
            IpAddr::V4(from) if number % 4 == 0 => {
                let mut packet = packet.take().unwrap();
                let sender = (STRANGER, from);
                assert!(arp::Arp::new(arp::REQUEST, sender, (mac, v4)).emit(&mut packet));
                craft::frame(mac, STRANGER, ethernet::ARP, packet.bytes())
            }
            // Everybody wants an answer, and says not where they are.
            IpAddr::V4(_) => craft::ping(mac, (from, v4.into()), 56),
            IpAddr::V6(_) => craft::ping(mac, (from, v6), 56),
        }
    });
    // What waited in vain made room for what came later.
    let dropped = &scene.net.stack(a).stats().dropped;
    let gone = dropped[Reason::NeighborUnreachable] + dropped[Reason::NeighborQueueFull];
    assert!(gone > 1_000, "{:?}", dropped.iter().collect::<Vec<_>>());
    scene.run(QUIET);
    scene.assert_nothing_is_held("after the flood");
}

#[test]
fn of_datagrams_that_never_become_whole_few_are_kept() {
    // From many senders, and from one.
    for senders in [u32::MAX, 2] {
        let mut scene = Scene::new(2);
        let [low, high] = [0, 1].map(|number| target(&scene, number));
        let mut most = 0;
        let a = scene.talkers[0];
        for part in 0..2 {
            flood(&mut scene, |number| {
                let (mac, address) = if number % 2 == 0 { low } else { high };
                let from = stranger(number % senders, false);
                craft::fragment(
                    mac,
                    (from, address),
                    (part * 5_000 + number) as u16,
                    // First ones stay in their packets, others do not.
                    (number / 2 % 2 * 1_400) as usize,
                    &[1; 1_400],
                )
            });
            let pool = scene.net.stack(a).pool();
            let packets = (pool.capacity() - pool.available()) * (pool.room() + HEADROOM);
            let large = Config::default().large_packets - pool.large_available();
            assert!(large > 0);
            most = most.max(packets + large);
        }
        let limits = Config::default().reassembly;
        let kept = if senders == 2 { 2 * limits.per_sender } else { limits.datagrams } as u64;
        let full = stats(&scene).dropped[Reason::ReassemblyFull];
        assert!((10_000 - kept..=10_000).contains(&full), "{senders} senders: {full}");
        assert!(most > 0 && most <= limits.bytes, "{senders} senders: {most} bytes");
        let errors = stats(&scene).icmp_errors;
        scene.run(QUIET);
        // Each of those that were kept is told that the rest did not come.
        assert!(stats(&scene).icmp_errors - errors <= kept);
        assert_eq!(stats(&scene).dropped[Reason::ReassemblyTimeout], kept);
        scene.assert_nothing_is_held("after the flood");
    }
}

#[test]
fn of_routers_and_prefixes_beyond_number_the_first_are_kept() {
    let mut scene = Scene::new(3);
    let [a, _] = scene.talkers;
    let (_, far) = scene.addresses_of(scene.far);
    let far = *far.iter().find(|address| !address.is_unicast_link_local()).unwrap();
    let prefixes = |number: u32| {
        let prefix = Ipv6Addr::from_bits((0x2001_0db8_0000_0000 + u128::from(number)) << 64);
        let (on_link, autonomous) = (true, true);
        Prefix { prefix, prefix_len: 64, on_link, autonomous, valid: 9_000, preferred: 9_000 }
    };
    flood(&mut scene, |number| {
        let source = Ipv6Addr::from_bits(0xfe80 << 112 | 0x9_0000 | u128::from(number));
        let mac = multicast_mac(ALL_NODES);
        let ends = (source.into(), ALL_NODES.into());
        craft::datagram(mac, ends, ipv6::ICMP, 255, |packet| {
            let advert = RouterAdvert {
                hop_limit: 64,
                managed: false,
                other: false,
                preference: Preference::Medium,
                lifetime: 9_000,
                reachable: 0,
                retransmit: 0,
                options: Options::default(),
            };
            let options = [NdpOption::SourceLink(STRANGER), NdpOption::Prefix(prefixes(number))];
            ndp::router_advert(packet, &advert, &options, source, ALL_NODES)
        })
    });
    let config = Config::default();
    let (_, addresses) = scene.addresses_of(a);
    assert!(addresses.len() <= config.addresses, "{addresses:?}");
    let dropped = &stats(&scene).dropped;
    // The link's own router and prefix are two of those that are kept.
    let refused = u64::from(ROUNDS * BURST) - (config.routers + config.prefixes) as u64;
    assert!(dropped[Reason::TooManyRoutes] >= refused, "{dropped:?}");
    assert!(dropped[Reason::TooManyAddresses] > 0, "{dropped:?}");
    // And the router that was there first still is the way to others.
    let received = scene.net.stack(scene.far).stats().udp_received;
    for _ in 0..10 {
        scene.send(a, far.into(), 100, None);
        scene.run(ROUND);
    }
    assert_eq!(scene.net.stack(scene.far).stats().udp_received - received, 10);
    scene.run(QUIET);
    scene.assert_nothing_is_held("after the flood");
}

#[test]
fn of_errors_beyond_number_few_are_sent() {
    let mut scene = Scene::new(4);
    let before = stats(&scene).clone();
    let ends = [0, 1].map(|number| target(&scene, number));
    let start = scene.net.now();
    flood(&mut scene, |number| {
        let (mac, address) = ends[(number % 2) as usize];
        craft::udp(mac, (stranger(number, false), address), (9, 99), b"nobody listens there")
    });
    let config = Config::default();
    let seconds = (scene.net.now() - start).as_secs_f64();
    let most = config.icmp_error_burst
        + (f64::from(config.icmp_errors_per_second) * seconds).ceil() as u32;
    let errors = stats(&scene).icmp_errors - before.icmp_errors;
    let limited =
        stats(&scene).dropped[Reason::IcmpRateLimited] - before.dropped[Reason::IcmpRateLimited];
    assert!(errors >= 50 && errors <= most.into(), "{errors} in {seconds} s");
    assert_eq!(errors + limited, u64::from(ROUNDS * BURST));
}

#[test]
fn of_datagrams_that_nobody_reads_few_are_kept() {
    let mut scene = Scene::new(5);
    let a = scene.talkers[0];
    let unread = scene.net.bind(a, 99).unwrap();
    let ends = [0, 1].map(|number| target(&scene, number));
    flood(&mut scene, |number| {
        let (mac, address) = ends[(number % 2) as usize];
        craft::udp(mac, (stranger(number, false), address), (9, 99), &[1; 1_000])
    });
    let kept = Config::default().receive_queue as u64;
    let full = stats(&scene).dropped[Reason::UdpQueueFull];
    assert_eq!(full, u64::from(ROUNDS * BURST) - kept);
    let (now, capacity) = (scene.net.now(), scene.net.stack(a).pool().capacity());
    assert_eq!(capacity - scene.net.stack(a).pool().available(), kept as usize);
    scene.net.stack_mut(a).udp_close(now, unread);
    scene.run(QUIET);
    scene.assert_nothing_is_held("after the flood");
}

#[test]
fn a_path_that_is_in_use_is_remembered_whoever_asks_for_answers() {
    let mut scene = Scene::new(6);
    let [a, _] = scene.talkers;
    let (v4, v6) = scene.addresses_of(scene.far);
    let v6 = *v6.iter().find(|address| !address.is_unicast_link_local()).unwrap();
    let far = [IpAddr::V4(v4[0]), v6.into()];
    // Less passes to those behind the router than on the link.
    for to in [far[0], far[1], far[0], far[1]] {
        scene.send(a, to, 1_400, None);
        scene.run(ROUND * 10);
    }
    assert_eq!(stats(&scene).path_mtu_changes, 2);
    let ends = [0, 1].map(|number| target(&scene, number));
    let received = scene.net.stack(scene.far).stats().udp_received;
    for part in 0..10 {
        let mut number = 0;
        for to in far {
            scene.send(a, to, 1_400, None);
        }
        for _ in 0..ROUNDS / 5 {
            for _ in 0..BURST {
                let (mac, address) = ends[(number % 2) as usize];
                let from = stranger(part * 1_000 + number, false);
                scene.net.inject(scene.lan, &craft::ping(mac, (from, address), 8));
                number += 1;
            }
            scene.talk(ROUND);
        }
    }
    assert_eq!(scene.missing(), (0, 0));
    assert_eq!(stats(&scene).path_mtu_changes, 2);
    assert_eq!(scene.net.stack(scene.far).stats().udp_received - received, 20);
}
