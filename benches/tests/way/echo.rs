use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use mkernel::{sleep, spawn, timeout};
use mnet::{Config, Ipv4Cidr, Ipv4Config, Ipv6Cidr, Stack, UdpSocket};
use mnet_bench::{Family, frames};

use crate::link::{Card, Link, Places, address};

const PORT: u16 = 7;
/// So long after its start a host has its addresses to itself (RFC 4862 §5.4).
const CLAIMED: Duration = Duration::from_secs(3);

/// How long all echoes of a test may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test; fails if it comes to no end, as an answer is missing.
pub(crate) fn in_time(test: impl Future<Output = ()> + 'static) {
    mkernel::block_on(timeout(PATIENCE, test)).expect("each datagram is answered");
}

/// How a service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// `recv_datagram`, `reply`.
    Reply,
    /// `recv_datagram`, `reply_with`.
    ReplyWith,
    /// `recv_many`, `reply`.
    Many,
    /// `recv_datagram`, `send_with`.
    SendWith,
    /// `recv_from`, `send_to`.
    Copy,
}

/// What is echoed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) family: Family,
    pub(crate) service: Service,
    /// Bytes of payload.
    pub(crate) size: usize,
    /// How many datagrams come at once.
    pub(crate) window: usize,
}

impl Case {
    /// All there are with these sizes and windows.
    pub(crate) fn all(sizes: &[usize], windows: &[usize]) -> Vec<Self> {
        use Service::{Copy, Many, Reply, ReplyWith, SendWith};

        let mut all = Vec::new();
        for family in [Family::V4, Family::V6] {
            for service in [Reply, ReplyWith, Many, SendWith, Copy] {
                for &size in sizes {
                    all.extend(windows.iter().map(|&window| Self {
                        family,
                        service,
                        size,
                        window,
                    }));
                }
            }
        }
        all
    }
}

/// A host with a service, and a neighbour that it knows.
pub(crate) struct Echo {
    pub(crate) case: Case,
    link: Rc<RefCell<Link>>,
    // It is driven as long as it is held.
    _stack: Stack,
}

impl Echo {
    /// Starts a host for each of them.
    pub(crate) async fn start_all(cases: Vec<Case>) -> Vec<Self> {
        let starts: Vec<_> = cases.into_iter().map(|case| spawn(Self::start(case))).collect();
        let mut echoes = Vec::new();
        for start in starts {
            echoes.push(start.await.unwrap());
        }
        echoes
    }

    async fn start(case: Case) -> Self {
        let Case { family, size, window, .. } = case;
        let peer = (frames::neighbor(family, 0), 5_000);
        let [frame] = frames::datagram(peer, PORT, &frames::payload(size)).try_into().unwrap();
        let link = Rc::new(RefCell::new(Link::new(frame, size, window)));
        let stack = Stack::new(Card(Rc::clone(&link)), &config(family)).unwrap();
        let socket = stack.udp().bind(PORT).unwrap();
        drop(spawn(serve(socket, case, Rc::clone(&link))));
        sleep(CLAIMED).await;
        let echo = Self { case, link, _stack: stack };
        // Only so many answers wait for the neighbour's address: one is let through alone.
        echo.run(1).await;
        echo
    }

    /// Lets the neighbour send so many datagrams, until all have been answered.
    pub(crate) async fn run(&self, count: usize) {
        self.link.borrow_mut().start(count);
        poll_fn(|cx| self.link.borrow_mut().poll_done(cx)).await;
    }

    /// Where the datagrams were that came since it was started.
    pub(crate) fn places(&self) -> Vec<Places> {
        self.link.borrow_mut().places()
    }
}

fn config(family: Family) -> Config {
    match frames::host(family) {
        IpAddr::V4(host) => Config::new(Ipv4Cidr::new(host, 16).unwrap()).without_ipv6(),
        IpAddr::V6(host) => {
            let mut config = Config { ipv4: Ipv4Config::Off, ..Config::default() };
            config.ipv6.autoconf = false;
            config.ipv6.addresses = vec![Ipv6Cidr::new(host, 64).unwrap()];
            config
        }
    }
}

async fn serve(socket: UdpSocket, case: Case, link: Rc<RefCell<Link>>) {
    let Case { service, size, .. } = case;
    let seen = |bytes: &[u8]| link.borrow_mut().current.seen = address(bytes);
    let fill = |bytes: &mut [u8]| {
        bytes.fill(0x5a);
        link.borrow_mut().current.filled = address(bytes);
    };
    let mut buffer = vec![0; size];
    let mut datagrams = Vec::with_capacity(64);
    loop {
        match service {
            Service::Reply => {
                let mut datagram = socket.recv_datagram().await.unwrap();
                seen(datagram.payload());
                fill(datagram.payload_mut());
                datagram.reply().await.unwrap();
            }
            Service::ReplyWith => {
                let datagram = socket.recv_datagram().await.unwrap();
                seen(datagram.payload());
                datagram.reply_with(size, fill).await.unwrap();
            }
            Service::Many => {
                socket.recv_many(&mut datagrams, 64).await.unwrap();
                for mut datagram in datagrams.drain(..) {
                    seen(datagram.payload());
                    fill(datagram.payload_mut());
                    datagram.reply().await.unwrap();
                }
            }
            Service::SendWith => {
                let datagram = socket.recv_datagram().await.unwrap();
                seen(datagram.payload());
                socket.send_with(datagram.remote(), size, fill).await.unwrap();
            }
            Service::Copy => {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                seen(&buffer);
                fill(&mut buffer);
                socket.send_to(&buffer[..length], from).await.unwrap();
            }
        }
    }
}
