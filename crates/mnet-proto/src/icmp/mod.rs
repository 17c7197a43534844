//! ICMP: answering echo requests, telling senders what did not work, and hearing what did not work
//! of what was sent.

mod rate_limiter;
pub(crate) mod v4;
pub(crate) mod v6;

use core::net::{IpAddr, SocketAddr};

use netdev::{Instant, Packet};
use thiserror::Error;

pub(crate) use self::rate_limiter::RateLimiter;
use crate::ip::fragment::Expired;
use crate::ip::{Ip, Metadata, Network};
use crate::stats::Drop;
use crate::wire::{icmpv4, icmpv6, ipv4, udp};

/// What an ICMP message says has become of a datagram that was sent: types and codes of RFC 792 and
/// RFC 1812 §5.2.7 over IPv4, of RFC 4443 §3 over IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IcmpError {
    /// Nobody listens on its port. ICMP type 3, code 3; ICMPv6 type 1, code 4.
    #[error("port unreachable")]
    PortUnreachable,
    /// Its destination does not answer. ICMP type 3, code 1 and those that have no other place here;
    /// ICMPv6 type 1, code 3. Or no neighbour was found (RFC 4861 §7.2.2).
    #[error("host unreachable")]
    HostUnreachable,
    /// There is no way to its destination. ICMP type 3, code 0 and its like; ICMPv6 type 1, codes 0
    /// and 2.
    #[error("network unreachable")]
    NetworkUnreachable,
    /// Its destination does not speak UDP. ICMP type 3, code 2; ICMPv6 type 4, code 1.
    #[error("protocol unreachable")]
    ProtocolUnreachable,
    /// Somebody on the way does not let it pass. ICMP type 3, codes 9, 10 and 13; ICMPv6 type 1, codes 1,
    /// 5 and 6.
    #[error("prohibited")]
    Prohibited,
    /// It does not fit into what passes on the way. ICMP type 3, code 4 (RFC 1191); ICMPv6 type 2
    /// (RFC 8201).
    #[error("packet too big: {mtu} bytes pass")]
    PacketTooBig {
        /// The largest IP datagram that passes, in bytes with its headers.
        mtu: u16,
    },
    /// It took too many hops, or its fragments too long. ICMP type 11; ICMPv6 type 3.
    #[error("time exceeded")]
    TimeExceeded,
    /// Something is wrong with its headers. ICMP type 12; ICMPv6 type 4, codes 0, 2 and 3.
    #[error("parameter problem")]
    ParameterProblem,
    /// Something that is not known here: all unknown errors are for who sent the datagram to hear
    /// (RFC 4443 §2.4 (a)).
    #[error("ICMP type {kind}, code {code}")]
    Unknown {
        /// The ICMP message's type.
        kind: u8,
        /// Its code.
        code: u8,
    },
}

/// An ICMP error about a datagram that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// From where it was sent.
    pub local: SocketAddr,
    /// To where it was sent.
    pub remote: SocketAddr,
    /// Who says so.
    pub reporter: IpAddr,
    /// What has become of it.
    pub error: IcmpError,
}

/// The datagram that an error quotes, if it is one that was sent (RFC 5927 §4.1): anything else is
/// counted, and not believed.
fn sent(
    ip: &mut Ip,
    source: IpAddr,
    destination: IpAddr,
    flow: Option<(u16, u16)>,
) -> Option<Report> {
    let flow =
        flow.filter(|&flow| ip.is_local(source) && ip.destinations.was_sent(destination, flow));
    let Some((from, to)) = flow else {
        ip.count(Drop::IcmpUnexpected);
        return None;
    };
    ip.stats.icmp_errors_received += 1;
    Some(Report {
        local: SocketAddr::new(source, from),
        remote: SocketAddr::new(destination, to),
        reporter: destination,
        error: IcmpError::HostUnreachable,
    })
}

/// What is said to the sender of a datagram for which no neighbour was found: as much as an ICMP
/// error would. `None` if it is nobody here.
pub(crate) fn undelivered(datagram: &[u8]) -> Option<Report> {
    let (source, destination, flow) = if datagram.first()? >> 4 == 4 {
        let (header, protocol, payload) = crate::ip::ipv4::quoted(datagram)?;
        (header.source().into(), header.destination().into(), flow(protocol, payload)?)
    } else {
        let (header, protocol, payload) = crate::ip::ipv6::quoted(datagram)?;
        (header.source().into(), header.destination().into(), flow(protocol, payload)?)
    };
    Some(Report {
        local: SocketAddr::new(source, flow.0),
        remote: SocketAddr::new(destination, flow.1),
        reporter: source,
        error: IcmpError::HostUnreachable,
    })
}

/// Tells the sender of a datagram that its fragments did not all come, given the first.
pub(crate) fn reassembly_timeout(ip: &mut Ip, now: Instant, expired: Expired) {
    let Some(packet) = expired.first else { return };
    let metadata = Metadata {
        source: expired.key.source,
        destination: expired.key.destination,
        cast: ip.cast(expired.key.destination),
        link_group: false,
        hop_limit: 0,
        traffic_class: 0,
        dont_fragment: false,
        router_alert: false,
        fragmented: true,
        udp_verified: false,
        arrived: now,
        header_len: 0,
    };
    match metadata.source {
        IpAddr::V4(_) => v4::reassembly_timeout(ip, now, &metadata, packet),
        IpAddr::V6(_) => v6::reassembly_timeout(ip, now, &metadata, packet),
    }
}

/// Tells the sender of a datagram that nobody listens on its port. The packet's window is what IP
/// carried; the error goes out in the packet that it is about.
#[inline(never)]
pub(crate) fn port_unreachable(ip: &mut Ip, now: Instant, packet: Packet) {
    let v4 = (icmpv4::DESTINATION_UNREACHABLE, icmpv4::PORT_UNREACHABLE);
    let v6 = (icmpv6::DESTINATION_UNREACHABLE, icmpv6::PORT);
    unreachable(ip, now, packet, v4, v6);
}

/// Tells the sender of a datagram over IPv4 that nobody speaks what is in it. Over IPv6, the headers
/// have been looked at before (RFC 8200 §4).
pub(crate) fn protocol_unreachable(ip: &mut Ip, now: Instant, packet: Packet) {
    let v4 = (icmpv4::DESTINATION_UNREACHABLE, icmpv4::PROTOCOL_UNREACHABLE);
    let v6 = (icmpv6::PARAMETER_PROBLEM, icmpv6::NEXT_HEADER);
    unreachable(ip, now, packet, v4, v6);
}

/// Tells the sender of a datagram one of two things, by its family: a type and a code.
fn unreachable(ip: &mut Ip, now: Instant, mut packet: Packet, v4: (u8, u8), v6: (u8, u8)) {
    let metadata = &Metadata::of(&packet);
    if packet.prepend(metadata.header_len.into()).is_none() {
        return;
    }
    match metadata.source {
        IpAddr::V4(_) => v4::error(ip, now, metadata, packet, v4.0, v4.1, [0; 4]),
        IpAddr::V6(_) => v6::error(ip, now, metadata, packet, v6.0, v6.1, [0; 4]),
    }
}

/// The flow of a UDP datagram, of which perhaps only the start is there.
fn flow(protocol: u8, payload: &[u8]) -> Option<(u16, u16)> {
    udp::ports(payload).filter(|_| protocol == ipv4::UDP)
}
