use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::task::Waker;

use netdev::Instant;

/// Who waits for which point in time: a binary heap that knows where in it each is, so that one can
/// be taken out wherever it stands.
pub(crate) struct Timers {
    heap: Vec<Timer>,
    count: u64,
}

struct Timer {
    deadline: Instant,
    // Tells those apart that wait for the same.
    number: u64,
    waker: Waker,
    place: Place,
}

/// Where in the heap a timer is; `None` once it has been taken out.
pub(crate) type Place = Rc<Cell<Option<usize>>>;

impl Timers {
    pub(crate) const fn new() -> Self {
        Self { heap: Vec::new(), count: 0 }
    }

    /// When the first timer's time comes.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.heap.first().map(|timer| timer.deadline)
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn insert(&mut self, deadline: Instant, waker: Waker) -> Place {
        let place = Rc::new(Cell::new(None));
        self.count += 1;
        self.heap.push(Timer { deadline, number: self.count, waker, place: Rc::clone(&place) });
        self.rise(self.heap.len() - 1);
        place
    }

    /// The waker of a timer, unless that has been taken out.
    pub(crate) fn waker(&mut self, place: &Place) -> Option<&mut Waker> {
        Some(&mut self.heap.get_mut(place.get()?)?.waker)
    }

    /// Takes the first timer out if its time has come by `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Waker> {
        let due = self.next_deadline().is_some_and(|deadline| deadline <= now);
        due.then(|| self.take(0))
    }

    /// Takes a timer out; does nothing if it is out already.
    pub(crate) fn remove(&mut self, place: &Place) -> Option<Waker> {
        place.get().map(|at| self.take(at))
    }

    /// Lets a timer wait for another point in time; `false` if it is out.
    pub(crate) fn put_off(&mut self, place: &Place, deadline: Instant) -> bool {
        let Some(at) = place.get() else { return false };
        self.count += 1;
        self.heap[at].deadline = deadline;
        self.heap[at].number = self.count;
        self.sink(at);
        self.rise(at);
        true
    }

    fn take(&mut self, at: usize) -> Waker {
        let timer = self.heap.swap_remove(at);
        timer.place.set(None);
        // What is there now came from the end: it may belong above or below.
        if at < self.heap.len() {
            self.sink(at);
            self.rise(at);
        }
        timer.waker
    }

    /// Lets a timer rise to its place, and notes that.
    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.is_before(at, (at - 1) / 2) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
        self.heap[at].place.set(Some(at));
    }

    /// Lets a timer sink to its place.
    fn sink(&mut self, mut at: usize) {
        loop {
            let [left, right] = [2 * at + 1, 2 * at + 2];
            let below =
                if right < self.heap.len() && self.is_before(right, left) { right } else { left };
            if below >= self.heap.len() || self.is_before(at, below) {
                return;
            }
            self.swap(at, below);
            at = below;
        }
    }

    fn is_before(&self, one: usize, other: usize) -> bool {
        let key = |at: usize| (self.heap[at].deadline, self.heap[at].number);
        key(one) < key(other)
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        for at in [one, other] {
            self.heap[at].place.set(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn timers_come_out_in_order_whatever_was_taken_out_before() {
        let mut timers = Timers::new();
        // Each of 101 deadlines ten times, in a scattered order.
        let deadlines: Vec<u64> = (0..1_010).map(|n| n * 37 % 101).collect();
        let places: Vec<Place> = deadlines
            .iter()
            .map(|&deadline| timers.insert(at(deadline), Waker::noop().clone()))
            .collect();
        let (gone, mut left): (Vec<_>, Vec<_>) =
            (0..deadlines.len()).partition(|&index: &usize| deadlines[index].is_multiple_of(3));
        for index in gone {
            assert!(timers.waker(&places[index]).is_some());
            assert!(timers.remove(&places[index]).is_some());
            assert!(timers.remove(&places[index]).is_none());
            assert!(!timers.put_off(&places[index], at(0)));
        }
        // Those that are put off, or brought forward, go as if they had come then.
        let mut deadlines = deadlines;
        for step in 0..left.len() / 2 {
            let index = left.remove(step);
            deadlines[index] = 1 + deadlines[index] * 59 % 100;
            assert!(timers.put_off(&places[index], at(deadlines[index])));
            left.push(index);
        }
        // Of those that wait for the same, the first that came is the first to go.
        left.sort_by_key(|&index| deadlines[index]);
        for index in left {
            let deadline = at(deadlines[index]);
            assert_eq!(timers.next_deadline(), Some(deadline));
            assert!(timers.pop(at(deadlines[index] - 1)).is_none());
            assert!(places[index].get().is_some());
            assert!(timers.pop(deadline).is_some());
            assert!(places[index].get().is_none());
        }
        assert_eq!(timers.next_deadline(), None);
    }
}
