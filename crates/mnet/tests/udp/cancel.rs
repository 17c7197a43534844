//! However waits begin, are polled and are given up: no datagram is lost or comes twice, who can go
//! on is woken, and nothing is left behind.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use mkernel::{Trigger, block_on, yield_now};
use mnet::{RecvError, RecvOptions, UdpSocket};
use proptest::prelude::*;

use crate::wire::{A, meet, pair_with};
use crate::{at_b, number};

/// As many ICMP errors wait for a socket.
const ERRORS: usize = 16;
/// Not a number that is sent.
const REFUSED: u16 = 10_000;

/// Ways to receive.
#[derive(Clone, Copy, Debug)]
enum Way {
    RecvFrom,
    Datagram,
    Many,
    Readable,
    FromA,
    FromNobody,
    Triggered,
    Error,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many datagrams come.
    Arrive(u8),
    /// Something that was sent is refused.
    Refuse,
    Begin(Way),
    Poll(usize),
    GiveUp(usize),
    Fire,
    /// Polls by the socket's own place, and not by a future.
    PollSocket,
    Try,
}

fn step() -> impl Strategy<Value = Step> {
    use Way::*;
    let way = prop::sample::select(vec![
        RecvFrom, Datagram, Many, Readable, FromA, FromNobody, Triggered, Error,
    ]);
    prop_oneof![
        4 => (0..4u8).prop_map(Step::Arrive),
        2 => Just(Step::Refuse),
        4 => way.prop_map(Step::Begin),
        6 => any::<usize>().prop_map(Step::Poll),
        3 => any::<usize>().prop_map(Step::GiveUp),
        1 => Just(Step::Fire),
        1 => Just(Step::PollSocket),
        1 => Just(Step::Try),
    ]
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A wait that may be polled, and its waker.
struct Wait {
    way: Way,
    future: Pin<Box<dyn Future<Output = Vec<u16>>>>,
    woken: Arc<Woken>,
    polled: bool,
}

impl Wait {
    fn begin(way: Way, socket: &UdpSocket, trigger: &Trigger) -> Self {
        let (socket, trigger) = (socket.clone(), trigger.clone());
        let future = Box::pin(async move {
            let mut buffer = [0; 2];
            let received = match way {
                Way::RecvFrom => socket.recv_from(&mut buffer).await,
                Way::Datagram => {
                    let datagram = socket.recv_datagram().await.unwrap();
                    return vec![number(datagram.payload())];
                }
                Way::Many => {
                    let mut datagrams = Vec::new();
                    let count = socket.recv_many(&mut datagrams, 3).await.unwrap();
                    assert!((1..=3).contains(&count) && count == datagrams.len());
                    return datagrams.iter().map(|datagram| number(datagram.payload())).collect();
                }
                Way::Error => {
                    let report = socket.recv_error().await.unwrap();
                    return vec![REFUSED + report.remote.port()];
                }
                Way::Readable => {
                    socket.readable().await;
                    return Vec::new();
                }
                Way::FromA => {
                    socket.recv_from_with(&mut buffer, RecvOptions::new().source(A)).await
                }
                Way::FromNobody => {
                    let options = RecvOptions::new().source([192, 0, 2, 1]);
                    socket.recv_from_with(&mut buffer, options).await
                }
                Way::Triggered => {
                    let options = RecvOptions::new().trigger(&trigger);
                    socket.recv_from_with(&mut buffer, options).await
                }
            };
            match received {
                Ok((2, _)) => vec![number(&buffer)],
                Err(RecvError::Fired) if trigger.is_fired() => Vec::new(),
                other => panic!("{other:?}"),
            }
        });
        Self { way, future, woken: Arc::default(), polled: false }
    }

    fn poll(&mut self) -> Poll<Vec<u16>> {
        self.polled = true;
        self.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Whether it has been told to go on, if it can.
    fn is_told(&self, waiting: usize, errors: usize, fired: bool) -> bool {
        let can_go_on = match self.way {
            Way::FromNobody => false,
            Way::Error => errors > 0,
            Way::Triggered => fired || waiting > 0,
            _ => waiting > 0,
        };
        !self.polled || !can_go_on || self.woken.0.load(Ordering::Relaxed)
    }
}

/// Lets frames pass until none is left.
async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

async fn run(steps: Vec<Step>) {
    let (a, b, _cable) = pair_with(|config| config.icmp_error_burst = 1_000);
    let socket = b.udp().bind(7).unwrap();
    let trigger = Trigger::new();
    let mut waits: Vec<Wait> = Vec::new();
    let (mut sent, mut received) = (0u16, Vec::new());
    // Ports of which it has been said that they refuse, of which the newest are kept.
    let (mut refused, mut reported) = (VecDeque::new(), 0u16);
    let by_socket = Arc::<Woken>::default();
    let mut socket_waits = false;
    meet(&a, &b).await;

    for step in steps {
        match step {
            Step::Arrive(count) => {
                for _ in 0..count {
                    a.udp().send_to(&sent.to_be_bytes(), at_b(7)).await.unwrap();
                    sent += 1;
                }
                settle().await;
            }
            Step::Refuse => {
                reported += 1;
                socket.send_to(b"x", (A, reported)).await.unwrap();
                settle().await;
                refused.push_back(reported);
                refused.drain(..refused.len().saturating_sub(ERRORS));
            }
            Step::Begin(way) => waits.push(Wait::begin(way, &socket, &trigger)),
            Step::Poll(index) if !waits.is_empty() => {
                let index = index % waits.len();
                if let Poll::Ready(numbers) = waits[index].poll() {
                    match waits[index].way {
                        Way::Error => {
                            let port = refused.pop_front().unwrap();
                            assert_eq!(numbers, [REFUSED + port]);
                        }
                        _ => received.extend(numbers),
                    }
                    waits.swap_remove(index);
                }
            }
            Step::GiveUp(index) if !waits.is_empty() => {
                waits.swap_remove(index % waits.len());
            }
            Step::Poll(_) | Step::GiveUp(_) => {}
            Step::Fire => trigger.fire(),
            Step::PollSocket => {
                by_socket.0.store(false, Ordering::Relaxed);
                let waker = Waker::from(Arc::clone(&by_socket));
                let mut buffer = [0; 2];
                let mut cx = Context::from_waker(&waker);
                let polled = socket.poll_recv_from(&mut cx, &mut buffer);
                socket_waits = polled.is_pending();
                received.extend(polled.is_ready().then(|| number(&buffer)));
            }
            Step::Try => match socket.try_recv_datagram() {
                Ok(datagram) => received.push(number(datagram.payload())),
                Err(error) => assert_eq!(error, RecvError::WouldBlock),
            },
        }
        let waiting = usize::from(sent) - received.len();
        for wait in &waits {
            assert!(
                wait.is_told(waiting, refused.len(), trigger.is_fired()),
                "{:?} of {waiting}",
                wait.way
            );
        }
        assert!(!socket_waits || waiting == 0 || by_socket.0.load(Ordering::Relaxed));
    }

    // All that is left can still be read, in order.
    while let Ok(datagram) = socket.try_recv_datagram() {
        received.push(number(datagram.payload()));
    }
    assert_eq!(received, (0..sent).collect::<Vec<_>>());
    for port in refused {
        assert_eq!(socket.try_recv_error().unwrap().remote.port(), port);
    }
    assert_eq!(socket.try_recv_error(), Err(RecvError::WouldBlock));
    let wakers: Vec<_> = waits.iter().map(|wait| Arc::clone(&wait.woken)).collect();
    drop((waits, socket));
    for waker in wakers.iter().chain([&by_socket]) {
        assert_eq!(Arc::strong_count(waker), 1, "nobody keeps a waker");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_way_to_wait_loses_anything(steps in prop::collection::vec(step(), 0..60)) {
        block_on(run(steps));
    }
}
