//! Against a model that knows nothing but an array of 64 KiB.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// One datagram.
struct Model {
    bytes: Vec<Option<u8>>,
    at_least: usize,
    exactly: Option<usize>,
    first: Option<u8>,
    poisoned: bool,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Waiting,
    // Payload, and the mark of the first fragment.
    Complete(Vec<u8>, u8),
    Dropped(Reason),
}

impl Model {
    fn new() -> Self {
        let bytes = vec![None; 65_536];
        Self { bytes, at_least: 0, exactly: None, first: None, poisoned: false }
    }

    fn give(&mut self, offset: usize, more: bool, bytes: &[u8], mark: u8) -> Answer {
        let end = offset + bytes.len();
        if bytes.is_empty() || more && !bytes.len().is_multiple_of(8) {
            return Answer::Dropped(Reason::Length);
        }
        if end > 65_515 {
            return Answer::Dropped(Reason::TooLong);
        }
        if self.poisoned {
            return Answer::Dropped(Reason::Poisoned);
        }
        let at_least = self.at_least.max(if more { end + 1 } else { end });
        let exactly = if more { self.exactly } else { Some(end) };
        let ends_differ = self.exactly.is_some_and(|old| Some(old) != exactly);
        if ends_differ || exactly.is_some_and(|exactly| at_least > exactly) {
            self.poisoned = true;
            return Answer::Dropped(Reason::Inconsistent);
        }
        let known = &self.bytes[offset..end];
        if known.iter().zip(bytes).all(|(known, byte)| *known == Some(*byte)) {
            return Answer::Waiting;
        }
        if known.iter().any(Option::is_some) {
            self.poisoned = true;
            return Answer::Dropped(Reason::Overlap);
        }
        (self.at_least, self.exactly) = (at_least, exactly);
        self.bytes[offset..end].iter_mut().zip(bytes).for_each(|(to, byte)| *to = Some(*byte));
        if offset == 0 {
            self.first = Some(mark);
        }
        let Some(len) = self.exactly else { return Answer::Waiting };
        let Some(whole) = self.bytes[..len].iter().copied().collect() else {
            return Answer::Waiting;
        };
        let first = self.first.unwrap();
        *self = Self::new();
        Answer::Complete(whole, first)
    }
}

fn answer(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Waiting => Answer::Waiting,
        Outcome::Complete(mut whole) => {
            let mark = whole.first.prepend(1).unwrap()[0];
            Answer::Complete(whole.payload.bytes().to_vec(), mark)
        }
        Outcome::Dropped(reason) => Answer::Dropped(reason),
    }
}

/// What is done to a fragment that goes astray.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Moved(isize),
    Cut(usize),
    Longer(usize),
    Byte(Index),
    More,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => Just(Change::Nothing),
        1 => (-3..4_isize).prop_map(Change::Moved),
        1 => (0..40_usize).prop_map(Change::Cut),
        1 => (0..40_usize).prop_map(Change::Longer),
        1 => any::<Index>().prop_map(Change::Byte),
        1 => Just(Change::More),
    ]
}

type Fragment = (usize, bool, Vec<u8>);

fn changed((mut offset, mut more, mut bytes): Fragment, change: Change) -> Fragment {
    match change {
        Change::Nothing => {}
        Change::Moved(by) => offset = offset.saturating_add_signed(by * 8).min(65_528),
        Change::Cut(len) => bytes.truncate(len),
        Change::Longer(by) => bytes.extend(payload(offset + bytes.len(), by)),
        Change::Byte(_) if bytes.is_empty() => {}
        Change::Byte(index) => {
            let index = index.index(bytes.len());
            bytes[index] ^= 1;
        }
        Change::More => more = !more,
    }
    (offset, more, bytes)
}

/// Gives fragments to both, and compares what they say and what memory is held.
fn compare(fragments: impl IntoIterator<Item = Fragment>) -> Result<(), TestCaseError> {
    let (mut scene, mut model) = (Scene::new(), Model::new());
    for (step, (offset, more, bytes)) in fragments.into_iter().enumerate() {
        let mark = step as u8;
        let expected = model.give(offset, more, &bytes, mark);
        let outcome = scene.give_marked(START, piece(offset, more), &bytes, mark);
        prop_assert_eq!(answer(outcome), expected, "at step {}", step);
        prop_assert!(scene.reassembler.bytes() >= scene.in_use());
        prop_assert!(scene.reassembler.bytes() <= scene.in_use() + 128 * 24);
    }
    drop(scene.expire(after(60.0)));
    prop_assert_eq!((scene.reassembler.bytes(), scene.in_use()), (0, 0));
    Ok(())
}

proptest! {
    #[test]
    fn any_order_with_any_duplicates_and_mistakes_goes_as_in_the_model(
        len in 1..2_000_usize,
        room in 40..700_usize,
        order in proptest::collection::vec((any::<Index>(), change()), 0..12),
        seed in any::<[Index; 64]>(),
    ) {
        let mut fragments: Vec<Fragment> =
            cuts(len, room).map(|(offset, len, more)| (offset, more, payload(offset, len))).collect();
        // All of them in some order, others among them.
        for (index, swap) in (1..fragments.len()).zip(seed) {
            fragments.swap(index, swap.index(index + 1));
        }
        for (index, change) in order {
            let astray = changed(index.get(&fragments).clone(), change);
            fragments.insert(index.index(fragments.len() + 1), astray);
        }
        compare(fragments)?;
    }

    #[test]
    fn any_fragments_go_as_in_the_model(
        fragments in proptest::collection::vec((0..8_usize, 0..4_usize, 0..20_u8, any::<bool>()), 0..40),
    ) {
        compare(fragments.into_iter().map(|(offset, len, odd, more)| {
            let len = len * 8 + if odd < 3 { odd.into() } else { 0 };
            (offset * 8, more, payload(offset * 8, len))
        }))?;
    }

    #[test]
    fn cuts_join_to_what_was_cut(len in 0..70_000_usize, room in 8..70_000_usize) {
        let mut reached = 0;
        for (offset, piece, more) in cuts(len, room) {
            prop_assert_eq!(offset, reached);
            prop_assert!(piece > 0 && piece <= room && (!more || piece.is_multiple_of(8)));
            reached += piece;
            prop_assert_eq!(more, reached < len);
        }
        prop_assert_eq!(reached, len);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_largest_datagram_comes_through_shuffled(
        room in 552..9_000_usize,
        order in proptest::collection::vec(any::<Index>(), 128),
    ) {
        let mut fragments: Vec<Fragment> = cuts(65_515, room)
            .map(|(offset, len, more)| (offset, more, payload(offset, len)))
            .collect();
        for (index, swap) in (1..fragments.len()).zip(order) {
            fragments.swap(index, swap.index(index + 1));
        }
        let (last, others) = fragments.split_last().unwrap();
        let mut scene = Scene::new();
        for (offset, more, bytes) in others {
            let outcome = scene.give_marked(START, piece(*offset, *more), bytes, 0);
            prop_assert!(matches!(outcome, Outcome::Waiting));
        }
        let (offset, more, bytes) = last;
        let Outcome::Complete(whole) = scene.give_marked(START, piece(*offset, *more), bytes, 0) else {
            return Err(TestCaseError::fail("it is not whole"));
        };
        prop_assert!(whole.payload.bytes() == payload(0, 65_515));
    }
}
