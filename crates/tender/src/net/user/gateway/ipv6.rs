//! What the guest says over IPv6.

use std::net::Ipv6Addr;

use mnet_proto::ip::fragment::{Key, Piece};
use mnet_proto::wire::{icmpv6, ipv4, ipv6};
use netdev::{Instant, Mac};

use super::super::addresses::{MAC, is_in_prefix};
use super::super::drops::Drop;
use super::super::link::HOP_LIMIT;
use super::super::payload::Payload;
use super::super::queue::Queue;
use super::{Action, Gateway};

/// Most extension headers of a packet: each kind twice, as RFC 8200 §4.1 allows but for one.
const MAX_EXTENSIONS: usize = 8;

impl Gateway {
    /// Takes a packet that was sent to this Ethernet address, with what may be behind it in the
    /// frame.
    pub(super) fn ipv6<'f>(
        &mut self,
        now: Instant,
        to: Mac,
        packet: &'f [u8],
        out: &mut Queue,
    ) -> Result<Action<'f>, Drop> {
        if to != MAC && !to.is_group() {
            return Err(Drop::NotForGateway);
        }
        let header = ipv6::Header::parse(packet).map_err(|_| Drop::Ipv6Header)?;
        let payload = &packet[ipv6::HEADER_LEN..];
        let payload = payload.get(..header.payload_len()).ok_or(Drop::Ipv6Header)?;
        let source = header.source();
        let is_resident = is_in_prefix(source) && !self.is_own(source);
        let is_on_link = source.is_unicast_link_local() && !self.is_own(source);
        if !is_resident && !is_on_link && !source.is_unspecified() {
            return Err(Drop::Source);
        }
        self.start_adverts(now);
        if is_resident {
            self.residents.confirm(now, source);
        }
        let (mut protocol, mut at) = skip_extensions(header.next_header, payload)?;
        let mut payload = Payload::Frame(payload);
        let mut fragmented = false;
        if protocol == ipv6::FRAGMENT {
            let upper = payload.get(at..).ok_or(Drop::Ipv6Header)?;
            let fragment = *ipv6::Fragment::parse(upper).ok_or(Drop::Ipv6Header)?;
            at += ipv6::FRAGMENT_LEN;
            fragmented = true;
            protocol = fragment.next_header;
            // One that is all of its datagram has nothing to do with others (RFC 6946).
            if fragment.offset() > 0 || fragment.more() {
                let Some(whole) = self.ipv6_fragment(now, header, &fragment, &payload, at)? else {
                    return Ok(Action::None);
                };
                (protocol, payload) = whole;
                at = 0;
            }
            let behind = payload.get(at..).ok_or(Drop::Ipv6Header)?;
            let (upper, more) = skip_extensions(protocol, behind)?;
            (protocol, at) = (upper, at + more);
        }
        let len = payload.len();
        let upper = payload.part(at..len).ok_or(Drop::Ipv6Header)?;
        match protocol {
            ipv6::FRAGMENT => Err(Drop::Fragment),
            ipv6::ICMP => {
                self.icmpv6(now, header, &upper, fragmented, out)?;
                Ok(Action::None)
            }
            ipv4::UDP if to.is_group() => Err(Drop::NotForGateway),
            ipv4::UDP if is_resident => {
                self.udp(now, source.into(), header.destination().into(), upper, out)
            }
            ipv4::UDP => Err(Drop::Source),
            _ => Err(Drop::Protocol),
        }
    }

    /// Takes a fragment whose own part begins at `at`. If its datagram is whole now, gives what that
    /// begins with, and all of it.
    fn ipv6_fragment(
        &mut self,
        now: Instant,
        header: &ipv6::Header,
        fragment: &ipv6::Fragment,
        payload: &[u8],
        at: usize,
    ) -> Result<Option<(u8, Payload<'static>)>, Drop> {
        let key = Key {
            source: header.source().into(),
            destination: header.destination().into(),
            protocol: 0,
            identification: fragment.identification.get(),
        };
        let ecn = header.traffic_class() & 3;
        let (offset, more) = (fragment.offset(), fragment.more());
        // Of its headers the fragment header is the one to keep.
        let header_len = ipv6::FRAGMENT_LEN as u16;
        let piece = Piece { key, offset, more, ecn, header_len };
        let Some(whole) = self.fragment(now, piece, payload, at)? else { return Ok(None) };
        // The first fragment has the say on what the datagram holds (RFC 8200 §4.5).
        let first = ipv6::Fragment::parse(whole.first.bytes()).ok_or(Drop::Fragment)?;
        Ok(Some((first.next_header, Payload::Whole(whole.payload))))
    }

    fn icmpv6(
        &mut self,
        now: Instant,
        header: &ipv6::Header,
        message: &[u8],
        fragmented: bool,
        out: &mut Queue,
    ) -> Result<(), Drop> {
        let (source, destination) = (header.source(), header.destination());
        let icmp = icmpv6::Header::parse(message, source, destination).ok_or(Drop::Icmp)?;
        match icmp.kind {
            // RFC 6980: neighbour discovery needs no fragments, but those who forge it may.
            kind if Self::is_ndp(kind) && fragmented => Err(Drop::Ndp),
            kind if Self::is_ndp(kind) => self.ndp(now, kind, header, message, out),
            // Who listens to which group does not matter: there are two neighbours.
            icmpv6::MLD_REPORT | icmpv6::MLD_DONE | icmpv6::MLD_V2_REPORT => Ok(()),
            icmpv6::ECHO_REQUEST if icmp.code == 0 && !source.is_unspecified() => {
                self.echo(icmp, source, destination, message, out)
            }
            _ => Err(Drop::Icmp),
        }
    }

    /// Answers a ping.
    fn echo(
        &mut self,
        icmp: &icmpv6::Header,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        message: &[u8],
        out: &mut Queue,
    ) -> Result<(), Drop> {
        if !self.is_own(destination) {
            return Err(Drop::Destination);
        }
        let (kind, to) = (icmpv6::ECHO_REPLY, source);
        let echo = &message[icmpv6::HEADER_LEN..];
        let mut packet = self.link.packet(echo.len())?;
        packet.append(echo.len()).ok_or(Drop::DatagramTooLong)?.copy_from_slice(echo);
        let whole = icmpv6::Header::emit(&mut packet, kind, 0, icmp.rest, destination, to);
        self.link.icmpv6(packet, whole, HOP_LIMIT, destination, to, out)
    }
}

/// Passes over the headers before what a packet is really for, and gives what that is, and where it
/// begins.
fn skip_extensions(mut next: u8, bytes: &[u8]) -> Result<(u8, usize), Drop> {
    let mut at = 0;
    for count in 0..MAX_EXTENSIONS {
        let bytes = bytes.get(at..).ok_or(Drop::Ipv6Header)?;
        let (behind, len) = match next {
            // It may only be the first (RFC 8200 §4.1).
            ipv6::HOP_BY_HOP if count > 0 => return Err(Drop::Ipv6Header),
            ipv6::HOP_BY_HOP | ipv6::DESTINATION_OPTIONS => {
                let header = ipv6::Options::parse(bytes).ok_or(Drop::Ipv6Header)?;
                let options = bytes.get(2..header.len()).ok_or(Drop::Ipv6Header)?;
                for option in ipv6::options(options) {
                    let option = option.map_err(|_| Drop::Ipv6Header)?;
                    let known = next == ipv6::HOP_BY_HOP && option.kind == ipv6::ROUTER_ALERT;
                    if !known && option.action() != ipv6::Action::Skip {
                        return Err(Drop::Ipv6Header);
                    }
                }
                (header.next_header, header.len())
            }
            ipv6::ROUTING => {
                let header = ipv6::Routing::parse(bytes).ok_or(Drop::Ipv6Header)?;
                if header.segments_left > 0 {
                    return Err(Drop::Ipv6Header);
                }
                (header.next_header, header.len())
            }
            _ => return Ok((next, at)),
        };
        at += len;
        next = behind;
    }
    Err(Drop::Ipv6Header)
}
