//! Receiving: from what IP carries to a socket's queue, and out of that.

use core::hint::cold_path;
use core::net::IpAddr;

use netdev::Packet;

use super::socket::Socket;
use super::{Datagram, SocketId, Udp};
use crate::icmp::{IcmpError, Report};
use crate::ip::{Cast, ControlBlock, Metadata};
use crate::stats::{Drop, Stats};
use crate::wire::udp::{HEADER_LEN, Header};

/// Why a received datagram went to no socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was dropped, and counted.
    Dropped,
    /// Nobody listens on its port: its sender is to be told.
    PortUnreachable,
}

impl Udp {
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
            Err(reason) => return Err(refuse(reason, packet, stats)),
        };
        let (from, to) = (header.source.get(), header.destination.get());
        // What the device has verified may not be there in full.
        let checksum = (!block.udp_verified()).then_some(header.checksum());
        let socket =
            self.ports.get(to).and_then(|id| Some((id, self.sockets.get_mut(id.0.into())?)));
        let Some((id, mut socket)) = socket.filter(|(_, socket)| socket.accepts(block, from))
        else {
            stats.dropped.count(Drop::UdpNoSocket);
            return Err((Refused::PortUnreachable, packet));
        };
        let unwanted = match block.cast() {
            Cast::Unicast => None,
            Cast::Broadcast => (!socket.broadcast).then_some(Drop::UdpBroadcast),
            Cast::Multicast => (!is_member(id, block)).then_some(Drop::UdpNotMember),
        };
        if let Some(reason) = unwanted {
            return Err(refuse(reason, packet, stats));
        }
        let mut has_room = socket.has_room(payload_len, self.max_datagrams, self.max_bytes);
        if self.queued >= self.max_queued {
            cold_path();
            has_room &= socket.len() < self.share;
        }
        if !has_room {
            socket.count_drop();
            return Err(refuse(Drop::UdpQueueFull, packet, stats));
        }
        if packet.is_large() {
            let has_room = self.make_room(id, packet.capacity(), stats);
            match self.sockets.get_mut(id.0.into()).filter(|_| has_room) {
                Some(found) => socket = found,
                None => return Err((Refused::Dropped, packet)),
            }
        }
        packet.narrow(HEADER_LEN, payload_len);
        let block = ControlBlock::of_mut(&mut packet);
        (block.source_port, block.destination_port) = (from, to);
        block.set_checksum(checksum);
        self.queued += 1;
        if socket.push(packet) {
            self.readable.push_back(id);
        }
        stats.udp_received += 1;
        Ok(())
    }

    /// Makes room for a large packet of this size, which is for this socket, and counts it. If those
    /// take up too much already, the queue that has most of them loses its newest: so sockets that
    /// nobody reads leave room for those that are read. `false` if the newest is the newcomer.
    #[cold]
    fn make_room(&mut self, id: SocketId, size: usize, stats: &mut Stats) -> bool {
        while self.large + size > self.max_large {
            let with = |(key, socket): (usize, &Socket)| {
                let newcomer = if key == usize::from(id.0) { size } else { 0 };
                (socket.large + newcomer, key)
            };
            let most = self.sockets.iter().map(with).max().map(|(_, key)| key);
            let Some(socket) = most.and_then(|key| self.sockets.get_mut(key)) else { break };
            socket.count_drop();
            stats.dropped.count(Drop::UdpQueueFull);
            if most == Some(id.0.into()) {
                return false;
            }
            let Some(dropped) = socket.drop_newest_large() else { break };
            self.queued -= 1;
            self.large -= dropped;
        }
        if let Some(socket) = self.sockets.get_mut(id.0.into()) {
            socket.large += size;
            self.large += size;
        }
        true
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

    /// Whether [`Udp::receive`] or [`Udp::receive_failure`] has something for a socket.
    #[must_use]
    pub fn is_readable(&self, id: SocketId) -> bool {
        let socket = self.sockets.get(id.0.into());
        socket.is_some_and(|socket| socket.len() > 0 || socket.failure.is_some())
    }

    /// Takes the oldest datagram off a socket's queue.
    #[inline]
    pub fn receive(&mut self, id: SocketId) -> Option<Datagram> {
        let datagram = self.sockets.get_mut(id.0.into())?.pop()?;
        Some(self.without(id, datagram))
    }

    /// Takes the oldest datagram of this sender's off a socket's queue.
    pub fn receive_from(&mut self, id: SocketId, source: IpAddr) -> Option<Datagram> {
        let datagram = self.sockets.get_mut(id.0.into())?.pop_from(source)?;
        Some(self.without(id, datagram))
    }

    /// Counts a datagram that has been taken off a socket's queue no longer.
    #[inline]
    fn without(&mut self, id: SocketId, datagram: Datagram) -> Datagram {
        self.queued -= 1;
        if datagram.packet.is_large() {
            let size = datagram.packet.capacity();
            self.large -= size;
            if let Some(socket) = self.sockets.get_mut(id.0.into()) {
                socket.large -= size;
            }
        }
        datagram
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
}

/// Counts what is dropped.
#[cold]
fn refuse(reason: Drop, packet: Packet, stats: &mut Stats) -> (Refused, Packet) {
    stats.dropped.count(reason);
    (Refused::Dropped, packet)
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
