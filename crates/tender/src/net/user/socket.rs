//! UDP sockets of the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use netdev::Packet;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use super::drops::Drop;
use super::pktinfo;

/// A UDP socket that never waits.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UdpSocket,
    local: SocketAddr,
}

impl Socket {
    /// A socket at this address, with so many bytes of buffers, if the host has them.
    pub(super) fn bind(address: SocketAddr, buffers: usize) -> Result<Self, Errno> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
        if address.is_ipv6() {
            // So that [::] and 0.0.0.0 can be published apart.
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        // Else the host chooses the address that answers leave from: by the way to the peer.
        if address.ip().is_unspecified() {
            pktinfo::enable(socket.as_fd(), address.is_ipv6())?;
        }
        bind(&socket, &address)?;
        enlarge_buffers(&socket, buffers);
        let socket = UdpSocket::from(socket);
        let local = socket.local_addr().unwrap_or(address);
        Ok(Self { socket, local })
    }

    /// A socket at a port that the host chooses, to send there.
    pub(super) fn any_port(to: SocketAddr, buffers: usize) -> Result<Self, Errno> {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self::bind((any, 0).into(), buffers)
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends a datagram, if the host takes it now.
    pub(super) fn send(&self, payload: &[u8], to: SocketAddr) -> Result<(), Drop> {
        self.socket.send_to(payload, to).map(drop).map_err(|_| Drop::NotSent)
    }

    /// As [`Socket::send`], from this address of the host, which is one that was asked.
    pub(super) fn answer(&self, payload: &[u8], from: IpAddr, to: SocketAddr) -> Result<(), Drop> {
        if !self.local.ip().is_unspecified() {
            return self.send(payload, to);
        }
        pktinfo::send(self.as_fd(), payload, from, to).map_err(|_| Drop::NotSent)
    }

    /// Fills an empty packet with a datagram that has come, and tells from whom it is, and to which
    /// address of the host it came. What does not fit is cut off.
    pub(super) fn receive(&self, packet: &mut Packet) -> Option<(SocketAddr, IpAddr)> {
        let mut addresses = None;
        packet
            .fill(|buffer| {
                let (length, from, asked) = if self.local.ip().is_unspecified() {
                    pktinfo::receive(self.as_fd(), buffer)?
                } else {
                    let received = self.socket.recv_from(buffer);
                    let (length, from) = received
                        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
                    (length, from, self.local.ip())
                };
                addresses = Some((from, asked));
                Ok::<_, Errno>(length)
            })
            .ok()?;
        addresses
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Asks for so many bytes in both buffers of a socket: as many as this user may have.
pub(super) fn enlarge_buffers(socket: impl AsFd, bytes: usize) {
    let socket = socket.as_fd();
    // What is refused is no error: bursts are then smaller before something is lost.
    let _ = sockopt::set_socket_recv_buffer_size_force(socket, bytes)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(socket, bytes));
    let _ = sockopt::set_socket_send_buffer_size_force(socket, bytes)
        .or_else(|_| sockopt::set_socket_send_buffer_size(socket, bytes));
}
