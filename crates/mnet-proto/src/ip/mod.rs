//! The Internet layer: what comes from a neighbour and is for us, and how to reach others.

pub(crate) mod address;
mod cidr;
mod destinations;
pub mod fragment;
mod identification;
pub(crate) mod ipv4;
pub(crate) mod ipv6;
mod metadata;
mod output;
mod pair;
pub(crate) mod routes;
mod selection;
mod templates;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use chacha20::ChaCha20Rng;
use netdev::{Instant, Packet};
use rand_core::Rng;
use thiserror::Error;

pub use self::address::{Address, AddressError, AddressEvent, Origin};
pub use self::cidr::{IpCidr, Ipv4Cidr, Ipv6Cidr, ParseCidrError};
pub(crate) use self::destinations::Destinations;
use self::fragment::{Outcome, Piece, Reassembler, Whole};
use self::identification::Identifications;
use self::ipv4::Ipv4;
use self::ipv6::Ipv6;
use self::metadata::Arrival;
pub(crate) use self::metadata::ControlBlock;
pub use self::metadata::Metadata;
pub(crate) use self::output::Unsent;
pub use self::routes::RouteError;
use self::routes::Routes;
use self::templates::ByRouter;
use crate::autoconf::slaac;
use crate::config::Config;
use crate::ethernet::Link;
use crate::icmp::{self, IcmpError, RateLimiter};
use crate::keyed::ByAddress;
use crate::multicast::Multicast;
use crate::neighbor::{Cache, arp, ndp};
use crate::stats::{Drop, Stats};

/// Most changes of addresses, and most datagrams known not to have arrived, that wait to be asked
/// for.
const EVENTS: usize = 64;

/// To whom an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// To one host.
    Unicast,
    /// To everybody on the link.
    Broadcast,
    /// To a group.
    Multicast,
}

/// A datagram that has come, whole, and is for us.
pub(crate) struct Received {
    /// What is in it.
    pub(crate) protocol: u8,
    /// Its window is the payload, and its [`Metadata`] is noted in it.
    pub(crate) packet: Packet,
}

/// A way to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: IpAddr,
    /// The address to send from.
    pub source: IpAddr,
    /// The neighbour that takes it on: the destination itself, or a router.
    pub next_hop: IpAddr,
    /// The largest IP datagram, in bytes with its header, that passes in one piece.
    pub mtu: u16,
    /// Bytes of `mtu` that IP takes for itself.
    pub header_len: u16,
}

impl Route {
    /// Whether a payload of so many bytes goes in one piece.
    #[must_use]
    #[inline]
    pub fn fits(&self, payload_len: usize, options: &SendOptions) -> bool {
        let options_len = match (options.router_alert, self.destination) {
            (false, _) => 0,
            (true, IpAddr::V4(_)) => crate::wire::ipv4::ROUTER_ALERT_LEN,
            (true, IpAddr::V6(_)) => crate::wire::ipv6::ROUTER_ALERT_HOP_BY_HOP(0).len(),
        };
        payload_len + usize::from(self.header_len) + options_len <= self.mtu.into()
    }
}

/// What may be asked for with what is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// TTL or hop limit; without one that of the configuration, or 1 to a group (RFC 1112 §6.1).
    /// With 0, nothing leaves the host (RFC 1122 §3.2.1.7): no route is found.
    pub hop_limit: Option<u8>,
    /// DSCP (upper six bits) and ECN (lower two).
    pub traffic_class: u8,
    /// What does not pass in one piece is refused, and not fragmented.
    pub dont_fragment: bool,
    /// Routers are to look at it (RFC 2113, RFC 2711).
    pub router_alert: bool,
}

/// What UDP needs of the layer beneath it, and all it knows of it.
///
/// Two of them, one for IPv4 and one for IPv6, are one too: `(ipv4, ipv6)`.
pub trait Network {
    /// Finds the way to `destination`, from `source` if it is given and ours.
    ///
    /// # Errors
    /// [`SendError::RouteNotFound`] if there is none.
    fn route(
        &mut self,
        now: Instant,
        destination: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<Route, SendError>;

    /// To whom an address leads.
    fn cast(&self, address: IpAddr) -> Cast;

    /// Whether `address` is one of the host's own.
    fn is_local(&self, address: IpAddr) -> bool;

    /// Whether a UDP datagram is to come with its checksum. If not, the device fills it in.
    fn wants_udp_checksum(&self) -> bool;

    /// 32 bits that nobody can guess.
    fn random(&mut self) -> u32;

    /// Sends what is in the packet's window as the payload of one IP datagram: a UDP datagram from
    /// one port to another.
    ///
    /// # Errors
    /// [`SendError`] if it is known that it will not arrive.
    fn send_udp(
        &mut self,
        now: Instant,
        route: &Route,
        ports: (u16, u16),
        options: &SendOptions,
        packet: Packet,
    ) -> Result<(), SendError>;
}

/// The Internet layer of a stack, with the link beneath it.
pub(crate) struct Ip {
    pub(crate) link: Link,
    pub(crate) v4: Ipv4,
    pub(crate) v6: Ipv6,
    pub(crate) routes: Routes,
    pub(crate) destinations: Destinations,
    by_router: ByRouter,
    pub(crate) neighbors: Cache,
    pub(crate) reassembler: Reassembler,
    pub(crate) multicast: Multicast,
    pub(crate) icmp_errors: RateLimiter,
    /// What is added to the time that is told others, who need not know how long the host is up.
    pub(crate) told_time: u32,
    identifications: Identifications,
    flows: ByAddress,
    pub(crate) random: ChaCha20Rng,
    pub(crate) stats: Stats,
    events: VecDeque<AddressEvent>,
    /// How often the host has come by an address, used one, been refused one, or lost one.
    pub(crate) address_changes: u64,
    reports: VecDeque<icmp::Report>,
}

impl Ip {
    pub(crate) fn new(config: &Config, link: Link, now: Instant, mut random: ChaCha20Rng) -> Self {
        let mut keys = || (random.next_u64(), random.next_u64());
        let [by_destination, by_neighbor, flows] = [keys(), keys(), keys()];
        let mut ip = Self {
            v4: Ipv4::new(config, link.mtu),
            v6: Ipv6::new(config, &link),
            routes: Routes::new(config.route_limits()),
            destinations: Destinations::new(
                config.destinations,
                ByAddress(by_destination.0, by_destination.1),
            ),
            by_router: ByRouter::default(),
            identifications: Identifications::new(&mut random),
            flows: ByAddress(flows.0, flows.1),
            neighbors: Cache::new(config, ByAddress(by_neighbor.0, by_neighbor.1)),
            reassembler: Reassembler::new(config.reassembly),
            multicast: Multicast::new(config.multicast_limits(), random.next_u64()),
            icmp_errors: RateLimiter::new(config.icmp_errors_per_second, config.icmp_error_burst),
            told_time: random.next_u32(),
            link,
            random,
            stats: Stats::default(),
            events: VecDeque::new(),
            address_changes: 0,
            reports: VecDeque::new(),
        };
        ipv4::start(&mut ip, config, now);
        ipv6::start(&mut ip, config, now);
        ip
    }

    /// Lets the next datagram to each destination go without a template.
    #[cfg(test)]
    pub(crate) fn forget_templates(&mut self) {
        self.by_router = ByRouter::default();
        self.destinations.forget_templates();
    }

    /// All of the host's addresses, those of IPv4 first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        let v4 = self.v4.addresses.iter().filter(|own| ipv4::is_used(own));
        let v6 = self.v6.addresses.iter().filter(|own| !own.claim.is_refused());
        v4.map(address::Own::describe).chain(v6.map(address::Own::describe))
    }

    /// Whether there is an address that may be used.
    pub(crate) fn has_address(&self) -> bool {
        self.v4.addresses.iter().any(ipv4::is_used)
            || self.v6.addresses.iter().any(address::Own::is_usable)
    }

    /// Takes note of a change of addresses, for whoever asks, and forgets what followed from them.
    pub(crate) fn changed(&mut self, event: AddressEvent) {
        self.destinations.invalidate();
        self.address_changes += u64::from(event != AddressEvent::NoDhcpServer);
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Counts what kept the host from having an address, if it is one of its bounds.
    pub(crate) fn count_refused(&mut self, error: AddressError) {
        match error {
            AddressError::TooMany => self.count(Drop::TooManyAddresses),
            AddressError::TooManyRoutes => self.count(Drop::TooManyRoutes),
            AddressError::NotHost | AddressError::InUse | AddressError::FamilyOff => {}
        }
    }

    /// Adds a route, and forgets what followed from there being none; `false` if there are too many.
    pub(crate) fn add_route(&mut self, route: routes::Entry) -> bool {
        self.destinations.invalidate();
        self.routes.set(route)
    }

    /// Forgets what followed from a route that is no more. By who is no router any more nothing goes,
    /// whoever has said so (RFC 4861 §6.3.5).
    pub(crate) fn lost(&mut self, route: &routes::Entry) {
        if let Some(router) = route.gateway {
            self.destinations.no_router(router);
        }
        self.destinations.invalidate();
    }

    /// The next change of addresses.
    pub(crate) fn poll_event(&mut self) -> Option<AddressEvent> {
        self.events.pop_front()
    }

    /// Takes note of what has become of a datagram that was sent, for its socket.
    fn report(&mut self, report: Option<icmp::Report>) {
        if let Some(report) = report
            && self.reports.len() < EVENTS
        {
            self.reports.push_back(report);
        }
    }

    /// What has become of a datagram that was sent, if that is known here.
    pub(crate) fn poll_report(&mut self) -> Option<icmp::Report> {
        self.reports.pop_front()
    }

    /// Counts something that is dropped.
    pub(crate) fn count(&mut self, reason: Drop) {
        self.stats.dropped.count(reason);
    }

    /// When [`Ip::handle_timeout`] is to be called for what any datagram may change.
    #[inline]
    pub(crate) fn frequent_timeout(&self) -> Option<Instant> {
        earlier(self.neighbors.poll_timeout(), self.reassembler.poll_timeout())
    }

    /// When [`Ip::handle_timeout`] is to be called for all else.
    pub(crate) fn rare_timeout(&self) -> Option<Instant> {
        let layers = earlier(self.routes.poll_timeout(), self.multicast.poll_timeout());
        earlier(layers, earlier(self.v4.poll_timeout(), self.v6.poll_timeout()))
    }

    /// Does what time asks for.
    #[inline(never)]
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.neighbors.handle_timeout(now);
        while let Some(route) = self.routes.pop_expired(now) {
            self.lost(&route);
        }
        arp::handle_timeout(self, now);
        slaac::handle_timeout(self, now);
        ndp::handle_timeout(self, now);
        self.expire_fragments(now);
        self.act(now);
    }

    /// Does what the neighbour cache and the groups ask for.
    pub(crate) fn act(&mut self, now: Instant) {
        self.perform(now);
        self.report_groups(now);
    }

    /// Gives up what has waited too long for its fragments, and tells the senders (RFC 1122
    /// §3.3.2, RFC 8200 §4.5).
    #[inline(never)]
    fn expire_fragments(&mut self, now: Instant) {
        let mut expired = Vec::new();
        self.reassembler.handle_timeout(now, &mut |datagram| expired.push(datagram));
        for datagram in expired {
            self.count(Drop::ReassemblyTimeout);
            icmp::reassembly_timeout(self, now, datagram);
        }
    }

    /// Takes a fragment, and returns the whole of which it is the last piece that was missing.
    #[inline(always)]
    fn reassemble(&mut self, now: Instant, piece: Piece, packet: Packet) -> Option<Whole> {
        // It may come before the time is told.
        if self.reassembler.poll_timeout().is_some_and(|next| next <= now) {
            self.expire_fragments(now);
        }
        let Self { reassembler, link, stats, .. } = self;
        stats.fragments_received += 1;
        let mut evicted = |reason: fragment::Reason| stats.dropped.count(reason.into());
        match reassembler.handle(now, &link.pool, piece, packet, &mut evicted) {
            Outcome::Waiting => None,
            Outcome::Complete(whole) => {
                stats.datagrams_reassembled += 1;
                Some(whole)
            }
            Outcome::Dropped(reason) => {
                stats.dropped.count(reason.into());
                None
            }
        }
    }

    /// Finds the way back to one who is answered, of whom nothing is remembered: whoever asks from
    /// many addresses must not make the host forget those that it speaks to.
    pub(crate) fn route_back(
        &self,
        now: Instant,
        destination: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<Route, SendError> {
        let route = selection::find(self, now, destination, source)?;
        Ok(self.destinations.narrow(now, route))
    }

    /// Whether an address is on the link: nobody routes to it.
    pub(crate) fn is_on_link(&self, address: IpAddr) -> bool {
        let route = self.routes.lookup(address, |_| false);
        route.is_some_and(|route| route.gateway.is_none()) || self.routes.is_gateway(address)
    }
}

impl Network for Ip {
    #[inline]
    fn route(
        &mut self,
        now: Instant,
        destination: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<Route, SendError> {
        match self.destinations.route(now, destination, source) {
            Some(route) => Ok(route),
            None => selection::route(self, now, destination, source),
        }
    }

    #[inline]
    fn cast(&self, address: IpAddr) -> Cast {
        match address {
            IpAddr::V4(address) if self.v4.is_broadcast(address) => Cast::Broadcast,
            _ if address.is_multicast() => Cast::Multicast,
            _ => Cast::Unicast,
        }
    }

    #[inline]
    fn is_local(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.is_own(address),
            IpAddr::V6(address) => self.v6.is_own(address),
        }
    }

    #[inline]
    fn wants_udp_checksum(&self) -> bool {
        !self.link.checksums.fills_udp
    }

    #[inline(never)]
    fn random(&mut self) -> u32 {
        self.random.next_u32()
    }

    #[inline]
    fn send_udp(
        &mut self,
        now: Instant,
        route: &Route,
        ports: (u16, u16),
        options: &SendOptions,
        packet: Packet,
    ) -> Result<(), SendError> {
        self.send_udp_by(now, route, ports, options, packet)
    }
}

/// The earlier of two times, if there is one.
#[inline]
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Why a datagram was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nothing says how to reach the destination, or it is no address to send to.
    #[error("Route not found")]
    RouteNotFound,
    /// The destination, or the router on the way to it, is known not to answer.
    #[error("Destination unreachable")]
    DestinationUnreachable(IcmpError),
    /// The datagram does not fit into what passes on the way, or into any datagram.
    #[error("Packet too big")]
    PacketTooBig {
        /// The largest IP datagram that passes, in bytes with its headers.
        mtu: u16,
    },
    /// The destination port is 0.
    #[error("Destination port is 0")]
    PortZero,
    /// The socket is connected to nobody.
    #[error("The socket is not connected")]
    NotConnected,
    /// The address to send from is of IPv4 and the destination of IPv6, or the other way round.
    #[error("Source and destination are of different address families")]
    FamilyMismatch,
    /// The device takes no more frames now. Only calls that do not wait say so.
    #[error("The network device takes no more frames now")]
    WouldBlock,
    /// The source address that was asked for is not the host's.
    #[error("Source address is not this host's")]
    SourceNotLocal,
    /// The destination is everybody, and the socket has not been allowed to send there.
    #[error("Broadcast is not allowed on this socket")]
    BroadcastNotAllowed,
    /// Every ephemeral port is in use.
    #[error("No ephemeral port is free")]
    NoFreePort,
    /// Every packet buffer is in use, or as many packets as may wait for neighbours' addresses.
    #[error("No packet buffer is free")]
    NoBuffer,
    /// The device is gone for good.
    #[error("The network device is gone")]
    DeviceGone,
}

/// A route to everybody on the link, from a host that may have no address yet.
pub(crate) fn to_everybody(source: Ipv4Addr, mtu: u16) -> Route {
    let everybody = IpAddr::V4(Ipv4Addr::BROADCAST);
    let header_len = crate::wire::ipv4::HEADER_LEN as u16;
    Route { destination: everybody, source: source.into(), next_hop: everybody, mtu, header_len }
}
