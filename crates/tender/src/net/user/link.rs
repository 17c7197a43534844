//! The way to the guest: frames around what goes there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mnet_proto::ip::fragment::cuts;
use mnet_proto::wire::{Checksum, arp, ethernet, ipv4, ipv6, udp};
use netdev::{Mac, Packet, Pool};
use zerocopy::IntoBytes;

use super::addresses::MAC;
use super::drops::Drop;
use super::queue::Queue;
use super::{MAX_FRAME, MTU};

/// TTL and hop limit of what the gateway sends, but for neighbour discovery.
pub(super) const HOP_LIMIT: u8 = 64;

/// Bytes of IP in a frame.
const ROOM: usize = MTU as usize;

/// Most frames that a datagram takes: those of the longest over IPv6, and what introduces the
/// gateway before it.
pub(super) const MAX_FRAMES: usize = 65_535 / (ROOM - ipv6::HEADER_LEN - ipv6::FRAGMENT_LEN) + 2;

/// Packets at a time: the first fragments of datagrams that are not whole yet, and a few more.
const PACKETS: usize = 80;

/// Puts headers around what goes to the guest, and the frames into the queue.
#[derive(Debug)]
pub(super) struct Link {
    guest: Mac,
    /// For what the gateway says itself, and for fragments.
    pool: Pool,
    /// Of the next datagram that goes in fragments.
    identification: u32,
}

impl Link {
    pub(super) fn new(guest: Mac) -> Self {
        let pool = Pool::new(PACKETS, netdev::HEADROOM + MAX_FRAME);
        Self { guest, pool, identification: 0 }
    }

    /// Where packets come from.
    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// An empty packet with room for so many bytes.
    pub(super) fn packet(&self, room: usize) -> Result<Packet, Drop> {
        self.pool.take_sized(room).ok_or(Drop::NotTaken)
    }

    /// Sends an ARP packet that speaks of this address of the gateway.
    pub(super) fn arp(
        &self,
        opcode: u16,
        own: Ipv4Addr,
        target: (Mac, Ipv4Addr),
        out: &mut Queue,
    ) -> Result<(), Drop> {
        let mut packet = self.packet(arp::LEN)?;
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
        emit_udp(packet, from, to)?;
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
                self.ipv4(packet, source, destination, protocol, out)
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

    fn ipv4(
        &mut self,
        packet: &mut Packet,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: u8,
        out: &mut Queue,
    ) -> Result<(), Drop> {
        let len = packet.len();
        let dont_fragment = len <= ROOM - ipv4::HEADER_LEN;
        let fields = fields_v4(source, destination, protocol, dont_fragment);
        if !ipv4::Header::emit(packet, &fields, true) {
            return Err(Drop::DatagramTooLong);
        }
        let to = if destination.is_broadcast() { Mac::BROADCAST } else { self.guest };
        if dont_fragment {
            return self.ethernet(packet, to, ethernet::IPV4, true, out);
        }
        let mut whole = *ipv4::Header::parse(packet.bytes()).map_err(|_| Drop::DatagramTooLong)?;
        packet.trim_front(ipv4::HEADER_LEN);
        whole.identification.set(self.next_identification() as u16);
        self.fragments(
            packet.bytes(),
            ROOM - ipv4::HEADER_LEN,
            out,
            |this, mut part, offset, more, out| {
                let parts = (offset, more);
                let made = ipv4::Header::emit_fragment(&mut part, (&whole, &[]), parts, true);
                this.ethernet(&mut part, to, ethernet::IPV4, made, out)
            },
        )
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
        let fields = |next_header| fields_v6(source, destination, next_header, hop_limit);
        let is_group = destination.is_multicast();
        let to = if is_group { ipv6::multicast_mac(destination) } else { self.guest };
        if packet.len() <= ROOM - ipv6::HEADER_LEN {
            let whole = ipv6::Header::emit(packet, &fields(next_header));
            return self.ethernet(packet, to, ethernet::IPV6, whole, out);
        }
        let identification = self.next_identification();
        let room = ROOM - ipv6::HEADER_LEN - ipv6::FRAGMENT_LEN;
        self.fragments(packet.bytes(), room, out, |this, mut part, offset, more, out| {
            let header = ipv6::Fragment::new(next_header, offset, more, identification);
            let whole = part
                .prepend(ipv6::FRAGMENT_LEN)
                .is_some_and(|bytes| header.write_to(bytes).is_ok())
                && ipv6::Header::emit(&mut part, &fields(ipv6::FRAGMENT));
            this.ethernet(&mut part, to, ethernet::IPV6, whole, out)
        })
    }

    /// Cuts what is too long for a frame, and has each part sent. If there is no room for all of
    /// them none is.
    fn fragments(
        &self,
        payload: &[u8],
        room: usize,
        out: &mut Queue,
        send: impl Fn(&Self, Packet, usize, bool, &mut Queue) -> Result<(), Drop>,
    ) -> Result<(), Drop> {
        if out.room() < cuts(payload.len(), room).count() {
            return Err(Drop::NotTaken);
        }
        for (offset, len, more) in cuts(payload.len(), room) {
            let part = payload.get(offset..offset + len).ok_or(Drop::NotTaken)?;
            let mut packet = self.packet(len)?;
            packet.append(len).ok_or(Drop::NotTaken)?.copy_from_slice(part);
            send(self, packet, offset, more, out)?;
        }
        Ok(())
    }

    fn next_identification(&mut self) -> u32 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
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

/// Puts the header of UDP in front of the packet's window.
fn emit_udp(packet: &mut Packet, from: SocketAddr, to: SocketAddr) -> Result<(), Drop> {
    let sum = |length| pseudo_header(from.ip(), to.ip(), ipv4::UDP, length);
    let whole = udp::Header::emit(packet, from.port(), to.port(), Some(sum));
    if whole { Ok(()) } else { Err(Drop::DatagramTooLong) }
}

/// Makes the packet's window the IP packet of a datagram of which it is the payload, however long.
pub(super) fn emit_datagram(
    packet: &mut Packet,
    from: SocketAddr,
    to: SocketAddr,
) -> Result<(), Drop> {
    emit_udp(packet, from, to)?;
    let whole = match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let fields = fields_v4(source, destination, ipv4::UDP, true);
            ipv4::Header::emit(packet, &fields, true)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let fields = fields_v6(source, destination, ipv4::UDP, HOP_LIMIT);
            ipv6::Header::emit(packet, &fields)
        }
        _ => false,
    };
    if whole { Ok(()) } else { Err(Drop::DatagramTooLong) }
}

fn fields_v4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    dont_fragment: bool,
) -> ipv4::Fields {
    ipv4::Fields {
        source,
        destination,
        protocol,
        hop_limit: HOP_LIMIT,
        traffic_class: 0,
        // It says nothing of what is not in fragments (RFC 6864 §4.1).
        identification: 0,
        dont_fragment,
        router_alert: false,
    }
}

fn fields_v6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    hop_limit: u8,
) -> ipv6::Fields {
    ipv6::Fields { source, destination, next_header, hop_limit, traffic_class: 0, flow_label: 0 }
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
