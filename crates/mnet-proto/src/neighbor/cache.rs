//! The neighbour cache, with the states of RFC 4861 §7.3.2: for IPv4 as for IPv6, as Linux has it.
//!
//! ```text
//!                         answer                  30 s            used
//!  (none) ──▶ INCOMPLETE ────────▶ REACHABLE ──────────▶ STALE ──────────▶ DELAY
//!   ▲ ▲           │ 3 requests          ▲                 ▲                  │ 5 s
//!   │ │           ▼                     │ answer          │ heard of         ▼
//!   │ └─────── FAILED                   └─────────────────┼─────────────── PROBE
//!   │   1 s                                               └── (none)         │ 3 requests
//!   └────────────────────────────────────────────────────────────────────────┘
//! ```

use alloc::collections::VecDeque;
use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use hashbrown::HashMap;
use netdev::{Instant, Mac, Packet};
use siphasher::sip::SipHasher13;

use crate::config::Config;
use crate::stats::Drop;

/// Time between two requests (RFC 4861 §10, RetransTimer; RFC 1122 §2.3.2.1 asks for no more).
const RETRANSMIT: Duration = Duration::from_secs(1);
/// Requests before a neighbour is given up (MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT).
const REQUESTS: u8 = 3;
/// How long an answer is believed, on average (REACHABLE_TIME).
const REACHABLE: Duration = Duration::from_secs(30);
/// How long to wait for a sign of life before asking for one (DELAY_FIRST_PROBE_TIME).
const DELAY: Duration = Duration::from_secs(5);
/// How long senders are told that a neighbour did not answer, before it is asked again.
const FAILED: Duration = Duration::from_secs(1);
/// A neighbour that was used within this time is in use: nothing puts it out of the cache.
const IN_USE: Duration = Duration::from_secs(30);

/// Neighbours by address.
pub(crate) struct Cache {
    entries: HashMap<IpAddr, Entry, Keyed>,
    max_entries: usize,
    max_queue: usize,
    max_queued: usize,
    queued: usize,
    // Not later than the first timer of any entry.
    next_timer: Option<Instant>,
    random: u64,
}

struct Entry {
    state: State,
    // Known in all states but INCOMPLETE and FAILED.
    mac: Mac,
    last_used: Instant,
    // Something has been sent to it, or tried to.
    used: bool,
    waiting: VecDeque<Packet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Incomplete { requests: u8, next: Instant },
    Reachable { until: Instant },
    Stale,
    Delay { until: Instant },
    Probe { requests: u8, next: Instant },
    Failed { until: Instant },
}

/// What the cache knows of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Its address.
    Found(Mac),
    /// Nothing yet: packets can wait for it.
    Unresolved,
    /// It was asked and did not answer.
    Failed,
}

/// How a neighbour's address was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It answered us: it hears us, and we hear it.
    Answer,
    /// It asked for us: it will be spoken to soon.
    Request,
    /// It spoke to others: of use only if it is known.
    Overheard,
}

/// What is to be done for the cache.
#[derive(Debug)]
pub(crate) enum Action {
    /// Ask for the neighbour's address: everybody, or the one who is believed to have it.
    Solicit(IpAddr, Option<Mac>),
    /// Send a packet that has waited.
    Send(Packet, Mac),
    /// Count a packet that was given up.
    Count(Drop),
}

impl Cache {
    /// An empty cache, whose hash is keyed and whose times are spread by `random`.
    pub(crate) fn new(config: &Config, random: [u64; 3]) -> Self {
        Self {
            entries: HashMap::with_hasher(Keyed(random[0], random[1])),
            max_entries: config.neighbors,
            max_queue: config.neighbor_queue,
            max_queued: config.neighbor_queues,
            queued: 0,
            next_timer: None,
            random: random[2],
        }
    }

    /// Looks a neighbour up to send it something.
    pub(crate) fn lookup(&mut self, now: Instant, address: IpAddr) -> Lookup {
        let Some(entry) = self.entries.get_mut(&address) else { return Lookup::Unresolved };
        entry.last_used = now;
        entry.used = true;
        match entry.state {
            State::Incomplete { .. } => Lookup::Unresolved,
            State::Failed { until } if until > now => Lookup::Failed,
            State::Failed { .. } => Lookup::Unresolved,
            State::Stale => {
                let mac = entry.mac;
                entry.state = State::Delay { until: now + DELAY };
                self.wait_until(now + DELAY);
                Lookup::Found(mac)
            }
            State::Reachable { .. } | State::Delay { .. } | State::Probe { .. } => {
                Lookup::Found(entry.mac)
            }
        }
    }

    /// Lets a packet wait for a neighbour that [`Cache::lookup`] found unresolved, and asks for it.
    /// `false` if there is no room for it, and it was dropped.
    pub(crate) fn wait(
        &mut self,
        now: Instant,
        address: IpAddr,
        packet: Packet,
        act: &mut impl FnMut(Action),
    ) -> bool {
        let failed = |entry: &Entry| matches!(entry.state, State::Failed { .. });
        if self.entries.get(&address).is_none_or(failed) {
            if !self.make_room(now, address, act) {
                act(Action::Count(Drop::NeighborCacheFull));
                return false;
            }
            let next = now + RETRANSMIT;
            let state = State::Incomplete { requests: 1, next };
            let waiting = VecDeque::new();
            let mac = Mac::default();
            let entry = Entry { state, mac, last_used: now, used: true, waiting };
            self.entries.insert(address, entry);
            self.wait_until(next);
            act(Action::Solicit(address, None));
        }
        let Some(entry) = self.entries.get_mut(&address) else { return false };
        // RFC 4861 §7.2.2: the newest replaces the oldest.
        if entry.waiting.len() >= self.max_queue && entry.waiting.pop_front().is_some() {
            self.queued -= 1;
            act(Action::Count(Drop::NeighborQueueFull));
        }
        // However many wait for others, one can wait for each.
        let full = self.queued >= self.max_queued && !entry.waiting.is_empty();
        if full || self.max_queue == 0 {
            act(Action::Count(Drop::NeighborQueueFull));
            return false;
        }
        self.queued += 1;
        entry.waiting.push_back(packet);
        true
    }

    /// Takes note of a neighbour's address.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        address: IpAddr,
        mac: Mac,
        evidence: Evidence,
        act: &mut impl FnMut(Action),
    ) {
        let until = now + self.reachable_time();
        if !self.entries.contains_key(&address) {
            // A neighbour that answers although nobody asked it is not believed.
            if evidence != Evidence::Request || !self.make_room(now, address, act) {
                return;
            }
            let waiting = VecDeque::new();
            let entry = Entry { state: State::Stale, mac, last_used: now, used: false, waiting };
            self.entries.insert(address, entry);
            return;
        }
        let Some(entry) = self.entries.get_mut(&address) else { return };
        let asked = matches!(entry.state, State::Incomplete { .. } | State::Probe { .. });
        let unknown = matches!(entry.state, State::Incomplete { .. } | State::Failed { .. });
        if evidence == Evidence::Answer && asked {
            entry.state = State::Reachable { until };
        } else if unknown || entry.mac != mac {
            entry.state = State::Stale;
        }
        entry.mac = mac;
        self.queued -= entry.waiting.len();
        entry.waiting.drain(..).for_each(|packet| act(Action::Send(packet, mac)));
        if let State::Reachable { until } = entry.state {
            self.wait_until(until);
        }
    }

    /// Whether packets wait for neighbours.
    pub(crate) fn has_waiting(&self) -> bool {
        self.queued > 0
    }

    /// When [`Cache::handle_timeout`] is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer
    }

    /// Does what time asks for. Calling it early does no harm.
    pub(crate) fn handle_timeout(&mut self, now: Instant, act: &mut impl FnMut(Action)) {
        if self.next_timer.is_none_or(|next| next > now) {
            return;
        }
        let mut next_timer = None;
        let queued = &mut self.queued;
        self.entries.retain(|&address, entry| {
            let keep = entry.handle_timeout(now, address, act);
            if matches!(entry.state, State::Failed { .. }) || !keep {
                *queued -= entry.waiting.len();
                entry.give_up(act);
            }
            if keep && let Some(timer) = entry.timer() {
                next_timer = Some(next_timer.map_or(timer, |next: Instant| next.min(timer)));
            }
            keep
        });
        self.next_timer = next_timer;
    }

    /// Sees to it that there is a place for `address`: in a full cache the least recently used
    /// goes, unless all are in use.
    fn make_room(&mut self, now: Instant, address: IpAddr, act: &mut impl FnMut(Action)) -> bool {
        if self.entries.len() < self.max_entries || self.entries.contains_key(&address) {
            return true;
        }
        let idle = self.entries.iter().filter(|(_, entry)| !entry.in_use(now));
        let Some((&victim, _)) = idle.min_by_key(|(_, entry)| (entry.used, entry.last_used)) else {
            return false;
        };
        if let Some(mut entry) = self.entries.remove(&victim) {
            self.queued -= entry.waiting.len();
            entry.give_up(act);
        }
        true
    }

    fn wait_until(&mut self, time: Instant) {
        self.next_timer = Some(self.next_timer.map_or(time, |next| next.min(time)));
    }

    /// [`REACHABLE`], times 0.5 to 1.5 at random (RFC 4861 §6.3.2), so that hosts on a link do not
    /// ask in step.
    fn reachable_time(&mut self) -> Duration {
        // Only to spread times: a linear congruential generator (Knuth's MMIX) will do.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        REACHABLE / 2 + REACHABLE * (self.random >> 54) as u32 / 1024
    }
}

impl Entry {
    /// Moves on if its time has come; `false` if it is to go.
    fn handle_timeout(
        &mut self,
        now: Instant,
        address: IpAddr,
        act: &mut impl FnMut(Action),
    ) -> bool {
        match self.state {
            State::Incomplete { requests, next } if next <= now => {
                if requests < REQUESTS {
                    act(Action::Solicit(address, None));
                    self.state =
                        State::Incomplete { requests: requests + 1, next: now + RETRANSMIT };
                } else {
                    self.state = State::Failed { until: now + FAILED };
                }
            }
            State::Reachable { until } if until <= now => self.state = State::Stale,
            State::Delay { until } if until <= now => {
                act(Action::Solicit(address, Some(self.mac)));
                self.state = State::Probe { requests: 1, next: now + RETRANSMIT };
            }
            State::Probe { requests, next } if next <= now => {
                if requests == REQUESTS {
                    return false;
                }
                act(Action::Solicit(address, Some(self.mac)));
                self.state = State::Probe { requests: requests + 1, next: now + RETRANSMIT };
            }
            State::Failed { until } if until <= now => return false,
            _ => {}
        }
        true
    }

    /// Drops what waits.
    fn give_up(&mut self, act: &mut impl FnMut(Action)) {
        self.waiting.drain(..).for_each(|_| act(Action::Count(Drop::NeighborUnreachable)));
    }

    fn timer(&self) -> Option<Instant> {
        match self.state {
            State::Incomplete { next, .. } | State::Probe { next, .. } => Some(next),
            State::Reachable { until } | State::Delay { until } | State::Failed { until } => {
                Some(until)
            }
            State::Stale => None,
        }
    }

    /// Whether it has an address that was used of late. One that was never found is not in use,
    /// however much is sent to it.
    fn in_use(&self, now: Instant) -> bool {
        self.used
            && !matches!(self.state, State::Incomplete { .. } | State::Failed { .. })
            && now - self.last_used < IN_USE
    }
}

/// SipHash-1-3 with a key of the stack's own, so that nobody can choose addresses that collide.
struct Keyed(u64, u64);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

#[cfg(test)]
mod tests;
