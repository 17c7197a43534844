//! Which way to a destination, and from which of the host's addresses (RFC 1122 §3.3.4.3, RFC 6724
//! §5).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netdev::Instant;

use super::address::Own;
use super::cidr::{is_unicast, is_unicast_v6};
use super::{Cast, Ip, Ipv4Cidr, Ipv6Cidr, Network, Route, SendError};
use crate::wire::{ipv4, ipv6};

/// The policy of RFC 6724 §2.1: a prefix, how long it is, and its label; the longest ones first.
const LABELS: [(u128, u8, u8); 9] = [
    (1, 128, 0),
    (0x0000_ffff << 32, 96, 4),
    (0, 96, 3),
    (0x2001 << 112, 32, 5),
    (0x2002 << 112, 16, 2),
    (0x3ffe << 112, 16, 12),
    (0xfec0 << 112, 10, 11),
    (0xfc00 << 112, 7, 13),
    (0, 0, 1),
];

/// Finds the way to a destination, and remembers it.
pub(super) fn route(
    ip: &mut Ip,
    now: Instant,
    destination: IpAddr,
    source: Option<IpAddr>,
) -> Result<Route, SendError> {
    let route = find(ip, now, destination, source)?;
    let group = ip.cast(destination) != Cast::Unicast;
    if group {
        return Ok(route);
    }
    Ok(ip.destinations.set_route(now, route, source.is_some()))
}

/// Finds the way to a destination.
pub(super) fn find(
    ip: &Ip,
    now: Instant,
    destination: IpAddr,
    source: Option<IpAddr>,
) -> Result<Route, SendError> {
    if source.is_some_and(|source| !ip.is_local(source)) {
        return Err(SendError::SourceNotLocal);
    }
    let group = ip.cast(destination) != Cast::Unicast;
    // A group on one interface alone is on no link (RFC 4291 §2.7).
    let leaves = |group: IpAddr| !matches!(group, IpAddr::V6(group) if ipv6::scope(group) < 2);
    let next_hop = if group {
        Some(destination).filter(|&group| leaves(group))
    } else {
        next_hop(ip, now, destination)
    };
    let next_hop = next_hop.ok_or(SendError::RouteNotFound)?;
    let own = || self::source(ip, now, destination, next_hop);
    let source = source.or_else(own).ok_or(SendError::RouteNotFound)?;
    let (mtu, header_len) = match destination {
        IpAddr::V4(_) => (ip.v4.mtu, ipv4::HEADER_LEN),
        IpAddr::V6(_) => (ip.v6.mtu, ipv6::HEADER_LEN),
    };
    let family = destination.is_ipv4();
    if source.is_ipv4() != family || next_hop.is_ipv4() != family {
        return Err(SendError::RouteNotFound);
    }
    Ok(Route { destination, source, next_hop, mtu, header_len: header_len as u16 })
}

/// The neighbour that takes on what goes to a host.
fn next_hop(ip: &Ip, now: Instant, destination: IpAddr) -> Option<IpAddr> {
    if !is_host(ip, destination) {
        return None;
    }
    let redirect = ip.destinations.redirect(now, destination);
    redirect.or_else(|| Some(gateway(ip, destination)?.unwrap_or(destination)))
}

/// The router that takes on what goes to a host of which nothing else is known; `None` if none does.
pub(super) fn router(ip: &Ip, destination: IpAddr) -> Option<IpAddr> {
    if is_host(ip, destination) { gateway(ip, destination)? } else { None }
}

/// Whether an address can be another host's.
fn is_host(ip: &Ip, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => ip.v4.is_other_host(address),
        IpAddr::V6(address) => is_unicast_v6(address) && !ip.v6.has(address),
    }
}

/// By which router the routes lead to a destination: by none, if it is on the link.
fn gateway(ip: &Ip, destination: IpAddr) -> Option<Option<IpAddr>> {
    let is_reachable = |gateway| ip.neighbors.is_probably_reachable(gateway);
    Some(ip.routes.lookup(destination, is_reachable)?.gateway)
}

/// The address to send from; `None` if there is none, or destination and next hop are of different
/// families.
pub(super) fn source(
    ip: &Ip,
    now: Instant,
    destination: IpAddr,
    next_hop: IpAddr,
) -> Option<IpAddr> {
    match (destination, next_hop) {
        (IpAddr::V4(to), IpAddr::V4(next_hop)) => source_v4(ip, to, next_hop).map(IpAddr::V4),
        (IpAddr::V6(to), IpAddr::V6(_)) => source_v6(ip, now, to).map(IpAddr::V6),
        _ => None,
    }
}

/// The IPv4 address to send from: one on the link of the destination's, or of the router's.
pub(super) fn source_v4(ip: &Ip, destination: Ipv4Addr, next_hop: Ipv4Addr) -> Option<Ipv4Addr> {
    let rank = |own: &&Own<Ipv4Cidr>| {
        let near = |address| own.cidr.contains(address).then_some(own.cidr.prefix_len());
        (near(destination), near(next_hop))
    };
    best(ip.v4.addresses.iter().filter(|own| super::ipv4::is_used(own)), rank)
        .map(|own| own.cidr.address())
        .filter(|&own| is_unicast(own))
}

/// The IPv6 address to send from, by the rules of RFC 6724 §5 that tell a host's addresses on one
/// link apart: 1, 2, 3, 6 and 8.
pub(super) fn source_v6(ip: &Ip, now: Instant, destination: Ipv6Addr) -> Option<Ipv6Addr> {
    let scope = ipv6::scope(destination);
    let rank = |own: &&Own<Ipv6Cidr>| {
        let address = own.cidr.address();
        let own_scope = ipv6::scope(address);
        // Of two that reach far enough the nearer one, else the one that reaches farthest.
        let reach =
            if own_scope >= scope { (true, u8::MAX - own_scope) } else { (false, own_scope) };
        (
            address == destination,
            reach,
            own.preferred_until > now,
            label(address) == label(destination),
            common_prefix(address, destination).min(own.cidr.prefix_len()),
        )
    };
    best(ip.v6.addresses.iter().filter(|own| own.is_usable()), rank).map(|own| own.cidr.address())
}

/// The first of those that rank highest.
pub(super) fn best<T, R: PartialOrd>(
    mut all: impl Iterator<Item = T>,
    rank: impl Fn(&T) -> R,
) -> Option<T> {
    let mut best = all.next()?;
    // Of one alone it does not matter.
    let mut highest = None;
    for item in all {
        let rank_of_item = rank(&item);
        if rank_of_item > *highest.get_or_insert_with(|| rank(&best)) {
            highest = Some(rank_of_item);
            best = item;
        }
    }
    Some(best)
}

fn label(address: Ipv6Addr) -> u8 {
    let of = |&&(prefix, len, _): &&(u128, u8, u8)| {
        Ipv6Cidr::new(Ipv6Addr::from_bits(prefix), len).is_some_and(|cidr| cidr.contains(address))
    };
    LABELS.iter().find(of).map_or(1, |&(_, _, label)| label)
}

fn common_prefix(a: Ipv6Addr, b: Ipv6Addr) -> u8 {
    (a.to_bits() ^ b.to_bits()).leading_zeros() as u8
}
