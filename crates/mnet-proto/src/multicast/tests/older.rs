//! Older routers on the link.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::scene::{ROUTER, Said, Scene, include, ip, record};
use super::*;
use crate::wire::igmp::{LEAVE, QUERY, REPORT_V1, REPORT_V2};
use crate::wire::{igmp, mld};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const ANY_V6: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const OURS: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const OURS_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1);

fn report(kind: u8) -> Said {
    Said::Older(kind, OURS.into(), OURS.into())
}

fn leave() -> Said {
    Said::Older(LEAVE, OURS.into(), ip("224.0.0.2"))
}

/// A scene in which a query of version 2 has been heard and answered.
fn version_2() -> Scene {
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    scene.igmp(QUERY, 100, ANY);
    scene.pass(10);
    assert_eq!(scene.said(), [report(REPORT_V2)]);
    scene
}

#[test]
fn to_version_2_each_group_is_reported_to_itself_and_left_to_all_routers() {
    let mut scene = version_2();
    scene.leave(1, ip(GROUP));
    scene.pass(10);
    assert_eq!(scene.said(), [leave()]);
    assert!(scene.multicast.groups.is_empty());
    // Sources are not spoken of.
    scene.join(1, ip(GROUP), include(&[1])).unwrap();
    scene.join(2, ip(GROUP), Filter::ANY).unwrap();
    scene.pass(10);
    assert_eq!(scene.said(), [report(REPORT_V2), report(REPORT_V2)]);
}

#[test]
fn to_version_1_nothing_is_said_of_leaving() {
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    scene.igmp(QUERY, 0, ANY);
    scene.pass(10);
    assert_eq!(scene.said(), [report(REPORT_V1)]);
    scene.leave(1, ip(GROUP));
    scene.pass(10);
    assert_eq!(scene.said(), []);
    assert!(scene.multicast.groups.is_empty());
}

#[test]
fn to_version_1_of_mld_each_group_is_reported_to_itself_and_done_to_all_routers() {
    let mut scene = Scene::joined(OURS_V6.into(), Filter::ANY);
    scene.join(1, ip(GROUP), Filter::ANY).unwrap();
    scene.pass(10);
    scene.said();
    scene.mld(mld::QUERY, 10_000, ANY_V6);
    scene.pass(10);
    scene.leave(1, OURS_V6.into());
    scene.pass(10);
    assert_eq!(
        scene.said(),
        [
            Said::Older(mld::REPORT_V1, OURS_V6.into(), OURS_V6.into()),
            Said::Older(mld::DONE, OURS_V6.into(), ip("ff02::2")),
        ]
    );
    // IPv4's router is another.
    scene.leave(1, ip(GROUP));
    assert_eq!(scene.said(), [record(ToInclude, ip(GROUP), &[])]);
}

#[test]
fn another_members_report_does_for_ours_and_then_it_is_theirs_to_leave() {
    let mut scene = version_2();
    scene.igmp(QUERY, 100, ANY);
    scene.igmp(REPORT_V2, 0, OURS);
    scene.pass(20);
    scene.leave(1, ip(GROUP));
    scene.pass(20);
    assert_eq!(scene.said(), []);

    let mut scene = Scene::joined(OURS_V6.into(), Filter::ANY);
    scene.mld(mld::QUERY, 10_000, ANY_V6);
    scene.mld(mld::REPORT_V1, 0, OURS_V6);
    scene.pass(20);
    scene.leave(1, OURS_V6.into());
    assert_eq!(scene.said(), []);
}

#[test]
fn another_members_report_after_ours_leaves_it_to_us_too_to_leave() {
    let mut scene = version_2();
    scene.igmp(REPORT_V2, 0, OURS);
    scene.leave(1, ip(GROUP));
    assert_eq!(scene.said(), [leave()]);
}

#[test]
fn another_members_report_does_not_for_version_3() {
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    scene.query(Some(ip(GROUP)), &[], 10);
    scene.igmp(REPORT_V2, 0, OURS);
    scene.pass(10);
    assert_eq!(scene.said(), [record(IsExclude, ip(GROUP), &[])]);
    scene.leave(1, ip(GROUP));
    assert_eq!(scene.said(), [record(ToInclude, ip(GROUP), &[])]);
}

#[test]
fn a_report_counts_whichever_address_of_the_host_it_is_sent_to() {
    for destination in [OURS, igmp::ALL_SYSTEMS, Ipv4Addr::new(10, 0, 0, 2)] {
        let mut scene = version_2();
        scene.igmp(QUERY, 100, ANY);
        let report = igmp::emit(REPORT_V2, 0, OURS);
        let result = scene.multicast.handle_igmp(scene.now, ROUTER, destination, &report);
        assert_eq!(result, Ok(()));
        scene.pass(20);
        assert_eq!(scene.said(), [], "{destination}");
    }
}

#[test]
fn a_query_of_one_group_does_not_make_the_router_an_older_one() {
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    scene.igmp(QUERY, 10, OURS);
    scene.pass(10);
    assert_eq!(scene.said(), [record(IsExclude, ip(GROUP), &[])]);
}

#[test]
fn in_mld_a_query_of_one_group_too_makes_the_router_an_older_one() {
    let mut scene = Scene::joined(OURS_V6.into(), Filter::ANY);
    scene.mld(mld::QUERY, 1_000, OURS_V6);
    scene.pass(1);
    assert_eq!(scene.said(), [Said::Older(mld::REPORT_V1, OURS_V6.into(), OURS_V6.into())]);
}

#[test]
fn of_a_query_of_one_group_only_that_group_is_reported() {
    let mut scene = version_2();
    scene.join(1, ip("239.1.2.4"), Filter::ANY).unwrap();
    scene.pass(20);
    scene.said();
    scene.igmp(QUERY, 10, OURS);
    scene.pass(1);
    assert_eq!(scene.said(), [report(REPORT_V2)]);
}

#[test]
fn a_query_that_can_wait_does_not_delay_an_answer() {
    let mut scene = version_2();
    scene.igmp(QUERY, 10, ANY);
    let first = scene.multicast.poll_timeout();
    scene.igmp(QUERY, 250, ANY);
    assert_eq!(scene.multicast.poll_timeout(), first);
    scene.pass(1);
    assert_eq!(scene.said(), [report(REPORT_V2)]);

    // Nor does one hasten it that has as much time (RFC 2236 §3).
    scene.igmp(QUERY, 250, ANY);
    let first = scene.multicast.poll_timeout();
    (0..20).for_each(|_| scene.igmp(QUERY, 250, ANY));
    assert_eq!(scene.multicast.poll_timeout(), first);
}

#[test]
fn what_is_planned_is_dropped_when_another_version_is_spoken() {
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    scene.query(None, &[], 10);
    scene.leave(1, ip(GROUP));
    assert_eq!(scene.said(), [record(ToInclude, ip(GROUP), &[])]);
    scene.igmp(QUERY, 100, ANY);
    assert!(scene.multicast.groups.is_empty());
    scene.pass(20);
    assert_eq!(scene.said(), []);
}

#[test]
fn what_waits_to_be_taken_is_dropped_when_another_version_is_spoken() {
    let mut scene = Scene::new();
    for group in [GROUP, "239.1.2.4", "239.1.2.5"] {
        scene.multicast.join(scene.now, 1, ip(group), Filter::ANY).unwrap();
    }
    // One record in each message.
    let message = scene.multicast.poll_transmit(scene.now, 16).unwrap().message;
    assert_eq!((message[0], message.len()), (igmp::REPORT_V3, 16));
    scene.igmp(QUERY, 100, ANY);
    assert_eq!(scene.said(), []);
    scene.pass(10);
    assert_eq!(scene.said().len(), 3);
}

#[test]
fn what_is_joined_after_a_long_silence_is_told_in_version_3() {
    let mut scene = version_2();
    scene.now += Duration::from_secs(300);
    scene.join(1, ip("239.1.2.4"), Filter::ANY).unwrap();
    assert_eq!(scene.said(), [record(ToExclude, ip("239.1.2.4"), &[])]);
}

#[test]
fn version_3_is_spoken_again_when_older_routers_have_been_silent_for_long() {
    let mut scene = version_2();
    // Robustness times interval and the time to answer in (RFC 3376 §8.12), 10 s of it gone.
    scene.pass(2 * 125 - 1);
    scene.query(None, &[], 0);
    assert_eq!(scene.said(), [report(REPORT_V2)]);
    scene.pass(1);
    scene.query(None, &[], 0);
    assert_eq!(scene.said(), [record(IsExclude, ip(GROUP), &[])]);
}

#[test]
fn an_interval_of_days_lasts_until_the_next_query_says_otherwise() {
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    scene.multicast.igmp.set(7, Duration::from_secs(31_744));
    scene.igmp(QUERY, 0, ANY);
    scene.pass(1_000);
    assert_eq!(scene.said(), [report(REPORT_V1)]);
    scene.query(None, &[], 0);
    assert_eq!(scene.said(), [record(IsExclude, ip(GROUP), &[])]);
}

#[test]
fn version_1_outweighs_version_2_while_both_are_heard() {
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    scene.igmp(QUERY, 0, ANY);
    scene.pass(100);
    scene.igmp(QUERY, 1, ANY);
    scene.pass(1);
    assert_eq!(scene.said(), [report(REPORT_V1), report(REPORT_V1)]);
    scene.pass(160);
    scene.igmp(QUERY, 1, ANY);
    scene.pass(1);
    assert_eq!(scene.said(), [report(REPORT_V2)]);
}
