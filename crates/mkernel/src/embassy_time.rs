//! The clock of `embassy-time`, for crates that wait by that.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use core::cell::RefCell;
use core::ptr;
use core::task::Waker;

use embassy_time_driver::{Driver, TICK_HZ};
use netdev::Instant;

use crate::timers::{Place, Timers};
use crate::{executor, now, platform, time};

const NANOS: u64 = 1_000_000_000;

embassy_time_driver::time_driver_impl!(static DRIVER: Clock = Clock);

platform::local::local! {
    static WAKES: RefCell<Wakes> = RefCell::new(Wakes { by_waker: BTreeMap::new(), clean_at: LEAST });
}

/// As many wakes are kept without asking whether they are still of use.
const LEAST: usize = 64;

/// One wake for each task that waits: when it is woken, it asks anew for all that it still waits for.
struct Wakes {
    by_waker: BTreeMap<Identity, Wake>,
    // With so many, those that are of no use go: then there are twice as many as were of use the last time.
    clean_at: usize,
}

/// What tells wakers apart: those of one task have the same.
type Identity = (usize, usize);

struct Wake {
    at: Instant,
    place: Place,
}

impl Wakes {
    fn schedule(&mut self, timers: &mut Timers, at: Instant, waker: &Waker) {
        if self.by_waker.len() >= self.clean_at {
            self.clean(timers);
        }
        let identity = (waker.data().addr(), ptr::from_ref(waker.vtable()).addr());
        match self.by_waker.entry(identity) {
            Entry::Occupied(mut known) if known.get().place.get().is_some() => {
                let Wake { at: before, place } = known.get_mut();
                if at < *before {
                    *before = at;
                    timers.put_off(place, at);
                }
            }
            entry => {
                entry.insert_entry(Wake { at, place: timers.insert(at, waker.clone()) });
            }
        }
    }

    /// Forgets those whose time has come, and those of tasks that have ended. Of what is woken by another
    /// than this crate nobody knows whether it has.
    #[cold]
    fn clean(&mut self, timers: &mut Timers) {
        self.by_waker.retain(|_, wake| {
            let Some(waker) = timers.waker(&wake.place) else { return false };
            let ended = executor::has_ended(waker);
            if ended {
                timers.remove(&wake.place);
            }
            !ended
        });
        self.clean_at = LEAST.max(2 * self.by_waker.len());
    }
}

struct Clock;

impl Driver for Clock {
    fn now(&self) -> u64 {
        scale(now().as_nanos(), TICK_HZ, NANOS, 0)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        // Not a tick too early.
        let at = Instant::from_nanos(scale(at, NANOS, TICK_HZ, TICK_HZ - 1));
        WAKES.with(|wakes| {
            time::with_timers(|timers| wakes.borrow_mut().schedule(timers, at, waker));
        });
    }
}

/// `count` × `to` ÷ `from`, or as far as that goes.
fn scale(count: u64, to: u64, from: u64, round: u64) -> u64 {
    let scaled = (u128::from(count) * u128::from(to) + u128::from(round)) / u128::from(from);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use embassy_time::{Timer, with_timeout};

    use super::*;
    use crate::{block_on, now, spawn, yield_now};

    fn waiting() -> usize {
        time::with_timers(|timers| timers.len())
    }

    #[test]
    fn its_timers_end_in_order_and_not_early() {
        block_on(async {
            let start = now();
            let order = std::rc::Rc::new(RefCell::new(Vec::new()));
            let sleepers = [30, 10, 20].map(|millis| {
                let order = order.clone();
                spawn(async move {
                    Timer::after_millis(millis).await;
                    order.borrow_mut().push((millis, now() - start));
                })
            });
            for sleeper in sleepers {
                sleeper.await.unwrap();
            }
            for (&(millis, after), expected) in order.borrow().iter().zip([10, 20, 30]) {
                assert_eq!(millis, expected);
                assert!(after >= Duration::from_millis(millis), "{after:?}");
            }
            assert_eq!(waiting(), 0);
        });
    }

    #[test]
    fn of_several_in_one_task_each_ends_and_there_is_one_wake() {
        block_on(async {
            let hour = embassy_time::Duration::from_secs(3_600);
            let both = async {
                Timer::after_millis(5).await;
                Timer::after_millis(5).await;
            };
            let task = spawn(with_timeout(hour, both));
            yield_now().await;
            assert_eq!(waiting(), 1);
            assert!(task.await.unwrap().is_ok());
            let never = core::future::pending::<()>();
            let short = embassy_time::Duration::from_millis(5);
            assert!(with_timeout(short, with_timeout(hour, never)).await.is_err());
            // Polled for another reason, again and again, it leaves no more behind.
            let busy = async {
                for _ in 0..100 {
                    yield_now().await;
                }
            };
            assert!(with_timeout(hour, busy).await.is_ok());
            assert_eq!(waiting(), 1);
        });
    }

    #[test]
    fn tasks_that_have_ended_take_up_nothing() {
        block_on(async {
            let hour = embassy_time::Duration::from_secs(3_600);
            let waits = spawn(with_timeout(hour, core::future::pending::<()>()));
            for _ in 0..1_000 {
                let task = spawn(async move { with_timeout(hour, yield_now()).await.is_ok() });
                assert_eq!(task.await, Ok(true));
            }
            assert!(waiting() <= LEAST, "{}", waiting());
            assert!(WAKES.with(|wakes| wakes.borrow().by_waker.len()) <= LEAST);
            // Those that wait are not forgotten.
            let sleepers: Vec<_> = (0..1_000).map(|_| spawn(Timer::after_millis(20))).collect();
            yield_now().await;
            assert!(waiting() > 1_000);
            for sleeper in sleepers {
                sleeper.await.unwrap();
            }
            waits.abort();
        });
    }

    #[test]
    fn a_timer_of_long_ago_is_over_at_once_and_stops_no_other() {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            block_on(async {
                let first = spawn(Timer::at(embassy_time::Instant::MIN));
                crate::sleep(Duration::from_millis(5)).await;
                first.await.unwrap();
                Timer::at(embassy_time::Instant::MIN).await;
            });
            sender.send(())
        });
        assert!(receiver.recv_timeout(Duration::from_secs(30)).is_ok());
    }

    #[test]
    fn its_clock_is_the_monotonic_one() {
        assert_eq!(scale(1_500, TICK_HZ, NANOS, 0), 1);
        assert_eq!(scale(1, NANOS, TICK_HZ, TICK_HZ - 1), NANOS / TICK_HZ);
        assert_eq!(scale(u64::MAX, NANOS, TICK_HZ, TICK_HZ - 1), u64::MAX);
        let before = embassy_time::Instant::now();
        std::thread::sleep(Duration::from_millis(2));
        assert!(before.elapsed().as_millis() >= 2);
    }
}
