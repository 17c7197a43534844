//! The load: datagrams that are sent as soon as others have come back.

use std::io::{ErrorKind, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use mnet_tests::client;
use rustix::io::Errno;
use rustix::net::{MMsgHdr, RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmmsg};

/// What is not back after this long is lost.
const LOST: Duration = Duration::from_millis(200);

/// So many datagrams of this size under way at any time, for so long.
pub(crate) struct Load {
    pub(crate) size: usize,
    pub(crate) window: usize,
    pub(crate) time: Duration,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) received: u64,
    pub(crate) lost: u64,
    elapsed: Duration,
    // Sorted.
    latencies: Vec<Duration>,
}

impl Load {
    /// Sends the load to this address.
    pub(crate) fn run(&self, to: SocketAddr) -> Outcome {
        let socket = client(to);
        socket.set_read_timeout(Some(LOST)).unwrap();
        let began = Instant::now();
        let mut latencies = Vec::new();
        let mut buffer = vec![0; self.size + 1];
        let (mut lost, mut under_way) = (0, 0);
        while began.elapsed() < self.time {
            under_way += self.send(&socket, began, self.window - under_way);
            // The first is waited for, the others are taken if they are there.
            let mut flags = RecvFlags::empty();
            loop {
                match recv(&socket, &mut buffer[..], flags) {
                    Ok((_, length)) => {
                        assert_eq!(length, self.size, "an echo is as long as what was sent");
                        let sent = Duration::from_nanos(u64::from_be_bytes(
                            buffer[..8].try_into().unwrap(),
                        ));
                        latencies.push(began.elapsed() - sent);
                        under_way = under_way.saturating_sub(1);
                        flags = RecvFlags::DONTWAIT;
                        if under_way == 0 {
                            break;
                        }
                    }
                    Err(Errno::WOULDBLOCK) => {
                        if flags.is_empty() {
                            lost += under_way as u64;
                            under_way = 0;
                        }
                        break;
                    }
                    Err(error) => panic!("{to}: {error}"),
                }
            }
        }
        let elapsed = began.elapsed();
        // What is yet to come must not meet the next load.
        while socket.recv(&mut buffer).map_err(|error| error.kind()) != Err(ErrorKind::WouldBlock)
            && under_way > 0
        {
            under_way -= 1;
        }
        latencies.sort_unstable();
        Outcome {
            received: latencies.len() as u64,
            lost: lost + under_way as u64,
            elapsed,
            latencies,
        }
    }

    /// Sends so many datagrams that say when, and returns how many.
    fn send(&self, socket: &UdpSocket, began: Instant, count: usize) -> usize {
        let mut payload = vec![0xa5; self.size];
        payload[..8].copy_from_slice(&(began.elapsed().as_nanos() as u64).to_be_bytes());
        let slices = [IoSlice::new(&payload)];
        let mut control: Vec<_> = (0..count).map(|_| SendAncillaryBuffer::default()).collect();
        let mut messages: Vec<_> =
            control.iter_mut().map(|control| MMsgHdr::new(&slices, control)).collect();
        sendmmsg(socket, &mut messages, SendFlags::empty()).unwrap()
    }
}

impl Outcome {
    pub(crate) fn rate(&self) -> f64 {
        self.received as f64 / self.elapsed.as_secs_f64()
    }

    /// How long that share of the echoes took at most.
    pub(crate) fn latency(&self, share: f64) -> Duration {
        let at = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(at).or(self.latencies.last()).copied().unwrap_or(LOST)
    }
}
