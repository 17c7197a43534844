use proptest::collection::vec;
use proptest::prelude::*;
use smoltcp::wire::{Icmpv6Message, Icmpv6Packet, MldAddressRecord, MldAddressRecordRepr, MldRepr};

use super::*;
use crate::wire::multicast::{RecordKind, Report};

#[test]
fn a_query_is_of_the_version_that_its_length_says() {
    let version = |length| {
        let mut message = emit(QUERY, 0xffff, Ipv6Addr::UNSPECIFIED).to_vec();
        message.resize(length, 0);
        match Message::parse(&message) {
            Ok(Message::Query(query, _)) => Ok((query.version, query.max_response.as_millis())),
            Ok(other) => panic!("{other:?}"),
            Err(malformed) => Err(malformed),
        }
    };
    let (suppress, robustness, interval) = (false, 0, Duration::ZERO);
    assert_eq!(version(LEN - 1), Err(Malformed::Truncated));
    assert_eq!(version(LEN), Ok((Version::V1, 65_535)));
    assert_eq!(version(LEN + 1), Err(Malformed::Length));
    assert_eq!(version(QUERY_LEN - 1), Err(Malformed::Length));
    let second = Version::V2(Querier { suppress, robustness, interval });
    assert_eq!(version(QUERY_LEN), Ok((second, 8_387_584)));
}

#[test]
fn messages_of_version_1_are_read_as_they_are_emitted() {
    let group = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 1, 2);
    assert_eq!(Message::parse(&emit(REPORT_V1, 0, group)), Ok(Message::ReportV1(group)));
    assert_eq!(Message::parse(&emit(DONE, 0, group)), Ok(Message::Done(group)));
    let max_response = Duration::from_millis(40_000);
    let query = Query { group, max_response, version: Version::V1 };
    assert_eq!(Message::parse(&query.emit(&[])), Ok(Message::Query(query, Sources::NONE)));
    assert_eq!(Message::parse(&[134, 0, 0, 0]), Ok(Message::Other(134)));
}

proptest! {
    #[test]
    fn a_query_that_is_emitted_is_what_is_parsed_here_and_by_smoltcp(
        group: u128, code: u16, suppress: bool, robustness in 0u8..8, interval: u8,
        sources in vec(any::<u128>(), 0..20),
    ) {
        let sources: Vec<_> = sources.into_iter().map(Ipv6Addr::from_bits).collect();
        let query = Query {
            group: Ipv6Addr::from_bits(group),
            max_response: Duration::from_millis(decode::<12>(code).into()),
            version: Version::V2(Querier {
                suppress,
                robustness,
                interval: Duration::from_secs(decode::<4>(interval.into()).into()),
            }),
        };
        let message = query.emit(&sources);

        let Ok(Message::Query(parsed, listed)) = Message::parse(&message)
            else { panic!("not a query") };
        prop_assert_eq!(parsed, query);
        prop_assert_eq!(listed.len(), sources.len());
        prop_assert_eq!(listed.collect::<Vec<_>>(), &sources[..]);

        let theirs = MldRepr::parse(&Icmpv6Packet::new_checked(&message[..]).unwrap()).unwrap();
        let data: Vec<_> = sources.iter().flat_map(Ipv6Addr::octets).collect();
        prop_assert_eq!(theirs, MldRepr::Query {
            max_resp_code: code,
            mcast_addr: query.group,
            s_flag: suppress,
            qrv: robustness,
            qqic: interval,
            num_srcs: sources.len() as u16,
            data: &data,
        });
    }

    #[test]
    fn a_report_that_is_emitted_is_what_is_parsed_here_and_by_smoltcp(
        low: u64, exclude: bool, sources in vec(any::<u128>(), 0..20),
    ) {
        let kind = if exclude { RecordKind::ToExclude } else { RecordKind::Allow };
        let group = Ipv6Addr::from_bits(0xff15 << 112 | u128::from(low));
        let mut report = Report::new(REPORT_V2);
        let addresses: Vec<_> = sources.iter().map(|&it| Ipv6Addr::from_bits(it).into()).collect();
        report.push(kind, group.into(), &addresses);
        let message = report.finish();

        let Ok(Message::ReportV2(mut records)) = Message::parse(&message)
            else { panic!("not a report") };
        let record = records.next().unwrap();
        prop_assert_eq!((record.kind, record.group), (Some(kind), group));
        prop_assert_eq!(record.sources.map(Ipv6Addr::to_bits).collect::<Vec<_>>(), &sources[..]);
        prop_assert_eq!(records.next(), None);

        let packet = Icmpv6Packet::new_checked(&message[..]).unwrap();
        prop_assert_eq!(packet.msg_type(), Icmpv6Message::MldReport);
        let MldRepr::Report { nr_mcast_addr_rcrds, data } = MldRepr::parse(&packet).unwrap()
            else { panic!("not a report") };
        prop_assert_eq!(nr_mcast_addr_rcrds, 1);
        let theirs = MldAddressRecord::new_checked(data).unwrap();
        let theirs = MldAddressRecordRepr::parse(&theirs).unwrap();
        prop_assert_eq!(u8::from(theirs.record_type), kind as u8);
        prop_assert_eq!((theirs.mcast_addr, theirs.aux_data_len), (group, 0));
        prop_assert_eq!(usize::from(theirs.num_srcs), sources.len());
        let data: Vec<_> = sources.iter().flat_map(|source| source.to_be_bytes()).collect();
        prop_assert_eq!(theirs.payload, data);
    }

    #[test]
    fn any_bytes_parse_or_do_not(mut message: Vec<u8>, kind in 0..4usize) {
        let kind = [QUERY, REPORT_V1, DONE, REPORT_V2][kind];
        message.iter_mut().take(1).for_each(|first| *first = kind);
        match Message::parse(&message) {
            Ok(Message::ReportV2(records)) => prop_assert!(records.count() <= message.len() / 20),
            Ok(_) => prop_assert!(message.len() >= LEN),
            Err(_) => {}
        }
    }
}
