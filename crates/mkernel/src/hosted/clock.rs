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

/// Before 1970 is 1970.
fn duration(time: Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), time.tv_nsec as u32)
}
