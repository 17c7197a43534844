use std::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// How often what goes wrong: each a probability between 0 and 1, for each frame on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// It does not arrive.
    pub loss: f64,
    /// It arrives twice.
    pub duplicate: f64,
    /// It arrives with one bit changed, anywhere in the frame. The seed decides whether bits become
    /// ones or zeros, and it is the same on every link: of up to 15 such changes, in several
    /// fragments or on several links, none makes up for another in an Internet checksum.
    pub corrupt: f64,
    /// It is held back, and frames that were sent after it overtake it.
    pub reorder: f64,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self { loss: 0.0, duplicate: 0.0, corrupt: 0.0, reorder: 0.0 };
}

/// What chance decides: all of it follows from a seed.
#[derive(Debug)]
pub(crate) struct Chance {
    random: ChaCha20Rng,
    // What a bit becomes that is changed.
    corrupted: bool,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = ChaCha20Rng::seed_from_u64(seed);
        let corrupted = random.next_u64() & 1 != 0;
        Self { random, corrupted }
    }

    /// Another source of chance, which depends on this one and is then apart from it.
    pub(crate) fn fork(&mut self) -> Self {
        let random = ChaCha20Rng::seed_from_u64(self.random.next_u64());
        Self { random, corrupted: self.corrupted }
    }

    /// A seed for something else that is to depend on this one.
    pub(crate) fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.random.fill_bytes(&mut seed);
        seed
    }

    /// `true` with this probability.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        // The 53 bits that an f64 has room for.
        const UNIT: f64 = 1.0 / (1u64 << 53) as f64;
        probability > 0.0 && (self.random.next_u64() >> 11) as f64 * UNIT < probability
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // Lemire's reduction: that it is uneven by a 2^64th of `bound` does not matter here.
        ((u128::from(self.random.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A time from zero to `longest`.
    pub(crate) fn up_to(&mut self, longest: Duration) -> Duration {
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX - 1);
        if nanos == 0 { Duration::ZERO } else { Duration::from_nanos(self.below(nanos + 1)) }
    }

    /// Changes one bit of `frame`, if it has one to be changed.
    pub(crate) fn corrupt(&mut self, frame: &mut [u8]) {
        let bits = frame.len() * 8;
        if bits == 0 {
            return;
        }
        let start = self.below(bits as u64) as usize;
        let mut from_start = (start..bits).chain(0..start);
        let is_other = |bit: &usize| (frame[bit / 8] >> (bit % 8) & 1 != 0) != self.corrupted;
        if let Some(bit) = from_start.find(is_other) {
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use mnet_proto::wire::Checksum;

    use super::*;

    #[test]
    fn what_happens_happens_as_often_as_it_should() {
        let mut chance = Chance::new(1);
        for (probability, range) in
            [(0.0, 0..=0), (0.01, 60..=140), (0.5, 4_800..=5_200), (1.0, 10_000..=10_000)]
        {
            let count = (0..10_000).filter(|_| chance.happens(probability)).count();
            assert!(range.contains(&count), "{probability}: {count}");
        }
    }

    #[test]
    fn one_bit_changes_and_each_can() {
        let mut ways = [false; 2];
        for seed in 0..10 {
            let mut chance = Chance::new(seed);
            let before = if chance.corrupted { [0; 4] } else { [0xff; 4] };
            ways[usize::from(chance.corrupted)] = true;
            let mut seen = [0u8; 4];
            for _ in 0..1_000 {
                let mut frame = before;
                chance.corrupt(&mut frame);
                let changed = u32::from_ne_bytes(frame) ^ u32::from_ne_bytes(before);
                assert_eq!(changed.count_ones(), 1);
                seen.iter_mut().zip(changed.to_ne_bytes()).for_each(|(seen, byte)| *seen |= byte);
            }
            assert_eq!(seen, [0xff; 4]);
            assert_eq!(chance.fork().corrupted, chance.corrupted);

            // What cannot be changed stays.
            let mut frame = before.map(|byte| !byte);
            chance.corrupt(&mut frame);
            assert_eq!(frame, before.map(|byte| !byte));
            chance.corrupt(&mut []);
        }
        assert_eq!(ways, [true; 2]);
    }

    #[test]
    fn changes_never_make_up_for_each_other_in_a_checksum() {
        for seed in 0..4 {
            let mut chance = Chance::new(seed);
            let mut frame = [0x5a; 64];
            let sum = |frame: &[u8; 64]| Checksum::new().add_bytes(frame).finish();
            let before = sum(&frame);
            for _ in 0..15 {
                chance.corrupt(&mut frame);
                assert_ne!(sum(&frame), before);
            }
        }
    }

    #[test]
    fn times_stay_in_their_bounds() {
        let mut chance = Chance::new(3);
        assert_eq!(chance.up_to(Duration::ZERO), Duration::ZERO);
        let longest = Duration::from_nanos(3);
        let mut seen = [false; 4];
        (0..100).for_each(|_| seen[chance.up_to(longest).as_nanos() as usize] = true);
        assert_eq!(seen, [true; 4]);
        assert!(chance.up_to(Duration::MAX) > Duration::ZERO);
    }
}
