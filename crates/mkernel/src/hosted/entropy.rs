//! Entropy from the host.

use rustix::rand::{GetRandomFlags, getrandom};

use crate::entropy::NoEntropy;

/// A seed from the kernel's generator.
pub(crate) fn seed() -> Result<[u8; 32], NoEntropy> {
    let mut seed = [0; 32];
    match getrandom(&mut seed, GetRandomFlags::empty()) {
        Ok(32) => Ok(seed),
        _ => Err(NoEntropy::Empty),
    }
}
