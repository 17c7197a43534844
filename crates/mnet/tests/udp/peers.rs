//! Sockets with a peer, what ICMP says of what they send, and what they ask for.

use std::num::NonZeroU16;
use std::task::{Context, Poll, Waker};

use mkernel::{Trigger, block_on, sleep, spawn, timeout, yield_now};
use mnet::{Destination, Filter, IcmpError, JoinError, Options, RecvError, RecvOptions, SendError};

use crate::wire::{A, B, meet, pair, pair_with};
use crate::{LONG, SHORT, at_b, number};

const CLOSED: u16 = 9;

#[test]
fn two_connected_sockets_talk_without_addresses() {
    block_on(async {
        let (a, b, _cable) = pair();
        let (left, right) = (a.udp().bind(1_000).unwrap(), b.udp().bind(7).unwrap());
        assert_eq!(left.send(b"x").await, Err(SendError::NotConnected));
        assert_eq!(left.try_send(b"x"), Err(SendError::NotConnected));
        left.connect(at_b(7)).unwrap();
        right.connect((A, 1_000)).unwrap();
        assert_eq!((left.peer(), right.peer()), (Some(at_b(7)), Some((A, 1_000).into())));

        left.send(b"question").await.unwrap();
        let mut buffer = [0; 20];
        assert_eq!(timeout(LONG, right.recv(&mut buffer)).await, Ok(Ok(8)));
        // A stranger's datagram is not the peer's.
        a.udp().send_from(1_001, b"stranger", at_b(7)).await.unwrap();
        right.clone().send(b"answer").await.unwrap();
        assert_eq!(timeout(LONG, left.recv_from(&mut buffer)).await, Ok(Ok((6, at_b(7)))));
        sleep(SHORT).await;
        assert_eq!(right.try_recv(&mut buffer), Err(RecvError::WouldBlock));

        right.disconnect();
        assert_eq!(right.peer(), None);
        a.udp().send_from(1_001, b"stranger", at_b(7)).await.unwrap();
        assert_eq!(timeout(LONG, right.recv(&mut buffer)).await, Ok(Ok(8)));
    });
}

#[test]
fn a_port_that_refuses_ends_one_call_of_a_connected_socket() {
    block_on(async {
        let (a, _b, _cable) = pair();
        let socket = a.udp().bind(0).unwrap();
        socket.connect(at_b(CLOSED)).unwrap();
        socket.send(b"x").await.unwrap();
        let refused = RecvError::DestinationUnreachable(IcmpError::PortUnreachable);
        let mut buffer = [0; 20];
        assert_eq!(timeout(LONG, socket.recv(&mut buffer)).await, Ok(Err(refused)));
        assert_eq!(socket.try_recv(&mut buffer), Err(RecvError::WouldBlock));

        socket.send(b"x").await.unwrap();
        timeout(LONG, socket.readable()).await.unwrap();
        let refused = SendError::DestinationUnreachable(IcmpError::PortUnreachable);
        assert_eq!(socket.send(b"x").await, Err(refused));
        assert_eq!(socket.send(b"x").await, Ok(()));
    });
}

#[test]
fn a_port_that_refuses_stops_no_server_and_is_told_to_who_asks() {
    block_on(async {
        let (a, b, _cable) = pair();
        let server = a.udp().bind(53).unwrap();
        let watcher = spawn({
            let server = server.clone();
            async move { server.recv_error().await }
        });
        server.send_to(b"x", at_b(CLOSED)).await.unwrap();
        let report = timeout(LONG, watcher).await.unwrap().unwrap().unwrap();
        assert_eq!((report.remote, report.error), (at_b(CLOSED), IcmpError::PortUnreachable));
        assert_eq!((report.local, report.reporter), ((A, 53).into(), B.into()));
        assert_eq!(server.try_recv_error(), Err(RecvError::WouldBlock));
        assert_eq!(server.stats().errors, 1);

        b.udp().send_to(b"question", (A, 53)).await.unwrap();
        let mut buffer = [0; 20];
        assert_eq!(timeout(LONG, server.recv(&mut buffer)).await, Ok(Ok(8)));
        assert_eq!(server.send_to(b"x", at_b(CLOSED)).await, Ok(()));
    });
}

#[test]
fn a_port_that_refuses_is_nothing_to_readers_of_a_port_by_its_number() {
    block_on(async {
        let (a, b, _cable) = pair();
        let udp = a.udp();
        let reader = spawn({
            let udp = udp.clone();
            async move { udp.recv_from(53, &mut [0; 20]).await }
        });
        yield_now().await;
        udp.send_from(53, b"x", at_b(CLOSED)).await.unwrap();
        timeout(LONG, async {
            while a.stats().icmp_errors_received == 0 {
                sleep(SHORT).await;
            }
        })
        .await
        .unwrap();
        assert!(!reader.is_finished());
        assert_eq!(udp.send_from(53, b"x", at_b(CLOSED)).await, Ok(()));
        b.udp().send_from(9, b"question", (A, 53)).await.unwrap();
        let received = timeout(LONG, reader).await.unwrap().unwrap();
        assert_eq!(received, Ok((8, (B, 9).into())));
    });
}

#[test]
fn bad_use_is_told_what_is_bad_about_it() {
    block_on(async {
        let (a, _b, cable) = pair();
        let socket = a.udp().bind((A, 7)).unwrap();
        let v6 = "[2001:db8::1]:9".parse::<std::net::SocketAddr>().unwrap();
        let send = async |to: Destination| socket.send_to(b"x", to).await.unwrap_err();
        let told = [
            (send((B, 0).into()).await, "Destination port is 0"),
            (send(v6.into()).await, "Source and destination are of different address families"),
            (
                socket.connect(v6).unwrap_err(),
                "Source and destination are of different address families",
            ),
            (send(([192, 0, 2, 1], 9).into()).await, "Route not found"),
            (send(([10, 0, 0, 255], 9).into()).await, "Broadcast is not allowed on this socket"),
            (send(Destination::from((B, 9)).source(B)).await, "Source address is not this host's"),
            (socket.send(b"x").await.unwrap_err(), "The socket is not connected"),
            (socket.send_to(&[0; 65_508], (B, 9)).await.unwrap_err(), "Packet too big"),
        ];
        for (error, expected) in told {
            assert_eq!(error.to_string(), expected);
        }
        let group = std::net::Ipv4Addr::new(232, 1, 2, 3);
        let v6_source = Filter::Include(vec!["2001:db8::1".parse().unwrap()]);
        assert_eq!(socket.join(B, Filter::ANY), Err(JoinError::NotMulticast));
        assert_eq!(socket.join(group, v6_source), Err(JoinError::Source));
        assert_eq!(socket.join(group, Filter::ANY), Err(JoinError::SourceSpecific));

        cable.cut();
        sleep(SHORT).await;
        assert_eq!(send((B, 9).into()).await, SendError::DeviceGone);
        assert_eq!(socket.try_recv(&mut []), Err(RecvError::DeviceGone));
        assert_eq!(socket.recv_error().await, Err(RecvError::DeviceGone));
    });
}

#[test]
fn what_a_socket_or_a_datagram_asks_for_is_what_arrives() {
    block_on(async {
        let (a, b, _cable) = pair();
        let (socket, server) = (a.udp().bind(1_000).unwrap(), b.udp().bind(7).unwrap());
        socket.set_hop_limit(9);
        socket.set_dscp(46);
        socket.set_ecn(1);
        socket.set_dont_fragment(true);
        let all = Options {
            hop_limit: Some(9),
            dscp: Some(46),
            ecn: Some(1),
            dont_fragment: Some(true),
            ..Options::default()
        };
        assert_eq!(socket.clone().options(), all);
        let told = async || {
            let datagram = timeout(LONG, server.recv_datagram()).await.unwrap().unwrap();
            (datagram.hop_limit(), datagram.dscp(), datagram.ecn())
        };
        socket.send_to(b"x", at_b(7)).await.unwrap();
        assert_eq!(told().await, (9, 46, 1));
        socket.send_to(b"x", Destination::from(at_b(7)).hop_limit(1).dscp(0)).await.unwrap();
        assert_eq!(told().await, (1, 0, 1));
        a.udp().send_to(b"x", Destination::from(at_b(7)).ecn(2)).await.unwrap();
        assert_eq!(told().await, (64, 0, 2));

        assert_eq!(socket.path_mtu(B), Ok(1_500));
        let too_big = socket.send_to(&[0; 1_473], at_b(7)).await;
        assert_eq!(too_big, Err(SendError::PacketTooBig { mtu: 1_500 }));
        let pieces = Destination::from(at_b(7)).dont_fragment(false);
        socket.send_to(&[0; 1_473], pieces).await.unwrap();
        assert_eq!(told().await, (9, 46, 1));
    });
}

#[test]
fn many_are_sent_and_received_at_once() {
    block_on(async {
        let (a, b, _cable) = pair();
        let (socket, server) = (a.udp().bind(0).unwrap(), b.udp().bind(7).unwrap());
        meet(&a, &b).await;
        let numbers: Vec<_> = (0..20u16).map(u16::to_be_bytes).collect();
        let all = numbers.iter().map(|number| (number, at_b(7)));
        assert_eq!(socket.send_many(all).await, Ok(20));
        sleep(SHORT).await;
        let mut datagrams = Vec::new();
        assert_eq!(server.recv_many(&mut datagrams, 0).await, Ok(0));
        assert_eq!(server.recv_many(&mut datagrams, 15).await, Ok(15));
        assert_eq!(server.recv_many(&mut datagrams, 15).await, Ok(5));
        let read = datagrams.iter().map(|datagram| number(datagram.payload()));
        assert!(read.eq(0..20));

        // It stops at the first that cannot be sent.
        let nowhere = ([192, 0, 2, 1], 9).into();
        let some = [at_b(7), at_b(7), nowhere, at_b(7)].map(|to| (b"x", to));
        assert_eq!(socket.send_many(some).await, Ok(2));
        // The rest says why, and goes nowhere either.
        let rest = [nowhere, at_b(7)].map(|to| (b"x", to));
        assert_eq!(socket.send_many(rest).await, Err(SendError::RouteNotFound));

        datagrams.clear();
        let buffer: Vec<u8> = (0..=u8::MAX).collect();
        let length = NonZeroU16::new(100).unwrap();
        socket.send_segments(&buffer, length, at_b(7)).await.unwrap();
        socket.send_segments(&[], length, at_b(7)).await.unwrap();
        sleep(SHORT).await;
        assert_eq!(server.recv_many(&mut datagrams, 15).await, Ok(5));
        let segments: Vec<_> = datagrams[2..].iter().map(|datagram| datagram.payload()).collect();
        assert_eq!(segments, buffer.chunks(100).collect::<Vec<_>>());
    });
}

#[test]
fn what_is_there_is_taken_without_a_wait_and_by_polls() {
    block_on(async {
        let (a, b, _cable) = pair();
        let (socket, server) = (a.udp().bind(0).unwrap(), b.udp().bind(7).unwrap());
        meet(&a, &b).await;
        let mut datagrams = Vec::new();
        assert_eq!(server.try_recv_many(&mut datagrams, 4), Err(RecvError::WouldBlock));
        assert_eq!(server.try_recv_many(&mut datagrams, 0), Ok(0));
        let mut nobody = Context::from_waker(Waker::noop());
        let mut buffer = [0; 4];
        assert_eq!(server.poll_recv(&mut nobody, &mut buffer), Poll::Pending);
        assert_eq!(socket.poll_send(&mut nobody, b"x"), Poll::Ready(Err(SendError::NotConnected)));
        socket.connect(at_b(7)).unwrap();
        for count in 0..6u8 {
            assert_eq!(socket.poll_send(&mut nobody, &[count]), Poll::Ready(Ok(())));
        }
        sleep(SHORT).await;
        assert_eq!(server.poll_recv(&mut nobody, &mut buffer), Poll::Ready(Ok(1)));
        assert_eq!(server.try_recv_many(&mut datagrams, 4), Ok(4));
        assert_eq!(server.try_recv_many(&mut datagrams, 4), Ok(1));
        let read: Vec<_> = datagrams.iter().map(|datagram| datagram.payload()[0]).collect();
        assert_eq!(read, [1, 2, 3, 4, 5]);
    });
}

#[test]
fn one_senders_datagrams_are_handed_over_in_their_packets() {
    block_on(async {
        let (a, b, _cable) = pair();
        let (udp, socket) = (b.udp(), b.udp().bind(8).unwrap());
        let stop = Trigger::new();
        let nobody = RecvOptions::new().source([10, 0, 0, 99]).trigger(&stop);
        let from_a = RecvOptions::new().source(A);
        assert_eq!(timeout(SHORT, udp.recv_from(7, &mut [])).await.ok(), None);
        for port in [7, 8] {
            a.udp().send_to(b"hello", at_b(port)).await.unwrap();
        }
        sleep(SHORT).await;
        stop.fire();
        assert_eq!(udp.recv_datagram_with(7, nobody).await.unwrap_err(), RecvError::Fired);
        assert_eq!(socket.recv_datagram_with(nobody).await.unwrap_err(), RecvError::Fired);
        let datagram = udp.recv_datagram_with(7, from_a).await.unwrap();
        assert_eq!((datagram.payload(), datagram.local()), (&b"hello"[..], at_b(7)));
        assert_eq!(socket.recv_datagram_with(from_a).await.unwrap().payload(), b"hello");
    });
}

#[test]
fn one_sender_is_waited_for_or_a_trigger() {
    block_on(async {
        let (a, b, _cable) = pair();
        let udp = b.udp();
        let stop = Trigger::new();
        let reader = spawn({
            let (udp, stop) = (udp.clone(), stop.clone());
            async move {
                let options = RecvOptions::new().source([10, 0, 0, 99]).trigger(&stop);
                udp.recv_from_with(7, &mut [0; 20], options).await
            }
        });
        yield_now().await;
        a.udp().send_to(b"of another", at_b(7)).await.unwrap();
        sleep(SHORT).await;
        assert!(!reader.is_finished());
        stop.fire();
        assert_eq!(timeout(LONG, reader).await.unwrap().unwrap(), Err(RecvError::Fired));
        // What was not for that reader is there for others.
        let options = RecvOptions::new().source(A);
        let (length, from) = udp.recv_from_with(7, &mut [0; 20], options).await.unwrap();
        assert_eq!((length, from.ip()), (10, A.into()));
    });
}

#[test]
fn without_room_a_sender_is_told_or_woken_when_there_is_some() {
    block_on(async {
        let (a, b, cable) = pair_with(|config| config.transmit_queue = 4);
        let (socket, server) = (a.udp().bind(0).unwrap(), b.udp().bind(7).unwrap());
        meet(&a, &b).await;
        cable.set_stuck(true);
        let sent = std::iter::from_fn(|| socket.try_send_to(b"x", at_b(7)).ok()).count();
        assert_eq!(sent, 4);
        assert_eq!(socket.try_send_to(b"x", at_b(7)), Err(SendError::WouldBlock));
        let mut nobody = Context::from_waker(Waker::noop());
        assert_eq!(socket.poll_send_to(&mut nobody, b"x", at_b(7)), Poll::Pending);
        let sender = spawn({
            let socket = socket.clone();
            async move {
                std::future::poll_fn(|cx| socket.poll_send_to(cx, b"x", at_b(7))).await?;
                socket.writable().await;
                socket.try_send_to(b"x", at_b(7))
            }
        });
        sleep(SHORT).await;
        assert!(!sender.is_finished());
        cable.set_stuck(false);
        assert_eq!(timeout(LONG, sender).await.unwrap().unwrap(), Ok(()));
        sleep(SHORT).await;
        assert_eq!(server.stats().received, 6);
    });
}

#[test]
fn without_a_queue_for_neighbours_they_are_found_all_the_same() {
    block_on(async {
        let (a, b, _cable) = pair_with(|config| config.neighbor_queue = 0);
        let (client, server) = (a.udp().bind(0).unwrap(), b.udp().bind(7).unwrap());
        sleep(SHORT).await;
        assert_eq!(client.send_to(b"x", at_b(7)).await, Err(SendError::NoBuffer));
        // Nothing happens meanwhile that would have the request for it sent all the same.
        for _ in 0..8 {
            yield_now().await;
        }
        client.send_to(b"x", at_b(7)).await.unwrap();
        timeout(LONG, server.recv(&mut [0; 1])).await.unwrap().unwrap();
    });
}
