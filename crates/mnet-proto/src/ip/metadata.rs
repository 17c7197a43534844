//! What is known of a datagram that has come, and where that is kept: in its packet's control block,
//! so that it is written once and never moved.

use core::net::{IpAddr, SocketAddr};

use netdev::{CONTROL_BLOCK, Instant, Packet};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute_mut, transmute_ref};

use super::Cast;
use crate::wire::{Checksum, ipv4, ipv6};

/// What the layers above learn of a datagram that has come, besides its payload.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// Who sent it.
    pub source: IpAddr,
    /// To whom it was sent.
    pub destination: IpAddr,
    /// What kind of address that is.
    pub cast: Cast,
    /// Whether it came in a frame to more than one card.
    pub link_group: bool,
    /// What was left of its TTL or hop limit.
    pub hop_limit: u8,
    /// DSCP (upper six bits) and ECN (lower two).
    pub traffic_class: u8,
    /// Whether nobody on its way might fragment it, as nobody may over IPv6.
    pub dont_fragment: bool,
    /// Whether it came with the option that makes routers look at it (RFC 2113), in IPv6 for MLD (RFC
    /// 2711).
    pub router_alert: bool,
    /// Whether it came in fragments, if only one.
    pub fragmented: bool,
    /// Whether the device has verified the checksum of a UDP datagram in it.
    pub udp_verified: bool,
    /// When it came.
    pub arrived: Instant,
    /// Length in bytes of the IP headers, which lie in front of the packet's window.
    pub header_len: u16,
}

/// The same as it is kept, with what UDP adds.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct ControlBlock {
    // Source and destination. Those of IPv4 are one behind the other in the first eight bytes.
    addresses: [[u8; 16]; 2],
    arrived: u64,
    pub(crate) dropped_before: u32,
    header_len: u16,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) hop_limit: u8,
    pub(crate) traffic_class: u8,
    cast: u8,
    flags: u8,
    checksum: [u8; 2],
    reserved: [u8; 8],
}

/// Length of IPv4's addresses.
const V4_ADDRESSES: usize = 8;

const LINK_GROUP: u8 = 1 << 0;
const UDP_VERIFIED: u8 = 1 << 1;
const IPV6: u8 = 1 << 2;
const DONT_FRAGMENT: u8 = 1 << 3;
const ROUTER_ALERT: u8 = 1 << 4;
const FRAGMENTED: u8 = 1 << 5;

/// What is known of a datagram that has come besides what its header says.
pub(super) struct Arrival {
    pub(super) cast: Cast,
    pub(super) link_group: bool,
    pub(super) udp_verified: bool,
    pub(super) now: Instant,
}

impl Metadata {
    /// Notes it in the packet of the datagram.
    pub(crate) fn note(&self, packet: &mut Packet) {
        let block = ControlBlock::of_mut(packet);
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        block.flags = flag(self.link_group, LINK_GROUP)
            | flag(self.dont_fragment, DONT_FRAGMENT)
            | flag(self.router_alert, ROUTER_ALERT)
            | flag(self.fragmented, FRAGMENTED)
            | flag(self.udp_verified, UDP_VERIFIED);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                block.set_addresses([source.octets(), destination.octets()].as_flattened());
            }
            (source, destination) => {
                block.flags |= IPV6;
                block.set_addresses([octets(source), octets(destination)].as_flattened());
            }
        }
        block.arrived = self.arrived.as_nanos();
        block.header_len = self.header_len;
        block.hop_limit = self.hop_limit;
        block.traffic_class = self.traffic_class;
        block.cast = self.cast as u8;
    }

    /// What was noted in a packet.
    pub(crate) fn of(packet: &Packet) -> Self {
        let block = ControlBlock::of(packet);
        Self {
            source: block.source(),
            destination: block.destination(),
            cast: block.cast(),
            link_group: block.is(LINK_GROUP),
            hop_limit: block.hop_limit,
            traffic_class: block.traffic_class,
            dont_fragment: block.dont_fragment(),
            router_alert: block.is(ROUTER_ALERT),
            fragmented: block.is(FRAGMENTED),
            udp_verified: block.udp_verified(),
            arrived: block.arrived(),
            header_len: block.header_len,
        }
    }
}

impl ControlBlock {
    #[inline]
    pub(crate) fn of(packet: &Packet) -> &Self {
        transmute_ref!(packet.control_block())
    }

    #[inline]
    pub(crate) fn of_mut(packet: &mut Packet) -> &mut Self {
        Self::at_mut(packet.control_block_mut())
    }

    /// The same of what lies in a packet's.
    #[inline]
    pub(crate) fn at_mut(block: &mut [u64; CONTROL_BLOCK]) -> &mut Self {
        transmute_mut!(block)
    }

    /// Notes what is known of an IPv4 datagram.
    #[inline]
    pub(super) fn note_v4(&mut self, header: &ipv4::Header, arrival: &Arrival) {
        let dont_fragment = if header.dont_fragment() { DONT_FRAGMENT } else { 0 };
        self.note(arrival, dont_fragment);
        self.set_addresses(header.addresses());
        self.header_len = header.header_len() as u16;
        self.hop_limit = header.hop_limit;
        self.traffic_class = header.traffic_class;
    }

    /// Notes what is known of an IPv6 datagram.
    #[inline]
    pub(super) fn note_v6(&mut self, header: &ipv6::Header, arrival: &Arrival) {
        self.note(arrival, IPV6 | DONT_FRAGMENT);
        self.set_addresses(header.addresses());
        self.header_len = ipv6::HEADER_LEN as u16;
        self.hop_limit = header.hop_limit;
        self.traffic_class = header.traffic_class();
    }

    #[inline]
    fn note(&mut self, arrival: &Arrival, flags: u8) {
        let link_group = u8::from(arrival.link_group) * LINK_GROUP;
        let udp_verified = u8::from(arrival.udp_verified) * UDP_VERIFIED;
        self.flags = flags | link_group | udp_verified;
        self.cast = arrival.cast as u8;
        self.arrived = arrival.now.as_nanos();
    }

    /// Both addresses, as many bytes as there are.
    #[inline]
    fn set_addresses(&mut self, addresses: &[u8]) {
        if let Some(place) = self.addresses.as_flattened_mut().get_mut(..addresses.len()) {
            place.copy_from_slice(addresses);
        }
    }

    #[inline]
    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Lets what is noted of a fragment be that of the datagram that it was the last of to come, which has
    /// so long headers.
    #[inline]
    pub(super) fn join(&mut self, header_len: usize, hop_limit: u8, traffic_class: u8) {
        self.flags = self.flags & !UDP_VERIFIED | FRAGMENTED;
        self.header_len = header_len as u16;
        (self.hop_limit, self.traffic_class) = (hop_limit, traffic_class);
    }

    /// UDP's checksum, if it was verified here, and the payload is as it came.
    #[inline]
    pub(crate) fn checksum(&self) -> Option<[u8; 2]> {
        Some(self.checksum).filter(|&checksum| checksum != [0; 2])
    }

    #[inline]
    pub(crate) fn set_checksum(&mut self, checksum: Option<[u8; 2]>) {
        self.checksum = checksum.unwrap_or([0; 2]);
    }

    #[inline]
    pub(crate) fn is_ipv6(&self) -> bool {
        self.is(IPV6)
    }

    #[inline]
    pub(crate) fn source(&self) -> IpAddr {
        let [octets, _] = self.addresses;
        if self.is_ipv6() {
            return octets.into();
        }
        let [a, b, c, d, ..] = octets;
        [a, b, c, d].into()
    }

    #[inline]
    pub(crate) fn destination(&self) -> IpAddr {
        let [octets_v4, octets] = self.addresses;
        if self.is_ipv6() {
            return octets.into();
        }
        let [_, _, _, _, a, b, c, d, ..] = octets_v4;
        [a, b, c, d].into()
    }

    /// Who sent it, and from which port.
    #[inline]
    pub(crate) fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.source(), self.source_port)
    }

    /// To whom it was sent, and to which port.
    #[inline]
    pub(crate) fn local(&self) -> SocketAddr {
        SocketAddr::new(self.destination(), self.destination_port)
    }

    #[inline]
    pub(crate) fn cast(&self) -> Cast {
        match self.cast {
            0 => Cast::Unicast,
            1 => Cast::Broadcast,
            _ => Cast::Multicast,
        }
    }

    /// The sum of the pseudo-header of a UDP datagram (RFC 768, RFC 8200 §8.1).
    #[inline]
    pub(crate) fn udp_pseudo_header(&self, length: u16) -> Checksum {
        let sum = Checksum::new().add_u16(length).add_u16(ipv4::UDP.into());
        let addresses = self.addresses.as_flattened();
        if self.is_ipv6() {
            return sum.add_bytes(addresses);
        }
        sum.add_bytes(&addresses[..V4_ADDRESSES])
    }

    /// Length in bytes of the IP headers.
    #[inline]
    pub(crate) fn header_len(&self) -> usize {
        self.header_len.into()
    }

    #[inline]
    pub(crate) fn dont_fragment(&self) -> bool {
        self.is(DONT_FRAGMENT)
    }

    #[inline]
    pub(crate) fn udp_verified(&self) -> bool {
        self.is(UDP_VERIFIED)
    }

    #[inline]
    pub(crate) fn arrived(&self) -> Instant {
        Instant::from_nanos(self.arrived)
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
