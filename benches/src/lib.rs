//! What is measured, and how: hosts that answer datagrams in memory, each stack with the same frames.
//!
//! A [`Host`] runs on a thread of its own, so that its executor and its addresses outlive one
//! sample. The [`Load`] is the whole of the link: it delivers frames and takes answers; nothing is
//! measured but the stack between them, and a copy of each frame in, as a driver makes one.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run has nothing to say")]

mod case;
mod committed;
pub mod frames;
mod host;
mod load;
mod measure;

pub use case::{CASES, Case, Family, Stack, Way};
pub use committed::Committed;
pub use host::Host;
pub use load::{FIRST_PORT, Load};
pub use measure::{Run, Subject, instructions, times};

/// The middle one of what was measured; 0 if nothing was.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
