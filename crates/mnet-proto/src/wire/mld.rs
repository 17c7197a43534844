//! Multicast Listener Discovery for IPv6 (RFC 2710, RFC 3810): messages of ICMPv6, the checksum of
//! which is ICMPv6's to check and to fill in.

use alloc::vec::Vec;
use core::net::Ipv6Addr;
use core::time::Duration;

use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::multicast::{Querier, Records, Sources, decode, encode};

/// Length in bytes of all messages but those of version 2.
pub const LEN: usize = 24;
/// Length in bytes of what comes before the sources of a query of version 2.
pub const QUERY_LEN: usize = 28;

/// Type of a query, in both versions.
pub const QUERY: u8 = 130;
/// Type of a report of version 1.
pub const REPORT_V1: u8 = 131;
/// Type of a message that says that nobody wants a group any more.
pub const DONE: u8 = 132;
/// Type of a report of version 2.
pub const REPORT_V2: u8 = 143;

/// Where general queries go: all nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Where a done goes: all routers on the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Where reports of version 2 go.
pub const ALL_V2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// What all messages but reports of version 2 begin with, in the order of RFC 2710 §3.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    kind: u8,
    code: u8,
    checksum: [u8; 2],
    max_response: U16,
    reserved: [u8; 2],
    group: [u8; 16],
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Asks who wants which groups, and which sources.
    Query(Query, Sources<'a, Ipv6Addr>),
    /// Says as a version 1 host that somebody wants a group.
    ReportV1(Ipv6Addr),
    /// Says that a host wants a group no more, and perhaps nobody does.
    Done(Ipv6Addr),
    /// Says what a version 2 host wants.
    ReportV2(Records<'a, Ipv6Addr>),
    /// Something else, by its type.
    Other(u8),
}

/// A query, without its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The group that is asked about; unspecified for all.
    pub group: Ipv6Addr,
    /// How long an answer may take, in milliseconds: up to 65.535 s in version 1, and up to
    /// 8,387.584 s in version 2, where it is less exact the longer it is.
    pub max_response: Duration,
    /// What depends on the version.
    pub version: Version,
}

/// The version of a query, and what it says only in that version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 2710.
    V1,
    /// RFC 3810.
    V2(Querier),
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end before the message does.
    Truncated,
    /// It is a query as long as those of no version (RFC 3810 §8.1).
    Length,
}

impl<'a> Message<'a> {
    /// The message that is these bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let &kind = message.first().ok_or(Malformed::Truncated)?;
        let header = || Header::ref_from_prefix(message).map_err(|_| Malformed::Truncated);
        Ok(match kind {
            QUERY => {
                let (header, rest) = header()?;
                let group = header.group.into();
                let code = header.max_response.get();
                let millis = if rest.is_empty() { code.into() } else { decode::<12>(code) };
                let max_response = Duration::from_millis(millis.into());
                if rest.is_empty() {
                    let query = Query { group, max_response, version: Version::V1 };
                    return Ok(Self::Query(query, Sources::NONE));
                }
                let (querier, sources) = Querier::parse(rest).ok_or(Malformed::Length)?;
                let sources = sources.ok_or(Malformed::Truncated)?;
                Self::Query(Query { group, max_response, version: Version::V2(querier) }, sources)
            }
            REPORT_V1 => Self::ReportV1(header()?.0.group.into()),
            DONE => Self::Done(header()?.0.group.into()),
            REPORT_V2 => Self::ReportV2(Records::parse(message).ok_or(Malformed::Truncated)?),
            other => Self::Other(other),
        })
    }
}

impl Query {
    /// The message, its checksum zero. Only version 2 has sources; times are rounded down to what
    /// the version can say.
    #[must_use]
    pub fn emit(&self, sources: &[Ipv6Addr]) -> Vec<u8> {
        let millis = u32::try_from(self.max_response.as_millis()).unwrap_or(u32::MAX);
        match self.version {
            Version::V1 => {
                let millis = u16::try_from(millis).unwrap_or(u16::MAX);
                emit(QUERY, millis, self.group).to_vec()
            }
            Version::V2(querier) => {
                let mut message = emit(QUERY, encode::<12>(millis), self.group).to_vec();
                querier.append_to(&mut message, sources);
                message
            }
        }
    }
}

/// A message that says one thing about one group, its checksum zero: [`REPORT_V1`] or [`DONE`],
/// with a response code of zero.
#[must_use]
pub fn emit(kind: u8, max_response: u16, group: Ipv6Addr) -> [u8; LEN] {
    let max_response = U16::new(max_response);
    let group = group.octets();
    let header = Header { kind, code: 0, checksum: [0; 2], max_response, reserved: [0; 2], group };
    zerocopy::transmute!(header)
}

#[cfg(test)]
mod tests;
