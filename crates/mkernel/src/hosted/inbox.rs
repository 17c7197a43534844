//! What other threads have woken.

use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::wait;
use crate::executor::Id;

/// Every thread's inbox, by its number.
static INBOXES: Mutex<Inboxes> = Mutex::new(Inboxes { last: 0, open: BTreeMap::new() });

struct Inboxes {
    last: u16,
    open: BTreeMap<u16, Arc<Shared>>,
}

struct Shared {
    // Each once, however often it is woken.
    woken: Mutex<HashSet<Id>>,
    filled: AtomicBool,
    wake: Arc<OwnedFd>,
}

/// The inbox of a thread that runs tasks, until it is dropped.
pub(crate) struct Inbox {
    number: u16,
    shared: Arc<Shared>,
}

impl Inbox {
    /// # Panics
    /// If 65,535 threads have one.
    pub(crate) fn open() -> Self {
        let shared = Arc::new(Shared {
            woken: Mutex::default(),
            filled: AtomicBool::new(false),
            wake: wait::wake_descriptor(),
        });
        let Inboxes { last, open } = &mut *lock(&INBOXES);
        // A number is not soon used again: who wakes a task of long ago wakes none of now.
        let mut numbers = (1..=u16::MAX).map(|step| last.wrapping_add(step));
        let free = numbers.find(|number| !open.contains_key(number));
        let number = free.expect("so many threads run tasks");
        *last = number;
        open.insert(number, Arc::clone(&shared));
        Self { number, shared }
    }

    /// What its tasks know it by.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Takes out what has been woken.
    pub(crate) fn take(&self) -> impl Iterator<Item = Id> + use<> {
        let filled = self.shared.filled.load(Ordering::Relaxed)
            && self.shared.filled.swap(false, Ordering::Acquire);
        let woken = filled.then(|| mem::take(&mut *lock(&self.shared.woken)));
        woken.into_iter().flatten()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        lock(&INBOXES).open.remove(&self.number);
    }
}

/// Tells another thread that one of its tasks is woken; does nothing if its inbox is closed.
#[cold]
#[inline(never)]
pub(crate) fn post(number: u16, id: Id) {
    let Some(inbox) = lock(&INBOXES).open.get(&number).map(Arc::clone) else { return };
    lock(&inbox.woken).insert(id);
    inbox.filled.store(true, Ordering::Release);
    wait::wake(&inbox.wake);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
