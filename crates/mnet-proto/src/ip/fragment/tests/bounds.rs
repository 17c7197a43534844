//! What happens when there is too much.

use proptest::prelude::*;

use super::*;

fn limits(datagrams: usize, per_sender: usize, bytes: usize) -> Limits {
    Limits { bytes, datagrams, per_sender, ..Limits::default() }
}

fn begin(sender: u32, identification: u32) -> Piece {
    Piece { key: key(sender, identification), ..piece(0, true) }
}

fn end(sender: u32, identification: u32) -> Piece {
    Piece { key: key(sender, identification), ..piece(8, false) }
}

#[test]
fn a_sender_with_too_many_datagrams_loses_its_oldest() {
    let mut scene = Scene::with(limits(64, 3, 1 << 20));
    scene.waits(begin(2, 1), 8);
    for number in 1..=5 {
        scene.waits(begin(1, number), 8);
    }
    assert_eq!(scene.evicted, [Reason::Evicted; 2]);
    assert_eq!(scene.reassembler.len(), 4);
    for piece in [end(2, 1), end(1, 3), end(1, 4), end(1, 5)] {
        let _ = scene.completes(piece, 8);
    }
    assert!(scene.reassembler.is_empty());
    scene.waits(end(1, 1), 8);
}

#[test]
fn the_sender_with_most_datagrams_makes_room_for_others() {
    let mut scene = Scene::with(limits(6, 8, 1 << 20));
    scene.waits(begin(2, 1), 8);
    for number in 1..=4 {
        scene.waits(begin(1, number), 8);
    }
    scene.waits(begin(3, 1), 8);
    assert!(scene.evicted.is_empty());
    scene.waits(begin(4, 1), 8);
    assert_eq!((scene.evicted.len(), scene.reassembler.len()), (1, 6));
    for piece in [end(2, 1), end(3, 1), end(4, 1), end(1, 2), end(1, 3), end(1, 4)] {
        let _ = scene.completes(piece, 8);
    }
}

#[test]
fn a_flood_from_one_sender_leaves_those_of_others() {
    for per_sender in [8, 1_000] {
        let mut scene = Scene::with(limits(16, per_sender, 1 << 20));
        scene.waits(begin(2, 1), 8);
        for number in 0..10_000 {
            scene.waits(begin(1, number), 8);
        }
        let _ = scene.completes(end(2, 1), 8);
        assert_eq!(scene.reassembler.len(), per_sender.min(15));
    }
}

#[test]
fn a_flood_of_bytes_from_one_sender_leaves_those_of_others() {
    let mut scene = Scene::with(limits(64, 64, 200 << 10));
    scene.waits(Piece { key: key(2, 1), ..piece(0, true) }, 16_000);
    for number in 0..200 {
        for offset in (0..60_000).step_by(6_000) {
            scene.waits(Piece { key: key(1, number), ..piece(offset, true) }, 6_000);
            assert!(scene.reassembler.bytes() <= 200 << 10);
        }
    }
    assert!(scene.evicted.len() > 190);
    let whole = scene.completes(Piece { key: key(2, 1), ..piece(16_000, false) }, 8);
    assert_eq!(whole.payload.bytes(), payload(0, 16_008));
}

#[test]
fn a_flood_from_many_senders_pushes_out_only_what_is_older_than_as_many_datagrams() {
    for (others, survives) in [(15, true), (16, false)] {
        let mut scene = Scene::with(limits(16, 8, 1 << 20));
        scene.waits(begin(1_000, 1), 8);
        for sender in 0..others {
            scene.waits(begin(sender, 1), 8);
        }
        let outcome = scene.give(end(1_000, 1), 8);
        assert_eq!(matches!(outcome, Outcome::Complete(_)), survives);
    }
}

#[test]
fn room_that_is_there_for_more_does_not_count_against_a_sender() {
    let mut scene = Scene::new();
    let of =
        |sender, number: usize, more| Piece { key: key(sender, 1), ..piece(number * 1_480, more) };
    // Half as much as each of the others, and the same room.
    (0..7).for_each(|number| scene.waits(of(0, number, true), 1_480));
    let mut others = (1..64).flat_map(|sender| (0..13).map(move |number| (sender, number)));
    while scene.evicted.is_empty() {
        let (sender, number) = others.next().unwrap();
        scene.waits(of(sender, number, true), 1_480);
    }
    scene.completes(of(0, 7, false), 1_480);
}

#[test]
fn one_who_has_as_many_as_another_does_not_push_that_one_out() {
    let mut scene = Scene::with(limits(6, 8, 1 << 20));
    for number in 1..=3 {
        scene.waits(begin(2, number), 8);
    }
    for number in 1..=100 {
        scene.waits(begin(1, number), 8);
    }
    for number in 1..=3 {
        let _ = scene.completes(end(2, number), 8);
    }
}

#[test]
fn discarded_datagrams_take_no_memory_but_a_place() {
    let mut scene = Scene::with(limits(4, 4, 1 << 20));
    for number in 1..=4 {
        scene.waits(begin(1, number), 8);
        assert_eq!(
            scene.drops(Piece { key: key(1, number), ..piece(0, true) }, 16),
            Reason::Overlap
        );
    }
    assert_eq!((scene.reassembler.len(), scene.reassembler.bytes(), scene.in_use()), (4, 0, 0));
    scene.waits(begin(2, 1), 8);
    // One that was discarded before is not lost now.
    assert!(scene.evicted.is_empty());
    assert_eq!(scene.reassembler.len(), 4);
    assert_eq!(scene.drops(end(1, 2), 8), Reason::Poisoned);
}

#[test]
fn discarded_datagrams_do_not_go_where_only_bytes_are_short() {
    let mut scene = Scene::with(limits(64, 8, 25_000));
    scene.waits(begin(1, 1), 8);
    assert_eq!(scene.drops(Piece { key: key(1, 1), ..piece(0, true) }, 16), Reason::Overlap);
    for number in 2..=8 {
        scene.waits(Piece { key: key(1, number), ..piece(0, true) }, 1_480);
    }
    scene.waits(Piece { key: key(2, 1), ..piece(0, true) }, 16_000);
    assert!(!scene.evicted.is_empty());
    assert_eq!(scene.drops(end(1, 1), 8), Reason::Poisoned);
}

#[test]
fn a_datagram_that_alone_is_too_large_is_discarded_and_evicts_nobody() {
    let mut scene = Scene::with(limits(64, 8, 50_000));
    scene.waits(begin(2, 1), 8);
    scene.waits(piece(0, true), 16_000);
    scene.waits(piece(16_000, true), 8_000);
    assert_eq!(scene.drops(piece(24_000, true), 16_000), Reason::NoRoom);
    assert_eq!(scene.drops(piece(40_000, false), 8), Reason::Poisoned);
    assert!(scene.evicted.is_empty());
    let _ = scene.completes(end(2, 1), 8);
}

#[test]
fn a_datagram_that_grows_evicts_others_before_itself() {
    let mut scene = Scene::with(limits(64, 8, 30_000));
    scene.waits(piece(0, true), 1_480);
    for number in 2..=9 {
        scene.waits(begin(number, 1), 8);
    }
    for offset in (1_480..14_800).step_by(1_480) {
        scene.waits(piece(offset, true), 1_480);
        assert!(scene.reassembler.bytes() <= 30_000);
    }
    assert!(!scene.evicted.is_empty());
    let whole = scene.completes(piece(14_800, false), 1_480);
    assert_eq!(whole.payload.len(), 16_280);
}

#[test]
fn a_pool_without_memory_for_large_packets_discards_the_datagram() {
    let mut scene = Scene::new();
    scene.pool = Pool::new(16, 2048).with_large(5_000);
    scene.waits(piece(0, true), 1_480);
    scene.waits(piece(1_480, true), 1_480);
    assert_eq!(scene.drops(piece(2_960, true), 1_800), Reason::NoRoom);
    assert_eq!((scene.reassembler.bytes(), scene.pool.large_available()), (0, 5_000));

    // What came out of order takes as much again when it is put in order.
    scene.waits(end(1, 2), 1_480);
    scene.pool = scene.pool.clone().with_large(3_000);
    assert_eq!(scene.drops(begin(1, 2), 8), Reason::NoRoom);
    assert_eq!((scene.reassembler.bytes(), scene.pool.large_available()), (0, 3_000));
}

#[test]
fn a_fragment_far_from_the_start_takes_no_more_memory_than_one_at_it() {
    let mut scene = Scene::new();
    for number in 0..64 {
        scene.waits(Piece { key: key(number, 1), ..piece(65_504, true) }, 8);
    }
    assert!(scene.evicted.is_empty());
    assert!(scene.reassembler.bytes() < 64 * 2_500);
}

#[test]
fn a_first_fragment_that_is_alone_takes_its_packet_and_no_more() {
    let mut scene = Scene::new();
    scene.waits(piece(0, true), 1_480);
    assert_eq!((scene.reassembler.bytes(), scene.in_use()), (2_048, 2_048));
}

#[test]
fn room_for_more_is_taken_only_where_nobody_has_to_leave_for_it() {
    // Besides two first fragments, the store of one datagram, with 256 bytes in front.
    for (limit, room) in [(1 << 20, 3 * 2_960), (13_231, 2_960), (13_232, 3 * 2_960)] {
        let mut scene = Scene::with(limits(64, 8, limit));
        scene.waits(begin(2, 1), 8);
        scene.waits(piece(0, true), 1_480);
        scene.waits(piece(1_480, true), 1_480);
        assert_eq!(scene.reassembler.bytes(), 2 * 2_048 + 256 + room);
        assert!(scene.evicted.is_empty());
    }
}

#[test]
fn a_datagram_in_too_many_pieces_is_discarded() {
    let mut scene = Scene::new();
    for offset in (16..).step_by(16).take(128) {
        scene.waits(piece(offset, true), 8);
    }
    // Where one ends, another can go on.
    scene.waits(piece(128 * 16 + 8, true), 8);
    assert_eq!(scene.drops(piece(0, true), 8), Reason::Scattered);
    assert_eq!((scene.reassembler.bytes(), scene.in_use()), (0, 0));
    assert_eq!(scene.drops(piece(0, true), 8), Reason::Poisoned);
}

#[test]
fn the_smallest_fragments_in_order_make_the_largest_datagram() {
    let mut scene = Scene::new();
    for offset in (0..65_512).step_by(8) {
        scene.waits(piece(offset, true), 8);
    }
    let whole = scene.completes(piece(65_512, false), 3);
    assert_eq!(whole.payload.bytes(), payload(0, 65_515));
}

#[test]
fn a_reassembler_of_nothing_keeps_nothing() {
    for none in [limits(0, 8, 1 << 20), limits(64, 0, 1 << 20), limits(64, 8, 0)] {
        let mut scene = Scene::with(none);
        assert_eq!(scene.drops(piece(0, true), 8), Reason::NoRoom);
        assert_eq!((scene.reassembler.bytes(), scene.in_use()), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bound_is_ever_passed_and_nothing_leaks(
        fragments in proptest::collection::vec(
            (0..4_u32, 0..6_u32, 0..12_usize, 1..400_usize, any::<bool>(), 0..3_u32), 0..200,
        ),
    ) {
        let limits = limits(7, 3, 24 << 10);
        let mut scene = Scene::with(limits);
        let mut seconds = 0;
        for (sender, number, offset, len, more, passed) in fragments {
            seconds += passed;
            let now = after(seconds.into());
            drop(scene.expire(now));
            let piece = Piece { key: key(sender, number), ..piece(offset * 400, more) };
            drop(scene.give_marked(now, piece, &payload(offset * 400, len * 8), 0));
            let reassembler = &scene.reassembler;
            prop_assert!(reassembler.len() <= limits.datagrams);
            for sender in 0..4 {
                let source = key(sender, 0).source;
                let theirs = reassembler.datagrams.iter();
                let theirs = theirs.filter(|datagram| datagram.key.source == source).count();
                prop_assert_eq!(reassembler.shares.of(source), theirs);
                prop_assert!(theirs <= limits.per_sender);
            }
            prop_assert_eq!(reassembler.shares.datagrams(), reassembler.len());
            let held = reassembler.datagrams.iter().map(Datagram::size).sum::<usize>();
            prop_assert_eq!(reassembler.bytes(), held);
            prop_assert!(reassembler.bytes() <= limits.bytes);
            prop_assert!(reassembler.bytes() >= scene.in_use());
            let next = reassembler.datagrams.iter().map(|datagram| datagram.expires).min();
            prop_assert!(next >= reassembler.poll_timeout());
            prop_assert_eq!(next.is_some(), reassembler.poll_timeout().is_some());
        }
        drop(scene.expire(after(f64::from(seconds) + 30.0)));
        prop_assert!(scene.reassembler.is_empty());
        prop_assert_eq!((scene.reassembler.bytes(), scene.in_use()), (0, 0));
    }
}
