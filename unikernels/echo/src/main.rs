//! Sends every UDP datagram back to its sender (RFC 862), on each `--port=N`, or on port 7.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::error::Error;

use mnet::{RecvError, UdpSocket};

#[mkernel::main(net = "service")]
async fn main() -> Result<(), Box<dyn Error>> {
    let ports = ports()?;
    let stack = mnet::stack("service").await?;
    let bound = ports.iter().map(|&port| stack.udp().bind(port));
    let sockets = bound.collect::<Result<Vec<_>, _>>()?;
    log::info!("ready: {} echoes on UDP ports {ports:?}", stack.ipv4());

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

/// What the arguments ask for, besides what they ask of the stack.
fn ports() -> Result<Vec<u16>, Box<dyn Error>> {
    let mut ports = Vec::new();
    for argument in mkernel::args().filter(|argument| !mnet::is_argument(argument)) {
        let port = argument.strip_prefix("--port=").and_then(|port| port.parse().ok());
        match port {
            Some(1..) => ports.extend(port),
            _ => return Err(format!("{argument}: give --port=N, with N from 1 to 65535").into()),
        }
    }
    if ports.is_empty() {
        ports.push(7);
    }
    Ok(ports)
}
