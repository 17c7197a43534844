#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod fault;
mod link;
mod network;
pub mod pcap;

pub use fault::Faults;
pub use link::{Link, LinkStats};
pub use network::{HostId, LinkId, Network};
