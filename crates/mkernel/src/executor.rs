//! The run loop: one queue of tasks on one core.
//!
//! ```text
//!          spawn, wake                     ready
//!   task ──────────────▶ run queue ──poll────────▶ ended
//!             ▲              │
//!             │              │ pending
//!             └── waiting ◀──┘      for a timer, a device, another task
//! ```
//!
//! A round: the clock is read, and timers whose time has come fire; every task that is in the queue
//! then is polled, and those that they wake, until nothing can run or a bound is reached; devices are
//! looked at and, if nothing can run, waited for, or else the next timer.

use alloc::rc::Rc;
use core::cell::Cell;
use core::future::Future;

use crate::net::Wait;
use crate::platform::run_queue::RunQueue;
use crate::stats::COUNTS;
use crate::{Termination, console, entropy, net, platform, time};

/// After so many polls, or as many as there were tasks to run, a round ends though some can run: so busy
/// tasks keep neither timers nor devices waiting for long.
const POLLS: usize = 64;

pub(crate) type Task = async_task::Task<()>;

platform::local::local! {
    static QUEUE: RunQueue = RunQueue::new();
}

/// Seeds the generator, then runs the image's main task to its end and reports its status.
pub fn run<F>(main: F) -> u8
where
    F: Future + 'static,
    F::Output: Termination,
{
    console::init();
    time::init();
    match entropy::init() {
        Ok(()) => run_until_done(main).report().0,
        Err(reason) => {
            log::error!("{reason}");
            solo5_abi::EXIT_FAILURE as u8
        }
    }
}

/// Runs a future, and all that it spawns, until it is done: what `#[mkernel::main]` does, for
/// tests and for programs of a hosted process. Tasks that are left are dropped or forgotten.
///
/// # Panics
/// If there is no entropy, or from within another `block_on`.
pub fn block_on<F>(future: F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    time::init();
    if let Err(reason) = entropy::init() {
        panic!("{reason}");
    }
    run_until_done(future)
}

pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) -> Task {
    let handle = QUEUE.with(RunQueue::handle);
    // SAFETY: async-task asks for four things. (1) A future that is not Send is polled and dropped
    // on this thread only: its Runnable is run by this thread's `run_until_done`, and a queue that
    // is closed forgets what other threads push. (2) The future borrows nothing: it is 'static.
    // (3) The schedule function may go to other threads with the wakers: a queue's handle is Send
    // and Sync. (4) The schedule function borrows nothing.
    let (runnable, task) =
        unsafe { async_task::spawn_unchecked(future, move |runnable| handle.push(runnable)) };
    runnable.schedule();
    task
}

fn run_until_done<F>(future: F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    let _open = Open::new();
    let output = Rc::new(Cell::new(None));
    spawn({
        let output = Rc::clone(&output);
        async move { output.set(Some(future.await)) }
    })
    .detach();
    loop {
        time::start_round();
        COUNTS.with(|counts| counts.rounds.update(|rounds| rounds + 1));
        for _ in 0..QUEUE.with(RunQueue::len).max(POLLS) {
            let Some(runnable) = QUEUE.with(RunQueue::pop) else { break };
            COUNTS.with(|counts| counts.polls.update(|polls| polls + 1));
            runnable.run();
        }
        if let Some(output) = output.take() {
            return output;
        }
        net::poll_host(match time::next_deadline() {
            _ if QUEUE.with(RunQueue::len) > 0 => Wait::No,
            Some(deadline) => Wait::Until(deadline),
            None => Wait::Forever,
        });
        platform::memory::check_stack();
    }
}

/// The queue is open while it is run, and emptied after.
struct Open;

impl Open {
    fn new() -> Self {
        QUEUE.with(RunQueue::open);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        QUEUE.with(RunQueue::close);
    }
}
