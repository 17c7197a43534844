//! IGMP (RFC 1112 appendix I, RFC 2236, RFC 3376).

use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Checksum;
use super::multicast::{Querier, Records, Sources, decode, encode};

/// Length in bytes of all messages but those of version 3.
pub const LEN: usize = 8;
/// Length in bytes of what comes before the sources of a query of version 3.
pub const QUERY_LEN: usize = 12;

/// Type of a query, in all versions.
pub const QUERY: u8 = 0x11;
/// Type of a report of version 1.
pub const REPORT_V1: u8 = 0x12;
/// Type of a report of version 2.
pub const REPORT_V2: u8 = 0x16;
/// Type of a message that says that nobody wants a group any more.
pub const LEAVE: u8 = 0x17;
/// Type of a report of version 3.
pub const REPORT_V3: u8 = 0x22;

/// Where general queries go: all systems on the link.
pub const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// Where a leave goes: all routers on the link.
pub const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
/// Where reports of version 3 go.
pub const ALL_V3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

/// How long an answer to a query of version 1 may take (RFC 3376 §7.2.1).
const MAX_RESPONSE_V1: Duration = Duration::from_secs(10);
/// What a tenth of a second is in milliseconds: the unit of times to answer in.
const UNIT: u32 = 100;

/// What all messages begin with, in the order of RFC 2236 §2.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    kind: u8,
    code: u8,
    checksum: [u8; 2],
    group: [u8; 4],
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Asks who wants which groups, and which sources.
    Query(Query, Sources<'a, Ipv4Addr>),
    /// Says as a version 1 host that somebody wants a group.
    ReportV1(Ipv4Addr),
    /// Says as a version 2 host that somebody wants a group.
    ReportV2(Ipv4Addr),
    /// Says that a host wants a group no more, and perhaps nobody does.
    Leave(Ipv4Addr),
    /// Says what a version 3 host wants.
    ReportV3(Records<'a, Ipv4Addr>),
    /// Something else, by its type.
    Other(u8),
}

/// A query, without its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The group that is asked about; unspecified for all.
    pub group: Ipv4Addr,
    /// What depends on the version.
    pub version: Version,
}

/// The version of a query, and what it says in that version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 1112.
    V1,
    /// RFC 2236.
    V2 {
        /// How long an answer may take: 0.1 to 25.5 s, in tenths of a second.
        max_response: Duration,
    },
    /// RFC 3376.
    V3 {
        /// How long an answer may take: 0 to 3,174.4 s, in tenths of a second, and less exact the
        /// longer it is.
        max_response: Duration,
        /// What it says besides.
        querier: Querier,
    },
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end before the message does.
    Truncated,
    /// Its checksum is wrong.
    Checksum,
    /// It is a query as long as those of no version (RFC 3376 §7.1).
    Length,
}

impl<'a> Message<'a> {
    /// The message that is these bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let (header, rest) = Header::ref_from_prefix(message).map_err(|_| Malformed::Truncated)?;
        if !Checksum::new().add_bytes(message).is_valid() {
            return Err(Malformed::Checksum);
        }
        let group = header.group.into();
        Ok(match header.kind {
            QUERY if rest.is_empty() => {
                let max_response = Duration::from_millis((u32::from(header.code) * UNIT).into());
                let v1 = max_response.is_zero();
                let version = if v1 { Version::V1 } else { Version::V2 { max_response } };
                Self::Query(Query { group, version }, Sources::NONE)
            }
            QUERY => {
                let (querier, sources) = Querier::parse(rest).ok_or(Malformed::Length)?;
                let sources = sources.ok_or(Malformed::Truncated)?;
                let tenths = decode::<4>(header.code.into());
                let max_response = Duration::from_millis((tenths * UNIT).into());
                let version = Version::V3 { max_response, querier };
                Self::Query(Query { group, version }, sources)
            }
            REPORT_V1 => Self::ReportV1(group),
            REPORT_V2 => Self::ReportV2(group),
            LEAVE => Self::Leave(group),
            REPORT_V3 => Self::ReportV3(Records::parse(message).ok_or(Malformed::Truncated)?),
            other => Self::Other(other),
        })
    }
}

impl Query {
    /// The message, with its checksum. Only version 3 has sources; times are rounded down to what
    /// the version can say.
    #[must_use]
    pub fn emit(&self, sources: &[Ipv4Addr]) -> Vec<u8> {
        match self.version {
            Version::V1 => emit(QUERY, 0, self.group).to_vec(),
            Version::V2 { max_response } => {
                let code = tenths(max_response).clamp(1, u8::MAX.into());
                emit(QUERY, code as u8, self.group).to_vec()
            }
            Version::V3 { max_response, querier } => {
                let code = encode::<4>(tenths(max_response)) as u8;
                let mut message = emit(QUERY, code, self.group).to_vec();
                querier.append_to(&mut message, sources);
                fill_checksum(&mut message);
                message
            }
        }
    }

    /// How long an answer may take.
    #[must_use]
    pub fn max_response(&self) -> Duration {
        match self.version {
            Version::V1 => MAX_RESPONSE_V1,
            Version::V2 { max_response } | Version::V3 { max_response, .. } => max_response,
        }
    }
}

/// A message that says one thing about one group, with its checksum: [`REPORT_V1`], [`REPORT_V2`]
/// or [`LEAVE`], with a code of zero.
#[must_use]
pub fn emit(kind: u8, code: u8, group: Ipv4Addr) -> [u8; LEN] {
    let mut header = Header { kind, code, checksum: [0; 2], group: group.octets() };
    header.checksum = Checksum::new().add_bytes(header.as_bytes()).finish();
    zerocopy::transmute!(header)
}

/// Fills in the checksum of a message.
pub fn fill_checksum(message: &mut [u8]) {
    if let Ok((header, _)) = Header::mut_from_prefix(message) {
        header.checksum = [0; 2];
    }
    let checksum = Checksum::new().add_bytes(message).finish();
    if let Ok((header, _)) = Header::mut_from_prefix(message) {
        header.checksum = checksum;
    }
}

fn tenths(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX) / UNIT
}

#[cfg(test)]
mod tests;
