//! The sockets that stand for the guest's ports on the host, as far as the gateway knows of them.

use std::collections::HashMap;
use std::net::SocketAddr;

use netdev::Instant;

use super::recent::Recent;

/// A table of sockets.
///
/// Who stays when the table is full, see [`Recent`].
#[derive(Debug)]
pub(super) struct Outgoing {
    sockets: Recent<Purpose>,
    by_purpose: HashMap<Purpose, u32>,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Purpose {
    /// Where the guest sends from.
    pub(super) guest: SocketAddr,
    /// Whether it sends to the name server. Its answers might else be taken for those of a host
    /// at the same address, which the guest knows by another.
    pub(super) nameserver: bool,
}

impl Outgoing {
    pub(super) fn new(capacity: usize) -> Self {
        Self { sockets: Recent::new(capacity), by_purpose: HashMap::new() }
    }

    /// The socket for this, and whether it is new; `None` if there is no room for another.
    pub(super) fn admit(&mut self, now: Instant, purpose: Purpose) -> Option<(usize, bool)> {
        if let Some(&socket) = self.by_purpose.get(&purpose) {
            self.sockets.touch(socket, now);
            return Some((socket as usize, false));
        }
        if let Some(leaving) = self.sockets.leaving(now) {
            self.remove(leaving);
        }
        let socket = self.sockets.insert(now, purpose)?;
        self.by_purpose.insert(purpose, socket);
        Some((socket as usize, true))
    }

    /// What a socket is for.
    pub(super) fn purpose(&self, socket: usize) -> Option<Purpose> {
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
        if let Some(purpose) = self.sockets.remove(socket) {
            self.by_purpose.remove(&purpose);
        }
    }
}
