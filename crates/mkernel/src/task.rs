//! Tasks: futures that run by themselves.

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::future::{self, Future};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use crate::executor::{self, Id};
use crate::stats::COUNTS;

/// Runs a future as a task of its own.
///
/// It runs also if the handle is dropped. The task need not be `Send`: it stays on this core.
///
/// ```
/// mkernel::block_on(async {
///     let sum = mkernel::spawn(async { 1 + 2 });
///     assert_eq!(sum.await, Ok(3));
/// });
/// ```
///
/// # Panics
/// In a hosted process, if no image runs on this thread, nor [`block_on`](crate::block_on).
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let state = Rc::new(State {
        output: Cell::new(None),
        finished: Cell::new(false),
        joiner: Cell::new(None),
    });
    COUNTS.with(|counts| {
        counts.tasks.update(|tasks| tasks + 1);
        counts.spawned.update(|spawned| spawned + 1);
    });
    let end = End { state: Rc::clone(&state) };
    let task = executor::spawn(future, move |output| end.state.output.set(Some(output)));
    JoinHandle { state, task }
}

/// Lets every other task that can run have its turn first.
pub async fn yield_now() {
    let mut yielded = false;
    future::poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What a task and its handle share.
struct State<T> {
    output: Cell<Option<T>>,
    finished: Cell<bool>,
    joiner: Cell<Option<Waker>>,
}

/// Lives in the task: goes when the task ends, however it ends.
struct End<T> {
    state: Rc<State<T>>,
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        self.state.finished.set(true);
        COUNTS.with(|counts| counts.tasks.update(|tasks| tasks - 1));
        if let Some(joiner) = self.state.joiner.take() {
            joiner.wake();
        }
    }
}

/// A task's handle: await it for the task's output, or abort the task.
///
/// Dropping it lets the task run on.
pub struct JoinHandle<T> {
    state: Rc<State<T>>,
    task: Id,
}

impl<T> JoinHandle<T> {
    /// Ends the task where it awaits now, and drops its future in the next round. Does nothing if
    /// it has ended already.
    ///
    /// ```
    /// mkernel::block_on(async {
    ///     let endless = mkernel::spawn(core::future::pending::<()>());
    ///     endless.abort();
    ///     assert_eq!(endless.await, Err(mkernel::Aborted));
    /// });
    /// ```
    pub fn abort(&self) {
        // Another may have its number by now, if it has ended.
        if !self.is_finished() {
            executor::abort(self.task);
        }
    }

    /// Whether the task has ended: by itself, or aborted and dropped.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.finished.get()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Aborted>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.state.finished.get() {
            return Poll::Ready(self.state.output.take().ok_or(Aborted));
        }
        self.state.joiner.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

/// The task was aborted before it had an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was aborted")
    }
}

impl core::error::Error for Aborted {}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;
    use core::time::Duration;

    use super::*;
    use crate::{block_on, sleep, timeout};

    #[test]
    fn a_task_is_awaited_for_its_output() {
        assert_eq!(block_on(async { spawn(async { 6 * 7 }).await }), Ok(42));
    }

    #[test]
    fn a_task_runs_on_without_its_handle() {
        let ran = Rc::new(Cell::new(false));
        block_on({
            let ran = ran.clone();
            async move {
                spawn(async move {
                    yield_now().await;
                    ran.set(true);
                });
                yield_now().await;
                yield_now().await;
            }
        });
        assert!(ran.get());
    }

    #[test]
    fn an_aborted_task_is_dropped_and_says_so() {
        block_on(async {
            let held = Rc::new(());
            let task = spawn({
                let held = held.clone();
                async move {
                    future::pending::<()>().await;
                    drop(held);
                }
            });
            yield_now().await;
            assert_eq!(Rc::strong_count(&held), 2);
            task.abort();
            assert_eq!(task.await, Err(Aborted));
            assert_eq!(Rc::strong_count(&held), 1);
        });
    }

    #[test]
    fn a_task_may_abort_itself_spawn_many_and_end_while_it_is_woken() {
        block_on(async {
            let own = Rc::new(Cell::new(None::<JoinHandle<()>>));
            let task = spawn({
                let own = own.clone();
                async move {
                    let local = [7; 64];
                    own.take().unwrap().abort();
                    // The table of tasks grows, and moves, while this one is polled.
                    let others: Vec<_> = (0..200).map(|it| spawn(async move { it })).collect();
                    future::poll_fn(|cx| {
                        cx.waker().wake_by_ref();
                        Poll::Ready(())
                    })
                    .await;
                    assert_eq!(local, [7; 64]);
                    for (it, other) in others.into_iter().enumerate() {
                        assert_eq!(other.await, Ok(it));
                    }
                    unreachable!("it is dropped where it awaits");
                }
            });
            let held = own.clone();
            own.set(Some(task));
            while Rc::strong_count(&held) > 2 {
                yield_now().await;
            }
            // One that has been woken, and ends: its place is another's by the time of its turn.
            for round in 0..10 {
                let woken = spawn(future::poll_fn(move |cx| {
                    cx.waker().wake_by_ref();
                    Poll::Ready(round)
                }));
                assert_eq!(woken.await, Ok(round));
                assert_eq!(spawn(async move { round + 1 }).await, Ok(round + 1));
            }
        });
    }

    /// Does something when it is dropped.
    struct OnDrop<F: FnMut()>(F);

    impl<F: FnMut()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    #[test]
    fn what_is_dropped_in_the_end_may_spawn_and_that_is_dropped_as_well() {
        let dropped = Rc::new(Cell::new(0));
        let count = |dropped: &Rc<Cell<u32>>| {
            let dropped = Rc::clone(dropped);
            OnDrop(move || dropped.set(dropped.get() + 1))
        };
        let (first, second) = (count(&dropped), count(&dropped));
        let output = block_on(async move {
            let mut second = Some(second);
            let goodbye = OnDrop(move || {
                let second = second.take();
                spawn(async move {
                    drop(second);
                    unreachable!("it is not run");
                });
            });
            spawn(async move {
                future::pending::<()>().await;
                drop((first, goodbye));
            });
            yield_now().await;
            7
        });
        assert_eq!((output, dropped.get()), (7, 2));
    }

    #[test]
    fn what_spawns_whenever_it_is_dropped_comes_to_an_end() {
        fn again(dropped: Rc<Cell<u32>>) {
            let guard = OnDrop({
                let dropped = Rc::clone(&dropped);
                move || {
                    dropped.set(dropped.get() + 1);
                    again(Rc::clone(&dropped));
                    again(Rc::clone(&dropped));
                }
            });
            spawn(async move {
                future::pending::<()>().await;
                drop(guard);
            });
        }
        let dropped = Rc::new(Cell::new(0));
        block_on({
            let dropped = Rc::clone(&dropped);
            async move { again(dropped) }
        });
        assert!(dropped.get() > 100);
        // The thread can run tasks again.
        assert_eq!(block_on(async { spawn(async { 7 }).await }), Ok(7));
    }

    #[test]
    fn what_is_dropped_in_the_end_may_run_tasks_of_its_own_and_then_spawn() {
        let seen = Rc::new(Cell::new(0));
        block_on({
            let seen = Rc::clone(&seen);
            async move {
                let guard = OnDrop(move || {
                    seen.set(block_on(async { spawn(async { 5 }).await.unwrap() }));
                    spawn(async { unreachable!("it is not run") });
                });
                spawn(async move {
                    future::pending::<()>().await;
                    drop(guard);
                });
                yield_now().await;
            }
        });
        assert_eq!(seen.get(), 5);
    }

    #[test]
    fn tasks_run_in_the_order_in_which_they_are_woken() {
        block_on(async {
            let wakers: Rc<[Cell<Option<Waker>>; 5]> = Rc::default();
            let ran = Rc::new(RefCell::new(Vec::new()));
            let start = |it: usize| {
                let (wakers, ran) = (wakers.clone(), ran.clone());
                spawn(future::poll_fn(move |cx| {
                    ran.borrow_mut().push(it);
                    wakers[it].set(Some(cx.waker().clone()));
                    // One ends, though it will have its turn again.
                    if it == 4 {
                        cx.waker().wake_by_ref();
                        return Poll::Ready(());
                    }
                    Poll::<()>::Pending
                }))
            };
            let mut tasks: Vec<_> = (0..5).map(start).collect();
            yield_now().await;
            assert_eq!(ran.take(), [0, 1, 2, 3, 4]);
            for order in [[2, 0, 3, 1], [3, 2, 1, 0], [0, 1, 2, 3]] {
                for it in order {
                    // A second time does not count.
                    for _ in 0..2 {
                        let waker = wakers[it].take().unwrap();
                        waker.wake_by_ref();
                        wakers[it].set(Some(waker));
                    }
                }
                // A new one comes behind them.
                tasks.push(start(4));
                yield_now().await;
                assert_eq!(ran.take(), [&order[..], &[4]].concat());
            }
            tasks.iter().for_each(JoinHandle::abort);
            yield_now().await;
            assert!(tasks.iter().all(JoinHandle::is_finished));
            assert_eq!((ran.take(), Rc::strong_count(&ran)), (vec![], 1));
        });
    }

    #[test]
    fn abort_comes_too_late_for_a_task_that_has_ended() {
        block_on(async {
            let task = spawn(async { 1 });
            yield_now().await;
            assert!(task.is_finished());
            task.abort();
            assert_eq!(task.await, Ok(1));
        });
    }

    #[test]
    fn a_busy_task_does_not_keep_others_or_timers_from_running() {
        block_on(async {
            let busy = spawn(async {
                loop {
                    yield_now().await;
                }
            });
            let slept = timeout(Duration::from_secs(60), sleep(Duration::from_millis(2))).await;
            assert_eq!(slept, Ok(()));
            busy.abort();
        });
    }

    #[test]
    fn a_task_is_woken_from_another_thread() {
        block_on(async {
            let (sender, receiver) = std::sync::mpsc::channel::<Waker>();
            let thread = std::thread::spawn(move || {
                let waker = receiver.recv().unwrap();
                std::thread::sleep(Duration::from_millis(5));
                waker.wake();
            });
            let mut polls = 0;
            future::poll_fn(|cx| {
                polls += 1;
                if polls == 2 {
                    return Poll::Ready(());
                }
                sender.send(cx.waker().clone()).unwrap();
                Poll::Pending
            })
            .await;
            thread.join().unwrap();
        });
    }
}
