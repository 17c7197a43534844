#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod device;
mod packet;
mod time;

pub use device::{Checksums, Device, Gone, Mac, ParseMacError, Received};
pub use packet::{CONTROL_BLOCK, HEADROOM, Packet, Pool};
pub use time::Instant;
