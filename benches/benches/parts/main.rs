//! How long the parts of a datagram's way take, each by itself, or with `--instructions` how many
//! instructions.
//!
//! They are no part of the library, and this is a program of its own: whatever else calls a stack has a
//! say in how it is compiled.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run has nothing to say")]

mod part;

use std::env;
use std::process::ExitCode;

use mnet_bench::{instructions, times};

use self::part::Part;

fn main() -> ExitCode {
    let parts = Part::all();
    // The latter, if it is this program's other self.
    if env::args().any(|argument| argument == "--instructions" || argument == "--run") {
        return instructions(&parts);
    }
    times(&parts);
    ExitCode::SUCCESS
}
