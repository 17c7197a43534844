//! Randomness: a ChaCha20 generator, seeded before anything runs and from time to time after.

use core::cell::RefCell;
use core::fmt;

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::platform;

/// Bytes after which the generator takes a fresh seed.
const RESEED_AFTER: usize = 1 << 20;

platform::local::local! {
    static GENERATOR: RefCell<Option<Generator>> = RefCell::new(None);
}

struct Generator {
    stream: ChaCha20Rng,
    left: usize,
}

/// Seeds the generator.
///
/// # Errors
/// [`NoEntropy`] if the host has nothing to seed it with.
pub(crate) fn init() -> Result<(), NoEntropy> {
    let stream = ChaCha20Rng::from_seed(platform::entropy::seed()?);
    GENERATOR.with(|generator| {
        *generator.borrow_mut() = Some(Generator { stream, left: RESEED_AFTER });
    });
    Ok(())
}

/// Fills `bytes` from the image's cryptographic generator: ChaCha20, seeded and reseeded by the
/// processor (spt and hvt: RDSEED or RDRAND) or the host (hosted: `getrandom`).
///
/// # Panics
/// If there is no entropy. An image does not start without; only a hosted process that never
/// called [`block_on`](crate::block_on) can see this.
#[inline(never)]
pub fn fill_random(bytes: &mut [u8]) {
    GENERATOR.with(|generator| {
        let mut generator = generator.borrow_mut();
        let generator = generator.as_mut().expect("entropy is seeded before anything runs");
        generator.stream.fill_bytes(bytes);
        generator.left = generator.left.saturating_sub(bytes.len());
        if generator.left == 0 {
            generator.reseed();
        }
    });
}

impl Generator {
    /// Mixes a fresh seed into the stream. A source that fails by now changes nothing: the stream
    /// stays as strong as its first seed.
    fn reseed(&mut self) {
        self.left = RESEED_AFTER;
        if let Ok(mut seed) = platform::entropy::seed() {
            let mut own = [0; 32];
            self.stream.fill_bytes(&mut own);
            seed.iter_mut().zip(own).for_each(|(byte, own)| *byte ^= own);
            self.stream = ChaCha20Rng::from_seed(seed);
        }
    }
}

/// There is nothing to seed the generator with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "a Linux host has a generator"))]
pub(crate) enum NoEntropy {
    /// The processor has neither RDSEED nor RDRAND.
    Missing,
    /// It has one, which gave nothing.
    Empty,
    /// It gave the same value again, or one that broken processors give.
    Stuck,
}

impl fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no entropy: the processor has neither RDSEED nor RDRAND",
            Self::Empty => "no entropy: the processor's generator gives nothing",
            Self::Stuck => "no entropy: the processor's generator is stuck",
        })
    }
}

/// A seed of 256 bits from a hardware generator that gives 64 bits at a time, or nothing.
///
/// Eight words are drawn. Some processors have come out of sleep with a generator that gives one
/// value for ever, all ones in the known case: any word twice, or of all zeros or all ones, and
/// there is no seed. By chance that happens once in 2^58 starts.
#[cfg_attr(not(any(target_os = "none", test)), allow(dead_code, reason = "for bare processors"))]
pub(crate) fn seed_from_words(
    mut source: impl FnMut() -> Option<u64>,
) -> Result<[u8; 32], NoEntropy> {
    let mut words = [0; 8];
    for i in 0..words.len() {
        let word = source().ok_or(NoEntropy::Empty)?;
        if word == 0 || word == u64::MAX || words[..i].contains(&word) {
            return Err(NoEntropy::Stuck);
        }
        words[i] = word;
    }
    let (first, second) = words.split_at(4);
    let mut seed = [0; 32];
    for (bytes, (a, b)) in seed.chunks_exact_mut(8).zip(first.iter().zip(second)) {
        bytes.copy_from_slice(&(a ^ b.rotate_left(32)).to_le_bytes());
    }
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_or_empty_generator_gives_no_seed() {
        let mut counter = 0;
        let mut counting = || {
            counter += 1;
            Some(counter)
        };
        assert!(seed_from_words(&mut counting).is_ok());
        assert_eq!(seed_from_words(|| Some(u64::MAX)), Err(NoEntropy::Stuck));
        assert_eq!(seed_from_words(|| Some(0)), Err(NoEntropy::Stuck));
        assert_eq!(seed_from_words(|| Some(42)), Err(NoEntropy::Stuck));
        assert_eq!(seed_from_words(|| None), Err(NoEntropy::Empty));

        let mut period_of_seven = (1..=7).cycle();
        assert_eq!(seed_from_words(|| period_of_seven.next()), Err(NoEntropy::Stuck));
        let mut runs_dry = 1..=7;
        assert_eq!(seed_from_words(|| runs_dry.next()), Err(NoEntropy::Empty));
    }

    #[test]
    fn the_stream_goes_on_over_a_reseed_and_never_repeats() {
        init().unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..RESEED_AFTER / 4096 + 8 {
            let mut block = [0; 4096];
            fill_random(&mut block);
            assert!(seen.insert(block));
        }
    }
}
