//! Links on which things go wrong, and neighbours that mean no good.

use chacha20::ChaCha20Rng;
use netsim::Faults;
use rand_core::{Rng, SeedableRng};

use super::*;

#[test]
fn what_waits_for_a_neighbour_on_a_bad_link_is_accounted_for() {
    let (mut net, first, second, router) = scene(1_500);
    let b = &mut Peer::new(
        &mut net,
        second,
        &["10.0.1.2/24", "fd00:0:0:2::2/64"],
        &["10.0.1.1", "fd00:0:0:2::1"],
    );
    let mut probe = probe(&mut net, first, router);
    net.link_mut(second).faults = Faults { loss: 0.3, corrupt: 0.1, ..Faults::NONE };
    let mut received = 0;
    for number in 0..400 {
        let (source, destination) = match number % 2 {
            0 => ("10.0.0.9", "10.0.1.2"),
            _ => ("fd00:0:0:1::9", "fd00:0:0:2::2"),
        };
        probe.send(&udp(source, destination, 9, b"x"));
        run(&mut net, &mut [b], SECOND / 2);
        received += std::iter::from_fn(|| b.receive()).count() as u64;
    }
    net.run_for(5 * SECOND);
    let (stats, link) = (net.router_stats(router), net.link_stats(second));
    assert!(stats.is_balanced() && link.is_balanced(), "{stats:?} {link:?}");
    assert!(received > 150, "{received}");
    assert!(400 - received <= stats.dropped() + link.dropped() + link.corrupted);
}

#[test]
fn no_frame_brings_the_router_down_or_out_of_balance() {
    let (mut net, first, second, router) = scene(600);
    net.router_mut(router).set_redirects(true);
    net.router_mut(router).advertise(first, Some(Advertisement::default()));
    let mut probe = probe(&mut net, first, router);
    let _other = net.device(second);
    let mut random = ChaCha20Rng::seed_from_u64(1);
    let seeds: Vec<Vec<u8>> = [
        ("10.0.0.9", "10.0.1.2"),
        ("10.0.0.9", "10.0.0.1"),
        ("10.0.0.9", "10.0.0.3"),
        ("fd00:0:0:1::9", "fd00:0:0:2::2"),
        ("fd00:0:0:1::9", "fd00:0:0:1::3"),
        ("fe80::9", "ff02::2"),
    ]
    .into_iter()
    .flat_map(|(source, destination)| {
        [0, 700].map(|len| udp(source, destination, 9, &vec![58; len]))
    })
    .collect();
    for number in 0..20_000 {
        let mut datagram = seeds[number % seeds.len()].clone();
        if number % 3 == 0 {
            // May be fragmented, and is of a protocol that is looked into.
            let (at, to, flags) = if datagram[0] == 0x45 { (9, 1, 6) } else { (6, 58, 7) };
            datagram[at] = to;
            datagram[flags] = 255;
        }
        for _ in 0..random.next_u64() % 4 {
            let at = (random.next_u64() % 64) as usize % datagram.len();
            datagram[at] = random.next_u64() as u8;
        }
        if number % 5 == 0 {
            datagram.truncate((random.next_u64() % 80) as usize + 1);
        }
        if datagram.len() >= 20 && datagram[0] == 0x45 {
            mend(&mut datagram);
        }
        probe.send(&datagram);
        if number % 50 == 0 {
            net.run_for(SECOND / 10);
        }
    }
    net.run_for(10 * SECOND);
    let stats = net.router_stats(router);
    assert!(stats.is_balanced(), "{stats:?}");
    assert!(stats.malformed > 100 && stats.errors > 100 && stats.taken > 100, "{stats:?}");
    assert!(stats.unresolved > 100 && stats.too_big > 100, "{stats:?}");
}
