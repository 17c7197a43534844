//! The host's clocks.

use core::time::Duration;

use netdev::Instant;
use solo5_abi::spt::call;

use super::call::call;
pub(crate) use crate::solo5::clock::ticks;

const REALTIME: u64 = 0;
const MONOTONIC: u64 = 1;

pub(crate) fn monotonic() -> Instant {
    Instant::ZERO + read(MONOTONIC)
}

pub(crate) fn wall() -> Duration {
    read(REALTIME)
}

fn read(clock: u64) -> Duration {
    // struct timespec: seconds, nanoseconds
    let mut time = [0u64; 2];
    // SAFETY: The kernel writes 16 bytes to `time`, which is borrowed meanwhile. The call cannot
    // fail: both clocks exist.
    unsafe { call(call::CLOCK_GETTIME, [clock, time.as_mut_ptr() as u64]) };
    Duration::new(time[0], time[1] as u32)
}
