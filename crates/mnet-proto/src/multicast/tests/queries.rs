//! Answers to queries of IGMPv3 and MLDv2.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::scene::{ROUTER, ROUTER_V6, Said, Scene, exclude, include, ip, record, source, sources};
use super::*;
use crate::wire::multicast as wire;
use crate::wire::multicast::RecordKind::{IsExclude, IsInclude};
use crate::wire::{igmp, mld};

const OTHER: &str = "239.1.2.4";

#[test]
fn a_general_query_is_answered_for_all_groups_in_its_time() {
    let mut scene = Scene::joined(ip(GROUP), exclude(&[1]));
    scene.join(2, ip(OTHER), include(&[2])).unwrap();
    scene.join(2, ip("ff15::1"), Filter::ANY).unwrap();
    scene.pass(10);
    scene.said();
    let asked = scene.now;
    scene.query(None, &[], 100);
    assert_eq!(scene.said(), []);
    scene.pass(100);
    assert!(scene.sent.iter().all(|(time, _)| *time > asked));
    let all = vec![(IsExclude, ip(GROUP), sources(&[1])), (IsInclude, ip(OTHER), sources(&[2]))];
    assert_eq!(scene.said(), [Said::Records(all)]);

    scene.query(Some(ip("::")), &[], 8_000);
    scene.pass(8_000);
    assert_eq!(scene.said(), [record(IsExclude, ip("ff15::1"), &[])]);
}

#[test]
fn answers_of_different_hosts_are_spread_over_the_time_there_is() {
    let answers: Vec<_> = (0..100)
        .map(|seed| {
            let mut scene = Scene::with(Limits { groups: 4, sources: 8 }, seed << 32);
            scene.join(1, ip(GROUP), Filter::ANY).unwrap();
            scene.pass(10);
            scene.sent.clear();
            let asked = scene.now;
            scene.query(None, &[], 100);
            scene.pass(100);
            let [(time, _)] = scene.sent[..] else { panic!("{:?}", scene.sent) };
            (time - asked).as_secs()
        })
        .collect();
    for tenth in 0..10 {
        let there = answers.iter().any(|seconds| seconds / 10 == tenth);
        assert!(there, "nobody answers in the {tenth}th tenth: {answers:?}");
    }
}

#[test]
fn one_answer_does_for_all_queries_before_it() {
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    scene.query(None, &[], 10);
    scene.query(None, &[], 1_000);
    scene.query(Some(ip(GROUP)), &[], 1_000);
    scene.query(None, &[], 500);
    scene.pass(1_000);
    assert_eq!(scene.said(), [record(IsExclude, ip(GROUP), &[])]);
}

#[test]
fn a_query_of_a_group_is_answered_for_that_group_alone() {
    for (group, other) in [(GROUP, OTHER), ("ff15::1", "ff15::2")] {
        let mut scene = Scene::joined(ip(group), Filter::ANY);
        scene.join(1, ip(other), Filter::ANY).unwrap();
        scene.pass(10);
        scene.said();
        scene.query(Some(ip(group)), &[], 1);
        scene.pass(10);
        assert_eq!(scene.said(), [record(IsExclude, ip(group), &[])]);
    }
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    scene.query(Some(ip(OTHER)), &[], 1);
    assert_eq!(scene.multicast.poll_timeout(), None);
}

#[test]
fn a_query_of_sources_is_answered_with_those_that_are_wanted() {
    for filter in [include(&[2, 3, 5]), exclude(&[1, 4])] {
        let mut scene = Scene::joined(ip(GROUP), filter);
        scene.query(Some(ip(GROUP)), &sources(&[1, 2]), 1);
        scene.query(Some(ip(GROUP)), &sources(&[2, 3, 4]), 1);
        scene.pass(10);
        assert_eq!(scene.said(), [record(IsInclude, ip(GROUP), &[2, 3])]);
        scene.query(Some(ip(GROUP)), &sources(&[1]), 1);
        scene.pass(10);
        assert_eq!(scene.said(), []);
    }
}

#[test]
fn a_query_of_sources_and_one_of_all_are_answered_for_all() {
    for first in [vec![], sources(&[2])] {
        let mut scene = Scene::joined(ip(GROUP), include(&[2, 3]));
        let second = if first.is_empty() { sources(&[2]) } else { vec![] };
        scene.query(Some(ip(GROUP)), &first, 1);
        scene.query(Some(ip(GROUP)), &second, 1);
        scene.pass(10);
        assert_eq!(scene.said(), [record(IsInclude, ip(GROUP), &[2, 3])]);
    }
}

#[test]
fn queries_of_more_sources_than_are_kept_are_answered_for_all() {
    let mut scene = Scene::joined(ip(GROUP), include(&[2, 3]));
    // Only one of those that are asked about is wanted; what else is wanted tells how it was asked.
    let many: Vec<_> = [2].into_iter().chain(100..200).collect();
    for (length, told) in [(101, vec![2, 3]), (9, vec![2, 3]), (8, vec![2])] {
        scene.query(Some(ip(GROUP)), &sources(&many[..length]), 1);
        scene.pass(10);
        assert_eq!(scene.said(), [record(IsInclude, ip(GROUP), &told)]);
    }
    for each in many.chunks(4) {
        scene.query(Some(ip(GROUP)), &sources(each), 1_000);
    }
    scene.pass(1_000);
    assert_eq!(scene.said(), [record(IsInclude, ip(GROUP), &[2, 3])]);
}

#[test]
fn an_answer_is_not_put_off_by_a_query_that_can_wait() {
    let mut scene = Scene::joined(ip(GROUP), include(&[2, 3]));
    scene.query(Some(ip(GROUP)), &sources(&[2]), 1);
    scene.query(Some(ip(GROUP)), &sources(&[3]), 3_000);
    scene.pass(1);
    assert_eq!(scene.said(), [record(IsInclude, ip(GROUP), &[2, 3])]);
}

#[test]
fn what_is_left_before_the_answer_is_not_in_it() {
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    scene.query(Some(ip(GROUP)), &[], 3_000);
    scene.leave(1, ip(GROUP));
    scene.pass(1);
    assert!(scene.multicast.groups.is_empty());
    scene.said();
    scene.pass(3_000);
    assert_eq!(scene.said(), []);
}

#[test]
fn a_query_to_somebody_else_or_from_nobody_is_ignored() {
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    scene.join(1, ip("ff15::1"), Filter::ANY).unwrap();
    scene.pass(10);
    let now = scene.now;
    let general = igmp::emit(igmp::QUERY, 100, Ipv4Addr::UNSPECIFIED);
    for to in [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(239, 1, 2, 3), Ipv4Addr::BROADCAST] {
        let result = scene.multicast.handle_igmp(now, ROUTER, to, &general);
        assert_eq!(result, Err(Ignored::Destination), "{to}");
    }
    for from in [Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST, igmp::ALL_SYSTEMS] {
        let result = scene.multicast.handle_igmp(now, from, igmp::ALL_SYSTEMS, &general);
        assert_eq!(result, Err(Ignored::Source), "{from}");
    }
    let general = mld::emit(mld::QUERY, 1_000, Ipv6Addr::UNSPECIFIED);
    for from in ["::", "2001:db8::1", "ff02::1", "::1"] {
        let from = from.parse().unwrap();
        let result = scene.multicast.handle_mld(now, from, &general);
        assert_eq!(result, Err(Ignored::Source), "{from}");
    }
    assert_eq!(scene.multicast.poll_timeout(), None);
}

#[test]
fn what_is_malformed_or_not_for_hosts_is_ignored_and_said_so() {
    let mut multicast = Scene::new().multicast;
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let mut igmp = |message: &[u8]| multicast.handle_igmp(START, ROUTER, group, message);
    let mut wrong = igmp::emit(igmp::QUERY, 1, group);
    wrong[2] ^= 0xff;
    assert_eq!(igmp(&wrong), Err(Ignored::Checksum));
    assert_eq!(igmp(&wrong[..7]), Err(Ignored::Malformed));
    assert_eq!(igmp(&igmp::emit(igmp::LEAVE, 0, group)), Err(Ignored::Unhandled));
    assert_eq!(igmp(&igmp::emit(0x99, 0, group)), Err(Ignored::Unhandled));
    let v6 = "ff15::1".parse().unwrap();
    let mut mld = |message: &[u8]| multicast.handle_mld(START, ROUTER_V6, message);
    assert_eq!(mld(&mld::emit(mld::QUERY, 1, v6)[..23]), Err(Ignored::Malformed));
    assert_eq!(mld(&mld::emit(mld::DONE, 0, v6)), Err(Ignored::Unhandled));
    assert_eq!(mld(&[]), Err(Ignored::Malformed));
}

#[test]
fn a_query_sets_how_often_changes_are_told() {
    let mut scene = Scene::new();
    let querier =
        wire::Querier { suppress: false, robustness: 5, interval: Duration::from_secs(10) };
    let version = igmp::Version::V3 { max_response: Duration::from_secs(1), querier };
    let query = igmp::Query { group: Ipv4Addr::UNSPECIFIED, version }.emit(&[]);
    let (from, to) = (Ipv4Addr::UNSPECIFIED, igmp::ALL_SYSTEMS);
    assert_eq!(scene.multicast.handle_igmp(scene.now, from, to, &query), Ok(()));
    scene.join(1, ip(GROUP), include(&[1])).unwrap();
    assert!(scene.multicast.accepts(1, ip(GROUP), source(1)));
    scene.pass(60);
    let changes = scene.said().into_iter().filter(|said| *said == record(Allow, ip(GROUP), &[1]));
    assert_eq!(changes.count(), 5);
}
