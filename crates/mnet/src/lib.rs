#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod arguments;
mod datagram;
mod driver;
#[cfg(feature = "edge-nal")]
pub mod edge_nal;
#[cfg(feature = "embedded-nal-async")]
pub mod embedded_nal;
mod error;
#[cfg(any(feature = "edge-nal", feature = "embedded-nal-async"))]
mod error_kind;
mod host;
#[cfg(feature = "layers")]
mod layers;
mod options;
mod send;
mod shared;
mod socket;
mod stack;
mod udp;

pub use arguments::{ArgumentError, config_from_args, is_argument};
pub use datagram::Datagram;
pub use error::{Error, RecvError, StackError};
#[cfg(feature = "layers")]
pub use layers::UdpInput;
pub use mnet_proto::{
    Address, AddressError, BindError, Config, ConfigError, Destination, Drop, Filter, Holder,
    IcmpError, InterfaceId, IpCidr, Ipv4Cidr, Ipv4Config, Ipv6Cidr, Ipv6Config, JoinError, Lease,
    Local, Options, Origin, ParseCidrError, Report, RouteError, SendError, SocketStats, Stats,
};
pub use netdev::{Instant, Mac};
pub use options::RecvOptions;
pub use socket::UdpSocket;
pub use stack::{Builder, Stack, stack};
pub use udp::Udp;
