//! The format of messages and times (RFC 5905 §6 and §7.3).

use core::time::Duration;

use zerocopy::network_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Leap indicator of a clock that is not set.
pub(crate) const NOT_SET: u8 = 3;
/// The version that is spoken here; older ones look the same.
pub(crate) const VERSION: u8 = 4;
/// Mode of a question.
pub(crate) const CLIENT: u8 = 3;
/// Mode of an answer.
pub(crate) const SERVER: u8 = 4;

pub(crate) const NANOS: i64 = 1_000_000_000;

/// From 1900, when NTP's time began, to 1970.
const TO_1970: u64 = 2_208_988_800;

/// A message, without the extensions and the digest that may follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    /// Leap indicator, version, mode.
    pub(crate) flags: u8,
    pub(crate) stratum: u8,
    /// Log₂ of seconds, as is the precision.
    pub(crate) poll: i8,
    pub(crate) precision: i8,
    /// Seconds, in 2⁻¹⁶, as is the root dispersion.
    pub(crate) root_delay: U32,
    pub(crate) root_dispersion: U32,
    pub(crate) reference_id: [u8; 4],
    pub(crate) reference: U64,
    pub(crate) origin: U64,
    pub(crate) receive: U64,
    pub(crate) transmit: U64,
}

/// How long a message is, in bytes.
pub(crate) const LEN: usize = size_of::<Header>();

impl Header {
    /// The message in a payload; what follows it is passed over.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        Self::read_from_prefix(payload).ok().map(|(header, _)| header)
    }

    /// A question, told from others by `nonce` and by nothing else: whoever sees it learns nothing
    /// of the clock here.
    pub(crate) fn question(poll: i8, nonce: u64) -> Self {
        Self {
            flags: flags(0, VERSION, CLIENT),
            stratum: 0,
            poll,
            precision: 0x20,
            root_delay: U32::ZERO,
            root_dispersion: U32::ZERO,
            reference_id: [0; 4],
            reference: U64::ZERO,
            origin: U64::ZERO,
            receive: U64::ZERO,
            transmit: U64::new(nonce),
        }
    }

    pub(crate) fn leap(&self) -> u8 {
        self.flags >> 6
    }

    pub(crate) fn version(&self) -> u8 {
        self.flags >> 3 & 0b111
    }

    pub(crate) fn mode(&self) -> u8 {
        self.flags & 0b111
    }
}

pub(crate) fn flags(leap: u8, version: u8, mode: u8) -> u8 {
    leap << 6 | version << 3 | mode
}

/// A point in time: seconds since 1900, in 2⁻³². In 2036 it begins anew; two points are told apart
/// as long as they are not 68 years apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timestamp(pub(crate) u64);

impl Timestamp {
    /// The point this long after 1970.
    pub(crate) fn from_unix(time: Duration) -> Self {
        let seconds = time.as_secs().wrapping_add(TO_1970);
        let fraction = (u64::from(time.subsec_nanos()) << 32) / NANOS.cast_unsigned();
        Self(seconds << 32 | fraction)
    }

    /// How much later than `other` it is, in nanoseconds.
    pub(crate) fn since(self, other: Self) -> i64 {
        let fractions = i128::from(self.0.wrapping_sub(other.0).cast_signed());
        // 2³¹ seconds at the most: it fits.
        ((fractions * i128::from(NANOS)) >> 32) as i64
    }

    /// The point this many nanoseconds later.
    pub(crate) fn plus(self, nanos: i64) -> Self {
        let fractions = (i128::from(nanos) << 32) / i128::from(NANOS);
        // It wraps around as the time does.
        Self(self.0.wrapping_add(fractions as u64))
    }
}

/// Nanoseconds of what is in 2⁻¹⁶ seconds.
pub(crate) fn from_short(short: u32) -> i64 {
    (i64::from(short) * NANOS) >> 16
}

/// What is in 2⁻¹⁶ seconds of nanoseconds, rounded up.
pub(crate) fn to_short(nanos: i64) -> u32 {
    let short = ((i128::from(nanos.max(0)) << 16) + i128::from(NANOS) - 1) / i128::from(NANOS);
    u32::try_from(short).unwrap_or(u32::MAX)
}

/// Nanoseconds of a precision: log₂ of seconds, of which no more than one is believed.
pub(crate) fn from_log2(log2: i8) -> i64 {
    NANOS.checked_shr(log2.min(0).unsigned_abs().into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_rfc() {
        assert_eq!(LEN, 48);
        // RFC 5905 figure 4.
        assert_eq!(Timestamp::from_unix(Duration::ZERO).0, 2_208_988_800 << 32);
        let last = Duration::from_secs(4_294_967_296 - 2_208_988_800);
        assert_eq!(Timestamp::from_unix(last).0, 0);
        let half = Timestamp::from_unix(Duration::from_millis(1_500));
        assert_eq!(half.0, 2_208_988_801 << 32 | 1 << 31);
    }

    #[test]
    fn differences_pass_over_the_end_of_an_era() {
        let end = Duration::from_secs(4_294_967_296 - 2_208_988_800);
        let before = Timestamp::from_unix(end - Duration::from_secs(10));
        let after = Timestamp::from_unix(end + Duration::from_secs(5));
        assert_eq!((after.since(before), before.since(after)), (15 * NANOS, -15 * NANOS));
        assert_eq!(before.plus(15 * NANOS), after);
        assert_eq!(after.plus(-15 * NANOS), before);
    }

    #[test]
    fn short_times_are_never_told_too_small() {
        assert_eq!((to_short(0), to_short(-1), to_short(1), to_short(NANOS)), (0, 0, 1, 0x1_0000));
        assert_eq!(to_short(i64::MAX), u32::MAX);
        assert_eq!((from_short(0x1_8000), from_short(u32::MAX) / NANOS), (3 * NANOS / 2, 65_535));
        assert_eq!((from_log2(-1), from_log2(0), from_log2(9)), (NANOS / 2, NANOS, NANOS));
        assert_eq!((from_log2(-20), from_log2(i8::MIN)), (953, 0));
    }
}
