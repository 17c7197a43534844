//! Images that have both families on a TAP: every size of ping and datagram, from Linux's stack.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::io::ErrorKind;
use std::net::IpAddr;

use mnet_tests::{Capture, Namespace, Running, TAP, burst, client, on_link, ping_pong};

const BOTH: &str = "--ipv4=10.0.0.2/24 --ipv6=fd00::2/64";

/// An image with an address of either family, and with its link-local address, all in use.
fn image(namespace: &Namespace) -> (Running, [IpAddr; 3]) {
    let running = namespace.echo(BOTH);
    let addresses = [
        running.address("10.0.0.2/24, static"),
        running.address("fd00::2/64, static"),
        running.address(", link-local"),
    ];
    (running.ready(), addresses)
}

/// The largest payload of UDP.
fn largest(address: IpAddr) -> usize {
    if address.is_ipv4() { 65_507 } else { 65_527 }
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn linux_pings_it_with_every_size() {
    let namespace = Namespace::new();
    let (running, [ipv4, global, link_local]) = image(&namespace);
    let zoned = format!("{link_local}%{TAP}");
    for address in [&ipv4.to_string(), &global.to_string(), &zoned] {
        for size in [0, 56, 1_452, 1_453, 1_472, 1_473, 8_000, 65_507] {
            // For the last answer, ping waits no longer than the interval.
            let said = namespace.run("ping", &format!("-c3 -i0.2 -s {size} {address}"));
            assert!(said.contains("3 received"), "{said}");
        }
    }
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn linux_sees_the_way_of_a_ping_and_when_it_was_where() {
    let namespace = Namespace::new();
    let (running, _) = image(&namespace);
    let lines = |said: &str, heading: &str| {
        let told = said.split_once(heading).unwrap().1;
        told.lines().take(4).map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    for size in [56, 3_000] {
        let said = namespace.run("ping", &format!("-R -c1 -s {size} 10.0.0.2"));
        let there_and_back = ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.1"];
        assert_eq!(lines(&said, "RR:"), there_and_back, "{said}");
        let said = namespace.run("ping", &format!("-T tsandaddr -c1 -s {size} 10.0.0.2"));
        let (lines, own) = (lines(&said, "TS:"), |line: &String| line.starts_with("10.0.0.2\t"));
        assert!(lines.iter().map(own).eq([false, true, true, false]), "{said}");
        assert!(lines[1].ends_with("absolute not-standard"), "{said}");
    }
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn datagrams_of_every_size_come_back_over_both_families() {
    let namespace = Namespace::new();
    let (running, addresses) = image(&namespace);
    namespace.inside(|| {
        for address in addresses {
            let socket = client(on_link(address, 7));
            ping_pong(&socket, 64, 5_000);
            for length in [0, 1, 1_452, 1_453, 1_472, 1_473] {
                ping_pong(&socket, length, 1_000);
            }
            for (length, count) in [(4_000, 200), (9_000, 100), (65_000, 20)] {
                ping_pong(&socket, length, count);
            }
            ping_pong(&socket, largest(address), 20);
        }
    });
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn bursts_come_back_whole_over_ipv6() {
    let namespace = Namespace::new();
    let (running, [_, global, link_local]) = image(&namespace);
    namespace.inside(|| {
        for address in [global, link_local] {
            let socket = client(on_link(address, 7));
            for length in [1, 64, 1_452] {
                (0..10).for_each(|_| burst(&socket, length));
            }
        }
    });
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_closed_port_is_refused_over_both_families() {
    let namespace = Namespace::new();
    let (running, addresses) = image(&namespace);
    namespace.inside(|| {
        for address in addresses {
            for length in [0, 16, 1_400, 4_000] {
                let socket = client(on_link(address, 9));
                socket.send(&vec![0x5a; length]).unwrap();
                let refused = socket.recv(&mut [0; 16]).unwrap_err().kind();
                assert_eq!(refused, ErrorKind::ConnectionRefused, "{address}, {length} bytes");
            }
        }
    });
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn tcpdump_finds_no_wrong_checksum_in_either_family() {
    let namespace = Namespace::new();
    let capture = Capture::start(&namespace, "");
    let (running, addresses) = image(&namespace);
    namespace.inside(|| {
        for address in addresses {
            let echo = client(on_link(address, 7));
            [0, 1, 2, 3, 1_451, 1_452].iter().for_each(|&length| ping_pong(&echo, length, 1));
            let closed = client(on_link(address, 9));
            closed.send(b"x").unwrap();
            assert!(closed.recv(&mut [0; 16]).is_err());
        }
    });
    namespace.run("ping", "-c3 -i0.01 10.0.0.2");
    namespace.run("ping", "-c3 -i0.01 -s 1 fd00::2");
    let lines = capture.finish();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    // What is refused is quoted to Linux, in IPv4 with its checksum.
    assert_eq!(count("udp sum ok"), 3 * 6 + 1, "{lines:#?}");
    // A solicitation for each address, and reports of groups, come besides.
    for what in ["echo reply", "neighbor solicitation", "unreachable port", "multicast listener"] {
        assert_ne!(count(what), 0, "{what} in {lines:#?}");
    }
    assert!(count("icmp6 sum ok") >= 3 + 2 + 2, "{lines:#?}");
    for wrong in ["bad", "wrong", "truncated", "invalid", "malformed"] {
        assert_eq!(count(wrong), 0, "{wrong} in {lines:#?}");
    }
    drop(running);
}
