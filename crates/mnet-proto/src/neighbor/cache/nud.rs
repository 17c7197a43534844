//! What time does to neighbours: neighbour unreachability detection (RFC 4861 §7.3).

use core::net::IpAddr;
use core::ops::RangeInclusive;
use core::time::Duration;

use netdev::Instant;

use super::{Action, Cache, Entry, State};

/// Time between two requests (RFC 4861 §10, RetransTimer; RFC 1122 §2.3.2.1 asks for no more).
const RETRANSMIT: Duration = Duration::from_secs(1);
/// Requests before a neighbour is given up (MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT).
const REQUESTS: u8 = 3;
/// How long an answer is believed, on average (REACHABLE_TIME).
const REACHABLE: Duration = Duration::from_secs(30);
/// How long senders are told that a neighbour did not answer, before it is asked again.
const FAILED: Duration = Duration::from_secs(1);
/// What a router may say of [`REACHABLE`] (RFC 4861 §6.2.1 allows an hour).
const REACHABLE_SAID: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3_600);
/// What a router may say of [`RETRANSMIT`]: no message a moment, and nothing that lets packets, or an
/// address that is probed for, wait for long.
const RETRANSMIT_SAID: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(10);

/// What the routers of a link may say about how to treat its neighbours (RFC 4861 §6.3.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) reachable: Duration,
    pub(super) retransmit: Duration,
}

impl Times {
    /// Those of a link whose routers have said nothing.
    pub(super) const UNSAID: Self = Self { reachable: REACHABLE, retransmit: RETRANSMIT };
}

impl Cache {
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

    pub(super) fn set_state(&mut self, slot: usize, state: State) {
        self.entries[slot].state = state;
        self.set_timer(slot, state.timer());
    }

    pub(super) fn set_timer(&mut self, slot: usize, time: Option<Instant>) {
        match time {
            Some(time) => self.timers.put(slot, 0, time),
            None => self.timers.remove(slot),
        }
        self.next_timer = self.timers.first(0).map(|(_, time)| time);
    }

    /// Takes note that a neighbour has answered.
    pub(super) fn confirm(&mut self, now: Instant, slot: usize) {
        let entry = &mut self.entries[slot];
        let address = entry.address;
        if !entry.confirmed {
            entry.confirmed = true;
            self.leaving.put(slot, entry.worth(), entry.last_used);
        }
        let until = now + self.reachable_time(address);
        self.set_state(slot, State::Reachable { until });
    }

    /// When [`Cache::handle_timeout`] is to be called.
    #[inline]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer
    }

    /// Does what time asks for. Calling it early does no harm.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((slot, _)) = self.timers.first(0).filter(|&(_, time)| time <= now) {
            self.move_on(now, slot);
        }
    }

    /// Moves a neighbour on whose time has come.
    fn move_on(&mut self, now: Instant, slot: usize) {
        self.changes = self.changes.wrapping_add(1);
        let &Entry { address, state, mac, .. } = &self.entries[slot];
        let next = now + self.times(address).retransmit;
        let (ask, state) = match state {
            State::Incomplete { requests, .. } if requests < REQUESTS => {
                (Some(None), State::Incomplete { requests: requests + 1, next })
            }
            State::Incomplete { .. } => (None, State::Failed { until: now + FAILED }),
            State::Delay { .. } => (Some(Some(mac)), State::Probe { requests: 1, next }),
            State::Probe { requests, .. } if requests < REQUESTS => {
                (Some(Some(mac)), State::Probe { requests: requests + 1, next })
            }
            State::Probe { .. } => {
                self.give_up(slot);
                return self.remove(slot);
            }
            // Of these only FAILED waits for a time.
            State::Failed { .. } | State::Reachable { .. } | State::Stale => {
                return self.remove(slot);
            }
        };
        self.set_state(slot, state);
        match ask {
            Some(mac) => self.actions.push_back(Action::Solicit(address, mac)),
            None => self.give_up(slot),
        }
    }

    /// Tells that a neighbour does not answer, and who waits for it.
    fn give_up(&mut self, slot: usize) {
        let Entry { address, waiting, .. } = &mut self.entries[slot];
        self.actions.push_back(Action::Unreachable(*address));
        self.queued -= waiting.len();
        while let Some((packet, _)) = waiting.pop_front() {
            self.actions.push_back(Action::GiveUp(packet));
        }
    }

    pub(super) fn times(&self, address: IpAddr) -> Times {
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
        let reachable = self.times(address).reachable.as_nanos() as u64;
        Duration::from_nanos(reachable / 2 + reachable / 1024 * (self.random >> 54))
    }
}
