#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod config;
mod ethernet;
mod icmp;
pub mod ip;
mod neighbor;
mod stack;
pub mod stats;
pub mod udp;
pub mod wire;

pub use config::{Config, ConfigError};
pub use ip::{Ipv4Cidr, ParseCidrError, SendError, Unreachable};
pub use stack::{Event, Stack};
pub use stats::{Drop, Stats};
pub use udp::{BindError, Datagram, Local, SocketId, SocketStats};
