//! The way to the guest: frames around what goes there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mnet_proto::wire::{Checksum, arp, ethernet, ipv4, ipv6, udp};
use netdev::{Mac, Packet, Pool};

use super::addresses::MAC;
use super::drops::Drop;
use super::queue::Queue;
use super::{MAX_FRAME, MTU};

/// TTL and hop limit of what the gateway sends, but for neighbour discovery.
pub(super) const HOP_LIMIT: u8 = 64;

/// EtherType of IPv6 (RFC 2464 §3).
pub(super) const IPV6: u16 = 0x86dd;

/// Puts headers around what goes to the guest, and the frames into the queue.
#[derive(Debug)]
pub(super) struct Link {
    guest: Mac,
    /// For what the gateway says itself, one packet at a time.
    pool: Pool,
}

impl Link {
    pub(super) fn new(guest: Mac) -> Self {
        Self { guest, pool: Pool::new(2, netdev::HEADROOM + MAX_FRAME) }
    }

    /// An empty packet for something that the gateway says.
    pub(super) fn packet(&self) -> Result<Packet, Drop> {
        self.pool.take().ok_or(Drop::NotTaken)
    }

    /// Sends an ARP packet that speaks of this address of the gateway.
    pub(super) fn arp(
        &self,
        opcode: u16,
        own: Ipv4Addr,
        target: (Mac, Ipv4Addr),
        out: &mut Queue,
    ) -> Result<(), Drop> {
        let mut packet = self.packet()?;
        let whole = arp::Arp::new(opcode, (MAC, own), target).emit(&mut packet);
        self.ethernet(&mut packet, self.guest, ethernet::ARP, whole, out)
    }

    /// Sends the packet's window as the payload of a datagram.
    pub(super) fn udp(
        &mut self,
        packet: &mut Packet,
        from: SocketAddr,
        to: SocketAddr,
        out: &mut Queue,
    ) -> Result<(), Drop> {
        let sum = |length| pseudo_header(from.ip(), to.ip(), ipv4::UDP, length);
        if !udp::Header::emit(packet, from.port(), to.port(), Some(sum)) {
            return Err(Drop::DatagramTooLong);
        }
        self.ip(packet, from.ip(), to.ip(), ipv4::UDP, out)
    }

    /// Sends the packet's window as what this protocol says.
    pub(super) fn ip(
        &mut self,
        packet: &mut Packet,
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        out: &mut Queue,
    ) -> Result<(), Drop> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                if packet.len() > usize::from(MTU) - ipv4::HEADER_LEN {
                    return Err(Drop::DatagramTooLong);
                }
                let fields = ipv4::Fields {
                    source,
                    destination,
                    protocol,
                    hop_limit: HOP_LIMIT,
                    traffic_class: 0,
                    identification: 0,
                    dont_fragment: true,
                    router_alert: false,
                };
                let whole = ipv4::Header::emit(packet, &fields, true);
                let to = if destination.is_broadcast() { Mac::BROADCAST } else { self.guest };
                self.ethernet(packet, to, ethernet::IPV4, whole, out)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.ipv6(packet, source, destination, protocol, HOP_LIMIT, out)
            }
            _ => Err(Drop::Destination),
        }
    }

    /// Sends an ICMPv6 message that is `whole` in the packet's window.
    pub(super) fn icmpv6(
        &mut self,
        mut packet: Packet,
        whole: bool,
        hop_limit: u8,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        out: &mut Queue,
    ) -> Result<(), Drop> {
        if !whole {
            return Err(Drop::NotTaken);
        }
        self.ipv6(&mut packet, source, destination, ipv6::ICMP, hop_limit, out)
    }

    fn ipv6(
        &mut self,
        packet: &mut Packet,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_header: u8,
        hop_limit: u8,
        out: &mut Queue,
    ) -> Result<(), Drop> {
        if packet.len() > usize::from(MTU) - ipv6::HEADER_LEN {
            return Err(Drop::DatagramTooLong);
        }
        let (traffic_class, flow_label) = (0, 0);
        let fields =
            ipv6::Fields { source, destination, next_header, hop_limit, traffic_class, flow_label };
        let whole = ipv6::Header::emit(packet, &fields);
        let is_group = destination.is_multicast();
        let to = if is_group { ipv6::multicast_mac(destination) } else { self.guest };
        self.ethernet(packet, to, IPV6, whole, out)
    }

    fn ethernet(
        &self,
        packet: &mut Packet,
        to: Mac,
        ethertype: u16,
        whole: bool,
        out: &mut Queue,
    ) -> Result<(), Drop> {
        let sent =
            whole && ethernet::Header::emit(packet, to, MAC, ethertype) && out.push(packet.bytes());
        if sent { Ok(()) } else { Err(Drop::NotTaken) }
    }
}

/// The sum of the pseudo-header that upper layers check.
pub(super) fn pseudo_header(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    length: u16,
) -> Checksum {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ipv4::pseudo_header(source, destination, protocol, length)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ipv6::pseudo_header(source, destination, protocol, length.into())
        }
        _ => Checksum::new(),
    }
}
