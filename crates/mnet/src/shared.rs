//! What all handles of a stack share.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::Future;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use mkernel::{WaitKey, WaitList, now_coarse};
use mnet_proto::udp::MAX_PAYLOAD_V6;
use mnet_proto::{BindError, Datagram, Local, SendError, SocketId, Stack};
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

#[derive(Default)]
struct Socket {
    /// Who waits for its datagrams.
    readers: WaitList,
    /// Its port was read from without being bound.
    implicit: bool,
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
        to: SocketAddr,
        packet: Packet,
    ) -> Result<(), SendError> {
        let mut state = self.state.borrow_mut();
        state.stack.udp_send(now_coarse(), local, to, packet)?;
        state.wake_driver();
        Ok(())
    }

    /// Waits for a datagram on a socket.
    pub(crate) fn receive(&self, socket: SocketId) -> Receive<'_> {
        Receive { shared: self, socket, key: WaitKey::default() }
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

    /// Makes a socket, and a place to wait for its datagrams.
    pub(crate) fn bind(&mut self, local: Local) -> Result<SocketId, BindError> {
        let id = self.stack.udp_bind(local)?;
        let index = usize::from(id.number());
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, Socket::default);
        }
        self.sockets[index].implicit = false;
        Ok(id)
    }

    /// The socket of a port that is read from without being bound. It stays as long as the stack.
    pub(crate) fn implicit(&mut self, port: u16) -> Result<SocketId, BindError> {
        if port == 0 {
            return Err(BindError::PortZero);
        }
        match self.stack.udp().socket_on(port) {
            Some(id) if self.sockets[usize::from(id.number())].implicit => Ok(id),
            _ => {
                let id = self.bind(port.into())?;
                self.sockets[usize::from(id.number())].implicit = true;
                Ok(id)
            }
        }
    }

    pub(crate) fn readers(&mut self, id: SocketId) -> &mut WaitList {
        &mut self.sockets[usize::from(id.number())].readers
    }

    /// Wakes everybody who waits for anything.
    pub(crate) fn wake_all(&self) {
        self.senders.wake_all();
        self.ready.wake_all();
        self.sockets.iter().for_each(|socket| socket.readers.wake_all());
    }
}

/// The future of [`Shared::receive`].
pub(crate) struct Receive<'a> {
    shared: &'a Shared,
    socket: SocketId,
    key: WaitKey,
}

impl Future for Receive<'_> {
    type Output = Result<Datagram, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, socket, key } = &mut *self;
        let mut state = shared.state.borrow_mut();
        if let Some(datagram) = state.stack.udp_mut().receive(*socket) {
            return Poll::Ready(Ok(datagram));
        }
        if state.stack.is_gone() {
            return Poll::Ready(Err(RecvError::DeviceGone));
        }
        state.readers(*socket).register(key, cx.waker());
        Poll::Pending
    }
}

impl Drop for Receive<'_> {
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
