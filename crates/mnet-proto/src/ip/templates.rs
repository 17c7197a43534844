//! The headers of what a host sends over and over: made once for a destination, and copied in front
//! of each datagram.
//!
//! A template stands for a look at the destination, its route and its neighbour. It is used for a
//! second at most, so that those learn that they are in use, and no longer than nothing changes in
//! what they say.

use alloc::boxed::Box;
use core::hash::BuildHasher;
use core::mem;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use netdev::{Checksums, Instant, Packet};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Route;
use super::destinations::{Flow, Flows};
use crate::keyed::ByAddress;
use crate::wire::{Checksum, ethernet, ipv4, ipv6, udp};

/// How long a template is used.
const LIFETIME: Duration = Duration::from_secs(1);

/// By destination: of those whose hashes are alike in their last bits, the last.
pub(crate) struct Templates {
    // Each is made when it is first needed, and then used again.
    table: Box<[Option<Box<Template>>]>,
    // Those for what is behind the router that was used last, of each family, as if for the router itself.
    routers: [Option<Template>; 2],
    keyed: ByAddress,
}

#[derive(Clone)]
pub(crate) struct Template {
    destination: IpAddr,
    source: IpAddr,
    // The source was asked for, and is not what the host would choose.
    by_request: bool,
    // Whether they are what they were made of.
    changes: Changes,
    until: Instant,
    // Most bytes that may be sent in one piece, and those of them that IP takes for itself.
    mtu: u16,
    header_len: u16,
    /// The flow that it is for.
    pub(crate) flow: Flow,
    /// Those that have gone to the destination of late: note is taken here, while it is here.
    pub(crate) flows: Flows,
    used: bool,
    front: Front,
    // The device makes UDP's checksum.
    fills_udp: bool,
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
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FrontV6 {
    ethernet: ethernet::Header,
    ip: ipv6::Header,
}

impl Templates {
    /// No templates yet, and room for as many as there are destinations, or some more.
    pub(crate) fn new(keyed: ByAddress, destinations: usize) -> Self {
        let places = destinations.clamp(1, 1 << 16).next_power_of_two();
        Self { table: (0..places).map(|_| None).collect(), routers: [None, None], keyed }
    }

    #[inline]
    fn place(&mut self, destination: IpAddr) -> &mut Option<Box<Template>> {
        let hash = self.keyed.hash_one(destination) as usize;
        let last = self.table.len() - 1;
        &mut self.table[hash & last]
    }

    /// The template for a destination, if there is one that may be used: from this source, or from the
    /// one that the host would choose.
    #[inline]
    pub(crate) fn get(
        &mut self,
        now: Instant,
        changes: Changes,
        destination: IpAddr,
        source: Option<IpAddr>,
    ) -> Option<&mut Template> {
        let template = self.place(destination).as_deref_mut()?;
        let fits = template.is_valid(now, changes, destination)
            && source.map_or(!template.by_request, |source| source == template.source);
        fits.then_some(template)
    }

    /// Whether a destination's template has been used since this was last asked.
    pub(crate) fn take_used(&mut self, destination: IpAddr) -> bool {
        let template = self.place(destination).as_deref_mut();
        let template = template.filter(|template| template.destination == destination);
        template.is_some_and(|template| mem::take(&mut template.used))
    }

    /// Which flows have gone to a destination of late, if there is a template for it, be it too old.
    pub(crate) fn flows_mut(&mut self, destination: IpAddr) -> Option<&mut Flows> {
        let template = self.place(destination).as_deref_mut();
        let template = template.filter(|template| template.destination == destination);
        template.map(|template| &mut template.flows)
    }

    /// A template for what is sent from this source by a router, if it may be used.
    pub(crate) fn by_router(
        &self,
        now: Instant,
        changes: Changes,
        router: IpAddr,
        source: IpAddr,
    ) -> Option<&Template> {
        let template = self.routers[usize::from(router.is_ipv6())].as_ref()?;
        let fits = template.is_valid(now, changes, router) && template.source == source;
        fits.then_some(template)
    }

    /// The template for a router, be it too old, as one for a destination that is behind it.
    pub(crate) fn readdressed(
        &mut self,
        router: IpAddr,
        destination: IpAddr,
    ) -> Option<&mut Template> {
        let template = self.routers[usize::from(router.is_ipv6())].as_mut()?;
        template.readdress(destination).then_some(template)
    }

    /// Lets what is behind a router go by a template for one destination of those.
    pub(crate) fn set_router(&mut self, template: &Template, router: IpAddr) {
        let template = Template { destination: router, ..template.clone() };
        self.routers[usize::from(router.is_ipv6())] = Some(template);
    }

    /// Takes all templates away, and returns for each which flows have gone to its destination.
    #[cfg(test)]
    pub(crate) fn clear(&mut self) -> Vec<(IpAddr, Flows)> {
        self.routers = [None, None];
        let templates = self.table.iter_mut().filter_map(Option::take);
        templates.map(|template| (template.destination, template.flows)).collect()
    }

    /// Puts a template in its place. Returns which flows have gone to the destination of the one that was
    /// there.
    pub(crate) fn set(&mut self, template: Template) -> Option<(IpAddr, Flows)> {
        match self.place(template.destination) {
            Some(place) => {
                let old = mem::replace(&mut **place, template);
                Some((old.destination, old.flows))
            }
            place => {
                *place = Some(Box::new(template));
                None
            }
        }
    }
}

impl Template {
    /// A template of `packet`, which is a frame that is sent by a route: a UDP datagram in one piece.
    /// It is used until `until` at most. `None` if it is no such frame.
    #[inline(never)]
    pub(crate) fn of(
        packet: &Packet,
        (route, by_request): (&Route, bool),
        (flow, flows): (Flow, Flows),
        checksums: Checksums,
        (now, until): (Instant, Instant),
        changes: Changes,
    ) -> Option<Self> {
        let (front, ethertype, protocol, ends) = if route.destination.is_ipv4() {
            let (front, _) = FrontV4::read_from_prefix(packet.bytes()).ok()?;
            let FrontV4 { ethernet, ip } = front;
            let ends: (IpAddr, IpAddr) = (ip.source().into(), ip.destination().into());
            let sum = (!checksums.fills_ipv4).then(|| ip.sum_without_len());
            (Front::V4(front, sum), ethernet.ethertype.get(), ip.protocol, ends)
        } else {
            let (front, _) = FrontV6::read_from_prefix(packet.bytes()).ok()?;
            let FrontV6 { ethernet, ip } = front;
            let ends = (ip.source().into(), ip.destination().into());
            (Front::V6(front), ethernet.ethertype.get(), ip.next_header, ends)
        };
        let is_ip = matches!(ethertype, ethernet::IPV4 | ethernet::IPV6);
        if !is_ip || protocol != ipv4::UDP || ends != (route.source, route.destination) {
            return None;
        }
        Some(Self {
            destination: route.destination,
            source: route.source,
            by_request,
            changes,
            until: until.min(now + LIFETIME),
            mtu: route.mtu,
            header_len: route.header_len,
            flow,
            flows,
            used: false,
            front,
            fills_udp: checksums.fills_udp,
            pseudo: crate::udp::pseudo_header(route.source, route.destination, 0),
        })
    }

    /// Writes headers to another destination from now on, which is reached from this source by the same
    /// neighbour; `false`, and nothing done, if it is of the other family.
    fn readdress(&mut self, destination: IpAddr) -> bool {
        match (&mut self.front, destination) {
            (Front::V4(front, sum), IpAddr::V4(destination)) => {
                front.ip.set_destination(destination);
                *sum = sum.map(|_| front.ip.sum_without_len());
            }
            (Front::V6(front), IpAddr::V6(destination)) => front.ip.set_destination(destination),
            _ => return false,
        }
        self.pseudo = crate::udp::pseudo_header(self.source, destination, 0);
        true
    }

    #[inline]
    fn is_valid(&self, now: Instant, changes: Changes, destination: IpAddr) -> bool {
        self.destination == destination && self.changes == changes && now < self.until
    }

    /// Whether a packet's window goes in one piece as a payload, and has room for headers before it.
    #[inline]
    pub(crate) fn fits(&self, packet: &Packet) -> bool {
        const ROOM: usize = size_of::<FrontV6>() + udp::HEADER_LEN;
        packet.len() + udp::HEADER_LEN + usize::from(self.header_len) <= self.mtu.into()
            && packet.headroom() >= ROOM
    }

    /// The largest IP datagram, in bytes with its header, that is sent in one piece, and the length of that
    /// header.
    pub(crate) fn lengths(&self) -> (u16, u16) {
        (self.mtu, self.header_len)
    }

    /// Lets it be of this flow (RFC 6437).
    pub(crate) fn set_flow(&mut self, flow: Flow, label: impl FnOnce(Ipv6Addr, Ipv6Addr) -> u32) {
        self.flow = flow;
        if let Front::V6(front) = &mut self.front {
            front.ip.set_flow_label(label(front.ip.source(), front.ip.destination()));
        }
    }

    /// Writes all headers in front of a packet that fits. `checksum` is UDP's, if that is known.
    #[inline(never)]
    pub(crate) fn write(&mut self, packet: &mut Packet, checksum: Option<[u8; 2]>) -> bool {
        self.used = true;
        let (from, to) = self.flow;
        let pseudo = self.pseudo;
        let written = match checksum {
            _ if self.fills_udp => udp::Header::emit_with(packet, from, to, [0; 2]),
            Some(checksum) => udp::Header::emit_with(packet, from, to, checksum),
            None => udp::Header::emit(packet, from, to, Some(|length| pseudo.add_u16(length))),
        };
        let length = packet.len() as u16;
        written
            && match &mut self.front {
                Front::V4(front, sum) => {
                    front.ip.set_len(length, *sum);
                    let room = packet.prepend(size_of::<FrontV4>());
                    room.is_some_and(|room| front.write_to(room).is_ok())
                }
                Front::V6(front) => {
                    front.ip.set_payload_len(length);
                    let room = packet.prepend(size_of::<FrontV6>());
                    room.is_some_and(|room| front.write_to(room).is_ok())
                }
            }
    }
}
