//! Answers DNS queries for a zone (RFC 1034, RFC 1035): the one built in, or that of the arguments
//! `--record=NAME,TTL,TYPE,DATA`.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod respond;
mod zone;

use alloc::string::{String, ToString};

use mnet::{ArgumentError, UdpSocket};

use crate::respond::respond;
use crate::zone::Zone;

/// Of an IP datagram, what its headers and UDP's take, at the most.
const HEADERS: u16 = 48;

#[mkernel::main(net = "service")]
async fn main() -> Result<(), mnet::Error> {
    let zone = zone()?;
    let stack = mnet::stack("service").await?;
    let socket = stack.udp().bind(53)?;
    stack.ready().await;
    log::info!("ready: answers for {} on UDP port 53", zone.origin());
    serve(&zone, &socket).await
}

async fn serve(zone: &Zone, socket: &UdpSocket) -> Result<(), mnet::Error> {
    loop {
        let datagram = socket.recv_datagram().await?;
        // What comes back goes in one piece, or not at all.
        let Ok(mtu) = socket.path_mtu(datagram.remote().ip()) else { continue };
        let room = mtu.saturating_sub(HEADERS);
        let Some(response) = respond(zone, datagram.payload(), room) else { continue };
        let fill = |payload: &mut [u8]| payload.copy_from_slice(&response);
        if let Err(error) = datagram.reply_with(response.len(), fill).await {
            log::debug!("{error}");
        }
    }
}

/// The zone that the arguments make up, or the one built in.
fn zone() -> Result<Zone, ArgumentError> {
    let mut lines = String::new();
    for argument in mkernel::args().filter(|argument| !mnet::is_argument(argument)) {
        let malformed =
            |reason: String| ArgumentError::Malformed { argument: argument.into(), reason };
        let Some(record) = argument.strip_prefix("--record=") else {
            return Err(malformed("give --record=NAME,TTL,TYPE,DATA".into()));
        };
        // Arguments are told apart by spaces, so that there are none in them.
        let line = record.replace(',', " ");
        zone::parse_line(&line).map_err(|error| malformed(error.to_string()))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    let text = if lines.is_empty() { include_str!("example.zone") } else { &lines };
    Zone::parse(text).map_err(|error| ArgumentError::Malformed {
        argument: "--record".into(),
        reason: error.to_string(),
    })
}
