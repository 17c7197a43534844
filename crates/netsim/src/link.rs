use std::num::NonZeroU64;
use std::time::Duration;

use mnet_proto::wire::ethernet::HEADER_LEN;
use netdev::Instant;

use crate::fault::{Chance, Faults};

/// A link that every host plugged to it shares, as behind a switch: a frame for one goes to that
/// one, a frame for a group to all others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Whether frames pass at all. What is under way when it goes down is lost too.
    pub up: bool,
    /// How long each frame is under way.
    pub delay: Duration,
    /// How much longer at most. A frame that takes longer delays those behind it, so that jitter
    /// alone does not reorder.
    pub jitter: Duration,
    /// How long at most a frame is held back when it is to be overtaken ([`Faults::reorder`]).
    pub hold: Duration,
    /// The most bytes of IP in one frame. It is told to hosts when they are plugged in; a frame
    /// that is longer is dropped.
    pub mtu: u16,
    /// Bits a second that each host can put on it; `None` for any number.
    pub rate: Option<NonZeroU64>,
    /// What goes wrong, for each frame and each that it goes to.
    pub faults: Faults,
}

impl Default for Link {
    /// An Ethernet on which nothing goes wrong: an MTU of 1,500, and a delay of 100 µs.
    fn default() -> Self {
        Self {
            up: true,
            delay: Duration::from_micros(100),
            jitter: Duration::ZERO,
            hold: Duration::from_millis(1),
            mtu: 1_500,
            rate: None,
            faults: Faults::NONE,
        }
    }
}

/// Counters of a link. A frame counts once for each that it goes to; on a link where nothing is
/// under way, [`LinkStats::is_balanced`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Frames put on the link.
    pub offered: u64,
    /// Frames that arrive once more.
    pub duplicated: u64,
    /// Frames given to the host that they were for.
    pub delivered: u64,
    /// Frames lost by chance.
    pub lost: u64,
    /// Frames in which a bit was changed. They are delivered too, or dropped for another reason.
    pub corrupted: u64,
    /// Frames held back, to be overtaken. They are delivered too, or dropped for another reason.
    pub reordered: u64,
    /// Frames longer than the link takes.
    pub too_big: u64,
    /// Frames lost as the link, or one of the two hosts, was down.
    pub down: u64,
    /// Frames to an address that nobody on the link has.
    pub unclaimed: u64,
}

impl LinkStats {
    /// Frames that were not delivered, for whatever reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lost + self.too_big + self.down + self.unclaimed
    }

    /// Frames that are under way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        (self.offered + self.duplicated) - (self.delivered + self.dropped())
    }

    /// Whether every frame has been delivered or has a counter that says why not.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.offered + self.duplicated == self.delivered + self.dropped()
    }
}

/// When the sending side of a plug is free.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    /// When the last frame has left, at the link's rate.
    free: Instant,
    /// When the last frame arrives of those that keep their order.
    latest: Instant,
}

/// A link at work.
pub(crate) struct Wire {
    pub(crate) link: Link,
    pub(crate) stats: LinkStats,
    chance: Chance,
}

impl Wire {
    pub(crate) fn new(link: Link, chance: Chance) -> Self {
        Self { link, stats: LinkStats::default(), chance }
    }

    /// Whether a frame of so many bytes fits.
    pub(crate) fn takes(&self, len: usize) -> bool {
        len <= HEADER_LEN + usize::from(self.link.mtu)
    }

    /// When a frame of `len` bytes that is sent now has left its sender.
    pub(crate) fn departure(&self, now: Instant, line: &mut Line, len: usize) -> Instant {
        let Some(rate) = self.link.rate else { return now };
        let nanos = len as u64 * 8 * 1_000_000_000 / rate;
        line.free = line.free.max(now) + Duration::from_nanos(nanos);
        line.free
    }

    /// Decides what becomes of one frame on its way to one that it is for: `arrive` is called for
    /// each time that it arrives.
    pub(crate) fn carry(
        &mut self,
        departure: Instant,
        line: &mut Line,
        frame: &[u8],
        mut arrive: impl FnMut(Instant, Vec<u8>),
    ) {
        let Self { link, stats, chance } = self;
        let faults = link.faults;
        stats.offered += 1;
        let copies = if chance.happens(faults.duplicate) { 2 } else { 1 };
        stats.duplicated += copies - 1;
        for _ in 0..copies {
            if chance.happens(faults.loss) {
                stats.lost += 1;
                continue;
            }
            let mut at = departure + link.delay + chance.up_to(link.jitter);
            if chance.happens(faults.reorder) {
                stats.reordered += 1;
                at = at.max(line.latest) + chance.up_to(link.hold);
            } else {
                at = at.max(line.latest);
                line.latest = at;
            }
            let mut frame = frame.to_vec();
            if chance.happens(faults.corrupt) {
                stats.corrupted += 1;
                chance.corrupt(&mut frame);
            }
            arrive(at, frame);
        }
    }
}
