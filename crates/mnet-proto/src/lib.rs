#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod autoconf;
mod config;
mod ethernet;
mod icmp;
mod index;
pub mod ip;
mod keyed;
mod lists;
mod multicast;
mod neighbor;
mod stack;
pub mod stats;
pub mod udp;
pub mod wire;

pub use autoconf::Lease;
pub use config::{Config, ConfigError, InterfaceId, Ipv4Config, Ipv6Config};
pub use icmp::{IcmpError, Report};
pub use ip::{
    Address, AddressError, AddressEvent, IpCidr, Ipv4Cidr, Ipv6Cidr, Origin, ParseCidrError,
    RouteError, SendError, SendOptions,
};
pub use multicast::{Filter, JoinError};
pub use stack::{Event, Stack};
pub use stats::{Drop, Stats};
pub use udp::{BindError, Datagram, Destination, Holder, Local, Options, SocketId, SocketStats};
