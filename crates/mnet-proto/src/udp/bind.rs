//! Which socket has which port, and whom it speaks to.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use netdev::Instant;
use thiserror::Error;

use super::socket::Socket;
use super::{ANY_V4, Local, SocketId, Udp};
use crate::ip::{Network, SendError};

impl Udp {
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
        self.share_out();
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
        let (datagrams, large) = socket.connect(peer);
        self.queued -= datagrams;
        self.large -= large;
        Ok(datagrams)
    }

    /// Closes a socket; what is in its queue is dropped, and its port is free again.
    pub fn close(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.try_remove(id.0.into()) {
            self.queued -= socket.len();
            self.large -= socket.large;
            self.ports.set(socket.local.port, None);
            self.readable.remove(id);
            self.share_out();
        }
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
