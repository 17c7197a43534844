//! What one socket does to the others: nothing.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mkernel::{JoinHandle, block_on, sleep, spawn, timeout, yield_now};
use mnet::{RecvError, SendError};

use crate::wire::{A, meet, pair, pair_with};
use crate::{LONG, SHORT, at_b, number};

#[test]
fn a_flooded_socket_costs_others_nothing_that_fits_their_queues() {
    block_on(async {
        let (a, b, _cable) = pair();
        meet(&a, &b).await;
        let flooded = b.udp().bind(1_000).unwrap();
        let other = b.udp().bind(7).unwrap();
        let flood = spawn({
            let udp = a.udp();
            async move {
                loop {
                    udp.send_to(&[0; 1_000], at_b(1_000)).await.unwrap();
                }
            }
        });
        // A reader that reads at its ease: as many as its queue holds, each time.
        let mut expected = 0;
        for _ in 0..20 {
            for number in 0..256u16 {
                a.udp().send_to(&number.to_be_bytes(), at_b(7)).await.unwrap();
            }
            while other.stats().received < expected + 256 {
                assert_eq!(other.stats().dropped, 0);
                yield_now().await;
            }
            expected += 256;
            let mut datagrams = Vec::new();
            assert_eq!(other.recv_many(&mut datagrams, 1_000).await, Ok(256));
            let read = datagrams.iter().map(|datagram| number(datagram.payload()));
            assert!(read.eq(0..256));
        }
        flood.abort();
        assert!(flooded.stats().dropped > 1_000, "{:?}", flooded.stats());
        assert_eq!(b.stats().frames_missed, 0);
    });
}

#[test]
fn datagrams_that_are_kept_for_ever_take_their_packets_and_no_more() {
    block_on(async {
        let (a, b, _cable) = pair();
        meet(&a, &b).await;
        let (hoarder, other) = (b.udp().bind(1_000).unwrap(), b.udp().bind(7).unwrap());
        let mut kept = Vec::new();
        while b.stats().frames_missed == 0 {
            a.udp().send_to(b"keep me", at_b(1_000)).await.unwrap();
            yield_now().await;
            while let Ok(datagram) = hoarder.try_recv_datagram() {
                kept.push(datagram);
            }
        }
        // An eighth of the pool is there to send from.
        assert_eq!(kept.len(), 1_024 - 1_024 / 8);
        for _ in 0..200 {
            other.send_to(b"x", (A, 9)).await.unwrap();
            yield_now().await;
        }
        assert!(kept.iter().all(|datagram| datagram.payload() == b"keep me"));
        // One that is given back is one that can be received.
        kept.truncate(kept.len() - 10);
        for count in 0..10u16 {
            a.udp().send_to(&count.to_be_bytes(), at_b(7)).await.unwrap();
        }
        let mut buffer = [0; 2];
        for count in 0..10 {
            timeout(LONG, other.recv(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(number(&buffer), count);
        }
    });
}

#[test]
fn without_a_packet_to_send_from_a_sender_is_told_and_loses_nothing_else() {
    block_on(async {
        let (a, b, _cable) = pair_with(|config| config.packets = 64);
        meet(&a, &b).await;
        let (socket, server) = (a.udp().bind(5_000).unwrap(), b.udp().bind(7).unwrap());
        b.udp().send_to(b"keep me", (A, 5_000)).await.unwrap();
        let kept = timeout(LONG, socket.recv_datagram()).await.unwrap().unwrap();
        // What nobody takes from a queue that is as long as the pool is large.
        let mut hoard = Vec::new();
        let idle = a.udp().bind(5_001).unwrap();
        while a.stats().frames_missed == 0 {
            b.udp().send_to(b"never read", (A, 5_001)).await.unwrap();
            yield_now().await;
            while let Ok(datagram) = idle.try_recv_datagram() {
                hoard.push(datagram);
            }
        }
        // Those that are kept for sending go one by one, and come back as the device takes them.
        let mut sent = 0;
        let refused = loop {
            match socket.try_send_to(b"x", at_b(7)) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((refused, sent), (SendError::NoBuffer, 64 / 8));
        let refused = kept.reply_with(3_000, |_| ()).await;
        assert_eq!(refused, Err(SendError::NoBuffer));
        sleep(SHORT).await;
        assert_eq!(server.stats().received, sent);
        socket.send_to(b"x", at_b(7)).await.unwrap();
        // The newest of too many is lost; what was taken is as it was.
        assert!(hoard.iter().all(|datagram| datagram.payload() == b"never read"));
        drop(hoard);
        b.udp().send_to(b"again", (A, 5_000)).await.unwrap();
        assert_eq!(timeout(LONG, socket.recv(&mut [0; 5])).await, Ok(Ok(5)));
    });
}

#[test]
fn what_does_not_fit_a_queue_is_dropped_and_told_with_the_next() {
    block_on(async {
        let (a, b, _cable) = pair_with(|config| config.receive_queue = 4);
        meet(&a, &b).await;
        let socket = b.udp().bind(7).unwrap();
        for count in 0..7u16 {
            a.udp().send_to(&count.to_be_bytes(), at_b(7)).await.unwrap();
        }
        sleep(SHORT).await;
        let mut datagrams = Vec::new();
        assert_eq!(socket.try_recv_many(&mut datagrams, 9), Ok(4));
        a.udp().send_to(&7u16.to_be_bytes(), at_b(7)).await.unwrap();
        datagrams.push(timeout(LONG, socket.recv_datagram()).await.unwrap().unwrap());
        let told: Vec<_> = datagrams
            .iter()
            .map(|datagram| (number(datagram.payload()), datagram.dropped_before()))
            .collect();
        assert_eq!(told, [(0, 0), (1, 0), (2, 0), (3, 0), (7, 3)]);
        assert_eq!(socket.stats().dropped, 3);
    });
}

#[test]
fn what_is_queued_goes_with_its_socket_and_the_next_one_hears_none_of_it() {
    block_on(async {
        let (a, b, _cable) = pair();
        meet(&a, &b).await;
        let socket = b.udp().bind(7).unwrap();
        for _ in 0..10 {
            a.udp().send_to(b"for the first", at_b(7)).await.unwrap();
        }
        sleep(SHORT).await;
        assert_eq!(socket.stats().received, 10);
        let kept = socket.recv_datagram().await.unwrap();
        drop(socket);
        let socket = b.udp().bind(7).unwrap();
        assert!(timeout(SHORT, socket.recv(&mut [0; 1])).await.is_err());
        // One that was taken out lives on, and is answered from the port that it came to.
        let client = a.udp().bind(5_000).unwrap();
        assert_eq!(kept.payload(), b"for the first");
        kept.reply().await.unwrap();
        a.udp().send_to(b"for the second", at_b(7)).await.unwrap();
        assert_eq!(timeout(LONG, socket.recv(&mut [0; 20])).await, Ok(Ok(14)));
        drop(client);
    });
}

#[test]
fn each_datagram_goes_to_one_of_several_readers_in_the_order_that_they_came() {
    block_on(async {
        let (a, b, _cable) = pair();
        meet(&a, &b).await;
        let udp = b.udp();
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let udp = udp.clone();
                spawn(async move {
                    let mut numbers = Vec::new();
                    let mut buffer = [0; 2];
                    while let Ok(received) =
                        timeout(Duration::from_millis(200), udp.recv_from(7, &mut buffer)).await
                    {
                        received.unwrap();
                        numbers.push(number(&buffer));
                    }
                    numbers
                })
            })
            .collect();
        yield_now().await;
        for count in 0..400u16 {
            a.udp().send_to(&count.to_be_bytes(), at_b(7)).await.unwrap();
            if count % 7 == 0 {
                yield_now().await;
            }
        }
        let mut all = Vec::new();
        for reader in readers {
            let numbers = reader.await.unwrap();
            assert!(numbers.is_sorted());
            all.extend(numbers);
        }
        all.sort_unstable();
        assert_eq!(all, (0..400).collect::<Vec<_>>());
    });
}

#[test]
fn of_readers_that_wait_none_is_always_late() {
    block_on(async {
        let (a, b, _cable) = pair();
        meet(&a, &b).await;
        // Those that wait again at once, and those that first do what is to be done.
        for works in [false, true] {
            let socket = b.udp().bind(7).unwrap();
            let counts: [Rc<Cell<u32>>; 4] = Default::default();
            let readers = counts.each_ref().map(|count| {
                let (socket, count) = (socket.clone(), Rc::clone(count));
                spawn(async move {
                    loop {
                        socket.recv(&mut [0; 1]).await.unwrap();
                        count.set(count.get() + 1);
                        if works {
                            yield_now().await;
                        }
                    }
                })
            });
            for _ in 0..100 {
                a.udp().send_to(b"x", at_b(7)).await.unwrap();
                // All is still again before the next.
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(counts.each_ref().map(|count| count.get()), [25; 4]);
            readers.iter().for_each(JoinHandle::abort);
            yield_now().await;
            drop(readers);
            yield_now().await;
            drop(socket);
        }
    });
}

/// Lets tasks run for half a minute at most, on a thread of their own, and says whether they came to
/// an end.
fn ends<F: Future<Output = ()> + 'static>(tasks: impl FnOnce() -> F + Send + 'static) -> bool {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        block_on(tasks());
        sender.send(())
    });
    receiver.recv_timeout(LONG).is_ok()
}

#[test]
fn whoever_sends_without_an_end_keeps_nobody_from_running() {
    assert!(ends(async || {
        let (a, b, _cable) = pair();
        let sink = b.udp().bind(7).unwrap();
        // Its address is yet to be found.
        spawn(async move {
            loop {
                a.udp().send_to(b"x", at_b(7)).await.unwrap();
            }
        });
        sink.recv(&mut [0; 1]).await.unwrap();
    }));
}

#[test]
fn whoever_sends_without_an_end_and_without_success_keeps_nobody_from_running() {
    assert!(ends(async || {
        let (a, b, _cable) = pair();
        let (socket, sink) = (a.udp().bind(0).unwrap(), b.udp().bind(7).unwrap());
        spawn({
            let socket = socket.clone();
            async move {
                loop {
                    // There is no way there.
                    let refused = socket.send_to(b"x", ([192, 0, 2, 1], 7)).await;
                    assert_eq!(refused, Err(SendError::RouteNotFound));
                    let refused = socket.send_with(at_b(7), 100_000, |_| ()).await;
                    assert!(refused.is_err());
                }
            }
        });
        socket.send_to(b"x", at_b(7)).await.unwrap();
        sink.recv(&mut [0; 1]).await.unwrap();
    }));
}

#[test]
fn whoever_sends_what_does_not_have_to_wait_is_told_to_in_the_end() {
    block_on(async {
        let (a, b, _cable) = pair();
        let (socket, sink) = (a.udp().bind(0).unwrap(), b.udp().bind(7).unwrap());
        let refused = || (0..10_000).find_map(|_| socket.try_send_to(b"x", at_b(7)).err());
        for _ in 0..3 {
            assert_eq!(refused(), Some(SendError::WouldBlock));
            assert_eq!(socket.try_send_to(b"x", at_b(7)), Err(SendError::WouldBlock));
            timeout(LONG, socket.writable()).await.unwrap();
        }
        timeout(LONG, sink.recv(&mut [0; 1])).await.unwrap().unwrap();
        // Nor is anything needed but that others have their turn.
        assert_eq!(refused(), Some(SendError::WouldBlock));
        sleep(SHORT).await;
        socket.try_send_to(b"x", at_b(7)).unwrap();
    });
}

#[test]
fn whoever_goes_on_after_the_device_is_gone_keeps_nobody_from_running() {
    assert!(ends(async || {
        let (a, b, cable) = pair();
        let (server, client) = (b.udp().bind(7).unwrap(), a.udp().bind(9).unwrap());
        spawn(async move {
            loop {
                // As servers have it: an error is noted, and the next datagram waited for.
                let _ = server.recv(&mut [0; 1]).await;
            }
        });
        spawn(async move {
            loop {
                client.writable().await;
                client.readable().await;
                let _ = client.send_to(b"x", at_b(7)).await;
                let _ = client.try_send_to(b"x", at_b(7));
            }
        });
        sleep(SHORT).await;
        cable.cut();
        sleep(SHORT).await;
        let socket = a.udp().bind(0).unwrap();
        for _ in 0..1_000 {
            assert_eq!(socket.try_recv(&mut [0; 1]), Err(RecvError::DeviceGone));
            assert_eq!(socket.try_send_to(b"x", at_b(7)), Err(SendError::DeviceGone));
        }
    }));
}
