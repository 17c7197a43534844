//! UDP: ports, sockets, and the datagrams in between (RFC 768, RFC 1122 §4.1).

mod destination;
mod ports;
mod send;
mod socket;

use alloc::collections::VecDeque;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use netdev::{Instant, Packet};
use slab::Slab;
use thiserror::Error;

use self::destination::Defaults;
pub use self::destination::{Destination, Options};
use self::ports::Ports;
use self::socket::Socket;
pub use self::socket::{Datagram, SocketStats};
use crate::config::Config;
use crate::icmp::{IcmpError, Report};
use crate::ip::{Cast, ControlBlock, Ip, Metadata, Network, SendError};
use crate::stats::{Drop, Stats};
use crate::wire::udp::{HEADER_LEN, Header};
use crate::wire::{Checksum, ipv4, ipv6};

/// Most bytes of payload in a datagram over IPv4, whose length counts its header too (RFC 791).
pub const MAX_PAYLOAD_V4: usize = 65_507;
/// Most bytes of payload in a datagram over IPv6 (RFC 8200).
pub const MAX_PAYLOAD_V6: usize = 65_527;

/// A socket of [`Udp`]: valid until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId(u16);

impl SocketId {
    /// Its number: small, and free again when it is closed.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

/// One end of what a host sends or receives: an address of its own, and a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// One of the host's addresses; `None` if any will do, 0.0.0.0 if any of IPv4.
    pub address: Option<IpAddr>,
    /// The port; 0 for a random ephemeral one.
    pub port: u16,
}

impl From<u16> for Local {
    /// The port, on any address.
    fn from(port: u16) -> Self {
        Self { address: None, port }
    }
}

impl Local {
    /// The address that it says to send from; `None` if any of the host's will do. What came to a
    /// group, or to everybody, is answered from one of these.
    #[inline]
    fn source_for(
        &self,
        destination: IpAddr,
        network: &impl Network,
    ) -> Result<Option<IpAddr>, SendError> {
        let Some(address) = self.address else { return Ok(None) };
        if address.is_ipv4() != destination.is_ipv4() {
            return Err(SendError::FamilyMismatch);
        }
        Ok((address != ANY_V4 && network.cast(address) == Cast::Unicast).then_some(address))
    }
}

impl From<SocketAddr> for Local {
    /// `0.0.0.0` is any address of IPv4; `[::]` is any address of both families.
    fn from(local: SocketAddr) -> Self {
        let address = Some(local.ip()).filter(|address| !is_any_v6(address));
        Self { address, port: local.port() }
    }
}

impl<A: Into<IpAddr>> From<(A, u16)> for Local {
    /// `0.0.0.0` is any address of IPv4; `[::]` is any address of both families.
    fn from((address, port): (A, u16)) -> Self {
        SocketAddr::new(address.into(), port).into()
    }
}

const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn is_any_v6(address: &IpAddr) -> bool {
    address.is_ipv6() && address.is_unspecified()
}

/// UDP over any [`Network`].
pub struct Udp {
    sockets: Slab<Socket>,
    ports: Ports,
    // Sockets whose queues were empty and no longer are.
    readable: VecDeque<SocketId>,
    max_datagrams: usize,
    max_bytes: usize,
    // In all queues together.
    queued: usize,
    max_queued: usize,
    // Bytes of large packets in all queues together.
    large: usize,
    max_large: usize,
    max_errors: usize,
}

/// Why a received datagram went to no socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was dropped, and counted.
    Dropped,
    /// Nobody listens on its port: its sender is to be told.
    PortUnreachable,
}

impl Udp {
    /// UDP without sockets.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            sockets: Slab::new(),
            ports: Ports::new(config.ephemeral_ports.clone()),
            readable: VecDeque::new(),
            max_datagrams: config.receive_queue,
            max_bytes: config.receive_queue_bytes,
            queued: 0,
            max_queued: config.receive_queues,
            large: 0,
            max_large: config.receive_queues_bytes,
            max_errors: config.error_queue,
        }
    }

    /// Makes a socket that receives what is sent to `local`.
    ///
    /// # Errors
    /// [`BindError`], which says why not.
    pub fn bind(
        &mut self,
        network: &mut impl Network,
        Local { address, port }: Local,
    ) -> Result<SocketId, BindError> {
        if let Some(address) = address.filter(|&address| address != ANY_V4)
            && !network.is_local(address)
        {
            return Err(BindError::AddressNotLocal(address));
        }
        let port = match (port, self.socket_on(port).and_then(|id| self.sockets.get(id.0.into()))) {
            (0, _) => self.ports.ephemeral(network).ok_or(BindError::NoFreePort)?,
            (port, None) => port,
            (port, Some(socket)) => {
                let by = if socket.shared { Holder::Reader } else { Holder::Socket(socket.local) };
                return Err(BindError::PortInUse { port, by });
            }
        };
        let entry = self.sockets.vacant_entry();
        // Each socket has a port of its own, so there are never more than 65,535 of them.
        let id = SocketId(entry.key() as u16);
        entry.insert(Socket::new(Local { address, port }));
        self.ports.set(port, Some(id));
        Ok(id)
    }

    /// The socket of a port that is read from by its number alone, made when that is first asked
    /// for. It is there for all who ask, until it is closed.
    ///
    /// # Errors
    /// [`BindError`]: the port is 0, or it belongs to a socket that was bound.
    pub fn reader(&mut self, network: &mut impl Network, port: u16) -> Result<SocketId, BindError> {
        if port == 0 {
            return Err(BindError::PortZero);
        }
        let is_shared =
            |id: &SocketId| self.sockets.get(id.0.into()).is_some_and(|socket| socket.shared);
        if let Some(id) = self.socket_on(port).filter(is_shared) {
            return Ok(id);
        }
        let id = self.bind(network, port.into())?;
        if let Some(socket) = self.sockets.get_mut(id.0.into()) {
            socket.shared = true;
        }
        Ok(id)
    }

    /// Lets a socket speak to one peer alone: only that one's datagrams are received from now on,
    /// and those of others that wait in the queue are dropped; returns how many. Without a peer it
    /// speaks to all again.
    ///
    /// # Errors
    /// [`SendError`], if there is no way to the peer.
    pub fn connect(
        &mut self,
        network: &mut impl Network,
        now: Instant,
        id: SocketId,
        peer: Option<SocketAddr>,
    ) -> Result<usize, SendError> {
        let Some(socket) = self.sockets.get_mut(id.0.into()) else { return Ok(0) };
        if let Some(peer) = peer {
            if peer.port() == 0 {
                return Err(SendError::PortZero);
            }
            network.route(now, peer.ip(), socket.local.source_for(peer.ip(), network)?)?;
        }
        if socket.peer == peer {
            return Ok(0);
        }
        socket.peer = peer;
        socket.failure = None;
        let (datagrams, large) = socket.drop_others();
        self.queued -= datagrams;
        self.large -= large;
        Ok(datagrams)
    }

    /// The only one that a socket speaks to.
    #[must_use]
    pub fn peer(&self, id: SocketId) -> Option<SocketAddr> {
        self.sockets.get(id.0.into())?.peer
    }

    /// Closes a socket; what is in its queue is dropped, and its port is free again.
    pub fn close(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.try_remove(id.0.into()) {
            self.queued -= socket.len();
            self.large -= socket.large();
            self.ports.set(socket.local.port, None);
            self.readable.retain(|&readable| readable != id);
        }
    }

    /// The socket that is bound to `port`, if there is one.
    #[must_use]
    pub fn socket_on(&self, port: u16) -> Option<SocketId> {
        self.ports.get(port)
    }

    /// What a socket is bound to; `None` if it is closed.
    #[must_use]
    pub fn local(&self, id: SocketId) -> Option<Local> {
        self.sockets.get(id.0.into()).map(|socket| socket.local)
    }

    /// Takes the oldest datagram off a socket's queue.
    #[inline]
    pub fn receive(&mut self, id: SocketId) -> Option<Datagram> {
        let datagram = self.sockets.get_mut(id.0.into())?.pop()?;
        self.queued -= 1;
        self.large -= large(&datagram.packet);
        Some(datagram)
    }

    /// Whether [`Udp::receive`] or [`Udp::receive_failure`] has something for a socket.
    #[must_use]
    pub fn is_readable(&self, id: SocketId) -> bool {
        let socket = self.sockets.get(id.0.into());
        socket.is_some_and(|socket| socket.len() > 0 || socket.failure.is_some())
    }

    /// Takes the oldest datagram of this sender's off a socket's queue.
    pub fn receive_from(&mut self, id: SocketId, source: IpAddr) -> Option<Datagram> {
        let datagram = self.sockets.get_mut(id.0.into())?.pop_from(source)?;
        self.queued -= 1;
        self.large -= large(&datagram.packet);
        Some(datagram)
    }

    /// A socket's counters; `None` if it is closed.
    #[must_use]
    pub fn stats(&self, id: SocketId) -> Option<SocketStats> {
        self.sockets.get(id.0.into()).map(|socket| socket.stats)
    }

    /// Lets a socket receive what is sent to everybody on the link, and send to everybody, or not.
    /// At first it may not.
    pub fn set_broadcast(&mut self, id: SocketId, allowed: bool) {
        if let Some(socket) = self.sockets.get_mut(id.0.into()) {
            socket.broadcast = allowed;
        }
    }

    /// Whether a socket may receive from everybody and send to everybody.
    #[must_use]
    pub fn may_broadcast(&self, id: SocketId) -> bool {
        self.sockets.get(id.0.into()).is_some_and(|socket| socket.broadcast)
    }

    /// Changes what a socket asks for with all that it sends.
    pub fn set_options(&mut self, id: SocketId, options: Options) {
        if let Some(socket) = self.sockets.get_mut(id.0.into()) {
            socket.defaults.set(options, socket.defaults.multicast_hop_limit);
        }
    }

    /// What a socket asks for with all that it sends; `None` if it is closed.
    #[must_use]
    pub fn options(&self, id: SocketId) -> Option<Options> {
        Some(self.sockets.get(id.0.into())?.defaults.options)
    }

    /// Lets what a socket sends to groups have this hop limit. At first it is 1, which keeps it on
    /// the link (RFC 1112 §6.1).
    pub fn set_multicast_hop_limit(&mut self, id: SocketId, hop_limit: u8) {
        if let Some(socket) = self.sockets.get_mut(id.0.into()) {
            socket.defaults.set(socket.defaults.options, Some(hop_limit));
        }
    }

    /// The hop limit of what a socket sends to groups; `None` if it was not set.
    #[must_use]
    pub fn multicast_hop_limit(&self, id: SocketId) -> Option<u8> {
        self.sockets.get(id.0.into())?.defaults.multicast_hop_limit
    }

    /// Takes the oldest ICMP error off a socket's error queue: what has become of something that it
    /// sent.
    pub fn receive_error(&mut self, id: SocketId) -> Option<Report> {
        self.sockets.get_mut(id.0.into())?.errors.pop_front()
    }

    /// What ICMP has said last of why the peer of a connected socket cannot be reached; it is said
    /// once. What was too big for the path is no such thing: the next will not be.
    #[inline]
    pub fn receive_failure(&mut self, id: SocketId) -> Option<IcmpError> {
        self.sockets.get_mut(id.0.into())?.failure.take()
    }

    /// Takes an ICMP error that IP has received about something that was sent. A full queue drops
    /// the oldest.
    pub fn handle_error(&mut self, report: Report) {
        let Some(id) = self.ports.get(report.local.port()) else { return };
        let Some(socket) = self.sockets.get_mut(id.0.into()) else { return };
        match (socket.peer, report.error) {
            (Some(peer), _) if peer != report.remote => return,
            (None, _) | (_, IcmpError::PacketTooBig { .. }) => {}
            (Some(_), error) => socket.failure = Some(error),
        }
        if socket.errors.len() >= self.max_errors {
            socket.errors.pop_front();
        }
        socket.errors.push_back(report);
        socket.stats.errors += 1;
        if socket.announce() {
            self.readable.push_back(id);
        }
    }

    /// The next socket to which something has come since it was last said so: a datagram, or an
    /// error. `None` until [`Udp::handle_datagram`] or [`Udp::handle_error`] is called again.
    #[inline]
    pub fn poll_readable(&mut self) -> Option<SocketId> {
        let id = self.readable.pop_front()?;
        if let Some(socket) = self.sockets.get_mut(id.0.into()) {
            socket.announced = false;
        }
        Some(id)
    }

    /// Takes a datagram that IP has received: the packet's window is what IP carried. `is_member`
    /// says of a socket whether it takes what is sent to the datagram's group by its source.
    ///
    /// # Errors
    /// Gives the packet back as it was if it went to no socket.
    #[inline]
    pub fn handle_datagram(
        &mut self,
        metadata: &Metadata,
        mut packet: Packet,
        stats: &mut Stats,
        is_member: impl FnOnce(SocketId) -> bool,
    ) -> Result<(), (Refused, Packet)> {
        metadata.note(&mut packet);
        self.handle_noted(packet, stats, |id, _| is_member(id))
    }

    /// The same of a datagram whose metadata are noted in its packet.
    #[inline]
    pub(crate) fn handle_noted(
        &mut self,
        mut packet: Packet,
        stats: &mut Stats,
        is_member: impl FnOnce(SocketId, &ControlBlock) -> bool,
    ) -> Result<(), (Refused, Packet)> {
        let block = ControlBlock::of(&packet);
        let (header, payload_len) = match check(block, packet.bytes()) {
            Ok(checked) => checked,
            Err(reason) => {
                stats.dropped.count(reason);
                return Err((Refused::Dropped, packet));
            }
        };
        let (from, to) = (header.source.get(), header.destination.get());
        // What the device has verified may not be there in full.
        let checksum = (!block.udp_verified()).then_some(header.checksum());
        let sockets = self.sockets.len();
        let socket =
            self.ports.get(to).and_then(|id| Some((id, self.sockets.get_mut(id.0.into())?)));
        let Some((id, socket)) = socket.filter(|(_, socket)| socket.accepts(block, from)) else {
            stats.dropped.count(Drop::UdpNoSocket);
            return Err((Refused::PortUnreachable, packet));
        };
        let unwanted = match block.cast() {
            Cast::Unicast => None,
            Cast::Broadcast => (!socket.broadcast).then_some(Drop::UdpBroadcast),
            Cast::Multicast => (!is_member(id, block)).then_some(Drop::UdpNotMember),
        };
        if let Some(reason) = unwanted {
            stats.dropped.count(reason);
            return Err((Refused::Dropped, packet));
        }
        // Those that nobody reads must not take every packet from those that are read: half as much
        // as there is for all is there for those that have less than their share.
        let share = || (self.max_queued / (2 * sockets)).max(1);
        let crowded = self.queued >= self.max_queued && socket.len() >= share();
        if crowded || !socket.has_room(payload_len, self.max_datagrams, self.max_bytes) {
            socket.count_drop();
            stats.dropped.count(Drop::UdpQueueFull);
            return Err((Refused::Dropped, packet));
        }
        packet.trim_front(HEADER_LEN);
        packet.truncate(payload_len);
        let block = ControlBlock::of_mut(&mut packet);
        (block.source_port, block.destination_port) = (from, to);
        block.set_checksum(checksum);
        if packet.is_large() {
            return self.queue_large(id, packet, stats);
        }
        self.queued += 1;
        if socket.push(packet) {
            self.readable.push_back(id);
        }
        stats.udp_received += 1;
        Ok(())
    }

    /// Queues a large packet. If those take up too much already, the queue that has most of them
    /// loses its newest: so sockets that nobody reads leave room for those that are read.
    #[cold]
    fn queue_large(
        &mut self,
        id: SocketId,
        packet: Packet,
        stats: &mut Stats,
    ) -> Result<(), (Refused, Packet)> {
        let size = large(&packet);
        while self.large + size > self.max_large {
            let with = |(key, socket): (usize, &Socket)| {
                let newcomer = if key == usize::from(id.0) { size } else { 0 };
                (socket.large() + newcomer, key)
            };
            let most = self.sockets.iter().map(with).max().map(|(_, key)| key);
            let Some(socket) = most.and_then(|key| self.sockets.get_mut(key)) else { break };
            socket.count_drop();
            stats.dropped.count(Drop::UdpQueueFull);
            if most == Some(id.0.into()) {
                return Err((Refused::Dropped, packet));
            }
            let Some(dropped) = socket.drop_newest_large() else { break };
            self.queued -= 1;
            self.large -= dropped;
        }
        if let Some(socket) = self.sockets.get_mut(id.0.into()) {
            self.queued += 1;
            self.large += size;
            if socket.push(packet) {
                self.readable.push_back(id);
            }
            stats.udp_received += 1;
        }
        Ok(())
    }
}

/// What a packet takes up besides the pool's own buffers, in bytes.
#[inline]
fn large(packet: &Packet) -> usize {
    if packet.is_large() { packet.capacity() } else { 0 }
}

/// Checks a datagram: its header, and the length of its payload. What IP carried behind the
/// datagram is nothing of UDP's.
#[inline]
pub(crate) fn check<'a>(
    block: &ControlBlock,
    datagram: &'a [u8],
) -> Result<(&'a Header, usize), Drop> {
    let header = Header::parse(datagram).ok_or(Drop::UdpMalformed)?;
    // RFC 8200 §8.1: over IPv6 there is always one.
    if !header.has_checksum() && block.is_ipv6() {
        return Err(Drop::UdpChecksum);
    }
    if header.has_checksum() && !block.udp_verified() {
        let length = header.len();
        let pseudo = block.udp_pseudo_header(length as u16);
        if !pseudo.add_bytes(&datagram[..length]).is_valid() {
            return Err(Drop::UdpChecksum);
        }
    }
    Ok((header, header.len() - HEADER_LEN))
}

#[inline]
pub(crate) fn pseudo_header(source: IpAddr, destination: IpAddr, length: u16) -> Checksum {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ipv4::pseudo_header(source, destination, ipv4::UDP, length)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ipv6::pseudo_header(source, destination, ipv4::UDP, length.into())
        }
        _ => Checksum::new(),
    }
}

/// Why a socket cannot be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody else has the port: there is one socket for each, whichever its address.
    #[error("UDP port {port} is in use by {by}")]
    PortInUse {
        /// The port.
        port: u16,
        /// Who has it.
        by: Holder,
    },
    /// The address is not one of the host's.
    #[error("{0} is not this host's address")]
    AddressNotLocal(IpAddr),
    /// Every ephemeral port is in use.
    #[error("no ephemeral port is free")]
    NoFreePort,
    /// Port 0 is none to read from.
    #[error("UDP port 0 is none to read from")]
    PortZero,
}

/// Who has a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// A socket that is bound to this.
    Socket(Local),
    /// Those who read from the port by its number ([`Udp::reader`]).
    Reader,
    /// The stack itself, for DHCP.
    Dhcp,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(Local { address: None, .. }) => f.write_str("a socket on all addresses"),
            Self::Socket(Local { address: Some(address), .. }) => {
                write!(f, "a socket on {address}")
            }
            Self::Reader => f.write_str("readers of the port"),
            Self::Dhcp => f.write_str("DHCP"),
        }
    }
}
