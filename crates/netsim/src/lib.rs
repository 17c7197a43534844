#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod device;
mod fault;
mod link;
mod network;
pub mod pcap;
mod router;

pub use fault::Faults;
pub use link::{Link, LinkStats};
pub use network::{DeviceId, HostId, LinkId, Network, Node, RouterId};
pub use router::{Advertisement, Router, RouterStats};
