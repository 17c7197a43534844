//! Waiting in the host, for devices and for time.

use core::cell::Cell;
use core::time::Duration;

use netdev::Instant;
use solo5_abi::spt::{BootInfo, TIMER_EVENT, call};

use super::call::call;
use crate::net::Wait;
use crate::solo5::local::local;

const TIMER_ABSOLUTE: u64 = 1;
/// Longest list of events to take at once; what is left is told the next time.
const EVENTS: usize = 16;

local! {
    static HOST: Host = Host {
        epoll: Cell::new(-1),
        timer: Cell::new(-1),
        armed: Cell::new(None),
    };
}

struct Host {
    epoll: Cell<i32>,
    timer: Cell<i32>,
    // What the timer stands at. It stays expired until it is set anew.
    armed: Cell<Option<Instant>>,
}

#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Event {
    events: u32,
    data: u64,
}

pub(super) fn init(boot_info: &BootInfo) {
    HOST.with(|host| {
        host.epoll.set(boot_info.epoll);
        host.timer.set(boot_info.timer);
    });
}

/// Waits for devices, and says which have something: the bits in the result are their handles. May
/// return early with none.
pub(crate) fn wait(wait: Wait) -> u64 {
    HOST.with(|host| {
        let (deadline, timeout) = match wait {
            Wait::No => return host.epoll(0),
            Wait::Until(deadline) => (Some(deadline), -1),
            Wait::Forever => (None, -1),
        };
        if host.armed.get() != deadline {
            host.arm(deadline);
        }
        host.epoll(timeout)
    })
}

impl Host {
    fn arm(&self, deadline: Option<Instant>) {
        let value = deadline.map_or(Duration::ZERO, |deadline| deadline - Instant::ZERO);
        // struct itimerspec: no interval, then the value; all zero disarms the timer
        let setting = [0, 0, value.as_secs(), u64::from(value.subsec_nanos())];
        let timer = self.timer.get() as u64;
        // SAFETY: The kernel reads 32 bytes of `setting`, which is borrowed meanwhile.
        unsafe {
            call(call::TIMERFD_SETTIME, [timer, TIMER_ABSOLUTE, setting.as_ptr() as u64, 0]);
        }
        self.armed.set(deadline);
    }

    fn epoll(&self, timeout_ms: i32) -> u64 {
        let mut events = [Event { events: 0, data: 0 }; EVENTS];
        let address = events.as_mut_ptr() as u64;
        let (epoll, timeout) = (self.epoll.get() as u64, i64::from(timeout_ms) as u64);
        // SAFETY: The kernel writes at most EVENTS events to `events`, which is borrowed meanwhile.
        let count = unsafe { call(call::EPOLL_PWAIT, [epoll, address, EVENTS as u64, timeout, 0]) };
        let count = usize::try_from(count).unwrap_or(0).min(EVENTS);
        events[..count].iter().fold(0, |ready, event| match event.data {
            TIMER_EVENT => ready,
            handle => ready | 1u64.checked_shl(handle as u32).unwrap_or(0),
        })
    }
}
