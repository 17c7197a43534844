//! The tasks that can run. Wakers may come from other threads.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_task::Runnable;

use super::local::local;
use super::wait;

local! {
    // The queue that this thread runs, and its tasks. Nobody else sees them, so that they need no
    // lock.
    static OWN: RefCell<Own> = RefCell::new(Own::default());
}

#[derive(Default)]
struct Own {
    queue: Option<Handle>,
    tasks: VecDeque<Runnable>,
}

/// A thread's queue: a new one each time that it is opened.
pub(crate) struct RunQueue(());

/// What wakers hold of a queue.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Inbox>);

/// What other threads have woken.
struct Inbox {
    state: Mutex<State>,
    filled: AtomicBool,
    wake: Arc<OwnedFd>,
}

struct State {
    open: bool,
    tasks: VecDeque<Runnable>,
}

impl RunQueue {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// # Panics
    /// If the queue is not open.
    pub(crate) fn handle(&self) -> Handle {
        OWN.with(|own| own.borrow().queue.clone()).expect("a task is spawned from within block_on")
    }

    pub(crate) fn open(&self) {
        OWN.with(|own| {
            let queue = &mut own.borrow_mut().queue;
            assert!(queue.is_none(), "block_on was called from within block_on");
            *queue = Some(Handle::new());
        });
    }

    /// Drops what is left. A task that is woken later is forgotten: its future may be dropped on
    /// this thread only.
    pub(crate) fn close(&self) {
        let Own { queue, tasks } = OWN.with(RefCell::take);
        let from_others = queue.map(|queue| {
            let mut state = queue.lock();
            state.open = false;
            mem::take(&mut state.tasks)
        });
        drop((tasks, from_others));
    }

    /// How many tasks can run, those included that other threads have woken by now.
    pub(crate) fn len(&self) -> usize {
        OWN.with(|own| {
            let Own { queue, tasks } = &mut *own.borrow_mut();
            if let Some(queue) = queue
                && queue.0.filled.swap(false, Ordering::Acquire)
            {
                tasks.append(&mut queue.lock().tasks);
            }
            tasks.len()
        })
    }

    pub(crate) fn pop(&self) -> Option<Runnable> {
        OWN.with(|own| own.borrow_mut().tasks.pop_front())
    }
}

impl Handle {
    fn new() -> Self {
        let state = Mutex::new(State { open: true, tasks: VecDeque::new() });
        Self(Arc::new(Inbox {
            state,
            filled: AtomicBool::new(false),
            wake: wait::wake_descriptor(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, runnable: Runnable) {
        let mut runnable = Some(runnable);
        // It fails on a thread that ends, whose queue is closed.
        let _ = OWN.try_with(|own| {
            let Own { queue, tasks } = &mut *own.borrow_mut();
            if queue.as_ref().is_some_and(|queue| Arc::ptr_eq(&queue.0, &self.0)) {
                tasks.extend(runnable.take());
            }
        });
        let Some(runnable) = runnable else { return };
        let mut state = self.lock();
        if !state.open {
            drop(state);
            mem::forget(runnable);
            return;
        }
        state.tasks.push_back(runnable);
        self.0.filled.store(true, Ordering::Release);
        drop(state);
        wait::wake(&self.0.wake);
    }
}
