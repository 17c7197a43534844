use core::task::Waker;

use slab::Slab;

/// The tasks that wait for one thing to happen.
///
/// Whoever waits registers before it returns `Pending`, and is woken by [`WaitList::wake_all`].
/// It must take itself off when it stops waiting, so that a wait that is given up leaves nothing
/// behind.
#[derive(Debug, Default)]
pub struct WaitList {
    wakers: Slab<Waker>,
}

/// One waiter's place in a [`WaitList`]; empty at first.
#[derive(Debug, Default)]
pub struct WaitKey(Option<usize>);

impl WaitKey {
    /// Whether it is a place on a list.
    #[must_use]
    #[inline]
    pub fn is_taken(&self) -> bool {
        self.0.is_some()
    }
}

impl WaitList {
    /// A list on which nobody waits.
    #[must_use]
    pub const fn new() -> Self {
        Self { wakers: Slab::new() }
    }

    /// Puts a waiter on the list, or renews its place there.
    pub fn register(&mut self, key: &mut WaitKey, waker: &Waker) {
        match key.0 {
            Some(index) => self.wakers[index].clone_from(waker),
            None => key.0 = Some(self.wakers.insert(waker.clone())),
        }
    }

    /// Takes a waiter off the list; does nothing if it is not on it.
    pub fn remove(&mut self, key: &mut WaitKey) {
        if let Some(index) = key.0.take() {
            self.wakers.remove(index);
        }
    }

    /// Wakes all who wait. They stay on the list until they take themselves off.
    pub fn wake_all(&self) {
        self.wakers.iter().for_each(|(_, waker)| waker.wake_by_ref());
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }
}
