//! How many instructions a datagram takes through a stack in memory, mnet's and smoltcp's, with the same
//! frames.

use std::process::ExitCode;

use mnet_bench::{CASES, instructions};

fn main() -> ExitCode {
    instructions(CASES)
}
