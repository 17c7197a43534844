use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use mkernel::WaitKey;
use mnet_proto::{Destination, Local, SendError, SocketId};

use crate::shared::{Shared, State};

/// A datagram that is copied from a buffer once the device takes frames, and the future that waits for
/// that.
pub(crate) struct SendTo<'a> {
    pub(crate) shared: &'a Shared,
    /// Who sends, if it is a socket, and from where.
    pub(crate) socket: Option<SocketId>,
    pub(crate) local: Local,
    pub(crate) to: Destination,
    pub(crate) payload: &'a [u8],
    /// Its place among all senders.
    pub(crate) key: WaitKey,
}

impl SendTo<'_> {
    /// Sends it, if something can be sent now.
    pub(crate) fn send_now(self) -> Result<(), SendError> {
        let mut state = self.shared.state.borrow_mut();
        self.check(&mut state)?;
        if !state.may_send_now() {
            return Err(SendError::WouldBlock);
        }
        self.send(&mut state)
    }

    #[inline]
    fn check(&self, state: &mut State) -> Result<(), SendError> {
        self.socket.map_or(Ok(()), |socket| state.check(socket))
    }

    #[inline]
    fn send(&self, state: &mut State) -> Result<(), SendError> {
        let packet = self.shared.packet_of(self.payload)?;
        state.send(self.local, self.to, packet)
    }
}

impl Future for SendTo<'_> {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = self.shared;
        let mut state = shared.state.borrow_mut();
        let checked = self.check(&mut state);
        if checked.is_ok() && !state.may_send() {
            state.senders.register(&mut self.key, cx.waker());
            state.let_others_run(cx.waker());
            return Poll::Pending;
        }
        state.senders.remove(&mut self.key);
        Poll::Ready(checked.and_then(|()| self.send(&mut state)))
    }
}

impl Drop for SendTo<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.key.is_taken() {
            self.give_up();
        }
    }
}

impl SendTo<'_> {
    #[cold]
    fn give_up(&mut self) {
        self.shared.state.borrow_mut().senders.remove(&mut self.key);
    }
}
