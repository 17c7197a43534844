use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use crate::time::{Instant, Sleep, now, sleep_until};

/// Ticks every `period`, the first time at once.
///
/// ```
/// use core::time::Duration;
///
/// mkernel::block_on(async {
///     let mut interval = mkernel::interval(Duration::from_millis(2));
///     for _ in 0..3 {
///         interval.tick().await;
///         // What is to be done every two milliseconds.
///     }
/// });
/// ```
///
/// # Panics
/// If the period is zero.
#[must_use]
pub fn interval(period: Duration) -> Interval {
    interval_at(now(), period)
}

/// Ticks every `period`, the first time at `start`.
///
/// # Panics
/// If the period is zero.
#[must_use]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval's period is more than zero");
    Interval { period, sleep: sleep_until(start) }
}

/// Points in time, all equally far from the next; made by [`interval`].
///
/// Who comes late finds one tick waiting, not all that were missed: the next comes at the next
/// multiple of the period from the start.
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    sleep: Sleep,
}

impl Interval {
    /// Waits for the next tick, and returns when it was due. Cancel-safe: a tick that nobody has
    /// waited for to the end is still to come.
    pub fn tick(&mut self) -> impl Future<Output = Instant> {
        core::future::poll_fn(|cx| self.poll_tick(cx))
    }

    /// The same, to be polled.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let due = self.sleep.deadline();
        let late = (now() - due).as_nanos() / self.period.as_nanos();
        let periods = u32::try_from(late).unwrap_or(u32::MAX).saturating_add(1);
        self.sleep.reset(due + self.period.saturating_mul(periods));
        Poll::Ready(due)
    }

    /// Lets the next tick come a whole period from now.
    pub fn reset(&mut self) {
        self.sleep.reset(now() + self.period);
    }

    /// The time between two ticks.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{block_on, sleep, timeout};

    // So long that a busy machine does not miss one.
    const PERIOD: Duration = Duration::from_millis(50);

    #[test]
    fn ticks_are_a_period_apart_and_the_first_is_at_once() {
        block_on(async {
            let start = now();
            let mut interval = interval(PERIOD);
            let first = interval.tick().await;
            assert!(first - start < PERIOD);
            for count in 1..4 {
                assert_eq!(interval.tick().await, first + PERIOD * count);
            }
            assert!(now() - first >= PERIOD * 3);
        });
    }

    #[test]
    fn ticks_that_were_missed_are_one() {
        block_on(async {
            let mut interval = interval(PERIOD);
            let first = interval.tick().await;
            sleep(PERIOD * 5 + PERIOD / 2).await;
            assert_eq!(interval.tick().await, first + PERIOD);
            let next = interval.tick().await;
            assert!(next >= first + PERIOD * 6, "{:?}", next - first);
            assert_eq!((next - first).as_nanos() % PERIOD.as_nanos(), 0);
        });
    }

    #[test]
    fn a_tick_that_was_not_waited_for_is_still_to_come() {
        block_on(async {
            let mut interval = interval(PERIOD);
            let first = interval.tick().await;
            assert!(timeout(PERIOD / 10, interval.tick()).await.is_err());
            assert_eq!(interval.tick().await, first + PERIOD);
            interval.reset();
            assert!(timeout(PERIOD / 2, interval.tick()).await.is_err());
        });
    }
}
