//! Time: clocks, and waiting for them.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::{self, Future};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;

pub use netdev::Instant;

use crate::platform;
use crate::stats::{COUNTS, Counts};
use crate::timers::{Place, Timers};

platform::local::local! {
    static TIME: Time = Time {
        timers: RefCell::new(Timers::new()),
        boot: Cell::new(Instant::ZERO),
    };
}

platform::local::local! {
    // By itself, as whatever has something to drop takes longer to get at.
    static ROUND: Cell<Instant> = Cell::new(Instant::ZERO);
}

struct Time {
    timers: RefCell<Timers>,
    boot: Cell<Instant>,
}

/// Starts the clock that console lines show.
pub(crate) fn init() {
    TIME.with(|time| time.boot.set(now()));
    COUNTS.with(Counts::start);
}

/// When the image started.
pub(crate) fn boot() -> Instant {
    TIME.with(|time| time.boot.get())
}

/// Reads the clock for this round, and wakes all whose time has come.
pub(crate) fn start_round() {
    let now = now();
    ROUND.with(|round| round.set(now));
    // Whoever is woken may set another timer at once.
    while let Some(waker) = TIME.with(|time| time.timers.borrow_mut().pop(now)) {
        waker.wake();
    }
}

/// Gives access to all who wait for a point in time.
#[cfg(feature = "embassy-time")]
pub(crate) fn with_timers<R>(f: impl FnOnce(&mut Timers) -> R) -> R {
    TIME.with(|time| f(&mut time.timers.borrow_mut()))
}

/// When the next timer's time comes.
pub(crate) fn next_deadline() -> Option<Instant> {
    TIME.with(|time| time.timers.borrow().next_deadline())
}

/// The monotonic clock as it was read when this round of tasks began: costs nothing, and is late
/// by no more than the tasks of the round have run.
#[must_use]
#[inline]
pub fn now_coarse() -> Instant {
    ROUND.with(Cell::get)
}

/// The monotonic clock: read from the host, about 0.3 µs, on spt; from the processor on hvt.
#[must_use]
pub fn now() -> Instant {
    platform::clock::monotonic()
}

/// The wall clock, read from the host: time since 1970-01-01 00:00 UTC, without leap seconds. It
/// follows the host's, and may go back when that is set.
#[must_use]
pub fn wall_clock() -> Duration {
    platform::clock::wall()
}

/// Waits for `duration`. Cancel-safe.
///
/// ```
/// use core::time::Duration;
///
/// mkernel::block_on(async {
///     let before = mkernel::now();
///     mkernel::sleep(Duration::from_millis(2)).await;
///     assert!(mkernel::now() - before >= Duration::from_millis(2));
/// });
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now() + duration)
}

/// Waits until `deadline`. Cancel-safe.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, place: None }
}

/// The future of [`sleep`] and [`sleep_until`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    deadline: Instant,
    // Its timer's, if it has one.
    place: Option<Place>,
}

impl Sleep {
    /// The point in time it waits for.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Lets it wait for another point in time, and whoever waits for it wait on.
    pub fn reset(&mut self, deadline: Instant) {
        if deadline != self.deadline {
            self.deadline = deadline;
            if let Some(place) = &self.place
                && !TIME.with(|time| time.timers.borrow_mut().put_off(place, deadline))
            {
                // It has fired.
                self.place = None;
            }
        }
    }

    fn forget(&mut self) {
        if let Some(place) = self.place.take() {
            TIME.with(|time| time.timers.borrow_mut().remove(&place));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        TIME.with(|time| {
            let mut timers = time.timers.borrow_mut();
            if let Some(place) = &self.place
                && let Some(waker) = timers.waker(place)
            {
                waker.clone_from(cx.waker());
                return Poll::Pending;
            }
            // Either it has never been polled, or its timer has fired.
            if self.place.take().is_some() || self.deadline <= now() {
                return Poll::Ready(());
            }
            self.place = Some(timers.insert(self.deadline, cx.waker().clone()));
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Waits for `future`, but no longer than `duration`. Cancel-safe if `future` is.
///
/// ```
/// use core::time::Duration;
///
/// mkernel::block_on(async {
///     let never = core::future::pending::<()>();
///     let ended = mkernel::timeout(Duration::from_millis(2), never).await;
///     assert_eq!(ended, Err(mkernel::Elapsed));
/// });
/// ```
///
/// # Errors
/// [`Elapsed`] if the time is over first; `future` is dropped then.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    timeout_at(now() + duration, future).await
}

/// Waits for `future`, but no longer than until `deadline`. Cancel-safe if `future` is.
///
/// # Errors
/// [`Elapsed`] if the time is over first; `future` is dropped then.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut sleep = pin!(sleep_until(deadline));
    future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}

/// The time of a [`timeout`] was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl core::error::Error for Elapsed {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{block_on, spawn, yield_now};

    const SHORT: Duration = Duration::from_millis(5);

    fn waiting() -> usize {
        TIME.with(|time| time.timers.borrow().len())
    }

    #[test]
    fn sleeps_end_in_the_order_of_their_deadlines_and_not_early() {
        block_on(async {
            let start = now();
            let order = alloc::rc::Rc::new(RefCell::new(Vec::new()));
            let sleepers: Vec<_> = [3, 1, 2, 1]
                .map(|n| {
                    let order = order.clone();
                    spawn(async move {
                        sleep_until(start + SHORT * n).await;
                        order.borrow_mut().push(n);
                    })
                })
                .into();
            for sleeper in sleepers {
                sleeper.await.unwrap();
            }
            assert_eq!(*order.borrow(), [1, 1, 2, 3]);
            assert!(now() - start >= SHORT * 3);
            assert_eq!(waiting(), 0);
        });
    }

    #[test]
    fn a_sleep_that_is_dropped_leaves_no_timer() {
        block_on(async {
            let sleeper = spawn(sleep(Duration::from_secs(3600)));
            yield_now().await;
            assert_eq!(waiting(), 1);
            sleeper.abort();
            assert!(sleeper.await.is_err());
            assert_eq!(waiting(), 0);
        });
    }

    #[test]
    fn a_sleep_can_be_put_off_and_brought_forward() {
        block_on(async {
            let start = now();
            let mut sleep = pin!(sleep(Duration::from_secs(3600)));
            let polled = future::poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
            sleep.reset(start + SHORT);
            sleep.await;
            assert!(now() - start < Duration::from_secs(3600));
            assert_eq!(waiting(), 0);
        });
    }

    #[test]
    fn who_waits_for_a_sleep_is_woken_also_if_another_brings_it_forward() {
        block_on(async {
            let shared = alloc::rc::Rc::new(RefCell::new(sleep(Duration::from_secs(3600))));
            let waiter = spawn({
                let shared = shared.clone();
                future::poll_fn(move |cx| Pin::new(&mut *shared.borrow_mut()).poll(cx))
            });
            yield_now().await;
            shared.borrow_mut().reset(now() + SHORT);
            assert_eq!(waiting(), 1);
            assert_eq!(timeout(Duration::from_secs(30), waiter).await, Ok(Ok(())));
            // Once it is over it can be waited for again.
            shared.borrow_mut().reset(now() + SHORT);
            let again = future::poll_fn(|cx| Pin::new(&mut *shared.borrow_mut()).poll(cx));
            assert_eq!(timeout(Duration::from_secs(30), again).await, Ok(()));
            assert_eq!(waiting(), 0);
        });
    }

    /// Sets a timer as soon as it is woken, as one does that runs its task at once.
    struct AtOnce;

    impl std::task::Wake for AtOnce {
        fn wake(self: std::sync::Arc<Self>) {
            let mut another = pin!(sleep(SHORT));
            assert!(
                another
                    .as_mut()
                    .poll(&mut Context::from_waker(std::task::Waker::noop()))
                    .is_pending()
            );
        }
    }

    #[test]
    fn whoever_is_woken_may_set_a_timer_at_once() {
        block_on(async {
            let waker = std::sync::Arc::new(AtOnce).into();
            let mut first = pin!(sleep(SHORT));
            assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            sleep(SHORT * 2).await;
            assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        });
    }

    #[test]
    fn a_timeout_gives_the_output_or_says_that_time_is_over() {
        block_on(async {
            assert_eq!(timeout(Duration::from_secs(3600), async { 7 }).await, Ok(7));
            assert_eq!(timeout(SHORT, future::pending::<()>()).await, Err(Elapsed));
            assert_eq!(timeout(Duration::ZERO, async { 7 }).await, Ok(7));
            assert_eq!(waiting(), 0);
        });
    }
}
