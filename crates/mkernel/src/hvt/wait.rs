//! Waiting in the host, for devices and for time.

use solo5_abi::hvt::Poll;

use super::{call::call, clock};
use crate::net::Wait;

/// The longest wait, in nanoseconds: 292 years.
const FOREVER: u64 = i64::MAX as u64;

/// Waits for devices, and says which have something: the bits in the result are their handles. May
/// return early with none.
pub(crate) fn wait(wait: Wait) -> u64 {
    let timeout = match wait {
        Wait::No => 0,
        Wait::Until(deadline) => {
            u64::try_from((deadline - clock::monotonic()).as_nanos()).unwrap_or(FOREVER)
        }
        Wait::Forever => FOREVER,
    };
    let mut poll = Poll { timeout, ..Poll::default() };
    // SAFETY: It holds no address.
    unsafe { call(&mut poll) };
    poll.ready
}
