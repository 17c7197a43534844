//! The host's clocks.

use core::time::Duration;

use netdev::Instant;
use rustix::time::{ClockId, Timespec, clock_gettime};

pub(crate) fn monotonic() -> Instant {
    Instant::ZERO + duration(clock_gettime(ClockId::Monotonic))
}

pub(crate) fn wall() -> Duration {
    duration(clock_gettime(ClockId::Realtime))
}

/// The processor's own counter, which goes on at an even pace.
pub(crate) fn ticks() -> u64 {
    // SAFETY: Every x86-64 processor has the instruction, which touches nothing but registers, and
    // Linux lets processes use it unless it was told otherwise by `prctl`.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Before 1970 is 1970.
fn duration(time: Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), time.tv_nsec as u32)
}
