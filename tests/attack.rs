//! Images under attack by other people's tools: they stay, answer when it is over, and hold no more
//! memory than they may.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use mnet_tests::{Namespace, PATIENCE, Running, TAP, client, on_link, ping_pong, recovers};

/// How long an attack lasts, unless it ends by itself.
const TIME: Duration = Duration::from_secs(1);
/// How many frames make an attack, at the least.
const FRAMES: u64 = 30;
/// How long after it everything must be as before.
const RECOVERY: Duration = Duration::from_secs(5);
/// What an image may have in use, in KiB, whatever comes: its code, its pool of packets, and each
/// table at its bound.
const MEMORY: u64 = 16 << 10;

/// An image that is attacked.
struct Victim {
    running: Running,
    namespace: Namespace,
    addresses: [IpAddr; 3],
}

impl Victim {
    fn new(arguments: &str) -> Self {
        let namespace = Namespace::new();
        namespace.ip(&format!("route add 224.0.0.0/4 dev {TAP}"));
        let running = namespace.echo(&format!(
            "--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1 --ipv6=fd00::2/64 {arguments}"
        ));
        let addresses = [
            running.address("10.0.0.2/24, static"),
            running.address("fd00::2/64, static"),
            running.address(", link-local"),
        ];
        let victim = Self { running: running.ready(), namespace, addresses };
        victim.is_as_before("nothing");
        victim
    }

    /// Attacks it with a program of this command line, in which TAP, GLOBAL and LOCAL stand for the
    /// TAP and the image's addresses.
    fn attack(&self, command: &str) {
        let line = command
            .replace("TAP", TAP)
            .replace("GLOBAL", &self.addresses[1].to_string())
            .replace("LOCAL", &self.addresses[2].to_string());
        let (program, arguments) = line.split_once(' ').unwrap();
        let before = self.sent();
        let mut attacker = self.namespace.start(program, arguments);
        // Some take their time before they begin.
        let deadline = Instant::now() + PATIENCE;
        while !attacker.ended() && self.sent() < before + FRAMES {
            assert!(Instant::now() < deadline, "{line} does not begin");
            thread::sleep(Duration::from_millis(20));
        }
        let deadline = Instant::now() + TIME;
        while !attacker.ended() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        drop(attacker);
        let sent = self.sent() - before;
        assert!(sent >= FRAMES, "{line} sent {sent} frames");
        self.is_as_before(&line);
    }

    /// How many frames were sent to it.
    fn sent(&self) -> u64 {
        let statistics =
            self.namespace.run("cat", &format!("/sys/class/net/{TAP}/statistics/tx_packets"));
        statistics.trim().parse().unwrap()
    }

    /// It answers at all of its addresses, and does not grow.
    fn is_as_before(&self, attack: &str) {
        for address in self.addresses {
            self.namespace.inside(|| {
                let socket = client(on_link(address, 7));
                recovers(&socket, 8, RECOVERY, attack);
                // Fragments find room again, too.
                recovers(&socket, 4_000, RECOVERY, attack);
            });
        }
        let memory = self.running.memory();
        assert!(memory <= MEMORY, "{memory} KiB after {attack}");
    }
}

fn survives(arguments: &str, attacks: &[&str]) {
    let victim = Victim::new(arguments);
    attacks.iter().for_each(|attack| victim.attack(attack));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn floods_of_router_advertisements() {
    let floods = ["", "-R ", "-P ", "-s -P ", "-F ", "-H ", "-f -a "];
    survives(
        "",
        &floods
            .map(|option| format!("atk6-flood_router26 {option}TAP"))
            .each_ref()
            .map(String::as_str),
    );
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn floods_of_neighbor_discovery() {
    survives(
        "",
        &[
            "atk6-flood_solicitate6 TAP",
            "atk6-flood_solicitate6 TAP GLOBAL GLOBAL",
            "atk6-flood_solicitate6 -a TAP LOCAL LOCAL",
            "atk6-flood_advertise6 TAP",
            "atk6-flood_advertise6 TAP GLOBAL",
            "atk6-flood_redir6 TAP GLOBAL",
            "atk6-flood_redir6 TAP LOCAL fe80::1 fe80::2",
            "atk6-flood_rs6 -S TAP",
            "atk6-sendpees6 TAP 1024 fd00:: GLOBAL",
        ],
    );
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn floods_about_multicast_groups() {
    survives(
        "--join=239.1.2.3 --join=ff05::1234",
        &[
            "atk6-flood_mld6 TAP",
            "atk6-flood_mld26 TAP",
            "atk6-flood_mldrouter6 TAP",
            "atk6-fuzz_ip6 -a -x -7 TAP ff02::1",
            "atk6-fuzz_ip6 -a -x -9 TAP ff02::1",
            "hping3 --flood --rand-source --rawip --ipproto 2 -d 16 224.0.0.1 -I TAP",
            "atk6-smurf6 TAP LOCAL",
        ],
    );
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn extension_headers_that_nobody_needs() {
    let attacks: Vec<_> = (1..=7).map(|case| format!("atk6-denial6 TAP GLOBAL {case}")).collect();
    survives("", &attacks.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn fragments_that_overlap_and_what_has_crashed_others() {
    let cases = [1, 3, 6, 8, 12, 16, 20, 24, 28, 32];
    let cases = cases.map(|case| format!("atk6-fragmentation6 -f -p TAP GLOBAL {case}"));
    let mut attacks: Vec<_> = cases.iter().map(String::as_str).collect();
    attacks.push("atk6-exploit6 TAP GLOBAL");
    survives("", &attacks);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn fuzzed_headers_and_messages() {
    let kinds = ["-X", "-1", "-2", "-3", "-4", "-5", "-6", "-8"];
    let headers = ["-I", "-F", "-S", "-D", "-H", "-J"];
    let kinds = kinds.iter().map(|kind| format!("atk6-fuzz_ip6 -a -x {kind} -n 2 TAP GLOBAL"));
    let headers = headers.iter().map(|header| format!("atk6-fuzz_ip6 -a -x {header} TAP GLOBAL"));
    let all: Vec<_> = kinds.chain(headers).collect();
    survives("", &all.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn floods_of_icmpv6_errors_and_of_other_protocols() {
    survives(
        "",
        &[
            "atk6-flood_unreach6 -R TAP GLOBAL",
            "atk6-flood_unreach6 -p TAP LOCAL",
            "atk6-randicmp6 -p TAP GLOBAL",
            "atk6-thcsyn6 -R TAP GLOBAL x",
        ],
    );
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn floods_over_ipv4() {
    survives(
        "",
        &[
            "hping3 --flood --rand-source --udp -p 7 10.0.0.2 -I TAP",
            "hping3 --flood --udp -p 9 10.0.0.2 -I TAP",
            "hping3 --flood --icmp -d 1400 10.0.0.2 -I TAP",
            "hping3 --flood --rand-source --icmp --icmptype 3 --icmpcode 4 10.0.0.2 -I TAP",
            "hping3 --flood --rand-source --icmp --icmptype 5 10.0.0.2 -I TAP",
            "hping3 --flood --rand-source -S -p 80 10.0.0.2 -I TAP",
            "hping3 --flood --rand-source --rawip --ipproto 132 -d 100 10.0.0.2 -I TAP",
        ],
    );
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn floods_of_fragments_that_never_become_whole() {
    survives(
        "",
        &[
            // The first alone, the last alone, and those between, of ever new datagrams.
            "hping3 --flood --rand-source --udp -p 7 -d 1000 -x 10.0.0.2 -I TAP",
            "hping3 --flood --rand-source --udp -p 7 -d 1000 -g 1600 10.0.0.2 -I TAP",
            "hping3 --flood --udp -p 7 -d 1000 -x -g 1600 10.0.0.2 -I TAP",
            "hping3 --flood --udp -p 7 -d 1000 -x -g 64800 10.0.0.2 -I TAP",
            "hping3 --flood --icmp -d 1000 -f 10.0.0.2 -I TAP",
        ],
    );
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_router_that_was_there_before_a_flood_of_them_is_used_after_it() {
    let (victim, far) = (Victim::new("--ipv6-gateway=fe80::1"), Namespace::empty());
    let namespace = &victim.namespace;
    far.connect((namespace, "router"), "far", 1_500);
    far.ip("addr add 2001:db8::2/64 dev router");
    namespace.ip("addr add 2001:db8::1/64 dev far");
    far.ip("-6 route add default via 2001:db8::1");
    namespace.forward();
    let echo = || far.inside(|| ping_pong(&client("[fd00::2]:7".parse().unwrap()), 64, 100));
    echo();
    victim.attack("atk6-flood_router26 TAP");
    victim.attack("atk6-flood_redir6 TAP GLOBAL 2001:db8::2 fe80::dead");
    far.inside(|| {
        recovers(&client("[fd00::2]:7".parse().unwrap()), 64, RECOVERY, "the flood");
    });
    echo();
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn one_who_claims_every_new_address_leaves_it_ipv4() {
    let namespace = Namespace::new();
    let attacker = namespace.start("atk6-dos-new-ip6", TAP);
    thread::sleep(Duration::from_millis(500));
    let running = namespace.echo("--ipv4=10.0.0.2/24 --ipv6=fd00::2/64");
    let _ = running.line("fd00::2 is another host's");
    let running = running.ready();
    namespace.inside(|| ping_pong(&client("10.0.0.2:7".parse().unwrap()), 64, 100));
    assert!(running.memory() <= MEMORY);
    drop((running, attacker));
}
