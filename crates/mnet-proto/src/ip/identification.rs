use alloc::boxed::Box;

use rand_core::Rng;

/// Rounds of the permutation: with four nobody can tell it from a random one without trying for
/// longer than it lasts (Luby and Rackoff).
const ROUNDS: usize = 4;

/// Numbers for datagrams that are sent in pieces, or may be on their way (RFC 6864): none comes
/// again before all 65,536 have been used, and the next cannot be guessed from those before.
pub(super) struct Identifications {
    // What each round mixes in, for each byte that there may be.
    rounds: Box<[[u8; 256]; ROUNDS]>,
    next: u16,
}

impl Identifications {
    pub(super) fn new(random: &mut impl Rng) -> Self {
        let mut rounds = Box::new([[0; 256]; ROUNDS]);
        let words = rounds.iter_mut().flat_map(|round| round.as_chunks_mut().0);
        words.for_each(|word| *word = random.next_u64().to_ne_bytes());
        Self { rounds, next: 0 }
    }

    /// The next number: a counter's, behind a Feistel network of its two bytes.
    #[inline]
    pub(super) fn next(&mut self) -> u16 {
        let [mut left, mut right] = self.next.to_be_bytes();
        self.next = self.next.wrapping_add(1);
        for round in &*self.rounds {
            (left, right) = (right, left ^ round[usize::from(right)]);
        }
        u16::from_be_bytes([left, right])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chacha20::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn new(seed: u64) -> Identifications {
        Identifications::new(&mut ChaCha20Rng::seed_from_u64(seed))
    }

    #[test]
    fn no_number_comes_again_before_all_have_been_used() {
        let mut numbers = new(1);
        let all: HashSet<_> = (0..=u16::MAX).map(|_| numbers.next()).collect();
        assert_eq!(all.len(), 65_536);
    }

    #[test]
    fn neighbours_are_far_apart_and_each_seed_has_its_own_order() {
        let take = |seed| {
            let mut numbers = new(seed);
            (0..64).map(|_| numbers.next()).collect::<Vec<_>>()
        };
        let (one, other) = (take(1), take(2));
        assert_ne!(one, other);
        let steps: HashSet<_> = one.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert!(steps.len() > 60, "{steps:?}");
    }
}
