//! Two hosts and a link on which things go wrong.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use mnet_proto::{Config, SocketId};
use netsim::{Faults, HostId, Link, LinkId, LinkStats, Network};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PORT: u16 = 7;
const SECOND: Duration = Duration::from_secs(1);
/// By then a host has claimed its IPv4 address, and has nothing more to say of itself (RFC 5227 §1.1:
/// a second of waiting, three probes, two announcements).
const SETTLED: Duration = Duration::from_secs(10);

/// Two hosts that know each other and are quiet; what `b` gets on [`PORT`] is looked at.
struct Pair {
    net: Network,
    lan: LinkId,
    a: HostId,
    b: HostId,
    socket: SocketId,
    // The link's counters when that was so.
    before: LinkStats,
}

impl Pair {
    fn new(seed: u64, link: Link) -> Self {
        let mut net = Network::new(seed);
        let lan = net.link(Link { faults: Faults::NONE, ..link });
        let [a, b] = [A, B].map(|address| {
            let config = Config::new(format!("{address}/24").parse().unwrap()).without_ipv6();
            net.host(lan, &config).unwrap()
        });
        let socket = net.bind(b, PORT).unwrap();
        net.run_for(SETTLED);
        net.send(a, 5_000, (B, PORT), b"so that they know each other").unwrap();
        net.run_for(SECOND);
        assert!(net.receive(b, socket).is_some());
        *net.link_mut(lan) = link;
        let before = net.link_stats(lan);
        Self { net, lan, a, b, socket, before }
    }

    /// What has happened on the link since.
    fn link_stats(&self) -> LinkStats {
        let (before, mut stats) = (&self.before, self.net.link_stats(self.lan));
        stats.offered -= before.offered;
        stats.duplicated -= before.duplicated;
        stats.delivered -= before.delivered;
        stats.lost -= before.lost;
        stats.corrupted -= before.corrupted;
        stats.reordered -= before.reordered;
        stats.too_big -= before.too_big;
        stats.down -= before.down;
        stats.unclaimed -= before.unclaimed;
        stats
    }

    fn send(&mut self, payload: &[u8]) {
        self.net.send(self.a, 5_000, (B, PORT), payload).unwrap();
    }

    fn received(&mut self) -> Vec<Vec<u8>> {
        let Self { net, b, socket, .. } = self;
        std::iter::from_fn(|| net.receive(*b, *socket))
            .map(|datagram| datagram.payload().to_vec())
            .collect()
    }

    /// Sends `count` datagrams, 1 ms between them; returns their numbers as they have come. What is
    /// in each follows from its number.
    fn exchange(&mut self, count: u32) -> Vec<u32> {
        let mut numbers = Vec::new();
        for number in 0..count {
            self.send(&payload(number));
            self.net.run_for(Duration::from_millis(1));
            numbers.extend(self.received().iter().map(|payload| check(payload)));
        }
        self.net.run_for(SECOND);
        numbers.extend(self.received().iter().map(|payload| check(payload)));
        numbers
    }
}

fn payload(number: u32) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.extend(
        (0..number % 1_000).map(|i| (number.wrapping_mul(2_654_435_761) >> (i % 24)) as u8),
    );
    payload
}

fn check(received: &[u8]) -> u32 {
    let number = u32::from_be_bytes(received[..4].try_into().unwrap());
    assert_eq!(received, payload(number));
    number
}

#[test]
fn on_a_good_link_everything_arrives_in_order_and_on_time() {
    let mut pair = Pair::new(1, Link { jitter: Duration::from_millis(20), ..Link::default() });
    assert_eq!(pair.exchange(1_000), (0..1_000).collect::<Vec<_>>());
    let stats = pair.link_stats();
    assert!(stats.is_balanced());
    assert_eq!((stats.offered, stats.dropped(), stats.reordered), (stats.delivered, 0, 0));
}

#[test]
fn each_datagram_arrives_intact_or_is_in_a_counter() {
    for seed in 0..20 {
        let faults = Faults { loss: 0.1, duplicate: 0.05, corrupt: 0.1, reorder: 0.1 };
        let delay = Duration::from_millis(3);
        let mut pair =
            Pair::new(seed, Link { delay, jitter: delay, hold: delay, faults, ..Link::default() });
        let before = pair.net.stack(pair.b).stats().clone();
        let numbers = pair.exchange(1_000);
        let distinct = numbers.iter().collect::<HashSet<_>>().len() as u64;

        let link = pair.link_stats();
        assert!(link.is_balanced(), "{link:?}");
        let stats = pair.net.stack(pair.b).stats();
        assert_eq!(stats.udp_received - before.udp_received, numbers.len() as u64);
        let unsent = pair.net.stack(pair.a).stats().dropped.total();
        let counted = link.dropped() + stats.dropped.total() + stats.frames_missed + unsent;
        assert!(1_000 - distinct <= counted, "{distinct} came, {counted} counted");
        assert!(link.lost > 50 && link.duplicated > 20 && link.corrupted > 50, "{link:?}");
        assert!(!numbers.is_sorted() && numbers.len() as u64 > distinct);
    }
}

#[test]
fn with_loss_alone_just_what_is_lost_is_missing() {
    let faults = Faults { loss: 0.2, ..Faults::NONE };
    let mut pair = Pair::new(2, Link { faults, ..Link::default() });
    // Soon enough that nobody asks for the other again.
    for number in 0..200 {
        pair.send(&payload(number));
    }
    pair.net.run_for(SECOND);
    let received = pair.received().len() as u64;
    assert_eq!(received + pair.link_stats().lost, 200);
}

#[test]
fn a_changed_bit_never_gets_as_far_as_a_socket() {
    let faults = Faults { corrupt: 1.0, ..Faults::NONE };
    let mut pair = Pair::new(3, Link { faults, ..Link::default() });
    // Those that come all the same had it where it does not matter, such as their sender's card:
    // `exchange` looks at each.
    let numbers = pair.exchange(2_000);
    let stats = pair.link_stats();
    assert_eq!(stats.corrupted, stats.delivered);
    assert!(numbers.len() < 100, "{}", numbers.len());
    let dropped = &pair.net.stack(pair.b).stats().dropped;
    assert!(dropped[mnet_proto::Drop::UdpChecksum] > 500, "{dropped:?}");
}

#[test]
fn a_partition_is_counted_and_heals() {
    let mut pair = Pair::new(4, Link::default());
    let mut expected_down = 0;
    for part in 0..2 {
        for up in [false, true] {
            if part == 0 {
                pair.net.link_mut(pair.lan).up = up;
            } else {
                pair.net.set_up(pair.b, up);
            }
            (0..10).for_each(|number| pair.send(&payload(number)));
            pair.net.run_for(SECOND);
            assert_eq!(pair.received().len(), if up { 10 } else { 0 });
            expected_down += if up { 0 } else { 10 };
            let stats = pair.link_stats();
            assert_eq!(stats.down, expected_down);
            assert!(stats.is_balanced());
        }
    }
    // What is under way when the cable is cut does not come.
    pair.send(b"late");
    assert_eq!(pair.link_stats().in_flight(), 1);
    pair.net.set_up(pair.b, false);
    pair.net.run_for(SECOND);
    assert_eq!(pair.link_stats().down, expected_down + 1);
}

#[test]
fn frames_that_are_too_long_or_for_nobody_are_counted() {
    let mut pair = Pair::new(5, Link::default());
    let before = pair.net.stack(pair.a).stats().frames_received;
    pair.net.link_mut(pair.lan).mtu = 500;
    pair.send(&[0; 472]);
    pair.send(&[0; 473]);
    // To an address that nobody has, and too short for any.
    pair.net.inject(pair.lan, &[2; 60]);
    pair.net.inject(pair.lan, &[0; 10]);
    // To everybody: that is two.
    pair.net.inject(pair.lan, &[0xff; 60]);
    pair.net.run_for(SECOND);
    let stats = pair.link_stats();
    assert_eq!((stats.too_big, stats.unclaimed), (1, 2));
    assert!(stats.is_balanced());
    assert_eq!(pair.received().len(), 1);
    assert_eq!(pair.net.stack(pair.a).stats().frames_received - before, 1);
}

#[test]
fn a_link_with_a_rate_takes_its_time() {
    // With headers, 1,250 bytes: 1 ms at 10 Mbit/s.
    let rate = std::num::NonZeroU64::new(10_000_000);
    let mut pair = Pair::new(6, Link { rate, delay: Duration::ZERO, ..Link::default() });
    let start = pair.net.now();
    (0..10).for_each(|_| pair.send(&[0; 1_250 - 42]));
    pair.net.run_for(SECOND);
    let Pair { net, b, socket, .. } = &mut pair;
    for number in 1..=10 {
        let arrived = net.receive(*b, *socket).unwrap().arrived();
        assert_eq!(arrived - start, Duration::from_millis(number));
    }
}

#[test]
fn a_seed_replays_exactly_and_another_seed_does_not() {
    let run = |seed| {
        let faults = Faults { loss: 0.1, duplicate: 0.1, corrupt: 0.1, reorder: 0.1 };
        let jitter = Duration::from_millis(5);
        let mut pair = Pair::new(seed, Link { jitter, hold: jitter, faults, ..Link::default() });
        let numbers = pair.exchange(500);
        (pair.net.trace_hash(), pair.net.now(), pair.link_stats(), numbers)
    };
    let first = run(7);
    assert_eq!(first, run(7));
    assert_ne!(first.0, run(8).0);
}

#[test]
fn running_ends_when_it_should() {
    let mut pair = Pair::new(9, Link::default());
    let start = pair.net.now();
    pair.send(b"x");
    assert!(pair.net.run_until_idle(SECOND));
    assert_eq!(pair.net.now() - start, Duration::from_micros(100));
    assert_eq!(pair.received().len(), 1);

    // To nobody: it waits for an answer that does not come.
    pair.net.send(pair.a, 5_000, ([10, 0, 0, 9], 7), b"x").unwrap();
    assert!(!pair.net.run_until_idle(SECOND));
    assert_eq!(pair.net.now() - start, Duration::from_micros(100) + SECOND);
    assert!(pair.net.run_until_idle(10 * SECOND));

    let (a, b, socket) = (pair.a, pair.b, pair.socket);
    pair.net.send(a, 5_000, (B, PORT), b"x").unwrap();
    assert!(pair.net.run_while(SECOND, |net| net.receive(b, socket).is_none()));
    let start = pair.net.now();
    assert!(!pair.net.run_while(SECOND, |net| net.receive(b, socket).is_none()));
    assert_eq!(pair.net.now() - start, SECOND);
}
