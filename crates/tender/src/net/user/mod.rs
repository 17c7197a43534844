//! The `user` network: sockets of the host on one side, the image's frames on the other.
//!
//! The image's end is one of a pair of datagram sockets. They keep frames apart as a card does;
//! unlike `SOCK_SEQPACKET` they have no connection that could end, so that an empty frame is not
//! taken for an end, and a write never raises SIGPIPE.

mod addresses;
mod drops;
mod flows;
mod gateway;
mod link;
mod nameserver;
mod outgoing;
mod payload;
mod pktinfo;
mod queue;
mod recent;
mod residents;
mod socket;

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use mnet_proto::wire::ethernet;
use netdev::{Instant, Mac, Packet, Pool};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::{Errno, read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use self::drops::Drop;
use self::flows::Peer;
use self::gateway::{Action, Gateway};
use self::link::MAX_FRAMES;
use self::queue::Queue;
use self::socket::Socket;
use super::{NetworkError, Publish, PublishError};
use crate::error::Error;

pub(crate) use self::addresses::MAC;

/// Most bytes of IP in a frame.
pub(crate) const MTU: u16 = 1500;
/// Most bytes in a frame.
const MAX_FRAME: usize = ethernet::HEADER_LEN + MTU as usize;

/// Bytes in the longest datagram, and more.
const MAX_DATAGRAM: usize = 65_535;

/// Bytes to ask for in each socket buffer: room for some hundreds of large datagrams.
const SOCKET_BUFFER: usize = 4 << 20;
/// The same for the sockets that the image sends from, of which there may be many.
const OUTGOING_BUFFER: usize = 512 << 10;
/// Frames that wait for the image when its socket is full.
const QUEUE: usize = 1024;
/// Datagrams taken from one socket before the others, and the image, have their turn: a burst of
/// what the host gives an ordinary socket room for.
const BATCH: usize = 256;

/// One `user` network, with all that it has open.
#[derive(Debug)]
pub(crate) struct UserNetwork {
    gateway: Gateway,
    guest: GuestEnd,
    published: Vec<Socket>,
    /// By the gateway's index.
    outgoing: Vec<Option<Socket>>,
    /// A frame of the image at a time, with one byte more to know what is too long.
    buffer: Box<[u8; MAX_FRAME + 1]>,
    /// A datagram of the host at a time.
    packet: Packet,
    /// Whether the host's sockets are left alone, because the queue to the image is full.
    paused: bool,
}

/// What a network waits for, as a number: [`GUEST`], then its published ports, then the ports that
/// the image sends from.
pub(crate) type Source = u32;

const GUEST: Source = 0;

/// An epoll set, as one network sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set<'s> {
    /// The set.
    pub(crate) epoll: &'s OwnedFd,
    /// What the network's events carry besides the [`Source`], in the upper half.
    pub(crate) network: u32,
}

impl Set<'_> {
    fn data(self, source: Source) -> EventData {
        EventData::new_u64(u64::from(self.network) << 32 | u64::from(source))
    }

    fn add(self, fd: impl AsFd, source: Source, events: EventFlags) -> Result<(), Errno> {
        epoll::add(self.epoll, fd, self.data(source), events)
    }

    fn modify(self, fd: impl AsFd, source: Source, events: EventFlags) -> Result<(), Errno> {
        epoll::modify(self.epoll, fd, self.data(source), events)
    }
}

impl UserNetwork {
    /// Opens a network for a guest with this address, and the sockets of its published ports.
    /// Gives it, and the image's end.
    pub(crate) fn open(
        name: &str,
        mac: Mac,
        publish: &[Publish],
    ) -> Result<(Self, OwnedFd), Error> {
        let error = |source| Error::Network { name: name.to_owned(), source };
        if mac == MAC {
            return Err(error(NetworkError::Mac(mac)));
        }
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (ours, images) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
            .map_err(|source| error(NetworkError::System { what: "connect it", source }))?;
        for end in [&ours, &images] {
            socket::enlarge_buffers(end, SOCKET_BUFFER);
        }
        let bind = |publish: &Publish| {
            Socket::bind(publish.host, SOCKET_BUFFER).map_err(|error| Error::Publish {
                publish: *publish,
                source: PublishError::from(error),
            })
        };
        let network = Self {
            gateway: Gateway::new(
                mac,
                publish.iter().map(|publish| publish.guest).collect(),
                nameserver::of_host(),
            ),
            guest: GuestEnd { socket: ours, queue: Queue::new(QUEUE), awaited: false },
            published: publish.iter().map(bind).collect::<Result<_, _>>()?,
            outgoing: Vec::new(),
            buffer: Box::new([0; MAX_FRAME + 1]),
            packet: Pool::new(0, MAX_FRAME).take_large(MAX_DATAGRAM).ok_or_else(|| {
                error(NetworkError::System { what: "get memory for it", source: Errno::NOMEM })
            })?,
            paused: false,
        };
        Ok((network, images))
    }

    /// Where the published ports are really bound.
    pub(crate) fn published(&self) -> impl Iterator<Item = SocketAddr> {
        self.published.iter().map(Socket::local)
    }

    /// What was dropped so far: how often, and what.
    pub(crate) fn drops(&self) -> impl Iterator<Item = (u64, &'static str)> {
        self.gateway.drops().iter()
    }

    /// Adds all that it waits for to an epoll set.
    pub(crate) fn register(&self, set: Set<'_>) -> Result<(), Errno> {
        set.add(&self.guest.socket, GUEST, EventFlags::IN)?;
        (1..)
            .zip(&self.published)
            .try_for_each(|(source, socket)| set.add(socket, source, EventFlags::IN))
    }

    /// Does what there is to do at an event of this source.
    pub(crate) fn handle_event(&mut self, now: Instant, source: Source, set: Set<'_>) {
        // A batch of frames is answered by as many, which are lost if they find no room.
        let answers = source == GUEST || self.drain_host(now, source as usize - 1) > 1;
        self.flush();
        if answers {
            self.drain_guest(now, set);
            self.flush();
        }
        self.update_interest(set);
    }

    fn flush(&mut self) {
        for _ in 0..self.guest.flush() {
            self.gateway.count(Drop::NotTaken);
        }
    }

    /// Takes what the image has sent, and tells whether there may be more.
    pub(crate) fn drain_guest(&mut self, now: Instant, set: Set<'_>) -> bool {
        // As many as may be there at once; what is sent meanwhile has its turn later.
        for _ in 0..QUEUE {
            let Ok(length) = read(&self.guest.socket, &mut self.buffer[..]) else { return false };
            let frame = &self.buffer[..length];
            let drop = match self.gateway.handle_frame(now, frame, &mut self.guest.queue) {
                Action::None => None,
                Action::Published { peer, payload } => {
                    self.published[peer.publish].answer(&payload, peer.asked, peer.address).err()
                }
                Action::Outgoing { socket, open, to, payload } => {
                    let source = (1 + self.published.len() + socket) as Source;
                    if open {
                        let add =
                            |opened: &Socket| set.add(opened, source, host_events(self.paused));
                        open_outgoing(&mut self.outgoing, socket, to, add);
                    }
                    match self.outgoing.get(socket) {
                        Some(Some(opened)) => opened.send(&payload, to).err(),
                        _ => {
                            self.gateway.close(socket);
                            Some(Drop::NotSent)
                        }
                    }
                }
            };
            if let Some(drop) = drop {
                self.gateway.count(drop);
            }
        }
        true
    }

    /// Takes what came to a socket of the host, and gives how many datagrams that were.
    ///
    /// They go into the queue first: the socket is emptied before the image, woken by the first
    /// frame, takes the processor, so that a burst finds room in it.
    fn drain_host(&mut self, now: Instant, index: usize) -> usize {
        let outgoing = index.checked_sub(self.published.len());
        let socket = match outgoing {
            None => &self.published[index],
            Some(index) => match self.outgoing.get(index) {
                Some(Some(socket)) => socket,
                // It was closed since the event.
                _ => return 0,
            },
        };
        let Self { gateway, packet, guest: GuestEnd { queue, .. }, .. } = self;
        for count in 0..BATCH {
            if queue.room() < MAX_FRAMES {
                return count;
            }
            packet.clear();
            let Some((from, asked)) = socket.receive(packet) else { return count };
            match outgoing {
                None => {
                    let peer = Peer { publish: index, asked, address: from };
                    gateway.handle_published(now, peer, packet, queue);
                }
                Some(index) => gateway.handle_outgoing(index, from, packet, queue),
            }
        }
        BATCH
    }

    /// Waits for the image to have room while frames wait for it, and for nothing from the host
    /// while no more of them can.
    fn update_interest(&mut self, set: Set<'_>) {
        let waiting = !self.guest.queue.is_empty();
        if waiting != self.guest.awaited {
            let events = if waiting { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            if set.modify(&self.guest.socket, GUEST, events).is_ok() {
                self.guest.awaited = waiting;
            }
        }
        let paused = self.guest.queue.room() < MAX_FRAMES;
        if paused != self.paused {
            self.paused = paused;
            let events = host_events(paused);
            let sockets =
                self.published.iter().map(Some).chain(self.outgoing.iter().map(Option::as_ref));
            for (source, socket) in (1..).zip(sockets) {
                if let Some(socket) = socket {
                    // It was added with this set, so that this cannot fail.
                    let _ = set.modify(socket, source, events);
                }
            }
        }
    }

    /// Does what time asks for. To be called at [`UserNetwork::poll_timeout`].
    pub(crate) fn handle_timeout(&mut self, now: Instant, set: Set<'_>) {
        if self.poll_timeout().is_none_or(|next| now < next) {
            return;
        }
        let Self { gateway, outgoing, guest, .. } = self;
        gateway.handle_timeout(now, &mut guest.queue, |closed| {
            if let Some(socket) = outgoing.get_mut(closed) {
                *socket = None;
            }
        });
        self.flush();
        self.update_interest(set);
    }

    /// When [`UserNetwork::handle_timeout`] next has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.gateway.poll_timeout()
    }
}

/// What to wait for at the sockets of the host.
fn host_events(paused: bool) -> EventFlags {
    if paused { EventFlags::empty() } else { EventFlags::IN }
}

/// Opens the socket of a port of the image, in place of what had its index before.
fn open_outgoing(
    sockets: &mut Vec<Option<Socket>>,
    index: usize,
    to: SocketAddr,
    add: impl FnOnce(&Socket) -> Result<(), Errno>,
) {
    if index >= sockets.len() {
        sockets.resize_with(index + 1, || None);
    }
    sockets[index] =
        Socket::any_port(to, OUTGOING_BUFFER).ok().filter(|socket| add(socket).is_ok());
}

/// Our end of the pair of sockets, and the frames that wait for room in the image's.
#[derive(Debug)]
struct GuestEnd {
    socket: OwnedFd,
    queue: Queue,
    /// Whether there is an event when it has room.
    awaited: bool,
}

impl GuestEnd {
    /// Gives the image the frames that wait, as many as it has room for, and tells how many more
    /// were lost, as it has closed its end.
    fn flush(&mut self) -> usize {
        let mut lost = 0;
        while let Some(frame) = self.queue.front() {
            match write(&self.socket, frame) {
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => break,
                Err(_) => lost += 1,
            }
            self.queue.pop();
        }
        lost
    }
}
