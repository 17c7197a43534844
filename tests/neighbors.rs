//! How an image and Linux find each other on a link, and who may have an address.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use mnet_tests::{Capture, Namespace, PATIENCE, Running, TAP, client, on_link, ping_pong};

const BOTH: &str = "--ipv4=10.0.0.2/24 --ipv6=fd00::2/64";

fn image(namespace: &Namespace) -> (Running, [IpAddr; 3]) {
    let running = namespace.echo(BOTH);
    let addresses = [
        running.address("10.0.0.2/24, static"),
        running.address("fd00::2/64, static"),
        running.address(", link-local"),
    ];
    (running.ready(), addresses)
}

fn exchange(namespace: &Namespace, addresses: &[IpAddr]) {
    for &address in addresses {
        namespace.inside(|| ping_pong(&client(on_link(address, 7)), 64, 10));
    }
}

/// What Linux knows of a neighbour.
fn neighbor(namespace: &Namespace, address: IpAddr) -> String {
    namespace.ip(&format!("neigh show {address} dev {TAP}"))
}

/// Its link-layer address, as Linux knows it.
fn mac(namespace: &Namespace, address: IpAddr) -> String {
    let said = neighbor(namespace, address);
    let mut words = said.split_whitespace().skip_while(|&word| word != "lladdr");
    words.nth(1).unwrap_or_else(|| panic!("no address of {address} in {said:?}")).to_owned()
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn linux_finds_it_reachable_and_is_answered_when_it_asks_again() {
    let namespace = Namespace::new();
    let (running, addresses) = image(&namespace);
    exchange(&namespace, &addresses);
    for address in addresses {
        let said = neighbor(&namespace, address);
        assert!(said.contains("REACHABLE"), "{said}");
        let mac = mac(&namespace, address);
        // Linux now asks that neighbour alone, not all, whether it is still there.
        let capture = Capture::start(&namespace, "arp or icmp6");
        namespace.ip(&format!("neigh change {address} lladdr {mac} dev {TAP} nud probe"));
        let reply = if address.is_ipv4() { "Reply 10.0.0.2 is-at" } else { "tgt is" };
        let line = capture.line(reply);
        assert!(address.is_ipv4() || line.contains("solicited"), "{line}");
        let deadline = Instant::now() + PATIENCE;
        while !neighbor(&namespace, address).contains("REACHABLE") {
            assert!(Instant::now() < deadline, "{}", neighbor(&namespace, address));
            thread::sleep(Duration::from_millis(20));
        }
    }
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_goes_on_over_ipv6_when_linux_forgets_it_and_when_it_has_a_new_address() {
    let namespace = Namespace::new();
    let (running, [_, global, link_local]) = image(&namespace);
    exchange(&namespace, &[global, link_local]);
    namespace.ip("neigh flush all");
    exchange(&namespace, &[global, link_local]);
    // The host's card is replaced: its packets come from elsewhere now.
    namespace.ip(&format!("link set {TAP} address 02:00:00:00:00:77"));
    namespace.ip("neigh flush all");
    exchange(&namespace, &[global, link_local]);
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn ndisc6_finds_its_addresses_and_only_those() {
    let namespace = Namespace::new();
    let (running, [_, global, link_local]) = image(&namespace);
    exchange(&namespace, &[global]);
    let mac = mac(&namespace, global);
    for address in [global, link_local] {
        let said = namespace.run("ndisc6", &format!("-1 -q {address} {TAP}"));
        assert_eq!(said.trim().to_lowercase(), mac, "{address}");
    }
    let mut stranger = namespace.command("ndisc6");
    let stranger = stranger.args(["-r1", "-w500", "fd00::3", TAP]).output().unwrap();
    assert!(!stranger.status.success(), "{stranger:?}");
    // It is a host: nobody is to take it for a router.
    let mut router = namespace.command("rdisc6");
    let router = router.args(["-r1", "-w500", TAP]).output().unwrap();
    assert!(!router.status.success(), "{router:?}");
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_answers_a_ping_to_all_nodes_from_its_own_address() {
    let namespace = Namespace::new();
    let (running, [.., link_local]) = image(&namespace);
    let said = namespace.run("ping", &format!("-L -c2 -i0.1 -W2 ff02::1%{TAP}"));
    assert!(said.contains(&format!("from {link_local}%{TAP}")), "{said}");
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn an_ipv6_address_that_linux_has_is_not_used() {
    let namespace = Namespace::new();
    namespace.ip(&format!("addr add fd00::2/64 dev {TAP}"));
    let running = namespace.echo("--ipv4=none --ipv6=fd00::2/64 --ipv6=fd00::3/64");
    let _ = running.line("fd00::2 is another host's");
    let other = running.address("fd00::3/64, static");
    assert!(!running.says("fd00::2/64, static", Duration::from_secs(2)));
    exchange(&namespace, &[other]);
    // Who asks for it finds nobody, now that Linux has it no more.
    namespace.ip(&format!("addr del fd00::2/64 dev {TAP}"));
    let mut ndisc6 = namespace.command("ndisc6");
    let ndisc6 = ndisc6.args(["-r2", "-w500", "fd00::2", TAP]).output().unwrap();
    assert!(!ndisc6.status.success(), "{ndisc6:?}");
    drop(running);
}

/// Whether Linux finds that nobody has an address (RFC 5227 §2.1.1).
fn is_free(namespace: &Namespace, address: &str) -> bool {
    let mut arping = namespace.command("arping");
    let arping = arping.args(["-D", "-c2", "-w2", "-I", TAP, address]);
    arping.output().unwrap().status.success()
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn linux_finds_that_its_ipv4_address_is_taken() {
    let namespace = Namespace::new();
    let capture = Capture::start(&namespace, "arp");
    let running = namespace.echo(BOTH).ready();
    let _ = capture.line("Request who-has 10.0.0.2 tell 10.0.0.2");
    assert!(!is_free(&namespace, "10.0.0.2"));
    assert!(is_free(&namespace, "10.0.0.3"));
    exchange(&namespace, &["10.0.0.2".parse().unwrap()]);
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn an_ipv4_address_that_it_already_answers_at_is_taken_from_the_start() {
    let namespace = Namespace::new();
    let running = namespace.echo(BOTH);
    let address = running.address("10.0.0.2/24, static");
    exchange(&namespace, &[address]);
    // Who merely asks whether it is free does not take it away.
    assert!(!is_free(&namespace, "10.0.0.2"));
    exchange(&namespace, &[address]);
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn linux_finds_that_its_ipv6_address_is_taken() {
    let namespace = Namespace::new();
    let (running, _) = image(&namespace);
    // It looks whether an address is free before it uses it.
    namespace.set(&format!("ipv6/conf/{TAP}/accept_dad"), "1");
    namespace.set("ipv6/conf/all/accept_dad", "1");
    for (address, taken) in [("fd00::2", true), ("fd00::3", false)] {
        namespace.ip(&format!("addr add {address}/64 dev {TAP}"));
        let deadline = Instant::now() + PATIENCE;
        let state = loop {
            let said = namespace.ip(&format!("-6 -o addr show dev {TAP} to {address}"));
            if said.contains("dadfailed") || !said.contains("tentative") {
                break said;
            }
            assert!(Instant::now() < deadline, "{said}");
            thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(state.contains("dadfailed"), taken, "{state}");
    }
    drop(running);
}
