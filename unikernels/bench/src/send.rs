//! The modes that speak first.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use mkernel::{Instant, now, sleep, sleep_until, timeout_at};
use mnet::{Error, SendError, Stack, UdpSocket};

use crate::arguments::{NUMBER_LEN, Pace};
use crate::histogram::Histogram;
use crate::meter::Meter;

/// How long a way to the peer is waited for, such as an address that comes by DHCP.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Whom to speak to, and with what.
pub(crate) struct Sender {
    stack: Stack,
    socket: UdpSocket,
    to: SocketAddr,
    size: usize,
}

impl Sender {
    /// One that speaks to a peer alone, once there is a way there.
    pub(crate) async fn new(
        stack: Stack,
        socket: UdpSocket,
        to: SocketAddr,
        size: usize,
    ) -> Result<Self, SendError> {
        let deadline = now() + PATIENCE;
        loop {
            match socket.connect(to) {
                Err(SendError::RouteNotFound) if now() < deadline => {
                    sleep(Duration::from_millis(100)).await;
                }
                connected => return connected.map(|()| Self { stack, socket, to, size }),
            }
        }
    }

    async fn send(&self, number: u64) -> Result<(), SendError> {
        let fill = |room: &mut [u8]| {
            room.fill(0);
            if let Some(place) = room.first_chunk_mut::<NUMBER_LEN>() {
                *place = number.to_be_bytes();
            }
        };
        self.socket.send_with(self.to, self.size, fill).await?;
        if number == 0 {
            // Where the peer is on the link may have to be found out, and only so many wait for that.
            self.stack.flush().await;
        }
        Ok(())
    }

    /// Sends as much as is asked for, as fast as is asked for. Each datagram begins with its number.
    pub(crate) async fn source(&self, pace: &Pace) -> Result<(), SendError> {
        let (meter, start) = (Meter::default(), now());
        let telling = mkernel::spawn(meter.clone().tell(self.socket.clone(), "sent"));
        let end = start + pace.time;
        while meter.datagrams() < pace.count {
            let due = start + pace.due(meter.datagrams());
            if due.max(now()) >= end {
                break;
            }
            if due > now() {
                sleep_until(due).await;
            }
            self.send(meter.datagrams()).await?;
            meter.add(self.size);
        }
        telling.abort();
        log::info!("done: sent {} datagrams; {}", meter.datagrams(), meter.summary(start));
        Ok(())
    }

    /// Sends requests, several at a time if that is asked for, and measures how long their answers take.
    pub(crate) async fn request(&self, pace: &Pace, most: usize) -> Result<(), Error> {
        let mut window = Window { sent: Vec::with_capacity(most), lost: 0 };
        let mut times = Histogram::new();
        let (mut number, mut stray, start) = (0, 0u64, now());
        loop {
            let wanted = number < pace.count && is_time_left(pace, number, start);
            if !wanted && window.sent.is_empty() {
                break;
            }
            let due = start + pace.due(number);
            if wanted && window.sent.len() < most && due <= now() {
                window.sent.push((number, now()));
                self.send(number).await?;
                number += 1;
                continue;
            }
            let next = (wanted && window.sent.len() < most).then_some(due);
            let wake = window.timeout().into_iter().chain(next).min().unwrap_or(due);
            if let Ok(datagram) = timeout_at(wake, self.socket.recv_datagram()).await {
                let datagram = datagram?;
                match window.take(datagram.payload()) {
                    Some(left) => times.add(datagram.arrived() - left),
                    None => stray += 1,
                }
            }
            window.expire(now());
        }
        let millis = (now() - start).as_millis().max(1);
        let rate = u128::from(times.count()) * 1_000 / millis;
        log::info!(
            "done: {number} requests, {} answers, {} lost, {stray} stray; {rate} a second; round trip \
             in µs: {} at least, {} median, {} of 99 %, {} at most",
            times.count(),
            window.lost,
            times.least().as_micros(),
            times.quantile(500).as_micros(),
            times.quantile(990).as_micros(),
            times.most().as_micros(),
        );
        Ok(())
    }
}

/// Requests that are under way: their numbers, and when they left.
struct Window {
    sent: Vec<(u64, Instant)>,
    lost: u64,
}

impl Window {
    /// Gives up on those that have not been answered for too long.
    fn expire(&mut self, now: Instant) {
        let before = self.sent.len();
        self.sent.retain(|&(_, left)| left + TIMEOUT > now);
        self.lost += (before - self.sent.len()) as u64;
    }

    /// Takes out the request that is answered by a payload; when it left.
    fn take(&mut self, payload: &[u8]) -> Option<Instant> {
        let number = u64::from_be_bytes(*payload.first_chunk::<NUMBER_LEN>()?);
        let at = self.sent.iter().position(|&(sent, _)| sent == number)?;
        Some(self.sent.swap_remove(at).1)
    }

    /// When the first of them has not been answered for too long.
    fn timeout(&self) -> Option<Instant> {
        self.sent.iter().map(|&(_, left)| left + TIMEOUT).min()
    }
}

fn is_time_left(pace: &Pace, number: u64, start: Instant) -> bool {
    (start + pace.due(number)).max(now()) < start + pace.time
}
