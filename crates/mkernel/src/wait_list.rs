use alloc::boxed::Box;
use core::num::NonZeroU32;
use core::task::Waker;

use slab::Slab;

/// The tasks that wait for one thing to happen.
///
/// Whoever waits registers before it returns `Pending`, and is woken by [`WaitList::wake_all`].
/// It must take itself off when it stops waiting, so that a wait that is given up leaves nothing
/// behind.
#[derive(Debug, Default)]
pub struct WaitList {
    // Most lists are of one.
    first: Option<Waker>,
    others: Option<Box<Slab<Waker>>>,
}

/// One waiter's place in a [`WaitList`]; empty at first.
#[derive(Debug, Default)]
pub struct WaitKey(Option<NonZeroU32>);

const FIRST: NonZeroU32 = NonZeroU32::MIN;
/// The place of the first of the others.
const OTHERS: usize = 2;

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
        Self { first: None, others: None }
    }

    /// Puts a waiter on the list, or renews its place there.
    ///
    /// # Panics
    /// If there are more than 2^32 - 3.
    #[inline]
    pub fn register(&mut self, key: &mut WaitKey, waker: &Waker) {
        match (key.0, &mut self.first) {
            (None, first @ None) => {
                *first = Some(waker.clone());
                key.0 = Some(FIRST);
            }
            (Some(FIRST), Some(first)) => first.clone_from(waker),
            _ => self.register_other(key, waker),
        }
    }

    #[cold]
    #[inline(never)]
    fn register_other(&mut self, key: &mut WaitKey, waker: &Waker) {
        let others = self.others.get_or_insert_default();
        if let Some(place) = key.0 {
            others[place.get() as usize - OTHERS].clone_from(waker);
            return;
        }
        let place = u32::try_from(others.insert(waker.clone()) + OTHERS);
        key.0 = NonZeroU32::new(place.expect("so many wait for one thing"));
    }

    /// Takes a waiter off the list; does nothing if it is not on it.
    #[inline]
    pub fn remove(&mut self, key: &mut WaitKey) {
        match key.0.take() {
            Some(FIRST) => self.first = None,
            Some(place) => self.remove_other(place),
            None => {}
        }
    }

    #[cold]
    #[inline(never)]
    fn remove_other(&mut self, place: NonZeroU32) {
        if let Some(others) = &mut self.others {
            others.remove(place.get() as usize - OTHERS);
        }
    }

    /// Wakes all who wait. They stay on the list until they take themselves off.
    #[inline]
    pub fn wake_all(&self) {
        if let Some(first) = &self.first {
            first.wake_by_ref();
        }
        if let Some(others) = &self.others {
            others.iter().for_each(|(_, waker)| waker.wake_by_ref());
        }
    }

    /// Whether nobody waits.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_none() && self.others.as_ref().is_none_or(|others| others.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use alloc::task::Wake;
    use core::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_waits_is_woken_once_each_time_until_it_takes_itself_off() {
        let mut list = WaitList::new();
        let counts: [Arc<Count>; 4] = Default::default();
        let mut keys: [WaitKey; 4] = Default::default();
        let woken = || counts.each_ref().map(|count| count.0.swap(0, Ordering::Relaxed));
        for (key, count) in keys.iter_mut().zip(&counts) {
            // Again renews the place, and makes no second one.
            for _ in 0..2 {
                list.register(key, &Arc::clone(count).into());
            }
        }
        list.wake_all();
        assert_eq!(woken(), [1; 4]);
        for gone in [2, 0] {
            list.remove(&mut keys[gone]);
            list.remove(&mut keys[gone]);
            assert!(!keys[gone].is_taken());
        }
        list.wake_all();
        assert_eq!(woken(), [0, 1, 0, 1]);
        // Whoever comes takes a place that is free, and nobody else's.
        list.register(&mut keys[2], &Arc::clone(&counts[2]).into());
        list.register(&mut keys[3], &Arc::clone(&counts[0]).into());
        list.wake_all();
        assert_eq!(woken(), [1, 1, 1, 0]);
        keys.iter_mut().for_each(|key| list.remove(key));
        assert!(list.is_empty());
        assert!(counts.iter().all(|count| Arc::strong_count(count) == 1));
    }
}
