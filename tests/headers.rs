//! What an image makes of IPv6's headers, against the list of atk6-implementation6: as Linux does.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::sync::Mutex;
use std::thread;

use mnet_tests::{Namespace, TAP};

/// What comes back in which cases, of Linux 6.18. Left out are those in which a first fragment has
/// not all headers (9, 10), which Linux puts up with, and RFC 7112 §5 does not.
const CASES: [(&str, &[u8]); 5] = [
    ("we got a reply", &[1, 5, 7, 8, 11, 12, 18, 22, 24, 25, 27, 39, 41, 56]),
    (
        "no reply",
        &[2, 6, 13, 16, 17, 28, 29, 31, 33, 34, 36, 40, 42, 43, 44, 45, 46, 51, 52, 53, 54, 55, 57],
    ),
    ("error reply [4:0]", &[19, 20, 21, 23, 37, 38, 47, 48]),
    ("error reply [4:1]", &[3, 4, 14, 15, 26, 32, 35]),
    ("error reply [4:2]", &[30, 49, 50]),
];

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_answers_to_odd_headers_as_linux_does() {
    let cases =
        CASES.iter().flat_map(|(answer, cases)| cases.iter().map(move |case| (answer, case)));
    let left = Mutex::new(cases);
    let wrong = Mutex::new(Vec::new());
    // Most of it is waiting for what is not to come. Each has an image of its own, for the program
    // would take another's answer for its own.
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let namespace = Namespace::new();
                let running = namespace.echo("--ipv4=none --ipv6=fd00::2/64");
                let _ = running.address("fd00::2/64, static");
                loop {
                    let Some((answer, case)) = left.lock().unwrap().next() else { break };
                    let mut command = namespace.command("atk6-implementation6");
                    let command = command.args(["-p", TAP, "fd00::2", &case.to_string()]);
                    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
                    if !said.trim_end().ends_with(&format!(" - {answer}")) {
                        wrong.lock().unwrap().push(format!("{answer} expected: {said}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
