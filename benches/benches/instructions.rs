//! How many instructions a datagram takes, or a part of its way, counted by `valgrind
//! --tool=callgrind`, and whether that is more than it was: the counts of mnet must not exceed those in
//! `instructions.txt` by 3 %.
//!
//! With `--bless`, the counts are written there. Other arguments name what is to be counted.

use std::env;
use std::process::{Command, ExitCode};

use mnet_bench::{Committed, Stack, Subject};

/// It is done so often once, and so often another time: the difference is what it costs, without what
/// it costs to get ready.
const RUNS: [u64; 2] = [1_000, 6_000];

fn main() -> ExitCode {
    // What cargo itself passes to a bench.
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let subjects = Subject::all();
    if let [run, name, count] = &arguments[..]
        && run == "--run"
    {
        let subject = subjects.iter().find(|subject| subject.to_string() == *name);
        let _ = subject.expect("a subject's name").start()(count.parse().expect("a count"));
        return ExitCode::SUCCESS;
    }
    let bless = arguments.iter().any(|argument| argument == "--bless");
    let mut committed = Committed::read("instructions.txt", bless);
    for subject in subjects {
        let name = subject.to_string();
        let mut names = arguments.iter().filter(|name| !name.starts_with("--")).peekable();
        if names.peek().is_some() && !names.any(|part| name.contains(part.as_str())) {
            continue;
        }
        let [few, many] = RUNS.map(|count| instructions(&name, count));
        let count = many.saturating_sub(few) / (RUNS[1] - RUNS[0]);
        committed.compare(&name, count, subject.stack() == Stack::Mnet);
    }
    committed.finish()
}

/// How many instructions a process takes that gets something ready and does it so often.
fn instructions(name: &str, count: u64) -> u64 {
    let this = env::current_exe().expect("the bench knows where it is");
    let output = Command::new("timeout")
        .args(["120", "valgrind"])
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["--run", name, &count.to_string()])
        .output()
        .expect("valgrind is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}: {said}", output.status);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("{name}: {said}"))
}
