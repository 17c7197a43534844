//! That the benches of the parts measure what they say.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

#[path = "../benches/parts/part/mod.rs"]
mod part;

use mnet_bench::{FIRST_PORT, Family, Subject, frames};

use self::part::{NEIGHBORS, Part, SIZE, Task, frame, mnet, smoltcp};

#[test]
fn each_part_does_what_it_says() {
    for part in Part::all() {
        let count = match part.task {
            // They see for themselves that what they do is done.
            Task::NeighborMiss(..) => 2 * NEIGHBORS as u64,
            _ => 100,
        };
        let _ = part.start()(count);
    }
}

#[test]
fn both_stacks_read_the_same_in_a_frame_and_make_the_same_sums() {
    for family in [Family::V4, Family::V6] {
        let frame = frame(family);
        let read = mnet::read(family, &frame).unwrap();
        assert_eq!(Some(read), smoltcp::read(family, &frame));
        let expected = (frames::neighbor(family, 0), frames::host(family), 5_000, FIRST_PORT);
        assert_eq!((read.source, read.destination, read.from, read.to), expected);
        assert_eq!(read.payload, frames::payload(SIZE));
    }
    for size in [20, 64, 1_400] {
        let bytes = frames::payload(size);
        assert_eq!(mnet::sum(&bytes), smoltcp::sum(&bytes));
    }
}
