//! Sending by what is known of the way: by the template of a destination, or that of the router which it is
//! behind.

use core::net::IpAddr;

use netdev::{Instant, Packet};

use super::flow_label;
use crate::ip::destinations::{Absent, Flow};
use crate::ip::templates::{Changes, Template};
use crate::ip::{Ip, Route, SendError, selection};
use crate::neighbor::Lookup;
use crate::wire::{ethernet, ipv4};

/// Why a datagram has not been sent by what was known of the way.
pub(crate) enum Unsent {
    /// That is not enough, or too old: the packet is as it was, and can be sent as any other.
    Unknown(Packet),
    /// It is known that it will not arrive.
    Failed(SendError),
}

impl Ip {
    /// Sends a packet's window as the payload of a UDP datagram, with nothing asked for, by what is
    /// known already of the way. `checksum` is the datagram's, if that is known.
    ///
    /// # Errors
    /// [`Unsent`], which says why not.
    #[inline]
    pub(crate) fn send_known(
        &mut self,
        now: Instant,
        ends: (Option<IpAddr>, IpAddr),
        flow: Flow,
        checksum: Option<[u8; 2]>,
        mut packet: Packet,
    ) -> Result<(), Unsent> {
        let changes = self.changes();
        let slot = match self.destinations.slot(ends.1) {
            Ok(slot) => slot,
            Err(absent) => return self.send_by_router(now, absent, ends, flow, checksum, packet),
        };
        let known = self.destinations.at(slot);
        let Some((template, flows)) = known.template(now, changes, ends.0) else {
            if !known.has_template() {
                return Err(Unsent::Unknown(packet));
            }
            return self.send_renewed(now, slot, ends.0, flow, checksum, packet);
        };
        // Others may have gone there without the template since.
        flows.note(flow);
        if template.flow != flow {
            template.set_flow(flow, |from, to| flow_label(self.flows, from, to, flow));
        }
        if !template.write(&mut packet, checksum) {
            return self.send_known_in_pieces(slot, checksum, packet);
        }
        self.link.send_frame(packet, &mut self.stats);
        Ok(())
    }

    /// The same to a destination whose template is too old, or not for this source.
    #[inline(never)]
    fn send_renewed(
        &mut self,
        now: Instant,
        slot: usize,
        source: Option<IpAddr>,
        flow: Flow,
        checksum: Option<[u8; 2]>,
        mut packet: Packet,
    ) -> Result<(), Unsent> {
        let Some(route) = self.destinations.route_at(now, slot, source) else {
            return Err(Unsent::Unknown(packet));
        };
        let neighbor = self.neighbors.lookup(now, route.next_hop);
        let settled = match neighbor {
            Lookup::Found(_) => self.neighbors.settled(route.next_hop),
            Lookup::Unresolved(_) if self.may_wait(ipv4::UDP, route.next_hop, &packet) => None,
            Lookup::Unresolved(_) | Lookup::Failed => return Err(Unsent::Unknown(packet)),
        };
        let changes = self.changes();
        let Some((template, flows)) = self.destinations.at(slot).old_template() else {
            return Err(Unsent::Unknown(packet));
        };
        template.set_mtu(route.mtu);
        if let Some((mac, until)) = settled {
            template.renew((now, until), changes, mac);
        }
        flows.note(flow);
        template.set_flow(flow, |from, to| flow_label(self.flows, from, to, flow));
        if !template.write(&mut packet, checksum) {
            return Err(Unsent::Unknown(packet));
        }
        if let Lookup::Unresolved(neighbor) = neighbor {
            packet.trim_front(ethernet::HEADER_LEN);
            return self.wait(now, &route, neighbor, packet).map_err(Unsent::Failed);
        }
        self.link.send_frame(packet, &mut self.stats);
        Ok(())
    }

    #[inline]
    fn changes(&self) -> Changes {
        Changes(self.destinations.changes(), self.neighbors.changes())
    }

    /// The same to a destination of which nothing is known but that it is behind a router for which
    /// there is a template: so that it costs little to answer many.
    #[inline(never)]
    fn send_by_router(
        &mut self,
        now: Instant,
        absent: Absent,
        (source, destination): (Option<IpAddr>, IpAddr),
        flow: Flow,
        checksum: Option<[u8; 2]>,
        mut packet: Packet,
    ) -> Result<(), Unsent> {
        // What goes in pieces needs no look at the routes yet.
        if packet.len() > self.link.mtu.into() {
            return Err(Unsent::Unknown(packet));
        }
        let Some(next_hop) = selection::router(self, destination) else {
            return Err(Unsent::Unknown(packet));
        };
        let by_request = source.is_some();
        let own = || selection::source(self, now, destination, next_hop);
        let Some(source) = source.or_else(own) else { return Err(Unsent::Unknown(packet)) };
        let changes = self.changes();
        let Some(template) = self.by_router.get(now, changes, next_hop, source) else {
            return Err(Unsent::Unknown(packet));
        };
        template.readdress(destination);
        template.set_flow(flow, |from, to| flow_label(self.flows, from, to, flow));
        if !template.write(&mut packet, checksum) {
            return Err(Unsent::Unknown(packet));
        }
        let (mtu, header_len) = template.lengths();
        let route = Route { destination, source, next_hop, mtu, header_len };
        self.destinations.begin(absent, route, by_request, flow);
        self.link.send_frame(packet, &mut self.stats);
        Ok(())
    }

    /// Makes a template of the datagram that was sent last, by this route, if one is of use and not there:
    /// for a destination that is sent to `again`, or is behind a router, which then has one too.
    #[inline(never)]
    pub(super) fn learn_template(
        &mut self,
        now: Instant,
        sent_by: &Route,
        flow: Flow,
        again: bool,
    ) -> Option<()> {
        let &Route { destination, source, next_hop, .. } = sent_by;
        if !again && next_hop == destination {
            return None;
        }
        let (changes, generation) = (self.changes(), self.destinations.generation());
        let settled = self.neighbors.settled(next_hop);
        let known = self.destinations.slot(destination).ok()?;
        let known = self.destinations.at(known);
        let needed = if again {
            !known.has_template()
        } else {
            settled.is_some() && self.by_router.get(now, changes, next_hop, source).is_none()
        };
        let route = *known.route(generation).filter(|_| needed)?;
        let datagram = match settled {
            Some(_) => self.link.newest()?.bytes().get(ethernet::HEADER_LEN..)?,
            None => self.neighbors.waits_last(next_hop)?.bytes(),
        };
        let (checksums, card) = (self.link.checksums, self.link.mac);
        let mut template = Template::of(datagram, &route, flow, checksums, card)?;
        if let Some((mac, until)) = settled {
            template.renew((now, until), changes, mac);
            let link_mtu = if destination.is_ipv4() { self.v4.mtu } else { self.v6.mtu };
            if route.next_hop != destination && route.mtu == link_mtu {
                self.by_router.set(&route, template.clone());
            }
        }
        known.set_template(template);
        Some(())
    }
}
