//! Images on the `user` network: what works without root.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::fs;
use std::net::UdpSocket;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mnet_tests::{Running, build, built, burst, client, ping_pong, workspace};
use rustix::process::Signal;

/// Echo on the user network, and where it can be reached: its port 7 first, then the others.
fn echo(options: &[&str], arguments: &[&str]) -> Command {
    // Whoever runs the tests may ignore SIGINT, as shells do for what is in the background.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(&built().tender);
    command.arg("--net:service=user").args(options).arg(&built().echo);
    command.args(arguments);
    command
}

#[test]
fn echo_answers_several_sockets_at_once() {
    let running = Running::start(&mut echo(&["--publish=0:7"], &[]));
    let address = running.published(7);
    let running = running.ready();
    thread::scope(|scope| {
        for length in [0, 1, 64, 1_472, 33] {
            scope.spawn(move || ping_pong(&client(address), length, 1_000));
        }
    });
    drop(running);
}

#[test]
fn bursts_come_back_whole() {
    let running = Running::start(&mut echo(&["--publish=0:7"], &[]));
    let address = running.published(7);
    let running = running.ready();
    for length in [1, 64, 1_472] {
        let socket = client(address);
        (0..5).for_each(|_| burst(&socket, length));
    }
    drop(running);
}

#[test]
fn each_port_that_is_asked_for_answers() {
    let options = ["--publish=0:7000", "--publish=0:7001"];
    let running = Running::start(&mut echo(&options, &["--port=7000", "--port=7001"]));
    let addresses = [running.published(7_000), running.published(7_001)];
    for port in [7_000, 7_001] {
        let line = running.line("ready: ");
        assert!(line.ends_with(&format!("ready: echoes on UDP port {port}")), "{line}");
    }
    for address in addresses {
        ping_pong(&client(address), 64, 10);
    }
}

#[test]
fn the_hosted_build_of_the_same_source_does_the_same() {
    let hosted = build("echo", "hosted");
    let mut command = Command::new(&built().command);
    command.args(["run", hosted.to_str().unwrap(), "--platform=hosted", "--publish=0:7"]);
    let running = Running::start(&mut command);
    let address = running.published(7);
    let mut running = running.ready();
    let socket = client(address);
    [0, 1, 64, 1_472].iter().for_each(|&length| ping_pong(&socket, length, 200));
    burst(&socket, 1_472);
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code(), Some(128 + 15));
}

#[test]
fn what_is_wrong_with_an_argument_is_one_line_and_status_1() {
    let cases: [(&[&str], &str); 11] = [
        (&["--ipv4=10.0.2.15"], "--ipv4=10.0.2.15: not an address with a prefix length, such as"),
        (&["--ipv4=10.0.2.255/24"], "10.0.2.255/24 is no address for a host"),
        (
            &["--ipv4=10.0.2.15/24", "--ipv4-gateway=10.0.3.1"],
            "gateway 10.0.3.1 is no other host on the link of",
        ),
        (&["--ipv4-gateway=10.0.2.2"], "--ipv4-gateway without --ipv4: give the image an address"),
        (&["--ipv6=ff02::1/64"], "ff02::1/64 is no address for a host"),
        (&["--ipv6=fe80::1"], "--ipv6=fe80::1: not an address with a prefix length, such as"),
        (&["--join=10.0.0.1"], "--join=10.0.0.1: give --port=N"),
        (&["--ipv4-gateway=gate"], "--ipv4-gateway=gate: not an address, such as"),
        (&["--port=70000"], "--port=70000: give --port=N, with N from 1 to 65535"),
        (&["--prot=7"], "--prot=7: give --port=N"),
        (&["--port=7", "--port=7"], "UDP port 7 is in use"),
    ];
    for (arguments, expected) in cases {
        let output = echo(&[], arguments).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn an_image_without_arguments_finds_its_addresses_and_says_them() {
    let running = Running::start(&mut echo(&["--publish=0:7"], &[]));
    let address = running.published(7);
    let _ = running.line("mnet: service: 10.0.2.15/24, by DHCP");
    let running = running.ready();
    let socket = client(address);
    [0, 1, 1_472, 1_473, 9_000, 65_507].iter().for_each(|&length| ping_pong(&socket, length, 3));
    let _ = running.line("/64, link-local");
    let _ = running.line("mnet: service: fd00:10:2:0:");
}

#[test]
fn over_ipv6_the_host_is_answered_too() {
    let mut command = echo(&["--publish=[::1]:0:7/udp"], &["--ipv4=none"]);
    let running = Running::start(&mut command);
    let address = running.published(7);
    assert!(address.is_ipv6());
    let _ = running.line("mnet: service: fd00:10:2:0:");
    let socket = client(address);
    [0, 1, 1_452, 1_453, 9_000, 65_507].iter().for_each(|&length| ping_pong(&socket, length, 3));
}

#[test]
fn a_static_address_does_as_well() {
    let arguments = ["--ipv4=10.0.2.15/24", "--ipv4-gateway=10.0.2.2", "--ipv6=none"];
    let running = Running::start(&mut echo(&["--publish=0:7"], &arguments));
    let address = running.published(7);
    let _ = running.line("mnet: service: 10.0.2.15/24, static");
    ping_pong(&client(address), 64, 100);
}

#[test]
fn an_image_lives_in_little_memory_and_says_so_when_there_is_too_little() {
    let running = Running::start(&mut echo(&["--publish=0:7", "--mem=8"], &[]));
    let address = running.published(7);
    let running = running.ready();
    ping_pong(&client(address), 1_472, 100);
    drop(running);
    let output = echo(&["--mem=2"], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("no memory for a packet pool of 2048 KiB: give more"), "{said}");
}

#[test]
fn a_signal_ends_it_all() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut running = Running::start(&mut echo(&["--publish=0:7"], &[]));
        let address = running.published(7);
        running = running.ready();
        let pid = running.pid().as_raw_nonzero();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let child = children.trim().to_owned();
        assert!(!child.is_empty());
        running.signal(signal);
        let status = running.wait();
        assert_eq!((status.signal(), status.code()), (None, Some(128 + signal.as_raw())));
        assert!(!fs::exists(format!("/proc/{child}")).unwrap(), "the image is still there");
        assert!(UdpSocket::bind(address).is_ok(), "the port is still taken");
    }
}

#[test]
fn the_image_is_small() {
    let size = fs::metadata(&built().echo).unwrap().len();
    assert!(size <= 200 * 1024, "{size} bytes");
}

#[test]
fn the_first_reply_comes_soon_after_the_start() {
    let _ = built();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let publish = format!("--publish={free}:7");
    // The median of some: the machine may be busy with other things at any one time.
    let mut times: Vec<_> = (0..11)
        .map(|_| {
            let running = Running::start(&mut echo(&[&publish], &[]));
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            loop {
                // Until the port is there nobody answers, or it is refused.
                let _ = socket.send_to(b"x", free);
                if socket.recv(&mut [0; 1]).is_ok() {
                    break;
                }
                assert!(running.started.elapsed() < Duration::from_secs(5));
            }
            Instant::now() - running.started
        })
        .collect();
    times.sort_unstable();
    println!("start to first reply: median {:?}, of {times:?}", times[5]);
    assert!(times[5] < Duration::from_millis(20), "{times:?}");
}

#[test]
fn the_readme_shows_the_source_of_echo() {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let source = fs::read_to_string(workspace().join("unikernels/echo/src/main.rs")).unwrap();
    assert!(readme.contains(&source));
}
