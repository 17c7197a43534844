//! ICMP for IPv4 (RFC 792, RFC 1122 §3.2.2).

use core::net::{IpAddr, Ipv4Addr};

use netdev::{Instant, Packet};

use super::{IcmpError, Report, flow, sent};
use crate::ip::ipv4::quoted;
use crate::ip::{Cast, Ip, Metadata, Received};
use crate::stats::Drop;
use crate::wire::icmpv4::*;
use crate::wire::ipv4;

/// Longest ICMP error in bytes, IP header included (RFC 1812 §4.3.2.3).
const LONGEST_ERROR: usize = 576;
/// Bytes that an error quotes at least of what a datagram carries (RFC 792).
const LEAST_QUOTED: usize = 8;

/// The MTUs that links have, for routers that do not say theirs (RFC 1191 §7.1).
const PLATEAUS: [u16; 10] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296, 68];

/// Takes an ICMP message that has come. Returns what it says of a datagram that was sent.
pub(crate) fn receive(ip: &mut Ip, now: Instant, received: Received) -> Option<Report> {
    let Received { packet, .. } = received;
    let metadata = Metadata::of(&packet);
    let Some(&header) = Header::parse(packet.bytes()) else {
        ip.count(Drop::IcmpMalformed);
        return None;
    };
    match header.kind {
        // RFC 1122 §3.2.2.6 lets a host ignore what was sent to many.
        ECHO_REQUEST | TIMESTAMP if header.code == 0 && metadata.cast == Cast::Unicast => {
            answer(ip, now, &metadata, header, packet);
            None
        }
        // Nobody tells many of what one has sent.
        _ if metadata.cast != Cast::Unicast => {
            ip.count(Drop::IcmpUnhandled);
            None
        }
        DESTINATION_UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM => {
            failed(ip, now, &metadata, header, packet.bytes().get(HEADER_LEN..)?)
        }
        REDIRECT if header.code <= REDIRECT_LAST => {
            redirect(ip, now, &metadata, header, packet.bytes().get(HEADER_LEN..)?);
            None
        }
        _ => {
            ip.count(Drop::IcmpUnhandled);
            None
        }
    }
}

/// Answers a request in the packet that it came in (RFC 1122 §3.2.2.6, §3.2.2.8).
fn answer(ip: &mut Ip, now: Instant, metadata: &Metadata, header: Header, mut packet: Packet) {
    let IpAddr::V4(own) = metadata.destination else { return };
    // Nobody here knows when midnight was.
    let time = ((now.as_nanos() / 1_000_000) as u32).wrapping_add(ip.told_time);
    let time = (time | NO_STANDARD_TIME).to_be_bytes();
    let (mut of_header, mut len) = ([0; ipv4::MAX_OPTIONS_LEN], 0);
    // The header lies in front of the packet's window.
    let header_len = metadata.header_len.into();
    if header_len > ipv4::HEADER_LEN && packet.prepend(header_len).is_some() {
        if let Ok(options) = ipv4::Options::parse(packet.bytes(), header_len) {
            len = options.answer(packet.bytes(), own, time, &mut of_header);
        }
        packet.trim_front(header_len);
    }
    packet.trim_front(HEADER_LEN);
    let mut kind = ECHO_REPLY;
    if header.kind == TIMESTAMP {
        kind = TIMESTAMP_REPLY;
        packet.truncate(TIMES_LEN);
        // When it came and when it is answered.
        let Some(times) = packet.bytes_mut().get_mut(4..TIMES_LEN) else {
            return ip.count(Drop::IcmpMalformed);
        };
        times.copy_from_slice([time, time].as_flattened());
    }
    let Ok(route) = ip.route_back(now, metadata.source, Some(metadata.destination)) else {
        return ip.count(Drop::IcmpUnhandled);
    };
    if !Header::emit(&mut packet, kind, 0, header.rest) {
        return ip.count(Drop::NoPacket);
    }
    // The type of service of the request (RFC 1122 §3.2.2.6), without its ECN: that is IP's own.
    let traffic_class = metadata.traffic_class & !0b11;
    let of_header = of_header.get(..len).unwrap_or_default();
    if ip.send_icmp(now, &route, traffic_class, of_header, packet) {
        ip.stats.icmp_echo_replies += 1;
    }
}

/// Hears that a datagram did not arrive.
fn failed(
    ip: &mut Ip,
    now: Instant,
    metadata: &Metadata,
    header: Header,
    message: &[u8],
) -> Option<Report> {
    let Some((datagram, protocol, payload)) = subject(message) else {
        ip.count(Drop::IcmpUnexpected);
        return None;
    };
    let (source, destination) = (datagram.source().into(), datagram.destination().into());
    let report = sent(ip, source, destination, flow(protocol, payload))?;
    let error = match (header.kind, header.code) {
        (DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED) => {
            let [_, _, high, low] = header.rest;
            let length = u16::try_from(datagram.total_len()).unwrap_or(u16::MAX);
            let mtu = path_mtu(u16::from_be_bytes([high, low]), length);
            if !ip.destinations.lower_mtu(now, destination, mtu) {
                return None;
            }
            ip.stats.path_mtu_changes += 1;
            IcmpError::PacketTooBig { mtu }
        }
        (DESTINATION_UNREACHABLE, PORT_UNREACHABLE) => IcmpError::PortUnreachable,
        (DESTINATION_UNREACHABLE, PROTOCOL_UNREACHABLE) => IcmpError::ProtocolUnreachable,
        (
            DESTINATION_UNREACHABLE,
            NETWORK_PROHIBITED | HOST_PROHIBITED | COMMUNICATION_PROHIBITED,
        ) => IcmpError::Prohibited,
        (
            DESTINATION_UNREACHABLE,
            NETWORK_UNREACHABLE | NETWORK_UNKNOWN | NETWORK_UNREACHABLE_FOR_SERVICE,
        ) => IcmpError::NetworkUnreachable,
        (DESTINATION_UNREACHABLE, _) => IcmpError::HostUnreachable,
        (TIME_EXCEEDED, _) => IcmpError::TimeExceeded,
        _ => IcmpError::ParameterProblem,
    };
    Some(Report { reporter: metadata.source, error, ..report })
}

/// The datagram that a message is about, with as much of what it carries as has to be there (RFC 1122
/// §3.2.2).
fn subject(message: &[u8]) -> Option<(&ipv4::Header, u8, &[u8])> {
    quoted(message).filter(|(_, _, payload)| payload.len() >= LEAST_QUOTED)
}

/// What passes, going by what a router says, and by the length of what did not pass: never less than
/// what every link takes (RFC 1191 §3, §7).
fn path_mtu(said: u16, length: u16) -> u16 {
    let mtu = match said {
        0 => PLATEAUS.into_iter().find(|&plateau| plateau < length).unwrap_or(ipv4::MIN_MTU),
        mtu => mtu,
    };
    mtu.max(ipv4::MIN_MTU)
}

/// Takes another first hop from the router by which a datagram went (RFC 1122 §3.2.2.2).
fn redirect(ip: &mut Ip, now: Instant, metadata: &Metadata, header: Header, message: &[u8]) {
    let Some((datagram, protocol, payload)) = subject(message) else {
        return ip.count(Drop::IcmpUnexpected);
    };
    let (source, destination) = (datagram.source().into(), datagram.destination().into());
    if sent(ip, source, destination, flow(protocol, payload)).is_none() {
        return;
    }
    let better = Ipv4Addr::from(header.rest);
    let on_link = ip.is_on_link(better.into()) && ip.v4.is_other_host(better);
    let from = metadata.source;
    // A destination is no gateway, not to itself either.
    if !on_link
        || from == destination
        || !ip.destinations.set_redirect(now, destination, from, IpAddr::V4(better))
    {
        return ip.count(Drop::IcmpUnexpected);
    }
    ip.stats.redirects += 1;
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
    // RFC 1122 §3.2.2: never about what was sent to many, about a fragment that is not the first, or
    // about an error.
    let about_error = match quoted(packet.bytes()) {
        Some((_, ipv4::ICMP, message)) => message.first().is_none_or(|&kind| is_error(kind)),
        Some(_) => false,
        None => true,
    };
    if metadata.cast != Cast::Unicast || metadata.link_group || about_error {
        return;
    }
    let Ok(route) = ip.route_back(now, metadata.source, Some(metadata.destination)) else {
        return ip.count(Drop::IcmpUnhandled);
    };
    if !ip.icmp_errors.allow(now) {
        return ip.count(Drop::IcmpRateLimited);
    }
    packet.truncate(LONGEST_ERROR - ipv4::HEADER_LEN - HEADER_LEN);
    if !Header::emit(&mut packet, kind, code, rest) {
        return ip.count(Drop::NoPacket);
    }
    // RFC 1122 §3.2.2: with a normal type of service.
    if ip.send_icmp(now, &route, 0, &[], packet) {
        ip.stats.icmp_errors += 1;
    }
}

fn is_error(kind: u8) -> bool {
    matches!(
        kind,
        DESTINATION_UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM
    )
}

/// Tells the sender of a first fragment that the others did not come.
pub(super) fn reassembly_timeout(ip: &mut Ip, now: Instant, metadata: &Metadata, packet: Packet) {
    error(ip, now, metadata, packet, TIME_EXCEEDED, REASSEMBLY, [0; 4]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_that_does_not_say_what_passes_is_taken_to_have_a_usual_link() {
        assert_eq!(path_mtu(0, 1_500), 1_492);
        assert_eq!(path_mtu(0, 1_492), 1_006);
        assert_eq!(path_mtu(0, 68), 68);
        assert_eq!(path_mtu(0, 0), 68);
    }

    #[test]
    fn nobody_can_say_that_less_passes_than_every_link_takes() {
        assert_eq!(path_mtu(1_400, 1_500), 1_400);
        assert_eq!(path_mtu(1, 1_500), 68);
    }
}
