//! However sends begin, wait for the device and are given up: each that was done arrives once, none
//! that was given up does, who can go on is woken, and nothing is left behind.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use mkernel::{block_on, yield_now};
use mnet::{SendError, Udp, UdpSocket};
use proptest::prelude::*;

use crate::wire::{meet, pair_with};
use crate::{at_b, number};

/// As many frames may wait for the device.
const QUEUE: usize = 4;

/// Ways to send.
#[derive(Clone, Copy, Debug)]
enum Way {
    To,
    With,
    Port,
    Connected,
    Many(u16),
    Writable,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(Way),
    Poll(usize),
    GiveUp(usize),
    /// The device takes nothing, or takes frames again.
    Stuck(bool),
    /// Polls by the socket's own place, and not by a future.
    PollSocket,
    Try,
}

fn step() -> impl Strategy<Value = Step> {
    use Way::*;
    let way = prop::sample::select(vec![To, With, Port, Connected, Many(1), Many(9), Writable]);
    prop_oneof![
        5 => way.prop_map(Step::Begin),
        6 => any::<usize>().prop_map(Step::Poll),
        2 => any::<usize>().prop_map(Step::GiveUp),
        3 => any::<bool>().prop_map(Step::Stuck),
        2 => Just(Step::PollSocket),
        2 => Just(Step::Try),
    ]
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A send that may be polled, the numbers that it sends, and its waker.
struct Send {
    way: Way,
    numbers: Vec<u16>,
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
    polled: bool,
}

impl Send {
    fn begin(way: Way, socket: &UdpSocket, udp: &Udp, next: &mut u16) -> Self {
        let count = match way {
            Way::Many(count) => count,
            Way::Writable => 0,
            _ => 1,
        };
        let numbers: Vec<u16> = (*next..*next + count).collect();
        *next += count;
        let (socket, udp, sent) = (socket.clone(), udp.clone(), numbers.clone());
        let future = Box::pin(async move {
            let payload = sent.first().copied().unwrap_or_default().to_be_bytes();
            let fill = |room: &mut [u8]| room.copy_from_slice(&payload);
            match way {
                Way::To => socket.send_to(&payload, at_b(7)).await.unwrap(),
                Way::With => socket.send_with(at_b(7), 2, fill).await.unwrap(),
                Way::Port => udp.send_from_with(9, at_b(7), 2, fill).await.unwrap(),
                Way::Connected => socket.send(&payload).await.unwrap(),
                Way::Many(count) => {
                    let all = sent.iter().map(|number| (number.to_be_bytes(), at_b(7)));
                    assert_eq!(socket.send_many(all).await, Ok(count.into()));
                }
                Way::Writable => socket.writable().await,
            }
        });
        Self { way, numbers, future, woken: Arc::default(), polled: false }
    }

    fn poll(&mut self) -> Poll<()> {
        self.polled = true;
        self.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// Lets frames pass until none is left that can.
async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

async fn run(steps: Vec<Step>) {
    let (a, b, cable) = pair_with(|config| config.transmit_queue = QUEUE);
    let (socket, reader) = (a.udp().bind(0).unwrap(), b.udp().bind(7).unwrap());
    meet(&a, &b).await;
    socket.connect(at_b(7)).unwrap();
    let udp = a.udp();
    let mut sends: Vec<Send> = Vec::new();
    let (mut next, mut received) = (0u16, Vec::new());
    // What was done, and what was begun and given up: that may have been done in part.
    let (mut done, mut begun) = (Vec::new(), Vec::new());
    let by_socket = Arc::<Woken>::default();
    let mut socket_waits = false;
    let mut stuck = false;

    for step in steps {
        match step {
            Step::Begin(way) => sends.push(Send::begin(way, &socket, &udp, &mut next)),
            Step::Poll(index) if !sends.is_empty() => {
                let index = index % sends.len();
                if sends[index].poll().is_ready() {
                    done.extend(sends.swap_remove(index).numbers);
                }
            }
            Step::GiveUp(index) if !sends.is_empty() => {
                let send = sends.swap_remove(index % sends.len());
                // What waits for room has taken none, unless it sends several.
                begun.extend(matches!(send.way, Way::Many(2..)).then_some(send.numbers));
            }
            Step::Poll(_) | Step::GiveUp(_) => {}
            Step::Stuck(now) => {
                stuck = now;
                cable.set_stuck(stuck);
            }
            Step::PollSocket => {
                by_socket.0.store(false, Ordering::Relaxed);
                let waker = Waker::from(Arc::clone(&by_socket));
                let mut cx = Context::from_waker(&waker);
                let polled = socket.poll_send(&mut cx, &next.to_be_bytes());
                socket_waits = polled.is_pending();
                if polled.is_ready() {
                    assert_eq!(polled, Poll::Ready(Ok(())));
                    done.push(next);
                }
                next += 1;
            }
            Step::Try => {
                match socket.try_send(&next.to_be_bytes()) {
                    Ok(()) => done.push(next),
                    Err(error) => assert_eq!(error, SendError::WouldBlock),
                }
                next += 1;
            }
        }
        settle().await;
        while let Ok(datagram) = reader.try_recv_datagram() {
            received.push(number(datagram.payload()));
        }
        if !stuck {
            // There is room: who was told that there is none has been told otherwise.
            for send in &sends {
                assert!(!send.polled || send.woken.0.load(Ordering::Relaxed), "{:?}", send.way);
            }
            assert!(!socket_waits || by_socket.0.load(Ordering::Relaxed));
        }
    }

    cable.set_stuck(false);
    let wakers: Vec<_> = sends.iter().map(|send| Arc::clone(&send.woken)).collect();
    let given_up = sends.iter().filter(|send| matches!(send.way, Way::Many(2..)));
    begun.extend(given_up.map(|send| send.numbers.clone()));
    drop((sends, socket));
    settle().await;
    while let Ok(datagram) = reader.try_recv_datagram() {
        received.push(number(datagram.payload()));
    }
    // Of several that were given up only the first ones have been sent.
    for numbers in begun {
        done.extend(numbers.iter().take_while(|number| received.contains(number)));
    }
    received.sort_unstable();
    done.sort_unstable();
    assert_eq!(received, done);
    for waker in wakers.iter().chain([&by_socket]) {
        assert_eq!(Arc::strong_count(waker), 1, "nobody keeps a waker");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_way_to_send_loses_anything_or_sends_it_twice(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        block_on(run(steps));
    }
}
