//! The tasks that can run.

use alloc::collections::VecDeque;
use core::cell::RefCell;

use async_task::Runnable;

use super::local::local;

local! {
    static TASKS: RefCell<VecDeque<Runnable>> = RefCell::new(VecDeque::new());
}

/// The queue. There is one.
pub(crate) struct RunQueue(());

/// What wakers hold of the queue.
#[derive(Clone, Copy)]
pub(crate) struct Handle(());

impl RunQueue {
    pub(crate) const fn new() -> Self {
        Self(())
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle(())
    }

    pub(crate) fn open(&self) {}

    /// The image ends: nothing need be dropped.
    pub(crate) fn close(&self) {}

    pub(crate) fn len(&self) -> usize {
        TASKS.with(|tasks| tasks.borrow().len())
    }

    pub(crate) fn pop(&self) -> Option<Runnable> {
        TASKS.with(|tasks| tasks.borrow_mut().pop_front())
    }
}

impl Handle {
    pub(crate) fn push(self, runnable: Runnable) {
        TASKS.with(|tasks| tasks.borrow_mut().push_back(runnable));
    }
}
