//! The `user` network: sockets of the host on one side, the image's frames on the other.
//!
//! The image's end is one of a pair of datagram sockets. They keep frames apart as a card does;
//! unlike `SOCK_SEQPACKET` they have no connection that could end, so that an empty frame is not
//! taken for an end, and a write never raises SIGPIPE.

mod addresses;
mod capture;
mod drops;
mod error_queue;
mod flows;
mod gateway;
mod host;
mod link;
mod nameserver;
mod outgoing;
mod payload;
mod pktinfo;
mod queue;
mod recent;
mod residents;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use mnet_proto::wire::ethernet;
use netdev::{Instant, Mac};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::{Errno, read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use self::capture::Capture;
use self::drops::Drop;
use self::gateway::{Action, Gateway};
use self::host::{Host, SOCKET_BUFFER};
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

/// Frames that wait for the image when its socket is full.
const QUEUE: usize = 1024;

/// One `user` network, with all that it has open.
#[derive(Debug)]
pub(crate) struct UserNetwork {
    gateway: Gateway,
    guest: GuestEnd,
    host: Host,
    /// A frame of the image at a time, with one byte more to know what is too long.
    buffer: Box<[u8; MAX_FRAME + 1]>,
    /// Where what passes is written.
    capture: Option<Capture>,
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
    /// Opens a network for a guest with this address, the sockets of its published ports, and a
    /// file for what passes. Gives it, and the image's end.
    pub(crate) fn open(
        name: &str,
        mac: Mac,
        publish: &[Publish],
        capture: Option<&Path>,
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
        let capture = capture.map(|path| {
            Capture::create(path, (crate::supervisor::now(), SystemTime::now()))
                .map_err(|source| error(NetworkError::Capture { path: path.to_owned(), source }))
        });
        let network = Self {
            gateway: Gateway::new(
                mac,
                publish.iter().map(|publish| publish.guest).collect(),
                nameserver::of_host(),
            ),
            guest: GuestEnd { socket: ours, queue: Queue::new(QUEUE), awaited: false },
            host: Host::open(publish).map_err(|(publish, error)| Error::Publish {
                publish,
                source: PublishError::from(error),
            })?,
            buffer: Box::new([0; MAX_FRAME + 1]),
            capture: capture.transpose()?,
            paused: false,
        };
        Ok((network, images))
    }

    /// Where the published ports are really bound.
    pub(crate) fn published(&self) -> impl Iterator<Item = SocketAddr> {
        self.host.published().map(Socket::local)
    }

    /// What was dropped so far: how often, and what.
    pub(crate) fn drops(&self) -> impl Iterator<Item = (u64, &'static str)> {
        self.gateway.drops().iter()
    }

    /// Why the file of what passed is not whole, if that is so.
    pub(crate) fn capture_error(&self) -> Option<&io::Error> {
        self.capture.as_ref()?.error()
    }

    /// Adds all that it waits for to an epoll set.
    pub(crate) fn register(&self, set: Set<'_>) -> Result<(), Errno> {
        set.add(&self.guest.socket, GUEST, EventFlags::IN)?;
        let mut sockets = self.host.sockets();
        sockets.try_for_each(|(source, socket)| set.add(socket, source, EventFlags::IN))
    }

    /// Does what there is to do at an event of this source, which may be that something `failed`.
    pub(crate) fn handle_event(
        &mut self,
        now: Instant,
        source: Source,
        failed: bool,
        set: Set<'_>,
    ) {
        let Self { gateway, host, guest: GuestEnd { queue, .. }, .. } = self;
        // A batch of frames is answered by as many, which are lost if they find no room.
        let answers = match host.side(source) {
            None => true,
            Some(side) => {
                if failed {
                    host.take_failures(now, side, gateway, queue);
                }
                host.receive(now, side, gateway, queue) > 1
            }
        };
        self.flush(now);
        if answers {
            self.drain_guest(now, set);
            self.flush(now);
        }
        self.update_interest(set);
    }

    /// Gives the image what waits for it.
    fn flush(&mut self, now: Instant) {
        let Self { guest, capture, .. } = self;
        let passed = |frame: &[u8]| {
            if let Some(capture) = capture {
                capture.write(now, frame);
            }
        };
        for _ in 0..guest.flush(passed) {
            self.gateway.count(Drop::NotTaken);
        }
        if let Some(capture) = &mut self.capture {
            capture.flush();
        }
    }

    /// Takes what the image has sent, and tells whether there may be more.
    pub(crate) fn drain_guest(&mut self, now: Instant, set: Set<'_>) -> bool {
        // As many as may be there at once; what is sent meanwhile has its turn later.
        for _ in 0..QUEUE {
            let Ok(length) = read(&self.guest.socket, &mut self.buffer[..]) else { return false };
            let frame = &self.buffer[..length];
            if let Some(capture) = &mut self.capture {
                capture.write(now, frame);
            }
            let Self { gateway, host, guest: GuestEnd { queue, .. }, .. } = self;
            match gateway.handle_frame(now, frame, queue) {
                Action::None => {}
                Action::Published { peer, payload } => {
                    host.send_published(now, peer, &payload, gateway, queue);
                }
                Action::Outgoing { socket, open, to, payload } => {
                    if open {
                        let events = host_events(self.paused);
                        let add = |opened: &Socket, source| set.add(opened, source, events);
                        if let Err(error) = host.open_outgoing(socket, to, add) {
                            host::not_sent(now, socket, to, error, &payload, gateway, queue);
                            gateway.close(socket);
                            continue;
                        }
                    }
                    host.send_outgoing(now, socket, to, &payload, gateway, queue);
                }
            }
        }
        true
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
            for (source, socket) in self.host.sockets() {
                // It was added with this set, so that this cannot fail.
                let _ = set.modify(socket, source, events);
            }
        }
    }

    /// Does what time asks for. To be called at [`UserNetwork::poll_timeout`].
    pub(crate) fn handle_timeout(&mut self, now: Instant, set: Set<'_>) {
        if self.poll_timeout().is_none_or(|next| now < next) {
            return;
        }
        let Self { gateway, host, guest: GuestEnd { queue, .. }, .. } = self;
        gateway.handle_timeout(now, queue, |closed| host.close_outgoing(closed));
        self.flush(now);
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
    /// were lost, as it has closed its end. Those that were not are shown to `passed`.
    fn flush(&mut self, mut passed: impl FnMut(&[u8])) -> usize {
        let mut lost = 0;
        while let Some(frame) = self.queue.front() {
            match write(&self.socket, frame) {
                Ok(_) => passed(frame),
                Err(Errno::AGAIN | Errno::NOBUFS) => break,
                Err(_) => lost += 1,
            }
            self.queue.pop();
        }
        lost
    }
}
