//! What all handles of a stack share.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::Future;
use core::net::IpAddr;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use mkernel::{WaitKey, WaitList, now_coarse};
use mnet_proto::udp::MAX_PAYLOAD_V6;
use mnet_proto::{BindError, Datagram, Destination, Local, Report, SendError, SocketId, Stack};
use netdev::{Packet, Pool};

use crate::error::RecvError;

pub(crate) struct Shared {
    pub(crate) pool: Pool,
    pub(crate) state: RefCell<State>,
}

pub(crate) struct State {
    pub(crate) stack: Stack,
    /// The task that moves frames.
    pub(crate) driver: Option<Waker>,
    /// Who waits for the device to take frames.
    pub(crate) senders: WaitList,
    /// Who waits for an address.
    pub(crate) ready: WaitList,
    /// By the sockets' numbers.
    sockets: Vec<Socket>,
}

/// Who waits for what of a socket.
#[derive(Default)]
struct Socket {
    /// For datagrams and errors.
    readers: WaitList,
    /// The place there of whoever last polled it to receive.
    receiver: WaitKey,
    /// The place among all senders of whoever last polled it to send.
    sender: WaitKey,
}

impl Shared {
    pub(crate) fn new(stack: Stack) -> Rc<Self> {
        let pool = stack.pool().clone();
        let state = State {
            stack,
            driver: None,
            senders: WaitList::new(),
            ready: WaitList::new(),
            sockets: Vec::new(),
        };
        Rc::new(Self { pool, state: RefCell::new(state) })
    }

    /// Takes a packet with `length` bytes of payload in it, once the device has room.
    pub(crate) async fn packet(&self, length: usize) -> Result<Packet, SendError> {
        self.uncongested().await;
        self.packet_now(length)
    }

    /// Takes a packet with `length` bytes of payload in it.
    pub(crate) fn packet_now(&self, length: usize) -> Result<Packet, SendError> {
        if length > MAX_PAYLOAD_V6 {
            return Err(SendError::PacketTooBig { mtu: u16::MAX });
        }
        let mut packet = self.pool.take_sized(length).ok_or(SendError::NoBuffer)?;
        packet.append(length).ok_or(SendError::NoBuffer)?;
        Ok(packet)
    }

    /// Waits until few enough frames wait for the device.
    pub(crate) fn uncongested(&self) -> Until<'_> {
        self.until(|stack| !stack.is_congested(), |state| &mut state.senders)
    }

    /// Waits until nothing waits, for the device or for a neighbour.
    pub(crate) fn flushed(&self) -> Until<'_> {
        self.until(Stack::is_flushed, |state| &mut state.senders)
    }

    /// Waits until the host has an address to use, or never will.
    pub(crate) fn ready(&self) -> Until<'_> {
        let ready = |stack: &Stack| stack.is_gone() || stack.has_address();
        self.until(ready, |state| &mut state.ready)
    }

    fn until(
        &self,
        enough: fn(&Stack) -> bool,
        waiting: fn(&mut State) -> &mut WaitList,
    ) -> Until<'_> {
        Until { shared: self, enough, waiting, key: WaitKey::default() }
    }

    /// Sends a packet's window as the payload of a datagram.
    pub(crate) fn send(
        &self,
        local: Local,
        to: Destination,
        packet: Packet,
    ) -> Result<(), SendError> {
        let mut state = self.state.borrow_mut();
        state.stack.udp_send(now_coarse(), local, to, packet)?;
        state.wake_driver();
        Ok(())
    }

    /// Sends, if the device takes frames now.
    pub(crate) fn try_send(
        &self,
        local: Local,
        to: Destination,
        payload: &[u8],
    ) -> Result<(), SendError> {
        if self.state.borrow().stack.is_congested() {
            return Err(SendError::WouldBlock);
        }
        let mut packet = self.packet_now(payload.len())?;
        packet.bytes_mut().copy_from_slice(payload);
        self.send(local, to, packet)
    }

    /// Waits for what `take` takes.
    pub(crate) fn receive<T: Take>(&self, socket: SocketId, take: T) -> Receive<'_, T> {
        Receive { shared: self, socket, take, key: WaitKey::default() }
    }

    /// Takes what `take` takes, or lets the task be woken when there may be some. Of the tasks that
    /// ask so for a socket, the last is woken.
    pub(crate) fn poll_receive<T: Take>(
        &self,
        id: SocketId,
        mut take: T,
        cx: &mut Context<'_>,
    ) -> Poll<T::Output> {
        let mut state = self.state.borrow_mut();
        let taken = take.take(&mut state.stack, id);
        let Socket { readers, receiver, .. } = state.socket(id);
        match taken {
            Some(taken) => {
                readers.remove(receiver);
                Poll::Ready(taken)
            }
            None => {
                readers.register(receiver, cx.waker());
                Poll::Pending
            }
        }
    }

    /// Says whether the device takes frames, or lets the task be woken when it may. Of the tasks that
    /// ask so for a socket, the last is woken.
    pub(crate) fn poll_uncongested(&self, id: SocketId, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let State { stack, senders, sockets, .. } = &mut *state;
        let Socket { sender, .. } = &mut sockets[usize::from(id.number())];
        if stack.is_congested() {
            senders.register(sender, cx.waker());
            return Poll::Pending;
        }
        senders.remove(sender);
        Poll::Ready(())
    }
}

impl Drop for Shared {
    /// Lets the driver see that there is nobody left.
    fn drop(&mut self) {
        self.state.get_mut().wake_driver();
    }
}

impl State {
    pub(crate) fn wake_driver(&self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    /// Makes a socket, and a place to wait for what comes.
    pub(crate) fn bind(&mut self, local: Local) -> Result<SocketId, BindError> {
        let id = self.stack.udp_bind(local)?;
        Ok(self.with_place(id))
    }

    /// The socket of a port that is read from without being bound. It stays as long as the stack.
    pub(crate) fn reader(&mut self, port: u16) -> Result<SocketId, BindError> {
        let id = self.stack.udp_reader(port)?;
        Ok(self.with_place(id))
    }

    fn with_place(&mut self, id: SocketId) -> SocketId {
        let places = usize::from(id.number()) + 1;
        if places > self.sockets.len() {
            self.sockets.resize_with(places, Socket::default);
        }
        id
    }

    /// Closes a socket, for which nobody waits but those who have polled it.
    pub(crate) fn close(&mut self, id: SocketId) {
        self.stack.udp_close(now_coarse(), id);
        let Self { senders, sockets, .. } = self;
        let Socket { readers, receiver, sender } = &mut sockets[usize::from(id.number())];
        readers.remove(receiver);
        senders.remove(sender);
        self.wake_driver();
    }

    fn socket(&mut self, id: SocketId) -> &mut Socket {
        &mut self.sockets[usize::from(id.number())]
    }

    pub(crate) fn readers(&mut self, id: SocketId) -> &mut WaitList {
        &mut self.socket(id).readers
    }

    /// Wakes everybody who waits for anything.
    pub(crate) fn wake_all(&self) {
        self.senders.wake_all();
        self.ready.wake_all();
        self.sockets.iter().for_each(|socket| socket.readers.wake_all());
    }
}

/// What may be waited for, of all that comes for a socket.
pub(crate) trait Take: Unpin {
    type Output;

    /// Takes it, if it is there.
    fn take(&mut self, stack: &mut Stack, socket: SocketId) -> Option<Self::Output>;
}

/// The next datagram.
pub(crate) struct Next;

impl Take for Next {
    type Output = Result<Datagram, RecvError>;

    #[inline]
    fn take(&mut self, stack: &mut Stack, socket: SocketId) -> Option<Self::Output> {
        match stack.udp_mut().receive(socket) {
            Some(datagram) => Some(Ok(datagram)),
            None => failure(stack, socket).map(Err),
        }
    }
}

/// The next datagram from one address.
pub(crate) struct NextFrom(pub(crate) IpAddr);

impl Take for NextFrom {
    type Output = Result<Datagram, RecvError>;

    fn take(&mut self, stack: &mut Stack, socket: SocketId) -> Option<Self::Output> {
        match stack.udp_mut().receive_from(socket, self.0) {
            Some(datagram) => Some(Ok(datagram)),
            None => failure(stack, socket).map(Err),
        }
    }
}

/// The next ICMP error.
pub(crate) struct NextError;

impl Take for NextError {
    type Output = Result<Report, RecvError>;

    fn take(&mut self, stack: &mut Stack, socket: SocketId) -> Option<Self::Output> {
        let report = stack.udp_mut().receive_error(socket).map(Ok);
        report.or_else(|| stack.is_gone().then_some(Err(RecvError::DeviceGone)))
    }
}

/// Nothing, once there is something to receive.
pub(crate) struct Anything;

impl Take for Anything {
    type Output = ();

    fn take(&mut self, stack: &mut Stack, socket: SocketId) -> Option<()> {
        (stack.is_gone() || stack.udp().is_readable(socket)).then_some(())
    }
}

/// Why no datagram will come.
#[inline(never)]
fn failure(stack: &mut Stack, socket: SocketId) -> Option<RecvError> {
    let failure = stack.udp_mut().receive_failure(socket).map(RecvError::DestinationUnreachable);
    failure.or_else(|| stack.is_gone().then_some(RecvError::DeviceGone))
}

/// The future of [`Shared::receive`].
pub(crate) struct Receive<'a, T> {
    shared: &'a Shared,
    socket: SocketId,
    take: T,
    key: WaitKey,
}

impl<T: Take> Future for Receive<'_, T> {
    type Output = T::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        let Self { shared, socket, take, key } = &mut *self;
        let mut state = shared.state.borrow_mut();
        if let Some(taken) = take.take(&mut state.stack, *socket) {
            return Poll::Ready(taken);
        }
        state.readers(*socket).register(key, cx.waker());
        Poll::Pending
    }
}

impl<T> Drop for Receive<'_, T> {
    fn drop(&mut self) {
        self.shared.state.borrow_mut().readers(self.socket).remove(&mut self.key);
    }
}

/// The future of [`Shared::uncongested`], [`Shared::flushed`] and [`Shared::ready`].
pub(crate) struct Until<'a> {
    shared: &'a Shared,
    enough: fn(&Stack) -> bool,
    waiting: fn(&mut State) -> &mut WaitList,
    key: WaitKey,
}

impl Future for Until<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shared, enough, waiting, key } = &mut *self;
        let mut state = shared.state.borrow_mut();
        if enough(&state.stack) {
            return Poll::Ready(());
        }
        waiting(&mut state).register(key, cx.waker());
        Poll::Pending
    }
}

impl Drop for Until<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state.borrow_mut();
        (self.waiting)(&mut state).remove(&mut self.key);
    }
}
