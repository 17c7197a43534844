use alloc::vec::Vec;
use core::mem;
use core::net::IpAddr;

use crate::wire::multicast::{self, RecordKind};

/// A message to send, with a hop limit of 1 and a Router Alert (RFC 3376 §4, RFC 3810 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// To whom: IGMP over IPv4, MLD over IPv6.
    pub(crate) destination: IpAddr,
    /// IGMP with its checksum, or ICMPv6 without.
    pub(crate) message: Vec<u8>,
}

/// What is to be said of a group.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) kind: RecordKind,
    pub(super) group: IpAddr,
    pub(super) sources: Vec<IpAddr>,
}

/// As few messages, of a type and of up to `max` bytes, as say all of this (RFC 3376 §4.2.16,
/// RFC 3810 §5.2.15). There is room for a source in each, whatever `max` is.
pub(super) fn pack(kind: u8, records: &[Record], max: usize) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut report = multicast::Report::new(kind);
    for record in records {
        // Half of what is excluded would exclude less: it stays together, and what finds no room
        // in a message of its own is left out.
        let whole = matches!(record.kind, RecordKind::IsExclude | RecordKind::ToExclude);
        let mut sources = record.sources.as_slice();
        loop {
            let room = report.room(record.group, max).map(|room| room.min(u16::MAX.into()));
            let needed = if whole { sources.len() } else { sources.len().min(1) };
            if room.is_none_or(|room| room < needed) && report.records() > 0 {
                messages.push(mem::replace(&mut report, multicast::Report::new(kind)).finish());
                continue;
            }
            let room = room.unwrap_or_default().max(1);
            let (these, rest) = sources.split_at(room.min(sources.len()));
            report.push(record.kind, record.group, these);
            sources = rest;
            if whole || sources.is_empty() {
                break;
            }
        }
    }
    if report.records() > 0 {
        messages.push(report.finish());
    }
    messages
}
