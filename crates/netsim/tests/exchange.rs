//! A hundred thousand datagrams of any length, over IPv4 and IPv6, between two hosts with a router
//! between them, on links where everything goes wrong: each arrives as it was sent, or a counter says
//! what became of it.
//!
//! `MNET_SEED=N cargo test -p netsim --test exchange` runs another seed.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::collections::HashSet;
use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use chacha20::ChaCha20Rng;
use mnet_proto::{Config, IpCidr, Origin, SocketId};
use netsim::{Advertisement, Faults, HostId, Link, LinkId, Network, RouterId};
use rand_core::{Rng, SeedableRng};

const SEEDS: [u64; 2] = [1, 2];
const DATAGRAMS: u32 = 100_000;
/// The longest payload in bytes: what IPv4 has room for.
const LONGEST: u64 = 65_507;
/// The longest payload of a datagram that goes in one piece over IPv4. Over IPv6 it is 20 less.
const UNFRAGMENTED: u64 = 1_472;
/// How many of a hundred datagrams arrive, at least. Of the longest, which go in 45 pieces over two
/// links, hardly one in five does.
const ARRIVE_PERCENT: usize = 90;

const FAULTS: Faults = Faults { loss: 0.01, duplicate: 0.01, corrupt: 0.01, reorder: 0.05 };
/// Datagrams sent before time goes on.
const BURST: u32 = 32;
/// From this length on, a payload says which datagram it is; a shorter one is known by its port.
const NUMBERED: usize = 4;
const PORT: u16 = 7;
const V4: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 1, 2)];
const PREFIX: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 0);
/// By then hosts have claimed their addresses.
const SETTLED: Duration = Duration::from_secs(12);
/// By then what did not become whole is given up (RFC 8200 §4.5).
const GIVEN_UP: Duration = Duration::from_secs(70);

struct Scene {
    net: Network,
    links: [LinkId; 2],
    router: RouterId,
    hosts: [HostId; 2],
    sockets: [SocketId; 2],
    /// Each host's addresses.
    addresses: [[IpAddr; 2]; 2],
}

/// A datagram that was sent.
struct Sent {
    to: usize,
    len: usize,
    over_ipv6: bool,
}

/// What came of an exchange.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    trace: u64,
    /// How many datagrams came, once or more often.
    came: usize,
    /// How often datagrams came.
    received: u64,
    /// What was lost, dropped or refused, by anyone.
    counted: u64,
}

impl Scene {
    /// Hosts that have settled on links that are good, and then are not: the first has its IPv6
    /// address, and its way to others, from what the router advertises.
    fn new(seed: u64, faults: Faults) -> Self {
        let mut net = Network::new(seed);
        let link = Link {
            delay: Duration::from_millis(2),
            jitter: Duration::from_millis(2),
            hold: Duration::from_millis(5),
            ..Link::default()
        };
        let links = [net.link(link), net.link(link)];
        let router = net.router();
        let addresses = [["10.0.0.1/24", "fd00:0:0:1::1/64"], ["10.0.1.1/24", "fd00:0:0:2::1/64"]];
        for (link, addresses) in links.into_iter().zip(addresses) {
            net.attach(router, link, &addresses.map(|address| address.parse::<IpCidr>().unwrap()));
        }
        net.router_mut(router).advertise(links[0], Some(Advertisement::of(PREFIX, 64)));
        let hosts = [0, 1].map(|end| net.host(links[end], &config(end)).unwrap());
        let sockets = hosts.map(|host| net.bind(host, PORT).unwrap());
        net.run_for(SETTLED);
        links.iter().for_each(|&link| net.link_mut(link).faults = faults);
        let addresses = [(0, Origin::Router), (1, Origin::Static)].map(|(end, origin)| {
            let mut all = net.stack(hosts[end]).addresses();
            let v6 = all.find(|own| own.cidr.address().is_ipv6() && own.origin == origin);
            [IpAddr::V4(V4[end]), v6.unwrap().cidr.address()]
        });
        Self { net, links, router, hosts, sockets, addresses }
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
    let config = Config::new(format!("{}/24", V4[end]).parse().unwrap());
    let mut config = config.with_ipv4_gateway(Ipv4Addr::new(10, 0, end as u8, 1));
    if end == 1 {
        config.ipv6.autoconf = false;
        config.ipv6.addresses = vec!["fd00:0:0:2::2/64".parse().unwrap()];
        config.ipv6.gateway = Some("fd00:0:0:2::1".parse().unwrap());
    }
    config
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

/// Half of them are of at most 64 bytes, most others go in one piece, some in two or three, and
/// one in 64 is of any length.
fn length(random: &mut ChaCha20Rng) -> usize {
    let longest = match random.next_u64() % 64 {
        0..32 => 64,
        32..56 => UNFRAGMENTED,
        56..63 => 3_000,
        _ => LONGEST,
    };
    (random.next_u64() % (longest + 1)) as usize
}

/// Takes what has come to an end: each datagram is one that was sent to it, unchanged.
fn receive(scene: &mut Scene, end: usize, sent: &[Sent], came: &mut HashSet<u32>) -> u64 {
    let mut count = 0;
    while let Some(datagram) = scene.net.receive(scene.hosts[end], scene.sockets[end]) {
        let bytes = datagram.payload();
        let number = match bytes.first_chunk() {
            Some(number) => u32::from_be_bytes(*number),
            None => u32::from(datagram.remote().port()),
        };
        let &Sent { to, len, over_ipv6 } = sent.get(number as usize).expect("one that was sent");
        assert!((end, bytes) == (to, &payload(number, len)[..]), "datagram {number} is another");
        assert_eq!(datagram.remote().ip(), scene.addresses[1 - end][usize::from(over_ipv6)]);
        assert_eq!(datagram.local().ip(), scene.addresses[end][usize::from(over_ipv6)]);
        came.insert(number);
        count += 1;
    }
    count
}

/// Exchanges datagrams, `burst` of them before time goes on.
fn exchange(seed: u64, datagrams: u32, faults: Faults, burst: u32) -> Outcome {
    let mut scene = Scene::new(seed, faults);
    let before = scene.counted();
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let mut sent = Vec::new();
    let mut came = HashSet::new();
    let (mut received, mut refused) = (0, 0);
    for number in 0..datagrams {
        let to = ((number + 1) % 2) as usize;
        // A short one is known by the port from which it comes, of which there are not so many.
        let (port, shortest) = match u16::try_from(number) {
            Ok(port @ 1..) => (port, 0),
            _ => (5_000, NUMBERED),
        };
        let len = length(&mut random).max(shortest);
        sent.push(Sent { to, len, over_ipv6: random.next_u64() % 2 != 0 });
        refused += u64::from(!send(&mut scene, &sent, number, port));
        if number % burst == 0 {
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

    let Scene { net, links, router, hosts, .. } = &mut scene;
    links.iter().for_each(|&link| net.link_mut(link).faults = Faults::NONE);
    net.run_for(GIVEN_UP);
    let (stats, router) = (links.map(|link| net.link_stats(link)), net.router_stats(*router));
    assert!(stats.iter().all(|link| link.is_balanced()), "seed {seed}: {stats:?}");
    assert!(router.is_balanced(), "seed {seed}: {router:?}");
    for host in hosts {
        let pool = net.stack(*host).pool();
        assert_eq!(
            pool.available(),
            pool.capacity(),
            "seed {seed}: packets that did not come back"
        );
        assert_eq!(pool.large_available(), Config::default().large_packets, "seed {seed}");
    }
    let counted = refused + scene.counted() - before;
    Outcome { trace: scene.net.trace_hash(), came: came.len(), received, counted }
}

/// Sends the datagram of this number, which is the last in `sent`; `false` if it is refused.
fn send(scene: &mut Scene, sent: &[Sent], number: u32, port: u16) -> bool {
    let &Sent { to, len, over_ipv6 } = &sent[number as usize];
    let remote = SocketAddr::new(scene.addresses[to][usize::from(over_ipv6)], PORT);
    scene.net.send(scene.hosts[1 - to], port, remote, &payload(number, len)).is_ok()
}

/// The seed to run, if one was asked for.
fn seed() -> Option<u64> {
    env::var("MNET_SEED").ok().map(|seed| seed.parse().expect("MNET_SEED is a number"))
}

#[test]
fn a_hundred_thousand_datagrams_arrive_intact_or_are_accounted_for() {
    let seeds = seed().map_or(SEEDS.to_vec(), |seed| vec![seed]);
    thread::scope(|scope| {
        for seed in seeds {
            scope.spawn(move || arrive_or_are_accounted_for(seed));
        }
    });
}

fn arrive_or_are_accounted_for(seed: u64) {
    let Outcome { came, received, counted, .. } = exchange(seed, DATAGRAMS, FAULTS, BURST);
    let missing = DATAGRAMS as usize - came;
    assert!(missing as u64 <= counted, "seed {seed}: {missing} missing, {counted} counted");
    assert!(came * 100 >= DATAGRAMS as usize * ARRIVE_PERCENT, "seed {seed}: {missing} missing");
    assert!(received > came as u64, "seed {seed}: none came twice");
}

#[test]
fn on_good_links_every_datagram_of_any_length_arrives_once() {
    let Outcome { came, received, counted, .. } =
        exchange(seed().unwrap_or(5), 5_000, Faults::NONE, 8);
    assert_eq!((came, received, counted), (5_000, 5_000, 0));
}

#[test]
fn an_exchange_replays_exactly_from_its_seed() {
    let first = exchange(3, 2_000, FAULTS, BURST);
    assert_eq!(first, exchange(3, 2_000, FAULTS, BURST));
    assert_ne!(first.trace, exchange(4, 2_000, FAULTS, BURST).trace);
}
