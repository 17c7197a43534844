use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use netdev::{Instant, Packet};

use super::Local;
use super::destination::Defaults;
use crate::icmp::{IcmpError, Report};
use crate::ip::{Cast, ControlBlock};

/// Datagrams that find room in a queue from the beginning: so that the first that comes for a socket takes
/// no longer than others.
const QUEUE: usize = 4;

/// A bound port, and what has come for it.
///
/// What is looked at of each datagram is in its first two cache lines: of many sockets that are spoken to in
/// turn, none is in the cache.
#[repr(C, align(64))]
pub(super) struct Socket {
    queue: VecDeque<Datagram>,
    bytes: usize,
    /// What large packets in its queue take up, in bytes: counted by who puts them there, and takes them.
    pub(super) large: usize,
    // Dropped since the newest datagram in the queue.
    dropped: u32,
    /// Why its peer cannot be reached.
    pub(super) failure: Option<IcmpError>,
    /// It has been said that something has come, and nobody has heard of it yet.
    pub(super) announced: bool,
    // Whether it is bound to no address, and has no peer.
    takes_all: bool,
    /// Whether it takes part in what everybody is told.
    pub(super) broadcast: bool,
    /// Whether it is for all who read from its port by number.
    pub(super) shared: bool,
    pub(super) stats: SocketStats,
    pub(super) defaults: Defaults,
    pub(super) local: Local,
    /// The only one that it speaks to.
    pub(super) peer: Option<SocketAddr>,
    pub(super) errors: VecDeque<Report>,
}

/// A datagram that has come, its payload still in the packet that the device filled. What else is
/// known of it is noted there too.
#[derive(Debug)]
pub struct Datagram {
    // Its payload is the packet's window; the headers before it have been spent.
    pub(super) packet: Packet,
}

impl Datagram {
    #[inline]
    fn block(&self) -> &ControlBlock {
        ControlBlock::of(&self.packet)
    }

    /// What it says: 0 to 65,527 bytes.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.packet.bytes()
    }

    /// The same, to be changed.
    #[must_use]
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.changed().bytes_mut()
    }

    /// Lets the payload be `length` bytes long; `false`, and nothing done, if its packet has no room for
    /// that. What comes behind it is of no meaning.
    #[must_use]
    pub fn resize(&mut self, length: usize) -> bool {
        let packet = self.changed();
        let more = length.saturating_sub(packet.len());
        packet.truncate(length);
        packet.append(more).is_some()
    }

    /// Its packet, whose payload will not be as it came.
    fn changed(&mut self) -> &mut Packet {
        ControlBlock::of_mut(&mut self.packet).set_checksum(None);
        &mut self.packet
    }

    /// The packet, whose window is the payload.
    #[must_use]
    #[inline]
    pub fn into_packet(self) -> Packet {
        self.packet
    }

    /// Lets it be in another packet from now on, whose window is its payload.
    pub fn move_to(&mut self, mut packet: Packet) {
        *packet.control_block_mut() = *self.changed().control_block();
        self.packet = packet;
    }

    /// Who sent it.
    #[must_use]
    #[inline]
    pub fn remote(&self) -> SocketAddr {
        self.block().remote()
    }

    /// To which port it was sent, and to which address: one of the host's, or a group's, or
    /// everybody's.
    #[must_use]
    #[inline]
    pub fn local(&self) -> SocketAddr {
        self.block().local()
    }

    /// What was left of its TTL or hop limit.
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.block().hop_limit
    }

    /// DSCP (upper six bits) and ECN (lower two).
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        self.block().traffic_class
    }

    /// Whether nobody on its way might fragment it, as nobody may over IPv6 (RFC 791, RFC 8200 §5).
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.block().dont_fragment()
    }

    /// When it came.
    #[must_use]
    pub fn arrived(&self) -> Instant {
        self.block().arrived()
    }

    /// How many datagrams for the socket were dropped between the one before and this.
    #[must_use]
    pub fn dropped_before(&self) -> u32 {
        self.block().dropped_before
    }
}

/// Counters of a socket. None ever goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketStats {
    /// Datagrams put into the queue.
    pub received: u64,
    /// Datagrams dropped as the queue was full.
    pub dropped: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// ICMP errors about what was sent.
    pub errors: u64,
}

impl Socket {
    pub(super) fn new(local: Local) -> Self {
        Self {
            queue: VecDeque::with_capacity(QUEUE),
            bytes: 0,
            large: 0,
            dropped: 0,
            failure: None,
            announced: false,
            takes_all: local.address.is_none(),
            broadcast: false,
            shared: false,
            stats: SocketStats::default(),
            defaults: Defaults::NONE,
            local,
            peer: None,
            errors: VecDeque::new(),
        }
    }

    /// Whether it is bound to the address that a datagram was sent to, or to any, and speaks to
    /// whoever sent it from `port`.
    #[inline]
    pub(super) fn accepts(&self, block: &ControlBlock, port: u16) -> bool {
        self.takes_all || self.accepts_just(block, port)
    }

    /// The same of a socket that does not take everything. What is sent to many is sent to all of a
    /// host's addresses of that family.
    #[cold]
    #[inline(never)]
    fn accepts_just(&self, block: &ControlBlock, port: u16) -> bool {
        let (own, to) = (self.local.address, block.destination());
        let any = |own: IpAddr| own == super::ANY_V4 || block.cast() != Cast::Unicast;
        own.is_none_or(|own| own == to || (any(own) && own.is_ipv4() == to.is_ipv4()))
            && self.peer.is_none_or(|peer| peer == SocketAddr::new(block.source(), port))
    }

    /// Takes note that something has come; `true` if that is to be said.
    #[inline]
    pub(super) fn announce(&mut self) -> bool {
        !core::mem::replace(&mut self.announced, true)
    }

    /// Lets it speak to one peer alone, or to everybody, and drops what others than its peer have sent.
    /// Returns how many datagrams that were, and how much those in large packets took up.
    pub(super) fn connect(&mut self, peer: Option<SocketAddr>) -> (usize, usize) {
        self.peer = peer;
        self.takes_all = self.local.address.is_none() && peer.is_none();
        self.failure = None;
        let Some(peer) = peer else { return (0, 0) };
        let before = (self.queue.len(), self.large);
        self.queue.retain(|datagram| datagram.remote() == peer);
        self.bytes = self.queue.iter().map(|datagram| datagram.packet.len()).sum();
        self.large = self.queue.iter().map(|datagram| super::large(&datagram.packet)).sum();
        (before.0 - self.queue.len(), before.1 - self.large)
    }

    /// How many datagrams are in its queue.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Drops the newest datagram in a large packet, and returns how much that took up.
    pub(super) fn drop_newest_large(&mut self) -> Option<usize> {
        let at = self.queue.iter().rposition(|datagram| datagram.packet.is_large())?;
        (at + 1..self.queue.len()).for_each(|behind| self.queue.swap(behind - 1, behind));
        let datagram = self.queue.pop_back()?;
        self.bytes -= datagram.packet.len();
        self.large -= super::large(&datagram.packet);
        Some(super::large(&datagram.packet))
    }

    /// Whether there is room for one more datagram. One finds room in an empty queue, however long
    /// it is.
    #[inline]
    pub(super) fn has_room(&self, length: usize, datagrams: usize, bytes: usize) -> bool {
        self.queue.len() < datagrams && (self.queue.is_empty() || self.bytes + length <= bytes)
    }

    pub(super) fn count_drop(&mut self) {
        self.stats.dropped += 1;
        self.dropped = self.dropped.saturating_add(1);
    }

    /// Queues a datagram; `true` if it is to be said that one has come.
    #[inline]
    pub(super) fn push(&mut self, mut packet: Packet) -> bool {
        self.bytes += packet.len();
        self.stats.received += 1;
        ControlBlock::of_mut(&mut packet).dropped_before = core::mem::take(&mut self.dropped);
        self.queue.push_back(Datagram { packet });
        self.announce()
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        Some(self.without(datagram))
    }

    /// Takes the oldest datagram from this address.
    pub(super) fn pop_from(&mut self, source: IpAddr) -> Option<Datagram> {
        let at = self.queue.iter().position(|datagram| datagram.block().source() == source)?;
        let datagram = self.queue.remove(at)?;
        Some(self.without(datagram))
    }

    #[inline]
    fn without(&mut self, datagram: Datagram) -> Datagram {
        self.bytes -= datagram.packet.len();
        datagram
    }
}
