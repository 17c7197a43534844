//! What all handles of a stack share.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::Future;
use core::net::IpAddr;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use mkernel::{WaitKey, WaitList, now_coarse};
use mnet_proto::udp::MAX_PAYLOAD_V6;
use mnet_proto::{BindError, Datagram, Destination, Local, Report, SendError, SocketId};
use netdev::{Packet, Pool};

use crate::error::RecvError;
use crate::host::Host;

/// So often tasks may send, or be told that the device is gone, before others have their turn.
const CALLS: usize = 256;

/// `H` is a stack, or whatever else the API stands on.
pub(crate) struct Shared<H: ?Sized = Host> {
    pub(crate) pool: Pool,
    pub(crate) state: RefCell<State<H>>,
}

pub(crate) struct State<H: ?Sized = Host> {
    /// The task that moves frames, while there is one, and whether it has been woken since it last moved
    /// any.
    pub(crate) driver: Option<Waker>,
    pub(crate) driver_woken: bool,
    /// How often tasks have sent, or were told that the device is gone, since the driver last ran, or one
    /// of them has let all others run.
    pub(crate) calls: usize,
    /// Who waits for the device to take frames.
    pub(crate) senders: WaitList,
    /// Who waits for an address, or for addresses to change.
    pub(crate) ready: WaitList,
    /// By the sockets' numbers.
    sockets: Vec<Socket>,
    pub(crate) host: H,
}

/// Who waits for what of a socket. It is in one cache line: of many sockets, none is in the cache.
#[derive(Default)]
#[repr(align(32))]
struct Socket {
    /// For datagrams and errors.
    readers: WaitList,
    /// Those who poll it, if anybody ever has.
    polled: Option<Box<Polled>>,
}

/// The places of those who poll a socket.
#[derive(Default)]
struct Polled {
    /// Among its readers, of whoever last polled it to receive.
    receiver: WaitKey,
    /// Among all senders, of whoever last polled it to send.
    sender: WaitKey,
}

impl<H> Shared<H> {
    pub(crate) fn new(pool: Pool, host: H, driver: Option<Waker>) -> Rc<Self> {
        let state = State {
            driver,
            driver_woken: false,
            calls: 0,
            senders: WaitList::new(),
            ready: WaitList::new(),
            sockets: Vec::new(),
            host,
        };
        Rc::new(Self { pool, state: RefCell::new(state) })
    }
}

impl Shared {
    /// Takes a packet with `length` bytes of payload in it.
    pub(crate) fn packet_now(&self, length: usize) -> Result<Packet, SendError> {
        if length > MAX_PAYLOAD_V6 {
            return Err(SendError::PacketTooBig { mtu: u16::MAX });
        }
        let mut packet = self.pool.take_sized(length).ok_or(SendError::NoBuffer)?;
        packet.append(length).ok_or(SendError::NoBuffer)?;
        Ok(packet)
    }

    /// Takes a packet with a copy of `payload` in it.
    pub(crate) fn packet_of(&self, payload: &[u8]) -> Result<Packet, SendError> {
        if payload.len() > MAX_PAYLOAD_V6 {
            return Err(SendError::PacketTooBig { mtu: u16::MAX });
        }
        let packet = self.pool.take_sized(payload.len());
        let filled = packet.and_then(|mut packet| packet.extend(payload).then_some(packet));
        filled.ok_or(SendError::NoBuffer)
    }

    /// Waits until something can be sent.
    pub(crate) fn uncongested(&self) -> Until<'_> {
        self.until(|state| !state.is_congested(), |state| &mut state.senders)
    }

    /// Waits until nothing waits, for the device or for a neighbour.
    pub(crate) fn flushed(&self) -> Until<'_> {
        self.until(|state| state.host.is_flushed(), |state| &mut state.senders)
    }

    /// Waits until the host has an address to use, or never will.
    pub(crate) fn ready(&self) -> Until<'_> {
        let ready = |State { host, .. }: &State| host.is_gone() || host.has_address();
        self.until(ready, |state| &mut state.ready)
    }

    fn until(
        &self,
        enough: fn(&State) -> bool,
        waiting: fn(&mut State) -> &mut WaitList,
    ) -> Until<'_> {
        Until { shared: self, enough, waiting, key: WaitKey::default() }
    }

    /// Sends a datagram of `length` bytes that `fill` writes, whether the device takes frames or not.
    #[inline]
    pub(crate) fn send_with(
        &self,
        local: Local,
        to: Destination,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), SendError> {
        let mut packet = self.packet_now(length)?;
        fill(packet.bytes_mut());
        self.state.borrow_mut().send(local, to, packet)
    }

    /// Waits for what `take` takes.
    #[inline]
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
        if state.host.is_gone() && state.has_to_rest(cx.waker()) {
            return Poll::Pending;
        }
        let taken = take.take(&mut state.host, id);
        let Socket { readers, polled } = state.socket(id);
        let Polled { receiver, .. } = &mut **polled.get_or_insert_default();
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

    /// Says whether something can be sent, or lets the task be woken when it may. Of the tasks that
    /// ask so for a socket, the last is woken.
    pub(crate) fn poll_uncongested(&self, id: SocketId, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let congested = state.is_congested();
        let State { senders, sockets, .. } = &mut *state;
        let Socket { polled, .. } = &mut sockets[usize::from(id.number())];
        let Polled { sender, .. } = &mut **polled.get_or_insert_default();
        if congested {
            senders.register(sender, cx.waker());
            state.let_others_run(cx.waker());
            return Poll::Pending;
        }
        senders.remove(sender);
        Poll::Ready(())
    }
}

impl<H: ?Sized> Drop for Shared<H> {
    /// Lets the driver see that there is nobody left.
    fn drop(&mut self) {
        self.state.get_mut().wake_driver();
    }
}

impl<H: ?Sized> State<H> {
    #[inline]
    pub(crate) fn wake_driver(&mut self) {
        if !core::mem::replace(&mut self.driver_woken, true)
            && let Some(driver) = &self.driver
        {
            driver.wake_by_ref();
        }
    }

    /// Lets a task that has to wait for no more than that go on once all others that can run have had
    /// their turn.
    pub(crate) fn let_others_run(&mut self, waker: &Waker) {
        if self.calls >= CALLS {
            self.calls = 0;
            waker.wake_by_ref();
        }
    }

    /// Whether a task that may be told yet again that the device is gone has to let others run first.
    #[cold]
    #[inline(never)]
    fn has_to_rest(&mut self, waker: &Waker) -> bool {
        let tired = self.calls >= CALLS;
        self.let_others_run(waker);
        self.calls += 1;
        tired
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

    /// Wakes those who wait for the sockets to which something has come.
    #[cfg(feature = "layers")]
    pub(crate) fn wake_readers(&mut self, mut next: impl FnMut(&mut H) -> Option<SocketId>) {
        while let Some(id) = next(&mut self.host) {
            self.readers(id).wake_all();
        }
    }
}

impl State {
    /// Makes a socket, and a place to wait for what comes.
    pub(crate) fn bind(&mut self, local: Local) -> Result<SocketId, BindError> {
        let id = self.host.udp_bind(local)?;
        Ok(self.with_place(id))
    }

    /// The socket of a port that is read from without being bound. It stays as long as the stack.
    pub(crate) fn reader(&mut self, port: u16) -> Result<SocketId, BindError> {
        let id = self.host.udp_reader(port)?;
        Ok(self.with_place(id))
    }

    /// Whether an ICMP error has said that a socket's peer cannot be reached.
    #[inline]
    pub(crate) fn check(&mut self, socket: SocketId) -> Result<(), SendError> {
        let failure = self.host.udp_mut().receive_failure(socket);
        failure.map_or(Ok(()), |error| Err(SendError::DestinationUnreachable(error)))
    }

    /// Whether whoever sends has to wait: so many frames wait for the device, or so much was sent since
    /// others had their turn.
    #[inline]
    pub(crate) fn is_congested(&self) -> bool {
        self.calls >= CALLS || self.host.is_congested()
    }

    /// Lets a task send once, unless it has to wait.
    #[inline]
    pub(crate) fn may_send(&mut self) -> bool {
        let may = !self.is_congested();
        self.calls += usize::from(may);
        may
    }

    /// Lets a task send that cannot wait. Where nobody moves frames there is nobody who must have run
    /// before.
    pub(crate) fn may_send_now(&mut self) -> bool {
        if self.host.is_congested() {
            return false;
        }
        let may = self.calls < CALLS || self.driver.is_none();
        self.calls += usize::from(may);
        if !may {
            self.wake_driver();
        }
        may
    }

    /// Sends a packet's window as the payload of a datagram.
    pub(crate) fn send(
        &mut self,
        local: Local,
        to: Destination,
        packet: Packet,
    ) -> Result<(), SendError> {
        // Also if it is not sent the neighbour may be asked for.
        self.wake_driver();
        self.host.udp_send(now_coarse(), local, to, packet)
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
        self.host.udp_close(now_coarse(), id);
        let Self { senders, sockets, .. } = self;
        let Socket { readers, polled } = &mut sockets[usize::from(id.number())];
        if let Some(mut polled) = polled.take() {
            readers.remove(&mut polled.receiver);
            senders.remove(&mut polled.sender);
        }
        self.wake_driver();
    }
}

/// What may be waited for, of all that comes for a socket.
pub(crate) trait Take: Unpin {
    type Output;

    /// Takes it, if it is there.
    fn take(&mut self, host: &mut Host, socket: SocketId) -> Option<Self::Output>;
}

/// The next datagram.
pub(crate) struct Next;

impl Take for Next {
    type Output = Result<Datagram, RecvError>;

    #[inline]
    fn take(&mut self, host: &mut Host, socket: SocketId) -> Option<Self::Output> {
        Map(|datagram| datagram).take(host, socket)
    }
}

/// What is made of the next datagram, once it is there.
pub(crate) struct Map<F>(pub(crate) F);

impl<T, F: FnMut(Datagram) -> T + Unpin> Take for Map<F> {
    type Output = Result<T, RecvError>;

    #[inline]
    fn take(&mut self, host: &mut Host, socket: SocketId) -> Option<Self::Output> {
        match host.udp_mut().receive(socket) {
            Some(datagram) => Some(Ok((self.0)(datagram))),
            None if Anything.take(host, socket).is_some() => failure(host, socket).map(Err),
            None => None,
        }
    }
}

/// The next datagram from one address.
pub(crate) struct NextFrom(pub(crate) IpAddr);

impl Take for NextFrom {
    type Output = Result<Datagram, RecvError>;

    fn take(&mut self, host: &mut Host, socket: SocketId) -> Option<Self::Output> {
        match host.udp_mut().receive_from(socket, self.0) {
            Some(datagram) => Some(Ok(datagram)),
            None => failure(host, socket).map(Err),
        }
    }
}

/// The next ICMP error.
pub(crate) struct NextError;

impl Take for NextError {
    type Output = Result<Report, RecvError>;

    fn take(&mut self, host: &mut Host, socket: SocketId) -> Option<Self::Output> {
        let report = host.udp_mut().receive_error(socket).map(Ok);
        report.or_else(|| host.is_gone().then_some(Err(RecvError::DeviceGone)))
    }
}

/// Nothing, once there is something to receive.
pub(crate) struct Anything;

impl Take for Anything {
    type Output = ();

    #[inline]
    fn take(&mut self, host: &mut Host, socket: SocketId) -> Option<()> {
        (host.is_gone() || host.udp().is_readable(socket)).then_some(())
    }
}

/// Why no datagram will come.
#[cold]
#[inline(never)]
fn failure(host: &mut Host, socket: SocketId) -> Option<RecvError> {
    let failure = host.udp_mut().receive_failure(socket).map(RecvError::DestinationUnreachable);
    failure.or_else(|| host.is_gone().then_some(RecvError::DeviceGone))
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

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        let Self { shared, socket, take, key } = &mut *self;
        let mut state = shared.state.borrow_mut();
        if state.host.is_gone() && state.has_to_rest(cx.waker()) {
            return Poll::Pending;
        }
        let Some(taken) = take.take(&mut state.host, *socket) else {
            // Whoever was woken in vain keeps its place: it is woken before those who get something.
            state.readers(*socket).register(key, cx.waker());
            return Poll::Pending;
        };
        if key.is_taken() {
            state.readers(*socket).remove(key);
        }
        Poll::Ready(taken)
    }
}

impl<T> Drop for Receive<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.key.is_taken() {
            self.give_up();
        }
    }
}

impl<T> Receive<'_, T> {
    #[cold]
    fn give_up(&mut self) {
        self.shared.state.borrow_mut().readers(self.socket).remove(&mut self.key);
    }
}

/// The future of [`Shared::uncongested`], [`Shared::flushed`] and [`Shared::ready`].
pub(crate) struct Until<'a> {
    shared: &'a Shared,
    enough: fn(&State) -> bool,
    waiting: fn(&mut State) -> &mut WaitList,
    key: WaitKey,
}

impl Future for Until<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shared, enough, waiting, key } = &mut *self;
        let mut state = shared.state.borrow_mut();
        if enough(&state) {
            return Poll::Ready(());
        }
        waiting(&mut state).register(key, cx.waker());
        state.let_others_run(cx.waker());
        Poll::Pending
    }
}

impl Drop for Until<'_> {
    fn drop(&mut self) {
        if !self.key.is_taken() {
            return;
        }
        let mut state = self.shared.state.borrow_mut();
        (self.waiting)(&mut state).remove(&mut self.key);
    }
}
