use core::num::NonZeroU16;
use core::task::{Context, Poll, ready};

use mkernel::WaitKey;
use mnet_proto::{Destination, SendError};

use super::UdpSocket;
use crate::send::SendTo;
use crate::udp::send_with;

/// # Sending
///
/// A call returns when the datagram is on its way to the device, or queued for a neighbour whose
/// address is yet to be found; it waits only while the device takes no more frames. A future that is
/// dropped before it is done has sent nothing, or, of several datagrams, only the first ones.
///
/// A destination is a socket address, or a [`Destination`] that asks for more. What is sent to a
/// group or to everybody does not come back to this host.
impl UdpSocket {
    /// Sends a datagram.
    ///
    /// ```
    /// use mnet::Destination;
    ///
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let (socket, sink) = (ours.udp().bind(0)?, theirs.udp().bind(9)?);
    /// socket.send_to(b"plain", ([10, 0, 0, 2], 9)).await?;
    /// socket.send_to(b"marked", Destination::from(([10, 0, 0, 2], 9)).dscp(46)).await?;
    /// assert_eq!(sink.recv_datagram().await?.dscp(), 0);
    /// assert_eq!(sink.recv_datagram().await?.dscp(), 46);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`SendError`] if it is known that it will not arrive; of a connected socket, also if an ICMP
    /// error has said so of one before, and then nothing is sent.
    #[inline]
    pub fn send_to<'a>(
        &'a self,
        payload: &'a [u8],
        to: impl Into<Destination>,
    ) -> impl Future<Output = Result<(), SendError>> {
        self.to_send(payload, to.into())
    }

    fn to_send<'a>(&'a self, payload: &'a [u8], to: Destination) -> SendTo<'a> {
        let Self { shared, id, bound } = self;
        let (socket, local, key) = (Some(*id), bound.local, WaitKey::default());
        SendTo { shared, socket, local, to, payload, key }
    }

    /// Sends a datagram of `length` bytes. `fill` writes its payload straight into the packet; what it
    /// finds there is of no meaning.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let (socket, sink) = (ours.udp().bind(0)?, theirs.udp().bind(9)?);
    /// socket.send_with(([10, 0, 0, 2], 9), 4, |room| room.copy_from_slice(&7_u32.to_be_bytes())).await?;
    /// assert_eq!(sink.recv_datagram().await?.payload(), [0, 0, 0, 7]);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`].
    pub async fn send_with(
        &self,
        to: impl Into<Destination>,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), SendError> {
        self.check()?;
        send_with(&self.shared, self.bound.local, to.into(), length, fill).await
    }

    /// Sends a datagram to the peer.
    ///
    /// # Errors
    /// [`SendError::NotConnected`], and as [`UdpSocket::send_to`].
    pub async fn send(&self, payload: &[u8]) -> Result<(), SendError> {
        self.send_to(payload, self.peer().ok_or(SendError::NotConnected)?).await
    }

    /// Sends several datagrams, each to its destination, in order. Returns how many have gone: all, or
    /// those before the first that could not be sent. As with sendmmsg(2), why is not said then, nor
    /// kept: a call that begins with that one says it, if it still cannot be sent. What ICMP has said
    /// of a connected socket's peer between two of them ends the call as well, and is not said again.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let (socket, sink) = (ours.udp().bind(0)?, theirs.udp().bind(9)?);
    /// let sent = socket.send_many([(b"one", ([10, 0, 0, 2], 9)), (b"two", ([10, 0, 0, 2], 9))]).await?;
    /// assert_eq!(sent, 2);
    /// # drop(sink);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`], if it is the first that could not be sent: then none has gone.
    pub async fn send_many<P, D>(
        &self,
        datagrams: impl IntoIterator<Item = (P, D)>,
    ) -> Result<usize, SendError>
    where
        P: AsRef<[u8]>,
        D: Into<Destination>,
    {
        let mut sent = 0;
        for (payload, to) in datagrams {
            match self.send_to(payload.as_ref(), to).await {
                Ok(()) => sent += 1,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    /// Sends a buffer as datagrams of `length` bytes of payload each, but for the last, which has what
    /// is left. An empty buffer is no datagram.
    ///
    /// ```
    /// use core::num::NonZeroU16;
    ///
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let (socket, sink) = (ours.udp().bind(0)?, theirs.udp().bind(9)?);
    /// let segment = NonZeroU16::new(4).unwrap();
    /// socket.send_segments(b"onetwothree", segment, ([10, 0, 0, 2], 9)).await?;
    /// for expected in [&b"onet"[..], b"woth", b"ree"] {
    ///     assert_eq!(sink.recv_datagram().await?.payload(), expected);
    /// }
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`]. Those before the one that could not be sent have gone, and none from
    /// there on; how many is not said: [`UdpSocket::send_many`] does.
    pub async fn send_segments(
        &self,
        buffer: &[u8],
        length: NonZeroU16,
        to: impl Into<Destination>,
    ) -> Result<(), SendError> {
        let to = to.into();
        for payload in buffer.chunks(length.get().into()) {
            self.send_to(payload, to).await?;
        }
        Ok(())
    }

    /// Sends a datagram as [`UdpSocket::send_to`] does, if the device takes frames now.
    ///
    /// # Errors
    /// [`SendError::WouldBlock`] if it does not, and as [`UdpSocket::send_to`].
    pub fn try_send_to(&self, payload: &[u8], to: impl Into<Destination>) -> Result<(), SendError> {
        self.to_send(payload, to.into()).send_now()
    }

    /// Sends a datagram as [`UdpSocket::send_with`] does, if the device takes frames now.
    ///
    /// # Errors
    /// As [`UdpSocket::try_send_to`].
    pub fn try_send_with(
        &self,
        to: impl Into<Destination>,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), SendError> {
        self.check()?;
        let Self { shared, bound, .. } = self;
        if !shared.state.borrow_mut().may_send_now() {
            return Err(SendError::WouldBlock);
        }
        shared.send_with(bound.local, to.into(), length, fill)
    }

    /// Sends a datagram to the peer, if the device takes frames now.
    ///
    /// # Errors
    /// [`SendError::NotConnected`], and as [`UdpSocket::try_send_to`].
    pub fn try_send(&self, payload: &[u8]) -> Result<(), SendError> {
        self.try_send_to(payload, self.peer().ok_or(SendError::NotConnected)?)
    }

    /// Sends a datagram as [`UdpSocket::send_to`] does, or has the task woken when the device takes
    /// frames: of all tasks that poll a socket to send, the one that did last.
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`].
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        payload: &[u8],
        to: impl Into<Destination>,
    ) -> Poll<Result<(), SendError>> {
        ready!(self.shared.poll_uncongested(self.id, cx));
        Poll::Ready(self.try_send_to(payload, to))
    }

    /// Sends a datagram to the peer, or has the task woken as [`UdpSocket::poll_send_to`] does.
    ///
    /// # Errors
    /// [`SendError::NotConnected`], and as [`UdpSocket::send_to`].
    pub fn poll_send(&self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<Result<(), SendError>> {
        match self.peer() {
            Some(peer) => self.poll_send_to(cx, payload, peer),
            None => Poll::Ready(Err(SendError::NotConnected)),
        }
    }

    /// Waits until the device takes frames. Another sender may be quicker.
    pub async fn writable(&self) {
        self.shared.uncongested().await;
    }

    /// Whether an ICMP error has said that the peer cannot be reached.
    #[inline]
    fn check(&self) -> Result<(), SendError> {
        self.shared.state.borrow_mut().check(self.id)
    }
}
