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
//!
//! It becomes STALE without being told: whoever looks at it sees that its time is over.

mod nud;

use alloc::collections::VecDeque;
use core::mem::Discriminant;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use netdev::{Instant, Mac, Packet};
use slab::Slab;

use self::nud::Times;
use super::entry::{Entry, State, Waiting, worth};
use crate::config::Config;
use crate::index::Index;
use crate::keyed::ByAddress;
use crate::lists::Lists;
use crate::stats::Drop;
use crate::wire::ipv6;

/// How long to wait for a sign of life before asking for one (DELAY_FIRST_PROBE_TIME).
const DELAY: Duration = Duration::from_secs(5);

/// Neighbours by address.
pub(crate) struct Cache {
    index: Index,
    entries: Slab<Entry>,
    // All of them, by [`Entry::worth`], the least recently used first.
    leaving: Lists,
    // Those that time does something to: one list of them.
    timers: Lists,
    // The first of that list.
    next_timer: Option<Instant>,
    max_entries: usize,
    max_queue: usize,
    max_queued: usize,
    queued: usize,
    random: u64,
    times: [Times; 2],
    actions: VecDeque<Action>,
    // Changes when an entry does, but for its times.
    changes: u32,
}

/// What the cache knows of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Its address.
    Found(Mac),
    /// Nothing yet: packets can wait for it.
    Unresolved(Unresolved),
    /// It was asked and did not answer.
    Failed,
}

/// Where packets wait for a neighbour, or would if anything did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unresolved {
    address: IpAddr,
    hash: u32,
    slot: Option<usize>,
}

/// What has become of a packet that was to wait for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// There was no room for it, and it was dropped.
    Refused,
    /// It waits.
    Waits,
    /// It waits, and the neighbour is to be asked for its address.
    Asks,
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
    Believed(Option<Resolved>),
}

/// A neighbour for which packets wait, and whose address is known now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    slot: usize,
}

/// What is to be done for the cache.
#[derive(Debug)]
pub(crate) enum Action {
    /// Ask for the neighbour's address: everybody, or the one who is believed to have it.
    Solicit(IpAddr, Option<Mac>),
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
            index: Index::new(keyed, config.neighbors),
            entries: Slab::new(),
            leaving: Lists::default(),
            timers: Lists::default(),
            next_timer: None,
            max_entries: config.neighbors,
            max_queue: config.neighbor_queue,
            max_queued: config.neighbor_queues,
            queued: 0,
            random: keyed.0 ^ keyed.1,
            times: [Times::UNSAID; 2],
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

    /// A neighbour's address, and until when it is known that it need not be looked up again: for ever, if
    /// only what it says changes that. `None` if it is to be looked up now.
    pub(crate) fn settled(&self, address: IpAddr) -> Option<(Mac, Instant)> {
        let entry = self.known(address)?;
        match entry.state {
            State::Reachable { until } => Some((entry.mac, until)),
            State::Delay { .. } | State::Probe { .. } => Some((entry.mac, Instant::FAR_FUTURE)),
            State::Incomplete { .. } | State::Stale | State::Failed { .. } => None,
        }
    }

    /// What is to be done next; `None` when that is all.
    #[inline]
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The packet that has waited for a neighbour since last.
    pub(crate) fn waits_last(&self, address: IpAddr) -> Option<&Packet> {
        self.known(address)?.waiting.back().map(|(packet, _)| packet)
    }

    /// From where the first packet comes that waits for an IPv6 neighbour.
    pub(crate) fn waiting_source(&self, address: IpAddr) -> Option<Ipv6Addr> {
        let (packet, _) = self.known(address)?.waiting.front()?;
        ipv6::Header::parse(packet.bytes()).ok().map(ipv6::Header::source)
    }

    /// Whether an address is known and may well be right: in any state but INCOMPLETE (RFC 4861
    /// §6.3.6).
    pub(crate) fn is_probably_reachable(&self, address: IpAddr) -> bool {
        self.known(address).is_some_and(|entry| !entry.is_unknown())
    }

    fn slot(&self, address: IpAddr) -> Option<usize> {
        self.slot_by(self.index.hash(address), address)
    }

    #[inline]
    fn slot_by(&self, hash: u32, address: IpAddr) -> Option<usize> {
        let is = |slot| self.entries.get(slot).is_some_and(|entry| entry.address == address);
        self.index.find(hash, is)
    }

    fn known(&self, address: IpAddr) -> Option<&Entry> {
        self.slot(address).map(|slot| &self.entries[slot])
    }

    /// Looks a neighbour up to send it something.
    #[inline(never)]
    pub(crate) fn lookup(&mut self, now: Instant, address: IpAddr) -> Lookup {
        let hash = self.index.hash(address);
        let slot = self.slot_by(hash, address);
        let unresolved = Lookup::Unresolved(Unresolved { address, hash, slot });
        let Some(slot) = slot else { return unresolved };
        let entry = &mut self.entries[slot];
        entry.last_used = now;
        entry.used = true;
        self.leaving.put(slot, entry.worth(), now);
        match entry.state {
            State::Incomplete { .. } => unresolved,
            State::Failed { until } if until > now => Lookup::Failed,
            State::Failed { .. } => unresolved,
            _ => {
                let mac = entry.mac;
                if entry.is_stale(now) {
                    self.set_state(slot, State::Delay { until: now + DELAY });
                }
                Lookup::Found(mac)
            }
        }
    }

    /// Lets a packet wait for a neighbour that [`Cache::lookup`] has just found unresolved.
    pub(crate) fn wait(
        &mut self,
        now: Instant,
        neighbor: Unresolved,
        packet: Packet,
        mtu: u16,
    ) -> Wait {
        let Unresolved { address, hash, slot } = neighbor;
        let asked = |next| State::Incomplete { requests: 1, next };
        let next = now + self.times(address).retransmit;
        let (slot, asks) = match slot {
            Some(slot) if matches!(self.entries[slot].state, State::Failed { .. }) => {
                self.set_state(slot, asked(next));
                (slot, true)
            }
            Some(slot) => (slot, false),
            None => match self.insert(now, (address, hash), asked(next), Mac::default()) {
                Some(slot) => (slot, true),
                None => {
                    self.actions.push_back(Action::Count(Drop::NeighborCacheFull));
                    return Wait::Refused;
                }
            },
        };
        let entry = &mut self.entries[slot];
        // RFC 4861 §7.2.2: the newest replaces the oldest.
        if entry.waiting.len() >= self.max_queue && entry.waiting.pop_front().is_some() {
            self.queued -= 1;
            self.actions.push_back(Action::Count(Drop::NeighborQueueFull));
        }
        // However many wait for others, one can wait for each.
        let full = self.queued >= self.max_queued && !entry.waiting.is_empty();
        if full || self.max_queue == 0 {
            if asks {
                self.actions.push_back(Action::Solicit(address, None));
            }
            self.actions.push_back(Action::Count(Drop::NeighborQueueFull));
            return Wait::Refused;
        }
        self.queued += 1;
        entry.waiting.push_back((packet, mtu));
        if asks { Wait::Asks } else { Wait::Waits }
    }

    /// Takes note of a neighbour's address, as ARP tells it, or the options of neighbour discovery's
    /// other messages (RFC 4861 §7.2.3, §6.3.4). What waits for it can go then.
    #[must_use]
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        address: IpAddr,
        mac: Mac,
        evidence: Evidence,
    ) -> Option<Resolved> {
        let hash = self.index.hash(address);
        let Some(slot) = self.slot_by(hash, address) else {
            // A neighbour that answers although nobody asked it is not believed.
            if evidence == Evidence::Request {
                self.insert(now, (address, hash), State::Stale, mac);
            }
            return None;
        };
        let entry = &mut self.entries[slot];
        let before = entry.kind();
        let asked = matches!(entry.state, State::Incomplete { .. } | State::Probe { .. });
        let other = entry.is_unknown() || entry.mac != mac;
        entry.mac = mac;
        if evidence == Evidence::Answer && asked {
            self.confirm(now, slot);
        } else if other {
            self.set_state(slot, State::Stale);
        }
        self.note_change(slot, before);
        self.resolved(now, slot)
    }

    /// Takes a neighbour advertisement (RFC 4861 §7.2.5). `mac` is the target's address, if it
    /// says. `None` if nobody wants to know. What waits for it can go if it is believed.
    pub(crate) fn advertised(
        &mut self,
        now: Instant,
        address: IpAddr,
        mac: Option<Mac>,
        solicited: bool,
        overrides: bool,
    ) -> Option<Heard> {
        let slot = self.slot(address)?;
        let entry = &mut self.entries[slot];
        let before = entry.kind();
        if matches!(entry.state, State::Failed { .. }) {
            return None;
        }
        let unknown = entry.is_unknown();
        let other = mac.filter(|&mac| unknown || mac != entry.mac);
        let believed = match other {
            None => !unknown,
            Some(_) => unknown || overrides,
        };
        if believed {
            entry.mac = mac.unwrap_or(entry.mac);
            if solicited {
                self.confirm(now, slot);
            } else if other.is_some() {
                self.set_state(slot, State::Stale);
            }
        } else if matches!(entry.state, State::Reachable { .. }) {
            self.set_state(slot, State::Stale);
        }
        self.note_change(slot, before);
        if !believed {
            return Some(Heard::PassedOver);
        }
        Some(Heard::Believed(self.resolved(now, slot)))
    }

    /// Takes a neighbour up, perhaps in another's place; `None` if there is none for it. One that is
    /// asked for is in use.
    fn insert(
        &mut self,
        now: Instant,
        (address, hash): (IpAddr, u32),
        state: State,
        mac: Mac,
    ) -> Option<usize> {
        let used = matches!(state, State::Incomplete { .. });
        let (last_used, confirmed) = (now, false);
        let slot = if self.entries.len() < self.max_entries {
            let waiting = Waiting::new();
            let entry = Entry { address, state, mac, last_used, used, confirmed, waiting };
            self.entries.insert(entry)
        } else {
            let slot = self.victim(now)?;
            self.clear(slot);
            // The memory of its queue stays.
            let entry = &mut self.entries[slot];
            entry.address = address;
            entry.state = state;
            entry.mac = mac;
            entry.last_used = last_used;
            entry.used = used;
            entry.confirmed = confirmed;
            slot
        };
        self.index.insert(slot, hash);
        self.leaving.put(slot, worth(confirmed, used), now);
        self.set_timer(slot, state.timer());
        Some(slot)
    }

    /// Who leaves a full cache: the least recently used, unless all are in use; before those that have
    /// ever answered, those that have not.
    fn victim(&self, now: Instant) -> Option<usize> {
        let (first, _) = (0..4).find_map(|worth| self.leaving.first(worth))?;
        // If it is in use, those that come behind it are, too.
        (!self.entries[first].in_use(now)).then_some(first)
    }

    /// Gives up what waits for a neighbour, which makes way for another.
    fn clear(&mut self, slot: usize) {
        self.index.remove(slot);
        self.changes = self.changes.wrapping_add(1);
        let waiting = &mut self.entries[slot].waiting;
        self.queued -= waiting.len();
        while waiting.pop_front().is_some() {
            self.actions.push_back(Action::Count(Drop::NeighborUnreachable));
        }
    }

    /// Forgets a neighbour, for which nothing waits any more.
    fn remove(&mut self, slot: usize) {
        self.entries.remove(slot);
        self.index.remove(slot);
        self.leaving.remove(slot);
        self.set_timer(slot, None);
    }

    fn note_change(&mut self, slot: usize, before: (Mac, Discriminant<State>)) {
        if self.entries[slot].kind() != before {
            self.changes = self.changes.wrapping_add(1);
        }
    }

    /// Says whether anything waits for a neighbour whose address is known now, and will go.
    fn resolved(&mut self, now: Instant, slot: usize) -> Option<Resolved> {
        let entry = &self.entries[slot];
        if entry.waiting.is_empty() {
            return None;
        }
        if entry.state == State::Stale {
            self.set_state(slot, State::Delay { until: now + DELAY });
        }
        Some(Resolved { slot })
    }

    /// The next packet that has waited for a neighbour, its address, and the most bytes that pass in one
    /// piece.
    pub(crate) fn poll_waiting(&mut self, neighbor: Resolved) -> Option<(Packet, Mac, u16)> {
        let entry = &mut self.entries[neighbor.slot];
        let (packet, mtu) = entry.waiting.pop_front()?;
        self.queued -= 1;
        Some((packet, entry.mac, mtu))
    }

    /// How many packets wait for neighbours.
    pub(crate) fn waiting(&self) -> usize {
        self.queued
    }

    /// Whether packets wait for neighbours.
    pub(crate) fn has_waiting(&self) -> bool {
        self.queued > 0
    }
}

#[cfg(test)]
mod tests;
