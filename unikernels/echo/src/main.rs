//! Sends every UDP datagram back to its sender (RFC 862), on each `--port=N`, or on port 7; with
//! `--join=GROUP`, what is sent to that group too.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::net::IpAddr;

use mnet::{Filter, RecvError, UdpSocket};

#[mkernel::main(net = "service")]
async fn main() -> Result<(), String> {
    let (ports, groups) = arguments()?;
    let stack = mnet::stack("service").await.map_err(text)?;
    let mut sockets = Vec::new();
    for &port in &ports {
        let socket = stack.udp().bind(port).map_err(text)?;
        socket.set_broadcast(true);
        for &group in &groups {
            socket.join(group, Filter::ANY).map_err(|error| format!("--join={group}: {error}"))?;
        }
        sockets.push(socket);
    }
    stack.ready().await;
    log::info!("ready: echoes on UDP ports {ports:?}");

    let echoes: Vec<_> = sockets.into_iter().map(|socket| mkernel::spawn(echo(socket))).collect();
    for echo in echoes {
        echo.await.map_err(text)?.map_err(text)?;
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

/// What an error says. A boxed error would bring along how it is shown to a programmer: 10 KB.
fn text(error: impl Display) -> String {
    error.to_string()
}

/// What the arguments ask for, besides what they ask of the stack: ports and groups.
fn arguments() -> Result<(Vec<u16>, Vec<IpAddr>), String> {
    let (mut ports, mut groups) = (Vec::new(), Vec::new());
    for argument in mkernel::args().filter(|argument| !mnet::is_argument(argument)) {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        match (name, value.parse::<u16>(), value.parse::<IpAddr>()) {
            ("--port", Ok(port @ 1..), _) => ports.push(port),
            ("--join", _, Ok(group)) => groups.push(group),
            _ => {
                let usage = "give --port=N, with N from 1 to 65535, or --join=GROUP";
                return Err(format!("{argument}: {usage}"));
            }
        }
    }
    if ports.is_empty() {
        ports.push(7);
    }
    Ok((ports, groups))
}
