//! The UDP traits of [`edge-nal`](https://docs.rs/edge-nal) 0.7: [`Udp`] binds and connects, which
//! gives a [`Socket`].
//!
//! A stack has one link: an interface is 0.0.0.0 or one of the host's own addresses in IPv4, and any
//! number in IPv6.
//!
//! Of a datagram that does not fit into the buffer the whole length is told, as the trait demands.
//! Some crates take that for the length of what is in the buffer: give them one of 65,527 bytes.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ::edge_nal::io::ErrorType;
use ::edge_nal::{
    MulticastV4, MulticastV6, Readable, UdpBind, UdpConnect, UdpReceive, UdpSend, UdpSplit,
    UdpSplitMulticast,
};
use mnet_proto::{BindError, Filter};

use crate::error::Error;
use crate::socket::UdpSocket;
use crate::udp::{Udp, copy};

/// A [`UdpSocket`] behind the traits of `edge-nal`. Its halves share it, and so do its clones.
///
/// ```
/// # fn example(udp: &mnet::Udp) -> Result<(), mnet::Error> {
/// // The traits do not say how far datagrams go: that is asked of the socket itself.
/// let socket = udp.bind(5353)?;
/// socket.set_multicast_hop_limit(255);
/// let socket = mnet::edge_nal::Socket::new(udp, socket);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Socket {
    udp: Udp,
    socket: UdpSocket,
}

impl Socket {
    /// Puts a socket of `udp`'s behind the traits.
    #[must_use]
    pub fn new(udp: &Udp, socket: UdpSocket) -> Self {
        Self { udp: udp.clone(), socket }
    }

    /// The socket itself.
    #[must_use]
    pub fn get(&self) -> &UdpSocket {
        &self.socket
    }
}

impl UdpBind for Udp {
    type Error = Error;
    type Socket<'a> = Socket;

    /// Binds as [`Udp::bind`] does: `0.0.0.0` is any address of IPv4, `[::]` any of both families. It
    /// is allowed to broadcast, for the traits cannot ask for that.
    async fn bind(&self, local: SocketAddr) -> Result<Socket, Error> {
        let socket = Self::bind(self, local)?;
        socket.set_broadcast(true);
        Ok(Socket::new(self, socket))
    }
}

impl UdpConnect for Udp {
    type Error = Error;
    type Socket<'a> = Socket;

    async fn connect(&self, local: SocketAddr, remote: SocketAddr) -> Result<Socket, Error> {
        let socket = Self::bind(self, local)?;
        socket.connect(remote)?;
        Ok(Socket::new(self, socket))
    }
}

impl ErrorType for Socket {
    type Error = Error;
}

impl UdpReceive for Socket {
    async fn receive(&mut self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        let datagram = self.socket.recv_datagram().await?;
        copy(datagram.payload(), buffer);
        Ok((datagram.payload().len(), datagram.remote()))
    }
}

impl UdpSend for Socket {
    async fn send(&mut self, remote: SocketAddr, data: &[u8]) -> Result<(), Error> {
        Ok(self.socket.send_to(data, self.socket.peer().unwrap_or(remote)).await?)
    }
}

impl Readable for Socket {
    async fn readable(&mut self) -> Result<(), Error> {
        self.socket.readable().await;
        Ok(())
    }
}

impl MulticastV4 for Socket {
    async fn join_v4(&mut self, group: Ipv4Addr, interface: Ipv4Addr) -> Result<(), Error> {
        let interface = IpAddr::V4(interface);
        if !interface.is_unspecified() && !self.udp.addresses().contains(&interface) {
            return Err(BindError::AddressNotLocal(interface).into());
        }
        Ok(self.socket.join(group, Filter::ANY)?)
    }

    /// Leaves a group; nothing happens if it is not in it.
    async fn leave_v4(&mut self, group: Ipv4Addr, _interface: Ipv4Addr) -> Result<(), Error> {
        self.socket.leave(group);
        Ok(())
    }
}

impl MulticastV6 for Socket {
    async fn join_v6(&mut self, group: Ipv6Addr, _interface: u32) -> Result<(), Error> {
        Ok(self.socket.join(group, Filter::ANY)?)
    }

    /// Leaves a group; nothing happens if it is not in it.
    async fn leave_v6(&mut self, group: Ipv6Addr, _interface: u32) -> Result<(), Error> {
        self.socket.leave(group);
        Ok(())
    }
}

impl UdpSplit for Socket {
    type Receive<'a> = Self;
    type Send<'a> = Self;

    fn split(&mut self) -> (Self, Self) {
        (self.clone(), self.clone())
    }
}

impl UdpSplitMulticast for Socket {
    type MulticastV4<'a> = Self;
    type MulticastV6<'a> = Self;

    fn split_multicast(&mut self) -> (Self, Self, Self, Self) {
        (self.clone(), self.clone(), self.clone(), self.clone())
    }
}
