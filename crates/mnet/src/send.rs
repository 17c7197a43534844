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
    /// Sends it, if the device takes frames now.
    pub(crate) fn send_now(self) -> Result<(), SendError> {
        let sent = self.send(&mut self.shared.state.borrow_mut());
        sent.unwrap_or(Err(SendError::WouldBlock))
    }

    /// Sends it, unless so many frames wait for the device that it should wait itself.
    #[inline]
    fn send(&self, state: &mut State) -> Option<Result<(), SendError>> {
        if let Some(socket) = self.socket
            && let Err(error) = state.check(socket)
        {
            return Some(Err(error));
        }
        if state.host.is_congested() {
            return None;
        }
        let packet = self.shared.packet_of(self.payload);
        Some(packet.and_then(|packet| state.send(self.local, self.to, packet)))
    }
}

impl Future for SendTo<'_> {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = self.shared;
        let mut state = shared.state.borrow_mut();
        match self.send(&mut state) {
            Some(sent) => {
                state.senders.remove(&mut self.key);
                Poll::Ready(sent)
            }
            None => {
                state.senders.register(&mut self.key, cx.waker());
                Poll::Pending
            }
        }
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
