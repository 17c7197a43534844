use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::task::{Context, Poll};

use mnet_proto::Report;

use super::UdpSocket;
use crate::datagram::Datagram;
use crate::error::RecvError;
use crate::options::RecvOptions;
use crate::shared::{Anything, Map, Next, NextError, Take};
use crate::udp::copy;

/// # Receiving
///
/// Every call here that waits is cancel-safe: a future that is dropped leaves nothing behind, and
/// loses no datagram. What does not fit into a buffer is discarded.
impl UdpSocket {
    /// Waits for a datagram, copies its payload to `buffer`, and returns how many bytes that were
    /// and who sent it.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let socket = theirs.udp().bind(7)?;
    /// ours.udp().send_from(9, b"hello", ([10, 0, 0, 2], 7)).await?;
    /// let mut buffer = [0; 1_500];
    /// let (length, from) = socket.recv_from(&mut buffer).await?;
    /// assert_eq!((&buffer[..length], from), (&b"hello"[..], ([10, 0, 0, 1], 9).into()));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`RecvError::DeviceGone`]; of a connected socket, [`RecvError::DestinationUnreachable`].
    #[inline]
    pub fn recv_from(
        &self,
        buffer: &mut [u8],
    ) -> impl Future<Output = Result<(usize, SocketAddr), RecvError>> {
        let copy = Map(|datagram: mnet_proto::Datagram| {
            (copy(datagram.payload(), buffer), datagram.remote())
        });
        self.shared.receive(self.id, copy)
    }

    /// Receives as [`UdpSocket::recv_from`] does: from one address only, or until a trigger fires.
    ///
    /// # Errors
    /// [`RecvError::Fired`], and as [`UdpSocket::recv_from`].
    pub async fn recv_from_with(
        &self,
        buffer: &mut [u8],
        options: RecvOptions<'_>,
    ) -> Result<(usize, SocketAddr), RecvError> {
        let datagram = options.receive(&self.shared, self.id).await?;
        Ok((copy(datagram.payload(), buffer), datagram.remote()))
    }

    /// Receives as [`UdpSocket::recv_from`] does, where it does not matter from whom: of a connected
    /// socket it is its peer.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`].
    pub async fn recv(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        Ok(self.recv_from(buffer).await?.0)
    }

    /// Waits for a datagram and hands it over in the packet that it came in.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let socket = theirs.udp().bind(7)?;
    /// ours.udp().send_to(b"hello", ([10, 0, 0, 2], 7)).await?;
    /// let datagram = socket.recv_datagram().await?;
    /// assert_eq!((datagram.payload(), datagram.dropped_before()), (&b"hello"[..], 0));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`].
    #[inline]
    pub fn recv_datagram(&self) -> impl Future<Output = Result<Datagram, RecvError>> {
        let Self { shared, id, .. } = self;
        shared.receive(*id, Map(|datagram| Datagram::new(Rc::clone(shared), datagram)))
    }

    /// Receives as [`UdpSocket::recv_datagram`] does: from one address only, or until a trigger fires.
    ///
    /// # Errors
    /// [`RecvError::Fired`], and as [`UdpSocket::recv_from`].
    pub async fn recv_datagram_with(
        &self,
        options: RecvOptions<'_>,
    ) -> Result<Datagram, RecvError> {
        let Self { shared, id, .. } = self;
        Ok(Datagram::new(Rc::clone(shared), options.receive(shared, *id).await?))
    }

    /// Waits for a datagram, and appends it and those that are there with it to `datagrams`, `limit`
    /// in all. Returns how many.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let socket = theirs.udp().bind(7)?;
    /// for _ in 0..3 {
    ///     ours.udp().send_to(b"hello", ([10, 0, 0, 2], 7)).await?;
    /// }
    /// let mut datagrams = Vec::new();
    /// while datagrams.len() < 3 {
    ///     socket.recv_many(&mut datagrams, 64).await?;
    /// }
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`].
    pub async fn recv_many(
        &self,
        datagrams: &mut Vec<Datagram>,
        limit: usize,
    ) -> Result<usize, RecvError> {
        if limit == 0 {
            return Ok(0);
        }
        datagrams.push(self.recv_datagram().await?);
        Ok(1 + self.take_many(datagrams, limit - 1))
    }

    /// Takes datagrams as [`UdpSocket::recv_many`] does, if any are there now.
    ///
    /// # Errors
    /// As [`UdpSocket::try_recv_from`].
    pub fn try_recv_many(
        &self,
        datagrams: &mut Vec<Datagram>,
        limit: usize,
    ) -> Result<usize, RecvError> {
        if limit == 0 {
            return Ok(0);
        }
        datagrams.push(self.try_recv_datagram()?);
        Ok(1 + self.take_many(datagrams, limit - 1))
    }

    /// Appends what is in the queue to `datagrams`, `limit` of them at most. Returns how many.
    fn take_many(&self, datagrams: &mut Vec<Datagram>, limit: usize) -> usize {
        let Self { shared, id, .. } = self;
        let mut state = shared.state.borrow_mut();
        let udp = state.host.udp_mut();
        let there = core::iter::from_fn(|| udp.receive(*id)).take(limit);
        let before = datagrams.len();
        datagrams.extend(there.map(|datagram| Datagram::new(Rc::clone(shared), datagram)));
        datagrams.len() - before
    }

    /// Receives as [`UdpSocket::recv_from`] does, if a datagram is there now.
    ///
    /// ```
    /// use mnet::RecvError;
    ///
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let socket = theirs.udp().bind(7)?;
    /// assert_eq!(socket.try_recv_from(&mut [0; 1_500]), Err(RecvError::WouldBlock));
    /// # drop(ours);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`] if none is, and as [`UdpSocket::recv_from`].
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), RecvError> {
        let datagram = self.try_receive(Next)?;
        Ok((copy(datagram.payload(), buffer), datagram.remote()))
    }

    /// Receives as [`UdpSocket::recv`] does, if a datagram is there now.
    ///
    /// # Errors
    /// As [`UdpSocket::try_recv_from`].
    pub fn try_recv(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        Ok(self.try_recv_from(buffer)?.0)
    }

    /// Receives as [`UdpSocket::recv_datagram`] does, if a datagram is there now.
    ///
    /// # Errors
    /// As [`UdpSocket::try_recv_from`].
    pub fn try_recv_datagram(&self) -> Result<Datagram, RecvError> {
        Ok(Datagram::new(Rc::clone(&self.shared), self.try_receive(Next)?))
    }

    /// Receives as [`UdpSocket::recv_from`] does, or has the task woken when something comes: of
    /// all tasks that poll a socket to receive, the one that did last.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`].
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<(usize, SocketAddr), RecvError>> {
        let received = self.shared.poll_receive(self.id, Next, cx);
        received.map_ok(|datagram| (copy(datagram.payload(), buffer), datagram.remote()))
    }

    /// Receives as [`UdpSocket::recv`] does, or has the task woken as [`UdpSocket::poll_recv_from`]
    /// does.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`].
    pub fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, RecvError>> {
        self.poll_recv_from(cx, buffer).map_ok(|(length, _)| length)
    }

    /// Receives as [`UdpSocket::recv_datagram`] does, or has the task woken as
    /// [`UdpSocket::poll_recv_from`] does.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`].
    pub fn poll_recv_datagram(&self, cx: &mut Context<'_>) -> Poll<Result<Datagram, RecvError>> {
        let Self { shared, id, .. } = self;
        let received = shared.poll_receive(*id, Next, cx);
        received.map_ok(|datagram| Datagram::new(Rc::clone(shared), datagram))
    }

    /// Waits until a call that receives would not wait. Another reader may be quicker.
    pub async fn readable(&self) {
        self.shared.receive(self.id, Anything).await;
    }

    /// Waits for an ICMP error about something that this socket has sent. The newest sixteen wait in
    /// a queue of their own. Only those are believed that quote what was really sent
    /// (RFC 5927 §4.1).
    ///
    /// ```
    /// use mnet::IcmpError;
    ///
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let socket = ours.udp().bind(0)?;
    /// socket.send_to(b"to a closed port", ([10, 0, 0, 2], 9)).await?;
    /// let report = socket.recv_error().await?;
    /// assert_eq!((report.remote.port(), report.error), (9, IcmpError::PortUnreachable));
    /// # drop(theirs);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`RecvError::DeviceGone`].
    pub async fn recv_error(&self) -> Result<Report, RecvError> {
        self.shared.receive(self.id, NextError).await
    }

    /// Takes an ICMP error as [`UdpSocket::recv_error`] does, if one is there now.
    ///
    /// # Errors
    /// [`RecvError::WouldBlock`] if none is, and [`RecvError::DeviceGone`].
    pub fn try_recv_error(&self) -> Result<Report, RecvError> {
        self.try_receive(NextError)
    }

    fn try_receive<T, U>(&self, mut take: T) -> Result<U, RecvError>
    where
        T: Take<Output = Result<U, RecvError>>,
    {
        let Self { shared, id, .. } = self;
        let taken = take.take(&mut shared.state.borrow_mut().host, *id);
        taken.unwrap_or(Err(RecvError::WouldBlock))
    }
}
