//! ARP: IPv4's way to ask for a neighbour (RFC 826), and to find out who else has an address (RFC
//! 5227).

use core::net::{IpAddr, Ipv4Addr};

use netdev::{Instant, Mac, Packet};
use rand_core::Rng;

use super::Evidence;
use crate::autoconf::{Conflict, Step};
use crate::ip::address::Own;
use crate::ip::{AddressEvent, Ip, Origin, ipv4};
use crate::stats::Drop;
use crate::wire::arp::{Arp, REPLY, REQUEST};
use crate::wire::ethernet;

/// Takes an ARP packet that has come. Says whether it is about who has an address of the host's, of
/// which others have to be told.
pub(crate) fn receive(ip: &mut Ip, now: Instant, mut packet: Packet) -> bool {
    let Some(&arp) = Arp::parse(packet.bytes()) else {
        ip.count(Drop::ArpMalformed);
        return false;
    };
    let (mac, sender) = arp.sender();
    let target = arp.target().1;
    let own = ip.v4.is_claimed(sender);
    let sane = own || sender.is_unspecified() || ip.v4.is_other_host(sender);
    let known = matches!(arp.opcode(), REQUEST | REPLY);
    // What comes back of what the host itself has sent is no conflict (RFC 5227 §2.1.1, §2.4).
    if !known || !mac.is_unicast() || mac == ip.link.mac || !sane {
        ip.count(Drop::ArpMalformed);
        return false;
    }
    // Another that is about to take an address that is not used yet counts as one that has it (RFC
    // 5227 §2.1.1). If it is in use, the other is told so as ever.
    let probed = sender.is_unspecified() && arp.opcode() == REQUEST && is_awaited(ip, target);
    if own || probed {
        conflict(ip, now, if probed { target } else { sender });
        return true;
    }
    let for_us = ip.v4.is_own(target);
    // One that has many addresses may ask from any of them: it is answered, and not believed. A
    // sender of 0.0.0.0 asks whether the address is free (RFC 5227 §2.1): it has none to learn.
    if !sender.is_unspecified() && ip.is_on_link(sender.into()) {
        let evidence = match arp.opcode() {
            REPLY if for_us => Evidence::Answer,
            REQUEST if for_us => Evidence::Request,
            _ => Evidence::Overheard,
        };
        ip.learn(now, IpAddr::V4(sender), mac, evidence);
    }
    if for_us && arp.opcode() == REQUEST {
        // The reply goes out in the packet that the request came in.
        packet.clear();
        if Arp::new(REPLY, (ip.link.mac, target), (mac, sender)).emit(&mut packet) {
            ip.stats.arp_replies += 1;
            ip.link.send(packet, mac, ethernet::ARP, &mut ip.stats);
        }
    }
    false
}

/// Whether the host asks for an address, and does not use it yet.
fn is_awaited(ip: &Ip, address: Ipv4Addr) -> bool {
    let mut own = ip.v4.addresses.iter();
    let awaited = |own: &Own<_>| own.claim.is_tentative() && !ipv4::is_used(own);
    own.any(|own| own.cidr.address() == address && awaited(own))
}

/// Somebody else uses an address of ours.
fn conflict(ip: &mut Ip, now: Instant, address: Ipv4Addr) {
    ip.count(Drop::ArpConflict);
    let mut own = ip.v4.addresses.iter_mut();
    let Some(own) = own.find(|own| own.cidr.address() == address) else { return };
    let leased = own.origin == Origin::Dhcp;
    match own.claim.conflict(now) {
        Conflict::Lost { again } => {
            let event = AddressEvent::Conflict(own.describe());
            if !again {
                ip.changed(event);
            }
            ip.v4.declined |= leased;
        }
        Conflict::Defend => announce(ip, address),
        // What is configured is kept, whoever else wants it (RFC 5227 §2.4 (c)): they were told not
        // long ago. What is leased is given back (§2.4 (b)).
        Conflict::Repeated => ip.v4.declined |= leased,
    }
}

/// Asks for the addresses that the host is about to have, and tells of those that it has.
pub(crate) fn handle_timeout(ip: &mut Ip, now: Instant) {
    for at in 0..ip.v4.addresses.len() {
        let random = ip.random.next_u32();
        let own = &mut ip.v4.addresses[at];
        let (address, used) = (own.cidr.address(), ipv4::is_used(own));
        let step = own.claim.step_v4(now, random);
        if !used && ipv4::is_used(own) {
            let event = AddressEvent::Added(own.describe());
            ip.changed(event);
        }
        match step {
            Some(Step::Probe) => {
                if !emit(ip, Ipv4Addr::UNSPECIFIED, address, Mac::BROADCAST) {
                    ip.v4.addresses[at].claim.unasked(now);
                }
            }
            Some(Step::Announce) => announce(ip, address),
            Some(Step::Held) | None => {}
        }
    }
}

/// Tells everybody that an address is ours.
fn announce(ip: &mut Ip, address: Ipv4Addr) {
    emit(ip, address, address, Mac::BROADCAST);
}

/// Asks for `address`: everybody, or only `mac`, which had it before (RFC 1122 §2.3.2.1).
pub(crate) fn request(ip: &mut Ip, address: Ipv4Addr, mac: Option<Mac>) {
    let Some(sender) = ipv4::source_on_link(ip, address) else { return };
    emit(ip, sender, address, mac.unwrap_or(Mac::BROADCAST));
}

/// Sends a request; `false` if there is no packet to send it in.
fn emit(ip: &mut Ip, sender: Ipv4Addr, target: Ipv4Addr, to: Mac) -> bool {
    let Some(mut packet) = ip.link.pool.take() else {
        ip.count(Drop::NoPacket);
        return false;
    };
    let sender = (ip.link.mac, sender);
    let emitted = Arp::new(REQUEST, sender, (Mac::default(), target)).emit(&mut packet);
    if emitted {
        ip.stats.arp_requests += 1;
        ip.link.send(packet, to, ethernet::ARP, &mut ip.stats);
    }
    emitted
}
