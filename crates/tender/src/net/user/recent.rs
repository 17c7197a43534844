//! A bounded table that knows which of its entries has been idle longest.

use std::time::Duration;

use netdev::Instant;

/// No neighbour, in the list of entries by last use.
const NONE: u32 = u32::MAX;

/// A table of at most `capacity` entries, each with the time of its last use.
///
/// An entry that was not used for [`Recent::IDLE`] expires. When the table is full, the entry that
/// has been idle longest leaves for a new one, but only if it was idle for [`Recent::ACTIVE`]: a
/// flood of newcomers never ends what is going on.
#[derive(Debug)]
pub(super) struct Recent<T> {
    entries: Vec<Entry<T>>,
    capacity: usize,
    free: u32,
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
struct Entry<T> {
    /// `None` while it is free.
    value: Option<T>,
    used: Instant,
    older: u32,
    /// Or the next free one.
    newer: u32,
}

impl<T> Recent<T> {
    /// Idle for so long, an entry expires.
    pub(super) const IDLE: Duration = Duration::from_secs(60);
    /// Used within that time, an entry stays, however many others want its place.
    pub(super) const ACTIVE: Duration = Duration::from_secs(5);

    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: Vec::new(), capacity, free: NONE, oldest: NONE, newest: NONE }
    }

    /// Most entries it can hold.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.entries.get(index as usize)?.value.as_ref()
    }

    /// The entry that leaves first: when it has expired, or when another needs its place.
    pub(super) fn leaving(&self, now: Instant) -> Option<u32> {
        let used = self.entries.get(self.oldest as usize)?.used;
        let full = self.free == NONE && self.entries.len() >= self.capacity;
        let limit = if full { Self::ACTIVE } else { Self::IDLE };
        (now - used >= limit).then_some(self.oldest)
    }

    /// The entry that has expired, if one has.
    pub(super) fn expired(&self, now: Instant) -> Option<u32> {
        let used = self.entries.get(self.oldest as usize)?.used;
        (now - used >= Self::IDLE).then_some(self.oldest)
    }

    /// When the next entry expires.
    pub(super) fn expiry(&self) -> Option<Instant> {
        Some(self.entries.get(self.oldest as usize)?.used + Self::IDLE)
    }

    /// Puts in a value, used just now; `None` if there is no room for it.
    pub(super) fn insert(&mut self, now: Instant, value: T) -> Option<u32> {
        let entry = Entry { value: Some(value), used: now, older: NONE, newer: NONE };
        let index = if let Some(free) = self.entries.get_mut(self.free as usize) {
            let index = self.free;
            self.free = free.newer;
            *free = entry;
            index
        } else if self.entries.len() < self.capacity {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        } else {
            return None;
        };
        self.append(index);
        Some(index)
    }

    /// Notes that an entry was used.
    pub(super) fn touch(&mut self, index: u32, now: Instant) {
        self.entries[index as usize].used = now;
        if index != self.newest {
            self.unlink(index);
            self.append(index);
        }
    }

    /// Takes out an entry.
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.entries.get_mut(index as usize)?.value.take()?;
        self.unlink(index);
        self.entries[index as usize].newer = self.free;
        self.free = index;
        Some(value)
    }

    fn append(&mut self, index: u32) {
        let newest = self.newest;
        let entry = &mut self.entries[index as usize];
        (entry.older, entry.newer) = (newest, NONE);
        self.newest = index;
        match self.entries.get_mut(newest as usize) {
            Some(before) => before.newer = index,
            None => self.oldest = index,
        }
    }

    fn unlink(&mut self, index: u32) {
        let Entry { older, newer, .. } = self.entries[index as usize];
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_full_table_gives_up_what_is_idle_longest_and_never_what_is_active() {
        let mut table = Recent::new(3);
        let [a, b, c] = [1, 2, 3].map(|second| table.insert(at(second), second).unwrap());
        assert_eq!(table.insert(at(4), 4), None);
        table.touch(a, at(5));
        assert_eq!(table.leaving(at(6)), None, "b was used 4 s ago");
        assert_eq!(table.leaving(at(7)), Some(b));
        assert_eq!(table.remove(b), Some(2));
        assert_eq!(table.remove(b), None);
        assert_eq!(table.insert(at(7), 7), Some(b), "a free place is taken again");
        assert_eq!(table.leaving(at(8)), Some(c));
        assert_eq!(table.get(c), Some(&3));
    }

    #[test]
    fn an_entry_expires_when_it_was_not_used_for_a_minute() {
        let mut table = Recent::new(3);
        assert_eq!(table.expiry(), None);
        let a = table.insert(at(1), 'a').unwrap();
        let b = table.insert(at(2), 'b').unwrap();
        table.touch(a, at(3));
        assert_eq!(table.expiry(), Some(at(62)));
        assert_eq!(table.expired(at(61)), None);
        assert_eq!(table.expired(at(62)), Some(b));
        table.remove(b);
        assert_eq!(table.expired(at(62)), None);
        table.remove(a);
        assert_eq!((table.expiry(), table.expired(at(99))), (None, None));
    }
}
