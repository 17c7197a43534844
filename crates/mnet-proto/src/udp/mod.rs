//! UDP: ports, sockets, and the datagrams in between (RFC 768, RFC 1122 §4.1).

mod bind;
mod destination;
mod ports;
mod readable;
mod receive;
mod send;
mod socket;

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use netdev::Packet;
use slab::Slab;

pub use self::bind::{BindError, Holder};
use self::destination::Defaults;
pub use self::destination::{Destination, Options};
use self::ports::Ports;
use self::readable::Readable;
pub use self::receive::Refused;
pub(crate) use self::receive::check;
use self::socket::Socket;
pub use self::socket::{Datagram, SocketStats};
use crate::config::Config;
use crate::ip::{Cast, Network, SendError};
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
    readable: Readable,
    max_datagrams: usize,
    max_bytes: usize,
    // In all queues together.
    queued: usize,
    max_queued: usize,
    // What each queue may hold when all together are full. Those that nobody reads must not take every packet
    // from those that are read: half as much as there is for all is there for those that have less than this.
    share: usize,
    // Bytes of large packets in all queues together.
    large: usize,
    max_large: usize,
    max_errors: usize,
}

impl Udp {
    /// UDP without sockets.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            sockets: Slab::new(),
            ports: Ports::new(config.ephemeral_ports.clone()),
            readable: Readable::default(),
            max_datagrams: config.receive_queue,
            max_bytes: config.receive_queue_bytes,
            queued: 0,
            max_queued: config.receive_queues,
            share: config.receive_queues,
            large: 0,
            max_large: config.receive_queues_bytes,
            max_errors: config.error_queue,
        }
    }

    /// Sees how much each queue may hold, as there is a socket more, or less.
    fn share_out(&mut self) {
        self.share = (self.max_queued / (2 * self.sockets.len().max(1))).max(1);
    }

    /// The only one that a socket speaks to.
    #[must_use]
    pub fn peer(&self, id: SocketId) -> Option<SocketAddr> {
        self.sockets.get(id.0.into())?.peer
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
}

/// What a packet takes up besides the pool's own buffers, in bytes.
#[inline]
fn large(packet: &Packet) -> usize {
    if packet.is_large() { packet.capacity() } else { 0 }
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
