#![allow(clippy::unwrap_used, reason = "they are tests")]

use std::time::Duration;

use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::*;
use crate::source::Sample;

fn asked(version: u8) -> Header {
    let mut question = Header::question(6, 77);
    question.flags = flags(0, version, CLIENT);
    question
}

/// What a server of stratum 2 says that is a second ahead.
fn ahead(clock: &Clock, at: Instant) -> Sample {
    let there = clock.raw(at).plus(NANOS);
    let mut said = answer(asked(4).as_bytes(), &clock.status(at), there).unwrap();
    (said.flags, said.stratum) = (flags(1, 4, SERVER), 2);
    said.transmit.set(there.0);
    said.root_delay.set(0x1000);
    Sample::new(&said, 77, clock.raw(at), clock.raw(at), at).unwrap()
}

#[test]
fn a_clock_that_nobody_has_set_says_so() {
    let clock = Clock::new(None);
    clock.update();
    let said = answer(asked(4).as_bytes(), &clock.status(now()), Timestamp(5)).unwrap();
    assert_eq!((said.leap(), said.stratum, &said.reference_id), (NOT_SET, 0, b"INIT"));
    assert_eq!((said.origin.get(), said.receive.get(), said.poll), (77, 5, 6));
}

#[test]
fn the_hosts_clock_is_served_where_that_is_wanted() {
    for (stratum, id) in [(1, *b"LOCL"), (10, [127, 127, 1, 1])] {
        let clock = Clock::new(Some(stratum));
        clock.update();
        let status = clock.status(now());
        assert_eq!((status.leap, status.stratum, status.reference_id), (0, stratum, id));
        let off = clock.at(now()).since(Timestamp::from_unix(wall_clock()));
        assert!(off.abs() < NANOS / 10, "{off}");
    }
}

#[test]
fn it_goes_by_a_server_and_stands_one_stratum_below() {
    for (server, id) in [
        (IpAddr::from([10, 0, 0, 1]), [10, 0, 0, 1]),
        // MD5 of the address's sixteen bytes.
        ("2001:db8::1".parse().unwrap(), [0x39, 0xab, 0x9b, 0x37]),
    ] {
        let mut clock = Clock::new(Some(10));
        let mut source = Source::new((server, 123).into());
        let at = now();
        source.note(Some(ahead(&clock, at)));
        clock.sources.push(source);
        clock.update();
        clock.follow_host();
        assert_eq!(clock.at(at).since(clock.raw(at)), NANOS);
        let status = clock.status(at);
        assert_eq!((status.leap, status.stratum, status.reference_id), (1, 3, id));
        assert_eq!(status.reference, clock.at(at));
        // What the server says, and the way there.
        assert!((NANOS / 16..NANOS / 16 + 1_000).contains(&status.root_delay), "{status:?}");
        let later = clock.status(at + Duration::from_secs(100));
        let grown = later.root_dispersion - status.root_dispersion;
        assert_eq!(grown, 100 * 15_000);

        // The server is silent: the host's clock again.
        (0..8).for_each(|_| clock.sources[0].note(None));
        clock.update();
        assert_eq!(clock.status(now()).stratum, 10);
        assert!(clock.at(at).since(clock.raw(at)).abs() < NANOS / 10);
    }
}

#[test]
fn only_questions_are_answered_in_their_own_version() {
    let status = Clock::new(Some(10)).status(now());
    for version in 1..=4 {
        let said = answer(asked(version).as_bytes(), &status, Timestamp(5)).unwrap();
        assert_eq!((said.version(), said.mode()), (version, SERVER));
    }
    for other in [flags(0, 0, CLIENT), flags(0, 5, CLIENT), flags(0, 4, SERVER), flags(0, 4, 6)] {
        let mut question = asked(4);
        question.flags = other;
        assert!(answer(question.as_bytes(), &status, Timestamp(5)).is_none());
    }
    assert!(answer(&asked(4).as_bytes()[..47], &status, Timestamp(5)).is_none());
}

proptest! {
    #[test]
    fn whatever_comes_is_answered_or_not(question: Vec<u8>) {
        let status = Clock::new(Some(10)).status(now());
        let said = answer(&question, &status, Timestamp(5));
        prop_assert!(said.is_none() || question.len() >= crate::wire::LEN);
    }
}
