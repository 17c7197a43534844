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
use core::mem::{self, Discriminant};
use core::net::{IpAddr, Ipv6Addr};
use core::ops::RangeInclusive;
use core::time::Duration;

use hashbrown::HashMap;
use netdev::{Instant, Mac, Packet};

use crate::config::Config;
use crate::keyed::ByAddress;
use crate::stats::Drop;
use crate::wire::ipv6;

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
/// What a router may say of [`REACHABLE`] (RFC 4861 §6.2.1 allows an hour).
const REACHABLE_SAID: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3_600);
/// What a router may say of [`RETRANSMIT`]: no message a moment, and nothing that lets packets, or an
/// address that is probed for, wait for long.
const RETRANSMIT_SAID: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(10);
/// A neighbour that was used within this time is in use: nothing puts it out of the cache.
const IN_USE: Duration = Duration::from_secs(30);

/// Neighbours by address.
pub(crate) struct Cache {
    entries: HashMap<IpAddr, Entry, ByAddress>,
    max_entries: usize,
    max_queue: usize,
    max_queued: usize,
    queued: usize,
    // Not later than the first timer of any entry.
    next_timer: Option<Instant>,
    random: u64,
    times: [Times; 2],
    actions: VecDeque<Action>,
    // Changes when an entry does, but for its times.
    changes: u32,
}

/// What the routers of a link may say about how to treat its neighbours (RFC 4861 §6.3.2).
#[derive(Clone, Copy, Debug)]
struct Times {
    reachable: Duration,
    retransmit: Duration,
}

struct Entry {
    state: State,
    // Known in all states but INCOMPLETE and FAILED.
    mac: Mac,
    last_used: Instant,
    // Something has been sent to it, or tried to.
    used: bool,
    // It has answered once: it is there, and not only somebody's word.
    confirmed: bool,
    // With the most bytes that pass in one piece.
    waiting: VecDeque<(Packet, u16)>,
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

/// What became of a neighbour advertisement about someone who is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It counts less than what is known, or says too little.
    PassedOver,
    /// It says how things are.
    Believed,
}

/// What is to be done for the cache.
#[derive(Debug)]
pub(crate) enum Action {
    /// Ask for the neighbour's address: everybody, or the one who is believed to have it.
    Solicit(IpAddr, Option<Mac>),
    /// Send a packet that has waited, in pieces of at most so many bytes.
    Send(Packet, Mac, u16),
    /// Count a packet that was given up.
    Count(Drop),
    /// Tell the sender of a packet that waited that the neighbour did not answer (RFC 4861 §7.2.2).
    GiveUp(Packet),
    /// It does not answer: another way is to be found for what goes by it.
    Unreachable(IpAddr),
}

impl Cache {
    /// An empty cache, whose hash is keyed and whose times are spread by `random`.
    pub(crate) fn new(config: &Config, keyed: ByAddress) -> Self {
        Self {
            entries: HashMap::with_hasher(keyed),
            max_entries: config.neighbors,
            max_queue: config.neighbor_queue,
            max_queued: config.neighbor_queues,
            queued: 0,
            next_timer: None,
            random: keyed.0 ^ keyed.1,
            times: [Times { reachable: REACHABLE, retransmit: RETRANSMIT }; 2],
            actions: VecDeque::new(),
            changes: 0,
        }
    }

    /// Another number than before, once the address or the state of any neighbour has changed, or may
    /// have.
    #[inline]
    pub(crate) fn changes(&self) -> u32 {
        self.changes
    }

    /// Until when it is known that a neighbour's address need not be looked up again: for ever, if
    /// only what it says changes that. `None` if it is to be looked up now.
    pub(crate) fn settled(&self, address: IpAddr) -> Option<Instant> {
        match self.entries.get(&address)?.state {
            State::Reachable { until } => Some(until),
            State::Delay { .. } | State::Probe { .. } => Some(Instant::FAR_FUTURE),
            State::Incomplete { .. } | State::Stale | State::Failed { .. } => None,
        }
    }

    /// What is to be done next; `None` when that is all.
    #[inline]
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Takes over what a router says of IPv6 neighbours: how long to believe them, and how long to
    /// wait between two solicitations. Zero says nothing.
    pub(crate) fn set_times(&mut self, reachable: Duration, retransmit: Duration) {
        let times = &mut self.times[1];
        let within = |said: Duration, allowed: &RangeInclusive<Duration>| {
            said.clamp(*allowed.start(), *allowed.end())
        };
        if !reachable.is_zero() {
            times.reachable = within(reachable, &REACHABLE_SAID);
        }
        if !retransmit.is_zero() {
            times.retransmit = within(retransmit, &RETRANSMIT_SAID);
        }
    }

    /// How long to wait for an answer to a solicitation (RFC 4861 §6.3.2, RetransTimer).
    pub(crate) fn retransmit_v6(&self) -> Duration {
        self.times[1].retransmit
    }

    /// From where the first packet comes that waits for an IPv6 neighbour.
    pub(crate) fn waiting_source(&self, address: IpAddr) -> Option<Ipv6Addr> {
        let (packet, _) = self.entries.get(&address)?.waiting.front()?;
        ipv6::Header::parse(packet.bytes()).ok().map(ipv6::Header::source)
    }

    /// Whether an address is known and may well be right: in any state but INCOMPLETE (RFC 4861
    /// §6.3.6).
    pub(crate) fn is_probably_reachable(&self, address: IpAddr) -> bool {
        self.entries.get(&address).is_some_and(|entry| !entry.is_unknown())
    }

    /// Looks a neighbour up to send it something.
    #[inline]
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
    pub(crate) fn wait(&mut self, now: Instant, address: IpAddr, packet: Packet, mtu: u16) -> bool {
        let failed = |entry: &Entry| matches!(entry.state, State::Failed { .. });
        if self.entries.get(&address).is_none_or(failed) {
            if !self.make_room(now, address) {
                self.actions.push_back(Action::Count(Drop::NeighborCacheFull));
                return false;
            }
            let next = now + self.times(address).retransmit;
            let state = State::Incomplete { requests: 1, next };
            let waiting = VecDeque::new();
            let mac = Mac::default();
            let entry = Entry { state, mac, last_used: now, used: true, confirmed: false, waiting };
            self.entries.insert(address, entry);
            self.wait_until(next);
            self.actions.push_back(Action::Solicit(address, None));
        }
        let Some(entry) = self.entries.get_mut(&address) else { return false };
        // RFC 4861 §7.2.2: the newest replaces the oldest.
        if entry.waiting.len() >= self.max_queue && entry.waiting.pop_front().is_some() {
            self.queued -= 1;
            self.actions.push_back(Action::Count(Drop::NeighborQueueFull));
        }
        // However many wait for others, one can wait for each.
        let full = self.queued >= self.max_queued && !entry.waiting.is_empty();
        if full || self.max_queue == 0 {
            self.actions.push_back(Action::Count(Drop::NeighborQueueFull));
            return false;
        }
        self.queued += 1;
        entry.waiting.push_back((packet, mtu));
        true
    }

    /// Takes note of a neighbour's address, as ARP tells it, or the options of neighbour discovery's
    /// other messages (RFC 4861 §7.2.3, §6.3.4).
    pub(crate) fn learn(&mut self, now: Instant, address: IpAddr, mac: Mac, evidence: Evidence) {
        if !self.entries.contains_key(&address) {
            // A neighbour that answers although nobody asked it is not believed.
            if evidence == Evidence::Request && self.make_room(now, address) {
                let waiting = VecDeque::new();
                let (used, confirmed) = (false, false);
                let entry =
                    Entry { state: State::Stale, mac, last_used: now, used, confirmed, waiting };
                self.entries.insert(address, entry);
            }
            return;
        }
        let until = now + self.reachable_time(address);
        let Some(entry) = self.entries.get_mut(&address) else { return };
        let before = entry.kind();
        let asked = matches!(entry.state, State::Incomplete { .. } | State::Probe { .. });
        if evidence == Evidence::Answer && asked {
            entry.confirm(until);
        } else if entry.is_unknown() || entry.mac != mac {
            entry.state = State::Stale;
        }
        entry.mac = mac;
        let after = entry.kind();
        self.note_change(before, after);
        self.send_waiting(now, address);
    }

    /// Takes a neighbour advertisement (RFC 4861 §7.2.5). `mac` is the target's address, if it
    /// says. `None` if nobody wants to know.
    pub(crate) fn advertised(
        &mut self,
        now: Instant,
        address: IpAddr,
        mac: Option<Mac>,
        solicited: bool,
        overrides: bool,
    ) -> Option<Heard> {
        let until = now + self.reachable_time(address);
        let entry = self.entries.get_mut(&address)?;
        let before = entry.kind();
        if matches!(entry.state, State::Failed { .. }) {
            return None;
        }
        if entry.is_unknown() {
            let Some(mac) = mac else { return Some(Heard::PassedOver) };
            entry.mac = mac;
            entry.state = State::Stale;
            if solicited {
                entry.confirm(until);
            }
        } else {
            let other = mac.filter(|&mac| mac != entry.mac);
            match other {
                Some(_) if !overrides => {
                    if matches!(entry.state, State::Reachable { .. }) {
                        entry.state = State::Stale;
                    }
                    let after = entry.kind();
                    self.note_change(before, after);
                    return Some(Heard::PassedOver);
                }
                Some(mac) => entry.mac = mac,
                None => {}
            }
            if solicited {
                entry.confirm(until);
            } else if other.is_some() {
                entry.state = State::Stale;
            }
        }
        let after = entry.kind();
        self.note_change(before, after);
        self.send_waiting(now, address);
        Some(Heard::Believed)
    }

    fn note_change(
        &mut self,
        before: (Mac, Discriminant<State>),
        after: (Mac, Discriminant<State>),
    ) {
        if before != after {
            self.changes = self.changes.wrapping_add(1);
        }
    }

    /// Lets go what has waited for a neighbour whose address is known now.
    fn send_waiting(&mut self, now: Instant, address: IpAddr) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        if !entry.waiting.is_empty() && entry.state == State::Stale {
            entry.state = State::Delay { until: now + DELAY };
        }
        self.queued -= entry.waiting.len();
        let mac = entry.mac;
        while let Some((packet, mtu)) = entry.waiting.pop_front() {
            self.actions.push_back(Action::Send(packet, mac, mtu));
        }
        if let State::Reachable { until } | State::Delay { until } = entry.state {
            self.wait_until(until);
        }
    }

    /// How many packets wait for neighbours.
    pub(crate) fn waiting(&self) -> usize {
        self.queued
    }

    /// Whether packets wait for neighbours.
    pub(crate) fn has_waiting(&self) -> bool {
        self.queued > 0
    }

    /// When [`Cache::handle_timeout`] is to be called.
    #[inline]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer
    }

    /// Does what time asks for. Calling it early does no harm.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.next_timer.is_none_or(|next| next > now) {
            return;
        }
        self.changes = self.changes.wrapping_add(1);
        let mut next_timer = None;
        let Self { queued, actions, times, .. } = self;
        self.entries.retain(|&address, entry| {
            let retransmit = times[usize::from(address.is_ipv6())].retransmit;
            let keep = entry.handle_timeout(now, address, retransmit, actions);
            if matches!(entry.state, State::Failed { .. }) || !keep {
                *queued -= entry.waiting.len();
                while let Some((packet, _)) = entry.waiting.pop_front() {
                    actions.push_back(Action::GiveUp(packet));
                }
            }
            if keep && let Some(timer) = entry.timer() {
                next_timer = Some(next_timer.map_or(timer, |next: Instant| next.min(timer)));
            }
            keep
        });
        self.next_timer = next_timer;
    }

    /// Sees to it that there is a place for `address`: in a full cache the least recently used
    /// goes, unless all are in use; before those that have ever answered, those that have not.
    fn make_room(&mut self, now: Instant, address: IpAddr) -> bool {
        if self.entries.len() < self.max_entries || self.entries.contains_key(&address) {
            return true;
        }
        let idle = self.entries.iter().filter(|(_, entry)| !entry.in_use(now));
        let Some((&victim, _)) = idle.min_by_key(|(_, entry)| entry.worth()) else {
            return false;
        };
        self.changes = self.changes.wrapping_add(1);
        if let Some(entry) = self.entries.remove(&victim) {
            self.queued -= entry.waiting.len();
            for _ in entry.waiting {
                self.actions.push_back(Action::Count(Drop::NeighborUnreachable));
            }
        }
        true
    }

    fn wait_until(&mut self, time: Instant) {
        self.next_timer = Some(self.next_timer.map_or(time, |next| next.min(time)));
    }

    fn times(&self, address: IpAddr) -> Times {
        self.times[usize::from(address.is_ipv6())]
    }

    /// How long an answer is believed, times 0.5 to 1.5 at random (RFC 4861 §6.3.2), so that hosts on a link do not
    /// ask in step.
    fn reachable_time(&mut self, address: IpAddr) -> Duration {
        // Only to spread times: a linear congruential generator (Knuth's MMIX) will do.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let reachable = self.times(address).reachable;
        reachable / 2 + reachable / 1024 * (self.random >> 54) as u32
    }
}

impl Entry {
    /// Moves on if its time has come; `false` if it is to go.
    fn handle_timeout(
        &mut self,
        now: Instant,
        address: IpAddr,
        retransmit: Duration,
        actions: &mut VecDeque<Action>,
    ) -> bool {
        let next_time = now + retransmit;
        match self.state {
            State::Incomplete { requests, next } if next <= now => {
                if requests < REQUESTS {
                    actions.push_back(Action::Solicit(address, None));
                    self.state = State::Incomplete { requests: requests + 1, next: next_time };
                } else {
                    actions.push_back(Action::Unreachable(address));
                    self.state = State::Failed { until: now + FAILED };
                }
            }
            State::Reachable { until } if until <= now => self.state = State::Stale,
            State::Delay { until } if until <= now => {
                actions.push_back(Action::Solicit(address, Some(self.mac)));
                self.state = State::Probe { requests: 1, next: next_time };
            }
            State::Probe { requests, next } if next <= now => {
                if requests == REQUESTS {
                    actions.push_back(Action::Unreachable(address));
                    return false;
                }
                actions.push_back(Action::Solicit(address, Some(self.mac)));
                self.state = State::Probe { requests: requests + 1, next: next_time };
            }
            State::Failed { until } if until <= now => return false,
            _ => {}
        }
        true
    }

    /// What others may have built on: its address, and its state but for the times.
    fn kind(&self) -> (Mac, Discriminant<State>) {
        (self.mac, mem::discriminant(&self.state))
    }

    /// It has answered.
    fn confirm(&mut self, until: Instant) {
        self.confirmed = true;
        self.state = State::Reachable { until };
    }

    /// What goes first in a full cache is worth least.
    fn worth(&self) -> (bool, bool, Instant) {
        (self.confirmed && !self.is_unknown(), self.used, self.last_used)
    }

    /// Whether its address is not known.
    fn is_unknown(&self) -> bool {
        matches!(self.state, State::Incomplete { .. } | State::Failed { .. })
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

    /// Whether it has an address that was used of late. One that has never answered is not in use,
    /// however much is sent to it: anybody can make us answer anybody.
    fn in_use(&self, now: Instant) -> bool {
        self.used && self.confirmed && !self.is_unknown() && now - self.last_used < IN_USE
    }
}

#[cfg(test)]
mod tests;
