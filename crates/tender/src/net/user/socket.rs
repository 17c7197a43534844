//! UDP sockets of the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use netdev::Packet;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, sendto, socket_with, sockopt};

use super::error_queue::{self, Failure};
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
        error_queue::enable(socket.as_fd(), address.is_ipv6())?;
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

    /// Sends a datagram, if the host takes it now: from this address of the host, if one is given,
    /// which is one that was asked.
    ///
    /// An error may be that of another that was sent before. Then it is one of [`Socket::failure`].
    pub(super) fn send(
        &self,
        payload: &[u8],
        from: Option<IpAddr>,
        to: SocketAddr,
    ) -> Result<(), Errno> {
        match from.filter(|_| self.local.ip().is_unspecified()) {
            Some(from) => pktinfo::send(self.as_fd(), payload, from, to),
            None => {
                let flags = rustix::net::SendFlags::DONTWAIT;
                sendto(&self.socket, payload, flags, &to).map(drop)
            }
        }
    }

    /// Fills an empty packet with a datagram that has come, and tells from whom it is, and to which
    /// address of the host it came. What does not fit is cut off.
    pub(super) fn receive(&self, packet: &mut Packet) -> Option<(SocketAddr, IpAddr)> {
        let mut addresses = None;
        let filled = packet.fill(|buffer| {
            let (length, from, asked) = pktinfo::receive(self.as_fd(), buffer)?;
            addresses = Some((from, asked.unwrap_or(self.local.ip())));
            Ok::<_, Errno>(length)
        });
        filled.ok().and(addresses)
    }

    /// A datagram that was sent and did not arrive. What is known of it is put into an empty
    /// packet.
    pub(super) fn failure(&self, packet: &mut Packet) -> Option<Failure> {
        let mut failure = None;
        let filled = packet.fill(|buffer| {
            let (length, taken) = error_queue::receive(self.as_fd(), self.local.ip(), buffer)?;
            failure = Some(taken);
            Ok::<_, Errno>(length)
        });
        filled.ok().and(failure)
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
