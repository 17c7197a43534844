use alloc::rc::Rc;
use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};

use mkernel::{WaitKey, now_coarse};
use mnet_proto::SendError;
use netdev::Instant;

use crate::shared::Shared;

/// A datagram that has come, in the packet that the device filled.
///
/// It may be kept as long as one likes, but there are only so many packets: dropping it, or
/// answering in it, gives its packet back.
pub struct Datagram {
    shared: Rc<Shared>,
    inner: mnet_proto::Datagram,
}

impl Datagram {
    pub(crate) fn new(shared: Rc<Shared>, inner: mnet_proto::Datagram) -> Self {
        Self { shared, inner }
    }

    /// What it says: 0 to 65,527 bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.inner.payload()
    }

    /// What it says, to be changed: [`Datagram::reply`] then sends that.
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.inner.payload_mut()
    }

    /// Who sent it.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.inner.remote()
    }

    /// To which port it was sent, and to which address: one of the host's, a group's, or everybody's.
    /// Replies come from there, or, if it was sent to many, from one of the host's own.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.inner.local()
    }

    /// What was left of its TTL (RFC 791) or hop limit (RFC 8200), in hops.
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.inner.hop_limit()
    }

    /// Its DSCP, 0 to 63 (RFC 2474).
    #[must_use]
    pub fn dscp(&self) -> u8 {
        self.inner.traffic_class() >> 2
    }

    /// Its ECN codepoint, 0 to 3 (RFC 3168).
    #[must_use]
    pub fn ecn(&self) -> u8 {
        self.inner.traffic_class() & 0b11
    }

    /// Whether nobody on its way might fragment it: over IPv4 its sender has asked for that
    /// (RFC 791), over IPv6 it is always so (RFC 8200 §5).
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.inner.dont_fragment()
    }

    /// When it came, on the monotonic clock.
    #[must_use]
    pub fn arrived(&self) -> Instant {
        self.inner.arrived()
    }

    /// How many datagrams for the socket were dropped, for its queue was full, between the one
    /// before and this.
    #[must_use]
    pub fn dropped_before(&self) -> u32 {
        self.inner.dropped_before()
    }

    /// Sends its payload back to who sent it, in the same packet.
    ///
    /// It waits only while the device takes no more frames.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let (client, server) = (ours.udp().bind(0)?, theirs.udp().bind(7)?);
    /// client.send_to(b"hello", ([10, 0, 0, 2], 7)).await?;
    /// let mut datagram = server.recv_datagram().await?;
    /// datagram.payload_mut().make_ascii_uppercase();
    /// datagram.reply().await?;
    /// assert_eq!(client.recv_datagram().await?.payload(), b"HELLO");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`SendError`] if it is known that the reply will not arrive.
    #[inline]
    pub fn reply(self) -> impl Future<Output = Result<(), SendError>> {
        Reply { datagram: Some(self), key: WaitKey::default() }
    }

    /// Answers who sent it with `length` bytes, in the same packet if that has room. `fill` writes them; it finds
    /// this datagram's payload there, as far as it reaches.
    ///
    /// It waits only while the device takes no more frames.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let (client, server) = (ours.udp().bind(0)?, theirs.udp().bind(7)?);
    /// client.send_to(b"question", ([10, 0, 0, 2], 7)).await?;
    /// let question = server.recv_datagram().await?;
    /// question.reply_with(6, |room| room.copy_from_slice(b"answer")).await?;
    /// assert_eq!(client.recv_datagram().await?.payload(), b"answer");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`SendError`] if it is known that the reply will not arrive.
    pub async fn reply_with(
        mut self,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), SendError> {
        if !self.inner.resize(length) {
            let mut larger = self.shared.packet_now(length)?;
            let payload = self.inner.payload();
            larger.bytes_mut()[..payload.len()].copy_from_slice(payload);
            self.inner.move_to(larger);
        }
        fill(self.inner.payload_mut());
        self.reply().await
    }
}

/// The future of [`Datagram::reply`].
struct Reply {
    // There until it is sent.
    datagram: Option<Datagram>,
    // Taken only while that is there.
    key: WaitKey,
}

impl Future for Reply {
    type Output = Result<(), SendError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Datagram { shared, inner } = self.datagram.take().expect("a reply is sent once");
        let mut state = shared.state.borrow_mut();
        if !state.may_send() {
            state.senders.register(&mut self.key, cx.waker());
            state.let_others_run(cx.waker());
            drop(state);
            self.datagram = Some(Datagram { shared, inner });
            return Poll::Pending;
        }
        state.senders.remove(&mut self.key);
        state.wake_driver();
        Poll::Ready(state.host.udp_reply(now_coarse(), inner))
    }
}

impl Drop for Reply {
    #[inline]
    fn drop(&mut self) {
        if self.key.is_taken() {
            self.give_up();
        }
    }
}

impl Reply {
    #[cold]
    fn give_up(&mut self) {
        if let Some(Datagram { shared, .. }) = &self.datagram {
            shared.state.borrow_mut().senders.remove(&mut self.key);
        }
    }
}

impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagram")
            .field("remote", &self.remote())
            .field("local", &self.local())
            .field("len", &self.payload().len())
            .finish_non_exhaustive()
    }
}
