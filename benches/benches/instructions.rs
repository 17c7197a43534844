//! How many instructions one datagram takes, counted by `valgrind --tool=callgrind`, and whether that
//! is more than it was: the counts of mnet must not exceed those in `instructions.txt` by 3 %.
//!
//! With `--bless`, the counts are written there. Other arguments name the cases to be counted.

use std::process::{Command, ExitCode};
use std::{env, fs};

use mnet_bench::{CASES, Case, Host, Stack};

/// So many datagrams are counted once, and so many more another time: the difference is what a
/// datagram costs, without what a host costs that starts.
const RUNS: [u64; 2] = [1_000, 6_000];
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");
/// More than the committed count, in percent, that is a failure.
const TOLERANCE: f64 = 3.0;

fn main() -> ExitCode {
    // What cargo itself passes to a bench.
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [run, name, count] = &arguments[..]
        && run == "--run"
    {
        let case = CASES.iter().find(|case| case.to_string() == *name).expect("a case's name");
        let _ = Host::start(*case).run(count.parse().expect("a count"));
        return ExitCode::SUCCESS;
    }
    let bless = arguments.iter().any(|argument| argument == "--bless");
    let wanted = |case: &&Case| {
        let mut names = arguments.iter().filter(|name| !name.starts_with("--")).peekable();
        names.peek().is_none() || names.any(|name| case.to_string().contains(name.as_str()))
    };
    let committed = fs::read_to_string(COMMITTED).unwrap_or_default();
    let mut lines = String::new();
    let mut worse = 0;
    for case in CASES.iter().filter(wanted) {
        let [few, many] = RUNS.map(|count| instructions(case, count));
        let count = many.saturating_sub(few) / (RUNS[1] - RUNS[0]);
        let name = case.to_string();
        let before = committed.lines().find_map(|line| {
            let (count, before) = line.split_once(' ')?;
            (before == name).then(|| count.parse::<u64>().ok())?
        });
        let verdict = match before {
            Some(before) if case.stack == Stack::Mnet && !bless => {
                let change = (count as f64 / before as f64 - 1.0) * 100.0;
                let is_worse = change > TOLERANCE;
                worse += usize::from(is_worse);
                format!("  {change:+.1} %{}", if is_worse { ": worse" } else { "" })
            }
            _ => String::new(),
        };
        println!("{count:>8} {name}{verdict}");
        lines += &format!("{count} {name}\n");
    }
    if bless {
        fs::write(COMMITTED, lines).expect("the counts can be written");
        return ExitCode::SUCCESS;
    }
    if worse > 0 {
        println!("{worse} of them are more than {TOLERANCE} % above those in {COMMITTED}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// How many instructions a process takes that starts a host and runs so many datagrams.
fn instructions(case: &Case, count: u64) -> u64 {
    let this = env::current_exe().expect("the bench knows where it is");
    let output = Command::new("timeout")
        .args(["120", "valgrind"])
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["--run", &case.to_string(), &count.to_string()])
        .output()
        .expect("valgrind is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {}: {said}", output.status);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("{case}: {said}"))
}
