//! The UDP traits of [`embedded-nal-async`](https://docs.rs/embedded-nal-async) 0.9: [`Udp`] is a
//! `UdpStack`, whose sockets are [`Connected`] and [`Unconnected`].
//!
//! Of a datagram that does not fit into the buffer the whole length is told, as the traits demand.

use core::net::{IpAddr, SocketAddr};

use ::embedded_nal_async::{ConnectedUdp, UdpStack, UnconnectedUdp};
use mnet_proto::{BindError, Destination, SendError};

use crate::error::Error;
use crate::socket::UdpSocket;
use crate::udp::{Udp, copy};

/// A socket with a local address and a peer.
#[derive(Clone, Debug)]
pub struct Connected(UdpSocket);

/// A socket that speaks to all, on one local address or on several.
#[derive(Clone, Debug)]
pub struct Unconnected(UdpSocket);

impl UdpStack for Udp {
    type Error = Error;
    type Connected = Connected;
    type UniquelyBound = Unconnected;
    type MultiplyBound = Unconnected;

    /// Connects from an address: if that is unspecified, from the one that suits the peer.
    async fn connect_from(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<(SocketAddr, Connected), Error> {
        let mut local = local;
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(SendError::FamilyMismatch.into());
        }
        if local.ip().is_unspecified() {
            local.set_ip(self.source_for(remote.ip())?);
        }
        let (local, socket) = bind(self, local)?;
        socket.connect(remote)?;
        Ok((local, Connected(socket)))
    }

    /// Binds to one address: if none is given, to the host's first that is not of its link alone, or
    /// to its first.
    async fn bind_single(&self, local: SocketAddr) -> Result<(SocketAddr, Unconnected), Error> {
        let mut local = local;
        if local.ip().is_unspecified() {
            let mut own = self.addresses();
            own.retain(|own| own.is_ipv4() == local.is_ipv4());
            let reaching = own.iter().find(|own| !is_link_local(own));
            let none = BindError::AddressNotLocal(local.ip());
            let address = *reaching.or(own.first()).ok_or(none)?;
            local.set_ip(address);
        }
        let (local, socket) = bind(self, local)?;
        Ok((local, Unconnected(socket)))
    }

    /// Binds as [`Udp::bind`] does: `0.0.0.0` is any address of IPv4, `[::]` any of both families.
    async fn bind_multiple(&self, local: SocketAddr) -> Result<Unconnected, Error> {
        let (_, socket) = bind(self, local)?;
        Ok(Unconnected(socket))
    }
}

/// Binds to an address, and says to which port. It is allowed to broadcast, for the traits cannot ask
/// for that.
fn bind(udp: &Udp, local: SocketAddr) -> Result<(SocketAddr, UdpSocket), Error> {
    let socket = udp.bind(local)?;
    socket.set_broadcast(true);
    Ok((SocketAddr::new(local.ip(), socket.local().port), socket))
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

impl ConnectedUdp for Connected {
    type Error = Error;

    async fn send(&mut self, data: &[u8]) -> Result<(), Error> {
        Ok(self.0.send(data).await?)
    }

    async fn receive_into(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let datagram = self.0.recv_datagram().await?;
        copy(datagram.payload(), buffer);
        Ok(datagram.payload().len())
    }
}

impl UnconnectedUdp for Unconnected {
    type Error = Error;

    /// Sends from a local address, or, if that is unspecified or a group's, from the one that suits
    /// the destination. A port that is not the socket's own, nor 0, is refused.
    async fn send(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
    ) -> Result<(), Error> {
        if local.port() != 0 && local.port() != self.0.local().port {
            return Err(SendError::SourceNotLocal.into());
        }
        let mut to = Destination::from(remote);
        if !local.ip().is_unspecified() {
            to = to.source(local.ip());
        }
        Ok(self.0.send_to(data, to).await?)
    }

    async fn receive_into(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<(usize, SocketAddr, SocketAddr), Error> {
        let datagram = self.0.recv_datagram().await?;
        copy(datagram.payload(), buffer);
        Ok((datagram.payload().len(), datagram.local(), datagram.remote()))
    }
}
