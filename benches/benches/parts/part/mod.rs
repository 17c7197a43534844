//! The parts of a stack, each by itself, without a task around it unless it is about tasks.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use mnet_bench::{FIRST_PORT, Family, Run, Stack, Subject, frames};

pub(crate) mod mnet;
pub(crate) mod smoltcp;
mod tasks;

/// Bytes of payload in a datagram, if there is no reason for more.
pub(crate) const SIZE: usize = 64;
/// Bytes of payload in one that comes in six fragments.
const LARGE: usize = 8_192;
/// Neighbours of which each has been forgotten when it is asked for again.
pub(crate) const NEIGHBORS: usize = 1_024;
/// Seconds from one datagram to a neighbour that is not known to the next: by then none is in use.
const PAUSE: u64 = 60;

/// One part of a stack, by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Whose it is.
    pub(crate) stack: Stack,
    /// What it does.
    pub(crate) task: Task,
}

/// What a part of a stack does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// It reads the headers of a frame, and checks their lengths: who sent what to whom.
    Parse(Family),
    /// It makes the checksum of so many bytes.
    Checksum(usize),
    /// It takes a frame, and then the datagram from the socket's queue: each time from another, of so
    /// many. The device has seen to the checksums.
    Demultiplex(Family, usize),
    /// It takes six fragments, and then the datagram.
    Reassembly(Family),
    /// It sends a datagram to a neighbour that it has to ask for first, and is told. So many are known,
    /// and one of them has to go.
    NeighborMiss(Family, usize),
    /// It takes a packet from the pool, and gives it back.
    Pool,
    /// A task wakes another, which is polled.
    WakeToPoll,
}

impl Part {
    /// All that is measured. smoltcp has no pool and no tasks, and does not do fragments of IPv6.
    pub(crate) fn all() -> Vec<Self> {
        use Family::{V4, V6};
        use Task::{Checksum, Demultiplex, NeighborMiss, Parse, Pool, Reassembly, WakeToPoll};

        let ours = |task| Self { stack: Stack::Mnet, task };
        let theirs = |task| Self { stack: Stack::Smoltcp, task };
        let both = |task| [ours(task), theirs(task)];
        let mut all = Vec::new();
        all.extend([Parse(V4), Parse(V6)].map(both));
        all.extend([20, 64, 1_400].map(|size| both(Checksum(size))));
        all.extend([1, 1_000].map(|ports| both(Demultiplex(V4, ports))));
        all.extend([both(Demultiplex(V6, 1)), both(Reassembly(V4))]);
        all.extend([both(NeighborMiss(V4, 8)), both(NeighborMiss(V6, 8))]);
        let mut all: Vec<_> = all.into_iter().flatten().collect();
        all.extend([Demultiplex(V4, 60_000), Reassembly(V6), NeighborMiss(V4, 512)].map(ours));
        all.extend([Pool, WakeToPoll].map(ours));
        all
    }
}

impl Subject for Part {
    fn stack(&self) -> Stack {
        self.stack
    }

    fn start(self) -> Run {
        match (self.stack, self.task) {
            (Stack::Mnet, Task::Parse(family)) => mnet::parse(family),
            (Stack::Smoltcp, Task::Parse(family)) => smoltcp::parse(family),
            (Stack::Mnet, Task::Checksum(size)) => mnet::checksum(size),
            (Stack::Smoltcp, Task::Checksum(size)) => smoltcp::checksum(size),
            (Stack::Mnet, Task::Demultiplex(family, ports)) => mnet::demultiplex(family, ports),
            (Stack::Smoltcp, Task::Demultiplex(family, ports)) => {
                smoltcp::demultiplex(family, ports)
            }
            (Stack::Mnet, Task::Reassembly(family)) => mnet::reassembly(family),
            (Stack::Smoltcp, Task::Reassembly(family)) => smoltcp::reassembly(family),
            (Stack::Mnet, Task::NeighborMiss(family, known)) => mnet::neighbor_miss(family, known),
            (Stack::Smoltcp, Task::NeighborMiss(family, _)) => smoltcp::neighbor_miss(family),
            (_, Task::Pool) => mnet::pool(),
            (_, Task::WakeToPoll) => tasks::wake_to_poll(),
        }
    }
}

impl fmt::Display for Part {
    /// Its name: `part/checksum/mnet/1400`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stack, task } = self;
        match task {
            Task::Parse(family) => write!(f, "part/parse/{stack}/{family}"),
            Task::Checksum(size) => write!(f, "part/checksum/{stack}/{size}"),
            Task::Demultiplex(family, ports) => {
                write!(f, "part/demultiplex/{stack}/{family}/ports-{ports}")
            }
            Task::Reassembly(family) => write!(f, "part/reassembly/{stack}/{family}/{LARGE}"),
            Task::NeighborMiss(family, known) => {
                write!(f, "part/neighbor-miss/{stack}/{family}/known-{known}")
            }
            Task::Pool => write!(f, "part/pool/{stack}"),
            Task::WakeToPoll => write!(f, "part/wake-to-poll/{stack}"),
        }
    }
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) from: u16,
    pub(crate) to: u16,
    pub(crate) payload: &'a [u8],
}

/// A datagram in one frame.
pub(crate) fn frame(family: Family) -> Vec<u8> {
    let peer = (frames::neighbor(family, 0), 5_000);
    frames::datagram(peer, FIRST_PORT, &frames::payload(SIZE)).remove(0)
}

/// A datagram in six.
fn fragments(family: Family) -> Vec<Vec<u8>> {
    let peer = (frames::neighbor(family, 0), 5_000);
    let fragments = frames::datagram(peer, FIRST_PORT, &frames::payload(LARGE));
    assert_eq!(fragments.len(), 6);
    fragments
}

/// What does something once, as what repeats it.
fn repeat(mut once: impl FnMut() + 'static) -> Run {
    Box::new(move |count| {
        let before = Instant::now();
        (0..count).for_each(|_| once());
        before.elapsed()
    })
}

/// What takes turns: 0, 1, … up to below `count`, and again.
fn turns(count: usize) -> impl Iterator<Item = usize> {
    (0..count).cycle()
}
