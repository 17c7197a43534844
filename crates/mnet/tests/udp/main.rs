//! What the API promises, on two stacks and a cable.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

mod addresses;
mod cancel;
mod cancel_send;
mod fairness;
mod groups;
mod logging;
mod peers;
mod traits;
mod wire;

use std::cell::Cell;
use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use mkernel::{Elapsed, block_on, sleep, spawn, timeout, yield_now};
use mnet::{BindError, Filter, Holder, RecvError, SendError, StackError};

use crate::wire::{A, B, meet, pair, pair_with};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(20);

fn at_b(port: u16) -> SocketAddr {
    (B, port).into()
}

#[test]
fn a_question_is_answered_from_where_it_was_asked() {
    block_on(async {
        let (a, b, _cable) = pair();
        let server = b.udp().bind(53).unwrap();
        spawn(async move {
            let mut buffer = [0; 1_500];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            server.send_to(&buffer[..length], from).await.unwrap();
        });
        let client = a.udp().bind(0).unwrap();
        assert_ne!(client.local().port, 0);
        client.send_to(b"question", at_b(53)).await.unwrap();
        let mut buffer = [0; 1_500];
        let answered = timeout(LONG, client.recv_from(&mut buffer)).await.unwrap();
        assert_eq!(answered, Ok((8, at_b(53))));
        assert_eq!(&buffer[..8], b"question");
    });
}

#[test]
fn what_comes_between_two_calls_waits_and_what_does_not_fit_is_discarded() {
    block_on(async {
        let (a, b, _cable) = pair();
        let udp = b.udp();
        let mut buffer = [0; 4];
        // The first call opens the port, also if it gets nothing.
        assert_eq!(timeout(SHORT, udp.recv_from(7, &mut buffer)).await, Err(Elapsed));
        for payload in [&b"longer than four"[..], b"two", b""] {
            a.udp().send_to(payload, at_b(7)).await.unwrap();
        }
        sleep(SHORT).await;
        let (length, from) = udp.recv_from(7, &mut buffer).await.unwrap();
        assert_eq!((length, &buffer, from.ip()), (4, b"long", A.into()));
        assert_eq!(udp.recv_from(7, &mut buffer).await.unwrap().0, 3);
        assert_eq!(&buffer[..3], b"two");
        assert_eq!(udp.recv_from(7, &mut buffer).await.unwrap().0, 0);
    });
}

#[test]
fn a_port_that_nobody_has_read_from_takes_nothing() {
    block_on(async {
        let (a, b, _cable) = pair();
        a.udp().send_to(b"x", at_b(7)).await.unwrap();
        sleep(SHORT).await;
        assert_eq!(b.stats().dropped[mnet::Drop::UdpNoSocket], 1);
        assert_eq!(b.stats().icmp_errors, 1);
        let mut buffer = [0; 4];
        assert_eq!(timeout(SHORT, b.udp().recv_from(7, &mut buffer)).await, Err(Elapsed));
    });
}

#[test]
fn waits_that_are_given_up_lose_no_datagram_and_wake_the_others() {
    block_on(async {
        let (a, b, _cable) = pair();
        let socket = b.udp().bind(7).unwrap();
        let sender = spawn(async move {
            for number in 0..500u16 {
                a.udp().send_to(&number.to_be_bytes(), at_b(7)).await.unwrap();
                if number % 3 == 0 {
                    yield_now().await;
                }
            }
            a
        });
        // Readers that give up after so many polls, woken or not, and one that never does.
        let taken = Rc::new(Cell::new(0));
        let patient = spawn({
            let (socket, taken) = (socket.clone(), taken.clone());
            async move {
                let mut numbers = Vec::new();
                while taken.get() < 500 {
                    if let Ok(datagram) = timeout(SHORT, socket.recv_datagram()).await {
                        numbers.push(number(datagram.unwrap().payload()));
                        taken.set(taken.get() + 1);
                    }
                }
                numbers
            }
        });
        let mut numbers = Vec::new();
        let mut polls = 0;
        while taken.get() < 500 {
            polls += 1;
            let mut receive = pin!(socket.recv_datagram());
            for _ in 0..polls % 4 {
                let polled = poll_fn(|cx| Poll::Ready(receive.as_mut().poll(cx))).await;
                if let Poll::Ready(datagram) = polled {
                    numbers.push(number(datagram.unwrap().payload()));
                    taken.set(taken.get() + 1);
                    break;
                }
                yield_now().await;
            }
            if polls % 4 == 0 {
                yield_now().await;
            }
        }
        numbers.extend(patient.await.unwrap());
        drop(sender.await);
        numbers.sort_unstable();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    });
}

fn number(payload: &[u8]) -> u16 {
    u16::from_be_bytes(payload.try_into().unwrap())
}

#[test]
fn a_port_is_free_again_when_the_last_clone_is_dropped() {
    block_on(async {
        let (_a, b, _cable) = pair();
        let udp = b.udp();
        let socket = udp.bind(7).unwrap();
        let clone = socket.clone();
        drop(socket);
        let in_use = BindError::PortInUse { port: 7, by: Holder::Socket(7.into()) };
        assert_eq!(udp.bind(7).unwrap_err(), in_use);
        assert_eq!(udp.recv_from(7, &mut [0; 1]).await, Err(RecvError::Port(in_use)));
        drop(clone);
        assert!(udp.bind((B, 7)).is_ok());
        assert_eq!(udp.bind((A, 7)).unwrap_err(), BindError::AddressNotLocal(A.into()));
        assert_eq!(udp.recv_from(0, &mut [0; 1]).await, Err(RecvError::Port(BindError::PortZero)));
    });
}

#[test]
fn without_a_port_of_its_own_each_datagram_leaves_from_a_random_one() {
    block_on(async {
        let (a, b, _cable) = pair();
        let socket = b.udp().bind(7).unwrap();
        let mut ports = HashSet::new();
        for _ in 0..100 {
            a.udp().send_with(at_b(7), 3, |room| room.copy_from_slice(b"abc")).await.unwrap();
            let datagram = timeout(LONG, socket.recv_datagram()).await.unwrap().unwrap();
            assert_eq!(datagram.payload(), b"abc");
            assert!(datagram.remote().port() >= 32_768);
            ports.insert(datagram.remote().port());
        }
        assert!(ports.len() > 90, "{ports:?}");
    });
}

#[test]
fn an_answer_goes_out_in_the_packet_of_the_question() {
    block_on(async {
        let (a, b, _cable) = pair();
        let server = b.udp().bind(7).unwrap();
        let client = a.udp().bind(5_000).unwrap();
        let mut buffer = [0; 1_500];

        client.send_to(b"hello", at_b(7)).await.unwrap();
        let mut datagram = timeout(LONG, server.recv_datagram()).await.unwrap().unwrap();
        assert_eq!((datagram.remote(), datagram.local()), ((A, 5_000).into(), at_b(7)));
        datagram.payload_mut().make_ascii_uppercase();
        datagram.reply().await.unwrap();
        let (length, from) = client.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&b"HELLO"[..], at_b(7)));

        for (length, expected) in [(3, &b"hey"[..]), (8, b"heyloxyz")] {
            client.send_to(b"hello", at_b(7)).await.unwrap();
            let datagram = server.recv_datagram().await.unwrap();
            let fill = |room: &mut [u8]| {
                room[2] = b'y';
                room.iter_mut().skip(5).zip(*b"xyz").for_each(|(to, from)| *to = from);
            };
            datagram.reply_with(length, fill).await.unwrap();
            let (length, _) = client.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], expected);
        }

        for length in [65_508, 100_000] {
            client.send_to(b"hello", at_b(7)).await.unwrap();
            let datagram = server.recv_datagram().await.unwrap();
            let refused = datagram.reply_with(length, |_| ()).await;
            assert_eq!(refused, Err(SendError::PacketTooBig { mtu: 65_535 }));
            let refused = client.send_with(at_b(7), length, |_| ()).await;
            assert_eq!(refused, Err(SendError::PacketTooBig { mtu: 65_535 }));
        }
    });
}

#[test]
fn senders_wait_while_the_device_takes_nothing_and_go_on_when_it_does() {
    block_on(async {
        let (a, b, cable) = pair_with(|config| config.transmit_queue = 10);
        let socket = b.udp().bind(7).unwrap();
        meet(&a, &b).await;

        cable.set_stuck(true);
        let sent = Rc::new(Cell::new(0));
        let sender = spawn({
            let (udp, sent) = (a.udp(), sent.clone());
            async move {
                for _ in 0..50 {
                    udp.send_to(b"x", at_b(7)).await.unwrap();
                    sent.set(sent.get() + 1);
                }
            }
        });
        sleep(SHORT).await;
        assert_eq!(sent.get(), 10);
        cable.set_stuck(false);
        timeout(LONG, sender).await.unwrap().unwrap();
        sleep(SHORT).await;
        assert_eq!(socket.stats().received, 50);
    });
}

#[test]
fn what_was_sent_last_is_with_the_device_after_a_flush() {
    block_on(async {
        let (a, b, _cable) = pair();
        let socket = b.udp().bind(7).unwrap();
        // The neighbour is not known yet, and is waited for too.
        for _ in 0..3 {
            a.udp().send_to(b"bye", at_b(7)).await.unwrap();
        }
        timeout(LONG, a.flush()).await.unwrap();
        drop(a);
        for _ in 0..3 {
            timeout(LONG, socket.recv_datagram()).await.unwrap().unwrap();
        }
    });
}

#[test]
fn when_the_device_is_gone_everybody_is_told() {
    block_on(async {
        let (a, b, cable) = pair();
        let socket = b.udp().bind(7).unwrap();
        let reader = spawn({
            let socket = socket.clone();
            async move { socket.recv_datagram().await.map(drop) }
        });
        yield_now().await;
        cable.cut();
        assert_eq!(timeout(LONG, reader).await.unwrap(), Ok(Err(RecvError::DeviceGone)));
        let refused = socket.send_to(b"x", SocketAddr::from((A, 7))).await;
        assert_eq!(refused, Err(SendError::DeviceGone));
        drop(a);
    });
}

#[test]
fn when_the_device_is_gone_a_sender_is_told_whatever_was_asked_of_the_stack_since() {
    block_on(async {
        let (a, _b, cable) = pair();
        let socket = a.udp().bind(7).unwrap();
        cable.cut();
        sleep(SHORT).await;
        assert_eq!(socket.send_to(b"x", at_b(7)).await, Err(SendError::DeviceGone));
        let packets = a.stats().frames_sent;
        for _ in 0..2_000 {
            socket.join([239, 1, 2, 3], Filter::ANY).unwrap();
            assert!(socket.leave([239, 1, 2, 3]));
        }
        // What is reported of groups is not kept.
        assert!(a.stats().frames_sent > packets + 1_024, "{:?}", a.stats());
        let sent = timeout(LONG, socket.send_to(b"x", at_b(7))).await;
        assert_eq!(sent, Ok(Err(SendError::DeviceGone)));
    });
}

#[test]
fn the_device_is_let_go_with_the_last_handle() {
    block_on(async {
        let (a, b, cable) = pair();
        let socket = b.udp().bind(7).unwrap();
        a.udp().send_to(b"x", at_b(7)).await.unwrap();
        let kept = timeout(LONG, socket.recv_datagram()).await.unwrap().unwrap();
        drop((a, b));
        yield_now().await;
        assert_eq!(cable.plugs(), 1);
        drop(socket);
        yield_now().await;
        // A datagram can still be answered.
        assert_eq!(cable.plugs(), 1);
        drop(kept);
        yield_now().await;
        assert_eq!(cable.plugs(), 0);
    });
}

#[test]
fn a_stack_on_no_device_says_so() {
    block_on(async {
        let config = mnet::Config::new("10.0.0.2/24".parse().unwrap());
        let error = mnet::stack("nonesuch").config(config).await.unwrap_err();
        assert!(matches!(error, StackError::Device(_)));
        assert_eq!(error.to_string(), "no network device 'nonesuch': this image has none");
    });
}
