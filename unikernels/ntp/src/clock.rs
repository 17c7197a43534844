//! The clock that is served: the host's, or one that goes by servers.

use alloc::vec::Vec;
use core::cell::Cell;
use core::net::{IpAddr, SocketAddr};

use md5::{Digest, Md5};
use mkernel::{now, wall_clock};
use mnet::Instant;
use zerocopy::network_endian::{U32, U64};

use crate::source::{MAX_STRATUM, Source, select};
use crate::wire::{CLIENT, Header, NANOS, NOT_SET, SERVER, Timestamp, VERSION, flags, to_short};

/// How finely the clock can be read, as log₂ of seconds: in half a microsecond or less.
pub(crate) const PRECISION: i8 = -21;
/// How much the host's own clock is said to be wrong, as nobody knows.
const HOST_DISPERSION: i64 = NANOS / 100;
/// Reference ID of the host's clock, at stratum 1 and at others, as other servers have it.
const LOCAL: ([u8; 4], [u8; 4]) = (*b"LOCL", [127, 127, 1, 1]);

/// What is asked, and what time that makes it.
pub(crate) struct Clock {
    /// The host's wall clock as it was when this began.
    start: (Timestamp, Instant),
    /// Whose time it is.
    state: Cell<State>,
    /// Stratum of the host's clock, if that is served where no server tells the time.
    local: Option<u8>,
    pub(crate) sources: Vec<Source>,
}

/// Whose time it is, and how good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    server: Option<SocketAddr>,
    /// How much is added to what has passed since the start.
    correction: i64,
    set: Instant,
}

/// What is said of the clock beside the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) leap: u8,
    pub(crate) stratum: u8,
    pub(crate) root_delay: i64,
    pub(crate) root_dispersion: i64,
    pub(crate) reference_id: [u8; 4],
    pub(crate) reference: Timestamp,
}

impl Clock {
    pub(crate) fn new(local: Option<u8>) -> Self {
        let (wall, now) = (wall_clock(), now());
        let state = State { server: None, correction: 0, set: now };
        let start = (Timestamp::from_unix(wall), now);
        Self { start, state: Cell::new(state), local, sources: Vec::new() }
    }

    /// The host's clock as it was at the start, and has gone since: nothing puts it forward or back.
    pub(crate) fn raw(&self, at: Instant) -> Timestamp {
        let (wall, start) = self.start;
        let nanos = i128::from(at.as_nanos()) - i128::from(start.as_nanos());
        wall.plus(nanos as i64)
    }

    /// The time at a point that is just past.
    pub(crate) fn at(&self, at: Instant) -> Timestamp {
        self.raw(at).plus(self.state.get().correction)
    }

    /// Goes by what servers have said, or by the host; says so when that changes.
    pub(crate) fn update(&self) {
        let old = self.state.get();
        let Some((server, sample, _)) = select(&self.sources, now()) else {
            self.state.set(State { server: None, ..old });
            if old.server.is_some() {
                log::warn!("no server tells the time any more");
            }
            return self.follow_host();
        };
        let correction = sample.offset;
        self.state.set(State { server: Some(server), correction, set: sample.at });
        if old.server != Some(server) {
            let micros = (correction - old.correction) / 1_000;
            log::info!("goes by {server}, which puts it forward by {micros} µs");
        }
    }

    /// Goes by the host's clock, if no server tells the time and that is what is to be served then:
    /// it may have been put forward or back since.
    pub(crate) fn follow_host(&self) {
        let now = now();
        if self.state.get().server.is_none() && self.local.is_some() {
            let correction = Timestamp::from_unix(wall_clock()).since(self.raw(now));
            self.state.set(State { server: None, correction, set: now });
        }
    }

    /// What is said of it.
    pub(crate) fn status(&self, now: Instant) -> Status {
        let state = self.state.get();
        let source = self.sources.iter().find(|source| Some(source.server) == state.server);
        if let Some((sample, jitter)) = source.and_then(|source| source.best(now)) {
            return Status {
                leap: sample.leap,
                stratum: sample.stratum.saturating_add(1),
                root_delay: sample.root_delay(),
                root_dispersion: sample.root_dispersion(now).saturating_add(jitter),
                reference_id: source.map_or([0; 4], |source| reference_id(source.server.ip())),
                reference: self.at(state.set),
            };
        }
        let not_set = Status {
            leap: NOT_SET,
            stratum: MAX_STRATUM,
            root_delay: 0,
            root_dispersion: 0,
            reference_id: *b"INIT",
            reference: Timestamp(0),
        };
        let Some(stratum) = self.local else { return not_set };
        Status {
            leap: 0,
            stratum,
            root_dispersion: HOST_DISPERSION,
            reference_id: if stratum == 1 { LOCAL.0 } else { LOCAL.1 },
            reference: self.at(state.set),
            ..not_set
        }
    }
}

/// What a server goes by at the next stratum: its address, or what stands for one of IPv6
/// (RFC 5905 §7.3).
fn reference_id(server: IpAddr) -> [u8; 4] {
    match server {
        IpAddr::V4(server) => server.octets(),
        IpAddr::V6(server) => {
            let [a, b, c, d, ..]: [u8; 16] = Md5::digest(server.octets()).into();
            [a, b, c, d]
        }
    }
}

/// The answer to what a client asks, but for when it leaves; `None` if it is no question. It is never
/// longer than the question.
pub(crate) fn answer(question: &[u8], status: &Status, came: Timestamp) -> Option<Header> {
    let question = Header::parse(question)?;
    if question.mode() != CLIENT || !(1..=VERSION).contains(&question.version()) {
        return None;
    }
    Some(Header {
        flags: flags(status.leap, question.version(), SERVER),
        // On the wire a clock that is not set has stratum 0.
        stratum: if status.stratum < MAX_STRATUM { status.stratum } else { 0 },
        poll: question.poll,
        precision: PRECISION,
        root_delay: U32::new(to_short(status.root_delay)),
        root_dispersion: U32::new(to_short(status.root_dispersion)),
        reference_id: status.reference_id,
        reference: U64::new(status.reference.0),
        origin: question.transmit,
        receive: U64::new(came.0),
        transmit: U64::ZERO,
    })
}

#[cfg(test)]
mod tests;
