#![allow(clippy::unwrap_used, reason = "they are tests")]

use proptest::prelude::*;
use zerocopy::FromBytes;
use zerocopy::network_endian::{U32, U64};

use super::*;
use crate::wire::{CLIENT, LEN, VERSION, flags};

const MILLI: i64 = NANOS / 1_000;
const NONCE: u64 = 0x0123_4567_89ab_cdef;

fn time(millis: u64) -> Timestamp {
    Timestamp::from_unix(Duration::from_secs(1_000_000_000) + Duration::from_millis(millis))
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// An answer that came to the server and left it then, by its own clock.
fn reply(came: Timestamp, left: Timestamp) -> Header {
    Header {
        flags: flags(0, VERSION, SERVER),
        stratum: 2,
        poll: 6,
        precision: -20,
        root_delay: U32::new(0x0000_4000),
        root_dispersion: U32::new(0x0000_2000),
        reference_id: [192, 0, 2, 1],
        reference: U64::new(came.0),
        origin: U64::new(NONCE),
        receive: U64::new(came.0),
        transmit: U64::new(left.0),
    }
}

fn sample(answer: &Header) -> Result<Sample, Refusal> {
    Sample::new(answer, NONCE, time(0), time(50), at(0))
}

/// A server that is off by this much, and says that it may be wrong by that much.
fn server(number: u8, offset: i64, stratum: u8, distance: i64) -> Source {
    let mut source = Source::new(([10, 0, 0, number], 123).into());
    let mut sample = sample(&reply(time(20), time(30))).unwrap();
    (sample.offset, sample.stratum, sample.delay, sample.root_delay) = (offset, stratum, 0, 0);
    (sample.dispersion, sample.root_dispersion) = (0, distance);
    source.note(Some(sample));
    source
}

#[test]
fn offset_and_delay_are_those_of_the_four_times() {
    // Sent at 0, there at 1,020; sent back at 1,030, here at 50: 40 on the way, 20 each.
    let sample = sample(&reply(time(1_020), time(1_030))).unwrap();
    assert!((sample.offset - 1_000 * MILLI).abs() < 10, "{sample:?}");
    assert!((sample.delay - 40 * MILLI).abs() < 10, "{sample:?}");
    assert!((sample.root_delay() - 290 * MILLI).abs() < 10);
    // An eighth of a second, two precisions, and how much the clock drifts in 50 ms.
    let least = 125 * MILLI;
    assert!((least..least + 5_000).contains(&sample.root_dispersion(at(0))), "{sample:?}");
    let grown = sample.root_dispersion(at(1_000)) - sample.root_dispersion(at(0));
    assert_eq!(grown, 15 * MILLI);
}

#[test]
fn what_does_not_answer_the_question_is_no_answer() {
    let good = reply(time(20), time(30));
    assert!(sample(&good).is_ok());
    let refused = |change: fn(&mut Header)| {
        let mut answer = good;
        change(&mut answer);
        sample(&answer).unwrap_err()
    };
    assert_eq!(refused(|it| it.origin.set(NONCE + 1)), Refusal::Stray);
    assert_eq!(refused(|it| it.flags = flags(0, VERSION, CLIENT)), Refusal::Stray);
    assert_eq!(refused(|it| it.flags = flags(NOT_SET, VERSION, SERVER)), Refusal::NotSet);
    assert_eq!(refused(|it| it.stratum = 16), Refusal::NotSet);
    assert_eq!(refused(|it| it.transmit.set(0)), Refusal::NotSet);
    assert_eq!(refused(|it| it.root_dispersion.set(16 << 16)), Refusal::NotSet);
    let kiss = |it: &mut Header| (it.stratum, it.reference_id) = (0, *b"RATE");
    assert_eq!(refused(kiss), Refusal::Kiss(*b"RATE"));
}

#[test]
fn of_what_a_server_says_the_best_counts_until_it_is_silent() {
    let mut source = Source::new(([10, 0, 0, 1], 123).into());
    assert!(source.best(at(0)).is_none());
    for delay in [30, 10, 20] {
        let mut sample = sample(&reply(time(20), time(30))).unwrap();
        (sample.delay, sample.offset) = (delay * MILLI, delay);
        source.note(Some(sample));
    }
    let (best, jitter) = source.best(at(1)).unwrap();
    assert_eq!((best.delay, jitter), (10 * MILLI, (20 + 10) / 3));
    for _ in 0..7 {
        source.note(None);
        assert!(source.best(at(1)).is_some());
    }
    source.note(None);
    assert!(source.best(at(1)).is_none());
}

#[test]
fn the_majority_is_right_and_of_it_who_is_nearest_to_the_clock() {
    let chosen = |servers: &[Source]| {
        let (server, ..) = select(servers, at(1))?;
        servers.iter().position(|source| source.server == server)
    };
    let good = |number, stratum| server(number, MILLI, stratum, 10 * MILLI);
    let wrong = server(9, 1_000 * MILLI, 1, 10 * MILLI);
    assert_eq!(chosen(&[]), None);
    assert_eq!(chosen(&[good(1, 3)]), Some(0));
    assert_eq!(chosen(&[good(1, 3), good(2, 2), good(3, 4)]), Some(1));
    assert_eq!(chosen(&[good(1, 3), server(9, NANOS, 1, 10 * MILLI), good(2, 2)]), Some(2));
    assert_eq!(chosen(&[good(1, 3), wrong]), None);
    // Who may be as wrong as that contradicts nobody.
    assert_eq!(chosen(&[good(1, 2), server(9, NANOS, 3, 2 * NANOS)]), Some(0));
    // There is no stratum beneath the last.
    assert_eq!(chosen(&[good(1, 15)]), None);
}

#[test]
fn servers_are_asked_soon_at_first_and_less_often_if_they_want_it() {
    let mut poll = Poll::new();
    let seconds: Vec<_> = (0..5).map(|_| poll.pause().as_secs()).collect();
    assert_eq!(seconds, [2, 2, 2, 64, 64]);
    poll.slow_down();
    assert_eq!(poll.pause().as_secs(), 128);
    (0..10).for_each(|_| poll.slow_down());
    assert_eq!(poll.pause().as_secs(), 1_024);
}

proptest! {
    #[test]
    fn whatever_a_server_says_is_taken_or_refused(
        bytes: [u8; LEN], answers: bool, sent: u64, received: u64, later: u64,
    ) {
        let mut answer = Header::read_from_bytes(&bytes).unwrap();
        if answers {
            answer.flags = flags(0, VERSION, SERVER);
            answer.origin.set(NONCE);
            answer.root_delay.set(answer.root_delay.get() >> 16);
            answer.root_dispersion.set(answer.root_dispersion.get() >> 16);
            answer.stratum = 1 + answer.stratum % 15;
        }
        let sample = Sample::new(&answer, NONCE, Timestamp(sent), Timestamp(received), at(0));
        prop_assert!(!answers || answer.transmit.get() == 0 || sample.is_ok());
        if let Ok(sample) = sample {
            let mut source = Source::new(([10, 0, 0, 1], 123).into());
            source.note(Some(sample));
            let now = Instant::from_nanos(later);
            prop_assert!(sample.delay > 0 && sample.distance(now) > 0);
            prop_assert!(source.best(now).is_some());
            let _ = select(&[source], now);
        }
    }
}
