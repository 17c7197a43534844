use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use netdev::Instant;

use super::querier::Generation;
use super::report::{Record, pack};
use super::{Ignored, Multicast, Older, Query, Report};
use crate::wire::igmp::{
    ALL_ROUTERS, ALL_SYSTEMS, ALL_V3_ROUTERS, LEAVE, Malformed, Message, REPORT_V1, REPORT_V2,
    REPORT_V3, Version, emit, fill_checksum,
};

impl Multicast {
    /// Takes an IGMP message that has come.
    pub(crate) fn handle_igmp(
        &mut self,
        now: Instant,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        message: &[u8],
    ) -> Result<(), Ignored> {
        let message = Message::parse(message).map_err(|malformed| match malformed {
            Malformed::Checksum => Ignored::Checksum,
            Malformed::Truncated | Malformed::Length => Ignored::Malformed,
        })?;
        // Switches that ask on a router's behalf have no address, and nor has a host that is yet
        // to get one (RFC 4541 §2.1.1, RFC 3376 §4.2.13).
        if source.is_multicast() || source.is_broadcast() || source.is_loopback() {
            return Err(Ignored::Source);
        }
        match message {
            Message::Query(query, sources) => {
                let group = Some(query.group).filter(|group| !group.is_unspecified());
                // Elsewhere it could come from far away.
                if destination != ALL_SYSTEMS && Some(destination) != group {
                    return Err(Ignored::Destination);
                }
                let (generation, group) = match query.version {
                    // Version 1 knows no queries of one group.
                    Version::V1 => (Generation::First, None),
                    Version::V2 { .. } => (Generation::Second, group),
                    Version::V3 { querier, .. } => {
                        self.igmp.set(querier.robustness, querier.interval);
                        (Generation::Third, group)
                    }
                };
                let sources = self.limits.named(sources.map(IpAddr::V4));
                let query = Query {
                    generation,
                    group: group.map(IpAddr::V4),
                    max_response: query.max_response(),
                    sources,
                };
                self.query(now, false, query);
                Ok(())
            }
            Message::ReportV1(group) | Message::ReportV2(group) => {
                // RFC 3376 §4.2.14: whichever of the host's addresses and groups it is sent to.
                self.heard_report(now, group.into());
                Ok(())
            }
            Message::Leave(_) | Message::ReportV3(_) | Message::Other(_) => Err(Ignored::Unhandled),
        }
    }
}

/// Reports of version 3.
pub(super) fn reports(records: &[Record], max: usize) -> impl Iterator<Item = Report> {
    pack(REPORT_V3, records, max).into_iter().map(|mut message| {
        fill_checksum(&mut message);
        Report { destination: ALL_V3_ROUTERS.into(), message }
    })
}

/// A message of version 2 or 1.
pub(super) fn older(group: Ipv4Addr, older: Older, generation: Generation) -> Report {
    let (destination, kind) = match older {
        Older::Leave => (ALL_ROUTERS, LEAVE),
        Older::Report if generation == Generation::First => (group, REPORT_V1),
        Older::Report => (group, REPORT_V2),
    };
    Report { destination: destination.into(), message: Vec::from(emit(kind, 0, group)) }
}
