//! What the unikernel has done so far, in figures.

use core::cell::Cell;
use core::time::Duration;

use crate::{now, platform, time};

platform::local::local! {
    pub(crate) static COUNTS: Counts = Counts::new();
}

/// What is counted as it happens. None ever goes back, but for the tasks that are there.
pub(crate) struct Counts {
    pub(crate) tasks: Cell<u64>,
    pub(crate) spawned: Cell<u64>,
    pub(crate) polls: Cell<u64>,
    pub(crate) rounds: Cell<u64>,
    /// In ticks of the processor.
    pub(crate) asleep: Cell<u64>,
    /// How the processor's counter stood at the start.
    start: Cell<u64>,
}

impl Counts {
    const fn new() -> Self {
        Self {
            tasks: Cell::new(0),
            spawned: Cell::new(0),
            polls: Cell::new(0),
            rounds: Cell::new(0),
            asleep: Cell::new(0),
            start: Cell::new(0),
        }
    }

    pub(crate) fn start(&self) {
        self.start.set(platform::clock::ticks());
    }
}

/// What the unikernel has done since it started, and what it uses now; made by [`stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks that have not ended, besides `main`.
    pub tasks: u64,
    /// Tasks that were ever spawned.
    pub spawned: u64,
    /// How often a task was polled.
    pub polls: u64,
    /// Rounds: each polls every task that can run, once, and then looks at the devices.
    pub rounds: u64,
    /// Time since the start.
    pub uptime: Duration,
    /// How much of that the image slept in its host, as nothing could run: measured by the
    /// processor's own counter.
    pub asleep: Duration,
    /// The heap; `None` on hosted, where it is the process's.
    pub heap: Option<Heap>,
}

/// The heap, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heap {
    /// What is in use, as it was asked for: without what the allocator needs besides.
    pub used: usize,
    /// The most that ever was.
    pub peak: usize,
    /// How much there is, in use or free.
    pub size: usize,
}

/// What the unikernel has done since it started, and what it uses now.
///
/// ```
/// mkernel::block_on(async {
///     let task = mkernel::spawn(core::future::pending::<()>());
///     assert_eq!(mkernel::stats().tasks, 1);
///     task.abort();
/// });
/// ```
#[must_use]
pub fn stats() -> Stats {
    let uptime = now() - time::boot();
    COUNTS.with(|counts| Stats {
        tasks: counts.tasks.get(),
        spawned: counts.spawned.get(),
        polls: counts.polls.get(),
        rounds: counts.rounds.get(),
        uptime,
        asleep: {
            let ticks = platform::clock::ticks().saturating_sub(counts.start.get()).max(1);
            let share = u128::from(counts.asleep.get().min(ticks));
            let nanos = uptime.as_nanos() * share / u128::from(ticks);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        },
        heap: platform::memory::heap(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{block_on, sleep, spawn, yield_now};

    #[test]
    fn what_is_done_is_counted() {
        block_on(async {
            let before = stats();
            let tasks: Vec<_> = (0..5)
                .map(|_| {
                    spawn(async {
                        for _ in 0..100 {
                            yield_now().await;
                        }
                    })
                })
                .collect();
            assert_eq!(stats().tasks, before.tasks + 5);
            for task in tasks {
                task.await.unwrap();
            }
            let after = stats();
            assert_eq!((after.tasks, after.spawned), (before.tasks, before.spawned + 5));
            assert!(after.polls >= before.polls + 505, "{after:?}");
            // Tasks that are always busy leave room for timers and devices all the same.
            assert!(after.rounds >= before.rounds + 505 / 64, "{after:?}");
            assert_eq!(after.heap, None);
        });
    }

    #[test]
    fn an_aborted_task_is_no_longer_there() {
        block_on(async {
            let before = stats().tasks;
            let task = spawn(core::future::pending::<()>());
            yield_now().await;
            task.abort();
            assert!(task.await.is_err());
            assert_eq!(stats().tasks, before);
        });
    }

    #[test]
    fn time_asleep_is_told_from_time_awake() {
        block_on(async {
            let before = stats();
            sleep(Duration::from_millis(100)).await;
            let slept = stats();
            assert!(slept.asleep >= before.asleep + Duration::from_millis(90), "{slept:?}");
            let busy = now() + Duration::from_millis(100);
            while now() < busy {}
            let awake = stats();
            assert!(awake.asleep < slept.asleep + Duration::from_millis(30), "{awake:?}");
            assert!(awake.uptime >= awake.asleep + Duration::from_millis(90), "{awake:?}");
        });
    }
}
