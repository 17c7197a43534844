//! The tasks that can run. Wakers may come from other threads.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use async_task::Runnable;

use super::wait;

/// A thread's queue: a new one each time that it is opened.
pub(crate) struct RunQueue {
    current: RefCell<Handle>,
}

/// What wakers hold of a queue.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Queue>);

struct Queue {
    state: Mutex<State>,
    owner: ThreadId,
    wake: Arc<OwnedFd>,
}

#[derive(Default)]
struct State {
    open: bool,
    tasks: VecDeque<Runnable>,
}

impl RunQueue {
    pub(crate) fn new() -> Self {
        Self { current: RefCell::new(Handle::new()) }
    }

    pub(crate) fn handle(&self) -> Handle {
        self.current.borrow().clone()
    }

    pub(crate) fn open(&self) {
        let is_open = self.current.borrow().lock().open;
        assert!(!is_open, "block_on was called from within block_on");
        let handle = Handle::new();
        handle.lock().open = true;
        self.current.replace(handle);
    }

    /// Drops what is left. A task that is woken later is forgotten: its future may be dropped on
    /// this thread only.
    pub(crate) fn close(&self) {
        let left = {
            let handle = self.current.borrow();
            let mut state = handle.lock();
            state.open = false;
            mem::take(&mut state.tasks)
        };
        drop(left);
    }

    pub(crate) fn len(&self) -> usize {
        self.current.borrow().lock().tasks.len()
    }

    pub(crate) fn pop(&self) -> Option<Runnable> {
        self.current.borrow().lock().tasks.pop_front()
    }
}

impl Handle {
    fn new() -> Self {
        Self(Arc::new(Queue {
            state: Mutex::default(),
            owner: thread::current().id(),
            wake: wait::wake_descriptor(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, runnable: Runnable) {
        let mut state = self.lock();
        if !state.open {
            drop(state);
            mem::forget(runnable);
            return;
        }
        state.tasks.push_back(runnable);
        drop(state);
        if thread::current().id() != self.0.owner {
            wait::wake(&self.0.wake);
        }
    }
}
