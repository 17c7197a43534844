//! `embedded-nal-async`.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use embedded_io_async::{Error, ErrorKind};
use embedded_nal_async::{ConnectedUdp, UdpStack, UnconnectedUdp};
use mkernel::{block_on, spawn};

use super::soon;
use crate::wire::{A, B, pair};

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Answers one datagram from the address that was asked; gives that.
async fn answer_once<S: UnconnectedUdp>(socket: &mut S) -> Result<SocketAddr, S::Error> {
    let mut buffer = [0; 100];
    let (length, local, remote) = socket.receive_into(&mut buffer).await?;
    buffer[..length].make_ascii_uppercase();
    socket.send(local, remote, &buffer[..length]).await?;
    Ok(local)
}

/// Asks one; gives where from, and the answer.
async fn ask<S: UdpStack>(stack: S, remote: SocketAddr) -> Result<(SocketAddr, String), S::Error> {
    let (local, mut socket) = stack.connect(remote).await?;
    socket.send(b"question").await?;
    let mut buffer = [0; 100];
    let length = socket.receive_into(&mut buffer).await?;
    Ok((local, String::from_utf8_lossy(&buffer[..length]).into_owned()))
}

#[test]
fn one_on_all_addresses_answers_from_the_one_that_was_asked() {
    block_on(async {
        let second = Ipv4Addr::new(10, 0, 0, 77);
        let (a, b, _cable) = pair();
        b.add_address(mnet::Ipv4Cidr::new(second, 24).unwrap()).unwrap();
        let mut server = b.udp().bind_multiple((ANY, 7).into()).await.unwrap();
        let server =
            spawn(async move { [answer_once(&mut server).await, answer_once(&mut server).await] });
        let both = [B, second].map(|address| SocketAddr::from((address, 7)));
        for asked in both {
            let (from, answer) = soon(ask(a.udp(), asked)).await.unwrap();
            assert_eq!((from.ip(), &*answer), (A.into(), "QUESTION"));
            assert_ne!(from.port(), 0);
        }
        assert_eq!(server.await, Ok(both.map(Ok)));
    });
}

/// Binds to one address without naming one; gives it.
async fn single<S>(stack: &S, local: SocketAddr) -> (SocketAddr, S::UniquelyBound)
where
    S: UdpStack,
    S::Error: Debug,
{
    stack.bind_single(local).await.unwrap()
}

#[test]
fn one_on_a_single_address_has_one_and_hears_only_that() {
    block_on(async {
        let (a, b, _cable) = pair();
        let second = Ipv4Addr::new(10, 0, 0, 77);
        b.add_address(mnet::Ipv4Cidr::new(second, 24).unwrap()).unwrap();
        let udp = b.udp();
        let (local, mut socket) = single(&udp, (ANY, 0).into()).await;
        assert_eq!(local.ip(), IpAddr::from(B));
        a.udp().send_to(b"not this one", (second, local.port())).await.unwrap();
        a.udp().send_to(b"this one", local).await.unwrap();
        let mut buffer = [0; 4];
        let (length, to, from) = soon(socket.receive_into(&mut buffer)).await.unwrap();
        assert_eq!((length, &buffer, to, from.ip()), (8, b"this", local, A.into()));

        // Anything that is left open is found by the stack.
        let listener = a.udp().bind(9).unwrap();
        socket.send((ANY, 0).into(), (A, 9).into(), b"x").await.unwrap();
        assert_eq!(soon(listener.recv_from(&mut buffer)).await, Ok((1, local)));
    });
}

/// The kinds of what is wrong with what is asked for.
async fn kinds<S: UdpStack>(stack: S, own: SocketAddr, closed: SocketAddr) -> Vec<ErrorKind>
where
    S::Error: Debug,
{
    let mut socket = stack.bind_multiple(own).await.unwrap();
    let other_port = SocketAddr::new(own.ip(), own.port() + 1);
    let foreign: SocketAddr = ([192, 0, 2, 1], 0).into();
    let mut refused = stack.connect(closed).await.unwrap().1;
    refused.send(b"x").await.unwrap();
    let mut kinds = Vec::new();
    let mut note = |error: Option<S::Error>| kinds.extend(error.map(|error| error.kind()));
    note(stack.bind_single(own).await.err());
    note(stack.bind_single(foreign).await.err());
    note(stack.connect_from(([0; 8], 0).into(), closed).await.err());
    note(socket.send(other_port, closed, b"x").await.err());
    note(socket.send(foreign, closed, b"x").await.err());
    note(soon(refused.receive_into(&mut [0; 1])).await.err());
    kinds
}

#[test]
fn errors_are_of_the_kinds_that_others_know() {
    block_on(async {
        let (a, _b, _cable) = pair();
        let expected = [
            ErrorKind::AddrInUse,
            ErrorKind::AddrNotAvailable,
            ErrorKind::InvalidInput,
            ErrorKind::AddrNotAvailable,
            ErrorKind::AddrNotAvailable,
            ErrorKind::ConnectionRefused,
        ];
        assert_eq!(kinds(a.udp(), (A, 7).into(), (B, 9).into()).await, expected);
    });
}
