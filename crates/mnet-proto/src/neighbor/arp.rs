//! ARP: IPv4's way to ask for a neighbour (RFC 826).

use core::net::{IpAddr, Ipv4Addr};

use netdev::{Instant, Mac, Packet};

use super::Evidence;
use crate::ethernet::Link;
use crate::ip::ipv4::Ipv4;
use crate::ip::{Ip, perform};
use crate::stats::{Drop, Stats};
use crate::wire::arp::{Arp, REPLY, REQUEST};
use crate::wire::ethernet;

/// Takes an ARP packet that has come.
pub(crate) fn receive(ip: &mut Ip, now: Instant, mut packet: Packet) {
    let Some(&arp) = Arp::parse(packet.bytes()) else {
        return ip.stats.dropped.count(Drop::ArpMalformed);
    };
    let own = ip.v4.cidr.address();
    let (mac, sender) = arp.sender();
    if !mac.is_unicast() {
        return ip.stats.dropped.count(Drop::ArpMalformed);
    }
    if sender == own && mac != ip.link.mac {
        return ip.stats.dropped.count(Drop::ArpConflict);
    }
    let for_us = arp.target().1 == own;
    // One that has many addresses may ask from any of them: it is answered, and not believed. A
    // sender of 0.0.0.0 asks whether the address is free (RFC 5227 §2.1): it has none to learn.
    if ip.v4.is_other_host(sender) && ip.v4.is_on_link(sender) {
        let evidence = match arp.opcode() {
            REPLY if for_us => Evidence::Answer,
            REQUEST if for_us => Evidence::Request,
            _ => Evidence::Overheard,
        };
        let Ip { link, v4, neighbors, stats, .. } = ip;
        let mut act = |action| perform(action, link, v4, stats);
        neighbors.learn(now, IpAddr::V4(sender), mac, evidence, &mut act);
    } else if !ip.v4.is_other_host(sender) && !sender.is_unspecified() {
        return ip.stats.dropped.count(Drop::ArpMalformed);
    }
    if for_us && arp.opcode() == REQUEST {
        // The reply goes out in the packet that the request came in.
        packet.clear();
        if Arp::new(REPLY, (ip.link.mac, own), (mac, sender)).emit(&mut packet) {
            ip.stats.arp_replies += 1;
            ip.link.send(packet, mac, ethernet::ARP, &mut ip.stats);
        }
    }
}

/// Asks for `address`: everybody, or only `mac`, which had it before (RFC 1122 §2.3.2.1).
pub(crate) fn request(
    link: &mut Link,
    v4: &Ipv4,
    address: Ipv4Addr,
    mac: Option<Mac>,
    stats: &mut Stats,
) {
    let Some(mut packet) = link.pool.take() else {
        return stats.dropped.count(Drop::NoPacket);
    };
    let sender = (link.mac, v4.cidr.address());
    if Arp::new(REQUEST, sender, (Mac::default(), address)).emit(&mut packet) {
        stats.arp_requests += 1;
        link.send(packet, mac.unwrap_or(Mac::BROADCAST), ethernet::ARP, stats);
    }
}
