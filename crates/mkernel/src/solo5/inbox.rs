//! What other threads have woken: nothing, as there are none.

use core::iter;

use crate::executor::Id;

/// The inbox of the image.
pub(crate) struct Inbox(());

impl Inbox {
    pub(crate) const fn open() -> Self {
        Self(())
    }

    /// What its tasks know it by.
    pub(crate) const fn number(&self) -> u16 {
        0
    }

    pub(crate) fn take(&self) -> impl Iterator<Item = Id> + use<> {
        iter::empty()
    }
}

/// Whoever wakes a task is on its own thread.
pub(crate) fn post(_: u16, _: Id) {}
