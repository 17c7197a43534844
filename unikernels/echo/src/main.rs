//! Sends every UDP datagram back to its sender (RFC 862), on each `--port=N`, or on port 7; with
//! `--join=GROUP`, what is sent to that group too.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use core::net::IpAddr;

use mnet::{ArgumentError, Filter, RecvError, UdpSocket};

#[mkernel::main(net = "service")]
async fn main() -> Result<(), mnet::Error> {
    let (ports, groups) = arguments()?;
    let stack = mnet::stack("service").await?;
    let mut sockets = Vec::new();
    for &port in &ports {
        let socket = stack.udp().bind(port)?;
        socket.set_broadcast(true);
        for &group in &groups {
            socket.join(group, Filter::ANY)?;
        }
        sockets.push(socket);
    }
    stack.ready().await;
    for port in ports {
        log::info!("ready: echoes on UDP port {port}");
    }

    let echoes: Vec<_> = sockets.into_iter().map(|socket| mkernel::spawn(echo(socket))).collect();
    for echo in echoes {
        echo.await??;
    }
    Ok(())
}

async fn echo(socket: UdpSocket) -> Result<(), RecvError> {
    loop {
        let datagram = socket.recv_datagram().await?;
        if let Err(error) = datagram.reply().await {
            log::debug!("{error}");
        }
    }
}

/// What the arguments ask for, besides what they ask of the stack: ports and groups.
fn arguments() -> Result<(Vec<u16>, Vec<IpAddr>), ArgumentError> {
    let (mut ports, mut groups) = (Vec::new(), Vec::new());
    for argument in mkernel::args().filter(|argument| !mnet::is_argument(argument)) {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        match (name, value.parse::<u16>(), value.parse::<IpAddr>()) {
            ("--port", Ok(port @ 1..), _) => ports.push(port),
            ("--join", _, Ok(group)) if group.is_multicast() => groups.push(group),
            _ => {
                let reason = "give --port=N, with N from 1 to 65535, or --join=GROUP".into();
                return Err(ArgumentError::Malformed { argument: argument.into(), reason });
            }
        }
    }
    if ports.is_empty() {
        ports.push(7);
    }
    Ok((ports, groups))
}
