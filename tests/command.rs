//! `cargo mnet` as a person types it, and mistypes it.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use mnet_tests::{Running, built, client, ping_pong, workspace};
use rustix::process::Signal;

fn cargo_mnet(arguments: &[&str]) -> Command {
    // Whoever runs the tests may ignore SIGINT, as shells do for what is in the background.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(&built().command);
    command.args(arguments).current_dir(workspace());
    command
}

/// The one line that is said of what is wrong.
fn error(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = cargo_mnet(arguments).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(!status.success() && stdout.is_empty(), "{arguments:?}: {status} {said}");
    let mut lines =
        said.lines().filter(|line| line.contains("error: ") || line.starts_with("cargo mnet: "));
    let line = lines.next().unwrap_or_else(|| panic!("{said}")).to_owned();
    assert_eq!(lines.next(), None, "{said}");
    line
}

#[test]
fn build_prints_the_path_of_the_image_last() {
    let echo = &built().echo;
    assert!(echo.is_file() && echo.ends_with(Path::new("x86_64-unknown-none/image/echo")));
}

#[test]
fn run_builds_publishes_and_says_how_to_try_it() {
    // Other than the default, lest two runs of the tests meet.
    let running = Running::start(&mut cargo_mnet(&["run", "echo", "--publish=127.0.0.1:0:7/udp"]));
    let line = running.line("try it: nc -u 127.0.0.1 ");
    let port: u16 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!(line.contains(&format!("127.0.0.1:{port}/udp -> service port 7")), "{line}");
    let mut running = running.ready();
    ping_pong(&client(([127, 0, 0, 1], port).into()), 64, 10);
    running.signal(Signal::INT);
    let _ = running.line("cargo mnet: interrupted");
    assert_eq!(running.wait().code(), Some(130));
}

#[test]
fn a_new_unikernel_builds_and_runs() {
    // A workspace of its own, as one in this would be seen by the tests beside.
    let folder = env::temp_dir().join(format!("mnet-new-{}", std::process::id()));
    let echo = folder.join("unikernels/echo");
    fs::create_dir_all(echo.join("src")).unwrap();
    for file in ["Cargo.toml", "src/main.rs"] {
        fs::copy(workspace().join("unikernels/echo").join(file), echo.join(file)).unwrap();
    }
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let (before, after) = manifest.split_once("members = [").unwrap();
    let (_, after) = after.split_once(']').unwrap();
    let crates = format!("path = \"{}/crates/", workspace().display());
    let manifest = format!("{before}members = [\"unikernels/*\"]{after}");
    let manifest = manifest.replace("path = \"crates/", &crates);
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    // What it depends on is built once for all runs of the tests.
    let target = built().tender.parent().unwrap().join("new");
    let here = |arguments: &[&str]| {
        let mut command = cargo_mnet(arguments);
        command.current_dir(&folder).env("CARGO_TARGET_DIR", &target);
        command
    };

    let made = here(&["new", "hello"]).output().unwrap();
    let said = String::from_utf8(made.stderr).unwrap();
    assert!(made.status.success() && said.contains("try it: cargo mnet run hello"), "{said}");
    let again = here(&["new", "hello"]).output().unwrap();
    assert!(String::from_utf8(again.stderr).unwrap().contains("hello is there already"));

    let build = here(&["build", "hello", "--platform=hosted"]).output().unwrap();
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    let run = ["run", "hello", "--platform=hosted", "--publish=0:7"];
    let running = Running::start(&mut here(&run));
    let line = running.line("try it: nc -u 127.0.0.1 ");
    let port: u16 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
    let _ = running.line("ready on UDP port 7");
    ping_pong(&client(([127, 0, 0, 1], port).into()), 64, 10);
    drop(running);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn it_is_installed_as_a_command_of_cargo_too() {
    let help = cargo_mnet(&["mnet", "run", "--help"]).output().unwrap();
    assert!(help.status.success());
    let said = String::from_utf8(help.stdout).unwrap();
    assert!(said.contains("cargo mnet run") && said.contains("--publish"), "{said}");
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let no_unikernel = error(&["run", "ecoh"]);
    assert_eq!(error(&["build", "ecoh"]), no_unikernel);
    let named = no_unikernel.strip_prefix("cargo mnet: no unikernel 'ecoh'; this workspace has ");
    let named: Vec<_> = named.unwrap_or_else(|| panic!("{no_unikernel}")).split(", ").collect();
    for service in fs::read_dir(workspace().join("unikernels")).unwrap() {
        let service = service.unwrap().file_name().into_string().unwrap();
        assert!(named.contains(&&*service), "{service} is not in: {no_unikernel}");
    }
    assert!(error(&["run", "./no/such/image"]).contains("./no/such/image"));
    assert!(error(&["run", "Cargo.toml"]).contains("is not an ELF file"));
    let capture = error(&["run", "echo", "--net=service=tap:tap0", "--pcap=x.pcap"]);
    assert!(capture.ends_with("use tcpdump -i tap0 -w x.pcap"), "{capture}");
    let other = error(&["run", "echo", "--net=other=user"]);
    assert!(other.contains("other") && other.contains("service"), "{other}");
}

#[test]
fn what_is_malformed_is_named_with_what_would_be_right() {
    for (argument, expected) in [
        ("--net=service", "service=user"),
        ("--net=service=xyz", "there is no interface xyz; make it"),
        ("--net-mac=service=1", "02:00:00:00:00:01"),
        ("--publish=7007", "127.0.0.1:7007:7/udp"),
        ("--mem=much", "512"),
    ] {
        let line = error(&["run", "echo", argument]);
        assert!(line.contains(expected), "{argument}: {line}");
    }
}
