use core::hash::BuildHasher;

use crate::keyed::Keyed;

/// Rounds of the permutation: with four nobody can tell it from a random one without trying for
/// longer than it lasts (Luby and Rackoff).
const ROUNDS: u8 = 4;

/// Numbers for datagrams that are sent in pieces, or may be on their way (RFC 6864): none comes
/// again before all 65,536 have been used, and the next cannot be guessed from those before.
pub(super) struct Identifications {
    keyed: Keyed,
    next: u16,
}

impl Identifications {
    pub(super) fn new(keyed: Keyed) -> Self {
        Self { keyed, next: 0 }
    }

    /// The next number: a counter's, behind a Feistel network of its two bytes.
    pub(super) fn next(&mut self) -> u16 {
        let [mut left, mut right] = self.next.to_be_bytes();
        self.next = self.next.wrapping_add(1);
        for round in 0..ROUNDS {
            let mixed = left ^ self.keyed.hash_one([round, right]) as u8;
            (left, right) = (right, mixed);
        }
        u16::from_be_bytes([left, right])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_comes_again_before_all_have_been_used() {
        let mut numbers = Identifications::new(Keyed(1, 2));
        let all: HashSet<_> = (0..=u16::MAX).map(|_| numbers.next()).collect();
        assert_eq!(all.len(), 65_536);
    }

    #[test]
    fn neighbours_are_far_apart_and_each_key_has_its_own_order() {
        let take = |key| {
            let mut numbers = Identifications::new(key);
            (0..64).map(|_| numbers.next()).collect::<Vec<_>>()
        };
        let (one, other) = (take(Keyed(1, 2)), take(Keyed(1, 3)));
        assert_ne!(one, other);
        let steps: HashSet<_> = one.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert!(steps.len() > 60, "{steps:?}");
    }
}
