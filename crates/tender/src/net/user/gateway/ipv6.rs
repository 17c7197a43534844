//! What the guest says over IPv6.

use std::net::Ipv6Addr;

use mnet_proto::wire::{icmpv6, ipv4, ipv6};
use netdev::{Instant, Mac};

use super::super::addresses::{MAC, is_in_prefix};
use super::super::drops::Drop;
use super::super::link::HOP_LIMIT;
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
        let (protocol, upper) = skip_extensions(header.next_header, payload)?;
        match protocol {
            ipv6::FRAGMENT => Err(Drop::Fragment),
            ipv6::ICMP => {
                self.icmpv6(now, header, upper, out)?;
                Ok(Action::None)
            }
            ipv4::UDP if to.is_group() => Err(Drop::NotForGateway),
            ipv4::UDP if is_resident => {
                self.udp(now, source.into(), header.destination().into(), upper)
            }
            ipv4::UDP => Err(Drop::Source),
            _ => Err(Drop::Protocol),
        }
    }

    fn icmpv6(
        &mut self,
        now: Instant,
        header: &ipv6::Header,
        message: &[u8],
        out: &mut Queue,
    ) -> Result<(), Drop> {
        let (source, destination) = (header.source(), header.destination());
        let icmp = icmpv6::Header::parse(message, source, destination).ok_or(Drop::Icmp)?;
        match icmp.kind {
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
        let mut packet = self.link.packet()?;
        let echo = &message[icmpv6::HEADER_LEN..];
        packet.append(echo.len()).ok_or(Drop::DatagramTooLong)?.copy_from_slice(echo);
        let whole = icmpv6::Header::emit(&mut packet, kind, 0, icmp.rest, destination, to);
        self.link.icmpv6(packet, whole, HOP_LIMIT, destination, to, out)
    }
}

/// Passes over the headers before what a packet is really for, and gives what that is.
fn skip_extensions(mut next: u8, mut bytes: &[u8]) -> Result<(u8, &[u8]), Drop> {
    for count in 0..MAX_EXTENSIONS {
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
            _ => return Ok((next, bytes)),
        };
        bytes = bytes.get(len..).ok_or(Drop::Ipv6Header)?;
        next = behind;
    }
    Err(Drop::Ipv6Header)
}
