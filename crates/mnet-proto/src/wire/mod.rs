//! Bytes and their meaning: one file a protocol, and no state.
//!
//! A header is a struct that lies on the bytes as they are, its fields in the order of the RFC's
//! figure and in network byte order. `parse` takes a slice and gives the header once it has checked
//! what the header says of itself; `emit` writes one in front of a packet.

pub mod arp;
mod checksum;
pub mod dhcpv4;
pub mod ethernet;
pub mod icmpv4;
pub mod icmpv6;
pub mod igmp;
pub mod ipv4;
pub mod ipv6;
pub mod mld;
pub mod multicast;
pub mod ndp;
pub mod udp;

pub use self::checksum::Checksum;
