//! How long a datagram takes through a stack in memory, mnet's and smoltcp's, with the same frames.

use mnet_bench::{CASES, times};

fn main() {
    times(CASES);
}
