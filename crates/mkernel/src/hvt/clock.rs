//! The processor's clock, and the host's.

use core::cell::Cell;
use core::time::Duration;

use netdev::Instant;
use solo5_abi::hvt::Walltime;

use super::call::call;
pub(crate) use crate::solo5::clock::ticks;
use crate::solo5::local::local;

local! {
    static CLOCK: Clock = Clock { start: Cell::new(0), scale: Cell::new(0) };
}

struct Clock {
    /// How the counter stood at the start.
    start: Cell<u64>,
    /// Nanoseconds that it takes to count one up, times 2^32.
    scale: Cell<u64>,
}

/// Starts the clock. The processor's counter counts so often a second: not never.
pub(super) fn init(frequency: u64) {
    CLOCK.with(|clock| {
        clock.start.set(ticks());
        clock.scale.set((1_000_000_000 << 32) / frequency);
    });
}

pub(crate) fn monotonic() -> Instant {
    CLOCK.with(|clock| {
        let counted = u128::from(ticks().saturating_sub(clock.start.get()));
        Instant::from_nanos(((counted * u128::from(clock.scale.get())) >> 32) as u64)
    })
}

pub(crate) fn wall() -> Duration {
    let mut walltime = Walltime::default();
    // SAFETY: It holds no address.
    unsafe { call(&mut walltime) };
    Duration::from_nanos(walltime.nanoseconds)
}
