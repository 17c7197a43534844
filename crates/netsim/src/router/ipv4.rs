use std::net::{IpAddr, Ipv4Addr};

use mnet_proto::wire::ipv4::{Fields, HEADER_LEN, Header, ICMP, UDP, checksum_is_valid};
use mnet_proto::wire::{Checksum, icmpv4};
use netdev::Instant;

use super::{Router, quote};

/// The longest ICMP error (RFC 1812 §4.3.2.3).
const MAX_ERROR: usize = 576;
/// The most a fragment holds, so that it fits into the packet in which it is made.
const MAX_FRAGMENT: usize = 65_000;
/// Where the TTL and the checksum are.
const TTL: usize = 8;
const CHECKSUM: std::ops::Range<usize> = 10..12;

impl Router {
    pub(super) fn handle_ipv4(
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
        if !checksum_is_valid(bytes, header.header_len()) {
            self.stats.malformed += 1;
            return;
        }
        let (source, destination) = (header.source(), header.destination());
        // What is behind the datagram is the frame's padding.
        let datagram = &bytes[..header.total_len()];
        if self.is_own(via, destination.into()) {
            self.stats.taken += 1;
            return self.take_ipv4(now, header, datagram);
        }
        let is_to_many = destination.is_multicast() || self.is_broadcast(destination);
        if is_to_many || !to_us_alone || !is_host(source) || !is_host(destination) {
            self.stats.not_forwarded += 1;
            return;
        }
        if header.hop_limit <= 1 {
            self.stats.hop_limit += 1;
            let (kind, code) = (icmpv4::TIME_EXCEEDED, icmpv4::TTL);
            return self.send_icmpv4_error(now, kind, code, [0; 4], datagram);
        }
        let unreachable = icmpv4::DESTINATION_UNREACHABLE;
        let Some((out, next_hop)) = self.lookup(via, destination.into()) else {
            self.stats.no_route += 1;
            let code = icmpv4::NETWORK_UNREACHABLE;
            return self.send_icmpv4_error(now, unreachable, code, [0; 4], datagram);
        };
        let mtu = self.interfaces[out].mtu;
        if datagram.len() > mtu.into() && header.dont_fragment() {
            self.stats.too_big += 1;
            let [high, low] = mtu.to_be_bytes();
            let code = icmpv4::FRAGMENTATION_NEEDED;
            return self.send_icmpv4_error(now, unreachable, code, [0, 0, high, low], datagram);
        }
        let from_neighbor =
            self.interfaces[via].addresses.iter().any(|cidr| cidr.contains(source.into()));
        if let IpAddr::V4(better) = next_hop
            && self.redirects
            && out == via
            && from_neighbor
        {
            // Code 1: for this host.
            self.send_icmpv4_error(now, icmpv4::REDIRECT, 1, better.octets(), datagram);
        }
        self.send(now, (out, next_hop), one_hop_less(datagram, header.header_len()));
    }

    fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        let mut all = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        address.is_broadcast() || all.any(|cidr| cidr.is_broadcast(address.into()))
    }

    /// Answers what is for the router itself.
    fn take_ipv4(&mut self, now: Instant, header: &Header, datagram: &[u8]) {
        let message = &datagram[header.header_len()..];
        if header.is_fragment() || !is_host(header.source()) {
            return;
        }
        match header.protocol {
            ICMP => {
                let Some(echo) = icmpv4::Header::parse(message) else { return };
                if echo.kind == icmpv4::ECHO_REQUEST {
                    let (rest, body) = (echo.rest, &message[icmpv4::HEADER_LEN..]);
                    let addresses = (header.destination(), header.source());
                    self.send_icmpv4(now, addresses, icmpv4::ECHO_REPLY, 0, rest, body);
                }
            }
            UDP => {
                let (kind, code) = (icmpv4::DESTINATION_UNREACHABLE, icmpv4::PORT_UNREACHABLE);
                self.send_icmpv4_error(now, kind, code, [0; 4], datagram);
            }
            _ => {}
        }
    }

    /// Tells a datagram's sender what became of it, unless nobody is to be told (RFC 1122 §3.2.2).
    pub(super) fn send_icmpv4_error(
        &mut self,
        now: Instant,
        kind: u8,
        code: u8,
        rest: [u8; 4],
        datagram: &[u8],
    ) {
        let Ok(header) = Header::parse(datagram) else { return };
        let message = &datagram[header.header_len()..];
        let of_error =
            header.protocol == ICMP && message.first().is_none_or(|&kind| is_error(kind));
        if of_error || header.fragment_offset() != 0 || !is_host(header.source()) {
            return;
        }
        let source = header.source();
        // RFC 1812 §4.3.2.4: it comes from the address of the interface from which it is sent.
        let out = self.lookup(0, source.into());
        let own = out.and_then(|(out, _)| self.interfaces[out].ipv4());
        let Some(own) = own.filter(|_| !self.is_own(0, source.into())) else { return };
        self.stats.errors += 1;
        let quoted = quote(datagram, MAX_ERROR, HEADER_LEN + icmpv4::HEADER_LEN);
        self.send_icmpv4(now, (own, source), kind, code, rest, quoted);
    }

    fn send_icmpv4(
        &mut self,
        now: Instant,
        (source, destination): (Ipv4Addr, Ipv4Addr),
        kind: u8,
        code: u8,
        rest: [u8; 4],
        body: &[u8],
    ) {
        let fields = Fields {
            source,
            destination,
            protocol: ICMP,
            hop_limit: 64,
            traffic_class: 0,
            identification: 0,
            dont_fragment: false,
            router_alert: false,
        };
        let datagram = self.build(|packet| {
            packet.append(body.len()).map(|to| to.copy_from_slice(body)).is_some()
                && icmpv4::Header::emit(packet, kind, code, rest)
                && Header::emit(packet, &fields, true)
        });
        let Some(datagram) = datagram else { return };
        self.stats.originated += 1;
        match self.lookup(0, destination.into()) {
            Some(hop) => self.send(now, hop, datagram),
            None => self.stats.no_route += 1,
        }
    }
}

/// The datagram in fragments that fit into `mtu`.
pub(super) fn fragments(router: &Router, datagram: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let Ok(header) = Header::parse(datagram) else { return Vec::new() };
    let payload = &datagram[header.header_len()..];
    let room = (mtu.saturating_sub(HEADER_LEN).min(MAX_FRAGMENT) / 8 * 8).max(8);
    let parts = payload.chunks(room).enumerate();
    let made = parts.filter_map(|(number, part)| {
        let offset = number * room;
        let last = offset + part.len() == payload.len();
        // What is in fragments already may be fragmented further.
        let more = !last || header.more_fragments();
        let offset = header.fragment_offset() + offset;
        router.build(|packet| {
            packet.append(part.len()).map(|to| to.copy_from_slice(part)).is_some()
                && Header::emit_fragment(packet, (header, &[]), (offset, more), true)
        })
    });
    made.collect()
}

/// The datagram as it is passed on.
fn one_hop_less(datagram: &[u8], header_len: usize) -> Vec<u8> {
    let mut datagram = datagram.to_vec();
    datagram[TTL] -= 1;
    datagram[CHECKSUM].fill(0);
    let checksum = Checksum::new().add_bytes(&datagram[..header_len]).finish();
    datagram[CHECKSUM].copy_from_slice(&checksum);
    datagram
}

/// Whether one host can have an address: it is of no group, loop, or reserved range.
fn is_host(address: Ipv4Addr) -> bool {
    !matches!(address.octets()[0], 0 | 127 | 224..)
}

/// Whether an ICMP message is an error, about which there are no errors.
fn is_error(kind: u8) -> bool {
    matches!(
        kind,
        icmpv4::DESTINATION_UNREACHABLE
            | icmpv4::SOURCE_QUENCH
            | icmpv4::REDIRECT
            | icmpv4::TIME_EXCEEDED
            | icmpv4::PARAMETER_PROBLEM
    )
}
