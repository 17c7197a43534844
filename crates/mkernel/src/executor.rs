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

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::mem::{self, ManuallyDrop};
use core::pin::Pin;
use core::ptr::{self, NonNull};
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use crate::net::Wait;
use crate::platform::inbox::{self, Inbox};
use crate::stats::COUNTS;
use crate::{Termination, console, entropy, net, platform, time};

/// After so many polls, or as many as there were tasks to run, a round ends though some can run: so busy
/// tasks keep neither timers nor devices waiting for long.
const POLLS: usize = 64;

/// In the end so many tasks that were spawned by what was dropped are dropped as well. What then still
/// spawns is left as it is: it would never come to an end.
const LATE: usize = 4_096;

platform::local::local! {
    // Empty whenever a thread may end, so that there is nothing to be dropped with it.
    static TASKS: ManuallyDrop<RefCell<Tasks>> = ManuallyDrop::new(RefCell::new(Tasks::new()));
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
/// tests and for programs of a hosted process. Tasks that are left are dropped.
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

/// Lets a future run as a task, and then gives its output to `end`. If the task is aborted, `end` is
/// dropped without having been called; in any case after the future.
///
/// # Panics
/// In a hosted process, if this thread runs no tasks.
pub(crate) fn spawn<F>(future: F, end: impl FnMut(F::Output) + 'static) -> Id
where
    F: Future + 'static,
{
    let number = TASKS.with(|tasks| tasks.borrow().number());
    let number = number.expect("a task is spawned from within block_on");
    let task = Task::new(Whole { future, end });
    TASKS.with(|tasks| tasks.borrow_mut().add(number, task))
}

/// Drops a task's future in the next round, unless it has ended by then.
pub(crate) fn abort(id: Id) {
    TASKS.with(|tasks| tasks.borrow_mut().abort(id));
}

fn run_until_done<F>(future: F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    let _open = Open::new();
    let output = Rc::new(Cell::new(None));
    spawn(future, {
        let output = Rc::clone(&output);
        move |value| output.set(Some(value))
    });
    loop {
        time::start_round();
        COUNTS.with(|counts| counts.rounds.update(|rounds| rounds + 1));
        for _ in 0..can_run().max(POLLS) {
            let Some(turn) = TASKS.with(|tasks| tasks.borrow_mut().next()) else { break };
            turn.take();
        }
        if let Some(output) = output.take() {
            return output;
        }
        net::poll_host(match time::next_deadline() {
            _ if can_run() > 0 => Wait::No,
            // It was set in this round, for a time long past.
            Some(deadline) if deadline <= time::now_coarse() => Wait::No,
            Some(deadline) => Wait::Until(deadline),
            None => Wait::Forever,
        });
        platform::memory::check_stack();
    }
}

/// How many tasks can run, those included that other threads have woken by now.
fn can_run() -> usize {
    TASKS.with(|tasks| tasks.borrow_mut().can_run())
}

/// The tasks of a thread, or of an image.
struct Tasks {
    // There while they are run.
    inbox: Option<Inbox>,
    // The number of the one that was there, while what is left is dropped.
    closed: Option<u16>,
    // By the tasks' indices.
    entries: Vec<Entry>,
    // The first of the entries in the queue, the last if there is one, and how many there are.
    first: u32,
    last: u32,
    queued: usize,
    // The first of the free ones.
    free: u32,
    spawned: u32,
}

/// In one cache line, as it is a power of two.
#[repr(align(32))]
struct Entry {
    task: Option<Task>,
    // Nobody's, if there is no task.
    id: Id,
    // The entry behind it in the list in which it is: the queue, or that of the free ones.
    next: u32,
    aborted: bool,
}

// No entries have these indices.
/// There is no entry behind it.
const END: u32 = u32::MAX;
/// It is in no list.
const UNLISTED: u32 = u32::MAX - 1;

/// A future that stays where it is until it is dropped.
struct Task {
    future: NonNull<dyn Future<Output = ()>>,
}

impl Task {
    fn new(future: impl Future<Output = ()> + 'static) -> Self {
        let future: Box<dyn Future<Output = ()>> = Box::new(future);
        Self { future: NonNull::from(Box::leak(future)) }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // SAFETY: It comes from a box, and nobody else makes one of it again. No reference to it is
        // left: only `Turn::take` makes some, and while it has them no task is dropped.
        drop(unsafe { Box::from_raw(self.future.as_ptr()) });
    }
}

/// A future, and what its output is for.
struct Whole<F, E> {
    future: F,
    end: E,
}

impl<F: Future, E: FnMut(F::Output)> Future for Whole<F, E> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: Nothing is moved out of it here.
        let Self { future, end } = unsafe { self.get_unchecked_mut() };
        // SAFETY: The future is pinned as the whole is: it is never moved out of that, which has no `Drop`
        // of its own and is `Unpin` only if the future is.
        unsafe { Pin::new_unchecked(future) }.poll(cx).map(end)
    }
}

/// What is to be done with a task that was woken.
enum Turn {
    Poll(Id, NonNull<dyn Future<Output = ()>>),
    // Nothing, if it has ended in the meantime.
    Drop(Option<Task>),
}

impl Turn {
    /// Whatever the task does, the table of tasks is free for it to use.
    #[inline]
    fn take(self) {
        let (id, mut future) = match self {
            Self::Poll(id, future) => (id, future),
            Self::Drop(task) => return drop(task),
        };
        COUNTS.with(|counts| counts.polls.update(|polls| polls + 1));
        // SAFETY: The future is a task's in the table, and so in its box. Tasks go from the table, and are
        // dropped, by `remove` and by `Open`: both are called by the run loop alone, never while this
        // has the reference, as the loop is on this thread and nobody enters it twice. Unwinding
        // gets to `Open` once the reference is gone. For the same reason there is no other reference.
        // The box is never taken apart: until it is dropped the future is where it was.
        let future = unsafe { Pin::new_unchecked(future.as_mut()) };
        // It is a number: there is nothing to drop.
        let waker = ManuallyDrop::new(id.waker());
        if future.poll(&mut Context::from_waker(&waker)).is_ready() {
            let ended = TASKS.with(|tasks| tasks.borrow_mut().remove(id.index()));
            drop(ended);
        }
    }
}

impl Tasks {
    const fn new() -> Self {
        Self {
            inbox: None,
            closed: None,
            entries: Vec::new(),
            first: END,
            last: END,
            queued: 0,
            free: END,
            spawned: 0,
        }
    }

    /// What tasks are spawned with, if any may be.
    fn number(&self) -> Option<u16> {
        self.inbox.as_ref().map(Inbox::number).or(self.closed)
    }

    fn add(&mut self, inbox: u16, task: Task) -> Id {
        let free = self.entries.get(self.free as usize).map(|entry| (self.free, entry.next));
        let (index, next) = free.unwrap_or((self.entries.len() as u32, END));
        self.free = next;
        let id = Id::new(inbox, index, self.spawned);
        self.spawned = self.spawned.wrapping_add(1);
        let entry = Entry { task: Some(task), id, next: UNLISTED, aborted: false };
        match self.entries.get_mut(index as usize) {
            Some(free) => *free = entry,
            None => self.entries.push(entry),
        }
        self.wake(id);
        id
    }

    #[inline]
    fn entry(&mut self, id: Id) -> Option<&mut Entry> {
        self.entries.get_mut(id.index() as usize).filter(|entry| entry.id == id)
    }

    /// Puts a task into the queue, unless it is there; `false` if it is none of these.
    #[inline]
    fn wake(&mut self, id: Id) -> bool {
        let Some(entry) = self.entry(id) else { return false };
        if entry.next != UNLISTED {
            return true;
        }
        entry.next = END;
        if self.first == END {
            self.first = id.index();
        } else if let Some(last) = self.entries.get_mut(self.last as usize) {
            last.next = id.index();
        }
        self.last = id.index();
        self.queued += 1;
        true
    }

    fn abort(&mut self, id: Id) {
        if let Some(entry) = self.entry(id) {
            entry.aborted = true;
            self.wake(id);
        }
    }

    fn can_run(&mut self) -> usize {
        let woken = self.inbox.as_ref().map(Inbox::take);
        woken.into_iter().flatten().for_each(|id| {
            self.wake(id);
        });
        self.queued
    }

    #[inline]
    fn next(&mut self) -> Option<Turn> {
        let index = self.first;
        let entry = self.entries.get_mut(index as usize)?;
        self.first = mem::replace(&mut entry.next, UNLISTED);
        self.queued -= 1;
        Some(match &entry.task {
            Some(task) if !entry.aborted => Turn::Poll(entry.id, task.future),
            _ => Turn::Drop(self.remove(index)),
        })
    }

    /// Takes out a task of those that are in the queue, as all are that were never polled.
    fn take_any(&mut self) -> Option<Task> {
        loop {
            match self.next()? {
                Turn::Poll(id, _) => return self.remove(id.index()),
                Turn::Drop(task) if task.is_some() => return task,
                Turn::Drop(_) => {}
            }
        }
    }

    /// Takes a task out, if it is there. Who drops it must leave the table free for it to use. An entry
    /// in the queue is not free before its turn.
    #[cold]
    fn remove(&mut self, index: u32) -> Option<Task> {
        let entry = self.entries.get_mut(index as usize)?;
        entry.id = Id::NOBODY;
        let task = entry.task.take();
        if entry.next == UNLISTED {
            entry.next = mem::replace(&mut self.free, index);
        }
        task
    }
}

/// Which task, and whose: all that a waker has to know, so that it can be copied, and outlive the task.
/// Numbers come again in the end; whoever is woken in another's stead has been woken too early, as any
/// task may be.
///
/// From bit 0 the index of the task, from 24 the number of the thread's inbox, from 40 which of those of
/// that index it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(u64);

const INBOX: u32 = 24;
const GENERATION: u32 = 40;
const _: () = assert!(size_of::<Id>() <= size_of::<*const ()>(), "a waker's data hold it");

impl Id {
    /// No task has it.
    const NOBODY: Self = Self(u64::MAX);

    /// # Panics
    /// If there are 2^24 tasks.
    fn new(inbox: u16, index: u32, generation: u32) -> Self {
        assert!(index < (1 << INBOX) - 1, "there are so many tasks");
        Self(u64::from(index) | u64::from(inbox) << INBOX | u64::from(generation) << GENERATION)
    }

    fn inbox(self) -> u16 {
        (self.0 >> INBOX) as u16
    }

    fn index(self) -> u32 {
        self.0 as u32 & ((1 << INBOX) - 1)
    }

    fn waker(self) -> Waker {
        let data = ptr::without_provenance(self.0 as usize);
        // SAFETY: a waker's functions must do what their names say, from any thread. These never follow
        // `data`, which is a number: to clone it is to copy it, dropping it does nothing, and `wake`
        // uses only this thread's own tasks and other threads' inboxes, which are behind locks.
        unsafe { Waker::from_raw(RawWaker::new(data, &WAKER)) }
    }
}

static WAKER: RawWakerVTable =
    RawWakerVTable::new(|data| RawWaker::new(data, &WAKER), wake, wake, |_| ());

fn wake(data: *const ()) {
    let id = Id(data.addr() as u64);
    if !TASKS.with(|tasks| tasks.borrow_mut().wake(id)) {
        wake_elsewhere(id);
    }
}

/// Whether a waker is that of a task of this thread that has ended.
#[cfg(feature = "embassy-time")]
pub(crate) fn has_ended(waker: &Waker) -> bool {
    let id = Id(waker.data().addr() as u64);
    ptr::eq(waker.vtable(), &WAKER)
        && TASKS.with(|tasks| {
            let mut tasks = tasks.borrow_mut();
            tasks.number() == Some(id.inbox()) && tasks.entry(id).is_none()
        })
}

/// Wakes a task that is not in this thread's table: it is another thread's, or has ended.
#[cold]
#[inline(never)]
fn wake_elsewhere(id: Id) {
    let is_own = |inbox: &Inbox| inbox.number() == id.inbox();
    if !TASKS.with(|tasks| tasks.borrow().inbox.as_ref().is_some_and(is_own)) {
        inbox::post(id.inbox(), id);
    }
}

/// While it is there, this thread's tasks are run.
struct Open {
    // The number with which tasks could be spawned before: what is dropped in the end may itself run some.
    before: Option<u16>,
}

impl Open {
    fn new() -> Self {
        TASKS.with(|tasks| {
            let mut tasks = tasks.borrow_mut();
            assert!(tasks.inbox.is_none(), "block_on was called from within block_on");
            tasks.inbox = Some(Inbox::open());
            Self { before: tasks.closed.take() }
        })
    }
}

impl Drop for Open {
    /// Drops what is left, and what is spawned by that, where it may still use the table.
    fn drop(&mut self) {
        let closed = |closed| Tasks { closed, ..Tasks::new() };
        let left = TASKS.with(|tasks| {
            let mut tasks = tasks.borrow_mut();
            let number = tasks.number();
            mem::replace(&mut *tasks, closed(number))
        });
        drop(left);
        for _ in 0..LATE {
            let Some(task) = TASKS.with(|tasks| tasks.borrow_mut().take_any()) else { break };
            drop(task);
        }
        let late = TASKS.with(|tasks| mem::replace(&mut *tasks.borrow_mut(), closed(self.before)));
        if late.queued > 0 {
            mem::forget(late);
        }
    }
}
