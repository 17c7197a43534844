//! What a host says of its groups, as a router hears it.

mod older;
mod queries;
mod scene;

use std::collections::BTreeMap;

use proptest::prelude::*;

use self::scene::{
    ROUTER, ROUTER_V6, START, Said, Scene, exclude, include, ip, record, source, sources,
};
use super::*;
use crate::wire::multicast::RecordKind::{Allow, Block, IsExclude, ToExclude, ToInclude};

const GROUP: &str = "239.1.2.3";

#[test]
fn joining_is_told_at_once_and_again_within_a_second() {
    for group in [ip(GROUP), ip("ff15::1:2")] {
        let mut scene = Scene::new();
        scene.join(1, group, Filter::ANY).unwrap();
        scene.pass(60);
        let times: Vec<_> = scene.sent.iter().map(|(time, _)| *time - START).collect();
        let [first, second] = times[..] else { panic!("{times:?}") };
        assert_eq!(first, Duration::ZERO);
        assert!(second > first && second <= AGAIN, "{second:?}");
        let expected = record(ToExclude, group, &[]);
        assert_eq!(scene.said(), [expected.clone(), expected]);
    }
}

#[test]
fn the_group_is_forgotten_once_leaving_has_been_told() {
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    assert!(scene.leave(1, ip(GROUP)));
    assert!(!scene.multicast.is_joined(ip(GROUP)));
    assert_eq!(scene.multicast.groups.len(), 1);
    scene.pass(1);
    let expected = record(ToInclude, ip(GROUP), &[]);
    assert_eq!(scene.said(), [expected.clone(), expected]);
    assert!(scene.multicast.groups.is_empty());
    assert_eq!(scene.multicast.poll_timeout(), None);
    assert!(!scene.leave(1, ip(GROUP)));
}

#[test]
fn a_member_hears_what_its_own_filter_lets_through() {
    let mut scene = Scene::new();
    scene.join(1, ip(GROUP), include(&[1, 2])).unwrap();
    scene.join(2, ip(GROUP), exclude(&[2, 3])).unwrap();
    let heard = |scene: &Scene, member| {
        let accepts = |&number: &u8| scene.multicast.accepts(member, ip(GROUP), source(number));
        (1..=4).filter(accepts).collect::<Vec<_>>()
    };
    assert_eq!(heard(&scene, 1), [1, 2]);
    assert_eq!(heard(&scene, 2), [1, 4]);
    assert_eq!(heard(&scene, 3), []);
    assert!(!scene.multicast.accepts(1, ip("239.1.2.4"), source(1)));
    scene.join(1, ip(GROUP), include(&[])).unwrap();
    assert_eq!(heard(&scene, 1), []);
    assert!(scene.multicast.is_joined(ip(GROUP)));
}

#[test]
fn a_change_of_sources_tells_what_is_new_and_what_is_not_wanted_any_more() {
    let mut scene = Scene::joined(ip(GROUP), include(&[1, 2]));
    scene.join(1, ip(GROUP), include(&[2, 3])).unwrap();
    let expected =
        Said::Records(vec![(Allow, ip(GROUP), sources(&[3])), (Block, ip(GROUP), sources(&[1]))]);
    assert_eq!(scene.said(), [expected]);

    // RFC 3376 §5.1: what changes before all is told is told with the rest of it, and from then
    // on as often as anything.
    scene.join(2, ip(GROUP), include(&[1, 4])).unwrap();
    assert_eq!(scene.said(), [record(Allow, ip(GROUP), &[3, 1, 4])]);
    scene.pass(10);
    assert_eq!(scene.said(), [record(Allow, ip(GROUP), &[1, 4])]);
}

#[test]
fn a_change_of_mode_takes_the_changes_of_sources_with_it() {
    let mut scene = Scene::joined(ip(GROUP), include(&[1, 2]));
    scene.join(1, ip(GROUP), include(&[2])).unwrap();
    assert_eq!(scene.said(), [record(Block, ip(GROUP), &[1])]);
    scene.join(2, ip(GROUP), exclude(&[1, 2, 3])).unwrap();
    assert_eq!(scene.said(), [record(ToExclude, ip(GROUP), &[1, 3])]);
    // A change of sources in the meantime is in the mode's next record, and then told alone.
    scene.join(2, ip(GROUP), exclude(&[1, 2])).unwrap();
    assert_eq!(scene.said(), [record(ToExclude, ip(GROUP), &[1])]);
    scene.pass(10);
    assert_eq!(scene.said(), [record(Allow, ip(GROUP), &[3])]);
}

#[test]
fn a_change_that_changes_nothing_is_not_told() {
    let mut scene = Scene::joined(ip(GROUP), Filter::ANY);
    scene.join(2, ip(GROUP), include(&[1])).unwrap();
    scene.join(1, ip(GROUP), Filter::ANY).unwrap();
    scene.leave(2, ip(GROUP));
    scene.pass(10);
    assert_eq!(scene.said(), []);
}

#[test]
fn what_is_told_is_told_as_often_as_the_querier_says() {
    for (robustness, times) in [(1, 1), (0, 2), (7, 7)] {
        let mut scene = Scene::new();
        scene.multicast.igmp.set(robustness, Duration::from_secs(125));
        scene.join(1, ip(GROUP), Filter::ANY).unwrap();
        scene.pass(60);
        assert_eq!(scene.said(), vec![record(ToExclude, ip(GROUP), &[]); times]);
    }
}

#[test]
fn groups_that_everybody_is_in_and_those_of_the_host_alone_are_not_told_of() {
    let mut scene = Scene::new();
    for group in ["224.0.0.1", "ff02::1", "ff01::1", "ff11::5", "ff00::1"] {
        scene.join(HOST, ip(group), Filter::ANY).unwrap();
        assert!(scene.multicast.is_joined(ip(group)), "{group}");
        scene.query(Some(ip(group)), &[], 1);
    }
    scene.query(None, &[], 1);
    scene.query(Some(ip("::")), &[], 1);
    scene.multicast.announce(scene.now, true);
    scene.multicast.leave_all(scene.now, HOST);
    scene.pass(10);
    assert_eq!(scene.said(), []);
    assert!(scene.multicast.groups.is_empty());
}

#[test]
fn solicited_node_groups_are_told_of() {
    let mut scene = Scene::new();
    scene.join(HOST, ip("ff02::1:ff00:1"), Filter::ANY).unwrap();
    assert_eq!(scene.said(), [record(ToExclude, ip("ff02::1:ff00:1"), &[])]);
}

#[test]
fn what_is_no_group_cannot_be_joined() {
    let mut scene = Scene::new();
    for address in ["192.0.2.1", "255.255.255.255", "0.0.0.0", "fe80::1", "::"] {
        let result = scene.join(1, ip(address), Filter::ANY);
        assert_eq!(result, Err(JoinError::NotMulticast), "{address}");
    }
    assert_eq!(scene.said(), []);
}

#[test]
fn a_full_table_refuses_newcomers_and_keeps_what_it_has() {
    let mut scene = Scene::new();
    let group = |number| ip(&format!("239.1.2.{number}"));
    for number in 0..4 {
        scene.join(1, group(number), exclude(&[1, 2])).unwrap();
    }
    scene.pass(10);
    scene.said();
    for number in 4..20 {
        let refused = Err(JoinError::TooManyGroups);
        assert_eq!(scene.join(2, group(number), Filter::ANY), refused);
    }
    let many: Vec<_> = (0..7).collect();
    assert_eq!(scene.join(2, group(0), include(&many)), Err(JoinError::TooManySources));
    assert_eq!(scene.join(1, group(0), exclude(&[0; 100])), Ok(()));
    assert_eq!(scene.join(1, group(0), exclude(&[1, 2])), Ok(()));
    scene.pass(10);
    scene.said();
    scene.query(None, &[], 0);
    let expected = (0..4).map(|number| (IsExclude, group(number), sources(&[1, 2]))).collect();
    assert_eq!(scene.said(), [Said::Records(expected)]);

    // The host's own need no place, and what has been left gives its own up.
    scene.join(HOST, ip("ff02::1:ff00:1"), Filter::ANY).unwrap();
    scene.leave(1, group(3));
    scene.join(2, group(9), Filter::ANY).unwrap();
    assert_eq!(scene.multicast.groups.len(), 5);
    assert!(scene.multicast.is_joined(group(9)) && !scene.multicast.is_joined(group(3)));
}

#[test]
fn changes_beyond_what_is_remembered_are_told_all_together() {
    let mut scene = Scene::joined(ip(GROUP), include(&[0]));
    for number in 1..=8 {
        scene.multicast.join(scene.now, 1, ip(GROUP), include(&[number])).unwrap();
    }
    scene.transmit();
    let gone = sources(&(0..8).collect::<Vec<_>>());
    let expected = vec![(Allow, ip(GROUP), sources(&[8])), (Block, ip(GROUP), gone)];
    assert_eq!(scene.said(), [Said::Records(expected)]);

    for number in 10..40 {
        scene.multicast.join(scene.now, 1, ip(GROUP), include(&[number])).unwrap();
    }
    scene.transmit();
    assert_eq!(scene.said(), [record(ToInclude, ip(GROUP), &[39])]);
}

#[test]
fn many_records_go_into_as_many_messages_as_they_need() {
    let limits = Limits { groups: 100, sources: 100 };
    let mut scene = Scene::with(limits, 1);
    let all: Vec<_> = (0..100).collect();
    let group = |number| ip(&format!("239.1.2.{number}"));
    for number in 0..50 {
        scene.multicast.join(scene.now, 1, group(number), include(&all[..50])).unwrap();
    }
    scene.max = 500;
    scene.transmit();
    let mut told: BTreeMap<IpAddr, Vec<IpAddr>> = BTreeMap::new();
    for said in scene.said() {
        let Said::Records(records) = said else { panic!("{said:?}") };
        for (kind, group, sources) in records {
            assert_eq!(kind, Allow);
            told.entry(group).or_default().extend(sources);
        }
    }
    assert_eq!(told.len(), 50);
    assert!(told.values().all(|told| *told == sources(&all[..50])));

    // What is excluded cannot be told in parts.
    scene.pass(10);
    scene.said();
    scene.max = 200;
    scene.join(2, group(0), exclude(&all[50..])).unwrap();
    let said = scene.said();
    let [Said::Records(records)] = &said[..] else { panic!("{said:?}") };
    let [(ToExclude, _, told)] = &records[..] else { panic!("{records:?}") };
    assert_eq!(*told, sources(&all[50..96]));
}

#[test]
fn on_an_address_all_groups_of_its_family_are_told_again() {
    let mut scene = Scene::joined(ip("ff15::1"), Filter::ANY);
    scene.join(1, ip(GROUP), Filter::ANY).unwrap();
    scene.pass(10);
    scene.said();
    scene.multicast.announce(scene.now, true);
    scene.transmit();
    scene.pass(10);
    assert_eq!(scene.said(), vec![record(ToExclude, ip("ff15::1"), &[]); 2]);
}

#[test]
fn leaving_all_leaves_what_others_want() {
    let mut scene = Scene::new();
    for group in ["239.1.1.1", "239.1.1.2", "ff15::1"] {
        scene.join(1, ip(group), Filter::ANY).unwrap();
    }
    scene.join(2, ip("239.1.1.2"), include(&[5])).unwrap();
    scene.pass(10);
    scene.said();
    scene.multicast.leave_all(scene.now, 1);
    scene.transmit();
    assert_eq!(
        scene.said(),
        [
            Said::Records(vec![
                (ToInclude, ip("239.1.1.1"), vec![]),
                (ToInclude, ip("239.1.1.2"), sources(&[5])),
            ]),
            record(ToInclude, ip("ff15::1"), &[]),
        ]
    );
}

/// Something that happens to a host's memberships.
#[derive(Clone, Debug)]
enum Step {
    Join(u32, u8, bool, Vec<u8>),
    Leave(u32, u8),
    Igmp(bool, Vec<u8>),
    Mld(bool, Vec<u8>),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let list = || proptest::collection::vec(0u8..20, 0..12);
    let bytes = || {
        let kind = prop::sample::select(vec![0x11u8, 0x11, 0x16, 130, 130, 131]);
        let rest = prop::collection::vec(prop_oneof![Just(0u8), Just(2), any::<u8>()], 0..80);
        (kind, rest).prop_map(|(kind, mut bytes)| {
            bytes.iter_mut().take(1).for_each(|first| *first = kind);
            bytes
        })
    };
    prop_oneof![
        (0u32..3, 0u8..8, any::<bool>(), list()).prop_map(|(m, g, e, l)| Step::Join(m, g, e, l)),
        (0u32..3, 0u8..8).prop_map(|(member, group)| Step::Leave(member, group)),
        (any::<bool>(), bytes()).prop_map(|(good, bytes)| Step::Igmp(good, bytes)),
        (any::<bool>(), bytes()).prop_map(|(good, bytes)| Step::Mld(good, bytes)),
        (0u64..400).prop_map(Step::Pass),
    ]
}

proptest! {
    /// A router that hears everything knows at all times what the host wants: each record says
    /// how its picture changes (RFC 3376 §6.4).
    #[test]
    fn a_router_that_hears_all_knows_what_is_wanted(
        steps in proptest::collection::vec(
            (0u32..3, any::<bool>(), proptest::collection::vec(0u8..6, 0..4), 0u64..2), 0..30),
    ) {
        let mut scene = Scene::with(Limits { groups: 1, sources: 100 }, 7);
        let (mut excluding, mut listed) = (false, Vec::new());
        for (member, excluded, list, seconds) in steps {
            let filter = if excluded { exclude(&list) } else { include(&list) };
            scene.join(member, ip(GROUP), filter).unwrap();
            scene.pass(seconds);
            for said in scene.said() {
                let Said::Records(records) = said else { panic!("{said:?}") };
                for (kind, _, sources) in records {
                    match kind {
                        ToInclude => (excluding, listed) = (false, sources),
                        ToExclude => (excluding, listed) = (true, sources),
                        kind => {
                            let add = (kind == Allow) != excluding;
                            listed.retain(|source| !sources.contains(source));
                            listed.extend(sources.into_iter().filter(|_| add));
                        }
                    }
                }
            }
            for number in 0..8 {
                let wanted =
                    (0..3).any(|member| scene.multicast.accepts(member, ip(GROUP), source(number)));
                prop_assert_eq!(listed.contains(&source(number)) != excluding, wanted);
            }
        }
    }

    #[test]
    fn whatever_comes_nothing_grows_beyond_its_bounds(
        steps in proptest::collection::vec(step(), 0..60), seed: u64,
    ) {
        let mut scene = Scene::with(Limits { groups: 4, sources: 8 }, seed);
        for step in steps {
            match step {
                Step::Join(member, group, excluded, list) => {
                    let filter = if excluded { exclude(&list) } else { include(&list) };
                    let _ = scene.join(member, ip(&format!("239.0.0.{group}")), filter);
                    let _ = scene.join(member, ip(&format!("ff15::{group}")), Filter::ANY);
                }
                Step::Leave(member, group) => {
                    scene.leave(member, ip(&format!("239.0.0.{group}")));
                }
                Step::Igmp(general, mut message) => {
                    if general && message.len() >= 8 {
                        message[4..8].fill(0);
                    }
                    crate::wire::igmp::fill_checksum(&mut message);
                    let to = crate::wire::igmp::ALL_SYSTEMS;
                    let _ = scene.multicast.handle_igmp(scene.now, ROUTER, to, &message);
                }
                Step::Mld(general, mut message) => {
                    if general && message.len() >= 24 {
                        message[8..24].fill(0);
                    }
                    let _ = scene.multicast.handle_mld(scene.now, ROUTER_V6, &message);
                }
                Step::Pass(seconds) => scene.pass(seconds),
            }
            scene.transmit();
            prop_assert!(scene.multicast.groups.len() <= 4);
            prop_assert!(scene.multicast.outbox.is_empty());
        }
        (0..3).for_each(|member| scene.multicast.leave_all(scene.now, member));
        scene.transmit();
        scene.pass(100);
        prop_assert!(scene.multicast.groups.is_empty());
    }
}
