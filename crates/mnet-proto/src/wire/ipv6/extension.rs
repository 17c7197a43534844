//! Extension headers and their options (RFC 8200 §4).

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Malformed;

/// Length of a fragment header in bytes.
pub const FRAGMENT_LEN: usize = 8;

/// Type of the option that asks routers to look inside (RFC 2711).
pub const ROUTER_ALERT: u8 = 5;

/// Type of the option that says how long a payload of more than 65,535 bytes is (RFC 2675 §2).
pub const JUMBO_PAYLOAD: u8 = 0xc2;

const PAD1: u8 = 0;
const PAD_N: u8 = 1;
/// Most bytes of padding in a row: what aligns to 8 bytes (RFC 4942 §2.1.9.5, RFC 8504 §5.3).
const MAX_PADDING: usize = 7;

const MORE_FRAGMENTS: u16 = 0x0001;
const FRAGMENT_OFFSET: u16 = 0xfff8;

/// The hop-by-hop options header that MLD has in front of it, given what comes behind it: a router
/// alert that says MLD (RFC 2711 §2.1), and padding.
pub const ROUTER_ALERT_HOP_BY_HOP: fn(u8) -> [u8; 8] =
    |next_header| [next_header, 0, ROUTER_ALERT, 2, 0, 0, PAD_N, 0];

/// The header in front of a part of a datagram (§4.5).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Fragment {
    /// What comes behind it, in the first fragment; the others repeat it.
    pub next_header: u8,
    reserved: u8,
    offset_flags: U16,
    /// Which datagram this is a part of.
    pub identification: U32,
}

impl Fragment {
    /// A header for the part that starts `offset_bytes` into the fragmentable part. Parts start at
    /// multiples of 8 and below 65,536; the rest of the number is lost.
    #[must_use]
    pub fn new(next_header: u8, offset_bytes: usize, more: bool, identification: u32) -> Self {
        let (offset_flags, identification) = (U16::ZERO, U32::new(identification));
        let mut header = Self { next_header, reserved: 0, offset_flags, identification };
        header.set_part(offset_bytes, more);
        header
    }

    /// Lets it be the header for another part, as [`Fragment::new`] does.
    #[inline]
    pub fn set_part(&mut self, offset_bytes: usize, more: bool) {
        self.offset_flags = U16::new(offset_bytes as u16 & FRAGMENT_OFFSET | u16::from(more));
    }

    /// The header at the front of these bytes; `None` if it is cut short.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<&Self> {
        Self::ref_from_prefix(bytes).ok().map(|(header, _)| header)
    }

    /// Where this part starts in the fragmentable part, in bytes.
    #[must_use]
    pub fn offset(&self) -> usize {
        usize::from(self.offset_flags.get() & FRAGMENT_OFFSET)
    }

    /// Whether there are parts behind this one.
    #[must_use]
    pub fn more(&self) -> bool {
        self.offset_flags.get() & MORE_FRAGMENTS != 0
    }
}

/// The start of a routing header (§4.4).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Routing {
    /// What comes behind it.
    pub next_header: u8,
    len: u8,
    /// Which kind of routing header it is.
    pub kind: u8,
    /// How many nodes are still to be visited.
    pub segments_left: u8,
}

impl Routing {
    /// The header at the front of these bytes; `None` if they end before it does.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<&Self> {
        let (header, _) = Self::ref_from_prefix(bytes).ok()?;
        (header.len() <= bytes.len()).then_some(header)
    }

    /// Length of the whole header in bytes: 8 to 2,048.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        extension_len(self.len)
    }
}

/// The start of a hop-by-hop or destination options header (§4.3, §4.6).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Options {
    /// What comes behind it.
    pub next_header: u8,
    len: u8,
}

impl Options {
    /// The header at the front of these bytes; `None` if they end before it does. Its [`options`]
    /// are the bytes from 2 to [`Options::len`].
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<&Self> {
        let (header, _) = Self::ref_from_prefix(bytes).ok()?;
        (header.len() <= bytes.len()).then_some(header)
    }

    /// Length of the header with its options in bytes: 8 to 2,048.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        extension_len(self.len)
    }
}

fn extension_len(len: u8) -> usize {
    (usize::from(len) + 1) * 8
}

/// What is in an [`Options`] header behind its first two bytes, without the padding.
#[must_use]
pub fn options(bytes: &[u8]) -> OptionsIter<'_> {
    OptionsIter { bytes, at: 0 }
}

/// The options of a header, in their order; see [`options`].
#[derive(Clone, Debug)]
pub struct OptionsIter<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for OptionsIter<'a> {
    type Item = Result<Opt<'a>, Malformed>;

    /// An option that ends behind the header is [`Malformed::Truncated`], and the last; so is padding
    /// that hides something, or is more than there is a reason for.
    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        loop {
            let at = self.at;
            let (&kind, rest) = self.bytes.get(at..)?.split_first()?;
            let (head, data) = match rest.split_first() {
                _ if kind == PAD1 => (1, Some(&[][..])),
                Some((&len, rest)) => (2, rest.get(..usize::from(len))),
                None => (2, None),
            };
            self.at += head + data.map_or(0, <[u8]>::len);
            let wrong = match data {
                None => Malformed::Truncated,
                Some(data) if kind > PAD_N => return Some(Ok(Opt { at, kind, data })),
                Some(data) if self.at - start > MAX_PADDING || data.iter().any(|&b| b != 0) => {
                    Malformed::Padding
                }
                Some(_) => continue,
            };
            self.at = self.bytes.len();
            return Some(Err(wrong));
        }
    }
}

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt<'a> {
    /// Where its type stands in the bytes that [`options`] was given.
    pub at: usize,
    /// Its type.
    pub kind: u8,
    /// Its data.
    pub data: &'a [u8],
}

impl Opt<'_> {
    /// What one does who does not know its type: that is told by the type's upper two bits (§4.2).
    #[must_use]
    pub fn action(&self) -> Action {
        match self.kind >> 6 {
            0 => Action::Skip,
            1 => Action::Discard,
            2 => Action::ParameterProblem,
            _ => Action::ParameterProblemUnlessMulticast,
        }
    }
}

/// What to do about an option of unknown type (§4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on as if it were not there.
    Skip,
    /// Drop the datagram, and say nothing.
    Discard,
    /// Drop the datagram, and say so to its source, whatever its destination is.
    ParameterProblem,
    /// Drop the datagram, and say so to its source, unless its destination is a group.
    ParameterProblemUnlessMulticast,
}
