use std::env;
use std::fmt;
use std::process::{self, Command, ExitCode};
use std::time::Duration;

use criterion::Criterion;

use crate::{Committed, Stack};

/// Something whose cost is measured, and its name.
pub trait Subject: Copy + fmt::Display {
    /// Whose stack it is.
    fn stack(&self) -> Stack;

    /// Gets it ready.
    fn start(self) -> Run;
}

/// What repeats something so often, and says how long that took.
pub type Run = Box<dyn FnMut(u64) -> Duration>;

/// How long each of them takes, by criterion, which has the process's arguments.
pub fn times<S: Subject>(subjects: &[S]) {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .without_plots()
        .configure_from_args();
    for subject in subjects {
        // Started when it is first asked for: most are filtered out if a filter is given.
        let mut run = None;
        criterion.bench_function(&subject.to_string(), |bencher| {
            bencher.iter_custom(run.get_or_insert_with(|| subject.start()));
        });
    }
    criterion.final_summary();
}

/// It is done so often once, and so often another time: the difference is what it costs, without what
/// it costs to get ready.
const RUNS: [u64; 2] = [1_000, 6_000];

/// Lets glibc clear and copy whatever it is by loops. By itself it does more than 2 KiB by `rep stosb`
/// and `rep movsb`, of which valgrind counts each byte as an instruction.
const NO_REP: &str = "glibc.cpu.x86_rep_stosb_threshold=0x7fffffff:\
                      glibc.cpu.x86_rep_movsb_threshold=0x7fffffff";

/// How many instructions each of them takes, counted by `valgrind --tool=callgrind`, and whether that
/// is more than it was: the counts of mnet must not exceed those in `instructions.txt` by 3 %.
///
/// With the argument `--bless`, the counts are written there. Other arguments of the process name what
/// is to be counted.
#[must_use]
pub fn instructions<S: Subject>(subjects: &[S]) -> ExitCode {
    // What cargo itself passes to a bench.
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [run, name, count] = &arguments[..]
        && run == "--run"
    {
        let subject = subjects.iter().find(|subject| subject.to_string() == *name);
        let mut run = subject.expect("a subject's name").start();
        let _ = run(count.parse().expect("a count"));
        // Without taking it down: a host's thread would do that, if it came to it before the end.
        process::exit(0);
    }
    let bless = arguments.iter().any(|argument| argument == "--bless");
    let mut committed = Committed::read("instructions.txt", bless);
    for subject in subjects {
        let name = subject.to_string();
        let mut names = arguments.iter().filter(|name| !name.starts_with("--")).peekable();
        if names.peek().is_some() && !names.any(|part| name.contains(part.as_str())) {
            continue;
        }
        let [few, many] = RUNS.map(|count| counted(&name, count));
        let count = many.saturating_sub(few) / (RUNS[1] - RUNS[0]);
        committed.compare(&name, count, subject.stack() == Stack::Mnet);
    }
    committed.finish()
}

/// How many instructions a process takes that gets something ready and does it so often.
fn counted(name: &str, count: u64) -> u64 {
    let this = env::current_exe().expect("the bench knows where it is");
    let output = Command::new("timeout")
        .args(["120", "valgrind"])
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["--run", name, &count.to_string()])
        .env("GLIBC_TUNABLES", NO_REP)
        .output()
        .expect("valgrind is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}: {said}", output.status);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("{name}: {said}"))
}
