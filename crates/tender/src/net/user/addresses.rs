//! Who is who on a `user` network, and where that is on the host.

use std::net::{IpAddr, Ipv4Addr};

use netdev::Mac;

/// The gateway's Ethernet address.
pub(crate) const MAC: Mac = Mac([0x52, 0x55, 10, 0, 2, 2]);
/// The gateway's address.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Where the host's name server can be asked, if it has one.
pub(crate) const NAMESERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// The mask of the network's addresses.
pub(crate) const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// Where the guest is.
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// Where a datagram of the guest really goes; `None` if it may not go there.
///
/// The gateway's address stands for the host itself, at its loopback address. No other loopback
/// address can be reached, nor what is only on the host's links: multicast, broadcast, link-local.
pub(super) fn to_host(destination: IpAddr) -> Option<IpAddr> {
    match destination {
        IpAddr::V4(GATEWAY) => Some(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V4(address) => is_elsewhere(address).then_some(destination),
        IpAddr::V6(_) => None,
    }
}

/// The reverse of [`to_host`]: who the guest sees.
pub(super) fn to_guest(source: IpAddr) -> Option<IpAddr> {
    match source {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Some(GATEWAY.into()),
        IpAddr::V4(address) => is_elsewhere(address).then_some(source),
        IpAddr::V6(_) => None,
    }
}

/// Whether it can be an address beyond the host's own links.
fn is_elsewhere(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let forbidden = address.is_loopback()
        || address.is_link_local()
        || a == 0
        || a >= 224
        || [a, b, c] == [10, 0, 2];
    !forbidden
}
