use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::{Case, Stack};

mod mnet;
mod smoltcp;

/// A host that does what a [`Case`] says, on a thread of its own until it is dropped.
pub struct Host {
    orders: Sender<u64>,
    results: Receiver<Outcome>,
}

/// What came of an order.
#[derive(Debug)]
pub struct Outcome {
    /// How long it took.
    pub elapsed: Duration,
    /// The last frame that the host has sent, if it sends.
    pub last: Vec<u8>,
}

impl Host {
    /// Starts it.
    #[must_use]
    pub fn start(case: Case) -> Self {
        let (orders, ordered) = channel();
        let (done, results) = channel();
        thread::spawn(move || match case.stack {
            Stack::Mnet => mnet::serve(case, ordered, done),
            Stack::Smoltcp => smoltcp::serve(&case, &ordered, &done),
        });
        Self { orders, results }
    }

    /// Lets it deal with so many datagrams.
    #[must_use]
    pub fn run(&self, count: u64) -> Outcome {
        self.orders.send(count).unwrap();
        self.results.recv().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use crate::{CASES, Way, frames};

    use super::*;

    #[test]
    fn what_is_measured_are_answers_that_are_right() {
        let cases = CASES.iter().filter(|case| case.ports <= 1_000);
        let hosts: Vec<_> = cases.map(|&case| (case, Host::start(case))).collect();
        for (case, host) in hosts {
            // Twice, as between two samples.
            let _ = host.run(1);
            let Outcome { last, .. } = host.run(37);
            if case.way == Way::Sink {
                assert!(last.is_empty(), "{case}");
                continue;
            }
            assert_eq!(last[..12], [frames::PEER.0, frames::HOST.0].concat(), "{case}");
            let sent = frames::payload(case.size * 16);
            // Of a datagram in pieces, the last; of segments, one of the sixteen.
            let tail = (last.len() - 42).min(case.size % 1_000);
            let tail = &last[last.len() - tail..];
            let ends = sent.chunks(case.size).any(|payload| payload.ends_with(tail));
            assert!(ends, "{case}: {last:02x?}");
        }
    }
}
