//! Claiming an address: asking whether somebody has it, telling that it is ours, and holding it
//! against others (RFC 5227 for IPv4, RFC 4862 §5.4 for IPv6).
//!
//! ```text
//!            asked as often as is to be      told as often as is to be
//!  PROBING ────────────────────────▶ ANNOUNCING ────────────────▶ HELD
//!     │ ▲                                (IPv4 alone)
//!     ▼ │ a minute later
//!   REFUSED
//! ```
//!
//! RFC 4862 §5.4.5 has a refused address not be used, and says nothing of asking for it again: who
//! had it may be gone, or was never there but in a forged message.

use core::time::Duration;

use netdev::Instant;

/// RFC 5227 §1.1: PROBE_NUM.
const PROBES_V4: u8 = 3;
/// RFC 4862 §5.1: DupAddrDetectTransmits.
const PROBES_V6: u8 = 1;
/// The same for an address that somebody had: that an answer is lost, once in so many times that
/// it is asked for, is not to be taken for there being none.
const PROBES_V6_AGAIN: u8 = 3;
/// RFC 5227 §1.1: ANNOUNCE_NUM.
const ANNOUNCEMENTS: u8 = 2;
/// RFC 5227 §1.1: ANNOUNCE_WAIT and ANNOUNCE_INTERVAL.
const ANNOUNCE: Duration = Duration::from_secs(2);
/// RFC 5227 §1.1: DEFEND_INTERVAL.
const DEFEND: Duration = Duration::from_secs(10);
/// How long to wait before an address that somebody has is asked for again (RFC 5227 §1.1,
/// RATE_LIMIT_INTERVAL).
const RETRY: Duration = Duration::from_secs(60);

/// How long to wait before it is tried again to ask, if there was no packet to ask with.
const UNASKED: Duration = Duration::from_millis(100);

/// How far a host has come in making an address its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    state: State,
    defended: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// `again`, if somebody had it when it was asked for before.
    Probing {
        sent: u8,
        next: Instant,
        again: bool,
    },
    Announcing {
        sent: u8,
        next: Instant,
    },
    Held,
    Refused {
        until: Instant,
    },
}

/// What is to be done to claim an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask whether somebody has it.
    Probe,
    /// Tell that we have it.
    Announce,
    /// It is ours from now on.
    Held,
}

/// What comes of somebody else's using an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// It was theirs first: as it was before, if `again`.
    Lost { again: bool },
    /// It is ours: tell them.
    Defend,
    /// It is ours, and they were told a moment ago.
    Repeated,
}

impl Claim {
    /// Begins to ask after `delay`.
    pub(crate) fn new(now: Instant, delay: Duration) -> Self {
        Self { state: State::Probing { sent: 0, next: now + delay, again: false }, defended: None }
    }

    /// Whether nobody has said yet that it has the address, nor has there been time to.
    pub(crate) fn is_tentative(&self) -> bool {
        matches!(self.state, State::Probing { .. })
    }

    /// Whether it was found to be somebody else's.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.state, State::Refused { .. })
    }

    /// Whether it was found to be somebody else's, and has not been found to be free since.
    pub(crate) fn is_contested(&self) -> bool {
        matches!(self.state, State::Refused { .. } | State::Probing { again: true, .. })
    }

    /// When a step may be due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Probing { next, .. } | State::Announcing { next, .. } => Some(next),
            State::Refused { until } => Some(until),
            State::Held => None,
        }
    }

    /// The next step for an IPv4 address, if it is time. `random` spreads the probes (RFC 5227
    /// §2.1.1: one or two seconds from one to the next).
    pub(crate) fn step_v4(&mut self, now: Instant, random: u32) -> Option<Step> {
        if self.poll_timeout()? > now {
            return None;
        }
        let spread = Duration::from_millis(u64::from(random % 1_000));
        match &mut self.state {
            State::Probing { sent, next, .. } if *sent < PROBES_V4 => {
                *sent += 1;
                let last = *sent == PROBES_V4;
                *next = now + if last { ANNOUNCE } else { Duration::from_secs(1) + spread };
                Some(Step::Probe)
            }
            State::Probing { .. } => {
                self.state = State::Announcing { sent: 1, next: now + ANNOUNCE };
                Some(Step::Announce)
            }
            State::Announcing { sent, next } if *sent < ANNOUNCEMENTS => {
                *sent += 1;
                *next = now + ANNOUNCE;
                Some(Step::Announce)
            }
            State::Announcing { .. } => {
                self.state = State::Held;
                Some(Step::Held)
            }
            State::Refused { .. } => {
                self.state = State::Probing { sent: 0, next: now + spread, again: true };
                None
            }
            State::Held => None,
        }
    }

    /// The next step for an IPv6 address, if it is time: it is asked for, and ours if nobody has
    /// spoken up for it in the time of `silence`.
    pub(crate) fn step_v6(&mut self, now: Instant, silence: Duration) -> Option<Step> {
        if self.poll_timeout()? > now {
            return None;
        }
        match &mut self.state {
            State::Probing { sent, next, again }
                if *sent < if *again { PROBES_V6_AGAIN } else { PROBES_V6 } =>
            {
                *sent += 1;
                *next = now + silence;
                Some(Step::Probe)
            }
            State::Probing { .. } => {
                self.state = State::Held;
                Some(Step::Held)
            }
            State::Refused { .. } => {
                // Whoever has it is listened to until the question is on its way.
                self.state = State::Probing { sent: 1, next: now + silence, again: true };
                Some(Step::Probe)
            }
            State::Announcing { .. } | State::Held => None,
        }
    }

    /// Takes back the last [`Step::Probe`]: there was no packet to ask with. It comes again soon.
    pub(crate) fn unasked(&mut self, now: Instant) {
        if let State::Probing { sent, next, .. } = &mut self.state {
            *sent = sent.saturating_sub(1);
            *next = now + UNASKED;
        }
    }

    /// Takes note of somebody else's using the address.
    pub(crate) fn conflict(&mut self, now: Instant) -> Conflict {
        match self.state {
            State::Probing { .. } | State::Refused { .. } => {
                let again = self.is_contested();
                self.state = State::Refused { until: now + RETRY };
                Conflict::Lost { again }
            }
            State::Announcing { .. } | State::Held => {
                let recent = self.defended.is_some_and(|at| now - at < DEFEND);
                if recent {
                    return Conflict::Repeated;
                }
                self.defended = Some(now);
                Conflict::Defend
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::mem;

    use super::*;

    const START: Instant = Instant::from_nanos(1_000_000_000_000);

    /// The steps of a claim, with the second of each.
    fn steps(mut step: impl FnMut(&mut Claim, Instant) -> Option<Step>) -> Vec<(u64, Step)> {
        let mut claim = Claim::new(START, Duration::ZERO);
        let mut steps = Vec::new();
        while let Some(next) = claim.poll_timeout() {
            steps.extend(step(&mut claim, next).map(|step| ((next - START).as_secs(), step)));
        }
        steps
    }

    #[test]
    fn an_ipv4_address_is_asked_for_three_times_and_told_of_twice() {
        use Step::{Announce, Held, Probe};
        let expected =
            [(0, Probe), (1, Probe), (2, Probe), (4, Announce), (6, Announce), (8, Held)];
        assert_eq!(steps(|claim, now| claim.step_v4(now, 0)), expected);
    }

    #[test]
    fn an_ipv6_address_is_asked_for_once() {
        let step = |claim: &mut Claim, now| claim.step_v6(now, Duration::from_secs(1));
        assert_eq!(steps(step), [(0, Step::Probe), (1, Step::Held)]);
    }

    #[test]
    fn an_ipv6_address_that_somebody_had_is_asked_for_three_times_a_minute_later() {
        let mut lost = false;
        let steps = steps(|claim, now| {
            let step = claim.step_v6(now, Duration::from_secs(1));
            if !mem::replace(&mut lost, true) {
                assert_eq!(claim.conflict(now), Conflict::Lost { again: false });
                assert!(claim.is_refused() && claim.is_contested());
            }
            step
        });
        use Step::{Held, Probe};
        assert_eq!(steps, [(0, Probe), (60, Probe), (61, Probe), (62, Probe), (63, Held)]);
    }

    #[test]
    fn an_address_that_is_asked_for_is_lost_to_whoever_has_it_and_asked_for_again_later() {
        let mut claim = Claim::new(START, Duration::ZERO);
        assert_eq!(claim.step_v4(START, 0), Some(Step::Probe));
        assert_eq!(claim.conflict(START), Conflict::Lost { again: false });
        assert!(claim.is_refused() && !claim.is_tentative() && claim.is_contested());
        let later = START + RETRY;
        assert_eq!(claim.poll_timeout(), Some(later));
        assert_eq!(claim.step_v4(later, 0), None);
        assert_eq!(claim.step_v4(later, 0), Some(Step::Probe));
        assert!(claim.is_tentative() && claim.is_contested());
        assert_eq!(claim.conflict(later), Conflict::Lost { again: true });
    }

    #[test]
    fn an_address_that_is_held_is_defended_once_in_ten_seconds() {
        let mut claim = Claim::new(START, Duration::ZERO);
        let silence = Duration::from_secs(1);
        claim.step_v6(START, silence);
        claim.step_v6(START + silence, silence);
        let now = START + Duration::from_secs(100);
        assert_eq!(claim.conflict(now), Conflict::Defend);
        assert_eq!(claim.conflict(now + Duration::from_secs(9)), Conflict::Repeated);
        assert_eq!(claim.conflict(now + Duration::from_secs(10)), Conflict::Defend);
    }
}
