use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use netdev::Instant;

use crate::ip::Ipv4Cidr;
use crate::wire::dhcpv4::{INFINITY, Message};
use crate::wire::ipv4::MIN_MTU;

/// What a DHCP server lets a host use, and until when (RFC 2131).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// The host's address, and what is on its link.
    pub address: Ipv4Cidr,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// Destinations and the routers to them, best first; `None` for those on the link. They are the
    /// classless static routes (RFC 3442) if the server gave any, and otherwise default routes by
    /// the routers that it named. Routers that are not on the link are left out.
    pub routes: Vec<(Ipv4Cidr, Option<Ipv4Addr>)>,
    /// Name servers, best first.
    pub dns: Vec<Ipv4Addr>,
    /// Time servers, best first.
    pub ntp: Vec<Ipv4Addr>,
    /// The link's MTU in bytes, 68 at least.
    pub mtu: Option<u16>,
    /// Where names are looked up. Nobody has looked at it, but that it can be printed.
    pub domain: Option<String>,
    /// When the server is asked for more time (T1); [`Instant::FAR_FUTURE`] for never, as with the
    /// other two.
    pub renew: Instant,
    /// When any server is asked (T2).
    pub rebind: Instant,
    /// When the address is the host's no longer.
    pub expires: Instant,
}

impl Lease {
    /// The router to all that no other route leads to, if there is one.
    #[must_use]
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        let default = self.routes.iter().find(|(destination, _)| destination.prefix_len() == 0);
        default.and_then(|&(_, router)| router)
    }

    /// What an offer or acknowledgement of a request that was sent then amounts to; `None` if no
    /// host can do with it.
    pub(super) fn new(message: &Message, sent: Instant) -> Option<Self> {
        let address = cidr(message.yiaddr, message.subnet_mask)?;
        let server = message.server_id.filter(|&server| may_be_other_host(address, server))?;
        let lease_time = message.lease_time.filter(|&seconds| seconds > 0)?;
        let (renew, rebind, expires) = times(message, lease_time, sent);
        let hosts = |addresses: &[Ipv4Addr]| {
            let mut hosts = addresses.to_vec();
            hosts.retain(|&host| may_be_other_host(address, host));
            hosts
        };
        Some(Self {
            address,
            server,
            routes: routes(address, message),
            dns: hosts(&message.dns_servers),
            ntp: hosts(&message.ntp_servers),
            mtu: message.mtu.filter(|&mtu| mtu >= MIN_MTU),
            domain: message.domain_name.clone(),
            renew,
            rebind,
            expires,
        })
    }

    /// Whether it says the same as another, but for times.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        let Self { renew, rebind, expires, .. } = *other;
        Self { renew, rebind, expires, ..self.clone() } == *other
    }
}

/// An address and its prefix; `None` if the mask is none, or no host can have the address.
fn cidr(address: Ipv4Addr, mask: Option<Ipv4Addr>) -> Option<Ipv4Cidr> {
    let prefix_len = match mask.map(Ipv4Addr::to_bits) {
        Some(mask) if mask.leading_ones() + mask.trailing_zeros() < 32 => return None,
        Some(mask) => mask.leading_ones() as u8,
        // The classes of RFC 791.
        None => match address.octets()[0] {
            0..128 => 8,
            128..192 => 16,
            192.. => 24,
        },
    };
    Ipv4Cidr::new(address, prefix_len).filter(|cidr| cidr.is_host())
}

/// Whether somebody else, on the link or not, can have an address.
fn may_be_other_host(own: Ipv4Cidr, address: Ipv4Addr) -> bool {
    let prefix_len = if own.contains(address) { own.prefix_len() } else { 32 };
    address != own.address() && Ipv4Cidr::new(address, prefix_len).is_some_and(Ipv4Cidr::is_host)
}

fn routes(own: Ipv4Cidr, message: &Message) -> Vec<(Ipv4Cidr, Option<Ipv4Addr>)> {
    let mut given = message.classless_routes.clone();
    if given.is_empty()
        && let Some(default) = Ipv4Cidr::new(Ipv4Addr::UNSPECIFIED, 0)
    {
        given.extend(message.routers.iter().map(|&router| (default, router)));
    }
    // A host that has its address to itself knows its routers to be on the link all the same.
    let alone = own.prefix_len() == 32;
    let on_link = |router| {
        let by_route = |(destination, via): &(Ipv4Cidr, Ipv4Addr)| {
            via.is_unspecified() && destination.contains(router)
        };
        alone || own.contains(router) || given.iter().any(by_route)
    };
    let mut routes = Vec::new();
    for &(destination, router) in &given {
        if router.is_unspecified() {
            routes.push((destination, None));
        } else if may_be_other_host(own, router) && on_link(router) {
            routes.push((destination, Some(router)));
        }
    }
    routes
}

/// When to renew and to rebind, and when it ends. Times that are not in this order are replaced by
/// those of RFC 2131 §4.4.5.
fn times(message: &Message, lease_time: u32, sent: Instant) -> (Instant, Instant, Instant) {
    if lease_time == INFINITY {
        return (Instant::FAR_FUTURE, Instant::FAR_FUTURE, Instant::FAR_FUTURE);
    }
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let lease = seconds(lease_time);
    let (half, most) = (lease / 2, lease / 8 * 7);
    let renew = message.renewal_time.map_or(half, seconds);
    let rebind = message.rebinding_time.map_or(most, seconds);
    let in_order = !renew.is_zero() && renew < rebind && rebind < lease;
    let (renew, rebind) = if in_order { (renew, rebind) } else { (half, most) };
    (sent + renew, sent + rebind, sent + lease)
}

#[cfg(test)]
mod tests;
