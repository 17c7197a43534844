//! How a datagram leaves: its header, the neighbour it goes to, and, if it is too long, the pieces
//! that it goes in (RFC 791 §2.3, RFC 8200 §4.5).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netdev::{Instant, Mac, Packet};

use super::destinations::Flow;
use super::{Cast, Ip, Metadata, Received, Route, SendError, SendOptions, selection};
use crate::icmp::{self, IcmpError};
use crate::keyed::ByAddress;
use crate::multicast::Report;
use crate::neighbor::{Action, Evidence, Lookup, Resolved, Unresolved, Wait, arp, ndp};
use crate::stats::Drop;
use crate::wire::{ethernet, icmpv6, igmp, ipv4, ipv6, udp};

mod fragments;
mod known;

pub(super) use self::fragments::can_cut;
pub(crate) use self::known::Unsent;

/// The traffic class of what IGMP says of groups: Internetwork Control (RFC 3376 §4).
const GROUP_CONTROL: u8 = 0xc0;

impl Ip {
    /// Sends a packet's window as the payload of a datagram.
    #[inline]
    pub(crate) fn send(
        &mut self,
        now: Instant,
        route: &Route,
        protocol: u8,
        options: &SendOptions,
        mut packet: Packet,
    ) -> Result<(), SendError> {
        let fits = route.fits(packet.len(), options);
        if !fits && options.dont_fragment {
            return Err(SendError::PacketTooBig { mtu: route.mtu });
        }
        // RFC 1122 §3.2.1.7: nothing is sent with a TTL of zero.
        if options.hop_limit == Some(0) {
            return Err(SendError::RouteNotFound);
        }
        if !self.emit(route, protocol, options, fits, &mut packet) {
            self.count(Drop::NoPacket);
            return Err(SendError::NoBuffer);
        }
        self.hand_on(now, route, protocol, packet)
    }

    /// Sends a packet's window as an ICMP message over IPv4, with these options in the header: a
    /// multiple of 4 bytes. `false` if it is known that it will not arrive.
    #[inline(never)]
    pub(crate) fn send_icmp(
        &mut self,
        now: Instant,
        route: &Route,
        traffic_class: u8,
        of_header: &[u8],
        mut packet: Packet,
    ) -> bool {
        let options = SendOptions { traffic_class, ..SendOptions::default() };
        let mut emitted = self.emit(route, ipv4::ICMP, &options, false, &mut packet);
        if let (false, Ok(&header)) = (of_header.is_empty(), ipv4::Header::parse(packet.bytes())) {
            packet.trim_front(ipv4::HEADER_LEN);
            let (whole, all) = ((&header, of_header), (0, false));
            let checksum = !self.link.checksums.fills_ipv4;
            emitted = ipv4::Header::emit_fragment(&mut packet, whole, all, checksum);
        }
        if !emitted {
            self.count(Drop::NoPacket);
        }
        emitted && self.hand_on(now, route, ipv4::ICMP, packet).is_ok()
    }

    /// Sends a packet's window, a UDP datagram.
    #[inline]
    pub(super) fn send_udp_by(
        &mut self,
        now: Instant,
        route: &Route,
        flow: Flow,
        options: &SendOptions,
        packet: Packet,
    ) -> Result<(), SendError> {
        let slot = self.destinations.slot(route.destination).ok();
        let again = slot.map(|slot| self.destinations.at(slot).flows().note(flow));
        let plain = *options == SendOptions::default();
        self.send(now, route, ipv4::UDP, options, packet)?;
        if let Some(again) = again.filter(|_| plain) {
            self.learn_template(now, route, flow, again);
        }
        Ok(())
    }

    /// Hands a datagram to the next hop, or lets it wait for that.
    #[inline]
    fn hand_on(
        &mut self,
        now: Instant,
        route: &Route,
        protocol: u8,
        packet: Packet,
    ) -> Result<(), SendError> {
        let mac = match self.group_mac(route.next_hop) {
            Some(mac) => mac,
            None => match self.neighbors.lookup(now, route.next_hop) {
                Lookup::Found(mac) => mac,
                Lookup::Unresolved(_) if !self.may_wait(protocol, route.next_hop, &packet) => {
                    self.count(Drop::NeighborQueueFull);
                    return Err(SendError::NoBuffer);
                }
                Lookup::Unresolved(neighbor) => return self.wait(now, route, neighbor, packet),
                Lookup::Failed => {
                    self.count(Drop::NeighborUnreachable);
                    return Err(SendError::DestinationUnreachable(IcmpError::HostUnreachable));
                }
            },
        };
        self.transmit(packet, mac, route.mtu)
    }

    /// Lets a datagram wait for its next hop.
    fn wait(
        &mut self,
        now: Instant,
        route: &Route,
        neighbor: Unresolved,
        packet: Packet,
    ) -> Result<(), SendError> {
        let wait = self.neighbors.wait(now, neighbor, packet, route.mtu);
        if wait == Wait::Asks {
            self.solicit(now, route.next_hop, None);
        }
        self.perform(now);
        if wait == Wait::Refused { Err(SendError::NoBuffer) } else { Ok(()) }
    }

    /// Whether a packet may wait for a neighbour, who may not exist: of the pool a quarter may, half
    /// of that for what the host answers, and an eighth of the room for large packets stays free.
    fn may_wait(&self, protocol: u8, next_hop: IpAddr, packet: &Packet) -> bool {
        let pool = &self.link.pool;
        let share = if protocol == ipv4::UDP { 4 } else { 8 };
        let large = !packet.is_large() || pool.large_available() >= pool.large_capacity() / 8;
        // For a router there is always room: there are not so many.
        large && self.neighbors.waiting() < (pool.capacity() / share).max(1)
            || self.routes.is_gateway(next_hop)
    }

    /// Writes the header in front of what is to be sent.
    #[inline]
    fn emit(
        &mut self,
        route: &Route,
        protocol: u8,
        options: &SendOptions,
        fits: bool,
        packet: &mut Packet,
    ) -> bool {
        let &SendOptions { hop_limit, traffic_class, router_alert, .. } = options;
        match (route.source, route.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let usual = if destination.is_multicast() { 1 } else { self.v4.hop_limit };
                // What an ICMP message says of the path of another is not listened to (see
                // `icmp`): those may be fragmented on the way.
                let dont_fragment = fits && protocol != ipv4::ICMP;
                let fields = ipv4::Fields {
                    source,
                    destination,
                    protocol,
                    hop_limit: hop_limit.unwrap_or(usual),
                    traffic_class,
                    // Of a datagram that nobody may fragment it means nothing (RFC 6864 §4.1).
                    identification: if dont_fragment { 0 } else { self.identifications.next() },
                    dont_fragment,
                    router_alert,
                };
                ipv4::Header::emit(packet, &fields, !self.link.checksums.fills_ipv4)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.emit_v6((source, destination), protocol, options, packet)
            }
            _ => false,
        }
    }

    #[inline(never)]
    fn emit_v6(
        &self,
        (source, destination): (Ipv6Addr, Ipv6Addr),
        protocol: u8,
        options: &SendOptions,
        packet: &mut Packet,
    ) -> bool {
        let &SendOptions { hop_limit, traffic_class, router_alert, .. } = options;
        let flow = udp::ports(packet.bytes()).filter(|_| protocol == ipv4::UDP);
        let flow_label = flow.map_or(0, |flow| flow_label(self.flows, source, destination, flow));
        let mut next_header = protocol;
        if router_alert {
            let option = ipv6::ROUTER_ALERT_HOP_BY_HOP(protocol);
            let Some(bytes) = packet.prepend(option.len()) else { return false };
            bytes.copy_from_slice(&option);
            next_header = ipv6::HOP_BY_HOP;
        }
        let usual = if destination.is_multicast() { 1 } else { self.v6.hop_limit };
        let fields = ipv6::Fields {
            source,
            destination,
            next_header,
            hop_limit: hop_limit.unwrap_or(usual),
            traffic_class,
            flow_label,
        };
        ipv6::Header::emit(packet, &fields)
    }

    /// The Ethernet address of everybody, or of a group; `None` of a host's.
    #[inline]
    fn group_mac(&self, address: IpAddr) -> Option<Mac> {
        match address {
            IpAddr::V4(group) if group.is_multicast() => Some(ipv4::multicast_mac(group)),
            IpAddr::V4(address) => self.v4.is_broadcast(address).then_some(Mac::BROADCAST),
            IpAddr::V6(group) => group.is_multicast().then(|| ipv6::multicast_mac(group)),
        }
    }

    /// Hands a datagram to the link, in pieces of at most `mtu` bytes.
    #[inline]
    fn transmit(&mut self, packet: Packet, mac: Mac, mtu: u16) -> Result<(), SendError> {
        let version_6 = packet.bytes().first().is_some_and(|first| first >> 4 == 6);
        let ethertype = if version_6 { ethernet::IPV6 } else { ethernet::IPV4 };
        if packet.len() <= mtu.into() {
            let sent = self.link.send(packet, mac, ethertype, &mut self.stats);
            return if sent { Ok(()) } else { Err(SendError::NoBuffer) };
        }
        self.send_fragments(packet, mac, mtu).ok_or_else(|| {
            self.count(Drop::NoPacket);
            SendError::NoBuffer
        })
    }

    /// Asks for a neighbour's address: everybody, or the one who is believed to have it.
    fn solicit(&mut self, now: Instant, address: IpAddr, mac: Option<Mac>) {
        match address {
            IpAddr::V4(address) => arp::request(self, address, mac),
            IpAddr::V6(address) => ndp::solicit(self, now, address, mac),
        }
    }

    /// Takes note of a neighbour's address, and sends it what has waited for that.
    pub(crate) fn learn(&mut self, now: Instant, address: IpAddr, mac: Mac, evidence: Evidence) {
        let resolved = self.neighbors.learn(now, address, mac, evidence);
        self.send_waiting(resolved);
        self.perform(now);
    }

    /// Sends what has waited for a neighbour whose address is known now.
    pub(crate) fn send_waiting(&mut self, neighbor: Option<Resolved>) {
        let Some(neighbor) = neighbor else { return };
        while let Some((packet, mac, mtu)) = self.neighbors.poll_waiting(neighbor) {
            // What cannot be cut into pieces is counted there.
            let _ = self.transmit(packet, mac, mtu);
        }
    }

    /// Does what the neighbour cache asks for.
    pub(crate) fn perform(&mut self, now: Instant) {
        while let Some(action) = self.neighbors.poll_action() {
            self.perform_one(now, action);
        }
    }

    #[inline(never)]
    fn perform_one(&mut self, now: Instant, action: Action) {
        match action {
            Action::Solicit(address, mac) => self.solicit(now, address, mac),
            Action::Count(reason) => self.count(reason),
            Action::GiveUp(packet) => {
                self.count(Drop::NeighborUnreachable);
                self.report(icmp::undelivered(packet.bytes()));
            }
            Action::Unreachable(neighbor) => {
                self.routes.failed(neighbor);
                self.destinations.remove_redirects(neighbor);
                self.destinations.invalidate();
            }
        }
    }

    /// Takes an IGMP message that has come: the packet's window is what IP carried.
    pub(crate) fn receive_igmp(&mut self, now: Instant, received: &Received) {
        let Received { packet, .. } = received;
        let metadata = Metadata::of(packet);
        let (IpAddr::V4(source), IpAddr::V4(mut to)) = (metadata.source, metadata.destination)
        else {
            return;
        };
        // Nobody from afar asks for groups. What is sent to all systems comes from the link, if from
        // another subnet on it.
        let from_link = to == igmp::ALL_SYSTEMS || self.is_on_link(source.into());
        if !source.is_unspecified() && !from_link {
            return self.count(Drop::MulticastMalformed);
        }
        // RFC 3376 §4.1.12 lets a query come to any of the host's addresses.
        if metadata.cast == Cast::Unicast && metadata.hop_limit == 1 && metadata.router_alert {
            to = igmp::ALL_SYSTEMS;
        }
        if let Err(ignored) = self.multicast.handle_igmp(now, source, to, packet.bytes()) {
            self.count(ignored.into());
        }
    }

    /// Tells the link's routers what groups the host is in.
    pub(crate) fn report_groups(&mut self, now: Instant) {
        let header_len = ipv6::HEADER_LEN + ipv6::ROUTER_ALERT_HOP_BY_HOP(0).len();
        let max = usize::from(self.link.mtu.min(self.v6.mtu)).saturating_sub(header_len);
        while let Some(report) = self.multicast.poll_transmit(now, max) {
            match self.send_report(now, report) {
                Some(()) => self.stats.group_reports += 1,
                None => self.count(Drop::NoPacket),
            }
        }
    }

    fn send_report(&mut self, now: Instant, report: Report) -> Option<()> {
        let mut packet = self.link.pool.take()?;
        let message = report.message.as_slice();
        let destination = report.destination;
        let (source, protocol, header_len, traffic_class) = match destination {
            IpAddr::V4(group) => {
                packet.append(message.len())?.copy_from_slice(message);
                // Who has no address yet says so all the same (RFC 3376 §4.2.13).
                let source = selection::source_v4(self, group, group);
                let source = source.unwrap_or(Ipv4Addr::UNSPECIFIED);
                (IpAddr::V4(source), ipv4::IGMP, ipv4::HEADER_LEN, GROUP_CONTROL)
            }
            IpAddr::V6(group) => {
                // RFC 3590 §4: from the address for the link, or from none before there is one.
                let source = self.v6.link_local().unwrap_or(Ipv6Addr::UNSPECIFIED);
                let (&[kind, code, _, _, a, b, c, d], body) = message.split_first_chunk()?;
                packet.append(body.len())?.copy_from_slice(body);
                let rest = [a, b, c, d];
                icmpv6::Header::emit(&mut packet, kind, code, rest, source, group).then_some(())?;
                (IpAddr::V6(source), ipv6::ICMP, ipv6::HEADER_LEN, 0)
            }
        };
        let (next_hop, mtu, header_len) = (destination, self.link.mtu, header_len as u16);
        let route = Route { destination, source, next_hop, mtu, header_len };
        let options = SendOptions {
            hop_limit: Some(1),
            traffic_class,
            router_alert: true,
            ..SendOptions::default()
        };
        self.send(now, &route, protocol, &options, packet).ok()
    }
}

/// The same for all that goes from one port to the other, and hard to guess; zero would say that there is
/// none (RFC 6437 §3).
fn flow_label(keyed: ByAddress, source: Ipv6Addr, destination: Ipv6Addr, flow: Flow) -> u32 {
    (keyed.hash_flow((source, destination), flow) >> 44).max(1) as u32
}
