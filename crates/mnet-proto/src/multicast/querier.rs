use core::time::Duration;

use netdev::Instant;

use crate::ip::earlier;

/// How often to say what may be lost, until a querier says otherwise (RFC 3376 §8.1, RFC 3810 §9.1).
const ROBUSTNESS: u8 = 2;
/// Time between two general queries, until a querier says otherwise (RFC 3376 §8.2, RFC 3810 §9.2).
const QUERY_INTERVAL: Duration = Duration::from_secs(125);

/// A version of IGMP or of MLD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Generation {
    /// IGMPv1: nobody says that it leaves.
    First,
    /// IGMPv2 and MLDv1: nobody speaks of sources.
    Second,
    /// IGMPv3 and MLDv2.
    Third,
}

/// What is known of the link's querier, which decides what is spoken.
///
/// ```text
///          general query of the second             query of the first
///  Third ────────────────────────────▶ Second ────────────────────────────▶ First
///    ▲ ▲                                │  ▲                                │ │
///    │ └── none for a while ────────────┘  └── none for a while ────────────┘ │
///    └───────────────── none for a while, and none of the second ─────────────┘
/// ```
pub(super) struct Querier {
    pub(super) robustness: u8,
    interval: Duration,
    // When the last answer to an older querier was due.
    first: Option<Instant>,
    second: Option<Instant>,
    /// When to answer a general query of the third generation.
    pub(super) answer: Option<Instant>,
}

impl Querier {
    pub(super) const fn new() -> Self {
        Self {
            robustness: ROBUSTNESS,
            interval: QUERY_INTERVAL,
            first: None,
            second: None,
            answer: None,
        }
    }

    /// What is spoken.
    pub(super) fn generation(&self) -> Generation {
        if self.first.is_some() {
            Generation::First
        } else if self.second.is_some() {
            Generation::Second
        } else {
            Generation::Third
        }
    }

    /// Takes note of what a query of the third generation says. Zero is what cannot be said.
    pub(super) fn set(&mut self, robustness: u8, interval: Duration) {
        self.robustness = if robustness == 0 { ROBUSTNESS } else { robustness };
        self.interval = if interval.is_zero() { QUERY_INTERVAL } else { interval };
    }

    /// Takes note that an older querier is there.
    pub(super) fn heard(&mut self, now: Instant, generation: Generation, max_response: Duration) {
        match generation {
            Generation::First => self.first = Some(now + max_response),
            Generation::Second => self.second = Some(now + max_response),
            Generation::Third => {}
        }
    }

    /// Forgets older queriers that have not been heard of for long.
    pub(super) fn expire(&mut self, now: Instant) {
        let present = self.present();
        self.first = self.first.filter(|&heard| heard + present > now);
        self.second = self.second.filter(|&heard| heard + present > now);
    }

    /// When something is to be done.
    pub(super) fn timer(&self) -> Option<Instant> {
        let present = self.present();
        let until = |heard: Option<Instant>| heard.map(|heard| heard + present);
        earlier(self.answer, earlier(until(self.first), until(self.second)))
    }

    /// How long an older querier is there after it has been answered (Older Version Querier Present
    /// Timeout: RFC 3376 §8.12, RFC 3810 §9.12). This is of the last query, not of the one when the
    /// older querier was heard: a forged one that says days is set right by the next.
    fn present(&self) -> Duration {
        self.interval * self.robustness.into()
    }
}
