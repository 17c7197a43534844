//! Where in a table what is known of an address is.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::keyed::ByAddress;

/// Behind the last slot of a chain: none has this number.
const END: u32 = u32::MAX;

/// The slots of a table by the addresses that they are for: chains of those whose hashes are alike in
/// their last bits.
pub(crate) struct Index {
    keyed: ByAddress,
    // The first slot of each chain.
    chains: Box<[u32]>,
    // By slot.
    links: Vec<Link>,
}

#[derive(Clone, Copy)]
struct Link {
    // So that those of other addresses are passed without a look at the table.
    hash: u32,
    after: u32,
}

impl Index {
    /// One without slots, for a table that has so many, or some more.
    pub(crate) fn new(keyed: ByAddress, slots: usize) -> Self {
        // Twice as many: most have one slot, or none.
        let chains = slots.clamp(1, 1 << 16).next_power_of_two() * 2;
        Self { keyed, chains: (0..chains).map(|_| END).collect(), links: Vec::new() }
    }

    /// By what an address is found.
    #[inline]
    pub(crate) fn hash(&self, address: IpAddr) -> u32 {
        self.keyed.hash(address) as u32
    }

    /// The slot that is for an address with this hash, which is the one of which `is` says so.
    #[inline]
    pub(crate) fn find(&self, hash: u32, is: impl Fn(usize) -> bool) -> Option<usize> {
        let mut slot = self.chains[self.chain(hash)];
        while let Some(link) = self.links.get(slot as usize) {
            if link.hash == hash && is(slot as usize) {
                return Some(slot as usize);
            }
            slot = link.after;
        }
        None
    }

    #[inline]
    fn chain(&self, hash: u32) -> usize {
        hash as usize & (self.chains.len() - 1)
    }

    /// Lets a slot that is for no address be for one with this hash, for which there is none.
    pub(crate) fn insert(&mut self, slot: usize, hash: u32) {
        let chain = self.chain(hash);
        if slot >= self.links.len() {
            self.links.resize(slot + 1, Link { hash, after: END });
        }
        self.links[slot] = Link { hash, after: self.chains[chain] };
        self.chains[chain] = slot as u32;
    }

    /// Lets a slot that is for an address be for none.
    pub(crate) fn remove(&mut self, slot: usize) {
        let Link { hash, after } = self.links[slot];
        let chain = self.chain(hash);
        let mut before = self.chains[chain];
        if before == slot as u32 {
            self.chains[chain] = after;
            return;
        }
        while let Some(link) = self.links.get_mut(before as usize) {
            if link.after == slot as u32 {
                link.after = after;
                return;
            }
            before = link.after;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_address_is_found_where_it_was_put_last(
            slots in 1..20_usize,
            steps in proptest::collection::vec((0..30_u32, 0..20_usize), 0..100),
        ) {
            let mut index = Index::new(ByAddress(0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03), slots);
            let mut table: HashMap<usize, IpAddr> = HashMap::new();
            for (number, slot) in steps {
                let address = IpAddr::V4(number.into());
                let hash = index.hash(address);
                let known = index.find(hash, |slot| table[&slot] == address);
                let expected = table.iter().find(|&(_, &other)| other == address);
                prop_assert_eq!(known, expected.map(|(&slot, _)| slot));
                for left in known.into_iter().chain([slot]) {
                    if table.remove(&left).is_some() {
                        index.remove(left);
                    }
                }
                index.insert(slot, hash);
                table.insert(slot, address);
            }
        }
    }
}
