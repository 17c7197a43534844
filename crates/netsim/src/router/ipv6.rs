use std::net::{IpAddr, Ipv6Addr};

use mnet_proto::wire::ethernet::IPV6;
use mnet_proto::wire::ipv6::{
    Fields, HEADER_LEN, Header, ICMP, MIN_MTU, is_host_address, multicast_mac,
};
use mnet_proto::wire::ndp::{self, Message};
use mnet_proto::wire::{icmpv6, ipv4};
use netdev::{Instant, Mac, Packet};

use super::{Router, quote};

/// Where the hop limit is.
const HOP_LIMIT: usize = 7;
/// What neighbour discovery is sent with, so that nobody sends it from afar (RFC 4861 §3.1).
const NDP_HOP_LIMIT: u8 = 255;

impl Router {
    pub(super) fn handle_ipv6(
        &mut self,
        now: Instant,
        via: usize,
        to_us_alone: bool,
        bytes: &[u8],
    ) {
        self.stats.received += 1;
        let Ok(header) = Header::parse(bytes) else {
            self.stats.malformed += 1;
            return;
        };
        let (source, destination) = (header.source(), header.destination());
        // What is behind the datagram is the frame's padding.
        let datagram = &bytes[..HEADER_LEN + header.payload_len()];
        if self.is_in(via, destination) || self.is_own(via, destination.into()) {
            self.stats.taken += 1;
            return self.take_ipv6(now, via, header, datagram);
        }
        let is_local = destination.is_unicast_link_local();
        if !is_host_address(source) || !is_host_address(destination) || is_local || !to_us_alone {
            self.stats.not_forwarded += 1;
            return;
        }
        let unreachable = icmpv6::DESTINATION_UNREACHABLE;
        if source.is_unicast_link_local() {
            self.stats.not_forwarded += 1;
            let code = icmpv6::BEYOND_SCOPE;
            return self.send_icmpv6_error(now, via, unreachable, code, [0; 4], datagram);
        }
        if header.hop_limit <= 1 {
            self.stats.hop_limit += 1;
            let (kind, code) = (icmpv6::TIME_EXCEEDED, icmpv6::HOP_LIMIT);
            return self.send_icmpv6_error(now, via, kind, code, [0; 4], datagram);
        }
        let Some((out, next_hop)) = self.lookup(via, destination.into()) else {
            self.stats.no_route += 1;
            let code = icmpv6::NO_ROUTE;
            return self.send_icmpv6_error(now, via, unreachable, code, [0; 4], datagram);
        };
        let mtu = self.interfaces[out].mtu;
        if datagram.len() > mtu.into() {
            self.stats.too_big += 1;
            let rest = u32::from(mtu).to_be_bytes();
            return self.send_icmpv6_error(now, via, icmpv6::PACKET_TOO_BIG, 0, rest, datagram);
        }
        if self.redirects && out == via {
            self.redirect(now, via, source, destination, next_hop, datagram);
        }
        let mut datagram = datagram.to_vec();
        datagram[HOP_LIMIT] -= 1;
        self.send(now, (out, next_hop), datagram);
    }

    /// Answers what is for the router itself, or for a group that it may be in.
    fn take_ipv6(&mut self, now: Instant, via: usize, header: &Header, datagram: &[u8]) {
        let (source, destination) = (header.source(), header.destination());
        let message = &datagram[HEADER_LEN..];
        if header.next_header == ipv4::UDP && !destination.is_multicast() {
            let (kind, code) = (icmpv6::DESTINATION_UNREACHABLE, icmpv6::PORT);
            return self.send_icmpv6_error(now, via, kind, code, [0; 4], datagram);
        }
        if header.next_header != ICMP {
            return;
        }
        let Some(icmp) = icmpv6::Header::parse(message, source, destination) else { return };
        if icmp.kind == icmpv6::ECHO_REQUEST && is_host_address(source) {
            let is_local = source.is_unicast_link_local();
            let interface = &self.interfaces[via];
            let own = match destination.is_multicast() {
                true if is_local => interface.link_local,
                true => interface.ipv6(),
                false => destination,
            };
            let (rest, body) = (icmp.rest, &message[icmpv6::HEADER_LEN..]);
            return self.send_icmpv6(now, via, (own, source), icmpv6::ECHO_REPLY, 0, rest, body);
        }
        if header.hop_limit != NDP_HOP_LIMIT {
            return;
        }
        match Message::parse(icmp.kind, message) {
            Some(Message::NeighborSolicit { target, options }) => {
                self.handle_neighbor_solicit(now, via, source, target, options.source_link());
            }
            Some(Message::NeighborAdvert { target, options, .. }) => {
                if let Some(mac) = options.target_link() {
                    self.learn(now, via, target.into(), mac, false);
                }
            }
            Some(Message::RouterSolicit { options }) => {
                if let Some(mac) = options.source_link().filter(|_| is_host_address(source)) {
                    self.learn(now, via, source.into(), mac, true);
                }
                self.send_advertisement(via);
            }
            // Other routers' affairs.
            _ => {}
        }
    }

    /// Tells a neighbour of the neighbour that it should send to (RFC 4861 §8.2).
    fn redirect(
        &mut self,
        now: Instant,
        via: usize,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_hop: IpAddr,
        datagram: &[u8],
    ) {
        let IpAddr::V6(target) = next_hop else { return };
        let interface = &self.interfaces[via];
        let from_neighbor = interface.addresses.iter().any(|cidr| cidr.contains(source.into()));
        // A better router is named by its link-local address, which is not known here of others.
        if !from_neighbor || target != destination {
            return;
        }
        let own = interface.link_local;
        let longest = usize::from(MIN_MTU) - HEADER_LEN - 48;
        let quoted = quote(datagram, longest, 0);
        let message = self.build(|packet| {
            ndp::redirect(packet, target, destination, None, Some(quoted), own, source)
                && emit(packet, own, source, NDP_HOP_LIMIT)
        });
        if let Some(message) = message {
            self.stats.originated += 1;
            self.stats.errors += 1;
            self.send(now, (via, source.into()), message);
        }
    }

    /// Tells a datagram's sender what became of it, unless nobody is to be told (RFC 4443 §2.4).
    pub(super) fn send_icmpv6_error(
        &mut self,
        now: Instant,
        via: usize,
        kind: u8,
        code: u8,
        rest: [u8; 4],
        datagram: &[u8],
    ) {
        let Ok(header) = Header::parse(datagram) else { return };
        let first = datagram.get(HEADER_LEN);
        let of_error = header.next_header == ICMP
            && first.is_none_or(|&kind| kind < icmpv6::ECHO_REQUEST || kind == icmpv6::REDIRECT);
        let source = header.source();
        if of_error || !is_host_address(source) || self.is_own(via, source.into()) {
            return;
        }
        let Some((out, _)) = self.lookup(via, source.into()) else { return };
        let interface = &self.interfaces[out];
        let is_local = source.is_unicast_link_local();
        let own = if is_local { interface.link_local } else { interface.ipv6() };
        self.stats.errors += 1;
        let quoted = quote(datagram, MIN_MTU.into(), HEADER_LEN + icmpv6::HEADER_LEN);
        self.send_icmpv6(now, via, (own, source), kind, code, rest, quoted);
    }

    #[expect(clippy::too_many_arguments, reason = "they are the message")]
    fn send_icmpv6(
        &mut self,
        now: Instant,
        via: usize,
        (source, destination): (Ipv6Addr, Ipv6Addr),
        kind: u8,
        code: u8,
        rest: [u8; 4],
        body: &[u8],
    ) {
        let datagram = self.build(|packet| {
            packet.append(body.len()).map(|to| to.copy_from_slice(body)).is_some()
                && icmpv6::Header::emit(packet, kind, code, rest, source, destination)
                && emit(packet, source, destination, 64)
        });
        let Some(datagram) = datagram else { return };
        self.stats.originated += 1;
        match self.lookup(via, destination.into()) {
            Some(hop) => self.send(now, hop, datagram),
            None => self.stats.no_route += 1,
        }
    }

    /// Sends a message of neighbour discovery, written by `message`, to who is known.
    pub(super) fn send_ndp(
        &mut self,
        out: usize,
        to: Mac,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        message: impl FnOnce(&mut Packet) -> bool,
    ) {
        let datagram = self
            .build(|packet| message(packet) && emit(packet, source, destination, NDP_HOP_LIMIT));
        if let Some(datagram) = datagram {
            self.transmit(out, to, IPV6, &datagram);
        }
    }

    /// The Ethernet address of a group is made of the group's.
    pub(super) fn send_ndp_to_group(
        &mut self,
        out: usize,
        group: Ipv6Addr,
        message: impl FnOnce(&mut Packet) -> bool,
    ) {
        let own = self.interfaces[out].link_local;
        self.send_ndp(out, multicast_mac(group), own, group, message);
    }
}

/// Writes a header in front of an ICMPv6 message.
fn emit(packet: &mut Packet, source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8) -> bool {
    let fields = Fields {
        source,
        destination,
        next_header: ICMP,
        hop_limit,
        traffic_class: 0,
        flow_label: 0,
    };
    Header::emit(packet, &fields)
}
