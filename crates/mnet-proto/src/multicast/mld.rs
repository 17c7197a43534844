use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use netdev::Instant;

use super::querier::Generation;
use super::report::{Record, pack};
use super::{Ignored, Multicast, Older, Query, Report};
use crate::wire::mld::{
    ALL_ROUTERS, ALL_V2_ROUTERS, DONE, Message, REPORT_V1, REPORT_V2, Version, emit,
};

impl Multicast {
    /// Takes an ICMPv6 message of MLD that has come. That its hop limit was 1, that it had a Router
    /// Alert and that its checksum is right has been checked.
    pub(crate) fn handle_mld(
        &mut self,
        now: Instant,
        source: Ipv6Addr,
        message: &[u8],
    ) -> Result<(), Ignored> {
        let message = Message::parse(message).map_err(|_| Ignored::Malformed)?;
        if !source.is_unicast_link_local() {
            return Err(Ignored::Source);
        }
        match message {
            Message::Query(query, sources) => {
                // RFC 3810 §5.1.15: to whichever of the host's addresses and groups it came.
                let group = Some(query.group).filter(|group| !group.is_unspecified());
                let generation = match query.version {
                    Version::V1 => Generation::Second,
                    Version::V2(querier) => {
                        self.mld.set(querier.robustness, querier.interval);
                        Generation::Third
                    }
                };
                let sources = self.limits.named(sources.map(IpAddr::V6));
                let query = Query {
                    generation,
                    group: group.map(IpAddr::V6),
                    max_response: query.max_response,
                    sources,
                };
                self.query(now, true, query);
                Ok(())
            }
            Message::ReportV1(group) => {
                // RFC 3810 §5.2.14: whichever of the host's addresses and groups it came to.
                self.heard_report(now, group.into());
                Ok(())
            }
            Message::Done(_) | Message::ReportV2(_) | Message::Other(_) => Err(Ignored::Unhandled),
        }
    }
}

/// Reports of version 2.
pub(super) fn reports(records: &[Record], max: usize) -> impl Iterator<Item = Report> {
    pack(REPORT_V2, records, max)
        .into_iter()
        .map(|message| Report { destination: ALL_V2_ROUTERS.into(), message })
}

/// A message of version 1.
pub(super) fn older(group: Ipv6Addr, older: Older) -> Report {
    let (destination, kind) = match older {
        Older::Leave => (ALL_ROUTERS, DONE),
        Older::Report => (group, REPORT_V1),
    };
    Report { destination: destination.into(), message: Vec::from(emit(kind, 0, group)) }
}
