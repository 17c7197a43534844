//! What a server says of the time, and how far that can be trusted (RFC 5905 §8 to §11).

use core::net::SocketAddr;
use core::time::Duration;

use mnet::Instant;

use crate::clock::PRECISION;
use crate::wire::{Header, NANOS, NOT_SET, SERVER, Timestamp, from_log2, from_short};

/// How much the clock here is thought to go wrong: 15 µs a second (PHI).
const DRIFT: i64 = 15_000;
/// From a server whose time is further off than this nothing is taken (MAXDISP).
const MAX_DISTANCE: i64 = 16 * NANOS;
/// Stratum of a clock that is not set (MAXSTRAT).
pub(crate) const MAX_STRATUM: u8 = 16;
/// Samples of which the best counts (NSTAGE).
const STAGES: usize = 8;

/// One answer, in nanoseconds where it is about time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// How much the clock here is to be put forward.
    pub(crate) offset: i64,
    /// There and back.
    pub(crate) delay: i64,
    dispersion: i64,
    /// When the answer came.
    pub(crate) at: Instant,
    pub(crate) leap: u8,
    pub(crate) stratum: u8,
    root_delay: i64,
    root_dispersion: i64,
}

/// What is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It does not answer the question. The answer may still come.
    Stray,
    /// The server does not know the time itself, or not well enough.
    NotSet,
    /// The server wants to be asked less often, or not at all (RFC 5905 §7.4).
    Kiss([u8; 4]),
}

impl Sample {
    /// What the answer to a question amounts to that was told by `nonce`, sent at `sent`, and
    /// answered at `received`.
    pub(crate) fn new(
        answer: &Header,
        nonce: u64,
        sent: Timestamp,
        received: Timestamp,
        at: Instant,
    ) -> Result<Self, Refusal> {
        if answer.mode() != SERVER || answer.origin.get() != nonce {
            return Err(Refusal::Stray);
        }
        if answer.stratum == 0 {
            return Err(Refusal::Kiss(answer.reference_id));
        }
        let (root_delay, root_dispersion) =
            (from_short(answer.root_delay.get()), from_short(answer.root_dispersion.get()));
        let is_set = answer.leap() != NOT_SET
            && answer.stratum < MAX_STRATUM
            && answer.transmit.get() != 0
            && root_delay / 2 + root_dispersion < MAX_DISTANCE;
        if !is_set {
            return Err(Refusal::NotSet);
        }
        let (came, left) = (Timestamp(answer.receive.get()), Timestamp(answer.transmit.get()));
        let away = received.since(sent);
        let own_precision = from_log2(PRECISION);
        let dispersion = from_log2(answer.precision) + own_precision;
        Ok(Self {
            offset: came.since(sent).saturating_add(left.since(received)) / 2,
            delay: away.saturating_sub(left.since(came)).max(own_precision),
            dispersion: dispersion.saturating_add(drift(away)),
            at,
            leap: answer.leap(),
            stratum: answer.stratum,
            root_delay,
            root_dispersion,
        })
    }

    /// How long it is there and back to the clock that all this comes from.
    pub(crate) fn root_delay(&self) -> i64 {
        self.root_delay.saturating_add(self.delay)
    }

    /// How much it may be wrong besides by now.
    pub(crate) fn root_dispersion(&self, now: Instant) -> i64 {
        let age = i64::try_from((now - self.at).as_nanos()).unwrap_or(i64::MAX);
        self.root_dispersion.saturating_add(self.dispersion).saturating_add(drift(age))
    }

    /// How much it may be wrong in all.
    pub(crate) fn distance(&self, now: Instant) -> i64 {
        (self.root_delay() / 2).saturating_add(self.root_dispersion(now))
    }
}

/// How much a clock may have gone wrong in so many nanoseconds.
fn drift(nanos: i64) -> i64 {
    nanos.max(0) / NANOS * DRIFT + nanos.max(0) % NANOS * DRIFT / NANOS
}

/// A server that is asked, and what it said last.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) server: SocketAddr,
    samples: [Option<Sample>; STAGES],
    next: usize,
    /// Which of the last eight questions were answered: the last in the lowest bit.
    reach: u8,
}

impl Source {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self { server, samples: [None; STAGES], next: 0, reach: 0 }
    }

    /// Takes note of what has come of a question.
    pub(crate) fn note(&mut self, sample: Option<Sample>) {
        self.reach = self.reach << 1 | u8::from(sample.is_some());
        if sample.is_some() {
            self.samples[self.next] = sample;
            self.next = (self.next + 1) % STAGES;
        }
    }

    /// The best of what it said, if it has answered any of the last eight questions; and how much
    /// the rest differs from that.
    pub(crate) fn best(&self, now: Instant) -> Option<(Sample, i64)> {
        if self.reach == 0 {
            return None;
        }
        let samples = || self.samples.iter().flatten();
        let best = *samples().min_by_key(|sample| sample.distance(now))?;
        let differences = samples().map(|sample| i128::from(sample.offset.abs_diff(best.offset)));
        let jitter = differences.sum::<i128>() / samples().count().max(1) as i128;
        Some((best, i64::try_from(jitter).unwrap_or(i64::MAX)))
    }
}

/// The server to go by: one that agrees, as far as it may be wrong, with more than half of those
/// that know the time; of these, one near to its clock. `None` if there is no majority.
pub(crate) fn select(sources: &[Source], now: Instant) -> Option<(SocketAddr, Sample, i64)> {
    let known = || {
        let best = |source: &Source| source.best(now).map(|it| (source.server, it.0, it.1));
        sources.iter().filter_map(best).filter(|(_, sample, _)| {
            sample.distance(now) < MAX_DISTANCE && sample.stratum + 1 < MAX_STRATUM
        })
    };
    let count = known().count();
    let agrees = |one: &Sample| {
        let overlaps = |other: &Sample| {
            let apart = i128::from(one.offset.abs_diff(other.offset));
            apart <= i128::from(one.distance(now)) + i128::from(other.distance(now))
        };
        2 * known().filter(|(_, other, _)| overlaps(other)).count() > count
    };
    // A stratum counts as much as a second.
    let metric = |sample: &Sample| {
        i128::from(sample.stratum) * i128::from(NANOS) + i128::from(sample.distance(now))
    };
    known().filter(|(_, sample, _)| agrees(sample)).min_by_key(|(_, sample, _)| metric(sample))
}

/// When to ask a server again.
#[derive(Debug)]
pub(crate) struct Poll {
    /// Log₂ of seconds.
    exponent: i8,
    asked: u32,
}

impl Poll {
    const BURST: u32 = 4;
    const LEAST: i8 = 6;
    const MOST: i8 = 10;

    pub(crate) fn new() -> Self {
        Self { exponent: Self::LEAST, asked: 0 }
    }

    pub(crate) fn exponent(&self) -> i8 {
        self.exponent
    }

    /// The time from one question to the next: two seconds at first, then 64, unless the server
    /// finds that too often.
    pub(crate) fn pause(&mut self) -> Duration {
        self.asked = self.asked.saturating_add(1);
        let burst = self.asked < Self::BURST && self.exponent == Self::LEAST;
        Duration::from_secs(if burst { 2 } else { 1 << self.exponent })
    }

    /// Asks half as often.
    pub(crate) fn slow_down(&mut self) {
        self.exponent = (self.exponent + 1).min(Self::MOST);
    }
}

#[cfg(test)]
mod tests;
