//! Neighbour discovery: IPv6's way to ask for a neighbour, and to find out who else has an address
//! (RFC 4861 §7, §8; RFC 4862 §5.4).

use core::array;
use core::net::{IpAddr, Ipv6Addr};

use netdev::{Instant, Mac, Packet};
use rand_core::Rng;

use super::{Evidence, Heard};
use crate::autoconf::{Conflict, Step, slaac};
use crate::ip::address::Own;
use crate::ip::{
    AddressEvent, Cast, Ip, Ipv6Cidr, Metadata, Network, Origin, Route, SendOptions, ipv6, routes,
};
use crate::stats::Drop;
use crate::wire::ipv6::{ALL_NODES, HEADER_LEN, ICMP, solicited_node};
use crate::wire::ndp::{self, AdvertFlags, Message};

/// Hop limit of all that neighbours say to each other: nobody else can (RFC 4861 §3.1).
pub(crate) const HOP_LIMIT: u8 = 255;

/// Takes a message of neighbour discovery that has come from `source` to `destination`.
pub(crate) fn receive(
    ip: &mut Ip,
    now: Instant,
    metadata: &Metadata,
    (source, destination): (Ipv6Addr, Ipv6Addr),
    kind: u8,
    packet: Packet,
) {
    // RFC 6980 §5: never in fragments.
    let from_link = metadata.hop_limit == HOP_LIMIT && !metadata.fragmented;
    let message = Message::parse(kind, packet.bytes()).filter(|_| from_link);
    let taken = match message {
        Some(Message::NeighborSolicit { target, options }) => {
            let mac = options.source_link();
            let nonce = options.nonce().and_then(|nonce| nonce.try_into().ok());
            let solicit = Solicit { source, destination, target, mac, nonce };
            return solicit.receive(ip, now, packet);
        }
        Some(Message::NeighborAdvert { router, solicited, overrides, target, options }) => {
            let flags = AdvertFlags { router, solicited, overrides };
            // RFC 4861 §7.1.2: nobody has asked for all.
            let valid = !(solicited && metadata.cast == Cast::Multicast);
            valid.then(|| advertised(ip, now, flags, target, options.target_link()))
        }
        Some(Message::RouterAdvert(advert)) => {
            let valid = is_router(ip, source);
            valid.then(|| slaac::advertised(ip, now, source, &advert))
        }
        Some(Message::Redirect { target, destination, options }) => {
            let valid = is_router(ip, source);
            let mac = options.target_link();
            valid.then(|| redirected(ip, now, source, target, destination, mac))
        }
        // A host has no use for those that look for routers.
        Some(Message::RouterSolicit { .. }) => Some(()),
        None => None,
    };
    if taken.is_none() {
        ip.count(Drop::NdpMalformed);
    }
    ip.perform(now);
}

/// Whether somebody may speak as a router: from its address for the link, which is not ours, nor
/// about to be.
fn is_router(ip: &Ip, source: Ipv6Addr) -> bool {
    source.is_unicast_link_local() && !ip.v6.has(source)
}

/// A neighbour solicitation.
struct Solicit {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    mac: Option<Mac>,
    nonce: Option<[u8; 6]>,
}

impl Solicit {
    /// Answers in the packet that it came in, if it is for us (RFC 4861 §7.2.3, §7.2.4).
    fn receive(&self, ip: &mut Ip, now: Instant, mut packet: Packet) {
        let &Self { source, destination, target, mac, nonce } = self;
        let nobody = source.is_unspecified();
        // RFC 4861 §7.1.1: who has no address yet asks all that might have it, and has none to tell.
        let malformed = nobody && (destination != solicited_node(target) || mac.is_some());
        if malformed || mac.is_some_and(|mac| !mac.is_unicast()) {
            return ip.count(Drop::NdpMalformed);
        }
        if !ip.v6.is_own(target) {
            // RFC 4862 §5.4.3: another that is about to take the address counts as one that has it.
            let asked = |own: &Own<Ipv6Cidr>| own.cidr.address() == target && own.asked_with(nonce);
            if nobody && ip.v6.has(target) && !ip.v6.addresses.iter().any(asked) {
                return conflict(ip, now, target);
            }
            return ip.count(Drop::NdpForeign);
        }
        if let Some(mac) = mac {
            ip.learn(now, IpAddr::V6(source), mac, Evidence::Request);
        }
        let to = if nobody { ALL_NODES } else { source };
        let flags = AdvertFlags { router: false, solicited: !nobody, overrides: true };
        packet.clear();
        let mac = Some(ip.link.mac);
        if ndp::neighbor_advert(&mut packet, flags, target, mac, target, to) {
            ip.stats.neighbor_adverts += 1;
            send(ip, now, target, to, packet);
        }
        ip.perform(now);
    }
}

/// Hears who has an address (RFC 4861 §7.2.5).
fn advertised(ip: &mut Ip, now: Instant, flags: AdvertFlags, target: Ipv6Addr, mac: Option<Mac>) {
    if ip.v6.has(target) {
        return conflict(ip, now, target);
    }
    let address = IpAddr::V6(target);
    let mac = mac.filter(|mac| mac.is_unicast());
    let AdvertFlags { router, solicited, overrides } = flags;
    match ip.neighbors.advertised(now, address, mac, solicited, overrides) {
        None => return ip.count(Drop::NdpForeign),
        Some(Heard::PassedOver) => return,
        Some(Heard::Believed(resolved)) => ip.send_waiting(resolved),
    }
    let is_router = |route: &routes::Entry| {
        route.gateway == Some(address) && route.source == routes::Source::Router
    };
    // RFC 4861 §7.2.5: what has gone by it finds another way.
    if !router {
        ip.destinations.no_router(address);
        if ip.routes.remove(&is_router) {
            ip.destinations.invalidate();
        }
    }
}

/// Takes another first hop from the router by which a destination is reached (RFC 4861 §8.3).
fn redirected(
    ip: &mut Ip,
    now: Instant,
    router: Ipv6Addr,
    target: Ipv6Addr,
    destination: Ipv6Addr,
    mac: Option<Mac>,
) {
    let (destination, next_hop) = (IpAddr::V6(destination), IpAddr::V6(target));
    // By whom it goes now, whatever has changed since something was sent there. If nothing was, it
    // is remembered all the same.
    let first_hop = if ip.destinations.is_known(destination) {
        ip.route(now, destination, None)
    } else {
        ip.route_back(now, destination, None)
    };
    let first_hop = first_hop.ok().filter(|route| route.next_hop == IpAddr::V6(router));
    let Some(route) = first_hop.filter(|_| !ip.v6.has(target)) else {
        return ip.count(Drop::IcmpUnexpected);
    };
    ip.destinations.set_aside(now, route);
    if !ip.destinations.set_redirect(now, destination, router.into(), next_hop) {
        return ip.count(Drop::IcmpUnexpected);
    }
    ip.stats.redirects += 1;
    if let Some(mac) = mac.filter(|mac| mac.is_unicast()) {
        ip.learn(now, next_hop, mac, Evidence::Request);
    }
}

/// Somebody else has an address of ours, or wants it.
fn conflict(ip: &mut Ip, now: Instant, address: Ipv6Addr) {
    ip.count(Drop::NdpConflict);
    let mut own = ip.v6.addresses.iter_mut();
    let Some(own) = own.find(|own| own.cidr.address() == address) else { return };
    // RFC 4862 leaves it open what to do about an address that is in use: it stays.
    let Conflict::Lost { again } = own.claim.conflict(now) else { return };
    own.conflicts = own.conflicts.saturating_add(1);
    let own = *own;
    if !again {
        ip.changed(AddressEvent::Conflict(own.describe()));
    }
    ipv6::leave_group(ip, now, address);
    if matches!(own.origin, Origin::LinkLocal | Origin::Router) {
        slaac::try_another(ip, now, &own);
    }
}

/// Asks for the addresses that the host is about to have, and lets go of those whose time is over.
pub(crate) fn handle_timeout(ip: &mut Ip, now: Instant) {
    let over = |ip: &Ip| {
        let mut own = ip.v6.addresses.iter();
        own.find(|own| own.valid_until <= now).map(|own| own.cidr.address())
    };
    while let Some(address) = over(ip) {
        ipv6::remove_address(ip, now, address);
    }
    let silence = ip.neighbors.retransmit_v6();
    let mut deprecated = false;
    for at in 0..ip.v6.addresses.len() {
        let own = &mut ip.v6.addresses[at];
        if !own.deprecated && own.preferred_until <= now {
            own.deprecated = true;
            deprecated = true;
        }
        let step = own.claim.step_v6(now, silence);
        if step == Some(Step::Probe) {
            // RFC 7527 §4.1: so that a message that comes back is known to be no other's.
            own.nonce = array::from_fn(|_| ip.random.next_u32() as u8);
        }
        let own = *own;
        match step {
            Some(Step::Probe) => {
                // The group of one that was another's has been left.
                ipv6::join_group(ip, now, own.cidr.address());
                if !probe(ip, now, own.cidr.address(), own.nonce) {
                    ip.v6.addresses[at].claim.unasked(now);
                }
            }
            Some(Step::Held) => {
                ip.changed(AddressEvent::Added(own.describe()));
                if own.origin == Origin::LinkLocal {
                    slaac::solicit_routers(ip, now);
                    ip.multicast.announce(now, true);
                }
            }
            Some(Step::Announce) | None => {}
        }
    }
    if deprecated {
        // Others are chosen from now on.
        ip.destinations.invalidate();
    }
}

impl Own<Ipv6Cidr> {
    /// Whether a question who has the address is our own, which has come back.
    fn asked_with(&self, nonce: Option<[u8; 6]>) -> bool {
        nonce == Some(self.nonce) && self.nonce != [0; 6]
    }
}

/// Asks everybody who might have an address whether they do; `false` if there is no packet to ask
/// with.
fn probe(ip: &mut Ip, now: Instant, address: Ipv6Addr, nonce: [u8; 6]) -> bool {
    let (nobody, group) = (Ipv6Addr::UNSPECIFIED, solicited_node(address));
    let Some(mut packet) = ip.link.pool.take() else {
        ip.count(Drop::NoPacket);
        return false;
    };
    let nonce = Some(nonce);
    let emitted = ndp::neighbor_solicit(&mut packet, address, None, nonce, nobody, group);
    if emitted {
        ip.stats.neighbor_solicits += 1;
        send(ip, now, nobody, group, packet);
    }
    emitted
}

/// Asks for `address`: everybody who might have it, or only who had it before (RFC 4861 §7.2.2).
pub(crate) fn solicit(ip: &mut Ip, now: Instant, address: Ipv6Addr, mac: Option<Mac>) {
    // RFC 4861 §7.2.2: from where what waits for the answer comes, so that it knows that sender.
    let waits = ip.neighbors.waiting_source(address.into()).filter(|&source| ip.v6.is_own(source));
    let Some(source) = waits.or_else(|| ipv6::source(ip, now, address)) else { return };
    let to = if mac.is_some() { address } else { solicited_node(address) };
    let Some(mut packet) = ip.link.pool.take() else {
        return ip.count(Drop::NoPacket);
    };
    let own = Some(ip.link.mac);
    if ndp::neighbor_solicit(&mut packet, address, own, None, source, to) {
        ip.stats.neighbor_solicits += 1;
        send(ip, now, source, to, packet);
    }
}

/// Sends a message to a neighbour, whatever the routes say.
pub(crate) fn send(
    ip: &mut Ip,
    now: Instant,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    packet: Packet,
) {
    let route = Route {
        destination: destination.into(),
        source: source.into(),
        next_hop: destination.into(),
        mtu: ip.v6.mtu,
        header_len: HEADER_LEN as u16,
    };
    let options = SendOptions { hop_limit: Some(HOP_LIMIT), ..SendOptions::default() };
    // What does not go out is counted there, and asked for again.
    let _ = ip.send(now, &route, ICMP, &options, packet);
}
