//! Waiting in the host: for devices, for time, and for other threads that wake a task.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread_local;

use core::time::Duration;

use netdev::Instant;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::EventFlags;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::{Errno, read, write};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::net::Wait;

const TIMER: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;
/// Longest list of events to take at once; what is left is told the next time.
const EVENTS: usize = 16;

thread_local! {
    static HOST: Host = Host::new();
}

struct Host {
    epoll: OwnedFd,
    timer: OwnedFd,
    wake: Arc<OwnedFd>,
    // What the timer stands at. It stays expired until it is set anew.
    armed: Cell<Option<Instant>>,
}

/// Lets the device be waited for, as this handle.
pub(super) fn add(descriptor: BorrowedFd<'_>, handle: u64) -> Result<(), Errno> {
    // It is told when something comes, and not again and again while nobody takes it.
    HOST.with(|host| host.add(descriptor, handle, EventFlags::IN | EventFlags::ET))
}

/// What another thread writes to, to end this thread's wait.
pub(super) fn wake_descriptor() -> Arc<OwnedFd> {
    HOST.with(|host| Arc::clone(&host.wake))
}

/// Ends the wait of the thread whose descriptor this is.
pub(super) fn wake(descriptor: &OwnedFd) {
    // It fails only where the counter is full: the thread is to wake anyway.
    let _ = write(descriptor, &1u64.to_ne_bytes());
}

/// Waits for devices, and says which have something: the bits in the result are their handles. May
/// return early with none.
pub(crate) fn wait(wait: Wait) -> u64 {
    HOST.with(|host| {
        let deadline = match wait {
            Wait::No => return host.epoll(Some(&Timespec { tv_sec: 0, tv_nsec: 0 })),
            Wait::Until(deadline) => Some(deadline),
            Wait::Forever => None,
        };
        if host.armed.get() != deadline {
            host.arm(deadline);
        }
        host.epoll(None)
    })
}

impl Host {
    /// A thread that gets no descriptors from its host has nothing to go on with.
    fn new() -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("the host gives an epoll");
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )
        .expect("the host gives a timer");
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .expect("the host gives an eventfd");
        let host = Self { epoll, timer, wake: Arc::new(wake), armed: Cell::new(None) };
        for (descriptor, data) in [(host.timer.as_fd(), TIMER), (host.wake.as_fd(), WAKE)] {
            host.add(descriptor, data, EventFlags::IN)
                .expect("the host lets its own descriptors be waited for");
        }
        host
    }

    fn add(&self, descriptor: BorrowedFd<'_>, data: u64, flags: EventFlags) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(data);
        epoll::add(&self.epoll, descriptor, data, flags)
    }

    fn arm(&self, deadline: Option<Instant>) {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = deadline.map_or(Duration::ZERO, |deadline| deadline - Instant::ZERO);
        let it_value = Timespec {
            tv_sec: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: value.subsec_nanos().into(),
        };
        let setting = Itimerspec { it_interval: zero, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting)
            .expect("a timer can be set to any time");
        self.armed.set(deadline);
    }

    fn epoll(&self, timeout: Option<&Timespec>) -> u64 {
        let mut events = Vec::with_capacity(EVENTS);
        // Interrupted, by a debugger for example, it has nothing to tell.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), timeout);
        events.iter().fold(0, |ready, event| match event.data.u64() {
            TIMER => ready,
            WAKE => {
                let _ = read(&*self.wake, &mut [0; 8]);
                ready
            }
            handle => ready | 1u64.checked_shl(handle as u32).unwrap_or(0),
        })
    }
}
