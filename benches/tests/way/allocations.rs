//! On the way of a datagram through the stack and the async API nothing is allocated.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

mod echo;
mod link;

use std::alloc::System;
use std::collections::HashSet;

use mnet::Config;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use self::echo::{Case, Echo, in_time};
use self::link::Places;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The hosts have other things to do, now and then: they tell their neighbours of their addresses. That
/// may take memory. What a datagram's way takes is taken at each try.
const TRIES: usize = 10;

#[test]
fn thousands_of_echoes_allocate_nothing() {
    in_time(async {
        for echo in Echo::start_all(Case::all(&[64], &[1, 32])).await {
            // Queues grow to what they need.
            echo.run(1_000).await;
            let mut allocated = 0;
            for _ in 0..TRIES {
                let region = Region::new(ALLOCATOR);
                echo.run(4_000).await;
                let change = region.change();
                allocated = change.allocations + change.reallocations + change.deallocations;
                if allocated == 0 {
                    break;
                }
            }
            assert_eq!(allocated, 0, "{:?}", echo.case);

            let places = echo.places();
            assert!(places.len() >= 5_000);
            let both = |places: &Places| [places.received, places.sent];
            let packets: HashSet<_> = places.iter().flat_map(both).collect();
            assert!(packets.len() <= Config::default().packets, "they are the pool's");
        }
    });
}

#[test]
fn an_allocation_would_be_counted() {
    let region = Region::new(ALLOCATOR);
    drop(std::hint::black_box(vec![0; 64]));
    assert!(region.change().allocations > 0);
}
