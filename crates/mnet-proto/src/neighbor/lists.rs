//! Slots in lists, each list in the order of time.

use alloc::vec::Vec;
use core::mem;

use netdev::Instant;

/// How many lists there are.
const LISTS: usize = 4;

/// Lists of slots. A slot is in one of them, or in none.
#[derive(Default)]
pub(super) struct Lists {
    // By slot, behind one for each list: a list is a ring that begins and ends there.
    links: Vec<Link>,
}

#[derive(Clone, Copy)]
struct Link {
    before: usize,
    after: usize,
    time: Instant,
}

impl Link {
    /// One that is in no list, or the end of an empty one.
    fn alone(at: usize) -> Self {
        Self { before: at, after: at, time: Instant::ZERO }
    }
}

impl Lists {
    /// The first slot of a list, and its time.
    pub(super) fn first(&self, list: usize) -> Option<(usize, Instant)> {
        let first = self.links.get(list)?.after;
        (first != list).then(|| (first - LISTS, self.links[first].time))
    }

    /// Puts a slot into a list, behind all whose time is not later, and takes it out of where it was.
    pub(super) fn put(&mut self, slot: usize, list: usize, time: Instant) {
        self.remove(slot);
        let at = slot + LISTS;
        for more in self.links.len()..=at {
            self.links.push(Link::alone(more));
        }
        // Mostly its time is the latest.
        let mut before = self.links[list].before;
        while before != list && self.links[before].time > time {
            before = self.links[before].before;
        }
        let after = self.links[before].after;
        self.links[at] = Link { before, after, time };
        self.links[before].after = at;
        self.links[after].before = at;
    }

    /// Takes a slot out of the list that it is in, if it is in one.
    pub(super) fn remove(&mut self, slot: usize) {
        let at = slot + LISTS;
        let Some(link) = self.links.get_mut(at).filter(|link| link.before != at) else { return };
        let Link { before, after, .. } = mem::replace(link, Link::alone(at));
        self.links[before].after = after;
        self.links[after].before = before;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is in a list, taken out from its front.
    fn drain(lists: &mut Lists, list: usize) -> Vec<(usize, Instant)> {
        let mut all = Vec::new();
        while let Some((slot, time)) = lists.first(list) {
            lists.remove(slot);
            all.push((slot, time));
        }
        all
    }

    proptest! {
        #[test]
        fn a_list_has_what_was_put_into_it_last_in_the_order_of_time(
            steps in proptest::collection::vec((0..20_usize, 0..LISTS + 1, 0..10_u64), 0..100),
        ) {
            let mut lists = Lists::default();
            // By time, and then as they were put in.
            let mut model: [Vec<(usize, Instant)>; LISTS] = Default::default();
            for (slot, list, time) in steps {
                let time = Instant::from_nanos(time);
                model.iter_mut().for_each(|list| list.retain(|&(other, _)| other != slot));
                match model.get_mut(list) {
                    Some(model) => {
                        lists.put(slot, list, time);
                        model.push((slot, time));
                        model.sort_by_key(|&(_, time)| time);
                    }
                    None => lists.remove(slot),
                }
            }
            for (list, model) in model.into_iter().enumerate() {
                prop_assert_eq!(drain(&mut lists, list), model);
            }
        }
    }
}
