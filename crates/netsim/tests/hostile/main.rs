//! Hosts on a link on which somebody means no good: frames that really passed, of every protocol that
//! they speak, changed in some way and made to look right again.
//!
//! `MNET_FUZZ_SECONDS=N cargo test -p netsim --test hostile` goes on from seed to seed for so long,
//! from `MNET_SEED` on.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

mod corpus;
mod craft;
mod floods;
mod mutate;
mod scene;

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use mnet_proto::Drop as Reason;

use crate::corpus::corpus;
use crate::mutate::Noise;
use crate::scene::{GROUPS, LEASED, ROUND, Scene};

/// Rounds of a conversation amid noise, each of a millisecond, in one run.
const ROUNDS: usize = 3_000;
/// Frames of noise in each, at the most.
const BURST: usize = 8;
/// By then nothing is waited for any more that came before: the fragments of a datagram are given up
/// after a minute, and a sender who does not answer, to be told so, after half a minute if a router
/// has said that asking takes its time.
const QUIET: Duration = Duration::from_secs(100);

/// Says which seed it was if a run panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("again with MNET_SEED={}", self.0);
        }
    }
}

fn noise(scene: &Scene, seed: u64) -> Noise {
    let (mut v4, mut v6) = (vec![LEASED, GROUPS.0], vec![GROUPS.1]);
    for host in [scene.talkers[0], scene.talkers[1], scene.other, scene.far] {
        let (more_v4, more_v6) = scene.addresses_of(host);
        v4.extend(more_v4);
        v6.extend(more_v6);
    }
    for address in ["0.0.0.0", "255.255.255.255", "10.0.0.1", "10.0.0.255", "127.0.0.1", "10.0.0.9"]
    {
        v4.push(address.parse().unwrap());
    }
    for address in ["::", "::1", "ff02::1", "ff02::2", "fd00:0:0:1::1", "fd00:0:0:1::9"] {
        v6.push(address.parse().unwrap());
    }
    let mut macs = scene.macs();
    macs.push(netdev::Mac::BROADCAST);
    Noise::new(seed, corpus(seed), macs, v4, v6)
}

/// Two talk while others make noise, but speak for neither of the two.
fn disturb(seed: u64) -> Scene {
    let _seed = Seed(seed);
    let mut scene = Scene::new(seed);
    let mut noise = noise(&scene, seed);
    for round in 0..ROUNDS {
        for _ in 0..noise.below(BURST + 1) {
            let frame = noise.next();
            if !scene.impersonates(&frame) {
                scene.net.inject(scene.lan, &frame);
            }
        }
        scene.talk(ROUND);
        if round % 100 == 0 {
            scene.assert_bounds_hold("amid noise");
        }
    }
    assert_eq!(scene.missing(), (0, 0), "of {ROUNDS}, datagrams not answered, and refused");
    scene.run(QUIET);
    scene.assert_nothing_is_held("after noise");
    scene
}

/// Two talk while others make noise of any kind, and are believed to be who they say: the two lose
/// each other, and find each other again.
fn deceive(seed: u64) {
    let _seed = Seed(seed);
    let mut scene = Scene::new(seed);
    let mut noise = noise(&scene, seed);
    for round in 0..ROUNDS / 4 {
        for _ in 0..noise.below(BURST + 1) {
            let frame = noise.next();
            scene.net.inject(scene.lan, &frame);
        }
        scene.talk(ROUND);
        if round % 100 == 0 {
            scene.assert_bounds_hold("amid lies");
        }
    }
    // A neighbour is believed for as long as a router says: for an hour and a half at the most (RFC
    // 4861 §6.2.1, §6.3.2). Then it is asked again.
    scene.run(Duration::from_secs(5_400));
    for _ in 0..20 {
        scene.talk(Duration::from_secs(10));
    }
    scene.missing();
    for _ in 0..50 {
        scene.talk(ROUND);
    }
    assert_eq!(scene.missing(), (0, 0), "of 50, datagrams not answered, and refused");
    scene.run(QUIET);
    scene.assert_nothing_is_held("after lies");
}

#[test]
fn a_conversation_amid_noise_loses_nothing() {
    let scene = disturb(3);
    // The noise is such that it gets everywhere.
    let hosts = [scene.talkers[0], scene.talkers[1], scene.other];
    let stats = hosts.map(|host| scene.net.stack(host).stats());
    let seen = |reason: &Reason| stats.iter().any(|stats| stats.dropped[*reason] > 0);
    // Nobody's socket gets a peer here.
    let possible = Reason::ALL.into_iter().filter(|&reason| reason != Reason::UdpNotPeer);
    let unseen: Vec<_> = possible.filter(|reason| !seen(reason)).collect();
    assert!(unseen.len() < 12, "{unseen:?}");
}

#[test]
fn a_conversation_amid_lies_recovers_from_them() {
    deceive(1);
}

#[test]
fn longer_noise_does_no_more_harm() {
    let number = |name| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let Some(seconds) = number("MNET_FUZZ_SECONDS") else { return };
    let (start, first) = (Instant::now(), number("MNET_SEED").unwrap_or(2));
    for seed in first.. {
        if start.elapsed() > Duration::from_secs(seconds) {
            eprintln!("seeds {first} to {seed}");
            return;
        }
        disturb(seed);
        deceive(seed);
    }
}
