//! The Internet layer: what comes from a neighbour and is for us, and how to reach others.

mod cidr;
pub(crate) mod ipv4;

use core::net::IpAddr;

use netdev::{Device, Instant, Packet, Pool};
use thiserror::Error;

pub use self::cidr::{Ipv4Cidr, ParseCidrError};
use self::ipv4::Ipv4;
use crate::config::Config;
use crate::ethernet::Link;
use crate::icmp::RateLimiter;
use crate::neighbor::{Action, Cache, Lookup, arp};
use crate::stats::{Drop, Stats};
use crate::wire::{ethernet, ipv4 as wire};

/// What the layers above learn of a datagram that has come, besides its payload.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// Who sent it.
    pub source: IpAddr,
    /// To whom it was sent.
    pub destination: IpAddr,
    /// Whether it was sent to everybody on the link.
    pub broadcast: bool,
    /// What was left of its TTL or hop limit.
    pub hop_limit: u8,
    /// DSCP (upper six bits) and ECN (lower two).
    pub traffic_class: u8,
    /// Whether the device has verified the checksum of a UDP datagram in it.
    pub udp_verified: bool,
    /// When it came.
    pub arrived: Instant,
    /// Length in bytes of the IP header, which lies in front of the packet's window.
    pub header_len: u8,
}

/// A way to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: IpAddr,
    /// The address to send from.
    pub source: IpAddr,
    /// The neighbour that takes it on: the destination itself, or a router.
    pub next_hop: IpAddr,
    /// The largest IP datagram, in bytes with its header, that passes.
    pub mtu: u16,
    /// Bytes of `mtu` that IP takes for itself.
    pub header_len: u16,
}

/// What UDP needs of the layer beneath it, and all it knows of it.
pub trait Network {
    /// Finds the way to `destination`, from `source` if it is given and ours.
    ///
    /// # Errors
    /// [`SendError::RouteNotFound`] if there is none.
    fn route(&self, destination: IpAddr, source: Option<IpAddr>) -> Result<Route, SendError>;

    /// Whether `address` is one of the host's own.
    fn is_local(&self, address: IpAddr) -> bool;

    /// Whether a UDP datagram is to come with its checksum. If not, the device fills it in.
    fn wants_udp_checksum(&self) -> bool;

    /// Sends what is in the packet's window as the payload of one IP datagram.
    ///
    /// # Errors
    /// [`SendError`] if it is known that it will not arrive.
    fn send(
        &mut self,
        now: Instant,
        route: &Route,
        protocol: u8,
        packet: Packet,
    ) -> Result<(), SendError>;
}

/// The Internet layer of a stack, with the link beneath it.
pub(crate) struct Ip {
    pub(crate) link: Link,
    pub(crate) v4: Ipv4,
    pub(crate) neighbors: Cache,
    pub(crate) icmp_errors: RateLimiter,
    pub(crate) stats: Stats,
}

impl Ip {
    pub(crate) fn new(config: &Config, device: &impl Device, pool: Pool, random: [u64; 3]) -> Self {
        Self {
            link: Link::new(device, pool),
            v4: Ipv4::new(config),
            neighbors: Cache::new(config, random),
            icmp_errors: RateLimiter::new(config.icmp_errors_per_second, config.icmp_error_burst),
            stats: Stats::default(),
        }
    }

    /// Sends from `source`, with a traffic class: what [`Network::send`] does for UDP.
    pub(crate) fn send_from(
        &mut self,
        now: Instant,
        route: &Route,
        protocol: u8,
        traffic_class: u8,
        mut packet: Packet,
    ) -> Result<(), SendError> {
        let addresses = (route.source, route.destination);
        if !ipv4::emit(self, &mut packet, addresses, protocol, traffic_class) {
            self.stats.dropped.count(Drop::NoPacket);
            return Err(SendError::NoBuffer);
        }
        match self.neighbors.lookup(now, route.next_hop) {
            Lookup::Found(mac) => self.link.send(packet, mac, ethernet::IPV4, &mut self.stats),
            Lookup::Unresolved => {
                let Self { link, v4, neighbors, stats, .. } = self;
                let mut act = |action| perform(action, link, v4, stats);
                if !neighbors.wait(now, route.next_hop, packet, &mut act) {
                    return Err(SendError::NoBuffer);
                }
            }
            Lookup::Failed => {
                self.stats.dropped.count(Drop::NeighborUnreachable);
                return Err(SendError::DestinationUnreachable(Unreachable::Host));
            }
        }
        Ok(())
    }

    /// Does what time asks for.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let Self { link, v4, neighbors, stats, .. } = self;
        neighbors.handle_timeout(now, &mut |action| perform(action, link, v4, stats));
    }
}

/// Does what the neighbour cache asks for.
pub(crate) fn perform(action: Action, link: &mut Link, v4: &Ipv4, stats: &mut Stats) {
    match action {
        Action::Solicit(IpAddr::V4(address), mac) => arp::request(link, v4, address, mac, stats),
        // Nothing puts an IPv6 address into the cache yet.
        Action::Solicit(IpAddr::V6(_), _) => {}
        Action::Send(packet, mac) => link.send(packet, mac, ethernet::IPV4, stats),
        Action::Count(reason) => stats.dropped.count(reason),
    }
}

impl Network for Ip {
    fn route(&self, destination: IpAddr, source: Option<IpAddr>) -> Result<Route, SendError> {
        let IpAddr::V4(v4) = destination else { return Err(SendError::RouteNotFound) };
        let own = IpAddr::V4(self.v4.cidr.address());
        if source.is_some_and(|source| source != own) {
            return Err(SendError::SourceNotLocal);
        }
        if !self.v4.is_other_host(v4) {
            return Err(SendError::RouteNotFound);
        }
        let next_hop = self.v4.next_hop(v4).ok_or(SendError::RouteNotFound)?;
        Ok(Route {
            destination,
            source: own,
            next_hop: next_hop.into(),
            mtu: self.link.mtu,
            header_len: wire::HEADER_LEN as u16,
        })
    }

    fn is_local(&self, address: IpAddr) -> bool {
        address == IpAddr::V4(self.v4.cidr.address())
    }

    fn wants_udp_checksum(&self) -> bool {
        !self.link.checksums.fills_udp
    }

    #[inline]
    fn send(
        &mut self,
        now: Instant,
        route: &Route,
        protocol: u8,
        packet: Packet,
    ) -> Result<(), SendError> {
        self.send_from(now, route, protocol, 0, packet)
    }
}

/// Why a datagram was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nothing says how to reach the destination, or it is no address to send to.
    #[error("Route not found")]
    RouteNotFound,
    /// The destination, or the router on the way to it, is known not to answer.
    #[error("Destination unreachable")]
    DestinationUnreachable(Unreachable),
    /// The datagram does not fit into what passes on the way.
    #[error("Packet too big")]
    PacketTooBig {
        /// The largest IP datagram that passes, in bytes with its headers.
        mtu: u16,
    },
    /// The destination port is 0.
    #[error("Destination port is 0")]
    PortZero,
    /// The source address that was asked for is not the host's.
    #[error("Source address is not this host's")]
    SourceNotLocal,
    /// Every ephemeral port is in use.
    #[error("No ephemeral port is free")]
    NoFreePort,
    /// Every packet buffer is in use, or as many packets as may wait for neighbours' addresses.
    #[error("No packet buffer is free")]
    NoBuffer,
    /// The device is gone for good.
    #[error("The network device is gone")]
    DeviceGone,
}

/// What is known of a destination that cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreachable {
    /// It does not answer when asked for its link-layer address.
    Host,
}
