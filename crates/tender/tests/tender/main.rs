//! The tender as a person runs it: whole images in the binary `mnet-tender`.

#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

mod elf;
mod guest;
mod hosted;
mod options;
mod spt;
mod tap;
mod user;
