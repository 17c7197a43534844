//! Asks servers for the time (NTP, RFC 5905), those that each `--server=ADDRESS[:PORT]` names or
//! else those that DHCP names, and serves it on UDP port 123. Without servers it serves the host's
//! clock, at the stratum that `--local=STRATUM` says, or 10.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod clock;
mod source;
mod wire;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use mkernel::{JoinHandle, now, sleep, timeout};
use mnet::{ArgumentError, RecvError, Stack, Udp, UdpSocket};
use zerocopy::IntoBytes;

use crate::clock::{Clock, answer};
use crate::source::{Poll, Refusal, Sample, Source};
use crate::wire::{Header, LEN};

const PORT: u16 = 123;
/// Stratum of the host's clock, unless another is asked for: so far down that any server is better.
const LOCAL: u8 = 10;
/// Servers that are asked.
const MAX_SERVERS: usize = 8;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked after which servers DHCP names.
const LOOK: Duration = Duration::from_secs(2);

type Shared = Rc<RefCell<Clock>>;

#[mkernel::main(net = "service")]
async fn main() -> Result<(), mnet::Error> {
    let (servers, local) = arguments()?;
    let stack = mnet::stack("service").await?;
    let socket = stack.udp().bind(PORT)?;
    stack.ready().await;
    // Who is told whom to ask is not to make times up when nobody answers.
    let local = local.or(servers.is_empty().then_some(LOCAL));
    let clock: Shared = Rc::new(RefCell::new(Clock::new(local)));
    log::info!("ready: serves the time on UDP port {PORT}");
    mkernel::spawn(ask_all(stack, servers, Rc::clone(&clock)));
    serve(&socket, &clock).await?;
    Ok(())
}

async fn serve(socket: &UdpSocket, clock: &Shared) -> Result<(), RecvError> {
    loop {
        let datagram = socket.recv_datagram().await?;
        clock.borrow().follow_host();
        let came = clock.borrow().at(datagram.arrived());
        let status = clock.borrow().status(now());
        let Some(mut answer) = answer(datagram.payload(), &status, came) else { continue };
        let fill = |room: &mut [u8]| {
            answer.transmit.set(clock.borrow().at(now()).0);
            room.copy_from_slice(answer.as_bytes());
        };
        if let Err(error) = datagram.reply_with(LEN, fill).await {
            log::debug!("{error}");
        }
    }
}

/// Asks these servers, or, if there are none, those that DHCP names at the time.
async fn ask_all(stack: Stack, servers: Vec<SocketAddr>, clock: Shared) {
    let mut asked: Vec<(SocketAddr, JoinHandle<()>)> = Vec::new();
    loop {
        let named = stack.lease().filter(|_| servers.is_empty()).map(|lease| lease.ntp);
        let named = named.into_iter().flatten().map(|address| (address, PORT).into());
        let wanted: Vec<_> = servers.iter().copied().chain(named).take(MAX_SERVERS).collect();
        asked.retain(|(server, task)| {
            let stays = wanted.contains(server);
            if !stays {
                task.abort();
                forget(&clock, *server);
            }
            stays
        });
        for server in wanted {
            if !asked.iter().any(|(other, _)| *other == server) {
                clock.borrow_mut().sources.push(Source::new(server));
                let task = ask_often(stack.udp(), server, Rc::clone(&clock));
                asked.push((server, mkernel::spawn(task)));
            }
        }
        sleep(LOOK).await;
    }
}

/// Asks one server, again and again.
async fn ask_often(udp: Udp, server: SocketAddr, clock: Shared) {
    let mut poll = Poll::new();
    loop {
        let asked = timeout(PATIENCE, ask(&udp, server, &poll, &clock)).await;
        let sample = match asked {
            Ok(Ok(sample)) => Some(sample),
            Ok(Err(refusal)) => {
                log::debug!("{server}: {refusal:?}");
                match refusal {
                    Refusal::Kiss(code) if matches!(&code, b"DENY" | b"RSTR") => {
                        log::warn!("{server} does not want to be asked");
                        return forget(&clock, server);
                    }
                    Refusal::Kiss(_) => poll.slow_down(),
                    Refusal::Stray | Refusal::NotSet => {}
                }
                None
            }
            Err(_) => None,
        };
        note(&clock, server, sample);
        sleep(poll.pause()).await;
    }
}

fn forget(clock: &Shared, server: SocketAddr) {
    let mut clock = clock.borrow_mut();
    clock.sources.retain(|source| source.server != server);
    clock.update();
}

fn note(clock: &Shared, server: SocketAddr, sample: Option<Sample>) {
    let mut clock = clock.borrow_mut();
    if let Some(source) = clock.sources.iter_mut().find(|source| source.server == server) {
        source.note(sample);
    }
    clock.update();
}

/// Asks one server once, from a port of its own.
async fn ask(
    udp: &Udp,
    server: SocketAddr,
    poll: &Poll,
    clock: &Shared,
) -> Result<Sample, Refusal> {
    let mut nonce = [0; 8];
    mkernel::fill_random(&mut nonce);
    let nonce = u64::from_ne_bytes(nonce);
    let question = Header::question(poll.exponent(), nonce);
    let connected = async {
        let socket = udp.bind(0)?;
        socket.connect(server)?;
        socket.send(question.as_bytes()).await?;
        Ok::<_, mnet::Error>(socket)
    };
    let sent = clock.borrow().raw(now());
    let socket = connected.await.map_err(|error| {
        log::debug!("{server}: {error}");
        Refusal::Stray
    })?;
    loop {
        let datagram = socket.recv_datagram().await.map_err(|error| {
            log::debug!("{server}: {error}");
            Refusal::Stray
        })?;
        let Some(answer) = Header::parse(datagram.payload()) else { continue };
        let at = datagram.arrived();
        let received = clock.borrow().raw(at);
        match Sample::new(&answer, nonce, sent, received, at) {
            Err(Refusal::Stray) => {}
            sample => return sample,
        }
    }
}

/// What the arguments ask for, besides what they ask of the stack: servers, and the stratum of the
/// host's clock.
fn arguments() -> Result<(Vec<SocketAddr>, Option<u8>), ArgumentError> {
    let (mut servers, mut local) = (Vec::new(), None);
    for argument in mkernel::args().filter(|argument| !mnet::is_argument(argument)) {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        match (name, server(value), value.parse::<u8>()) {
            ("--server", Some(server), _) if servers.len() < MAX_SERVERS => servers.push(server),
            ("--local", _, Ok(stratum @ 1..16)) => local = Some(stratum),
            _ => {
                let reason = "give --server=ADDRESS or --server=ADDRESS:PORT, such as \
                              --server=10.0.0.1 or --server=[fd00::1]:123, up to eight times, or \
                              --local=STRATUM, from 1 to 15"
                    .into();
                return Err(ArgumentError::Malformed { argument: argument.into(), reason });
            }
        }
    }
    Ok((servers, local))
}

/// A server that can be asked.
fn server(text: &str) -> Option<SocketAddr> {
    let alone = text.parse::<IpAddr>().map(|address| (address, PORT).into());
    let server: SocketAddr = alone.or_else(|_| text.parse()).ok()?;
    let address = server.ip();
    let is_host = !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
    (is_host && server.port() != 0).then_some(server)
}
