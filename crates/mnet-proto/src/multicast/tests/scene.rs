//! A host's memberships, the clock, and what the host has said.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::super::*;
use crate::wire::multicast::{self as wire, RecordKind};
use crate::wire::{igmp, mld};

pub(super) const START: Instant = Instant::from_nanos(1_000_000_000_000);
pub(super) const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
pub(super) const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

pub(super) struct Scene {
    pub(super) multicast: Multicast,
    pub(super) now: Instant,
    pub(super) max: usize,
    /// Messages, and when each was sent.
    pub(super) sent: Vec<(Instant, Said)>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Records, to all routers that know them.
    Records(Vec<(RecordKind, IpAddr, Vec<IpAddr>)>),
    /// An older message's type, its group and its destination.
    Older(u8, IpAddr, IpAddr),
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn source(number: u8) -> IpAddr {
    Ipv4Addr::new(198, 51, 100, number).into()
}

pub(super) fn sources(numbers: &[u8]) -> Vec<IpAddr> {
    numbers.iter().copied().map(source).collect()
}

pub(super) fn include(numbers: &[u8]) -> Filter {
    Filter::Include(sources(numbers))
}

pub(super) fn exclude(numbers: &[u8]) -> Filter {
    Filter::Exclude(sources(numbers))
}

/// What one record says.
pub(super) fn record(kind: RecordKind, group: IpAddr, numbers: &[u8]) -> Said {
    Said::Records(vec![(kind, group, sources(numbers))])
}

impl Said {
    fn new(report: Report) -> Self {
        let Report { destination, message } = report;
        match destination {
            IpAddr::V4(to) => match igmp::Message::parse(&message).unwrap() {
                igmp::Message::ReportV1(group) | igmp::Message::ReportV2(group) => {
                    Self::Older(message[0], group.into(), destination)
                }
                igmp::Message::Leave(group) => Self::Older(message[0], group.into(), destination),
                igmp::Message::ReportV3(records) => {
                    assert_eq!(to, igmp::ALL_V3_ROUTERS);
                    let records = records.map(|record| {
                        let sources = record.sources.map(IpAddr::V4).collect();
                        (record.kind.unwrap(), record.group.into(), sources)
                    });
                    Self::Records(records.collect())
                }
                other => panic!("{other:?}"),
            },
            IpAddr::V6(to) => match mld::Message::parse(&message).unwrap() {
                mld::Message::ReportV1(group) | mld::Message::Done(group) => {
                    Self::Older(message[0], group.into(), destination)
                }
                mld::Message::ReportV2(records) => {
                    assert_eq!(to, mld::ALL_V2_ROUTERS);
                    assert_eq!(message[2..4], [0; 2], "the checksum is the caller's");
                    let records = records.map(|record| {
                        let sources = record.sources.map(IpAddr::V6).collect();
                        (record.kind.unwrap(), record.group.into(), sources)
                    });
                    Self::Records(records.collect())
                }
                other => panic!("{other:?}"),
            },
        }
    }
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::with(Limits { groups: 4, sources: 8 }, 1)
    }

    pub(super) fn with(limits: Limits, seed: u64) -> Self {
        let multicast = Multicast::new(limits, seed);
        Self { multicast, now: START, max: 1_400, sent: Vec::new() }
    }

    /// A scene in which a group has been joined, and told of for the last time.
    pub(super) fn joined(group: IpAddr, filter: Filter) -> Self {
        let mut scene = Self::new();
        scene.join(1, group, filter).unwrap();
        scene.pass(30);
        scene.sent.clear();
        scene
    }

    pub(super) fn join(
        &mut self,
        member: u32,
        group: IpAddr,
        filter: Filter,
    ) -> Result<(), JoinError> {
        let result = self.multicast.join(self.now, member, group, filter);
        self.transmit();
        result
    }

    pub(super) fn leave(&mut self, member: u32, group: IpAddr) -> bool {
        let left = self.multicast.leave(self.now, member, group);
        self.transmit();
        left
    }

    /// A query of IGMPv3 or MLDv2.
    pub(super) fn query(&mut self, group: Option<IpAddr>, sources: &[IpAddr], seconds: u64) {
        let max_response = Duration::from_secs(seconds);
        let interval = Duration::from_secs(125);
        let querier = wire::Querier { suppress: false, robustness: 2, interval };
        let result = match group {
            Some(IpAddr::V6(group)) => {
                let version = mld::Version::V2(querier);
                let query = mld::Query { group, max_response, version };
                let v6 = |address: &IpAddr| match address {
                    IpAddr::V6(address) => Some(*address),
                    IpAddr::V4(_) => None,
                };
                let message = query.emit(&sources.iter().filter_map(v6).collect::<Vec<_>>());
                self.multicast.handle_mld(self.now, ROUTER_V6, &message)
            }
            group => {
                let group = match group {
                    Some(IpAddr::V4(group)) => group,
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                let version = igmp::Version::V3 { max_response, querier };
                let v4 = |address: &IpAddr| match address {
                    IpAddr::V4(address) => Some(*address),
                    IpAddr::V6(_) => None,
                };
                let sources: Vec<_> = sources.iter().filter_map(v4).collect();
                let message = igmp::Query { group, version }.emit(&sources);
                let to = if group.is_unspecified() { igmp::ALL_SYSTEMS } else { group };
                self.multicast.handle_igmp(self.now, ROUTER, to, &message)
            }
        };
        assert_eq!(result, Ok(()));
        self.transmit();
    }

    /// A message of IGMPv1 or v2.
    pub(super) fn igmp(&mut self, kind: u8, code: u8, group: Ipv4Addr) {
        let to = if group.is_unspecified() { igmp::ALL_SYSTEMS } else { group };
        let message = igmp::emit(kind, code, group);
        assert_eq!(self.multicast.handle_igmp(self.now, ROUTER, to, &message), Ok(()));
        self.transmit();
    }

    /// A message of MLDv1.
    pub(super) fn mld(&mut self, kind: u8, millis: u16, group: Ipv6Addr) {
        let message = mld::emit(kind, millis, group);
        assert_eq!(self.multicast.handle_mld(self.now, ROUTER_V6, &message), Ok(()));
        self.transmit();
    }

    pub(super) fn transmit(&mut self) {
        while let Some(report) = self.multicast.poll_transmit(self.now, self.max) {
            assert!(report.message.len() <= self.max);
            self.sent.push((self.now, Said::new(report)));
        }
        assert!(self.multicast.poll_timeout().is_none_or(|next| next > self.now));
    }

    /// Lets seconds pass, from timer to timer.
    pub(super) fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(next) = self.multicast.poll_timeout().filter(|&next| next <= end) {
            self.now = next;
            self.transmit();
        }
        self.now = end;
    }

    /// What has been said since the last time this was asked.
    pub(super) fn said(&mut self) -> Vec<Said> {
        self.sent.drain(..).map(|(_, said)| said).collect()
    }
}
