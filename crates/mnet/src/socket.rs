use alloc::rc::Rc;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use mkernel::now_coarse;
use mnet_proto::{Filter, JoinError, Local, SendError, SocketId, SocketStats};

use crate::datagram::Datagram;
use crate::error::RecvError;
use crate::shared::Shared;
use crate::udp::{copy, send_with};

/// A port of one's own; made by [`Udp::bind`](crate::Udp::bind).
///
/// Clones share its queue, and each datagram goes to one of them. The port is free again when the
/// last is dropped.
#[derive(Clone)]
pub struct UdpSocket {
    bound: Rc<Bound>,
}

struct Bound {
    shared: Rc<Shared>,
    id: SocketId,
    local: Local,
}

impl Drop for Bound {
    fn drop(&mut self) {
        let mut state = self.shared.state.borrow_mut();
        state.stack.udp_close(now_coarse(), self.id);
        state.wake_driver();
    }
}

impl UdpSocket {
    pub(crate) fn new(shared: Rc<Shared>, id: SocketId, local: Local) -> Self {
        Self { bound: Rc::new(Bound { shared, id, local }) }
    }

    /// What it is bound to; its port is never 0.
    #[must_use]
    pub fn local(&self) -> Local {
        self.bound.local
    }

    /// Waits for a datagram, copies its payload to `buffer`, and returns how many bytes that were
    /// and who sent it. What does not fit is discarded. Cancel-safe.
    ///
    /// # Errors
    /// [`RecvError::DeviceGone`].
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), RecvError> {
        let datagram = self.bound.shared.receive(self.bound.id).await?;
        Ok((copy(datagram.packet.bytes(), buffer), datagram.remote))
    }

    /// Waits for a datagram and hands it over in the packet that it came in. Cancel-safe.
    ///
    /// # Errors
    /// [`RecvError::DeviceGone`].
    pub async fn recv_datagram(&self) -> Result<Datagram, RecvError> {
        let Bound { shared, id, .. } = &*self.bound;
        Ok(Datagram::new(Rc::clone(shared), shared.receive(*id).await?))
    }

    /// Sends a datagram from this socket's port. It returns as [`Udp::send_to`] does.
    ///
    /// [`Udp::send_to`]: crate::Udp::send_to
    ///
    /// # Errors
    /// [`SendError`] if it is known that the datagram will not arrive.
    pub async fn send_to(
        &self,
        payload: &[u8],
        to: impl Into<SocketAddr>,
    ) -> Result<(), SendError> {
        self.send_with(to, payload.len(), |room| room.copy_from_slice(payload)).await
    }

    /// Sends a datagram of `length` bytes from this socket's port. `fill` writes its payload
    /// straight into the packet; what it finds there is of no meaning.
    ///
    /// # Errors
    /// [`SendError`] if it is known that the datagram will not arrive.
    pub async fn send_with(
        &self,
        to: impl Into<SocketAddr>,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), SendError> {
        send_with(&self.bound.shared, self.bound.local, to.into(), length, fill).await
    }

    /// Joins a group: from now on the socket gets what is sent to it, from all sources, or from some.
    /// Joining again changes the sources.
    ///
    /// # Errors
    /// [`JoinError`], which says why not.
    pub fn join(&self, group: impl Into<IpAddr>, filter: Filter) -> Result<(), JoinError> {
        let Bound { shared, id, .. } = &*self.bound;
        let mut state = shared.state.borrow_mut();
        state.stack.udp_join(now_coarse(), *id, group.into(), filter)?;
        state.wake_driver();
        Ok(())
    }

    /// Leaves a group; `false` if it was not in it. A socket that is dropped leaves all.
    pub fn leave(&self, group: impl Into<IpAddr>) -> bool {
        let Bound { shared, id, .. } = &*self.bound;
        let mut state = shared.state.borrow_mut();
        let left = state.stack.udp_leave(now_coarse(), *id, group.into());
        state.wake_driver();
        left
    }

    /// Lets the socket get what is sent to everybody on the link, and send to everybody, or not. At
    /// first it does not.
    pub fn set_broadcast(&self, allowed: bool) {
        let mut state = self.bound.shared.state.borrow_mut();
        state.stack.udp_mut().set_broadcast(self.bound.id, allowed);
    }

    /// Its counters, as they are now.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        let state = self.bound.shared.state.borrow();
        state.stack.udp().stats(self.bound.id).unwrap_or_default()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket").field("local", &self.bound.local).finish_non_exhaustive()
    }
}
