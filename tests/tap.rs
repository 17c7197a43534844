//! Images on a TAP, in network namespaces of their own, against Linux's stack and its tools.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use mnet_tests::{Namespace, Running, TAP, built, burst, client, ping_pong, succeed};
use rustix::process::Signal;

const ECHO: &str = "10.0.0.2:7";
const CLOSED: &str = "10.0.0.2:9";

fn echo(namespace: &Namespace) -> Command {
    let mut command = namespace.command(&built().tender);
    command.arg(format!("--net:service={TAP}")).arg(&built().echo).arg("--ipv4=10.0.0.2/24");
    command
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn ten_thousand_of_each_size_come_back_and_bursts_too() {
    let namespace = Namespace::new();
    let running = Running::start(&mut echo(&namespace)).ready();
    namespace.inside(|| {
        let socket = client(address(ECHO));
        [0, 1, 64, 1_472].iter().for_each(|&length| ping_pong(&socket, length, 10_000));
        for length in [1, 64, 1_472] {
            (0..20).for_each(|_| burst(&socket, length));
        }
    });
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn linux_pings_it_and_knows_its_address() {
    let namespace = Namespace::new();
    let running = Running::start(&mut echo(&namespace)).ready();
    for size in ["0", "56", "1472"] {
        let mut ping = namespace.command("ping");
        let said = succeed(ping.args(["-c5", "-i0.05", "-W5", "-s", size, "10.0.0.2"]));
        assert!(said.contains("5 received"), "{said}");
    }
    let neighbors = namespace.ip("neigh show dev tap0");
    assert!(neighbors.contains("10.0.0.2 lladdr"), "{neighbors}");
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_closed_port_is_refused() {
    let namespace = Namespace::new();
    let running = Running::start(&mut echo(&namespace)).ready();
    let refused = namespace.inside(|| {
        let socket = client(address(CLOSED));
        socket.send(b"anybody there?").unwrap();
        socket.recv(&mut [0; 16]).unwrap_err().kind()
    });
    assert_eq!(refused, ErrorKind::ConnectionRefused);
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn tcpdump_finds_no_wrong_checksum_and_the_headers_that_are_meant() {
    let namespace = Namespace::new();
    let running = Running::start(&mut echo(&namespace)).ready();
    let mut tcpdump = namespace.command("tcpdump");
    let tcpdump = Running::start(tcpdump.args(["-n", "-vv", "-l", "-Q", "in", "-i", TAP]));
    let _ = tcpdump.line("listening on");
    namespace.inside(|| {
        let socket = client(address(ECHO));
        [0, 1, 2, 3, 1_471, 1_472].iter().for_each(|&length| ping_pong(&socket, length, 1));
        let closed = client(address(CLOSED));
        closed.send(b"x").unwrap();
        assert!(closed.recv(&mut [0; 16]).is_err());
    });
    succeed(namespace.command("ping").args(["-c1", "10.0.0.2"]));
    for length in [0, 1, 2, 3, 1_471, 1_472] {
        let header = tcpdump.line("proto UDP");
        assert!(header.contains("ttl 64") && header.contains("flags [DF]"), "{header}");
        let line = tcpdump.line("10.0.0.2.7 >");
        assert!(line.contains(&format!("[udp sum ok] UDP, length {length}")), "{line}");
    }
    let _ = tcpdump.line("proto ICMP");
    let line = tcpdump.line("udp port 9 unreachable");
    assert!(!line.contains("wrong"), "{line}");
    let line = tcpdump.line("ICMP echo reply");
    assert!(!line.contains("wrong"), "{line}");
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_goes_on_when_linux_forgets_it_and_when_it_has_a_new_address() {
    let namespace = Namespace::new();
    let running = Running::start(&mut echo(&namespace)).ready();
    namespace.inside(|| ping_pong(&client(address(ECHO)), 64, 10));
    namespace.ip("neigh flush all");
    namespace.inside(|| ping_pong(&client(address(ECHO)), 64, 10));
    // The host's card is replaced: its packets come from elsewhere now.
    namespace.ip("link set tap0 address 02:00:00:00:00:77");
    namespace.ip("neigh flush all");
    namespace.inside(|| ping_pong(&client(address(ECHO)), 64, 10));
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_small_mtu_is_kept_to() {
    let namespace = Namespace::new();
    namespace.ip("link set tap0 mtu 576");
    let running = Running::start(&mut echo(&namespace)).ready();
    namespace.inside(|| {
        let socket = client(address(ECHO));
        ping_pong(&socket, 576 - 28, 10);
    });
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_tap_that_is_set_down_and_up_again_is_as_before() {
    let namespace = Namespace::new();
    let running = Running::start(&mut echo(&namespace)).ready();
    namespace.inside(|| ping_pong(&client(address(ECHO)), 64, 10));
    namespace.ip("link set tap0 down");
    // The image asks after its neighbour in that time.
    std::thread::sleep(Duration::from_secs(7));
    namespace.ip("link set tap0 up");
    namespace.inside(|| ping_pong(&client(address(ECHO)), 64, 10));
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_tap_that_is_taken_away_ends_the_image_with_a_message() {
    let namespace = Namespace::new();
    let mut running = Running::start(&mut echo(&namespace)).ready();
    namespace.ip("link delete tap0");
    let _ = running.line("the network device is gone");
    assert_eq!(running.wait().code(), Some(1));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn the_hosted_build_runs_on_a_tap_too() {
    let namespace = Namespace::new();
    let hosted = mnet_tests::build("echo", "hosted");
    let mut command = namespace.command(&built().command);
    command.arg("run").arg(hosted).args(["--platform=hosted", "--net=service=tap:tap0"]);
    let mut running = Running::start(command.args(["--", "--ipv4=10.0.0.2/24"])).ready();
    namespace.inside(|| {
        let socket = client(address(ECHO));
        [0, 1, 64, 1_472].iter().for_each(|&length| ping_pong(&socket, length, 1_000));
    });
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code(), Some(128 + 15));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn while_nothing_happens_it_sleeps() {
    let namespace = Namespace::new();
    let running = Running::start(&mut echo(&namespace)).ready();
    namespace.inside(|| ping_pong(&client(address(ECHO)), 64, 10));
    // `ip netns exec` has become the tender; the image is its child.
    let tender = running.pid().as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{tender}/task/{tender}/children")).unwrap();
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", children.trim())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(2));
    let spent = ticks() - before;
    assert!(spent <= 2, "{spent} ticks of 200");
}
