//! What IGMPv3 (RFC 3376) and MLDv2 (RFC 3810) share: how queries end, records of groups, lists of
//! sources, and numbers that float.

use alloc::vec::Vec;
use core::iter;
use core::marker::PhantomData;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length in bytes of what comes before the records of a report.
pub const REPORT_HEADER_LEN: usize = 8;
/// Length in bytes of what comes before the address of a record's group.
const RECORD_HEADER_LEN: usize = 4;

/// An address as one of the two protocols has it.
pub trait Address: Copy {
    /// Length in bytes.
    const LEN: usize;
    /// The address that is these bytes; `None` if they are not [`Address::LEN`].
    fn read(bytes: &[u8]) -> Option<Self>;
    /// Appends the address.
    fn append_to(self, bytes: &mut Vec<u8>);
}

impl Address for Ipv4Addr {
    const LEN: usize = 4;

    fn read(bytes: &[u8]) -> Option<Self> {
        <[u8; 4]>::try_from(bytes).ok().map(Self::from)
    }

    fn append_to(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.octets());
    }
}

impl Address for Ipv6Addr {
    const LEN: usize = 16;

    fn read(bytes: &[u8]) -> Option<Self> {
        <[u8; 16]>::try_from(bytes).ok().map(Self::from)
    }

    fn append_to(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.octets());
    }
}

/// What a query says of the one who asks, since queries have sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Querier {
    /// That other routers are not to heed the query; no matter to hosts.
    pub suppress: bool,
    /// How often to say what may be lost, 1 to 7; 0 if it is more.
    pub robustness: u8,
    /// Time between two general queries: 0 to 31,744 s, less exact the longer it is.
    pub interval: Duration,
}

/// How a query ends, in front of its sources, in the order of RFC 3376 §4.1; RFC 3810 §5.1 has the
/// same.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct QueryEnd {
    flags: u8,
    interval: u8,
    sources: U16,
}

const SUPPRESS: u8 = 0b1000;
const ROBUSTNESS: u8 = 0b0111;

impl Querier {
    /// What a query ends with, and its sources if they are all there; `None` if it is cut short
    /// before them.
    pub(super) fn parse<A: Address>(bytes: &[u8]) -> Option<(Self, Option<Sources<'_, A>>)> {
        let (end, sources) = QueryEnd::ref_from_prefix(bytes).ok()?;
        let querier = Self {
            suppress: end.flags & SUPPRESS != 0,
            robustness: end.flags & ROBUSTNESS,
            interval: Duration::from_secs(decode::<4>(end.interval.into()).into()),
        };
        Some((querier, Sources::split(sources, end.sources.get()).map(|(sources, _)| sources)))
    }

    /// Appends it to a query, and the sources. No more of them are taken than can be counted.
    pub(super) fn append_to<A: Address>(self, message: &mut Vec<u8>, sources: &[A]) {
        let suppress = if self.suppress { SUPPRESS } else { 0 };
        let seconds = u32::try_from(self.interval.as_secs()).unwrap_or(u32::MAX);
        let count = u16::try_from(sources.len()).unwrap_or(u16::MAX);
        let end = QueryEnd {
            flags: suppress | (self.robustness & ROBUSTNESS),
            interval: encode::<4>(seconds) as u8,
            sources: U16::new(count),
        };
        message.extend_from_slice(end.as_bytes());
        sources.iter().take(count.into()).for_each(|source| source.append_to(message));
    }
}

/// What a record says of its group (RFC 3376 §4.2.12, RFC 3810 §5.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// MODE_IS_INCLUDE: only these sources are wanted.
    IsInclude = 1,
    /// MODE_IS_EXCLUDE: all sources but these are wanted.
    IsExclude = 2,
    /// CHANGE_TO_INCLUDE_MODE: from now on, only these.
    ToInclude = 3,
    /// CHANGE_TO_EXCLUDE_MODE: from now on, all but these.
    ToExclude = 4,
    /// ALLOW_NEW_SOURCES: these, too.
    Allow = 5,
    /// BLOCK_OLD_SOURCES: these no more.
    Block = 6,
}

impl RecordKind {
    fn new(kind: u8) -> Option<Self> {
        let kinds = [
            Self::IsInclude,
            Self::IsExclude,
            Self::ToInclude,
            Self::ToExclude,
            Self::Allow,
            Self::Block,
        ];
        kinds.into_iter().find(|&known| known as u8 == kind)
    }
}

/// What is in front of the records of a report, in the order of RFC 3376 §4.2; RFC 3810 §5.2 has
/// the same.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ReportHeader {
    kind: u8,
    reserved: u8,
    checksum: [u8; 2],
    reserved_too: [u8; 2],
    records: U16,
}

/// What is in front of the addresses of a record, in the order of RFC 3376 §4.2.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RecordHeader {
    kind: u8,
    // In 32-bit words.
    auxiliary_len: u8,
    sources: U16,
}

/// A report that is being written. Its addresses are those of the protocol's family.
#[derive(Debug)]
pub struct Report {
    bytes: Vec<u8>,
    records: u16,
}

impl Report {
    /// A report of nothing yet, of the type that the protocol gives it.
    #[must_use]
    pub fn new(kind: u8) -> Self {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        Self { bytes, records: 0 }
    }

    /// Length in bytes, so far.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a report has a header")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many records there are, so far.
    #[must_use]
    pub fn records(&self) -> u16 {
        self.records
    }

    /// How many sources a record of a group can have that is pushed next, if the report may be `max`
    /// bytes long; `None` if there is no room even for one without.
    #[must_use]
    pub fn room(&self, group: IpAddr, max: usize) -> Option<usize> {
        let address_len = if group.is_ipv4() { Ipv4Addr::LEN } else { Ipv6Addr::LEN };
        let room = max.checked_sub(self.len() + RECORD_HEADER_LEN + address_len)?;
        (self.records < u16::MAX).then_some(room / address_len)
    }

    /// Appends a record. No more sources are taken than its counter can count.
    pub fn push(&mut self, kind: RecordKind, group: IpAddr, sources: &[IpAddr]) {
        let count = u16::try_from(sources.len()).unwrap_or(u16::MAX);
        let header = RecordHeader { kind: kind as u8, auxiliary_len: 0, sources: U16::new(count) };
        self.bytes.extend_from_slice(header.as_bytes());
        for address in iter::once(&group).chain(sources.iter().take(count.into())) {
            match address {
                IpAddr::V4(address) => address.append_to(&mut self.bytes),
                IpAddr::V6(address) => address.append_to(&mut self.bytes),
            }
        }
        self.records = self.records.saturating_add(1);
    }

    /// The message, its checksum zero.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if let Ok((header, _)) = ReportHeader::mut_from_prefix(&mut self.bytes) {
            header.records = U16::new(self.records);
        }
        self.bytes
    }
}

/// The records of a report that has come, all of which have been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records<'a, A> {
    left: u16,
    bytes: &'a [u8],
    address: PhantomData<A>,
}

/// What a report says of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a, A> {
    /// What it says of the sources; `None` for a kind that is not known, and is to be passed over.
    pub kind: Option<RecordKind>,
    /// The group.
    pub group: A,
    /// The sources.
    pub sources: Sources<'a, A>,
}

impl<'a, A: Address> Records<'a, A> {
    /// The records of a whole message; `None` if it ends before they do.
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let (header, bytes) = ReportHeader::ref_from_prefix(message).ok()?;
        let records = Self { left: header.records.get(), bytes, address: PhantomData };
        let mut look = records.clone();
        look.by_ref().for_each(drop);
        (look.left == 0).then_some(records)
    }

    fn split(&self) -> Option<(Record<'a, A>, &'a [u8])> {
        let (header, rest) = RecordHeader::ref_from_prefix(self.bytes).ok()?;
        let (group, rest) = rest.split_at_checked(A::LEN)?;
        let (sources, rest) = Sources::split(rest, header.sources.get())?;
        let rest = rest.get(usize::from(header.auxiliary_len) * 4..)?;
        let kind = RecordKind::new(header.kind);
        Some((Record { kind, group: A::read(group)?, sources }, rest))
    }
}

impl<'a, A: Address> Iterator for Records<'a, A> {
    type Item = Record<'a, A>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.left.checked_sub(1)?;
        let (record, rest) = self.split()?;
        (self.left, self.bytes) = (left, rest);
        Some(record)
    }
}

/// A list of sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources<'a, A> {
    bytes: &'a [u8],
    address: PhantomData<A>,
}

impl<'a, A: Address> Sources<'a, A> {
    /// No sources.
    pub(super) const NONE: Self = Self { bytes: &[], address: PhantomData };

    /// So many sources and what follows them; `None` if there are not so many.
    pub(super) fn split(bytes: &'a [u8], count: u16) -> Option<(Self, &'a [u8])> {
        let (bytes, rest) = bytes.split_at_checked(usize::from(count) * A::LEN)?;
        Some((Self { bytes, address: PhantomData }, rest))
    }
}

impl<A: Address> Iterator for Sources<'_, A> {
    type Item = A;

    fn next(&mut self) -> Option<A> {
        let (source, rest) = self.bytes.split_at_checked(A::LEN)?;
        self.bytes = rest;
        A::read(source)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.bytes.len() / A::LEN;
        (count, Some(count))
    }
}

impl<A: Address> ExactSizeIterator for Sources<'_, A> {}

/// The number that a code of `1 + 3 + MANTISSA` bits stands for: itself if the first bit is clear,
/// else a mantissa and an exponent (RFC 3376 §4.1.1, RFC 3810 §5.1.3).
pub(super) const fn decode<const MANTISSA: u32>(code: u16) -> u32 {
    let code = code as u32;
    if code >> (MANTISSA + 3) == 0 {
        return code;
    }
    let mantissa = code & ((1 << MANTISSA) - 1) | 1 << MANTISSA;
    mantissa << ((code >> MANTISSA & 0b111) + 3)
}

/// The code of the greatest number that is no greater than this.
pub(super) const fn encode<const MANTISSA: u32>(number: u32) -> u16 {
    if number >> (MANTISSA + 3) == 0 {
        return number as u16;
    }
    let shift = number.ilog2() - MANTISSA;
    if shift > 3 + 0b111 {
        return ((1u32 << (MANTISSA + 4)) - 1) as u16;
    }
    let mantissa = number >> shift & ((1 << MANTISSA) - 1);
    (1 << (MANTISSA + 3) | (shift - 3) << MANTISSA | mantissa) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codes_stand_for_what_the_rfcs_say() {
        assert_eq!([0, 127, 128, 0xff].map(decode::<4>), [0, 127, 128, 31_744]);
        assert_eq!([0, 0x7fff, 0x8000, 0xffff].map(decode::<12>), [0, 32_767, 32_768, 8_387_584]);
    }

    proptest! {
        #[test]
        fn every_code_is_that_of_its_number(short: u8, long: u16) {
            prop_assert_eq!(encode::<4>(decode::<4>(short.into())), u16::from(short));
            prop_assert_eq!(encode::<12>(decode::<12>(long)), long);
        }

        #[test]
        fn a_number_between_two_codes_is_rounded_down(number in 0u32..20_000_000) {
            for (code, largest, decode) in [
                (encode::<4>(number), 0xff, decode::<4> as fn(u16) -> u32),
                (encode::<12>(number), 0xffff, decode::<12>),
            ] {
                prop_assert!(decode(code) <= number);
                prop_assert!(code == largest || decode(code + 1) > number);
            }
        }
    }
}
