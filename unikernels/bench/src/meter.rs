//! What has passed, said every second.

use alloc::rc::Rc;
use core::cell::Cell;
use core::time::Duration;

use mkernel::{Instant, now, sleep};
use mnet::UdpSocket;

const SECOND: Duration = Duration::from_secs(1);

/// Counts datagrams and their bytes. Clones share the counts.
#[derive(Clone, Default)]
pub(crate) struct Meter {
    count: Rc<Cell<Count>>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    datagrams: u64,
    bytes: u64,
}

impl Meter {
    #[inline]
    pub(crate) fn add(&self, length: usize) {
        let Count { datagrams, bytes } = self.count.get();
        self.count.set(Count { datagrams: datagrams + 1, bytes: bytes + length as u64 });
    }

    pub(crate) fn datagrams(&self) -> u64 {
        self.count.get().datagrams
    }

    /// Says for ever what has passed in each second, if anything, and what was dropped.
    pub(crate) async fn tell(self, socket: UdpSocket, verb: &'static str) {
        let (mut before, mut dropped_before) = (Count::default(), 0);
        let mut since = now();
        loop {
            sleep(SECOND).await;
            let (count, dropped) = (self.count.get(), socket.stats().dropped);
            let until = now();
            if count.datagrams > before.datagrams || dropped > dropped_before {
                let rates = rates(count, before, until - since);
                log::info!("{verb} {} in all; {rates}, {dropped} dropped", count.datagrams);
            }
            (before, dropped_before, since) = (count, dropped, until);
        }
    }

    /// What has passed since then.
    pub(crate) fn summary(&self, since: Instant) -> impl core::fmt::Display {
        rates(self.count.get(), Count::default(), now() - since)
    }
}

/// What has passed in some time, as text.
fn rates(count: Count, before: Count, time: Duration) -> impl core::fmt::Display {
    let micros = time.as_micros().max(1);
    let per_second = |count: u64| u128::from(count) * 1_000_000 / micros;
    let datagrams = per_second(count.datagrams - before.datagrams);
    let kilobits = per_second(8 * (count.bytes - before.bytes)) / 1_000;
    alloc::format!("{datagrams} datagrams a second, {kilobits} kbit/s of payload")
}
