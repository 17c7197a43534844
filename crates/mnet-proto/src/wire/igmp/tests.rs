use std::vec;

use etherparse::igmp::ReportGroupRecordV3Slice;
use etherparse::{IgmpHeader, IgmpSlice, IgmpType};
use proptest::collection::vec;
use proptest::prelude::*;
use smoltcp::wire::{IgmpPacket, IgmpRepr, IgmpVersion};

use super::*;
use crate::wire::multicast::{RecordKind, Report};

const KINDS: [RecordKind; 6] = [
    RecordKind::IsInclude,
    RecordKind::IsExclude,
    RecordKind::ToInclude,
    RecordKind::ToExclude,
    RecordKind::Allow,
    RecordKind::Block,
];

fn query(group: Ipv4Addr, code: u8, flags: (bool, u8), interval: u8) -> Query {
    let version = Version::V3 {
        max_response: Duration::from_millis((decode::<4>(code.into()) * UNIT).into()),
        querier: Querier {
            suppress: flags.0,
            robustness: flags.1,
            interval: Duration::from_secs(decode::<4>(interval.into()).into()),
        },
    };
    Query { group, version }
}

fn smoltcp(message: &[u8]) -> IgmpRepr {
    let packet = IgmpPacket::new_checked(message).unwrap();
    assert!(packet.verify_checksum());
    IgmpRepr::parse(&packet).unwrap()
}

#[test]
fn a_query_is_of_the_version_that_its_length_and_code_say() {
    let general = |code| emit(QUERY, code, Ipv4Addr::UNSPECIFIED);
    let version = |message: &[u8]| match Message::parse(message) {
        Ok(Message::Query(query, _)) => Ok(query.version),
        Ok(other) => panic!("{other:?}"),
        Err(malformed) => Err(malformed),
    };
    assert_eq!(version(&general(0)), Ok(Version::V1));
    let max_response = Duration::from_millis(25_500);
    assert_eq!(version(&general(255)), Ok(Version::V2 { max_response }));
    for length in 9..QUERY_LEN {
        let mut message = general(100).to_vec();
        message.resize(length, 0);
        assert_eq!(version(&message), Err(Malformed::Length), "{length}");
    }
    let mut message = general(100).to_vec();
    message.resize(QUERY_LEN, 0);
    assert!(matches!(version(&message), Ok(Version::V3 { .. })));
}

#[test]
fn a_message_with_a_wrong_checksum_is_refused() {
    let mut message = emit(REPORT_V2, 0, Ipv4Addr::new(224, 1, 2, 3));
    message[7] ^= 1;
    assert_eq!(Message::parse(&message), Err(Malformed::Checksum));
}

#[test]
fn a_query_with_fewer_sources_than_it_says_is_refused() {
    let sources = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
    let mut message = query(Ipv4Addr::new(224, 1, 2, 3), 10, (false, 2), 125).emit(&sources);
    message.truncate(message.len() - 1);
    fill_checksum(&mut message);
    assert_eq!(Message::parse(&message), Err(Malformed::Truncated));
}

#[test]
fn what_a_record_holds_besides_is_passed_over() {
    let mut message = vec![REPORT_V3, 0, 0, 0, 0, 0, 0, 2];
    message.extend([77, 2, 0, 1, 224, 1, 2, 3, 192, 0, 2, 1, 9, 9, 9, 9, 8, 8, 8, 8]);
    message.extend([4, 0, 0, 0, 224, 1, 2, 4]);
    fill_checksum(&mut message);
    let Ok(Message::ReportV3(records)) = Message::parse(&message) else { panic!("no report") };
    let records: Vec<_> = records.map(|record| (record.kind, record.group.octets()[3])).collect();
    assert_eq!(records, [(None, 3), (Some(RecordKind::ToExclude), 4)]);
}

proptest! {
    #[test]
    fn short_messages_are_read_here_by_smoltcp_and_by_etherparse(
        group in 0xe000_0000..0xf000_0000u32, tenths in 1u8..128,
    ) {
        let group = Ipv4Addr::from_bits(group);
        let report = |version| IgmpRepr::MembershipReport { group_addr: group, version };
        for (kind, ours, theirs) in [
            (REPORT_V1, Message::ReportV1(group), report(IgmpVersion::Version1)),
            (REPORT_V2, Message::ReportV2(group), report(IgmpVersion::Version2)),
            (LEAVE, Message::Leave(group), IgmpRepr::LeaveGroup { group_addr: group }),
        ] {
            let message = emit(kind, 0, group);
            prop_assert_eq!(Message::parse(&message), Ok(ours));
            prop_assert_eq!(smoltcp(&message), theirs);
            let (header, _) = IgmpHeader::from_slice(&message).unwrap();
            let theirs = header.to_bytes();
            prop_assert_eq!(&theirs[..], &message);
        }
        let max_response = Duration::from_millis(u64::from(tenths) * 100);
        let query = Query { group, version: Version::V2 { max_response } };
        let message = query.emit(&[]);
        prop_assert_eq!(Message::parse(&message), Ok(Message::Query(query, Sources::NONE)));
        let IgmpRepr::MembershipQuery { max_resp_time, group_addr, version } = smoltcp(&message)
            else { panic!("not a query") };
        prop_assert_eq!(Duration::from(max_resp_time), max_response);
        prop_assert_eq!((group_addr, version), (group, IgmpVersion::Version2));
    }

    #[test]
    fn a_query_that_is_emitted_is_what_is_parsed_here_and_by_etherparse(
        group: u32, code: u8, suppress: bool, robustness in 0u8..8, interval: u8,
        sources in vec(any::<u32>(), 0..20),
    ) {
        let group = Ipv4Addr::from_bits(group);
        let sources: Vec<_> = sources.into_iter().map(Ipv4Addr::from_bits).collect();
        let query = query(group, code, (suppress, robustness), interval);
        let message = query.emit(&sources);

        let Ok(Message::Query(parsed, listed)) = Message::parse(&message)
            else { panic!("not a query") };
        prop_assert_eq!(parsed, query);
        prop_assert_eq!(listed.len(), sources.len());
        prop_assert_eq!(listed.collect::<Vec<_>>(), &sources[..]);

        let slice = IgmpSlice::from_slice(&message).unwrap();
        prop_assert!(slice.is_checksum_valid());
        let IgmpSlice::MembershipQueryWithSources(theirs) = slice else { panic!("no sources") };
        let tenths = u32::from(theirs.max_response_code().as_10th_secs());
        prop_assert_eq!(Duration::from_millis((tenths * UNIT).into()), query.max_response());
        prop_assert_eq!(theirs.group_address().octets, group.octets());
        prop_assert_eq!((theirs.s_flag(), theirs.qrv().value()), (suppress, robustness));
        prop_assert_eq!(theirs.qqic(), interval);
        let theirs: Vec<_> = theirs.source_addresses().map(Ipv4Addr::from).collect();
        prop_assert_eq!(theirs, sources);
    }

    #[test]
    fn a_report_that_is_emitted_is_what_is_parsed_here_and_by_etherparse(
        records in vec((0..KINDS.len(), any::<u32>(), vec(any::<u32>(), 0..5)), 0..6),
    ) {
        let mut report = Report::new(REPORT_V3);
        for (kind, group, sources) in &records {
            let address = |&bits: &u32| Ipv4Addr::from_bits(bits).into();
            let sources: Vec<_> = sources.iter().map(address).collect();
            report.push(KINDS[*kind], address(group), &sources);
        }
        let mut message = report.finish();
        fill_checksum(&mut message);

        let Ok(Message::ReportV3(parsed)) = Message::parse(&message) else { panic!("no report") };
        let parsed: Vec<_> = parsed
            .map(|record| {
                let kind = KINDS.iter().position(|&kind| Some(kind) == record.kind).unwrap();
                let sources = record.sources.map(Ipv4Addr::to_bits).collect::<Vec<_>>();
                (kind, record.group.to_bits(), sources)
            })
            .collect();
        prop_assert_eq!(parsed, &records[..]);

        prop_assert!(IgmpSlice::from_slice(&message).unwrap().is_checksum_valid());
        let (header, mut rest) = IgmpHeader::from_slice(&message).unwrap();
        let IgmpType::MembershipReportV3(header) = header.igmp_type else { panic!("no report") };
        prop_assert_eq!(usize::from(header.num_of_records), records.len());
        for (kind, group, sources) in records {
            let (record, after) = ReportGroupRecordV3Slice::from_slice(rest).unwrap();
            rest = after;
            prop_assert_eq!(record.record_type().0, KINDS[kind] as u8);
            prop_assert_eq!(record.multicast_address(), group.to_be_bytes());
            let theirs: Vec<_> = record.source_addresses().map(u32::from_be_bytes).collect();
            prop_assert_eq!(theirs, sources);
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn any_bytes_parse_or_do_not(mut message: Vec<u8>, kind in 0..5usize) {
        let kind = [QUERY, REPORT_V1, REPORT_V2, LEAVE, REPORT_V3][kind];
        message.iter_mut().take(1).for_each(|first| *first = kind);
        fill_checksum(&mut message);
        match Message::parse(&message) {
            Ok(Message::ReportV3(records)) => prop_assert!(records.count() <= message.len() / 8),
            Ok(_) => prop_assert!(message.len() >= LEN),
            Err(malformed) => prop_assert_ne!(malformed, Malformed::Checksum),
        }
    }
}
