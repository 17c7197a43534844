//! The headers of what a host sends over and over: made once for a destination, and copied in front
//! of each datagram.
//!
//! A template stands for a look at the destination, its route and its neighbour. It is used for a
//! second at most, so that those learn that they are in use, and no longer than nothing changes in
//! what they say. Then they are looked at again, and if it is only the neighbour of whom they say
//! something else, the template is renewed.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use netdev::{Checksums, Instant, Mac, Packet, Pool};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::destinations::Flow;
use super::{Route, output};
use crate::wire::{Checksum, ethernet, ipv4, ipv6, udp};

/// How long a template is used.
const LIFETIME: Duration = Duration::from_secs(1);

/// All headers of a UDP datagram to a destination.
#[derive(Clone)]
pub(crate) struct Template {
    // Whether they are what they were made of.
    changes: Changes,
    until: Instant,
    // Most bytes that may be sent in one piece, and those of them that IP takes for itself.
    mtu: u16,
    header_len: u16,
    /// The flow that it is for.
    pub(crate) flow: Flow,
    // The device makes UDP's checksum.
    fills_udp: bool,
    front: Front,
    // Of the pseudo-header, but for the length.
    pseudo: Checksum,
}

/// What counts the changes of routes, and of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changes(pub(crate) u32, pub(crate) u32);

#[derive(Clone)]
enum Front {
    // With the sum of the IP header, but for the length, unless the device makes it.
    V4(FrontV4, Option<Checksum>),
    V6(FrontV6),
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FrontV4 {
    ethernet: ethernet::Header,
    ip: ipv4::Header,
    udp: udp::Header,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FrontV6 {
    ethernet: ethernet::Header,
    ip: ipv6::Header,
    udp: udp::Header,
}

/// The IP header of a datagram.
pub(super) enum IpHeader {
    V4(ipv4::Header),
    V6(ipv6::Header),
}

/// For each family the template for what is behind the router that was used last: of whom nothing else is
/// known, so that it costs little to answer many.
#[derive(Default)]
pub(crate) struct ByRouter([Option<Shared>; 2]);

struct Shared {
    router: IpAddr,
    source: IpAddr,
    template: Template,
}

impl ByRouter {
    /// The template for what is sent from this source by a router, if it may be used: to whom it was
    /// [readdressed](Template::readdress) last.
    pub(crate) fn get(
        &mut self,
        now: Instant,
        changes: Changes,
        router: IpAddr,
        source: IpAddr,
    ) -> Option<&mut Template> {
        let shared = self.0[usize::from(router.is_ipv6())].as_mut()?;
        let same = shared.router == router && shared.source == source;
        Some(&mut shared.template).filter(|template| same && template.is_valid(now, changes))
    }

    /// Lets what is sent by a route that leads by a router go by the template for the route's destination.
    pub(crate) fn set(&mut self, route: &Route, template: Template) {
        let &Route { source, next_hop: router, .. } = route;
        self.0[usize::from(router.is_ipv6())] = Some(Shared { router, source, template });
    }
}

impl Template {
    /// A template of a UDP datagram of this flow that is sent by a route, or of the last piece of one, in
    /// frames from this card. It is not used before it is [renewed](Self::renew). `None` if it is no such
    /// datagram.
    #[inline(never)]
    pub(crate) fn of(
        datagram: &[u8],
        route: &Route,
        flow: Flow,
        checksums: Checksums,
        card: Mac,
    ) -> Option<Self> {
        let mut udp = udp::Header::new_zeroed();
        udp.set_ports(flow);
        let ethernet = |ethertype: u16| ethernet::Header {
            destination: Mac::default().0,
            source: card.0,
            ethertype: ethertype.into(),
        };
        let (front, protocol, ends): (_, _, (IpAddr, IpAddr)) = if route.destination.is_ipv4() {
            let (mut ip, _) = ipv4::Header::read_from_prefix(datagram).ok()?;
            ip.set_whole();
            let sum = (!checksums.fills_ipv4).then(|| ip.sum_without_len());
            let front = FrontV4 { ethernet: ethernet(ethernet::IPV4), ip, udp };
            (Front::V4(front, sum), ip.protocol, (ip.source().into(), ip.destination().into()))
        } else {
            let (mut ip, rest) = ipv6::Header::read_from_prefix(datagram).ok()?;
            if ip.next_header == ipv6::FRAGMENT {
                ip.next_header = ipv6::Fragment::parse(rest)?.next_header;
            }
            let front = FrontV6 { ethernet: ethernet(ethernet::IPV6), ip, udp };
            (Front::V6(front), ip.next_header, (ip.source().into(), ip.destination().into()))
        };
        if protocol != ipv4::UDP || ends != (route.source, route.destination) {
            return None;
        }
        Some(Self {
            changes: Changes(0, 0),
            until: Instant::ZERO,
            mtu: route.mtu,
            header_len: route.header_len,
            flow,
            fills_udp: checksums.fills_udp,
            front,
            pseudo: crate::udp::pseudo_header(route.source, route.destination, 0),
        })
    }

    /// Lets it be used for a second, or until `until` at most: the neighbour by which the route leads has
    /// this address.
    pub(crate) fn renew(
        &mut self,
        (now, until): (Instant, Instant),
        changes: Changes,
        neighbor: Mac,
    ) {
        self.changes = changes;
        self.until = until.min(now + LIFETIME);
        let (Front::V4(FrontV4 { ethernet, .. }, _) | Front::V6(FrontV6 { ethernet, .. })) =
            &mut self.front;
        ethernet.destination = neighbor.0;
    }

    /// Whether nothing has changed since, and it is not too old.
    #[inline]
    pub(crate) fn is_valid(&self, now: Instant, changes: Changes) -> bool {
        self.changes == changes && now < self.until
    }

    /// Writes headers to another destination from now on, which is reached from the same source by the
    /// same neighbour. Does nothing if it is of the other family.
    pub(crate) fn readdress(&mut self, destination: IpAddr) {
        match (&mut self.front, destination) {
            (Front::V4(front, sum), IpAddr::V4(destination)) => {
                let (old, new) = (front.ip.destination().to_bits(), destination.to_bits());
                front.ip.set_destination(destination);
                *sum = sum.map(|sum| sum.replace_u32(old, new));
                self.pseudo = self.pseudo.replace_u32(old, new);
            }
            (Front::V6(front), IpAddr::V6(destination)) => {
                front.ip.set_destination(destination);
                self.pseudo = ipv6::pseudo_header(front.ip.source(), destination, ipv4::UDP, 0);
            }
            _ => {}
        }
    }

    /// Lets no more bytes be sent in one piece, in an IP datagram with its header.
    pub(crate) fn set_mtu(&mut self, mtu: u16) {
        self.mtu = mtu;
    }

    /// The largest IP datagram, in bytes with its header, that is sent in one piece, and the length of that
    /// header.
    pub(crate) fn lengths(&self) -> (u16, u16) {
        (self.mtu, self.header_len)
    }

    /// Lets it be of this flow (RFC 6437).
    pub(crate) fn set_flow(&mut self, flow: Flow, label: impl FnOnce(Ipv6Addr, Ipv6Addr) -> u32) {
        self.flow = flow;
        match &mut self.front {
            Front::V4(front, _) => front.udp.set_ports(flow),
            Front::V6(front) => {
                front.udp.set_ports(flow);
                front.ip.set_flow_label(label(front.ip.source(), front.ip.destination()));
            }
        }
    }

    /// Whether a packet's window, which goes in more pieces than one, is no longer than a datagram can be,
    /// and there are packets for them.
    pub(super) fn fits_in_pieces(&self, packet: &Packet, pool: &Pool) -> bool {
        const ROOM: usize = size_of::<FrontV6>() + ipv6::FRAGMENT_LEN;
        let (len, header_len) = (packet.len() + udp::HEADER_LEN, usize::from(self.header_len));
        let of_fragment = if let Front::V6(_) = self.front { ipv6::FRAGMENT_LEN } else { 0 };
        let room = usize::from(self.mtu).saturating_sub(header_len + of_fragment);
        len + header_len > self.mtu.into()
            && len + header_len <= u16::MAX.into()
            && packet.headroom() >= ROOM
            && output::can_cut(pool, len, room)
    }

    /// Writes the UDP header in front of a packet that goes in pieces. Returns the headers that would be
    /// in front of that in one piece, and the largest of the pieces.
    pub(super) fn write_udp(
        &self,
        packet: &mut Packet,
        checksum: Option<[u8; 2]>,
    ) -> Option<(ethernet::Header, IpHeader, u16)> {
        let ((from, to), pseudo) = (self.flow, self.pseudo);
        // A device sees single frames: of a datagram in pieces it cannot make the sum.
        let written = match checksum {
            Some(checksum) => udp::Header::emit_with(packet, from, to, checksum),
            None => udp::Header::emit(packet, from, to, Some(|length| pseudo.add_u16(length))),
        };
        let (ethernet, ip) = match &self.front {
            Front::V4(front, _) => (front.ethernet, IpHeader::V4(front.ip)),
            Front::V6(front) => (front.ethernet, IpHeader::V6(front.ip)),
        };
        written.then_some((ethernet, ip, self.mtu))
    }

    /// Writes all headers in front of a packet, whose window is the payload; `false`, and nothing done, if
    /// that does not go in one piece, or there is no room for them. `checksum` is UDP's, if that is known.
    #[inline]
    pub(crate) fn write(&self, packet: &mut Packet, checksum: Option<[u8; 2]>) -> bool {
        let length = packet.len() + udp::HEADER_LEN;
        if length + usize::from(self.header_len) > self.mtu.into() {
            return false;
        }
        let length = length as u16;
        let checksum = match checksum {
            _ if self.fills_udp => [0; 2],
            Some(checksum) => checksum,
            None => {
                let (from, to) = self.flow;
                let sum = self.pseudo.add_u16(length).add_u16(from).add_u16(to).add_u16(length);
                udp::checksum(sum, packet.bytes())
            }
        };
        // Copied first, and what differs written upon that: to copy what has just been written in parts
        // takes a processor longer.
        match &self.front {
            Front::V4(made, sum) => {
                let room = packet.prepend(size_of::<FrontV4>());
                let Some(front) = room.and_then(|room| FrontV4::mut_from_bytes(room).ok()) else {
                    return false;
                };
                *front = *made;
                front.ip.set_len(length, *sum);
                front.udp.set_len(length, checksum);
            }
            Front::V6(made) => {
                let room = packet.prepend(size_of::<FrontV6>());
                let Some(front) = room.and_then(|room| FrontV6::mut_from_bytes(room).ok()) else {
                    return false;
                };
                *front = *made;
                front.ip.set_payload_len(length);
                front.udp.set_len(length, checksum);
            }
        }
        true
    }
}
