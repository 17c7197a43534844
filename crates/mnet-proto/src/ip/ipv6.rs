//! IPv6: what is for us and what is not (RFC 8200).

mod walk;

use alloc::vec::Vec;
use core::hint::cold_path;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use netdev::{Instant, Packet};
use rand_core::Rng;

use self::walk::Walk;
pub(crate) use self::walk::quoted;
use super::address::{self, AddressError, Own};
use super::cidr::is_unicast_v6;
use super::{
    AddressEvent, Arrival, Cast, ControlBlock, Ip, Ipv6Cidr, Origin, Received, earlier, routes,
};
use crate::autoconf::Claim;
use crate::autoconf::slaac::{self, Slaac};
use crate::config::Config;
use crate::ethernet::Link;
use crate::multicast::{Filter, HOST};
use crate::stats::Drop;
use crate::wire::ipv4;
use crate::wire::ipv6::{self, HEADER_LEN, Header};

/// RFC 4861 §10: MAX_RTR_SOLICITATION_DELAY, in milliseconds; RFC 4862 §5.4.2 has it too.
const DELAY: u32 = 1_000;

/// The host's IPv6 addresses, and what follows from them.
pub(crate) struct Ipv6 {
    pub(crate) enabled: bool,
    pub(crate) addresses: Vec<Own<Ipv6Cidr>>,
    pub(crate) hop_limit: u8,
    pub(crate) mtu: u16,
    pub(crate) slaac: Slaac,
    max_addresses: usize,
}

/// What [`Ipv6::ends`] finds.
struct Ends {
    /// The source is an address that the host is about to take.
    from_claimed: bool,
    /// The destination is one that it uses.
    to_own: bool,
}

impl Own<Ipv6Cidr> {
    /// Whether it may be used.
    #[inline]
    pub(crate) fn is_usable(&self) -> bool {
        !self.claim.is_tentative() && !self.claim.is_refused()
    }
}

impl Ipv6 {
    pub(crate) fn new(config: &Config, link: &Link) -> Self {
        Self {
            enabled: config.ipv6.enabled && link.mtu >= ipv6::MIN_MTU,
            addresses: Vec::new(),
            hop_limit: config.hop_limit,
            mtu: link.mtu,
            slaac: Slaac::new(config, link.mac),
            max_addresses: config.addresses,
        }
    }

    /// Whether the host has this address and uses it.
    #[inline]
    pub(crate) fn is_own(&self, address: Ipv6Addr) -> bool {
        self.addresses.iter().any(|own| own.cidr.address() == address && own.is_usable())
    }

    /// Whether the host has this address, or is about to. One that turned out to be another's is
    /// that other's.
    pub(crate) fn has(&self, address: Ipv6Addr) -> bool {
        let mut own = self.addresses.iter();
        own.any(|own| own.cidr.address() == address && !own.claim.is_refused())
    }

    /// What the host's addresses say of a datagram's source and destination; `None` if it uses the source
    /// itself.
    #[inline]
    fn ends(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Option<Ends> {
        let mut ends = Ends { from_claimed: false, to_own: false };
        for own in &self.addresses {
            let address = own.cidr.address();
            if address == source {
                cold_path();
                if own.is_usable() {
                    return None;
                }
                ends.from_claimed |= !own.claim.is_refused();
            }
            if address == destination && own.is_usable() {
                ends.to_own = true;
            }
        }
        Some(ends)
    }

    /// The address for the link alone, if it may be used.
    pub(crate) fn link_local(&self) -> Option<Ipv6Addr> {
        let mut own = self.addresses.iter().filter(|own| own.is_usable());
        let own = own.find(|own| own.cidr.address().is_unicast_link_local());
        own.map(|own| own.cidr.address())
    }

    /// When an address is to be probed for, or a router asked for.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let addresses = self.addresses.iter().map(Own::poll_timeout);
        addresses.fold(self.slaac.poll_timeout(), earlier)
    }
}

/// Takes the configured addresses, and begins to find others.
pub(crate) fn start(ip: &mut Ip, config: &Config, now: Instant) {
    if !ip.v6.enabled {
        return;
    }
    let _ = ip.multicast.join(now, HOST, ipv6::ALL_NODES.into(), Filter::ANY);
    ip.routes.set(routes::Entry::new(slaac::ON_LINK.into(), None, routes::Source::Static));
    // RFC 4862 §5.4.2: so that not all hosts of a link that start together speak together.
    let delay = Duration::from_millis((ip.random.next_u32() % DELAY).into());
    slaac::start(ip, now, delay);
    for &cidr in &config.ipv6.addresses {
        if let Err(error) = add_address(ip, now, cidr, Origin::Static, delay) {
            ip.count_refused(error);
        }
    }
    if let Some(gateway) = config.ipv6.gateway {
        let gateway = Some(gateway.into());
        let entry = routes::Entry::new(slaac::DEFAULT.into(), gateway, routes::Source::Static);
        if !ip.add_route(entry) {
            ip.count(Drop::TooManyRoutes);
        }
    }
}

/// The address to ask from for one on the link.
pub(crate) fn source(ip: &Ip, now: Instant, address: Ipv6Addr) -> Option<Ipv6Addr> {
    super::selection::source_v6(ip, now, address)
}

/// Gives the host an address that a host can have, once nobody else has said for a while that it is
/// theirs.
pub(crate) fn add_address(
    ip: &mut Ip,
    now: Instant,
    cidr: Ipv6Cidr,
    origin: Origin,
    delay: Duration,
) -> Result<&mut Own<Ipv6Cidr>, AddressError> {
    let address = cidr.address();
    if !ip.v6.enabled {
        return Err(AddressError::FamilyOff);
    }
    address::check_new(&ip.v6.addresses, address, ip.v6.max_addresses)?;
    if origin == Origin::Static && cidr.prefix_len() < 128 {
        let link = routes::Entry::new(cidr.network().into(), None, routes::Source::Static);
        if !ip.add_route(link) {
            return Err(AddressError::TooManyRoutes);
        }
    }
    join_group(ip, now, address);
    ip.address_changes += 1;
    ip.v6.addresses.push(Own::new(cidr, origin, Claim::new(now, delay)));
    ip.v6.addresses.last_mut().ok_or(AddressError::TooMany)
}

/// Takes an address away; `false` if the host does not have it.
pub(crate) fn remove_address(ip: &mut Ip, now: Instant, address: Ipv6Addr) -> bool {
    let mut own = ip.v6.addresses.iter();
    let Some(at) = own.position(|own| own.cidr.address() == address) else { return false };
    let own = ip.v6.addresses.remove(at);
    leave_group(ip, now, address);
    if own.origin == Origin::Static {
        let network = own.cidr.network();
        let shared = |other: &Own<Ipv6Cidr>| {
            other.origin == Origin::Static && other.cidr.network() == network
        };
        if !ip.v6.addresses.iter().any(shared) {
            ip.routes.remove(&|route| {
                route.prefix == network.into()
                    && route.gateway.is_none()
                    && route.source == routes::Source::Static
            });
        }
    }
    if own.is_usable() {
        ip.changed(AddressEvent::Removed(own.describe()));
    } else {
        ip.address_changes += 1;
        ip.destinations.invalidate();
    }
    true
}

/// Joins the group in which an address is asked for (RFC 4862 §5.4.2).
pub(crate) fn join_group(ip: &mut Ip, now: Instant, address: Ipv6Addr) {
    let group = ipv6::solicited_node(address);
    // The table of groups has a place for each address.
    let _ = ip.multicast.join(now, HOST, group.into(), Filter::ANY);
}

/// Leaves the group of an address that is the host's no longer, unless another needs it.
pub(crate) fn leave_group(ip: &mut Ip, now: Instant, address: Ipv6Addr) {
    let group = ipv6::solicited_node(address);
    let needs = |own: &Own<Ipv6Cidr>| {
        !own.claim.is_refused() && ipv6::solicited_node(own.cidr.address()) == group
    };
    if !ip.v6.addresses.iter().any(needs) {
        ip.multicast.leave(now, HOST, group.into());
    }
}

/// Checks a datagram for us, with what is behind it in the frame, and notes what its header says. If what is
/// behind the header is a UDP datagram, returns the length of that; of anything else, and of what there is
/// more to be looked at, `None`: it is for [`receive_rest`].
///
/// # Errors
/// Why it is to be dropped.
#[inline]
pub(crate) fn receive(
    ip: &Ip,
    now: Instant,
    datagram: &[u8],
    block: &mut ControlBlock,
    link_group: bool,
) -> Result<Option<usize>, Drop> {
    let header = Header::parse(datagram).map_err(|_| Drop::Ipv6Malformed)?;
    let (source, destination) = (header.source(), header.destination());
    let mut plain = header.next_header == ipv4::UDP;
    if !is_unicast_v6(source) {
        cold_path();
        if !source.is_unspecified() {
            return Err(Drop::Ipv6Source);
        }
        plain = false;
    }
    let Ends { from_claimed, to_own } = ip.v6.ends(source, destination).ok_or(Drop::Ipv6Source)?;
    let cast = if to_own {
        Cast::Unicast
    } else if is_to_group(ip, destination) {
        Cast::Multicast
    } else {
        return Err(Drop::Ipv6Destination);
    };
    let udp_verified = ip.link.checksums.verifies_udp;
    block.note_v6(header, &Arrival { cast, link_group, udp_verified, now });
    Ok((plain && !from_claimed).then_some(header.payload_len()))
}

/// Whether a datagram is for us that is to this address, which is none of the host's.
#[cold]
#[inline(never)]
fn is_to_group(ip: &Ip, destination: Ipv6Addr) -> bool {
    destination.is_multicast()
        // What is for one interface alone never comes from another (RFC 4291 §2.7).
        && ipv6::scope(destination) > 1
        && ip.multicast.is_joined(destination.into())
}

/// Looks at what [`receive`] has not looked at, the packet's window being what that was given. Returns what
/// is in the datagram, if it is whole.
#[inline(never)]
pub(crate) fn receive_rest(ip: &mut Ip, now: Instant, mut packet: Packet) -> Option<Received> {
    let header = Header::parse(packet.bytes()).ok()?;
    let (next, payload_len) = (header.next_header, header.payload_len());
    // What is behind the datagram is the frame's padding, unless its length is said elsewhere (RFC
    // 2675 §2).
    if payload_len > 0 || next != ipv6::HOP_BY_HOP {
        packet.truncate(HEADER_LEN + payload_len);
    }
    let source = ControlBlock::of(&packet).source();
    // Who has no address yet speaks without one (RFC 4862 §5.4.2), and who has one that we are
    // about to take says so from it (§5.4.4): ICMP looks at what they say, and nobody else.
    let icmp_only = match source {
        IpAddr::V6(source) => source.is_unspecified() || ip.v6.has(source),
        IpAddr::V4(_) => false,
    };
    let reason = match Walk::new(packet, next).run(ip, now) {
        Ok(Some(received)) if icmp_only && received.protocol != ipv6::ICMP => Drop::Ipv6Source,
        Ok(received) => return received,
        Err(reason) => reason,
    };
    ip.count(reason);
    None
}
