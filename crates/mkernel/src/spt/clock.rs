//! The host's clocks.

use core::time::Duration;

use netdev::Instant;
use solo5_abi::spt::call;

use super::call::call;

const REALTIME: u64 = 0;
const MONOTONIC: u64 = 1;

pub(crate) fn monotonic() -> Instant {
    Instant::ZERO + read(MONOTONIC)
}

pub(crate) fn wall() -> Duration {
    read(REALTIME)
}

/// The processor's own counter, which goes on at an even pace.
pub(crate) fn ticks() -> u64 {
    // SAFETY: Every x86-64 processor has the instruction, which touches nothing but registers, and
    // the tender's host lets processes use it unless it was told otherwise by `prctl`.
    unsafe { core::arch::x86_64::_rdtsc() }
}

fn read(clock: u64) -> Duration {
    // struct timespec: seconds, nanoseconds
    let mut time = [0u64; 2];
    // SAFETY: The kernel writes 16 bytes to `time`, which is borrowed meanwhile. The call cannot
    // fail: both clocks exist.
    unsafe { call(call::CLOCK_GETTIME, [clock, time.as_mut_ptr() as u64]) };
    Duration::new(time[0], time[1] as u32)
}
