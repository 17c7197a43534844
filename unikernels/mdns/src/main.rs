//! Tells the link this host's name and services by multicast DNS (RFC 6762, RFC 6763), and finds
//! those of others: `--name=HOST`, `--service=NAME,TYPE,PORT[,KEY=VALUE]`, `--browse=TYPE`.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod answers;
mod arguments;
mod browser;
mod link;

use core::convert::Infallible;
use core::net::Ipv4Addr;
use core::pin::pin;
use core::time::Duration;

use edge_mdns::buf::VecBufAccess;
use edge_mdns::io::{IP_BROADCAST_ADDR, IPV6_BROADCAST_ADDR, Mdns, MdnsIoError, PORT};
use edge_mdns::{HostAnswersMdnsHandler, HostQuestions, NoHandler, PeerAnswersMdnsHandler};
use edge_nal::{MulticastV4, MulticastV6};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use futures_util::future::{Either, select};
use mkernel::{now, sleep};
use mnet::Error;
use mnet::edge_nal::Socket;
use rand_core::TryRng;

use crate::answers::{Answers, MAX_MESSAGE, Unfailing};
use crate::arguments::{Arguments, malformed};
use crate::browser::Browser;
use crate::link::Link;

/// Longest message that is taken (RFC 6762 §17).
const MAX_TAKEN: usize = 9_000;
/// Hop limit of all that is sent (RFC 6762 §11).
const HOP_LIMIT: u8 = 255;
const TICK: Duration = Duration::from_secs(1);
/// Longest pause between two questions (RFC 6762 §5.2), in ticks.
const MAX_PAUSE: u32 = 3_600;

type Announce = Signal<NoopRawMutex, ()>;
type Buffer<const N: usize> = VecBufAccess<NoopRawMutex, N>;
type Responder<'a> = Mdns<'a, Link, Link, &'a Buffer<MAX_TAKEN>, &'a Buffer<MAX_MESSAGE>, Random>;

#[mkernel::main(net = "service")]
async fn main() -> Result<(), Error> {
    let Arguments { name, offers, browse } = Arguments::parse(mkernel::args())?;
    let stack = mnet::stack("service").await?;
    let answers = Answers::new(&stack, name.clone(), offers);
    if !answers.fit() {
        return Err(malformed("--service", "that is too much for one message").into());
    }
    let browser = Browser::new(browse);
    let socket = stack.udp().bind(PORT)?;
    socket.set_multicast_hop_limit(HOP_LIMIT);
    socket.set_hop_limit(HOP_LIMIT);
    let mut socket = Socket::new(&stack.udp(), socket);
    socket.join_v4(IP_BROADCAST_ADDR, Ipv4Addr::UNSPECIFIED).await?;
    socket.join_v6(IPV6_BROADCAST_ADDR, 0).await?;
    stack.ready().await;
    log::info!("ready: answers for {name}.local on UDP port {PORT}");

    let (taken, sent, announce) = (Buffer::new(), Buffer::new(), Announce::new());
    let link = Link::new(&stack, socket);
    let mdns: Responder<'_> = Mdns::new(
        Some(Ipv4Addr::UNSPECIFIED),
        Some(0),
        link.clone(),
        link,
        &taken,
        &sent,
        Random,
        &announce,
    );
    let handler = || {
        let peers = NoHandler.chain(PeerAnswersMdnsHandler::new(&browser));
        Unfailing(peers.chain(HostAnswersMdnsHandler::new(&answers)))
    };
    let run = pin!(mdns.run(handler()));
    let watch = pin!(watch(&mdns, &answers, &browser, &announce));
    let (Either::Left((ended, _)) | Either::Right((ended, _))) = select(run, watch).await;
    match ended {
        Err(MdnsIoError::IoError(error)) => Err(error),
        ended => {
            // Neither its handler nor its buffers ever fail.
            log::error!("{ended:?}");
            Ok(())
        }
    }
}

/// Announces the host when its addresses change, twice (RFC 6762 §8.3), and asks for what is looked
/// for: at first after a second, then after twice as long each time.
async fn watch(
    mdns: &Responder<'_>,
    answers: &Answers,
    browser: &Browser,
    announce: &Announce,
) -> Result<(), MdnsIoError<Error>> {
    let (mut known, mut again) = (answers.addresses(), true);
    let (mut pause, mut left) = (1, 0);
    loop {
        // The first announcement is the responder's own.
        sleep(TICK).await;
        let addresses = answers.addresses();
        if addresses != known || again {
            announce.signal(());
        }
        again = addresses != known;
        known = addresses;
        browser.expire(now());
        if left == 0 {
            left = pause;
            pause = MAX_PAUSE.min(2 * pause);
            mdns.query(|room| browser.query(0, room)).await?;
        } else if browser.is_curious() {
            mdns.query(|room| browser.query(0, room)).await?;
        }
        left -= 1;
    }
}

/// The image's generator.
struct Random;

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        mkernel::fill_random(&mut bytes);
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        mkernel::fill_random(&mut bytes);
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        mkernel::fill_random(bytes);
        Ok(())
    }
}
