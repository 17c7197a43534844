//! ICMPv6 (RFC 4443).

use core::net::{IpAddr, Ipv6Addr};

use netdev::{Instant, Packet};

use super::{IcmpError, Report, flow, sent};
use crate::ip::ipv6::quoted;
use crate::ip::{Cast, Ip, Metadata, Network, Received, SendOptions};
use crate::neighbor::ndp;
use crate::stats::Drop;
use crate::wire::icmpv6::*;
use crate::wire::ipv6;

/// Longest ICMPv6 error in bytes, IP header included (RFC 4443 §2.4 (c)).
const LONGEST_ERROR: usize = ipv6::MIN_MTU as usize;
/// The first of the types that tell of no error (RFC 4443 §2.1).
const INFORMATIONAL: u8 = 128;

/// Takes an ICMPv6 message that has come. Returns what it says of a datagram that was sent.
pub(crate) fn receive(ip: &mut Ip, now: Instant, received: Received) -> Option<Report> {
    let Received { packet, .. } = received;
    let metadata = Metadata::of(&packet);
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (metadata.source, metadata.destination)
    else {
        return None;
    };
    let Some(&header) = Header::parse(packet.bytes(), source, destination) else {
        ip.count(Drop::IcmpMalformed);
        return None;
    };
    match header.kind {
        ECHO_REQUEST if header.code == 0 && !source.is_unspecified() => {
            echo(ip, now, &metadata, header.rest, packet);
        }
        // All of them are sent to one host: the sender of what they are about.
        0..INFORMATIONAL if metadata.cast == Cast::Unicast => {
            return failed(ip, now, &metadata, header, packet.bytes().get(HEADER_LEN..)?);
        }
        ROUTER_SOLICIT | ROUTER_ADVERT | NEIGHBOR_SOLICIT | NEIGHBOR_ADVERT | REDIRECT => {
            ndp::receive(ip, now, &metadata, (source, destination), header.kind, packet);
        }
        MLD_QUERY | MLD_REPORT | MLD_DONE | MLD_V2_REPORT => {
            // RFC 3810 §5: from the link itself, and such that routers have looked at it.
            let from_link = metadata.hop_limit == 1 && metadata.router_alert;
            let mut heard = from_link;
            if from_link {
                let message = packet.bytes();
                let multicast = &mut ip.multicast;
                heard = multicast.handle_mld(now, source, message).is_ok();
            }
            if !heard {
                ip.count(Drop::MulticastMalformed);
            }
        }
        _ => ip.count(Drop::IcmpUnhandled),
    }
    None
}

/// Answers a request in the packet that it came in, one to a group too (RFC 4443 §4.2).
fn echo(ip: &mut Ip, now: Instant, metadata: &Metadata, rest: [u8; 4], mut packet: Packet) {
    packet.trim_front(HEADER_LEN);
    let Some((route, source, destination)) = way_back(ip, now, metadata) else {
        return ip.count(Drop::IcmpUnhandled);
    };
    if !Header::emit(&mut packet, ECHO_REPLY, 0, rest, source, destination) {
        return ip.count(Drop::NoPacket);
    }
    if ipv6::HEADER_LEN + packet.len() > ipv6::MIN_MTU.into() {
        ip.destinations.answered(now, route, rest);
    }
    let traffic_class = metadata.traffic_class & !0b11;
    let options = SendOptions { traffic_class, ..SendOptions::default() };
    if ip.send(now, &route, ipv6::ICMP, &options, packet).is_ok() {
        ip.stats.icmp_echo_replies += 1;
    }
}

/// The route to who sent a datagram, from the address that it was sent to.
fn way_back(
    ip: &mut Ip,
    now: Instant,
    metadata: &Metadata,
) -> Option<(crate::ip::Route, Ipv6Addr, Ipv6Addr)> {
    let from = (metadata.cast == Cast::Unicast).then_some(metadata.destination);
    let route = ip.route_back(now, metadata.source, from).ok()?;
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (route.source, route.destination) else {
        return None;
    };
    Some((route, source, destination))
}

/// Hears that a datagram did not arrive.
fn failed(
    ip: &mut Ip,
    now: Instant,
    metadata: &Metadata,
    header: Header,
    message: &[u8],
) -> Option<Report> {
    let Some((datagram, protocol, payload)) = quoted(message) else {
        ip.count(Drop::IcmpUnexpected);
        return None;
    };
    let (source, destination) = (datagram.source().into(), datagram.destination().into());
    // Nobody but the path is told of an echo reply.
    if header.kind == PACKET_TOO_BIG
        && ip.is_local(source)
        && let (ipv6::ICMP, Some(&[ECHO_REPLY, 0, _, _, a, b, c, d])) =
            (protocol, payload.first_chunk())
        && ip.destinations.was_answered(destination, [a, b, c, d])
    {
        ip.stats.icmp_errors_received += 1;
        narrow(ip, now, destination, header);
        return None;
    }
    let report = sent(ip, source, destination, flow(protocol, payload))?;
    let error = match (header.kind, header.code) {
        (PACKET_TOO_BIG, _) => {
            let mtu = narrow(ip, now, destination, header)?;
            IcmpError::PacketTooBig { mtu }
        }
        (DESTINATION_UNREACHABLE, NO_ROUTE | BEYOND_SCOPE) => IcmpError::NetworkUnreachable,
        (DESTINATION_UNREACHABLE, PROHIBITED | POLICY | REJECT) => IcmpError::Prohibited,
        (DESTINATION_UNREACHABLE, PORT) => IcmpError::PortUnreachable,
        (DESTINATION_UNREACHABLE, _) => IcmpError::HostUnreachable,
        (TIME_EXCEEDED, _) => IcmpError::TimeExceeded,
        (PARAMETER_PROBLEM, NEXT_HEADER) => IcmpError::ProtocolUnreachable,
        (PARAMETER_PROBLEM, _) => IcmpError::ParameterProblem,
        (kind, code) => IcmpError::Unknown { kind, code },
    };
    Some(Report { reporter: metadata.source, error, ..report })
}

/// Hears that less passes on the way to a destination. Returns how much, if that is news.
fn narrow(ip: &mut Ip, now: Instant, destination: IpAddr, header: Header) -> Option<u16> {
    let mtu = u16::try_from(u32::from_be_bytes(header.rest)).unwrap_or(u16::MAX);
    // RFC 8201 §4: one that says that less passes than every link takes is discarded.
    if mtu < ipv6::MIN_MTU || !ip.destinations.lower_mtu(now, destination, mtu) {
        return None;
    }
    ip.stats.path_mtu_changes += 1;
    Some(mtu)
}

/// Tells the sender of a datagram, on whose header the packet's window is, what is wrong with it. The
/// error goes out in the packet that it is about.
pub(crate) fn error(
    ip: &mut Ip,
    now: Instant,
    metadata: &Metadata,
    mut packet: Packet,
    kind: u8,
    code: u8,
    rest: [u8; 4],
) {
    // RFC 4443 §2.4 (e): never about an error, or about what was sent to many, unless what is wrong
    // would be so for all of them. If nothing says what it is, that is what is told (RFC 8200 §4.5).
    let missing = (kind, code) == (PARAMETER_PROBLEM, FIRST_FRAGMENT);
    let is_error = |&kind: &u8| kind < INFORMATIONAL || kind == REDIRECT;
    let about_error = matches!(
        quoted(packet.bytes()),
        Some((_, ipv6::ICMP, message)) if message.first().map_or(!missing, is_error)
    );
    let to_many = metadata.cast != Cast::Unicast || metadata.link_group;
    let for_all = kind == PACKET_TOO_BIG || (kind == PARAMETER_PROBLEM && code == OPTION);
    if about_error || (to_many && !for_all) || metadata.source.is_unspecified() {
        return;
    }
    // Nothing is looked up, and nothing remembered, for what is not said.
    if !ip.icmp_errors.allow(now) {
        return ip.count(Drop::IcmpRateLimited);
    }
    let Some((route, source, destination)) = way_back(ip, now, metadata) else {
        return ip.count(Drop::IcmpUnhandled);
    };
    packet.truncate(LONGEST_ERROR - ipv6::HEADER_LEN - HEADER_LEN);
    if !Header::emit(&mut packet, kind, code, rest, source, destination) {
        return ip.count(Drop::NoPacket);
    }
    if ip.send(now, &route, ipv6::ICMP, &SendOptions::default(), packet).is_ok() {
        ip.stats.icmp_errors += 1;
    }
}

/// Tells the sender of a first fragment that the others did not come.
pub(super) fn reassembly_timeout(ip: &mut Ip, now: Instant, metadata: &Metadata, packet: Packet) {
    error(ip, now, metadata, packet, TIME_EXCEEDED, REASSEMBLY, [0; 4]);
}
