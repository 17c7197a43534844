use std::fmt;
use std::net::IpAddr;

use mnet_proto::wire::arp::{Arp, REPLY, REQUEST};
use mnet_proto::wire::ethernet::{ARP, HEADER_LEN, Header, IPV4, IPV6};
use mnet_proto::wire::{icmpv4, icmpv6, ipv4, ipv6, udp};
use netdev::Mac;

/// What a frame is, in one line for a person: protocol, addresses and ports, and in parentheses how
/// many bytes the frame has. Checksums are not looked at.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a>(
    /// The frame, from its destination address on.
    pub &'a [u8],
);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(frame) = *self;
        match Header::parse(frame) {
            None => f.write_str("cut short")?,
            Some(header) => {
                let payload = &frame[HEADER_LEN..];
                match header.ethertype.get() {
                    ARP => arp(f, payload)?,
                    IPV4 => ipv4(f, payload)?,
                    IPV6 => ipv6(f, payload)?,
                    other => {
                        let (from, to) = (Mac(header.source), Mac(header.destination));
                        write!(f, "{from} > {to} EtherType {other:#06x}")?;
                    }
                }
            }
        }
        write!(f, " ({})", frame.len())
    }
}

fn arp(f: &mut fmt::Formatter<'_>, payload: &[u8]) -> fmt::Result {
    let Some(arp) = Arp::parse(payload) else { return f.write_str("ARP malformed") };
    let ((mac, sender), (_, target)) = (arp.sender(), arp.target());
    match arp.opcode() {
        REQUEST => write!(f, "ARP {sender} asks for {target}"),
        REPLY => write!(f, "ARP {sender} is at {mac}"),
        other => write!(f, "ARP operation {other}"),
    }
}

fn ipv4(f: &mut fmt::Formatter<'_>, payload: &[u8]) -> fmt::Result {
    let Ok(header) = ipv4::Header::parse(payload) else { return f.write_str("IPv4 malformed") };
    let body = &payload[header.header_len()..header.total_len()];
    write!(f, "{} > {} ", header.source(), header.destination())?;
    if header.is_fragment() {
        let id = header.identification.get();
        fragment(f, id.into(), header.fragment_offset(), body.len(), header.more_fragments())?;
        if header.fragment_offset() > 0 {
            return Ok(());
        }
        f.write_str(", ")?;
    }
    let is_v4 = IpAddr::V4(header.source());
    transport(f, is_v4, header.protocol, body)
}

fn ipv6(f: &mut fmt::Formatter<'_>, payload: &[u8]) -> fmt::Result {
    let Ok(header) = ipv6::Header::parse(payload) else { return f.write_str("IPv6 malformed") };
    let body = &payload[ipv6::HEADER_LEN..][..header.payload_len()];
    write!(f, "{} > {} ", header.source(), header.destination())?;
    transport(f, IpAddr::V6(header.source()), header.next_header, body)
}

fn fragment(
    f: &mut fmt::Formatter<'_>,
    id: u32,
    from: usize,
    len: usize,
    more: bool,
) -> fmt::Result {
    let end = if more { "+" } else { "" };
    write!(f, "fragment {id:#x} {from}..{}{end}", from + len)
}

fn transport(f: &mut fmt::Formatter<'_>, family: IpAddr, protocol: u8, body: &[u8]) -> fmt::Result {
    let len = body.len();
    match (protocol, family) {
        (ipv4::UDP, _) => match body.first_chunk::<{ udp::HEADER_LEN }>() {
            Some(&[a, b, c, d, e, g, ..]) => {
                let [from, to, len] = [[a, b], [c, d], [e, g]].map(u16::from_be_bytes);
                let len = usize::from(len).saturating_sub(udp::HEADER_LEN);
                write!(f, "UDP {from} > {to}, {len} bytes")
            }
            None => f.write_str("UDP cut short"),
        },
        (ipv4::ICMP, IpAddr::V4(_)) => icmp(f, "ICMP", body, icmpv4_name),
        (ipv6::ICMP, IpAddr::V6(_)) => icmp(f, "ICMPv6", body, icmpv6_name),
        (ipv6::FRAGMENT, IpAddr::V6(_)) => match *body {
            [next, _, high, low, a, b, c, d, ref rest @ ..] => {
                let field = u16::from_be_bytes([high, low]);
                let id = u32::from_be_bytes([a, b, c, d]);
                let from = usize::from(field & !7);
                fragment(f, id, from, rest.len(), field & 1 != 0)?;
                if from > 0 {
                    return Ok(());
                }
                f.write_str(", ")?;
                // One fragment header in another is nothing that a host sends.
                if next == ipv6::FRAGMENT { Ok(()) } else { transport(f, family, next, rest) }
            }
            _ => f.write_str("fragment cut short"),
        },
        _ => write!(f, "protocol {protocol}, {len} bytes"),
    }
}

fn icmp(
    f: &mut fmt::Formatter<'_>,
    protocol: &str,
    body: &[u8],
    name: fn(u8) -> Option<&'static str>,
) -> fmt::Result {
    let [kind, code, ..] = *body else { return write!(f, "{protocol} cut short") };
    match name(kind) {
        Some(name) if code == 0 => write!(f, "{protocol} {name}"),
        Some(name) => write!(f, "{protocol} {name}, code {code}"),
        None => write!(f, "{protocol} type {kind}, code {code}"),
    }
}

fn icmpv4_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        icmpv4::ECHO_REQUEST => "echo request",
        icmpv4::ECHO_REPLY => "echo reply",
        icmpv4::DESTINATION_UNREACHABLE => "destination unreachable",
        icmpv4::TIME_EXCEEDED => "time exceeded",
        icmpv4::REDIRECT => "redirect",
        _ => return None,
    })
}

fn icmpv6_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        icmpv6::ECHO_REQUEST => "echo request",
        icmpv6::ECHO_REPLY => "echo reply",
        icmpv6::DESTINATION_UNREACHABLE => "destination unreachable",
        icmpv6::PACKET_TOO_BIG => "packet too big",
        icmpv6::TIME_EXCEEDED => "time exceeded",
        icmpv6::NEIGHBOR_SOLICIT => "neighbour solicitation",
        icmpv6::NEIGHBOR_ADVERT => "neighbour advertisement",
        icmpv6::ROUTER_SOLICIT => "router solicitation",
        icmpv6::ROUTER_ADVERT => "router advertisement",
        icmpv6::REDIRECT => "redirect",
        _ => return None,
    })
}
