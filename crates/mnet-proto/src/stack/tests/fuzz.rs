//! Whatever comes: frames at random, and good ones with something changed, in both families. The
//! stack never panics, grows no farther than its bounds, and gives every packet back.

mod throw;

use std::env;
use std::thread;

use proptest::strategy::ValueTree;
use proptest::test_runner::{Config as Runs, RngAlgorithm, TestRng, TestRunner};

use self::throw::{GROUP, GROUP_V6, Last, NOISE, Throw, throws};
use super::link::{Card, Frame};
use super::scene6::{host as host_v6, peer as peer_v6, solicit, udp6};
use super::*;
use crate::Filter;
use crate::config::InterfaceId;

/// Throws at the same two hosts: some three hours of theirs.
const ROUND: u64 = 50_000;

/// A host that things are thrown at.
struct Target {
    scene: Scene,
    sockets: [SocketId; 2],
    last: Last,
    /// Datagrams that were read, of IPv6, and of IPv6 in fragments.
    read_v6: [u64; 2],
}

impl Target {
    /// A host of both families that has just been switched on, is in groups and has ports. It has
    /// its IPv4 address by DHCP, and makes those of IPv6 by a hash; or neither.
    fn new(dhcp: bool) -> Self {
        let mut scene = Card::default().fresh(|config| {
            config.ipv6.enabled = true;
            config.ipv6.addresses = vec!["2001:db8::2/64".parse().unwrap()];
            if dhcp {
                config.ipv4 = Ipv4Config::Dhcp;
            } else {
                let addresses = vec![crate::Ipv4Cidr::new(HOST, 24).unwrap()];
                config.ipv4 = Ipv4Config::Static { addresses, gateway: Some(PEER) };
                config.ipv6.interface_id = InterfaceId::Eui64;
            }
        });
        let sockets = [7, 100].map(|port| scene.stack.udp_bind(port).unwrap());
        scene.stack.udp_mut().set_broadcast(sockets[0], true);
        let now = scene.now;
        for group in [IpAddr::V4(GROUP), GROUP_V6.into()] {
            scene.stack.udp_join(now, sockets[0], group, Filter::ANY).unwrap();
        }
        Self { scene, sockets, last: Last::default(), read_v6: [0; 2] }
    }

    /// The same, when its addresses are its own: what comes before may take them for a while.
    fn settled(mut self) -> Self {
        self.scene.drive(Duration::from_secs(20));
        self.scene.sent();
        assert!(self.scene.stack.addresses().all(|address| !address.tentative));
        self
    }

    /// Throws one thing at the host, lets time pass, and has it say something now and then.
    fn hit(&mut self, throw: &Throw) {
        let Self { scene, sockets, last, .. } = self;
        scene.receive(&throw.frame(last));
        scene.now += Duration::from_millis(throw.millis.into());
        scene.stack.handle_timeout(scene.now);
        if throw.kind.is_multiple_of(5) {
            for to in throw.listeners() {
                let length = throw.length();
                if let Some(mut packet) = scene.pool.take_sized(length) {
                    packet.append(length).unwrap();
                    let _ = scene.send(7.into(), (to, 5_000).into(), packet);
                }
            }
        }
        while scene.stack.poll_event().is_some() {}
        for frame in scene.sent() {
            match frame[12..14] {
                [8, 0] if frame.len() > 42 && frame[23] == 17 => last.v4 = frame,
                [0x86, 0xdd] if [17, 44].contains(&frame[20]) => last.v6 = frame,
                _ => {}
            }
        }
        if throw.kind.is_multiple_of(7) {
            while scene.stack.udp_mut().receive_error(sockets[0]).is_some() {}
            self.read();
        }
    }

    /// Takes what the sockets have got.
    fn read(&mut self) {
        for socket in self.sockets {
            while let Some(datagram) = self.scene.stack.udp_mut().receive(socket) {
                if datagram.remote().is_ipv6() {
                    self.read_v6[usize::from(datagram.payload().len() > NOISE)] += 1;
                }
            }
        }
    }

    /// Nothing has grown beyond what it may.
    fn assert_bounds_hold(&self) {
        let Scene { stack, pool, .. } = &self.scene;
        let (ip, limits) = (&stack.ip, crate::ip::fragment::Limits::default());
        assert!(pool.available() > pool.capacity() / 8, "no packet is left to receive into");
        assert!(pool.large_available() >= pool.large_capacity() / 8);
        assert!(ip.reassembler.bytes() <= limits.bytes);
        assert!(ip.reassembler.len() <= limits.datagrams);
        assert!(ip.neighbors.waiting() <= pool.capacity() / 4);
        assert!(stack.addresses().count() <= 2 * 16);
    }

    /// After a rest there is nothing that is left of all that.
    fn rest(&mut self) {
        self.read();
        self.scene.drive(Duration::from_secs(7_200));
        self.scene.sent();
        self.read();
        assert!(self.scene.stack.ip.reassembler.is_empty());
    }

    /// Whether the host still knows its peer when that asks for it, and hears it, in both families.
    fn converses(&mut self) {
        let Self { scene, sockets, .. } = self;
        scene.receive(&arp(REQUEST, (PEER_MAC, PEER), HOST));
        assert_eq!(scene.sent().len(), 1);
        scene.receive(&Frame::udp(b"still here?").bytes());
        assert_eq!(scene.read(sockets[0]), [b"still here?"]);
        self.has_its_address();
        let Self { scene, sockets, .. } = self;
        scene.receive(&udp6(b"still here?").frame());
        assert_eq!(scene.read(sockets[0]), [b"still here?"]);
    }

    /// Whether the host has the IPv6 address that was configured.
    fn has_its_address(&mut self) {
        let question = solicit(host_v6(), Some(PEER_MAC)).from(peer_v6());
        let adverts = self.scene.answers(question);
        assert_eq!((adverts.len(), adverts[0].kind()), (1, Some((136, 0))));
    }

    /// Lets go of all that waits, and looks for what is missing.
    fn all_comes_back(mut self) {
        self.scene.drive(Duration::from_secs(200));
        self.scene.sent();
        let Scene { stack, pool, .. } = self.scene;
        drop(stack);
        assert_eq!(pool.available(), pool.capacity());
        assert_eq!(pool.large_available(), pool.large_capacity());
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_taken_and_every_packet_comes_back(
        throws in proptest::collection::vec(throws(), 1..60), dhcp: bool,
    ) {
        let mut target = Target::new(dhcp);
        throws.iter().for_each(|throw| target.hit(throw));
        target.all_comes_back();
    }
}

/// Says which seed it was if a round panics.
struct Seed(u64);

impl core::ops::Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("again with MNET_SEED={}", self.0);
        }
    }
}

/// Throws the same at two new hosts, of which one has its addresses already: what is forged cannot
/// take them away any more. The other has them after a rest. Which throws these are, the seed alone says. Returns how many redirects
/// were followed.
fn round(seed: u64) -> u64 {
    let seed = Seed(seed);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.0.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Runs::default(), random);
    let strategy = throws();
    let mut targets = [Target::new(false).settled(), Target::new(true)];
    for _ in 0..ROUND {
        let throw = strategy.new_tree(&mut runner).unwrap().current();
        for target in &mut targets {
            target.hit(&throw);
            target.assert_bounds_hold();
        }
    }
    // Deep enough to be worth it.
    let [settled, by_dhcp] = targets.each_ref().map(|target| target.scene.stack.stats());
    let deep = [
        settled.udp_received,
        settled.icmp_echo_replies,
        settled.icmp_errors,
        settled.icmp_errors_received,
        settled.path_mtu_changes,
        settled.datagrams_reassembled,
        settled.datagrams_fragmented,
        settled.arp_replies,
        settled.neighbor_adverts,
        settled.router_adverts,
        settled.group_reports,
        targets[0].read_v6[0],
        targets[0].read_v6[1],
        by_dhcp.dhcp_received,
    ];

    assert!(deep.iter().all(|&count| count > 0), "{deep:?}");
    let redirects = settled.redirects;
    targets.iter_mut().for_each(Target::rest);
    targets[0].converses();
    targets[1].has_its_address();
    targets.into_iter().for_each(Target::all_comes_back);
    redirects
}

/// For ten seconds, or as many as `MNET_FUZZ_SECONDS` says, from seed to seed: from `MNET_SEED` on, or
/// from where nobody has been yet, if it is to go on for long.
#[test]
fn hosts_under_fire_for_long_keep_within_their_bounds_and_still_converse() {
    let number = |name| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seconds = number("MNET_FUZZ_SECONDS");
    let first = match (number("MNET_SEED"), seconds) {
        (Some(seed), _) => seed,
        (None, Some(_)) => u64::from(std::process::id()) << 32,
        (None, None) => 1,
    };
    let end = std::time::Instant::now() + Duration::from_secs(seconds.unwrap_or(10));
    let mut redirects = 0;
    for seed in first.. {
        redirects += round(seed);
        if std::time::Instant::now() >= end {
            eprintln!("seeds {first} to {seed}");
            // In a round there may be none: some prefix that is forged has everything on the link.
            assert!(redirects > 0);
            return;
        }
    }
}
