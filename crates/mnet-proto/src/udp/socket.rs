use alloc::collections::VecDeque;
use core::net::SocketAddr;

use netdev::{Instant, Packet};

use super::Local;
use crate::icmp::Report;
use crate::ip::{Cast, Metadata};

/// A bound port, and what has come for it.
pub(super) struct Socket {
    pub(super) local: Local,
    pub(super) stats: SocketStats,
    /// Whether it takes part in what everybody is told.
    pub(super) broadcast: bool,
    pub(super) errors: VecDeque<Report>,
    queue: VecDeque<Datagram>,
    bytes: usize,
    large: usize,
    // Dropped since the newest datagram in the queue.
    dropped: u32,
}

/// A datagram that has come, its payload still in the packet that the device filled.
#[derive(Debug)]
pub struct Datagram {
    /// Its payload is the packet's window; the headers before it have been spent.
    pub packet: Packet,
    /// Who sent it.
    pub remote: SocketAddr,
    /// To which port it was sent, and to which address: one of the host's, or a group's, or
    /// everybody's.
    pub local: SocketAddr,
    /// What was left of its TTL or hop limit.
    pub hop_limit: u8,
    /// DSCP (upper six bits) and ECN (lower two).
    pub traffic_class: u8,
    /// When it came.
    pub arrived: Instant,
    /// How many datagrams for the socket were dropped between the one before and this.
    pub dropped_before: u32,
}

/// Counters of a socket. None ever goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketStats {
    /// Datagrams put into the queue.
    pub received: u64,
    /// Datagrams dropped as the queue was full.
    pub dropped: u64,
}

impl Socket {
    pub(super) fn new(local: Local) -> Self {
        let stats = SocketStats::default();
        let (queue, errors) = (VecDeque::new(), VecDeque::new());
        Self { local, stats, broadcast: false, errors, queue, bytes: 0, large: 0, dropped: 0 }
    }

    /// Whether it is bound to the address that a datagram was sent to, or to any. What is sent to
    /// many is sent to all of a host's addresses.
    #[inline]
    pub(super) fn accepts(&self, metadata: &Metadata) -> bool {
        let to_many = metadata.cast != Cast::Unicast;
        self.local.address.is_none_or(|address| to_many || address == metadata.destination)
    }

    /// How many datagrams are in its queue.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// What large packets in its queue take up, in bytes.
    pub(super) fn large(&self) -> usize {
        self.large
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

    /// Queues a datagram from `port` of its sender; `true` if the queue was empty.
    #[inline]
    pub(super) fn push(&mut self, metadata: &Metadata, port: u16, packet: Packet) -> bool {
        let was_empty = self.queue.is_empty();
        self.bytes += packet.len();
        self.large += super::large(&packet);
        self.stats.received += 1;
        self.queue.push_back(Datagram {
            packet,
            remote: SocketAddr::new(metadata.source, port),
            local: SocketAddr::new(metadata.destination, self.local.port),
            hop_limit: metadata.hop_limit,
            traffic_class: metadata.traffic_class,
            arrived: metadata.arrived,
            dropped_before: core::mem::take(&mut self.dropped),
        });
        was_empty
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        self.bytes -= datagram.packet.len();
        self.large -= super::large(&datagram.packet);
        Some(datagram)
    }
}
