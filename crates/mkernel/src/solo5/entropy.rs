//! Entropy from the processor.

use core::arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step, _rdseed64_step};

use crate::entropy::{NoEntropy, seed_from_words};

/// How often to ask for one word: Intel's guides ask for 10 tries of RDRAND, and for patience with
/// RDSEED, which runs dry where many cores draw from it.
const TRIES: usize = 100;

/// A seed from RDSEED if the processor has it, else from RDRAND.
pub(crate) fn seed() -> Result<[u8; 32], NoEntropy> {
    let highest_leaf = __cpuid(0).eax;
    let has_rdseed = highest_leaf >= 7 && __cpuid_count(7, 0).ebx & (1 << 18) != 0;
    let has_rdrand = __cpuid(1).ecx & (1 << 30) != 0;
    let rdseed = || {
        let mut word = 0;
        // SAFETY: CPUID says that the processor has the instruction.
        (0..TRIES).any(|_| unsafe { _rdseed64_step(&mut word) } == 1).then_some(word)
    };
    let rdrand = || {
        let mut word = 0;
        // SAFETY: CPUID says that the processor has the instruction.
        (0..TRIES).any(|_| unsafe { _rdrand64_step(&mut word) } == 1).then_some(word)
    };
    let seeded = if has_rdseed { seed_from_words(rdseed) } else { Err(NoEntropy::Missing) };
    match seeded {
        Err(_) if has_rdrand => seed_from_words(rdrand),
        seeded => seeded,
    }
}
