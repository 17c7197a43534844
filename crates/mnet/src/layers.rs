//! UDP over IP layers that are not a stack's.

use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use mnet_proto::ip::{Metadata, Network, SendError};
use mnet_proto::udp::{self, Refused};
use mnet_proto::{
    BindError, Config, Datagram, Destination, Filter, JoinError, Local, Report, SocketId, Stack,
    Stats,
};
use netdev::{Instant, Packet, Pool};

use crate::shared::Shared;
use crate::udp::Udp;

/// What [`Shared`] needs of a host.
pub(crate) trait Host {
    fn udp(&self) -> &udp::Udp;
    fn udp_mut(&mut self) -> &mut udp::Udp;
    fn udp_bind(&mut self, local: Local) -> Result<SocketId, BindError>;
    fn udp_reader(&mut self, port: u16) -> Result<SocketId, BindError>;
    fn udp_connect(
        &mut self,
        now: Instant,
        id: SocketId,
        peer: Option<SocketAddr>,
    ) -> Result<(), SendError>;
    fn udp_close(&mut self, now: Instant, id: SocketId);
    fn udp_join(
        &mut self,
        now: Instant,
        id: SocketId,
        group: IpAddr,
        filter: Filter,
    ) -> Result<(), JoinError>;
    fn udp_leave(&mut self, now: Instant, id: SocketId, group: IpAddr) -> bool;
    fn udp_send(
        &mut self,
        now: Instant,
        local: Local,
        destination: Destination,
        packet: Packet,
    ) -> Result<(), SendError>;
    fn udp_reply(&mut self, now: Instant, datagram: Datagram) -> Result<(), SendError> {
        let (local, remote) = (datagram.local(), datagram.remote());
        self.udp_send(now, local.into(), remote.into(), datagram.into_packet())
    }
    fn path_mtu(&mut self, now: Instant, destination: IpAddr) -> Result<u16, SendError>;
    fn source_for(&mut self, now: Instant, destination: IpAddr) -> Result<IpAddr, SendError>;
    fn addresses_in_use(&self) -> Vec<IpAddr>;
    fn has_address(&self) -> bool;
    fn is_congested(&self) -> bool;
    fn is_flushed(&self) -> bool;
    fn is_gone(&self) -> bool;
}

impl Host for Stack {
    fn udp_reply(&mut self, now: Instant, datagram: Datagram) -> Result<(), SendError> {
        self.udp_reply(now, datagram)
    }

    fn udp(&self) -> &udp::Udp {
        self.udp()
    }

    fn udp_mut(&mut self) -> &mut udp::Udp {
        self.udp_mut()
    }

    fn udp_bind(&mut self, local: Local) -> Result<SocketId, BindError> {
        self.udp_bind(local)
    }

    fn udp_reader(&mut self, port: u16) -> Result<SocketId, BindError> {
        self.udp_reader(port)
    }

    fn udp_connect(
        &mut self,
        now: Instant,
        id: SocketId,
        peer: Option<SocketAddr>,
    ) -> Result<(), SendError> {
        self.udp_connect(now, id, peer)
    }

    fn udp_close(&mut self, now: Instant, id: SocketId) {
        self.udp_close(now, id);
    }

    fn udp_join(
        &mut self,
        now: Instant,
        id: SocketId,
        group: IpAddr,
        filter: Filter,
    ) -> Result<(), JoinError> {
        self.udp_join(now, id, group, filter)
    }

    fn udp_leave(&mut self, now: Instant, id: SocketId, group: IpAddr) -> bool {
        self.udp_leave(now, id, group)
    }

    fn udp_send(
        &mut self,
        now: Instant,
        local: Local,
        destination: Destination,
        packet: Packet,
    ) -> Result<(), SendError> {
        self.udp_send(now, local, destination, packet)
    }

    fn path_mtu(&mut self, now: Instant, destination: IpAddr) -> Result<u16, SendError> {
        self.path_mtu(now, destination)
    }

    fn source_for(&mut self, now: Instant, destination: IpAddr) -> Result<IpAddr, SendError> {
        self.source_for(now, destination)
    }

    fn addresses_in_use(&self) -> Vec<IpAddr> {
        self.addresses_in_use()
    }

    fn has_address(&self) -> bool {
        self.has_address()
    }

    fn is_congested(&self) -> bool {
        self.is_congested()
    }

    fn is_flushed(&self) -> bool {
        self.is_flushed()
    }

    fn is_gone(&self) -> bool {
        self.is_gone()
    }
}

/// IP layers, and UDP on them.
struct Layers<N> {
    udp: udp::Udp,
    network: N,
    stats: Stats,
    gone: bool,
}

/// What the layers themselves give and take has no queue here: there is always room, and nothing
/// is left to flush.
impl<N: Network> Host for Layers<N> {
    fn udp(&self) -> &udp::Udp {
        &self.udp
    }

    fn udp_mut(&mut self) -> &mut udp::Udp {
        &mut self.udp
    }

    fn udp_bind(&mut self, local: Local) -> Result<SocketId, BindError> {
        self.udp.bind(&mut self.network, local)
    }

    fn udp_reader(&mut self, port: u16) -> Result<SocketId, BindError> {
        self.udp.reader(&mut self.network, port)
    }

    fn udp_connect(
        &mut self,
        now: Instant,
        id: SocketId,
        peer: Option<SocketAddr>,
    ) -> Result<(), SendError> {
        self.udp.connect(&mut self.network, now, id, peer).map(drop)
    }

    fn udp_close(&mut self, _: Instant, id: SocketId) {
        self.udp.close(id);
    }

    fn udp_join(&mut self, _: Instant, _: SocketId, _: IpAddr, _: Filter) -> Result<(), JoinError> {
        Err(JoinError::Unsupported)
    }

    fn udp_leave(&mut self, _: Instant, _: SocketId, _: IpAddr) -> bool {
        false
    }

    fn udp_send(
        &mut self,
        now: Instant,
        local: Local,
        destination: Destination,
        packet: Packet,
    ) -> Result<(), SendError> {
        if self.gone {
            return Err(SendError::DeviceGone);
        }
        self.udp.send(&mut self.network, now, local, &destination, packet)
    }

    fn path_mtu(&mut self, now: Instant, destination: IpAddr) -> Result<u16, SendError> {
        Ok(self.network.route(now, destination, None)?.mtu)
    }

    fn source_for(&mut self, now: Instant, destination: IpAddr) -> Result<IpAddr, SendError> {
        Ok(self.network.route(now, destination, None)?.source)
    }

    fn addresses_in_use(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    fn has_address(&self) -> bool {
        true
    }

    fn is_congested(&self) -> bool {
        false
    }

    fn is_flushed(&self) -> bool {
        true
    }

    fn is_gone(&self) -> bool {
        self.gone
    }
}

impl Udp {
    /// UDP over an IPv4 and an IPv6 layer that are no stack's: `Mnet.UDP.create`. What UDP asks of
    /// them is in [`Network`]; what they have for UDP they hand to the [`UdpInput`].
    ///
    /// Packets to send come from `pool`. Of `config` the receive queues, the error queues and the
    /// ephemeral ports count. Which groups a host is in is for the layers to know:
    /// [`UdpSocket::join`](crate::UdpSocket::join) is refused, and what they hand up that was sent
    /// to a group goes to the socket on its port.
    pub fn over<V4, V6>(ipv4: V4, ipv6: V6, pool: Pool, config: &Config) -> (Self, UdpInput)
    where
        V4: Network + 'static,
        V6: Network + 'static,
    {
        let udp = udp::Udp::new(config);
        let network = (ipv4, ipv6);
        let layers = Layers { udp, network, stats: Stats::default(), gone: false };
        let shared = Shared::new(pool, layers, None);
        let input = UdpInput { layers: Rc::downgrade(&shared) as Weak<Shared<dyn Input>> };
        (Self::new(shared), input)
    }
}

/// What IP layers hand up.
trait Input {
    fn handle_datagram(&mut self, metadata: &Metadata, packet: Packet) -> Taken;
    fn handle_error(&mut self, report: Report);
    fn handle_gone(&mut self);
    fn poll_readable(&mut self) -> Option<SocketId>;
    fn stats(&self) -> &Stats;
}

type Taken = Result<(), (Refused, Packet)>;

impl<N: Network> Input for Layers<N> {
    fn handle_datagram(&mut self, metadata: &Metadata, packet: Packet) -> Taken {
        self.udp.handle_datagram(metadata, packet, &mut self.stats, |_| true)
    }

    fn handle_error(&mut self, report: Report) {
        self.udp.handle_error(report);
    }

    fn handle_gone(&mut self) {
        self.gone = true;
    }

    fn poll_readable(&mut self) -> Option<SocketId> {
        self.udp.poll_readable()
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }
}

/// Where IP layers hand up what they have for UDP; made by [`Udp::over`].
///
/// Once the last handle and socket of that UDP are dropped, it takes nothing any more. A layer must
/// not call it from within a call that UDP makes of the layer; it is refused there.
#[derive(Clone)]
pub struct UdpInput {
    layers: Weak<Shared<dyn Input>>,
}

impl UdpInput {
    /// Takes a datagram that IP has received: the packet's window is what IP carried.
    ///
    /// # Errors
    /// Gives the packet back as it was if it went to no socket.
    pub fn handle_datagram(
        &self,
        metadata: &Metadata,
        packet: Packet,
    ) -> Result<(), (Refused, Packet)> {
        let Some(shared) = self.layers.upgrade() else {
            return Err((Refused::PortUnreachable, packet));
        };
        let Ok(mut state) = shared.state.try_borrow_mut() else {
            return Err((Refused::Dropped, packet));
        };
        state.host.handle_datagram(metadata, packet)?;
        state.wake_readers(Input::poll_readable);
        Ok(())
    }

    /// Takes an ICMP error about what was sent. The layer has checked that it was.
    pub fn handle_error(&self, report: Report) {
        let Some(shared) = self.layers.upgrade() else { return };
        let Ok(mut state) = shared.state.try_borrow_mut() else { return };
        state.host.handle_error(report);
        state.wake_readers(Input::poll_readable);
    }

    /// The device is gone: nothing comes any more, what is sent is refused, and everybody who waits
    /// is told.
    pub fn handle_gone(&self) {
        let Some(shared) = self.layers.upgrade() else { return };
        let Ok(mut state) = shared.state.try_borrow_mut() else { return };
        state.host.handle_gone();
        state.wake_all();
    }

    /// What was received and dropped, as it is now. Of a [`Stats`] only what UDP counts is used.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = self.layers.upgrade();
        let state = shared.as_ref().and_then(|shared| shared.state.try_borrow().ok());
        state.map(|state| state.host.stats().clone()).unwrap_or_default()
    }
}

impl fmt::Debug for UdpInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpInput").finish_non_exhaustive()
    }
}
