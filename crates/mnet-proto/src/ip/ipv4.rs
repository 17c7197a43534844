//! IPv4: what is for us and what is not (RFC 791, RFC 1122 §3.2.1).

use core::net::{IpAddr, Ipv4Addr};

use netdev::{Instant, Packet};

use super::{Ip, Ipv4Cidr, Metadata};
use crate::config::Config;
use crate::ip::cidr::is_unicast;
use crate::stats::Drop;
use crate::wire::ipv4::{Fields, Header, checksum_is_valid};

/// The host's IPv4 address, and what follows from it.
pub(crate) struct Ipv4 {
    pub(crate) cidr: Ipv4Cidr,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) hop_limit: u8,
}

impl Ipv4 {
    pub(crate) fn new(config: &Config) -> Self {
        Self { cidr: config.ipv4, gateway: config.ipv4_gateway, hop_limit: config.hop_limit }
    }

    /// Whether this is the address of everybody on the link.
    pub(crate) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast() || self.cidr.broadcast() == Some(address)
    }

    /// Whether another host can have this address, as far as can be told from here.
    pub(crate) fn is_other_host(&self, address: Ipv4Addr) -> bool {
        is_unicast(address) && !self.is_broadcast(address) && address != self.cidr.address()
    }

    /// Whether a host is on the link. The gateway always is.
    pub(crate) fn is_on_link(&self, address: Ipv4Addr) -> bool {
        self.cidr.contains(address) || self.gateway == Some(address)
    }

    /// The neighbour that takes on what goes to `destination`.
    pub(crate) fn next_hop(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        if self.is_on_link(destination) { Some(destination) } else { self.gateway }
    }
}

/// Checks a datagram and takes its header off. Returns what is in it, if it is for us.
#[inline]
pub(crate) fn receive(
    ip: &mut Ip,
    now: Instant,
    packet: &mut Packet,
    to_us_alone: bool,
) -> Option<(u8, Metadata)> {
    match check(ip, now, packet, to_us_alone) {
        Ok(received) => Some(received),
        Err(reason) => {
            ip.stats.dropped.count(reason);
            None
        }
    }
}

#[inline]
fn check(
    ip: &Ip,
    now: Instant,
    packet: &mut Packet,
    to_us_alone: bool,
) -> Result<(u8, Metadata), Drop> {
    let header = Header::parse(packet.bytes()).map_err(|_| Drop::Ipv4Malformed)?;
    let (header_len, total_len) = (header.header_len(), header.total_len());
    if !ip.link.checksums.verifies_ipv4 && !checksum_is_valid(packet.bytes(), header_len) {
        return Err(Drop::Ipv4Checksum);
    }
    let (source, destination) = (header.source(), header.destination());
    if !ip.v4.is_other_host(source) {
        return Err(Drop::Ipv4Source);
    }
    let broadcast = ip.v4.is_broadcast(destination);
    // RFC 1122 §3.3.6: a frame to many that holds a datagram to one is somebody's mistake.
    let to_us = destination == ip.v4.cidr.address() && to_us_alone;
    if !to_us && !broadcast {
        return Err(Drop::Ipv4Destination);
    }
    if header.is_fragment() {
        return Err(Drop::Ipv4Fragment);
    }
    let metadata = Metadata {
        source: source.into(),
        destination: destination.into(),
        broadcast,
        hop_limit: header.hop_limit,
        traffic_class: header.traffic_class,
        udp_verified: ip.link.checksums.verifies_udp,
        arrived: now,
        header_len: header_len as u8,
    };
    let protocol = header.protocol;
    // What is behind the datagram is the frame's padding.
    packet.truncate(total_len);
    packet.trim_front(header_len);
    Ok((protocol, metadata))
}

/// Writes the header in front of what is to be sent.
#[inline]
pub(crate) fn emit(
    ip: &Ip,
    packet: &mut Packet,
    (source, destination): (IpAddr, IpAddr),
    protocol: u8,
    traffic_class: u8,
) -> bool {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else { return false };
    let hop_limit = ip.v4.hop_limit;
    let fields = Fields {
        source,
        destination,
        protocol,
        hop_limit,
        traffic_class,
        // Without a meaning in a datagram that nobody may fragment, and then zero (RFC 6864 §4.1).
        identification: 0,
        dont_fragment: true,
        router_alert: false,
    };
    Header::emit(packet, &fields, !ip.link.checksums.fills_ipv4)
}
