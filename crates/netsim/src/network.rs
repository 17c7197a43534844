use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Write};

use mnet_proto::{
    Config, ConfigError, Datagram, Destination, Event, Local, SendError, SocketId, Stack,
};
use netdev::{Instant, Mac};

use crate::device;
use crate::fault::Chance;
use crate::link::{Line, Link, LinkStats, Wire};
use crate::pcap;
use crate::router::{Router, RouterStats};
use mnet_proto::IpCidr;

mod card;
mod traffic;

use self::card::Card;

/// Hosts, routers and links in memory, and the time there.
///
/// Time stands still but for [`Network::step`] and what is made of it: it goes from one event, a
/// frame that arrives or a timeout, to the next. Everything that chance decides follows from the
/// seed: the same calls on a network of the same seed have the same effects at the same times.
pub struct Network {
    now: Instant,
    chance: Chance,
    links: Vec<Segment>,
    plugs: Vec<Plug>,
    hosts: Vec<Host>,
    routers: Vec<Forwarder>,
    devices: Vec<Remote>,
    arrivals: BinaryHeap<Reverse<Arrival>>,
    // How many frames have been sent: of those that arrive at the same time, the first goes first.
    sent: u64,
    trace: DefaultHasher,
    // Timeouts in a row at the same time, without a frame between them.
    restless: u32,
}

/// A link of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(usize);

/// A host of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(usize);

/// A router of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(usize);

/// A device of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(usize);

/// Who can be plugged to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// A host.
    Host(HostId),
    /// A router.
    Router(RouterId),
    /// A device.
    Device(DeviceId),
}

impl From<HostId> for Node {
    fn from(host: HostId) -> Self {
        Self::Host(host)
    }
}

impl From<RouterId> for Node {
    fn from(router: RouterId) -> Self {
        Self::Router(router)
    }
}

impl From<DeviceId> for Node {
    fn from(device: DeviceId) -> Self {
        Self::Device(device)
    }
}

type Capture = pcap::Writer<Box<dyn Write>>;

struct Segment {
    wire: Wire,
    plugs: Vec<usize>,
    capture: Option<Capture>,
}

/// Where something is plugged to a link.
struct Plug {
    mac: Mac,
    link: usize,
    node: Node,
    // Of a router; 0 of a host.
    interface: usize,
    up: bool,
    line: Line,
    capture: Option<Capture>,
}

struct Host {
    stack: Stack,
    plug: usize,
}

struct Forwarder {
    router: Router,
    // One for each interface.
    plugs: Vec<usize>,
}

/// This end of the cable to a device.
struct Remote {
    near: device::Plug,
    plug: usize,
}

/// A frame that is under way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Instant,
    order: u64,
    plug: usize,
    frame: Vec<u8>,
}

impl Network {
    /// A network without anything in it, at the beginning of time.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            chance: Chance::new(seed),
            links: Vec::new(),
            plugs: Vec::new(),
            hosts: Vec::new(),
            routers: Vec::new(),
            devices: Vec::new(),
            arrivals: BinaryHeap::new(),
            sent: 0,
            trace: DefaultHasher::new(),
            restless: 0,
        }
    }

    /// Adds a link.
    pub fn link(&mut self, link: Link) -> LinkId {
        let wire = Wire::new(link, self.chance.fork());
        self.links.push(Segment { wire, plugs: Vec::new(), capture: None });
        LinkId(self.links.len() - 1)
    }

    /// Adds a host, plugged to `link`.
    ///
    /// # Errors
    /// [`ConfigError`] if there can be no such host on it.
    pub fn host(&mut self, link: LinkId, config: &Config) -> Result<HostId, ConfigError> {
        let card = Card { mac: self.next_mac(), mtu: self.mtu(link.0) };
        let pool = config.pool(card.mtu)?;
        let stack = Stack::new(config, &card, pool, self.now, self.chance.seed())?;
        let id = HostId(self.hosts.len());
        let plug = self.add_plug(link, card.mac, id.into(), 0);
        self.hosts.push(Host { stack, plug });
        Ok(id)
    }

    /// Adds a router, which is not attached to anything yet.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use mnet_proto::{Config, Ipv4Cidr};
    /// use netsim::{Link, Network};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut net = Network::new(1);
    /// let (here, there) = (net.link(Link::default()), net.link(Link::default()));
    /// let router = net.router();
    /// let at = |third| Ipv4Cidr::new([10, 0, third, 1].into(), 24).expect("24 is a prefix length");
    /// net.attach(router, here, &[at(1).into()]);
    /// net.attach(router, there, &[at(2).into()]);
    /// let config = |cidr: &str, gateway: [u8; 4]| {
    ///     cidr.parse().map(|cidr| Config::new(cidr).with_ipv4_gateway(gateway.into()).without_ipv6())
    /// };
    /// let a = net.host(here, &config("10.0.1.2/24", [10, 0, 1, 1])?)?;
    /// let b = net.host(there, &config("10.0.2.2/24", [10, 0, 2, 1])?)?;
    /// let socket = net.bind(b, 7)?;
    /// net.run_for(Duration::from_secs(10));
    ///
    /// net.send(a, 5_000, ([10, 0, 2, 2], 7), b"hello")?;
    /// net.run_for(Duration::from_secs(1));
    /// assert_eq!(net.receive(b, socket).expect("it is routed").hop_limit(), 63);
    /// # Ok(())
    /// # }
    /// ```
    pub fn router(&mut self) -> RouterId {
        self.routers.push(Forwarder { router: Router::new(), plugs: Vec::new() });
        RouterId(self.routers.len() - 1)
    }

    /// Attaches a router to a link, with these addresses. What has their prefixes is on the link.
    pub fn attach(&mut self, router: RouterId, link: LinkId, addresses: &[IpCidr]) {
        let (mac, mtu) = (self.next_mac(), self.mtu(link.0));
        let interface = self.routers[router.0].router.attach(link, mac, mtu, addresses);
        let plug = self.add_plug(link, mac, router.into(), interface);
        self.routers[router.0].plugs.push(plug);
    }

    /// Adds a device that is plugged to `link`, for whatever can drive one. What it sends goes out
    /// with the next step.
    pub fn device(&mut self, link: LinkId) -> (DeviceId, device::Plug) {
        let (near, far, _cable) = device::pair(self.mtu(link.0));
        let (id, mac) = (DeviceId(self.devices.len()), self.next_mac());
        let plug = self.add_plug(link, mac, id.into(), 0);
        self.devices.push(Remote { near, plug });
        (id, far.with_mac(mac))
    }

    fn mtu(&self, link: usize) -> u16 {
        self.links[link].wire.link.mtu
    }

    fn next_mac(&self) -> Mac {
        let [.., a, b] = (self.plugs.len() as u64 + 1).to_be_bytes();
        Mac([2, 0, 0, 0, a, b])
    }

    fn add_plug(&mut self, link: LinkId, mac: Mac, node: Node, interface: usize) -> usize {
        let (link, line) = (link.0, Line::default());
        self.plugs.push(Plug { mac, link, node, interface, up: true, line, capture: None });
        let plug = self.plugs.len() - 1;
        self.links[link].plugs.push(plug);
        plug
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A number that follows from every frame that has arrived so far, where and when: two runs in
    /// which it is the same have been the same.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.trace.finish()
    }

    /// What a link is like, to be changed: frames that are sent from now on find it so.
    #[must_use]
    pub fn link_mut(&mut self, link: LinkId) -> &mut Link {
        &mut self.links[link.0].wire.link
    }

    /// A link's counters.
    #[must_use]
    pub fn link_stats(&self, link: LinkId) -> LinkStats {
        self.links[link.0].wire.stats
    }

    /// A host's stack.
    #[must_use]
    pub fn stack(&self, host: HostId) -> &Stack {
        &self.hosts[host.0].stack
    }

    /// A host's stack, to do with it what is not offered here. What it sends goes out with the next
    /// step.
    #[must_use]
    pub fn stack_mut(&mut self, host: HostId) -> &mut Stack {
        &mut self.hosts[host.0].stack
    }

    /// A router's counters.
    #[must_use]
    pub fn router_stats(&self, router: RouterId) -> RouterStats {
        self.routers[router.0].router.stats()
    }

    /// A router, to set it up.
    #[must_use]
    pub fn router_mut(&mut self, router: RouterId) -> &mut Router {
        &mut self.routers[router.0].router
    }

    /// The address of a host's card.
    #[must_use]
    pub fn mac(&self, host: HostId) -> Mac {
        self.plugs[self.hosts[host.0].plug].mac
    }

    /// Unplugs a host, router or device from its links, or plugs it in again. What it sends while it is
    /// not, and what is to arrive, is lost.
    pub fn set_up(&mut self, node: impl Into<Node>, up: bool) {
        let node = node.into();
        self.plugs.iter_mut().filter(|plug| plug.node == node).for_each(|plug| plug.up = up);
    }

    /// Writes all that is put on a link to a capture, whether it arrives or not.
    ///
    /// # Errors
    /// What `out` says.
    pub fn capture_link(&mut self, link: LinkId, out: impl Write + 'static) -> io::Result<()> {
        self.links[link.0].capture = Some(start(out)?);
        Ok(())
    }

    /// Writes all that a host sends and receives to a capture.
    ///
    /// # Errors
    /// What `out` says.
    pub fn capture_host(&mut self, host: HostId, out: impl Write + 'static) -> io::Result<()> {
        let plug = &mut self.plugs[self.hosts[host.0].plug];
        plug.capture = Some(start(out)?);
        Ok(())
    }

    /// Ends all captures.
    ///
    /// # Errors
    /// If one of them is not whole.
    pub fn finish_captures(&mut self) -> io::Result<()> {
        let links = self.links.iter_mut().map(|link| link.capture.take());
        let plugs = self.plugs.iter_mut().map(|plug| plug.capture.take());
        let ended = links.chain(plugs).flatten().map(|mut capture| capture.finish());
        ended.fold(Ok(()), io::Result::and)
    }

    /// Makes a socket on a host, as [`Stack::udp_bind`] does.
    ///
    /// # Errors
    /// [`mnet_proto::BindError`], which says why not.
    pub fn bind(
        &mut self,
        host: HostId,
        local: impl Into<Local>,
    ) -> Result<SocketId, mnet_proto::BindError> {
        self.stack_mut(host).udp_bind(local)
    }

    /// Sends a datagram from a host, as [`Stack::udp_send`] does.
    ///
    /// # Errors
    /// [`SendError`] if it is known that it will not arrive.
    pub fn send(
        &mut self,
        host: HostId,
        local: impl Into<Local>,
        remote: impl Into<Destination>,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let Host { stack, .. } = &mut self.hosts[host.0];
        let mut packet = stack.pool().take_sized(payload.len()).ok_or(SendError::NoBuffer)?;
        packet.append(payload.len()).ok_or(SendError::NoBuffer)?.copy_from_slice(payload);
        let sent = stack.udp_send(self.now, local.into(), remote, packet);
        self.flush_host(host.0);
        sent
    }

    /// Takes the oldest datagram that a socket of a host has received.
    pub fn receive(&mut self, host: HostId, socket: SocketId) -> Option<Datagram> {
        self.stack_mut(host).udp_mut().receive(socket)
    }

    /// What has happened to a host, one thing at a time, as [`Stack::poll_event`] says.
    pub fn poll_event(&mut self, host: HostId) -> Option<Event> {
        self.stack_mut(host).poll_event()
    }
}

fn start(out: impl Write + 'static) -> io::Result<Capture> {
    let out: Box<dyn Write> = Box::new(out);
    pcap::Writer::new(out)
}
