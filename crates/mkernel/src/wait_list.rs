use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::num::NonZeroU64;
use core::task::Waker;

/// The tasks that wait for one thing to happen.
///
/// Whoever waits registers before it returns `Pending`, and is woken by [`WaitList::wake_all`].
/// It must take itself off when it stops waiting, so that a wait that is given up leaves nothing
/// behind.
///
/// Wakers are called while the list is in use, and in `mnet` the stack. One is to let its task run
/// later, as executors have it: a waker that runs its task where it is called finds things in use there,
/// and panics.
#[derive(Debug, Default)]
pub struct WaitList {
    // Most lists are of one. It has come before all others.
    first: Option<Waker>,
    others: Option<Box<Others>>,
}

/// Those who have come while somebody waited, in that order.
#[derive(Debug)]
struct Others {
    wakers: VecDeque<(NonZeroU64, Waker)>,
    // The number of the newest.
    last: NonZeroU64,
}

/// One waiter's place in a [`WaitList`]; empty at first.
#[derive(Debug, Default)]
pub struct WaitKey(Option<NonZeroU64>);

/// The place of who has come when nobody waited. Others have greater numbers.
const FIRST: NonZeroU64 = NonZeroU64::MIN;

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

    /// Puts a waiter on the list, behind all that are there, or renews its place.
    #[inline]
    pub fn register(&mut self, key: &mut WaitKey, waker: &Waker) {
        if key.0.is_none() && self.is_empty() {
            self.first = Some(waker.clone());
            key.0 = Some(FIRST);
        } else if let (Some(FIRST), Some(first)) = (key.0, &mut self.first) {
            first.clone_from(waker);
        } else {
            self.register_other(key, waker);
        }
    }

    #[cold]
    #[inline(never)]
    fn register_other(&mut self, key: &mut WaitKey, waker: &Waker) {
        let none = || Box::new(Others { wakers: VecDeque::new(), last: FIRST });
        let others = self.others.get_or_insert_with(none);
        match key.0.and_then(|place| others.position(place)) {
            Some(at) => others.wakers[at].1.clone_from(waker),
            None => {
                others.last = others.last.saturating_add(1);
                others.wakers.push_back((others.last, waker.clone()));
                key.0 = Some(others.last);
            }
        }
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
    fn remove_other(&mut self, place: NonZeroU64) {
        if let Some(others) = &mut self.others
            && let Some(at) = others.position(place)
        {
            others.wakers.remove(at);
        }
    }

    /// Wakes all who wait, whoever has come first before the others: so nobody is always late. They
    /// stay on the list until they take themselves off.
    pub fn wake_all(&self) {
        if let Some(first) = &self.first {
            first.wake_by_ref();
        }
        if let Some(others) = &self.others {
            others.wakers.iter().for_each(|(_, waker)| waker.wake_by_ref());
        }
    }

    /// Whether nobody waits.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_none() && self.others.as_ref().is_none_or(|others| others.wakers.is_empty())
    }
}

impl Others {
    fn position(&self, place: NonZeroU64) -> Option<usize> {
        self.wakers.binary_search_by_key(&place, |&(number, _)| number).ok()
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use alloc::task::Wake;
    use core::mem;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Mutex;

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

    /// Notes that it was woken.
    struct Note(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn who_waits_again_waits_behind_those_who_have_waited_on() {
        let mut list = WaitList::new();
        let woken = Arc::new(Mutex::new(Vec::new()));
        let wakers = [0, 1, 2].map(|it| Waker::from(Arc::new(Note(it, Arc::clone(&woken)))));
        let mut keys: [WaitKey; 3] = Default::default();
        let mut order = VecDeque::from([0, 1, 2]);
        order.iter().for_each(|&it| list.register(&mut keys[it], &wakers[it]));
        for _ in 0..10 {
            list.wake_all();
            assert_eq!(order, mem::take(&mut *woken.lock().unwrap()));
            // The first has what it waited for, and waits for it again; the others do not get it.
            let it = order.pop_front().unwrap();
            list.remove(&mut keys[it]);
            order.push_back(it);
            order.iter().for_each(|&it| list.register(&mut keys[it], &wakers[it]));
        }
    }
}
