//! `edge-nal`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use edge_nal::io::{Error, ErrorKind, ErrorType};
use edge_nal::{
    MulticastV4, MulticastV6, Readable, UdpBind, UdpConnect, UdpReceive, UdpSend, UdpSplit,
    UdpSplitMulticast,
};
use mkernel::{block_on, sleep, spawn};
use mnet::{BindError, RecvError, Stack};

use super::{is_pending, soon};
use crate::SHORT;
use crate::wire::{A, B, pair};

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// Answers one datagram, with halves that are used side by side.
async fn answer_once<S: UdpSplit>(socket: &mut S) -> Result<(), <S as ErrorType>::Error> {
    let (mut receive, mut send) = socket.split();
    let mut buffer = [0; 100];
    receive.readable().await?;
    let (length, from) = receive.receive(&mut buffer).await?;
    buffer[..length].make_ascii_uppercase();
    send.send(from, &buffer[..length]).await
}

/// Asks one at the other end of a connection.
async fn ask<S: UdpConnect>(stack: S, remote: SocketAddr) -> Result<String, S::Error> {
    let mut socket = stack.connect(ANY, remote).await?;
    // The connection is what counts, whatever else is said.
    socket.send(([192, 0, 2, 1], 1).into(), b"question").await?;
    let mut buffer = [0; 100];
    let (length, from) = socket.receive(&mut buffer).await?;
    assert_eq!(from, remote);
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[test]
fn one_that_is_bound_answers_one_that_is_connected() {
    block_on(async {
        let (a, b, _cable) = pair();
        let udp = b.udp();
        let mut server = UdpBind::bind(&udp, ([0, 0, 0, 0], 7).into()).await.unwrap();
        let server = spawn(async move { answer_once(&mut server).await });
        let answer = soon(ask(a.udp(), (B, 7).into())).await;
        assert_eq!(answer, Ok("QUESTION".into()));
        assert_eq!(server.await, Ok(Ok(())));
    });
}

/// A datagram longer than the buffer.
async fn receive_long<S: UdpReceive>(mut socket: S) -> (usize, [u8; 4]) {
    let mut buffer = [0; 4];
    (socket.receive(&mut buffer).await.unwrap().0, buffer)
}

#[test]
fn what_does_not_fit_is_cut_off_and_its_length_is_told() {
    block_on(async {
        let (a, b, _cable) = pair();
        let socket = UdpBind::bind(&b.udp(), (B, 7).into()).await.unwrap();
        a.udp().send_to(b"longer than four", (B, 7)).await.unwrap();
        assert_eq!(soon(receive_long(socket)).await, (16, *b"long"));
    });
}

/// Hears what is sent to two groups, until it leaves them.
async fn hears<S>(stack: S, own: Ipv4Addr, sender: impl AsyncFn())
where
    S: UdpBind,
    S::Error: std::fmt::Debug,
{
    let mut socket = stack.bind(([0; 8], 5_353).into()).await.unwrap();
    let (mut receive, _, mut v4, mut v6) = socket.split_multicast();
    let mut buffer = [0; 100];
    sender().await;
    assert!(is_pending(receive.receive(&mut buffer)).await);

    v4.join_v4(GROUP_V4, own).await.unwrap();
    v6.join_v6(GROUP_V6, 0).await.unwrap();
    sender().await;
    let mut heard = Vec::new();
    for _ in 0..2 {
        let (length, _) = soon(receive.receive(&mut buffer)).await.unwrap();
        heard.push(buffer[..length].to_vec());
    }
    heard.sort();
    assert_eq!(heard, [b"of four".to_vec(), b"of six".to_vec()]);

    v4.leave_v4(GROUP_V4, own).await.unwrap();
    v6.leave_v6(GROUP_V6, 0).await.unwrap();
    v6.leave_v6(GROUP_V6, 0).await.unwrap();
    sender().await;
    assert!(is_pending(receive.readable()).await);

    let error = v4.join_v4(GROUP_V4, Ipv4Addr::new(192, 0, 2, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    let error = v4.join_v4(own, Ipv4Addr::UNSPECIFIED).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn groups_are_heard_from_joining_to_leaving() {
    block_on(async {
        let (a, b, _cable) = pair();
        soon(async {
            // IPv6 has addresses after a second.
            let is_tentative = |stack: &&Stack| stack.addresses().iter().any(|own| own.tentative);
            while a.addresses().len() < 2 || [&a, &b].iter().any(is_tentative) {
                sleep(SHORT).await;
            }
        })
        .await;
        let sender = async || {
            a.udp().send_to(b"of four", (GROUP_V4, 5_353)).await.unwrap();
            a.udp().send_to(b"of six", (GROUP_V6, 5_353)).await.unwrap();
        };
        hears(b.udp(), B, sender).await;
    });
}

/// The kinds of what is wrong with what is asked for.
async fn kinds<S>(stack: S, closed: SocketAddr) -> Vec<ErrorKind>
where
    S: UdpBind + UdpConnect<Error = <S as UdpBind>::Error>,
{
    let kind = async |local: SocketAddr| stack.bind(local).await.err().map(|error| error.kind());
    let taken = stack.bind(([0, 0, 0, 0], 7).into()).await;
    let mut kinds = vec![
        kind(([0, 0, 0, 0], 7).into()).await,
        kind(([192, 0, 2, 1], 8).into()).await,
        stack.connect(ANY, ([192, 0, 2, 1], 7).into()).await.err().map(|error| error.kind()),
        stack.connect(ANY, ([0; 8], 7).into()).await.err().map(|error| error.kind()),
    ];
    drop(taken);
    let mut refused = stack.connect(ANY, closed).await.ok().unwrap();
    refused.send(closed, b"x").await.ok().unwrap();
    kinds.push(soon(refused.receive(&mut [0; 1])).await.err().map(|error| error.kind()));
    kinds.into_iter().flatten().collect()
}

#[test]
fn errors_are_of_the_kinds_that_others_know() {
    block_on(async {
        let (a, _b, cable) = pair();
        let expected = [
            ErrorKind::AddrInUse,
            ErrorKind::AddrNotAvailable,
            ErrorKind::NotFound,
            ErrorKind::InvalidInput,
            ErrorKind::ConnectionRefused,
        ];
        assert_eq!(kinds(a.udp(), (B, 9).into()).await, expected);
        let own = mnet::Error::from(RecvError::Port(BindError::PortZero));
        assert_eq!(own.kind(), ErrorKind::InvalidInput);

        let udp = a.udp();
        let mut socket = UdpBind::bind(&udp, (A, 7).into()).await.unwrap();
        cable.cut();
        let error = soon(socket.receive(&mut [0; 1])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn who_binds_through_them_may_broadcast() {
    block_on(async {
        let (a, b, _cable) = pair();
        let mut server = UdpBind::bind(&b.udp(), ([0, 0, 0, 0], 67).into()).await.unwrap();
        let mut client = UdpBind::bind(&a.udp(), ([0, 0, 0, 0], 68).into()).await.unwrap();
        client.send((Ipv4Addr::BROADCAST, 67).into(), b"who is there?").await.unwrap();
        let (length, from) = soon(server.receive(&mut [0; 20])).await.unwrap();
        assert_eq!((length, from), (13, (A, 68).into()));
    });
}
