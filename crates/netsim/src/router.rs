//! A router of both families: test equipment, small and true to the RFCs in what it does.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mnet_proto::wire::ethernet::{ARP, HEADER_LEN, Header, IPV4, IPV6};
use mnet_proto::wire::ipv6::{ALL_NODES, ALL_ROUTERS, solicited_node};
use mnet_proto::wire::ndp::{Preference, Prefix};
use netdev::{Instant, Mac, Packet, Pool};

use crate::network::LinkId;
use mnet_proto::IpCidr;

mod advertise;
mod ipv4;
mod ipv6;
mod neighbor;

use self::neighbor::Neighbors;

/// A router on several links.
///
/// It passes IPv4 and IPv6 on between the links to which it is attached and along
/// [`Router::route`]s, asks for neighbours and answers for itself (ARP, NDP), sends ICMP errors
/// without a limit, fragments IPv4 where that is allowed (without its options), and advertises
/// itself where it is told to. Multicast and broadcast stay on their link.
pub struct Router {
    interfaces: Vec<Interface>,
    routes: Vec<(IpCidr, IpAddr)>,
    neighbors: Neighbors,
    outgoing: VecDeque<(usize, Vec<u8>)>,
    // One packet, for headers to be written in front of what they are for.
    scratch: Pool,
    stats: RouterStats,
    redirects: bool,
}

struct Interface {
    link: LinkId,
    mac: Mac,
    mtu: u16,
    addresses: Vec<IpCidr>,
    link_local: Ipv6Addr,
    advertisement: Option<Advertisement>,
    next_advertisement: Instant,
}

/// What a router says of itself and of a link (RFC 4861 §4.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Advertisement {
    /// Time between two that nobody asked for.
    pub interval: Duration,
    /// For how many seconds it is a default router; 0 if it is none.
    pub lifetime: u16,
    /// How it compares to other routers.
    pub preference: Preference,
    /// The hop limit that hosts are to use; 0 if the router has no opinion.
    pub hop_limit: u8,
    /// The link's MTU in bytes, if it is to be said.
    pub mtu: Option<u32>,
    /// The link's prefixes.
    pub prefixes: Vec<Prefix>,
    /// Recursive DNS servers (RFC 8106).
    pub dns: Vec<Ipv6Addr>,
    /// Seconds that those may be used.
    pub dns_lifetime: u32,
}

impl Default for Advertisement {
    /// A default router for half an hour, which says so every 30 s, and says nothing else.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            lifetime: 1_800,
            preference: Preference::Medium,
            hop_limit: 64,
            mtu: None,
            prefixes: Vec::new(),
            dns: Vec::new(),
            dns_lifetime: 1_800,
        }
    }
}

impl Advertisement {
    /// The default, with one prefix: it is on the link, and hosts make addresses of it. It is valid
    /// for 30 days and preferred for 7, as RFC 4861 §6.2.1 has it.
    #[must_use]
    pub fn of(prefix: Ipv6Addr, prefix_len: u8) -> Self {
        let (valid, preferred) = (2_592_000, 604_800);
        let prefix =
            Prefix { prefix, prefix_len, on_link: true, autonomous: true, valid, preferred };
        Self { prefixes: vec![prefix], ..Self::default() }
    }
}

/// Counters of a router, in IP datagrams: on a router where nothing waits for a neighbour,
/// [`RouterStats::is_balanced`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterStats {
    /// Frames that it did not look into: not for it, or of a protocol that it does not speak.
    pub ignored: u64,
    /// Datagrams that came, for itself or for others.
    pub received: u64,
    /// Datagrams of its own: ICMP errors and echo replies, but not what keeps a link going.
    pub originated: u64,
    /// Datagrams sent, whole or in fragments.
    pub sent: u64,
    /// Datagrams for itself, or for a group in which it is.
    pub taken: u64,
    /// Fragments made.
    pub fragments: u64,
    /// ICMP errors among [`RouterStats::originated`], redirects included.
    pub errors: u64,
    /// Datagrams whose header is wrong.
    pub malformed: u64,
    /// Datagrams that no router passes on: of an address that nobody or everybody has, or that is
    /// the link's alone.
    pub not_forwarded: u64,
    /// Datagrams that had made too many hops.
    pub hop_limit: u64,
    /// Datagrams to where no route leads.
    pub no_route: u64,
    /// Datagrams longer than the next link takes, that may not be fragmented.
    pub too_big: u64,
    /// Datagrams to a neighbour that did not answer, or for which too many waited already.
    pub unresolved: u64,
}

impl RouterStats {
    /// Datagrams that were not passed on, for whatever reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let Self { malformed, not_forwarded, hop_limit, no_route, too_big, unresolved, .. } = self;
        malformed + not_forwarded + hop_limit + no_route + too_big + unresolved
    }

    /// Whether every datagram has been sent or taken, or has a counter that says why not.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.received + self.originated == self.sent + self.taken + self.dropped()
    }
}

impl Router {
    pub(crate) fn new() -> Self {
        Self {
            interfaces: Vec::new(),
            routes: Vec::new(),
            neighbors: Neighbors::default(),
            outgoing: VecDeque::new(),
            scratch: Pool::new(1, u16::MAX.into()),
            stats: RouterStats::default(),
            redirects: false,
        }
    }

    /// Adds an interface. Returns its number: they are counted from 0.
    pub(crate) fn attach(
        &mut self,
        link: LinkId,
        mac: Mac,
        mtu: u16,
        addresses: &[IpCidr],
    ) -> usize {
        self.interfaces.push(Interface {
            link,
            mac,
            mtu,
            addresses: addresses.to_vec(),
            link_local: link_local(mac),
            advertisement: None,
            next_advertisement: Instant::FAR_FUTURE,
        });
        self.interfaces.len() - 1
    }

    /// Passes on to `next_hop`, a neighbour, what goes to `destination` and to no narrower one.
    pub fn route(&mut self, destination: IpCidr, next_hop: IpAddr) {
        self.routes.push((destination, next_hop));
    }

    /// Takes all routes back that were given; those to its own links stay.
    pub fn clear_routes(&mut self) {
        self.routes.clear();
    }

    /// Advertises itself on a link, at once, then from time to time, and when it is asked; `None`
    /// ends that.
    pub fn advertise(&mut self, link: LinkId, advertisement: Option<Advertisement>) {
        for interface in self.interfaces.iter_mut().filter(|interface| interface.link == link) {
            interface.next_advertisement =
                if advertisement.is_some() { Instant::ZERO } else { Instant::FAR_FUTURE };
            interface.advertisement = advertisement.clone();
        }
    }

    /// Whether it tells hosts of a better first hop; at first it does not.
    pub fn set_redirects(&mut self, redirects: bool) {
        self.redirects = redirects;
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> RouterStats {
        self.stats
    }

    /// Its link-local address on a link; `None` if it is not attached to it.
    #[must_use]
    pub fn link_local(&self, link: LinkId) -> Option<Ipv6Addr> {
        let interface = self.interfaces.iter().find(|interface| interface.link == link)?;
        Some(interface.link_local)
    }

    pub(crate) fn set_mtu(&mut self, interface: usize, mtu: u16) {
        self.interfaces[interface].mtu = mtu;
    }

    /// The next frame to be sent, and from which interface.
    pub(crate) fn poll_transmit(&mut self) -> Option<(usize, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    /// Whether anything waits for a neighbour.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outgoing.is_empty() && !self.neighbors.has_waiting()
    }

    pub(crate) fn handle_frame(&mut self, now: Instant, via: usize, frame: &[u8]) {
        let Some(header) = Header::parse(frame) else {
            self.stats.ignored += 1;
            return;
        };
        let (to, from) = (Mac(header.destination), Mac(header.source));
        let to_us_alone = to == self.interfaces[via].mac;
        if from.is_group() || !(to_us_alone || to.is_group()) {
            self.stats.ignored += 1;
            return;
        }
        let payload = &frame[HEADER_LEN..];
        match header.ethertype.get() {
            ARP => self.handle_arp(now, via, payload),
            IPV4 => self.handle_ipv4(now, via, to_us_alone, payload),
            IPV6 => self.handle_ipv6(now, via, to_us_alone, payload),
            _ => self.stats.ignored += 1,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let advertisements = self.interfaces.iter().map(|interface| interface.next_advertisement);
        let next = advertisements.filter(|&at| at != Instant::FAR_FUTURE).min();
        next.into_iter().chain(self.neighbors.poll_timeout()).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.handle_neighbor_timeout(now);
        self.handle_advertisement_timeout(now);
    }

    /// The interface that leads to `destination`, and the neighbour there. An address that is one
    /// link's alone is on the link `via`.
    fn lookup(&self, via: usize, destination: IpAddr) -> Option<(usize, IpAddr)> {
        if matches!(destination, IpAddr::V6(address) if address.is_unicast_link_local()) {
            return Some((via, destination));
        }
        let on_link =
            self.on_link(destination).map(|(len, interface)| (len, interface, destination));
        let routes = self.routes.iter().filter(|(cidr, _)| cidr.contains(destination));
        let routed = routes.filter_map(|&(cidr, next_hop)| {
            let (_, interface) = self.on_link(next_hop)?;
            Some((cidr.prefix_len(), interface, next_hop))
        });
        let longest = on_link.into_iter().chain(routed).max_by_key(|&(len, ..)| len);
        longest.map(|(_, interface, next_hop)| (interface, next_hop))
    }

    /// The interface on whose link `address` is, and how many bits of its prefix say so.
    fn on_link(&self, address: IpAddr) -> Option<(u8, usize)> {
        let all = self.interfaces.iter().enumerate();
        all.flat_map(|(number, interface)| interface.addresses.iter().map(move |&c| (c, number)))
            .filter(|(cidr, _)| cidr.contains(address))
            .map(|(cidr, number)| (cidr.prefix_len(), number))
            .max()
    }

    /// Whether it has this address, on the interface `via` if it is one link's alone.
    fn is_own(&self, via: usize, address: IpAddr) -> bool {
        let mut all = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        all.any(|cidr| cidr.address() == address)
            || IpAddr::V6(self.interfaces[via].link_local) == address
    }

    /// Whether it is in a group on the link of the interface `via`.
    fn is_in(&self, via: usize, group: Ipv6Addr) -> bool {
        let Interface { link_local, addresses, .. } = &self.interfaces[via];
        let mut own = addresses.iter().filter_map(|cidr| match cidr.address() {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
        group == ALL_NODES
            || group == ALL_ROUTERS
            || group == solicited_node(*link_local)
            || own.any(|address| group == solicited_node(address))
    }

    /// Writes what `emit` does into an empty packet; `None` if that finds no room.
    fn build(&self, emit: impl FnOnce(&mut Packet) -> bool) -> Option<Vec<u8>> {
        let mut packet = self.scratch.take()?;
        emit(&mut packet).then(|| packet.bytes().to_vec())
    }

    /// Frames a payload, and queues it for its link.
    fn transmit(&mut self, interface: usize, to: Mac, ethertype: u16, payload: &[u8]) {
        let mut frame = Vec::with_capacity(HEADER_LEN + payload.len());
        frame.extend(to.0);
        frame.extend(self.interfaces[interface].mac.0);
        frame.extend(ethertype.to_be_bytes());
        frame.extend(payload);
        self.outgoing.push_back((interface, frame));
    }
}

impl Interface {
    fn ipv4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|cidr| match cidr.address() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// An address for what goes to others than neighbours; the link-local one if it has no other.
    fn ipv6(&self) -> Ipv6Addr {
        let global = self.addresses.iter().find_map(|cidr| match cidr.address() {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
        global.unwrap_or(self.link_local)
    }
}

/// The link-local address that is made of an Ethernet address (RFC 4291, appendix A).
fn link_local(Mac([a, b, c, d, e, f]): Mac) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// As many bytes of a datagram as fit into an error of at most `longest` bytes, of which `before`
/// are taken.
fn quote(datagram: &[u8], longest: usize, before: usize) -> &[u8] {
    &datagram[..datagram.len().min(longest - before)]
}
