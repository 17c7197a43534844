//! UDP over given IPv4 and IPv6 layers, without a stack.

#![cfg(feature = "layers")]
#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

mod tunnel;

use std::net::SocketAddr;
use std::time::Duration;

use mkernel::{block_on, spawn, timeout, yield_now};
use mnet::{BindError, Drop, Filter, Holder, IcmpError, JoinError, RecvError, Report, SendError};

use crate::tunnel::tunnel;

const LONG: Duration = Duration::from_secs(30);

#[test]
fn both_families_are_asked_and_answered_by_the_layers_that_were_given() {
    block_on(async {
        let (a, b) = tunnel();
        let server = b.udp.bind(53).unwrap();
        spawn(async move {
            while let Ok(mut datagram) = server.recv_datagram().await {
                datagram.payload_mut().make_ascii_uppercase();
                datagram.reply().await.unwrap();
            }
        });
        for to in ["10.9.0.2:53", "[fd09::2]:53"] {
            let to: SocketAddr = to.parse().unwrap();
            let client = a.udp.bind(0).unwrap();
            client.connect(to).unwrap();
            client.send(b"question").await.unwrap();
            let mut buffer = [0; 100];
            let answer = timeout(LONG, client.recv_from(&mut buffer)).await.unwrap();
            assert_eq!(answer, Ok((8, to)));
            assert_eq!(&buffer[..8], b"QUESTION");
        }
    });
}

#[test]
fn reading_a_port_by_its_number_and_sending_without_one_work_as_on_a_stack() {
    block_on(async {
        let (a, b) = tunnel();
        let reader = spawn({
            let udp = b.udp.clone();
            async move { udp.recv_from(7, &mut [0; 4]).await }
        });
        yield_now().await;
        a.udp.send_from_with(1_000, ([10, 9, 0, 2], 7), 2, |room| room.fill(7)).await.unwrap();
        let received = timeout(LONG, reader).await.unwrap().unwrap();
        assert_eq!(received, Ok((2, ([10, 9, 0, 1], 1_000).into())));
        let in_use = BindError::PortInUse { port: 7, by: Holder::Reader };
        assert_eq!(b.udp.bind(7).unwrap_err(), in_use);
    });
}

#[test]
fn what_the_layers_do_not_do_is_said() {
    block_on(async {
        let (a, b) = tunnel();
        let socket = a.udp.bind(7).unwrap();
        let nowhere = socket.send_to(b"x", ([192, 0, 2, 1], 7)).await;
        assert_eq!(nowhere, Err(SendError::RouteNotFound));
        let big = socket.send_to(&[0; 1_400], ([10, 9, 0, 2], 7)).await;
        assert_eq!(big, Err(SendError::PacketTooBig { mtu: 1_400 }));
        assert_eq!(socket.path_mtu([10, 9, 0, 2]), Ok(1_400));
        assert_eq!(socket.join([239, 1, 2, 3], Filter::ANY), Err(JoinError::Unsupported));
        assert!(!socket.leave([239, 1, 2, 3]));
        assert!(a.udp.bind(([10, 9, 0, 2], 9)).is_err());

        // Nobody listens: that is counted, and the packet comes back to who handed it up.
        socket.send_to(b"x", ([10, 9, 0, 2], 7)).await.unwrap();
        timeout(LONG, async {
            while b.input.stats().dropped[Drop::UdpNoSocket] == 0 {
                yield_now().await;
            }
        })
        .await
        .unwrap();
    });
}

#[test]
fn errors_and_the_end_of_the_device_come_up_from_the_layers() {
    block_on(async {
        let (a, _b) = tunnel();
        let socket = a.udp.bind(7).unwrap();
        let peer: SocketAddr = ([10, 9, 0, 2], 9).into();
        socket.connect(peer).unwrap();
        let waiting = spawn({
            let socket = socket.clone();
            async move { socket.recv(&mut [0; 1]).await }
        });
        yield_now().await;
        let error = IcmpError::PortUnreachable;
        let local = ([10, 9, 0, 1], 7).into();
        a.input.handle_error(Report { local, remote: peer, reporter: peer.ip(), error });
        let refused = Err(RecvError::DestinationUnreachable(error));
        assert_eq!(timeout(LONG, waiting).await.unwrap().unwrap(), refused);

        let waiting = spawn({
            let socket = socket.clone();
            async move { socket.recv(&mut [0; 1]).await }
        });
        yield_now().await;
        a.input.handle_gone();
        assert_eq!(timeout(LONG, waiting).await.unwrap().unwrap(), Err(RecvError::DeviceGone));
        assert_eq!(socket.send(b"x").await, Err(SendError::DeviceGone));
    });
}

#[test]
fn when_the_last_handle_is_gone_nothing_more_is_taken() {
    block_on(async {
        let (a, b) = tunnel();
        let input = b.input.clone();
        let socket = b.udp.bind(7).unwrap();
        drop(b);
        a.udp.send_to(b"x", ([10, 9, 0, 2], 7)).await.unwrap();
        assert_eq!(timeout(LONG, socket.recv(&mut [0; 4])).await, Ok(Ok(1)));
        drop(socket);
        assert_eq!(input.stats(), mnet::Stats::default());
    });
}
