//! UDP over an IPv4 and an IPv6 layer of one's own, without a stack: here a tunnel in memory.
//! `Mnet.UDP.create ipv4 ipv6` in Rust.
//!
//! ```text
//! cargo run --package mnet --example layers --features layers
//! ```

#![allow(clippy::unwrap_used, reason = "an example may end where it fails")]

#[path = "../tests/layers/tunnel.rs"]
mod tunnel;

use std::net::Ipv6Addr;

fn main() {
    mkernel::block_on(async {
        // `tunnel` gives its layers to `Udp::over`, once at each end.
        let (here, there) = tunnel::tunnel();
        let server = there.udp.bind(7).unwrap();
        mkernel::spawn(async move {
            let question = server.recv_datagram().await.unwrap();
            question.reply_with(6, |room| room.copy_from_slice(b"answer")).await.unwrap();
        });

        let address: Ipv6Addr = "fd09::2".parse().unwrap();
        let socket = here.udp.bind(0).unwrap();
        socket.send_to(b"question", (address, 7)).await.unwrap();
        let answer = socket.recv_datagram().await.unwrap();
        println!("{}: {}", answer.remote(), String::from_utf8_lossy(answer.payload()));
        println!("taken by IP's layers: {}", here.input.stats().udp_received);
    });
}
