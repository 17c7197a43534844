//! What a runtime is for, in an image under the tender.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::process::Command;

use mnet_tests::{Running, build, built, client, ping_pong};

/// The image on the user network.
fn runtime(argument: &str) -> Running {
    let mut command = Command::new(&built().tender);
    command.args(["--net:service=user", "--publish=0:7"]);
    Running::start(command.arg(build("runtime-image", "spt")).arg(argument))
}

#[test]
fn what_other_crates_have_for_tasks_works_as_it_is() {
    let mut running = runtime("--try");
    let line = running.line("tried: ");
    assert!(line.ends_with("tried: Some((true, true)) of heap, asleep true"), "{line}");
    assert_eq!(running.wait().code(), Some(0));
}

#[test]
fn a_task_that_panics_says_where_and_ends_the_image() {
    let mut running = runtime("--panic");
    let _ = running.line("panicked at tests/images/runtime/src/main.rs:");
    let _ = running.line("a task that panics says so");
    assert_eq!(running.wait().code(), Some(255));
}

#[test]
fn a_thousand_tasks_that_never_rest_do_not_silence_the_network() {
    let running = runtime("--busy=1000");
    let address = running.published(7);
    let line = running.line("ready: ");
    // The stack has a task of its own.
    assert!(line.ends_with("busy with 1001 tasks"), "{line}");
    ping_pong(&client(address), 64, 200);
}
