//! Answers DNS questions on UDP port 53 from what the network's servers say, or those that each
//! `--server=ADDR[:PORT]` names, and remembers as many answers as `--cache=N` says.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod request;
mod service;

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroUsize;

use mnet::ArgumentError;
use mnet_resolve::{Cache, PORT, Resolver};

use crate::service::Service;

const CACHE: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
const MAX_CACHE: usize = 100_000;

#[mkernel::main(net = "service")]
async fn main() -> Result<(), mnet::Error> {
    let (servers, cache) = arguments()?;
    let stack = mnet::stack("service").await?;
    let socket = stack.udp().bind(PORT)?;
    stack.ready().await;
    let mut resolver = Resolver::new(&stack);
    let asked =
        if servers.is_empty() { "the network's servers".into() } else { format!("{servers:?}") };
    if !servers.is_empty() {
        resolver = resolver.servers(servers);
    }
    if let Some(cache) = cache {
        resolver = resolver.cache(Cache::new(cache));
    }
    log::info!("ready: answers DNS questions on UDP port {PORT}, asks {asked}");
    let service = Rc::new(Service::new(resolver));
    loop {
        let datagram = socket.recv_datagram().await?;
        Rc::clone(&service).take(datagram).await;
    }
}

/// What the arguments ask for, besides what they ask of the stack: servers, and how many answers are
/// remembered, if any.
fn arguments() -> Result<(Vec<SocketAddr>, Option<NonZeroUsize>), ArgumentError> {
    let (mut servers, mut cache) = (Vec::new(), Some(CACHE));
    for argument in mkernel::args().filter(|argument| !mnet::is_argument(argument)) {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        match (name, server(value), value.parse::<usize>()) {
            ("--server", Some(server), _) => servers.push(server),
            ("--cache", _, Ok(capacity @ 0..=MAX_CACHE)) => cache = NonZeroUsize::new(capacity),
            _ => {
                let reason = format!(
                    "give --server=ADDRESS or --server=ADDRESS:PORT, such as --server=10.0.0.1 or \
                     --server=[fd00::1]:5300, or --cache=N, with N from 0 to {MAX_CACHE}"
                );
                return Err(ArgumentError::Malformed { argument: argument.into(), reason });
            }
        }
    }
    Ok((servers, cache))
}

/// A server that can be asked.
fn server(text: &str) -> Option<SocketAddr> {
    let alone = text.parse::<IpAddr>().map(|address| (address, PORT).into());
    let server: SocketAddr = alone.or_else(|_| text.parse()).ok()?;
    let usable = server.port() != 0
        && !server.ip().is_unspecified()
        && !server.ip().is_multicast()
        && !server.ip().is_loopback();
    usable.then_some(server)
}
