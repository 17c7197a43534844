use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use mkernel::{WaitKey, now_coarse};
use mnet_proto::{BindError, Destination, Local, SendError};

use crate::datagram::Datagram;
use crate::error::RecvError;
use crate::options::RecvOptions;
use crate::send::SendTo;
use crate::shared::{Next, Shared};
use crate::socket::UdpSocket;

/// UDP of a stack, by port. Clones are handles of the same one.
#[derive(Clone)]
pub struct Udp {
    shared: Rc<Shared>,
}

impl Udp {
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        Self { shared }
    }

    /// Makes a socket. `local` is a port, or an address of the host's and a port; port 0 picks a
    /// random ephemeral one (RFC 6056 §3.3.1).
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let socket = theirs.udp().bind(7)?;
    /// let on_one_address = theirs.udp().bind(([10, 0, 0, 2], 8))?;
    /// let somewhere = theirs.udp().bind(0)?;
    /// assert_ne!(somewhere.local().port, 0);
    ///
    /// let refused = theirs.udp().bind(7).unwrap_err();
    /// assert_eq!(refused.to_string(), "UDP port 7 is in use by a socket on all addresses");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`BindError`], which says why not.
    pub fn bind(&self, local: impl Into<Local>) -> Result<UdpSocket, BindError> {
        let local = local.into();
        let mut state = self.shared.state.borrow_mut();
        let id = state.bind(local)?;
        let local = state.host.udp().local(id).unwrap_or_default();
        drop(state);
        Ok(UdpSocket::new(Rc::clone(&self.shared), id, local))
    }

    /// The address that what is sent to a destination leaves from, unless the sender names one.
    ///
    /// # Errors
    /// [`SendError::RouteNotFound`] if there is no way there.
    pub fn source_for(&self, destination: impl Into<IpAddr>) -> Result<IpAddr, SendError> {
        let destination = destination.into();
        self.shared.state.borrow_mut().host.source_for(now_coarse(), destination)
    }

    /// The host's addresses that something can be sent from now. Those of IP layers that are not a
    /// stack's are not known here.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.shared.state.borrow().host.addresses_in_use()
    }

    /// Waits for a datagram on `port`, copies its payload to `buffer`, and returns how many bytes
    /// that were and who sent it. What does not fit is discarded.
    ///
    /// From the first call on the port is open: what comes between two calls waits in its queue,
    /// and each datagram goes to one reader. Cancel-safe: a wait that is dropped loses nothing.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let reader = mkernel::spawn({
    ///     let udp = theirs.udp();
    ///     async move { udp.recv_from(7, &mut [0; 1_500]).await }
    /// });
    /// # mkernel::yield_now().await;
    /// ours.udp().send_from(9, b"hello", ([10, 0, 0, 2], 7)).await?;
    /// assert_eq!(reader.await?, Ok((5, ([10, 0, 0, 1], 9).into())));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`RecvError`]: the port is 0 or a [`UdpSocket`] has it, or the device is gone.
    pub async fn recv_from(
        &self,
        port: u16,
        buffer: &mut [u8],
    ) -> Result<(usize, SocketAddr), RecvError> {
        let socket = self.shared.state.borrow_mut().reader(port)?;
        let datagram = self.shared.receive(socket, Next).await?;
        Ok((copy(datagram.payload(), buffer), datagram.remote()))
    }

    /// Receives on a port as [`Udp::recv_from`] does: from one address only, or until a trigger
    /// fires.
    ///
    /// ```
    /// use mnet::{RecvError, RecvOptions};
    ///
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let stop = mkernel::Trigger::new();
    /// stop.fire();
    /// let options = RecvOptions::new().source([10, 0, 0, 1]).trigger(&stop);
    /// let stopped = theirs.udp().recv_from_with(7, &mut [0; 1_500], options).await;
    /// assert_eq!(stopped, Err(RecvError::Fired));
    /// # drop(ours);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`RecvError::Fired`], and as [`Udp::recv_from`].
    pub async fn recv_from_with(
        &self,
        port: u16,
        buffer: &mut [u8],
        options: RecvOptions<'_>,
    ) -> Result<(usize, SocketAddr), RecvError> {
        let socket = self.shared.state.borrow_mut().reader(port)?;
        let datagram = options.receive(&self.shared, socket).await?;
        Ok((copy(datagram.payload(), buffer), datagram.remote()))
    }

    /// Waits for a datagram on `port`, as [`Udp::recv_from`] does, and hands it over in the packet
    /// that it came in.
    ///
    /// # Errors
    /// As [`Udp::recv_from`].
    pub async fn recv_datagram(&self, port: u16) -> Result<Datagram, RecvError> {
        let socket = self.shared.state.borrow_mut().reader(port)?;
        let datagram = self.shared.receive(socket, Next).await?;
        Ok(Datagram::new(Rc::clone(&self.shared), datagram))
    }

    /// Waits for a datagram as [`Udp::recv_datagram`] does: from one address only, or until a
    /// trigger fires.
    ///
    /// # Errors
    /// [`RecvError::Fired`], and as [`Udp::recv_from`].
    pub async fn recv_datagram_with(
        &self,
        port: u16,
        options: RecvOptions<'_>,
    ) -> Result<Datagram, RecvError> {
        let socket = self.shared.state.borrow_mut().reader(port)?;
        let datagram = options.receive(&self.shared, socket).await?;
        Ok(Datagram::new(Rc::clone(&self.shared), datagram))
    }

    /// Sends a datagram from a random port that nobody uses (RFC 6056 §3.3.1).
    ///
    /// It returns when the datagram is on its way to the device, or queued for a neighbour whose
    /// address is yet to be found; it waits only while the device takes no more.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let socket = theirs.udp().bind(7)?;
    /// ours.udp().send_to(b"hello", ([10, 0, 0, 2], 7)).await?;
    /// assert!(socket.recv_datagram().await?.remote().port() >= 32_768);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`SendError`] if it is known that the datagram will not arrive.
    pub async fn send_to(
        &self,
        payload: &[u8],
        to: impl Into<Destination>,
    ) -> Result<(), SendError> {
        self.send_from(Local::default(), payload, to).await
    }

    /// Sends a datagram from a port, or from an address and a port, as [`Udp::send_to`] does.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let socket = theirs.udp().bind(7)?;
    /// ours.udp().send_from(9, b"hello", ([10, 0, 0, 2], 7)).await?;
    /// assert_eq!(socket.recv_datagram().await?.remote().port(), 9);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`SendError`] if it is known that the datagram will not arrive.
    pub async fn send_from(
        &self,
        from: impl Into<Local>,
        payload: &[u8],
        to: impl Into<Destination>,
    ) -> Result<(), SendError> {
        let (shared, local, to) = (&*self.shared, from.into(), to.into());
        SendTo { shared, socket: None, local, to, payload, key: WaitKey::default() }.await
    }

    /// Sends a datagram of `length` bytes from a random port, as [`Udp::send_to`] does. `fill`
    /// writes its payload straight into the packet; what it finds there is of no meaning.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let socket = theirs.udp().bind(7)?;
    /// ours.udp().send_with(([10, 0, 0, 2], 7), 4, |room| room.fill(b'x')).await?;
    /// assert_eq!(socket.recv_datagram().await?.payload(), b"xxxx");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`SendError`] if it is known that the datagram will not arrive.
    pub async fn send_with(
        &self,
        to: impl Into<Destination>,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), SendError> {
        send_with(&self.shared, Local::default(), to.into(), length, fill).await
    }

    /// Sends a datagram from a port, or from an address and a port, as [`Udp::send_with`] does.
    ///
    /// # Errors
    /// [`SendError`] if it is known that the datagram will not arrive.
    pub async fn send_from_with(
        &self,
        from: impl Into<Local>,
        to: impl Into<Destination>,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), SendError> {
        send_with(&self.shared, from.into(), to.into(), length, fill).await
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udp").finish_non_exhaustive()
    }
}

/// Copies what fits and says how much that is.
#[inline]
pub(crate) fn copy(payload: &[u8], buffer: &mut [u8]) -> usize {
    let length = payload.len().min(buffer.len());
    buffer[..length].copy_from_slice(&payload[..length]);
    length
}

pub(crate) async fn send_with(
    shared: &Shared,
    local: Local,
    to: Destination,
    length: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Result<(), SendError> {
    let may_send = shared.state.borrow_mut().may_send();
    if !may_send {
        shared.uncongested().await;
    }
    shared.send_with(local, to, length, fill)
}
