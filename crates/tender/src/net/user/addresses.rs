//! Who is who on a `user` network, and where that is on the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netdev::Mac;

/// The gateway's Ethernet address.
pub(crate) const MAC: Mac = Mac([0x52, 0x55, 10, 0, 2, 2]);

/// The gateway's IPv4 address.
pub(crate) const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Where the host's name server can be asked over IPv4, if it has one.
pub(crate) const NAMESERVER_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// The mask of the network's IPv4 addresses.
pub(crate) const MASK_V4: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// Where the guest is.
pub(crate) const GUEST_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// What the network's IPv6 addresses begin with, 64 bits long.
///
/// RFC 4193 wants the bits behind `fd` to be random, lest two networks that are joined one day have
/// the same. This one is never joined to any: no packet with its addresses leaves the tender. What
/// that gives is an address of the gateway that is the same wherever an image runs, as 10.0.2.2 is.
pub(crate) const PREFIX_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 2, 0, 0, 0, 0, 0);
/// The gateway's IPv6 address in the prefix.
pub(crate) const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 2, 0, 0, 0, 0, 2);
/// Where the host's name server can be asked over IPv6, if it has one.
pub(crate) const NAMESERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 2, 0, 0, 0, 0, 3);
/// The gateway's link-local address, which it advertises itself as a router from.
pub(crate) const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// The gateway's address of the same family.
pub(super) fn gateway(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { GATEWAY_V4.into() } else { GATEWAY_V6.into() }
}

/// The name server's address of the same family.
pub(super) fn nameserver(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { NAMESERVER_V4.into() } else { NAMESERVER_V6.into() }
}

/// Whether an address begins with [`PREFIX_V6`].
pub(super) fn is_in_prefix(address: Ipv6Addr) -> bool {
    address.segments()[..4] == PREFIX_V6.segments()[..4]
}

/// Where a datagram of the guest really goes; `None` if it may not go there.
///
/// The gateway's address stands for the host itself, at its loopback address. No other loopback
/// address can be reached, nor what is only on the host's links: multicast, broadcast, link-local.
pub(super) fn to_host(destination: IpAddr) -> Option<IpAddr> {
    match destination {
        IpAddr::V4(GATEWAY_V4) => Some(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(GATEWAY_V6) => Some(Ipv6Addr::LOCALHOST.into()),
        _ => is_elsewhere(destination).then_some(destination),
    }
}

/// The reverse of [`to_host`]: who the guest sees.
pub(super) fn to_guest(source: IpAddr) -> Option<IpAddr> {
    match source {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Some(GATEWAY_V4.into()),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some(GATEWAY_V6.into()),
        _ => is_elsewhere(source).then_some(source),
    }
}

/// Whether an address is one of several hosts.
pub(super) fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let on_link = address.to_bits() & MASK_V4.to_bits();
            let directed = on_link == GATEWAY_V4.to_bits() & MASK_V4.to_bits()
                && address.to_bits() | MASK_V4.to_bits() == u32::MAX;
            address.is_multicast() || address.is_broadcast() || directed
        }
        IpAddr::V6(address) => address.is_multicast(),
    }
}

/// Whether it can be an address beyond the host's own links, and is none of this network.
fn is_elsewhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            let forbidden = address.is_loopback()
                || address.is_link_local()
                || a == 0
                || a >= 224
                || [a, b, c] == [10, 0, 2];
            !forbidden
        }
        IpAddr::V6(address) => {
            let forbidden = address.is_multicast()
                || address.is_unicast_link_local()
                // Unspecified, loopback, and whatever else has an IPv4 address in it, which the
                // host might take for that.
                || address.segments()[..5] == [0; 5]
                || is_in_prefix(address);
            !forbidden
        }
    }
}
