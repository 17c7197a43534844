//! Images that lease their IPv4 address: from dnsmasq, and from a server that does what no good
//! server does.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mnet_tests::{DhcpServer, Namespace, PATIENCE, Running, TAP, client, ping_pong};

const DISCOVER: u8 = DhcpServer::DISCOVER;
const OFFER: u8 = DhcpServer::OFFER;
const REQUEST: u8 = DhcpServer::REQUEST;
const ACK: u8 = DhcpServer::ACK;
const NAK: u8 = DhcpServer::NAK;

/// dnsmasq on the TAP of a namespace.
fn dnsmasq(namespace: &Namespace, options: &str) -> Running {
    let leases = namespace.path("leases");
    let arguments = format!(
        "-k --conf-file=/dev/null --port=0 --user=root --log-facility=- --log-dhcp --pid-file= \
         --interface={TAP} --dhcp-range=10.0.0.50,10.0.0.59,255.255.255.0,2m {options} \
         --dhcp-leasefile={}",
        leases.display()
    );
    let running = namespace.start("dnsmasq", &arguments.replace("  ", " "));
    let _ = running.line("DHCP, IP range");
    running
}

fn echoes(namespace: &Namespace, address: IpAddr) {
    namespace.inside(|| ping_pong(&client(SocketAddr::new(address, 7)), 64, 10));
}

/// Whether anybody on the link has the address.
fn is_taken(namespace: &Namespace, address: &str) -> bool {
    let mut arping = namespace.command("arping");
    let arping = arping.args(["-c2", "-f", "-w1", "-I", TAP, address]);
    arping.output().unwrap().status.success()
}

/// Leases `address` for that many seconds.
fn lease(server: &DhcpServer, address: &str, seconds: u32) {
    // What is answered in the very moment in which the image opens the TAP, Linux drops.
    let request = loop {
        let message = server.next(PATIENCE, |_| true).unwrap();
        match message.kind {
            DISCOVER => server.answer(&message, OFFER, address, seconds),
            REQUEST if message.wants == address.parse().ok() => break message,
            _ => {}
        }
    };
    server.answer(&request, ACK, address, seconds);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_has_what_dnsmasq_leases_and_reaches_beyond_the_link() {
    let (namespace, client) = (Namespace::new(), Namespace::empty());
    client.connect((&namespace, "router"), "client", 1_500);
    client.ip("addr add 10.1.0.2/24 dev router");
    client.ip("route add default via 10.1.0.1");
    namespace.ip("addr add 10.1.0.1/24 dev client");
    namespace.forward();
    let dnsmasq = dnsmasq(&namespace, "--dhcp-option=3,10.0.0.1");
    let running = namespace.echo("--ipv6=none");
    let address = running.address(", by DHCP");
    let acknowledged = dnsmasq.line(&format!("DHCPACK({TAP}) {address}"));
    echoes(&namespace, address);
    let neighbor = namespace.ip(&format!("neigh show {address} dev {TAP}"));
    let mac = neighbor.split_whitespace().nth(2).unwrap();
    assert!(acknowledged.contains(mac), "{acknowledged} {neighbor}");
    echoes(&client, address);
    let running = running.ready();
    // Another image, with another link-layer address, is another client.
    drop(running);
    let running = namespace.echo("--ipv6=none");
    assert_ne!(running.address(", by DHCP"), address);
    drop((running, dnsmasq));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn the_mask_that_is_leased_says_who_is_on_the_link() {
    let namespace = Namespace::new();
    namespace.ip(&format!("addr add 10.0.77.1/16 dev {TAP}"));
    // There is no router: only who is on the link is answered.
    let dnsmasq = dnsmasq(&namespace, "--dhcp-option=3 --dhcp-option=1,255.255.0.0");
    let running = namespace.echo("--ipv6=none");
    let line = running.line(", by DHCP");
    let address = line.split("service: ").nth(1).unwrap().split('/').next().unwrap();
    assert!(line.contains("/16, by DHCP"), "{line}");
    let said = namespace.run("ping", &format!("-c2 -i0.1 -W2 -I 10.0.77.1 {address}"));
    assert!(said.contains("2 received"), "{said}");
    drop((running, dnsmasq));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_server_that_comes_later_is_found() {
    let namespace = Namespace::new();
    let running = namespace.echo("--ipv6=none");
    assert!(!running.says("service: ", Duration::from_secs(3)));
    let dnsmasq = dnsmasq(&namespace, "");
    let address = running.address(", by DHCP");
    echoes(&namespace, address);
    let running = running.ready();
    drop((running, dnsmasq));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn an_address_that_somebody_has_is_declined() {
    // The server does not know of a host with that address; the image does, for it asks.
    let (namespace, other) = (Namespace::new(), Namespace::empty());
    namespace.ip("link add br0 type bridge mcast_snooping 0");
    namespace.ip(&format!("addr flush dev {TAP}"));
    namespace.ip(&format!("link set {TAP} master br0"));
    namespace.ip("link set br0 up");
    namespace.ip("addr add 10.0.0.1/24 dev br0");
    other.connect((&namespace, TAP), "other", 1_500);
    namespace.ip("link set other master br0");
    other.ip(&format!("addr add 10.0.0.50/24 dev {TAP}"));
    let dnsmasq = namespace.start(
        "dnsmasq",
        &format!(
            "-k --conf-file=/dev/null --port=0 --user=root --log-facility=- --log-dhcp --no-ping \
             --pid-file= --interface=br0 --dhcp-range=10.0.0.50,10.0.0.51,255.255.255.0,2m \
             --dhcp-sequential-ip --dhcp-leasefile={}",
            namespace.path("leases").display()
        ),
    );
    let _ = dnsmasq.line("DHCP, IP range");
    let running = namespace.echo("--ipv6=none");
    let _ = dnsmasq.line("DHCPDECLINE(br0) 10.0.0.50");
    let _ = running.line("10.0.0.51/24, by DHCP");
    drop((running, dnsmasq));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_renews_its_lease_and_takes_another_address_when_told_to() {
    let namespace = Namespace::new();
    let server = DhcpServer::new(&namespace);
    let running = namespace.echo("--ipv6=none");
    lease(&server, "10.0.0.50", 6);
    let mut acknowledged = Instant::now();
    let first = running.address("10.0.0.50/24, by DHCP");
    echoes(&namespace, first);
    // It asks for more when half of the time is over, of this server alone, and has the address
    // meanwhile.
    for answer in [ACK, ACK, NAK] {
        let renewal = server.expect(REQUEST);
        let waited = acknowledged.elapsed();
        let half = Duration::from_millis(2_500)..Duration::from_millis(4_500);
        assert!(half.contains(&waited), "it renewed after {waited:?}");
        assert_eq!((IpAddr::V4(renewal.has), renewal.wants), (first, None));
        assert_eq!(renewal.from.ip(), first);
        echoes(&namespace, first);
        server.answer(&renewal, answer, "10.0.0.50", 6);
        acknowledged = Instant::now();
    }
    assert!(running.line("is gone").contains("10.0.0.50"));
    lease(&server, "10.0.0.51", 600);
    let second = running.address("10.0.0.51/24, by DHCP");
    echoes(&namespace, second);
    assert!(!is_taken(&namespace, "10.0.0.50"));
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn without_an_answer_it_gives_its_address_up_in_time_and_asks_for_one_again() {
    let namespace = Namespace::new();
    let server = DhcpServer::new(&namespace);
    let running = namespace.echo("--ipv6=none");
    lease(&server, "10.0.0.50", 4);
    let leased = Instant::now();
    let address = running.address("10.0.0.50/24, by DHCP");
    echoes(&namespace, address);
    let gone = running.line("is gone");
    let held = leased.elapsed();
    assert!(gone.contains("10.0.0.50"), "{gone}");
    let four = Duration::from_millis(3_500)..Duration::from_millis(5_500);
    assert!(four.contains(&held), "it held a lease of 4 s for {held:?}");
    assert!(!is_taken(&namespace, "10.0.0.50"));
    lease(&server, "10.0.0.52", 600);
    echoes(&namespace, running.address("10.0.0.52/24, by DHCP"));
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_request_that_is_not_answered_is_repeated() {
    let namespace = Namespace::new();
    let server = DhcpServer::new(&namespace);
    let running = namespace.echo("--ipv6=none");
    let first = server.expect(DISCOVER);
    let second = server.expect(DISCOVER);
    // What is for another is not taken, nor what no host can have.
    let mut foreign = second.clone();
    foreign.change_transaction();
    server.answer(&foreign, OFFER, "10.0.0.66", 600);
    server.answer(&second, OFFER, "224.0.0.66", 600);
    server.answer(&second, OFFER, "10.0.0.50", 600);
    let request = server.expect(REQUEST);
    assert_eq!(request.wants, "10.0.0.50".parse().ok());
    let repeated = server.expect(REQUEST);
    assert_eq!(repeated.wants, request.wants);
    server.answer(&repeated, ACK, "10.0.0.50", 600);
    echoes(&namespace, running.address("10.0.0.50/24, by DHCP"));
    assert!(first.has.is_unspecified() && request.has.is_unspecified());
    drop(running);
}
