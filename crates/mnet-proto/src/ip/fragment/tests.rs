mod bounds;
mod model;

use core::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const START: Instant = Instant::from_nanos(1_000_000_000_000);
const HEADER_LEN: usize = 20;

fn after(seconds: f64) -> Instant {
    START + Duration::from_secs_f64(seconds)
}

/// The key of a datagram that host `sender` has numbered.
fn key(sender: u32, identification: u32) -> Key {
    Key {
        source: Ipv4Addr::from_bits(0x0a00_0000 + sender).into(),
        destination: Ipv4Addr::new(10, 0, 0, 1).into(),
        protocol: 17,
        identification,
    }
}

fn v6_key() -> Key {
    let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
    Key { source: address, destination: address, protocol: 0, identification: 1 }
}

fn piece(offset: usize, more: bool) -> Piece {
    Piece { key: key(1, 1), offset, more, ecn: 0, header_len: 0 }
}

/// Bytes `offset..offset + len` of a payload without end.
fn payload(offset: usize, len: usize) -> Vec<u8> {
    (0..len).map(|index| offset.wrapping_add(index)).map(|at| (at % 256 + at / 251) as u8).collect()
}

/// A reassembler, its pool, and how often it had to evict.
struct Scene {
    reassembler: Reassembler,
    pool: Pool,
    evicted: Vec<Reason>,
}

impl Scene {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let reassembler = Reassembler::new(limits);
        Self { reassembler, pool: Pool::new(256, 2048), evicted: Vec::new() }
    }

    /// Gives a fragment behind a header of bytes `mark`.
    fn give_marked(&mut self, now: Instant, piece: Piece, bytes: &[u8], mark: u8) -> Outcome {
        let mut packet = self.pool.take_sized(HEADER_LEN + bytes.len()).unwrap();
        packet.append(HEADER_LEN).unwrap().fill(mark);
        packet.append(bytes.len()).unwrap().copy_from_slice(bytes);
        packet.trim_front(HEADER_LEN);
        let evicted = &mut |reason| self.evicted.push(reason);
        self.reassembler.handle(now, &self.pool, piece, packet, evicted)
    }

    /// Gives a fragment whose bytes are those of [`payload`].
    fn give(&mut self, piece: Piece, len: usize) -> Outcome {
        self.give_marked(START, piece, &payload(piece.offset, len), 0x45)
    }

    fn waits(&mut self, piece: Piece, len: usize) {
        let outcome = self.give(piece, len);
        assert!(matches!(outcome, Outcome::Waiting), "{outcome:?}");
    }

    fn completes(&mut self, piece: Piece, len: usize) -> Whole {
        match self.give(piece, len) {
            Outcome::Complete(whole) => whole,
            outcome => panic!("{outcome:?}"),
        }
    }

    fn drops(&mut self, piece: Piece, len: usize) -> Reason {
        match self.give(piece, len) {
            Outcome::Dropped(reason) => reason,
            outcome => panic!("{outcome:?}"),
        }
    }

    fn expire(&mut self, now: Instant) -> Vec<Expired> {
        let mut expired = Vec::new();
        self.reassembler.handle_timeout(now, &mut |one| expired.push(one));
        expired
    }

    /// Bytes of packets that are in use.
    fn in_use(&self) -> usize {
        let large = (4 << 20) - self.pool.large_available();
        (self.pool.capacity() - self.pool.available()) * 2048 + large
    }
}

#[test]
fn fragments_make_a_datagram_in_whatever_order_they_come() {
    let pieces = [(0, 1480, true), (1480, 1480, true), (2960, 100, false)];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut scene = Scene::new();
        for &index in &order[..2] {
            let (offset, len, more) = pieces[index];
            scene.waits(piece(offset, more), len);
        }
        let (offset, len, more) = pieces[order[2]];
        let whole = scene.completes(piece(offset, more), len);
        assert_eq!(whole.payload.bytes(), payload(0, 3060));
        assert_eq!((scene.reassembler.len(), scene.reassembler.bytes()), (0, 0));
        assert_eq!(scene.reassembler.poll_timeout(), None);
        drop(whole);
        assert_eq!(scene.in_use(), 0);
    }
}

#[test]
fn the_first_fragment_keeps_its_headers_and_the_whole_has_room_for_them() {
    for last_first in [false, true] {
        let mut scene = Scene::new();
        let pieces = [(piece(0, true), 0x46), (piece(16, false), 0x45)];
        let order = if last_first { [1, 0] } else { [0, 1] };
        let outcome = order.map(|index| {
            let (piece, mark) = pieces[index];
            scene.give_marked(START, piece, &payload(piece.offset, 16), mark)
        });
        let [Outcome::Waiting, Outcome::Complete(mut whole)] = outcome else { panic!() };
        assert_eq!(whole.first.bytes(), payload(0, 16));
        assert_eq!(*whole.first.prepend(HEADER_LEN).unwrap(), [0x46; HEADER_LEN]);
        assert_eq!(whole.payload.headroom(), 256);
        assert_eq!(whole.payload.bytes(), payload(0, 32));
    }
}

#[test]
fn the_largest_datagrams_of_both_families_are_put_together() {
    for (key, len) in [(key(1, 1), 65_515), (v6_key(), 65_535)] {
        for (room, reverse) in [(1480, false), (1480, true), (552, true), (32_768, false)] {
            let mut scene = Scene::new();
            let mut cuts: Vec<_> = cuts(len, room).collect();
            if reverse {
                cuts.reverse();
            }
            let (last, others) = cuts.split_last().unwrap();
            for &(offset, len, more) in others {
                scene.waits(Piece { key, offset, more, ecn: 0, header_len: 0 }, len);
                assert!(scene.reassembler.bytes() <= 128 << 10);
            }
            let (offset, rest, more) = *last;
            let whole = scene.completes(Piece { key, offset, more, ecn: 0, header_len: 0 }, rest);
            assert_eq!(whole.payload.bytes(), payload(0, len));
        }
    }
}

#[test]
fn a_datagram_in_one_piece_is_whole_at_once() {
    let mut scene = Scene::new();
    let whole = scene.completes(piece(0, false), 9);
    assert_eq!(whole.payload.bytes(), payload(0, 9));
    assert!(scene.reassembler.is_empty());
}

#[test]
fn datagrams_that_differ_in_any_part_of_their_key_are_kept_apart() {
    let mut scene = Scene::new();
    let one = key(1, 1);
    let keys = [
        one,
        Key { source: key(2, 1).source, ..one },
        Key { destination: key(2, 1).source, ..one },
        Key { protocol: 1, ..one },
        Key { identification: 2, ..one },
    ];
    for key in keys {
        scene.waits(Piece { key, ..piece(0, true) }, 8);
    }
    assert_eq!(scene.reassembler.len(), keys.len());
    for key in keys {
        let _ = scene.completes(Piece { key, ..piece(8, false) }, 8);
    }
}

#[test]
fn a_fragment_that_says_again_what_is_known_is_ignored() {
    let mut scene = Scene::new();
    scene.waits(piece(0, true), 16);
    scene.waits(piece(32, false), 5);
    let (bytes, in_use) = (scene.reassembler.bytes(), scene.in_use());
    for (offset, len, more) in [(0, 16, true), (0, 8, true), (8, 8, true), (32, 5, false)] {
        scene.waits(piece(offset, more), len);
    }
    assert_eq!((scene.reassembler.bytes(), scene.in_use()), (bytes, in_use));
    let whole = scene.completes(piece(16, true), 16);
    assert_eq!(whole.payload.bytes(), payload(0, 37));
}

#[test]
fn an_overlap_discards_the_datagram_and_what_comes_of_it_later() {
    let overlaps = [(8, 16, true), (0, 24, true), (8, 8, true), (24, 24, true), (0, 64, false)];
    for (number, (offset, len, more)) in overlaps.into_iter().enumerate() {
        let mut scene = Scene::new();
        scene.waits(piece(0, true), 16);
        scene.waits(piece(32, true), 16);
        // The same bytes are only a duplicate if none is new.
        let changed = number == 2;
        let mut bytes = payload(offset, len);
        bytes[0] ^= u8::from(changed);
        let outcome = scene.give_marked(START, piece(offset, more), &bytes, 0x45);
        assert!(matches!(outcome, Outcome::Dropped(Reason::Overlap)), "{number}: {outcome:?}");
        assert_eq!((scene.reassembler.len(), scene.reassembler.bytes()), (1, 0));
        assert_eq!(scene.in_use(), 0);

        for (offset, more) in [(0, true), (16, true), (32, true), (48, false)] {
            assert_eq!(scene.drops(piece(offset, more), 16), Reason::Poisoned);
        }
        // Nobody is told twice that it was lost.
        assert!(scene.expire(after(30.0)).is_empty());
        assert!(scene.reassembler.is_empty());
        scene.waits(piece(0, true), 16);
    }
}

#[test]
fn a_fragment_of_a_wrong_length_is_dropped_and_its_datagram_stays() {
    let mut scene = Scene::new();
    scene.waits(piece(0, true), 8);
    for (offset, len, more) in
        [(8, 0, true), (8, 0, false), (8, 7, true), (8, 9, true), (9, 8, true)]
    {
        assert_eq!(scene.drops(piece(offset, more), len), Reason::Length);
    }
    let _ = scene.completes(piece(8, false), 7);
}

#[test]
fn a_fragment_beyond_the_longest_datagram_is_dropped_and_its_datagram_stays() {
    for (key, longest) in [(key(1, 1), 65_515), (v6_key(), 65_535)] {
        let mut scene = Scene::new();
        let piece = |offset, more| Piece { key, offset, more, ecn: 0, header_len: 0 };
        let last = longest / 8 * 8;
        scene.waits(piece(0, true), 8);
        for (offset, len, more) in [
            (last, longest - last + 1, false),
            (last, 8, true),
            (65_528, 8, true),
            (usize::MAX - 7, 8, false),
        ] {
            assert_eq!(scene.drops(piece(offset, more), len), Reason::TooLong);
        }
        assert_eq!(scene.reassembler.len(), 1);
        scene.waits(piece(last, false), longest - last);
        let whole = scene.completes(piece(8, true), last - 8);
        assert_eq!(whole.payload.len(), longest);
    }
}

#[test]
fn fragments_that_disagree_on_the_end_discard_the_datagram() {
    // What is there, then what contradicts it.
    let cases = [
        ((16, 16, false), (16, 8, false)),
        ((16, 16, false), (32, 8, false)),
        ((16, 16, false), (32, 8, true)),
        ((16, 16, false), (8, 8, false)),
        ((16, 16, false), (16, 16, true)),
        ((16, 16, true), (0, 8, false)),
        ((16, 16, true), (16, 16, false)),
    ];
    for (known, wrong) in cases {
        let mut scene = Scene::new();
        scene.waits(piece(known.0, known.2), known.1);
        assert_eq!(scene.drops(piece(wrong.0, wrong.2), wrong.1), Reason::Inconsistent);
        assert_eq!(scene.in_use(), 0);
        assert_eq!(scene.drops(piece(0, true), 8), Reason::Poisoned);
    }
}

#[test]
fn congestion_seen_by_one_fragment_is_told_of_the_whole() {
    let cases = [
        ([0, 0], Some(0)),
        ([1, 1], Some(1)),
        ([2, 2], Some(2)),
        ([2, 3], Some(3)),
        ([3, 1], Some(3)),
        ([1, 2], Some(2)),
        ([2, 0], Some(0)),
        ([3, 0], None),
        ([0, 3], None),
    ];
    for (ecn, expected) in cases {
        let mut scene = Scene::new();
        scene.waits(Piece { ecn: ecn[0], ..piece(0, true) }, 8);
        match scene.give(Piece { ecn: ecn[1], ..piece(8, false) }, 8) {
            Outcome::Complete(whole) => assert_eq!(Some(whole.ecn), expected),
            Outcome::Dropped(reason) => assert_eq!((reason, expected), (Reason::Ecn, None)),
            Outcome::Waiting => panic!(),
        }
    }
}

#[test]
fn congestion_seen_by_the_third_fragment_is_told_too() {
    for (ecn, expected) in [(2, 2), (1, 2), (3, 3), (0, 0)] {
        let mut scene = Scene::new();
        scene.waits(Piece { ecn: 2, ..piece(0, true) }, 8);
        scene.waits(Piece { ecn: 2, ..piece(8, true) }, 8);
        let whole = scene.completes(Piece { ecn, ..piece(16, false) }, 8);
        assert_eq!(whole.ecn, expected);
    }
    let mut scene = Scene::new();
    scene.waits(piece(0, true), 8);
    scene.waits(piece(8, true), 8);
    assert_eq!(scene.drops(Piece { ecn: 3, ..piece(16, false) }, 8), Reason::Ecn);
}

#[test]
fn time_starts_with_the_first_fragment_to_come_and_is_not_given_again() {
    for (key, seconds) in [(key(1, 1), 30.0), (v6_key(), 60.0)] {
        let mut scene = Scene::new();
        let piece = |offset| Piece { key, offset, more: true, ecn: 0, header_len: 0 };
        scene.waits(piece(8), 8);
        let late = after(seconds - 1.0);
        let outcome = scene.give_marked(late, piece(0), &payload(0, 8), 0x47);
        assert!(matches!(outcome, Outcome::Waiting));
        assert_eq!(scene.reassembler.poll_timeout(), Some(after(seconds)));
        assert!(scene.expire(late).is_empty());
        let mut expired = scene.expire(after(seconds));
        let first = expired[0].first.as_mut().unwrap();
        assert_eq!(first.prepend(HEADER_LEN).unwrap()[0], 0x47);
        assert_eq!((expired.len(), expired[0].key), (1, key));
        assert_eq!((scene.reassembler.poll_timeout(), scene.reassembler.bytes()), (None, 0));
    }
}

#[test]
fn without_its_first_fragment_a_datagram_expires_with_nothing_to_quote() {
    let mut scene = Scene::new();
    scene.waits(piece(8, true), 8);
    let other = Piece { key: key(1, 2), ..piece(0, true) };
    assert!(matches!(
        scene.give_marked(after(10.0), other, &payload(0, 8), 0x45),
        Outcome::Waiting
    ));
    assert!(scene.expire(after(30.0))[0].first.is_none());
    assert_eq!(scene.reassembler.poll_timeout(), Some(after(40.0)));
    assert!(scene.expire(after(40.0))[0].first.is_some());
}

#[test]
fn what_comes_after_the_time_ran_out_is_not_joined_to_what_came_before() {
    let mut scene = Scene::new();
    scene.waits(piece(0, true), 8);
    let outcome = scene.give_marked(after(30.0), piece(8, false), &payload(8, 8), 0x45);
    assert!(matches!(outcome, Outcome::Waiting));
    assert_eq!(scene.evicted, [Reason::TimedOut]);
    assert_eq!(scene.reassembler.len(), 1);
}

#[test]
fn cuts_are_multiples_of_eight_but_the_last_and_cover_all() {
    let all = |len, room| cuts(len, room).collect::<Vec<_>>();
    assert_eq!(all(3000, 1480), [(0, 1480, true), (1480, 1480, true), (2960, 40, false)]);
    // 1,477 bytes pass: all but the last use 1,472 of them.
    assert_eq!(all(2949, 1477), [(0, 1472, true), (1472, 1477, false)]);
    assert_eq!(all(1480, 1480), [(0, 1480, false)]);
    assert_eq!(all(9, 8), [(0, 8, true), (8, 1, false)]);
    assert_eq!(all(65_535, usize::MAX), [(0, 65_535, false)]);
    assert!(all(0, 1480).is_empty() && all(100, 7).is_empty() && all(100, 0).is_empty());
}
