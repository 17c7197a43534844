//! ICMP for IPv4 (RFC 792, RFC 1122 §3.2.2).

use netdev::{Instant, Packet};

use crate::ip::{Ip, Metadata, Network};
use crate::stats::Drop;
use crate::wire::icmpv4::{
    DESTINATION_UNREACHABLE, ECHO_REPLY, ECHO_REQUEST, HEADER_LEN, Header, PORT_UNREACHABLE,
};
use crate::wire::ipv4;

/// Longest ICMP error in bytes, IP header included (RFC 1812 §4.3.2.3).
const LONGEST_ERROR: usize = 576;

/// Takes an ICMP message that has come: the packet's window is what IP carried.
pub(crate) fn receive(ip: &mut Ip, now: Instant, metadata: &Metadata, mut packet: Packet) {
    let Some(&header) = Header::parse(packet.bytes()) else {
        return ip.stats.dropped.count(Drop::IcmpMalformed);
    };
    // RFC 1122 §3.2.2.6 lets a host ignore what was sent to everybody.
    if header.kind != ECHO_REQUEST || header.code != 0 || metadata.broadcast {
        return ip.stats.dropped.count(Drop::IcmpUnhandled);
    }
    packet.trim_front(HEADER_LEN);
    let Ok(route) = ip.route(metadata.source, Some(metadata.destination)) else {
        return ip.stats.dropped.count(Drop::IcmpUnhandled);
    };
    if !Header::emit(&mut packet, ECHO_REPLY, 0, header.rest) {
        return ip.stats.dropped.count(Drop::NoPacket);
    }
    // The type of service of the request (RFC 1122 §3.2.2.6), without its ECN: that is IP's own.
    let traffic_class = metadata.traffic_class & !0b11;
    if ip.send_from(now, &route, ipv4::ICMP, traffic_class, packet).is_ok() {
        ip.stats.icmp_echo_replies += 1;
    }
}

/// Tells the sender of a datagram that nobody listens on its port. The packet's window is what IP
/// carried; the error goes out in the packet that it is about.
pub(crate) fn port_unreachable(ip: &mut Ip, now: Instant, metadata: &Metadata, mut packet: Packet) {
    // RFC 1122 §3.2.2: never about what was sent to many.
    if metadata.broadcast {
        return;
    }
    let Ok(route) = ip.route(metadata.source, Some(metadata.destination)) else {
        return ip.stats.dropped.count(Drop::IcmpUnhandled);
    };
    if !ip.icmp_errors.allow(now) {
        return ip.stats.dropped.count(Drop::IcmpRateLimited);
    }
    let quoted = packet.prepend(metadata.header_len.into()).is_some();
    packet.truncate(LONGEST_ERROR - ipv4::HEADER_LEN - HEADER_LEN);
    if !quoted || !Header::emit(&mut packet, DESTINATION_UNREACHABLE, PORT_UNREACHABLE, [0; 4]) {
        return ip.stats.dropped.count(Drop::NoPacket);
    }
    if ip.send_from(now, &route, ipv4::ICMP, 0, packet).is_ok() {
        ip.stats.icmp_errors += 1;
    }
}
