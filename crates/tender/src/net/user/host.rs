//! The sockets of the host that a network has, and what passes between them and the gateway.

use std::net::{IpAddr, SocketAddr};

use netdev::{Instant, Packet, Pool};
use rustix::io::Errno;

use super::drops::Drop;
use super::flows::Peer;
use super::gateway::{Gateway, Unreachable};
use super::link::MAX_FRAMES;
use super::queue::Queue;
use super::socket::Socket;
use super::{MAX_FRAME, Source};
use crate::net::Publish;

/// Bytes to ask for in each buffer of a published port: room for some hundreds of large datagrams.
pub(super) const SOCKET_BUFFER: usize = 4 << 20;
/// The same for the sockets that the image sends from, of which there may be many.
const OUTGOING_BUFFER: usize = 512 << 10;
/// Datagrams taken from one socket before the others, and the image, have their turn: a burst of
/// what the host gives an ordinary socket room for.
const BATCH: usize = 256;
/// Bytes in the longest datagram, and more.
const MAX_DATAGRAM: usize = 65_535;

/// The sockets of a network.
#[derive(Debug)]
pub(super) struct Host {
    published: Vec<Socket>,
    /// By the gateway's index.
    outgoing: Vec<Option<Socket>>,
    /// A datagram at a time.
    packet: Packet,
}

/// Which socket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// That of a published port, by its index.
    Published(usize),
    /// That of a port that the image sends from, by the gateway's index.
    Outgoing(usize),
}

impl Host {
    /// Opens the sockets of published ports.
    ///
    /// # Errors
    /// The port whose socket the host refuses, and why.
    pub(super) fn open(publish: &[Publish]) -> Result<Self, (Publish, Errno)> {
        let bind = |publish: &Publish| {
            Socket::bind(publish.host, SOCKET_BUFFER).map_err(|error| (*publish, error))
        };
        let packet = Pool::new(0, MAX_FRAME).take_large(MAX_DATAGRAM);
        Ok(Self {
            published: publish.iter().map(bind).collect::<Result<_, _>>()?,
            outgoing: Vec::new(),
            packet: packet.expect("there is memory for one datagram"),
        })
    }

    /// The sockets of the published ports.
    pub(super) fn published(&self) -> impl Iterator<Item = &Socket> {
        self.published.iter()
    }

    /// All sockets, each with what its events carry.
    pub(super) fn sockets(&self) -> impl Iterator<Item = (Source, &Socket)> {
        let published = self.published.iter().map(Some);
        let all = published.chain(self.outgoing.iter().map(Option::as_ref));
        (1..).zip(all).filter_map(|(source, socket)| Some((source, socket?)))
    }

    /// The socket whose events carry this; `None` if it is not the host's.
    pub(super) fn side(&self, source: Source) -> Option<Side> {
        let index = (source as usize).checked_sub(1)?;
        Some(match index.checked_sub(self.published.len()) {
            None => Side::Published(index),
            Some(index) => Side::Outgoing(index),
        })
    }

    /// Opens the socket of a port of the image, in place of what had its index before, to send
    /// there. `add` is given it, and what its events carry.
    pub(super) fn open_outgoing(
        &mut self,
        index: usize,
        to: SocketAddr,
        add: impl FnOnce(&Socket, Source) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        self.close_outgoing(index);
        if index >= self.outgoing.len() {
            self.outgoing.resize_with(index + 1, || None);
        }
        let socket = Socket::any_port(to, OUTGOING_BUFFER)?;
        add(&socket, (1 + self.published.len() + index) as Source)?;
        self.outgoing[index] = Some(socket);
        Ok(())
    }

    /// Closes the socket of a port of the image.
    pub(super) fn close_outgoing(&mut self, index: usize) {
        if let Some(socket) = self.outgoing.get_mut(index) {
            *socket = None;
        }
    }

    /// Sends an answer to a peer of a published port.
    pub(super) fn send_published(
        &mut self,
        now: Instant,
        peer: Peer,
        payload: &[u8],
        gateway: &mut Gateway,
        out: &mut Queue,
    ) {
        let side = Side::Published(peer.publish);
        let sent = self.send(now, side, Some(peer.asked), peer.address, payload, gateway, out);
        let Err(error) = sent else { return };
        gateway.count(Drop::NotSent);
        if let Some(why) = unreachable(error) {
            gateway.handle_published_error(now, peer, why, payload, out);
        }
    }

    /// Sends a datagram of the image to a host.
    pub(super) fn send_outgoing(
        &mut self,
        now: Instant,
        index: usize,
        to: SocketAddr,
        payload: &[u8],
        gateway: &mut Gateway,
        out: &mut Queue,
    ) {
        let sent = self.send(now, Side::Outgoing(index), None, to, payload, gateway, out);
        if let Err(error) = sent {
            not_sent(now, index, to, error, payload, gateway, out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that a datagram and its errors need")]
    fn send(
        &mut self,
        now: Instant,
        side: Side,
        from: Option<IpAddr>,
        to: SocketAddr,
        payload: &[u8],
        gateway: &mut Gateway,
        out: &mut Queue,
    ) -> Result<(), Errno> {
        let sent = self.socket(side).ok_or(Errno::BADF)?.send(payload, from, to);
        // It may be the error of another, which is none of this one's.
        match sent {
            Err(_) if self.take_failures(now, side, gateway, out) > 0 => {
                self.socket(side).ok_or(Errno::BADF)?.send(payload, from, to)
            }
            sent => sent,
        }
    }

    /// Takes word of what was sent and did not arrive, and gives of how many datagrams that was.
    pub(super) fn take_failures(
        &mut self,
        now: Instant,
        side: Side,
        gateway: &mut Gateway,
        out: &mut Queue,
    ) -> usize {
        let mut count = 0;
        for _ in 0..BATCH {
            self.packet.clear();
            let Self { published, outgoing, packet } = self;
            let Some(socket) = socket(published, outgoing, side) else { break };
            let Some(failure) = socket.failure(packet) else { break };
            count += 1;
            // What this host finds wrong, it tells at once.
            let Some(why) = unreachable(failure.error).filter(|_| failure.remote) else { continue };
            let payload = packet.bytes();
            match side {
                Side::Published(publish) => {
                    let peer = Peer { publish, asked: failure.from, address: failure.to };
                    gateway.handle_published_error(now, peer, why, payload, out);
                }
                Side::Outgoing(index) => {
                    gateway.handle_outgoing_error(now, index, failure.to, why, payload, out);
                }
            }
        }
        count
    }

    /// Takes what came to a socket, and gives how many datagrams that were.
    ///
    /// They go into the queue first: the socket is emptied before the image, woken by the first
    /// frame, takes the processor, so that a burst finds room in it.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        side: Side,
        gateway: &mut Gateway,
        out: &mut Queue,
    ) -> usize {
        let Self { published, outgoing, packet } = self;
        // If there is none, it was closed since the event.
        let Some(socket) = socket(published, outgoing, side) else { return 0 };
        for count in 0..BATCH {
            if out.room() < MAX_FRAMES {
                return count;
            }
            packet.clear();
            let Some((from, asked)) = socket.receive(packet) else { return count };
            match side {
                Side::Published(publish) => {
                    let peer = Peer { publish, asked, address: from };
                    gateway.handle_published(now, peer, packet, out);
                }
                Side::Outgoing(index) => gateway.handle_outgoing(index, from, packet, out),
            }
        }
        BATCH
    }

    fn socket(&self, side: Side) -> Option<&Socket> {
        socket(&self.published, &self.outgoing, side)
    }
}

fn socket<'h>(
    published: &'h [Socket],
    outgoing: &'h [Option<Socket>],
    side: Side,
) -> Option<&'h Socket> {
    match side {
        Side::Published(index) => published.get(index),
        Side::Outgoing(index) => outgoing.get(index)?.as_ref(),
    }
}

/// Deals with what the host does not send from the port of the image.
pub(super) fn not_sent(
    now: Instant,
    index: usize,
    to: SocketAddr,
    error: Errno,
    payload: &[u8],
    gateway: &mut Gateway,
    out: &mut Queue,
) {
    gateway.count(Drop::NotSent);
    if let Some(why) = unreachable(error) {
        gateway.handle_outgoing_error(now, index, to, why, payload, out);
    }
}

/// What an error says of the way to a host, if anything.
fn unreachable(error: Errno) -> Option<Unreachable> {
    Some(match error {
        Errno::CONNREFUSED => Unreachable::Port,
        Errno::HOSTUNREACH => Unreachable::Host,
        Errno::ACCESS | Errno::PERM => Unreachable::Prohibited,
        // The last two: it has nothing of this family at all.
        Errno::NETUNREACH | Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL => Unreachable::Network,
        _ => return None,
    })
}
