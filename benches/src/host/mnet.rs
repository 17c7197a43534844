//! mnet, by its async API.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ::mnet::{Config, Ipv4Cidr, Ipv6Cidr, Stack, UdpSocket};
use netdev::{Device, Gone, Mac, Packet, Pool, Received};

use super::Outcome;
use crate::load::FIRST_PORT;
use crate::{Case, Family, Load, Way, frames};

/// How many datagrams one call of `send_segments` sends.
const SEGMENTS: usize = 16;

pub(super) fn serve(case: Case, orders: Receiver<u64>, done: Sender<Outcome>) {
    mkernel::block_on(async move {
        let card = Card::new(&case);
        let shared = Rc::clone(&card.shared);
        let stack = Stack::new(card, &config(case.family)).unwrap();
        // Of IPv4, an address is used at once.
        let waits = |stack: &Stack| {
            let mut addresses = stack.addresses().into_iter();
            addresses.any(|address| address.tentative && address.cidr.address().is_ipv6())
        };
        while waits(&stack) {
            mkernel::sleep(Duration::from_millis(10)).await;
        }
        let own = match case.way {
            Way::Source | Way::Segments => Some(stack.udp().bind(0).unwrap()),
            Way::Copy | Way::Reply | Way::Sink => {
                for index in 0..case.ports {
                    let socket = stack.udp().bind(FIRST_PORT + index as u16).unwrap();
                    let shared = Rc::clone(&shared);
                    drop(mkernel::spawn(answer(socket, case, shared)));
                }
                None
            }
        };
        if let Some(socket) = &own {
            // Only so much waits for a neighbour's address: the first is let through alone.
            shared.load.borrow_mut().start(1);
            speak(socket, &case, 1).await;
            shared.done().await;
        }
        // Blocks while nothing is asked for: the stack stands still between orders.
        while let Ok(count) = orders.recv() {
            shared.load.borrow_mut().start(count);
            shared.wake();
            let before = Instant::now();
            if let Some(socket) = &own {
                speak(socket, &case, count).await;
            }
            shared.done().await;
            let elapsed = before.elapsed();
            let last = shared.load.borrow().last().to_vec();
            done.send(Outcome { elapsed, last }).unwrap();
        }
    });
}

fn config(family: Family) -> Config {
    match (frames::host(family), frames::router(family)) {
        (IpAddr::V4(host), IpAddr::V4(router)) => {
            Config::new(Ipv4Cidr::new(host, 16).unwrap()).with_ipv4_gateway(router).without_ipv6()
        }
        (IpAddr::V6(host), IpAddr::V6(router)) => {
            let mut config = Config { ipv4: ::mnet::Ipv4Config::Off, ..Config::default() };
            config.ipv6.autoconf = false;
            config.ipv6.addresses = vec![Ipv6Cidr::new(host, 64).unwrap()];
            config.ipv6.gateway = Some(router);
            config
        }
        _ => unreachable!("a family has addresses of one kind"),
    }
}

/// What the host does with what comes on a port.
async fn answer(socket: UdpSocket, case: Case, shared: Rc<Shared>) {
    let mut buffer = vec![0; case.size];
    match case.way {
        Way::Reply => loop {
            socket.recv_datagram().await.unwrap().reply().await.unwrap();
        },
        Way::Copy => loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            socket.send_to(&buffer[..length], from).await.unwrap();
        },
        Way::Sink => loop {
            socket.recv_from(&mut buffer).await.unwrap();
            shared.load.borrow_mut().finish();
            shared.wake();
        },
        Way::Source | Way::Segments => {}
    }
}

/// What a host that speaks first says.
async fn speak(socket: &UdpSocket, case: &Case, count: u64) {
    let payload = frames::payload(case.size * SEGMENTS);
    let size = NonZeroU16::new(case.size as u16).unwrap();
    let to: SocketAddr = (frames::neighbor(case.family, 0), 5_000).into();
    if case.way == Way::Source {
        for _ in 0..count {
            socket.send_to(&payload[..case.size], to).await.unwrap();
        }
        return;
    }
    for _ in 0..count as usize / SEGMENTS {
        socket.send_segments(&payload, size, to).await.unwrap();
    }
    let rest = count as usize % SEGMENTS * case.size;
    socket.send_segments(&payload[..rest], size, to).await.unwrap();
}

/// The card that is plugged to the [`Load`].
struct Card {
    shared: Rc<Shared>,
}

struct Shared {
    load: RefCell<Load>,
    // Who is woken when there is a frame. It may be told so when it knows.
    receiver: RefCell<Waker>,
    waiting: Cell<Option<Waker>>,
}

impl Shared {
    /// Wakes whoever waits for what there is now.
    fn wake(&self) {
        if self.load.borrow().has_next() {
            self.receiver.borrow().wake_by_ref();
        }
        if self.load.borrow().is_done() {
            self.wake_waiting();
        }
    }

    fn wake_waiting(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    async fn done(&self) {
        poll_fn(|cx| {
            if self.load.borrow().is_done() {
                return Poll::Ready(());
            }
            self.waiting.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

impl Card {
    fn new(case: &Case) -> Self {
        let load = RefCell::new(Load::new(case));
        let receiver = RefCell::new(Waker::noop().clone());
        Self { shared: Rc::new(Shared { load, receiver, waiting: Cell::new(None) }) }
    }
}

impl Device for Card {
    fn mac(&self) -> Mac {
        frames::HOST
    }

    fn mtu(&self) -> u16 {
        frames::MTU
    }

    #[inline]
    fn receive(
        &mut self,
        pool: &Pool,
        limit: usize,
        take: &mut dyn FnMut(Packet),
    ) -> Result<Received, Gone> {
        let mut load = self.shared.load.borrow_mut();
        for _ in 0..limit {
            let Some(frame) = load.deliver() else { break };
            let mut packet = pool.take_for_receive().expect("the window is smaller than the pool");
            packet.append(frame.len()).unwrap().copy_from_slice(frame);
            take(packet);
        }
        Ok(Received { drained: !load.has_next(), dropped: 0 })
    }

    #[inline]
    fn transmit(&mut self, frames: &mut VecDeque<Packet>) -> Result<(), Gone> {
        let mut load = self.shared.load.borrow_mut();
        while let Some(frame) = frames.pop_front() {
            load.take(frame.bytes());
        }
        // Whoever sends looks by itself whether that has brought it something.
        if load.is_done() {
            self.shared.wake_waiting();
        }
        Ok(())
    }

    #[inline]
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.load.borrow().has_next() {
            return Poll::Ready(());
        }
        self.shared.receiver.borrow_mut().clone_from(cx.waker());
        Poll::Pending
    }

    fn poll_transmit(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
