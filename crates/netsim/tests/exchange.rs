//! A hundred thousand datagrams between two hosts with a router between them, on links where
//! everything goes wrong: each arrives as it was sent, or a counter says what became of it.
//!
//! `MNET_SEED=N cargo test -p netsim --test exchange` runs another seed.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::collections::HashSet;
use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use chacha20::ChaCha20Rng;
use mnet_proto::{Config, IpCidr, SocketId};
use netsim::{Faults, HostId, Link, LinkId, Network, RouterId};
use rand_core::{Rng, SeedableRng};

const SEEDS: [u64; 2] = [1, 2];
const DATAGRAMS: u32 = 100_000;
/// The longest payload in bytes: what fits into a frame, as long as the stack makes no fragments.
const LONGEST: u64 = 1_472;
/// Which of a hundred datagrams, chosen by chance, go over IPv6.
const OVER_IPV6: Range<u64> = 0..0;
/// How many of a hundred datagrams arrive, at least.
const ARRIVE_PERCENT: usize = 90;

const FAULTS: Faults = Faults { loss: 0.01, duplicate: 0.01, corrupt: 0.01, reorder: 0.05 };
/// Datagrams sent before time goes on.
const BURST: u32 = 32;
/// From this length on, a payload says which datagram it is; a shorter one is known by its port.
const NUMBERED: usize = 4;
const PORT: u16 = 7;
const ADDRESSES: [(Ipv4Addr, Ipv6Addr); 2] = [
    (Ipv4Addr::new(10, 0, 0, 2), Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 2)),
    (Ipv4Addr::new(10, 0, 1, 2), Ipv6Addr::new(0xfd00, 0, 0, 2, 0, 0, 0, 2)),
];

struct Scene {
    net: Network,
    links: [LinkId; 2],
    router: RouterId,
    hosts: [HostId; 2],
    sockets: [SocketId; 2],
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut net = Network::new(seed);
        let link = Link {
            delay: Duration::from_millis(2),
            jitter: Duration::from_millis(2),
            hold: Duration::from_millis(5),
            faults: FAULTS,
            ..Link::default()
        };
        let links = [net.link(link), net.link(link)];
        let router = net.router();
        let addresses = [["10.0.0.1/24", "fd00:0:0:1::1/64"], ["10.0.1.1/24", "fd00:0:0:2::1/64"]];
        for (link, addresses) in links.into_iter().zip(addresses) {
            net.attach(router, link, &addresses.map(|address| address.parse::<IpCidr>().unwrap()));
        }
        let hosts = [0, 1].map(|end| net.host(links[end], &config(end)).unwrap());
        let sockets = hosts.map(|host| net.bind(host, PORT).unwrap());
        Self { net, links, router, hosts, sockets }
    }

    /// All that the network knows to have dropped.
    fn counted(&self) -> u64 {
        let Self { net, links, router, hosts, .. } = self;
        let links = links.iter().map(|&link| net.link_stats(link).dropped());
        let hosts = hosts.iter().map(|&host| {
            let stats = net.stack(host).stats();
            stats.dropped.total() + stats.frames_missed
        });
        let router = net.router_stats(*router);
        links.chain(hosts).sum::<u64>() + router.dropped() + router.ignored
    }
}

/// How the host at an end is set up.
fn config(end: usize) -> Config {
    let (address, _) = ADDRESSES[end];
    let config = Config::new(format!("{address}/24").parse().unwrap()).without_ipv6();
    config.with_ipv4_gateway(Ipv4Addr::new(10, 0, end as u8, 1))
}

/// What a datagram holds: its number if there is room, and then what follows from the number.
fn payload(number: u32, len: usize) -> Vec<u8> {
    let mut payload = if len < NUMBERED { Vec::new() } else { number.to_be_bytes().to_vec() };
    let mut state = u64::from(number) << 32 | len as u64;
    while payload.len() < len {
        // An odd multiplier and an increment: every state comes once in 2^64 (Knuth).
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        payload.extend(state.to_be_bytes());
    }
    payload.truncate(len);
    payload
}

/// Short, middling and long ones: half of them are of at most 64 bytes, an eighth of any length.
fn length(random: &mut ChaCha20Rng) -> usize {
    let longest = match random.next_u64() % 8 {
        0..4 => 64,
        4..7 => 1_472,
        _ => LONGEST,
    };
    (random.next_u64() % (longest.min(LONGEST) + 1)) as usize
}

/// Takes what has come to an end: each datagram is one that was sent to it, unchanged.
fn receive(scene: &mut Scene, end: usize, sent: &[(usize, usize)], came: &mut HashSet<u32>) -> u32 {
    let mut count = 0;
    while let Some(datagram) = scene.net.receive(scene.hosts[end], scene.sockets[end]) {
        let bytes = datagram.packet.bytes();
        let number = match bytes.first_chunk() {
            Some(number) => u32::from_be_bytes(*number),
            None => u32::from(datagram.remote.port()),
        };
        let &(to, len) = sent.get(number as usize).expect("one that was sent");
        assert!((end, bytes) == (to, &payload(number, len)[..]), "datagram {number} is another");
        let (v4, v6) = ADDRESSES[1 - end];
        assert!([IpAddr::V4(v4), IpAddr::V6(v6)].contains(&datagram.remote.ip()));
        came.insert(number);
        count += 1;
    }
    count
}

/// Runs a seed; returns the trace, and what came.
fn exchange(seed: u64, datagrams: u32) -> (u64, usize) {
    let mut scene = Scene::new(seed);
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let mut sent = Vec::new();
    let mut came = HashSet::new();
    let (mut received, mut refused) = (0, 0);
    for number in 0..datagrams {
        let end = (number % 2) as usize;
        // A short one is known by the port from which it comes, of which there are not so many.
        let (port, shortest) = match u16::try_from(number) {
            Ok(port @ 1..) => (port, 0),
            _ => (5_000, NUMBERED),
        };
        sent.push((1 - end, length(&mut random).max(shortest)));
        refused += u64::from(!send(&mut scene, &mut random, &sent, number, port));
        if number % BURST == 0 {
            scene.net.run_for(Duration::from_millis(10));
            for end in [0, 1] {
                received += receive(&mut scene, end, &sent, &mut came);
            }
        }
    }
    let Scene { net, .. } = &mut scene;
    assert!(net.run_until_idle(Duration::from_secs(300)), "seed {seed}: nothing is left under way");
    for end in [0, 1] {
        received += receive(&mut scene, end, &sent, &mut came);
    }

    let Scene { net, links, router, .. } = &scene;
    let (stats, router) = (links.map(|link| net.link_stats(link)), net.router_stats(*router));
    assert!(stats.iter().all(|link| link.is_balanced()), "seed {seed}: {stats:?}");
    assert!(router.is_balanced(), "seed {seed}: {router:?}");
    let missing = datagrams as usize - came.len();
    let counted = refused + scene.counted();
    assert!(missing as u64 <= counted, "seed {seed}: {missing} missing, {counted} counted");
    assert!(came.len() * 100 >= datagrams as usize * ARRIVE_PERCENT, "seed {seed}: {missing}");
    assert!(received as usize > came.len(), "seed {seed}: none came twice");
    (net.trace_hash(), came.len())
}

/// Sends the datagram of this number, which is the last in `sent`; `false` if it is refused.
fn send(
    scene: &mut Scene,
    random: &mut ChaCha20Rng,
    sent: &[(usize, usize)],
    number: u32,
    port: u16,
) -> bool {
    let (end, len) = sent[number as usize];
    let (v4, v6) = ADDRESSES[end];
    let over_ipv6 = OVER_IPV6.contains(&(random.next_u64() % 100));
    let remote: SocketAddr = if over_ipv6 { (v6, PORT).into() } else { (v4, PORT).into() };
    scene.net.send(scene.hosts[1 - end], port, remote, &payload(number, len)).is_ok()
}

#[test]
fn a_hundred_thousand_datagrams_arrive_intact_or_are_accounted_for() {
    let seed = env::var("MNET_SEED").ok().map(|seed| seed.parse().expect("MNET_SEED is a number"));
    let seeds = seed.map_or(SEEDS.to_vec(), |seed| vec![seed]);
    for seed in seeds {
        exchange(seed, DATAGRAMS);
    }
}

#[test]
fn an_exchange_replays_exactly_from_its_seed() {
    assert_eq!(exchange(3, 2_000), exchange(3, 2_000));
    assert_ne!(exchange(3, 2_000).0, exchange(4, 2_000).0);
}
