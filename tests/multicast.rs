//! Images in multicast groups, as Linux and its bridge see them, and broadcast.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use mnet_tests::{Capture, Namespace, PATIENCE, Running, TAP, on_link};

const ARGUMENTS: &str =
    "--ipv4=10.0.0.2/24 --ipv6=fd00::2/64 --join=239.1.2.3 --join=ff05::1234 --port=7 --port=8";

/// The image, in use, and its link-local address.
fn image(namespace: &Namespace) -> (Running, IpAddr) {
    let running = namespace.echo(ARGUMENTS);
    let _ = running.address("10.0.0.2/24, static");
    let _ = running.address("fd00::2/64, static");
    let link_local = running.address(", link-local");
    (running.ready(), link_local)
}

/// Sends a datagram from `from` to `to` on the TAP; gives who answers.
fn answered_by(namespace: &Namespace, from: &str, to: (&str, u16)) -> Option<SocketAddr> {
    namespace.inside(|| {
        let from = on_link(from.parse().unwrap(), 0);
        let socket = UdpSocket::bind(from).unwrap();
        socket.set_broadcast(true).unwrap();
        // Long enough for an image that is slow, yet there are many that nobody is to answer.
        socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        socket.send_to(b"who is there?", on_link(to.0.parse().unwrap(), to.1)).unwrap();
        let mut received = [0; 32];
        let (length, by) = socket.recv_from(&mut received).ok()?;
        assert_eq!(&received[..length], b"who is there?");
        let again = socket.recv_from(&mut received);
        assert!(again.is_err(), "two answers from {by}: {again:?}");
        Some(by)
    })
}

fn by(address: &str) -> Option<SocketAddr> {
    Some(address.parse().unwrap())
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn what_is_sent_to_a_group_that_it_is_in_is_answered_by_unicast() {
    let namespace = Namespace::new();
    namespace.ip(&format!("route add 224.0.0.0/4 dev {TAP}"));
    let (running, link_local) = image(&namespace);
    for port in [7, 8] {
        let answer = answered_by(&namespace, "10.0.0.1", ("239.1.2.3", port));
        assert_eq!(answer, by(&format!("10.0.0.2:{port}")));
        let answer = answered_by(&namespace, "fd00::1", ("ff05::1234", port));
        assert_eq!(answer, by(&format!("[fd00::2]:{port}")));
    }
    let answer = answered_by(&namespace, "fe80::1", ("ff05::1234", 7)).unwrap();
    assert_eq!(answer.ip(), link_local);
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn what_is_sent_to_another_group_or_port_is_not_answered_at_all() {
    let namespace = Namespace::new();
    namespace.ip(&format!("route add 224.0.0.0/4 dev {TAP}"));
    let capture = Capture::start(&namespace, "icmp or icmp6 or udp");
    let (running, _) = image(&namespace);
    // The last two differ from the groups only in what the Ethernet address does not hold.
    let ipv4 = ["239.1.2.4", "224.0.0.1", "238.1.2.3", "239.129.2.3"];
    for group in ipv4 {
        assert_eq!(answered_by(&namespace, "10.0.0.1", (group, 7)), None, "{group}");
    }
    for group in ["ff05::1235", "ff02::1", "ff05::1:0:1234", "ff02::1:ff00:3"] {
        assert_eq!(answered_by(&namespace, "fd00::1", (group, 7)), None, "{group}");
    }
    // Nobody is told that a port is closed for what went to many (RFC 1122 §3.2.2, 4443 §2.4).
    assert_eq!(answered_by(&namespace, "10.0.0.1", ("239.1.2.3", 9)), None);
    assert_eq!(answered_by(&namespace, "fd00::1", ("ff05::1234", 9)), None);
    let lines = capture.finish();
    assert!(!lines.iter().any(|line| line.contains("unreachable")), "{lines:#?}");
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn what_is_broadcast_is_answered() {
    let namespace = Namespace::new();
    namespace.ip(&format!("route add 255.255.255.255 dev {TAP}"));
    let (running, _) = image(&namespace);
    for all in ["255.255.255.255", "10.0.0.255"] {
        assert_eq!(answered_by(&namespace, "10.0.0.1", (all, 7)), by("10.0.0.2:7"), "{all}");
        // No port unreachable, though nobody is there.
        assert_eq!(answered_by(&namespace, "10.0.0.1", (all, 9)), None, "{all}");
    }
    drop(running);
}

/// A bridge with the TAP in it, which learns from reports who is in which group and asks for them.
fn bridge(namespace: &Namespace, igmp: u8, mld: u8) {
    namespace.ip(&format!("addr flush dev {TAP}"));
    namespace.ip(&format!(
        "link add br0 type bridge mcast_snooping 1 mcast_querier 0 mcast_igmp_version {igmp} \
         mcast_mld_version {mld} mcast_query_response_interval 100"
    ));
    namespace.ip(&format!("link set {TAP} master br0"));
    namespace.ip("link set br0 up");
    for address in ["10.0.0.1/24", "fd00::1/64", "fe80::1/64"] {
        namespace.ip(&format!("addr add {address} dev br0"));
    }
}

/// Waits until the bridge lists each group on the TAP; gives what it lists.
fn listed(namespace: &Namespace, groups: &[&str]) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = namespace.run("bridge", "-d mdb show");
        let on_tap = |group: &&str| {
            let group = format!("port {TAP} grp {group} ");
            said.lines().any(|line| line.contains(&group))
        };
        if groups.iter().all(on_tap) {
            return said;
        }
        assert!(Instant::now() < deadline, "{groups:?} are not all in\n{said}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn bridge_asks(igmp: u8, mld: u8, from_its_address: bool, reports: [&str; 2]) {
    const GROUPS: [&str; 2] = ["239.1.2.3", "ff05::1234"];
    let namespace = Namespace::new();
    bridge(&namespace, igmp, mld);
    let from_its_address = u8::from(from_its_address);
    namespace.ip(&format!("link set br0 type bridge mcast_query_use_ifaddr {from_its_address}"));
    let (running, _) = image(&namespace);
    // It said so when it joined.
    listed(&namespace, &GROUPS);
    // The reports that follow a joining are over.
    thread::sleep(Duration::from_secs(3));
    for group in GROUPS {
        namespace.run("bridge", &format!("mdb del dev br0 port {TAP} grp {group} temp"));
    }
    let said = namespace.run("bridge", "mdb show");
    assert!(!GROUPS.iter().any(|group| said.contains(group)), "{said}");
    // It says so again when it is asked, in the version of the one who asks.
    let capture = Capture::start(&namespace, "igmp or ip6");
    namespace.ip("link set br0 type bridge mcast_querier 1");
    listed(&namespace, &GROUPS);
    for report in reports {
        let _ = capture.line(report);
    }
    drop(running);
}

const V3: [&str; 2] = ["igmp v3 report", "multicast listener report v2"];
const V2: [&str; 2] = ["igmp v2 report 239.1.2.3", "delay: 0 addr: ff05::1234"];

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_bridge_that_asks_in_igmpv3_and_mldv2_knows_its_groups() {
    bridge_asks(3, 2, true, V3);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_bridge_that_asks_in_igmpv2_and_mldv1_knows_its_groups() {
    bridge_asks(2, 1, true, V2);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_bridge_that_asks_without_an_address_knows_its_groups() {
    // So do Linux's, unless they are told otherwise: from 0.0.0.0 (RFC 4541 §2.1.1).
    bridge_asks(2, 1, false, V2);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_bridge_that_forwards_only_what_is_wanted_forwards_its_groups() {
    let namespace = Namespace::new();
    bridge(&namespace, 3, 2);
    namespace.ip("link set br0 type bridge mcast_querier 1 mcast_startup_query_interval 100");
    let sender = Namespace::empty();
    sender.connect((&namespace, TAP), "sender", 1_500);
    namespace.ip("link set sender master br0");
    sender.ip(&format!("addr add 10.0.0.3/24 dev {TAP}"));
    sender.ip(&format!("addr add fd00::3/64 dev {TAP}"));
    sender.ip(&format!("route add 224.0.0.0/4 dev {TAP}"));
    let (running, _) = image(&namespace);
    listed(&namespace, &["239.1.2.3", "ff05::1234"]);
    assert_eq!(answered_by(&sender, "10.0.0.3", ("239.1.2.3", 7)), by("10.0.0.2:7"));
    assert_eq!(answered_by(&sender, "fd00::3", ("ff05::1234", 7)), by("[fd00::2]:7"));
    // Neighbours are found by multicast, too.
    sender.run("ping", "-c2 -i0.1 fd00::2");
    drop(running);
}
