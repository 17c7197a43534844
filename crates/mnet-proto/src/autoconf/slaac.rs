//! How an IPv6 host finds its routers, and makes its addresses by itself (RFC 4861 §6.3, RFC 4862
//! §5, RFC 7217, RFC 7559, RFC 8106).

use alloc::vec::Vec;
use core::hash::Hasher;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use netdev::{Instant, Mac};
use rand_core::Rng;
use siphasher::sip::SipHasher24;

use crate::autoconf::Claim;
use crate::config::{Config, InterfaceId};
use crate::ip::address::Own;
use crate::ip::{Ip, Ipv6Cidr, Origin, earlier, ipv6, routes};
use crate::neighbor::{Evidence, ndp as neighbors};
use crate::stats::Drop;
use crate::wire::ipv6::{ALL_ROUTERS, MIN_MTU, is_host_address};
use crate::wire::ndp::{self, NdpOption, Prefix, RouterAdvert};

/// What no router takes on: it is on every link (RFC 4291 §2.4, RFC 4861 §6.3.4).
pub(crate) const ON_LINK: Ipv6Cidr = prefix(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
/// The part of it that hosts make addresses of (RFC 4291 §2.5.6).
pub(crate) const LINK_LOCAL: Ipv6Cidr = prefix(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64);
/// Everything.
pub(crate) const DEFAULT: Ipv6Cidr = prefix(Ipv6Addr::UNSPECIFIED, 0);

/// RFC 4861 §10: RTR_SOLICITATION_INTERVAL; RFC 7559 §2: IRT.
const SOLICIT: Duration = Duration::from_secs(4);
/// RFC 7559 §2: MRT.
const SOLICIT_SELDOM: Duration = Duration::from_secs(3_600);
/// RFC 4862 §5.5.3 (e): a lifetime that nobody may shorten below this by a forged advertisement.
const TWO_HOURS: Duration = Duration::from_secs(7_200);
/// RFC 7217 §7: IDGEN_RETRIES.
const RETRIES: u8 = 3;
/// RFC 7217 §7: IDGEN_DELAY.
const RETRY: Duration = Duration::from_secs(1);
/// Most DNS servers to remember.
const DNS_SERVERS: usize = 8;
/// In milliseconds, as RFC 4862 §5.4.2 has it for hosts that hear of a prefix all at once.
const DELAY: u32 = 1_000;

const fn prefix(address: Ipv6Addr, len: u8) -> Ipv6Cidr {
    match Ipv6Cidr::new(address, len) {
        Some(cidr) => cidr,
        None => unreachable!(),
    }
}

/// What a host knows of its routers besides the routes, and how it makes its addresses.
pub(crate) struct Slaac {
    autoconf: bool,
    interface_id: InterfaceId,
    mac: Mac,
    solicits: u32,
    next_solicit: Option<Instant>,
    dns_servers: Vec<(Ipv6Addr, Instant)>,
}

impl Slaac {
    pub(crate) fn new(config: &Config, mac: Mac) -> Self {
        Self {
            autoconf: config.ipv6.autoconf,
            interface_id: config.ipv6.interface_id,
            mac,
            solicits: 0,
            next_solicit: None,
            dns_servers: Vec::new(),
        }
    }

    /// When a router is to be asked for, or a DNS server's time is over.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let first = self.dns_servers.iter().map(|&(_, until)| until).min();
        earlier(self.next_solicit, first.filter(|&first| first < Instant::FAR_FUTURE))
    }

    /// The DNS servers that routers have named (RFC 8106).
    pub(crate) fn dns_servers(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.dns_servers.iter().map(|&(server, _)| server)
    }

    /// The address that this host makes of a prefix of 64 bits, at its n-th try.
    fn address(&self, prefix: Ipv6Cidr, tries: u8) -> Ipv6Cidr {
        prefix.with_interface_id(match self.interface_id {
            InterfaceId::Eui64 => eui64(self.mac),
            InterfaceId::Stable { secret } => stable(prefix, self.mac, tries, secret),
        })
    }
}

/// Takes the address for the link alone.
pub(crate) fn start(ip: &mut Ip, now: Instant, delay: Duration) {
    let cidr = ip.v6.slaac.address(LINK_LOCAL, 0);
    let _ = ipv6::add_address(ip, now, cidr, Origin::LinkLocal, delay);
}

/// Begins to ask for routers, once there is an address to ask from, unless one has been heard of.
pub(crate) fn solicit_routers(ip: &mut Ip, now: Instant) {
    if ip.v6.slaac.autoconf && !ip.routes.has_advertised_router() {
        ip.v6.slaac.solicits = 0;
        ip.v6.slaac.next_solicit = Some(now);
        handle_timeout(ip, now);
    }
}

/// Asks for routers, if it is time, and forgets DNS servers whose time is over.
pub(crate) fn handle_timeout(ip: &mut Ip, now: Instant) {
    ip.v6.slaac.dns_servers.retain(|&(_, until)| now < until);
    if ip.v6.slaac.next_solicit.is_none_or(|next| next > now) {
        return;
    }
    // RFC 7559 §2: ever less often, by a tenth more or less.
    let slaac = &mut ip.v6.slaac;
    let interval = SOLICIT.saturating_mul(1 << slaac.solicits.min(10)).min(SOLICIT_SELDOM);
    let spread = interval / 1_000 * (ip.random.next_u32() % 200);
    slaac.solicits = slaac.solicits.saturating_add(1);
    slaac.next_solicit = Some(now + (interval - interval / 10) + spread);
    let Some(source) = ip.v6.link_local() else { return };
    let Some(mut packet) = ip.link.pool.take() else {
        return ip.count(Drop::NoPacket);
    };
    if ndp::router_solicit(&mut packet, Some(ip.link.mac), source, ALL_ROUTERS) {
        ip.stats.router_solicits += 1;
        neighbors::send(ip, now, source, ALL_ROUTERS, packet);
    }
}

/// Takes a router's advertisement (RFC 4861 §6.3.4).
pub(crate) fn advertised(ip: &mut Ip, now: Instant, router: Ipv6Addr, advert: &RouterAdvert<'_>) {
    if !ip.v6.slaac.autoconf {
        return;
    }
    ip.stats.router_adverts += 1;
    if advert.lifetime > 0 {
        ip.v6.slaac.next_solicit = None;
    }
    if advert.hop_limit > 0 {
        ip.v6.hop_limit = advert.hop_limit;
    }
    let millis = |millis: u32| Duration::from_millis(millis.into());
    ip.neighbors.set_times(millis(advert.reachable), millis(advert.retransmit));
    if let Some(mac) = advert.options.source_link().filter(|mac| mac.is_unicast()) {
        ip.learn(now, router.into(), mac, Evidence::Request);
    }
    let gateway = Some(IpAddr::V6(router));
    let mut entry = routes::Entry::new(DEFAULT.into(), gateway, routes::Source::Router);
    entry.preference = advert.preference;
    entry.expires = now + Duration::from_secs(advert.lifetime.into());
    set_route(ip, now, entry);
    for option in advert.options.iter() {
        match option {
            NdpOption::Mtu(mtu) => match u16::try_from(mtu) {
                Ok(mtu) if (MIN_MTU..=ip.link.mtu).contains(&mtu) => ip.v6.mtu = mtu,
                _ => {}
            },
            NdpOption::Prefix(prefix) => take_prefix(ip, now, &prefix),
            NdpOption::Rdnss { lifetime, servers } => {
                let servers = servers.iter().map(|&server| Ipv6Addr::from(server));
                let servers = servers.filter(|&server| is_host_address(server));
                let until = until(now, lifetime);
                servers.for_each(|server| ip.v6.slaac.take_dns_server(now, server, until));
            }
            _ => {}
        }
    }
    ip.destinations.invalidate();
}

impl Slaac {
    fn take_dns_server(&mut self, now: Instant, server: Ipv6Addr, until: Instant) {
        if until <= now {
            self.dns_servers.retain(|known| known.0 != server);
        } else if let Some(known) = self.dns_servers.iter_mut().find(|known| known.0 == server) {
            known.1 = until;
        } else if self.dns_servers.len() < DNS_SERVERS {
            self.dns_servers.push((server, until));
        }
    }
}

/// Sets a route, or takes it away if its time is over already.
fn set_route(ip: &mut Ip, now: Instant, entry: routes::Entry) {
    if entry.expires <= now {
        if ip.routes.remove(&|known| known.is_same_way(&entry)) {
            ip.lost(&entry);
        }
    } else if !ip.routes.set(entry) {
        ip.count(Drop::TooManyRoutes);
    }
}

/// Takes a prefix of the link (RFC 4861 §6.3.4, RFC 4862 §5.5.3).
fn take_prefix(ip: &mut Ip, now: Instant, prefix: &Prefix) {
    let Some(cidr) = Ipv6Cidr::new(prefix.prefix, prefix.prefix_len) else { return };
    let cidr = cidr.network();
    let none = cidr.address().is_unicast_link_local() || cidr.address().is_multicast();
    if none || prefix.preferred > prefix.valid {
        return;
    }
    if prefix.on_link {
        let mut entry = routes::Entry::new(cidr.into(), None, routes::Source::Router);
        entry.expires = until(now, prefix.valid);
        set_route(ip, now, entry);
    }
    if prefix.autonomous && prefix.prefix_len == 64 {
        take_address(ip, now, cidr, until(now, prefix.preferred), until(now, prefix.valid));
    }
}

/// Makes an address of a prefix, or gives the one that there is more time, or less.
fn take_address(ip: &mut Ip, now: Instant, prefix: Ipv6Cidr, preferred: Instant, valid: Instant) {
    let mut own = ip.v6.addresses.iter_mut();
    let known = own.find(|own| own.origin == Origin::Router && own.cidr.network() == prefix);
    if let Some(own) = known {
        own.preferred_until = preferred;
        own.deprecated = false;
        let (left, offered) = (own.valid_until - now, valid - now);
        if offered > TWO_HOURS || offered > left {
            own.valid_until = valid;
        } else if left > TWO_HOURS {
            own.valid_until = now + TWO_HOURS;
        }
        return;
    }
    if valid <= now {
        return;
    }
    let cidr = ip.v6.slaac.address(prefix, 0);
    let delay = Duration::from_millis((ip.random.next_u32() % DELAY).into());
    match ipv6::add_address(ip, now, cidr, Origin::Router, delay) {
        Ok(own) => {
            own.preferred_until = preferred;
            own.valid_until = valid;
        }
        Err(error) => ip.count_refused(error),
    }
}

/// Makes another address of the same prefix, if this one turned out to be another host's, and there
/// is another to be made (RFC 7217 §6).
pub(crate) fn try_another(ip: &mut Ip, now: Instant, own: &Own<Ipv6Cidr>) {
    let next = ip.v6.slaac.address(own.cidr.network(), own.conflicts);
    if own.conflicts > RETRIES || next == own.cidr {
        return;
    }
    ipv6::remove_address(ip, now, own.cidr.address());
    if let Ok(other) = ipv6::add_address(ip, now, next, own.origin, RETRY) {
        *other = Own { cidr: next, claim: Claim::new(now, RETRY), ..*own };
    }
}

/// The time in so many seconds; `u32::MAX` never comes (RFC 4861 §4.6.2).
fn until(now: Instant, seconds: u32) -> Instant {
    match seconds {
        u32::MAX => Instant::FAR_FUTURE,
        seconds => now + Duration::from_secs(seconds.into()),
    }
}

/// An interface identifier made of an Ethernet address (RFC 4291, appendix A).
fn eui64(Mac([a, b, c, d, e, f]): Mac) -> u64 {
    u64::from_be_bytes([a ^ 0x02, b, c, 0xff, 0xfe, d, e, f])
}

/// An interface identifier that is always the same on one network, and says nothing on another (RFC
/// 7217 §5), nor is one of those that are set apart (RFC 5453).
fn stable(prefix: Ipv6Cidr, mac: Mac, tries: u8, secret: [u8; 16]) -> u64 {
    let identifiers = (0..=u8::MAX).map(|reserved| {
        let mut hash = SipHasher24::new_with_key(&secret);
        hash.write(&prefix.address().octets()[..8]);
        hash.write(&mac.0);
        hash.write(&[tries, reserved]);
        hash.finish()
    });
    let free = |id: &u64| {
        !matches!(id, 0 | 0x0200_5eff_fe00_0000..=0x0200_5eff_feff_ffff)
            && *id < 0xfdff_ffff_ffff_ff80
    };
    let mut identifiers = identifiers.filter(free);
    // One in a billion is set apart: the first will do.
    identifiers.next().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0x02, 0x11, 0x22, 0x33, 0x44, 0x55]);

    #[test]
    fn an_identifier_made_of_an_ethernet_address_is_as_in_rfc_4291() {
        // RFC 4291, appendix A, with bytes in place of its letters.
        assert_eq!(eui64(Mac([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde])), 0x3656_78ff_fe9a_bcde);
        assert_eq!(eui64(MAC), 0x0011_22ff_fe33_4455);
    }

    #[test]
    fn a_stable_identifier_depends_on_network_card_secret_and_try_alone() {
        let a = prefix("2001:db8:1::".parse().unwrap(), 64);
        let b = prefix("2001:db8:2::".parse().unwrap(), 64);
        let id = stable(a, MAC, 0, [7; 16]);
        assert_eq!(stable(a, MAC, 0, [7; 16]), id);
        for other in [
            stable(b, MAC, 0, [7; 16]),
            stable(a, Mac([2, 0, 0, 0, 0, 1]), 0, [7; 16]),
            stable(a, MAC, 1, [7; 16]),
            stable(a, MAC, 0, [8; 16]),
        ] {
            assert_ne!(other, id);
        }
    }
}
