//! Slots in lists, each list in the order of time.

use alloc::vec::Vec;

use netdev::Instant;

/// How many lists there are.
const LISTS: usize = 4;

/// Lists of slots. A slot is in one of them, or in none.
#[derive(Default)]
pub(crate) struct Lists {
    // By slot, behind one for each list: a list is a ring that begins and ends there.
    links: Vec<Link>,
}

#[derive(Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
    time: Instant,
}

impl Link {
    /// One that is in no list, or the end of an empty one.
    fn alone(at: usize) -> Self {
        Self { before: at as u32, after: at as u32, time: Instant::ZERO }
    }
}

impl Lists {
    /// The first slot of a list, and its time.
    pub(crate) fn first(&self, list: usize) -> Option<(usize, Instant)> {
        let first = self.links.get(list)?.after as usize;
        (first != list).then(|| (first - LISTS, self.links[first].time))
    }

    /// The last slot of a list.
    pub(crate) fn last(&self, list: usize) -> Option<usize> {
        let last = self.links.get(list)?.before as usize;
        (last != list).then(|| last - LISTS)
    }

    /// Puts a slot into a list, behind all whose time is not later, and takes it out of where it was.
    pub(crate) fn put(&mut self, slot: usize, list: usize, time: Instant) {
        let at = slot + LISTS;
        if at >= self.links.len() {
            return self.grow_and_put(slot, list, time);
        }
        let links = self.links.as_mut_slice();
        unlink(links, at);
        // Mostly its time is the latest.
        let mut before = links[list].before as usize;
        while before != list && links[before].time > time {
            before = links[before].before as usize;
        }
        let after = links[before].after;
        links[at] = Link { before: before as u32, after, time };
        links[before].after = at as u32;
        links[after as usize].before = at as u32;
    }

    #[inline(never)]
    fn grow_and_put(&mut self, slot: usize, list: usize, time: Instant) {
        for more in self.links.len()..=slot + LISTS {
            self.links.push(Link::alone(more));
        }
        self.put(slot, list, time);
    }

    /// Takes a slot out of the list that it is in, if it is in one.
    pub(crate) fn remove(&mut self, slot: usize) {
        let at = slot + LISTS;
        if at < self.links.len() {
            unlink(&mut self.links, at);
            self.links[at] = Link::alone(at);
        }
    }
}

/// Lets those on both sides of a link be beside each other; does nothing to one that is in no list.
#[inline]
fn unlink(links: &mut [Link], at: usize) {
    let Link { before, after, .. } = links[at];
    links[before as usize].after = after;
    links[after as usize].before = before;
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
                prop_assert_eq!(lists.last(list), model.last().map(|&(slot, _)| slot));
                prop_assert_eq!(drain(&mut lists, list), model);
            }
        }
    }
}
