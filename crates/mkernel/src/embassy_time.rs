//! The clock of `embassy-time`, for crates that wait by that.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::task::Waker;

use embassy_time_driver::{Driver, TICK_HZ};
use netdev::Instant;

use crate::timers::Place;
use crate::{now, platform, time};

const NANOS: u64 = 1_000_000_000;

embassy_time_driver::time_driver_impl!(static DRIVER: Clock = Clock);

platform::local::local! {
    // One for each task that waits: when it is woken, it asks anew for all that it still waits for.
    static WAKES: RefCell<Vec<Wake>> = RefCell::new(Vec::new());
}

struct Wake {
    at: Instant,
    place: Place,
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
            time::with_timers(|timers| {
                let mut wakes = wakes.borrow_mut();
                wakes.retain(|wake| wake.place.get().is_some());
                let known = wakes.iter_mut().find(|wake| {
                    timers.waker(&wake.place).is_some_and(|known| known.will_wake(waker))
                });
                match known {
                    Some(wake) if wake.at <= at => {}
                    Some(wake) => {
                        timers.remove(&wake.place);
                        *wake = Wake { at, place: timers.insert(at, waker.clone()) };
                    }
                    None => wakes.push(Wake { at, place: timers.insert(at, waker.clone()) }),
                }
            });
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
    fn its_clock_is_the_monotonic_one() {
        assert_eq!(scale(1_500, TICK_HZ, NANOS, 0), 1);
        assert_eq!(scale(1, NANOS, TICK_HZ, TICK_HZ - 1), NANOS / TICK_HZ);
        assert_eq!(scale(u64::MAX, NANOS, TICK_HZ, TICK_HZ - 1), u64::MAX);
        let before = embassy_time::Instant::now();
        std::thread::sleep(Duration::from_millis(2));
        assert!(before.elapsed().as_millis() >= 2);
    }
}
