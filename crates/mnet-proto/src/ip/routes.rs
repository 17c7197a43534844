//! Which way a datagram goes: on the link, or by which router (RFC 1122 §3.3.1, RFC 4861 §5.2, §6.3,
//! RFC 4191).

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::IpAddr;

use netdev::Instant;
use thiserror::Error;

use super::IpCidr;
use super::selection::best;
use crate::wire::ndp::Preference;

/// Why a host was not given a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RouteError {
    /// Prefix and router are of different families.
    #[error("The router is of another family than the prefix")]
    FamilyMismatch,
    /// The router's address is none that another host can have.
    #[error("Not an address that a router can have")]
    NotRouter,
    /// The host has as many routes as it may.
    #[error("Too many routes")]
    TooMany,
}

/// How a host came by a route: what comes later in this list is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A router said it, by its advertisements.
    Router,
    /// A DHCP server said it.
    Dhcp,
    /// It was configured.
    Static,
}

/// A way to all addresses of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) prefix: IpCidr,
    /// The router that takes on what goes there; without one they are on the link.
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) source: Source,
    pub(crate) preference: Preference,
    pub(crate) expires: Instant,
    // How often the router was found not to answer.
    failures: u32,
}

impl Entry {
    /// A route that lasts for ever.
    pub(crate) fn new(prefix: IpCidr, gateway: Option<IpAddr>, source: Source) -> Self {
        let (preference, expires) = (Preference::Medium, Instant::FAR_FUTURE);
        Self { prefix, gateway, source, preference, expires, failures: 0 }
    }

    /// Whether it leads to the same by the same, on the same word.
    pub(crate) fn is_same_way(&self, other: &Self) -> bool {
        (self.prefix, self.gateway, self.source) == (other.prefix, other.gateway, other.source)
    }
}

/// How many routes of each kind a host keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// By routers that advertise themselves.
    pub(crate) routers: usize,
    /// Prefixes that routers say are on the link.
    pub(crate) prefixes: usize,
    /// Configured, or by DHCP.
    pub(crate) others: usize,
}

/// The host's routes.
pub(crate) struct Routes {
    entries: Vec<Entry>,
    limits: Limits,
}

impl Routes {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { entries: Vec::new(), limits }
    }

    /// Adds a route, or renews it. `false` if there are too many of its kind: those that are there
    /// stay.
    pub(crate) fn set(&mut self, entry: Entry) -> bool {
        if let Some(known) = self.entries.iter_mut().find(|known| known.is_same_way(&entry)) {
            known.preference = entry.preference;
            known.expires = entry.expires;
            return true;
        }
        let alike = |known: &&Entry| {
            let by_router = |entry: &Entry| entry.source == Source::Router;
            by_router(known) == by_router(&entry)
                && (!by_router(&entry) || known.gateway.is_some() == entry.gateway.is_some())
        };
        let limit = match (entry.source, entry.gateway) {
            (Source::Router, Some(_)) => self.limits.routers,
            (Source::Router, None) => self.limits.prefixes,
            _ => self.limits.others,
        };
        if self.entries.iter().filter(alike).count() >= limit {
            return false;
        }
        self.entries.push(entry);
        true
    }

    /// Removes the routes for which `gone` says so; `true` if there was one.
    pub(crate) fn remove(&mut self, gone: &dyn Fn(&Entry) -> bool) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !gone(entry));
        self.entries.len() != before
    }

    /// Whether there is a router that has advertised itself.
    pub(crate) fn has_advertised_router(&self) -> bool {
        let advertised = |entry: &Entry| entry.source == Source::Router && entry.gateway.is_some();
        self.entries.iter().any(advertised)
    }

    /// Whether a route goes by this router.
    pub(crate) fn is_gateway(&self, address: IpAddr) -> bool {
        self.entries.iter().any(|entry| entry.gateway == Some(address))
    }

    /// The best route to `destination`: of the longest prefix, then one that was configured, then
    /// one whose router may be reached, and of those one that is preferred; of the others one whose
    /// router has failed least often, so that all get their turn (RFC 4861 §6.3.6, RFC 4191 §3.2).
    /// IPv4 routers are in order, and each may be reached until it has failed (RFC 1122 §3.3.1.6,
    /// RFC 2132 §3.5).
    pub(crate) fn lookup(
        &self,
        destination: IpAddr,
        is_reachable: impl Fn(IpAddr) -> bool,
    ) -> Option<&Entry> {
        let rank = |entry: &&Entry| {
            let untried = |gateway: IpAddr| gateway.is_ipv4() && entry.failures == 0;
            let reachable =
                entry.gateway.is_none_or(|gateway| untried(gateway) || is_reachable(gateway));
            let failures = if reachable { 0 } else { entry.failures };
            let prefix_len = entry.prefix.prefix_len();
            (prefix_len, entry.source, reachable, Reverse(failures), entry.preference)
        };
        best(self.entries.iter().filter(|entry| entry.prefix.contains(destination)), rank)
    }

    /// Takes note that a neighbour does not answer; `true` if it is a router.
    pub(crate) fn failed(&mut self, gateway: IpAddr) -> bool {
        let by_it = self.entries.iter_mut().filter(|entry| entry.gateway == Some(gateway));
        by_it.fold(false, |_, entry| {
            entry.failures = entry.failures.saturating_add(1);
            true
        })
    }

    /// When the first route ends.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let ends = self.entries.iter().map(|entry| entry.expires);
        ends.min().filter(|&first| first < Instant::FAR_FUTURE)
    }

    /// Removes a route whose time is over, if there is one, and returns it.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.expires <= now)?;
        Some(self.entries.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(prefix: &str, gateway: &str, source: Source) -> Entry {
        Entry::new(prefix.parse().unwrap(), gateway.parse().ok(), source)
    }

    fn routes(entries: &[(&str, &str, Source)]) -> Routes {
        let mut routes = Routes::new(Limits { routers: 8, prefixes: 16, others: 32 });
        for &(prefix, gateway, source) in entries {
            assert!(routes.set(entry(prefix, gateway, source)));
        }
        routes
    }

    fn way(routes: &Routes, destination: &str, up: &[&str]) -> Option<String> {
        let is_reachable = |gateway: IpAddr| up.contains(&&*gateway.to_string());
        let entry = routes.lookup(destination.parse().unwrap(), is_reachable)?;
        Some(entry.gateway.map_or("link".into(), |gateway| gateway.to_string()))
    }

    #[test]
    fn the_longest_prefix_wins() {
        let routes = routes(&[
            ("0.0.0.0/0", "10.0.0.1", Source::Static),
            ("10.0.0.0/24", "", Source::Static),
            ("10.0.0.128/25", "10.0.0.2", Source::Dhcp),
        ]);
        assert_eq!(way(&routes, "192.0.2.1", &[]).as_deref(), Some("10.0.0.1"));
        assert_eq!(way(&routes, "10.0.0.9", &[]).as_deref(), Some("link"));
        assert_eq!(way(&routes, "10.0.0.129", &[]).as_deref(), Some("10.0.0.2"));
        assert_eq!(way(&routes, "2001:db8::1", &[]), None);
    }

    #[test]
    fn a_router_that_answers_is_preferred_and_of_those_the_one_that_says_so() {
        let mut routes = routes(&[
            ("::/0", "fe80::1", Source::Router),
            ("::/0", "fe80::2", Source::Router),
            ("::/0", "fe80::3", Source::Router),
        ]);
        let mut high = entry("::/0", "fe80::2", Source::Router);
        high.preference = Preference::High;
        assert!(routes.set(high));
        let to = "2001:db8::1";
        assert_eq!(way(&routes, to, &[]).as_deref(), Some("fe80::2"));
        assert_eq!(way(&routes, to, &["fe80::1", "fe80::2"]).as_deref(), Some("fe80::2"));
        assert_eq!(way(&routes, to, &["fe80::3"]).as_deref(), Some("fe80::3"));
    }

    #[test]
    fn routers_of_which_none_answers_take_turns() {
        let mut routes =
            routes(&[("::/0", "fe80::1", Source::Router), ("::/0", "fe80::2", Source::Router)]);
        let mut seen = Vec::new();
        for _ in 0..4 {
            let gateway = way(&routes, "2001:db8::1", &[]).unwrap();
            assert!(routes.failed(gateway.parse().unwrap()));
            seen.push(gateway);
        }
        assert_eq!(seen, ["fe80::1", "fe80::2", "fe80::1", "fe80::2"]);
        assert!(!routes.failed("fe80::9".parse().unwrap()));
    }

    #[test]
    fn a_preferred_router_that_does_not_answer_makes_way_for_one_that_nobody_has_tried() {
        let mut routes =
            routes(&[("::/0", "fe80::1", Source::Router), ("::/0", "fe80::2", Source::Router)]);
        let mut high = entry("::/0", "fe80::1", Source::Router);
        high.preference = Preference::High;
        assert!(routes.set(high));
        assert_eq!(way(&routes, "2001:db8::1", &[]).as_deref(), Some("fe80::1"));
        assert!(routes.failed("fe80::1".parse().unwrap()));
        assert_eq!(way(&routes, "2001:db8::1", &[]).as_deref(), Some("fe80::2"));
        let both = ["fe80::1", "fe80::2"];
        assert_eq!(way(&routes, "2001:db8::1", &both).as_deref(), Some("fe80::1"));
    }

    #[test]
    fn ipv4_routers_are_used_in_order_until_one_fails() {
        let mut routes = routes(&[
            ("0.0.0.0/0", "10.0.0.1", Source::Dhcp),
            ("0.0.0.0/0", "10.0.0.2", Source::Dhcp),
        ]);
        let to = "192.0.2.1";
        assert_eq!(way(&routes, to, &["10.0.0.2"]).as_deref(), Some("10.0.0.1"));
        assert!(routes.failed("10.0.0.1".parse().unwrap()));
        assert_eq!(way(&routes, to, &[]).as_deref(), Some("10.0.0.2"));
        assert_eq!(way(&routes, to, &["10.0.0.1"]).as_deref(), Some("10.0.0.1"));
        assert!(routes.failed("10.0.0.2".parse().unwrap()));
        assert_eq!(way(&routes, to, &["10.0.0.2"]).as_deref(), Some("10.0.0.2"));
    }

    #[test]
    fn what_was_configured_is_preferred_to_what_a_router_says() {
        let routes =
            routes(&[("::/0", "fe80::1", Source::Router), ("::/0", "fe80::9", Source::Static)]);
        assert_eq!(way(&routes, "2001:db8::1", &["fe80::1"]).as_deref(), Some("fe80::9"));
    }

    #[test]
    fn a_ninth_router_and_a_seventeenth_prefix_are_ignored_and_the_rest_stays() {
        let mut routes = routes(&[("0.0.0.0/0", "10.0.0.1", Source::Static)]);
        for i in 1..=8 {
            assert!(routes.set(entry("::/0", &format!("fe80::{i}"), Source::Router)));
        }
        assert!(!routes.set(entry("::/0", "fe80::9", Source::Router)));
        for i in 1..=16 {
            assert!(routes.set(entry(&format!("2001:db8:{i}::/64"), "", Source::Router)));
        }
        assert!(!routes.set(entry("2001:db8:99::/64", "", Source::Router)));
        // Those that are known are renewed all the same.
        assert!(routes.set(entry("::/0", "fe80::8", Source::Router)));
        assert_eq!(routes.entries.len(), 25);
        assert_eq!(way(&routes, "2001:db8:16::1", &[]).as_deref(), Some("link"));
    }

    #[test]
    fn a_route_ends_with_its_lifetime() {
        let mut routes = routes(&[("0.0.0.0/0", "10.0.0.1", Source::Static)]);
        let mut short = entry("::/0", "fe80::1", Source::Router);
        short.expires = Instant::from_nanos(5);
        routes.set(short);
        assert_eq!(routes.poll_timeout(), Some(Instant::from_nanos(5)));
        assert_eq!(routes.pop_expired(Instant::from_nanos(4)), None);
        assert_eq!(routes.pop_expired(Instant::from_nanos(5)), Some(short));
        assert_eq!((routes.entries.len(), routes.poll_timeout()), (1, None));
    }
}
