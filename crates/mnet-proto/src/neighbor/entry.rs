//! A neighbour of the cache: its address, its state, and the packets that wait for it.

use alloc::collections::VecDeque;
use core::mem::{self, Discriminant};
use core::net::IpAddr;
use core::time::Duration;

use netdev::{Instant, Mac, Packet};

/// A neighbour that was used within this time is in use: nothing puts it out of the cache.
const IN_USE: Duration = Duration::from_secs(30);

/// A neighbour, and what is known of it.
pub(super) struct Entry {
    pub(super) address: IpAddr,
    pub(super) state: State,
    /// Known in all states but INCOMPLETE and FAILED.
    pub(super) mac: Mac,
    pub(super) last_used: Instant,
    /// Something has been sent to it, or tried to.
    pub(super) used: bool,
    /// It has answered once: it is there, and not only somebody's word.
    pub(super) confirmed: bool,
    pub(super) waiting: Waiting,
}

/// Packets, each with the most bytes that pass in one piece.
pub(super) type Waiting = VecDeque<(Packet, u16)>;

/// The states of RFC 4861 §7.3.2, and that of one which has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Incomplete { requests: u8, next: Instant },
    Reachable { until: Instant },
    Stale,
    Delay { until: Instant },
    Probe { requests: u8, next: Instant },
    Failed { until: Instant },
}

impl Entry {
    /// What others may have built on: its address, and its state but for the times.
    pub(super) fn kind(&self) -> (Mac, Discriminant<State>) {
        (self.mac, mem::discriminant(&self.state))
    }

    /// How much it is worth to keep it.
    pub(super) fn worth(&self) -> usize {
        worth(self.confirmed, self.used)
    }

    /// Whether its address is not known.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.state, State::Incomplete { .. } | State::Failed { .. })
    }

    /// Whether its address is known, and has to be asked for again if it is used.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        match self.state {
            State::Reachable { until } => until <= now,
            state => state == State::Stale,
        }
    }

    /// Whether it has an address that was used of late. One that has never answered is not in use,
    /// however much is sent to it: anybody can make us answer anybody.
    pub(super) fn in_use(&self, now: Instant) -> bool {
        self.used && self.confirmed && now - self.last_used < IN_USE
    }
}

/// What goes first in a full cache is worth least.
pub(super) fn worth(confirmed: bool, used: bool) -> usize {
    usize::from(confirmed) * 2 + usize::from(used)
}

impl State {
    /// When time does something to it.
    pub(super) fn timer(self) -> Option<Instant> {
        match self {
            Self::Incomplete { next, .. } | Self::Probe { next, .. } => Some(next),
            Self::Delay { until } | Self::Failed { until } => Some(until),
            Self::Reachable { .. } | Self::Stale => None,
        }
    }
}
