//! The sockets that stand for the guest's ports on the host, as far as the gateway knows of them.

use std::collections::HashMap;
use std::net::SocketAddr;

use netdev::Instant;

use super::recent::Recent;

/// A table of sockets, each for an address and port of the guest.
///
/// Who stays when the table is full, see [`Recent`].
#[derive(Debug)]
pub(super) struct Outgoing {
    sockets: Recent<SocketAddr>,
    by_guest: HashMap<SocketAddr, u32>,
}

impl Outgoing {
    pub(super) fn new(capacity: usize) -> Self {
        Self { sockets: Recent::new(capacity), by_guest: HashMap::new() }
    }

    /// The socket that what the guest sends from here leaves by, and whether it is new; `None` if
    /// there is no room for another.
    pub(super) fn admit(&mut self, now: Instant, guest: SocketAddr) -> Option<(usize, bool)> {
        if let Some(&socket) = self.by_guest.get(&guest) {
            self.sockets.touch(socket, now);
            return Some((socket as usize, false));
        }
        if let Some(leaving) = self.sockets.leaving(now) {
            self.remove(leaving);
        }
        let socket = self.sockets.insert(now, guest)?;
        self.by_guest.insert(guest, socket);
        Some((socket as usize, true))
    }

    /// Whom a socket stands for.
    pub(super) fn guest(&self, socket: usize) -> Option<SocketAddr> {
        self.sockets.get(u32::try_from(socket).ok()?).copied()
    }

    /// Forgets a socket.
    pub(super) fn close(&mut self, socket: usize) {
        if let Ok(socket) = u32::try_from(socket) {
            self.remove(socket);
        }
    }

    /// Forgets those that were not used for too long, and tells which.
    pub(super) fn expire(&mut self, now: Instant, mut closed: impl FnMut(usize)) {
        while let Some(expired) = self.sockets.expired(now) {
            self.remove(expired);
            closed(expired as usize);
        }
    }

    pub(super) fn expiry(&self) -> Option<Instant> {
        self.sockets.expiry()
    }

    fn remove(&mut self, socket: u32) {
        if let Some(guest) = self.sockets.remove(socket) {
            self.by_guest.remove(&guest);
        }
    }
}
