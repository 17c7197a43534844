//! Multicast DNS, with `dig` and Avahi.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mnet_tests::{Namespace, PATIENCE, Running, TAP, build, built, serve, succeed, workspace};

#[test]
fn the_line_of_its_readme_answers_who_has_no_multicast() {
    let (running, address) = serve("mdns", 5353, &[]);
    let port = address.port().to_string();
    let dig = |question: &[&str]| {
        let mut dig = Command::new("dig");
        dig.args(["@127.0.0.1", "-p", &port, "+tries=1", "+timeout=5"]);
        succeed(dig.args(question))
    };
    let answer = dig(&["+short", "mnet.local"]);
    assert!(answer.lines().any(|line| line == "10.0.2.15"), "{answer}");
    let _ = running.line(", link-local");
    let whole = dig(&["+noedns", "MNET.local", "AAAA"]);
    assert!(whole.contains("flags: qr aa") && whole.contains("status: NOERROR"), "{whole}");
    // It is told with what else is known of the name, and the question with it (RFC 6762 §6.7).
    assert!(whole.contains(";MNET.local.") && whole.contains("fe80::"), "{whole}");
    drop(running);
}

/// A bus of its own and an `avahi-daemon` on it, both in a namespace.
struct Avahi<'a> {
    namespace: &'a Namespace,
    address: String,
    _daemons: [Running; 2],
}

const BUS: &str = r#"<busconfig><type>system</type><auth>EXTERNAL</auth>
<listen>ADDRESS</listen>
<policy context="default"><allow user="*"/><allow own="*"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"#;

const DAEMON: &str = "[server]\nhost-name=linux\nuse-ipv4=yes\nuse-ipv6=yes\n\
                      [wide-area]\nenable-wide-area=no\n";

impl<'a> Avahi<'a> {
    fn start(namespace: &'a Namespace) -> Self {
        let path = |name| namespace.path(name).display().to_string();
        let (bus, daemon) = (path("bus.conf"), path("avahi.conf"));
        let address = format!("unix:path={}", path("bus"));
        fs::write(&bus, BUS.replace("ADDRESS", &address)).unwrap();
        fs::write(&daemon, DAEMON).unwrap();
        let mut command = namespace.command("dbus-daemon");
        command.args(["--nofork", "--nopidfile", "--print-address"]);
        let bus = Running::start(command.arg(format!("--config-file={bus}")));
        let _ = bus.line("unix:");
        // It has its files in /run, where the host's own may be: `ip netns exec` lets what is
        // mounted here be seen nowhere else.
        let script = format!(
            "mount -t tmpfs tmpfs /run && exec avahi-daemon --no-drop-root --no-rlimits \
             --no-chroot --file={daemon}"
        );
        let mut command = namespace.command("sh");
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &address).args(["-c", &script]);
        let daemon = Running::start(&mut command);
        let _ = daemon.line("Server startup complete");
        Self { namespace, address, _daemons: [daemon, bus] }
    }

    /// A command that speaks to it.
    fn command(&self, program: &str) -> Command {
        let mut command = self.namespace.command(program);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &self.address);
        command
    }

    /// Browses until a line of what it finds has all of this.
    fn finds(&self, kind: &str, parts: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = succeed(self.command("avahi-browse").args(["-rtp", kind]));
            if said.lines().any(|line| parts.iter().all(|part| line.contains(part))) {
                return;
            }
            assert!(Instant::now() < deadline, "{parts:?} is not in:\n{said}");
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Runs it on the TAP as its README says.
fn run(namespace: &Namespace, arguments: &[&str]) -> Running {
    let _ = build("mdns", "spt");
    let line = "cargo mnet run mdns --net service=tap:tap0 -- --name=lamp";
    let readme = workspace().join(Path::new("unikernels/mdns/README.md"));
    assert!(fs::read_to_string(readme).unwrap().contains(line) && TAP == "tap0");
    let mut command = namespace.command(&built().command);
    command.args(line.split(' ').skip(2)).args(arguments).current_dir(workspace());
    Running::start(&mut command)
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn avahi_finds_its_name_and_services() {
    let namespace = Namespace::new();
    namespace.ip(&format!("route add 224.0.0.0/4 dev {TAP}"));
    let avahi = Avahi::start(&namespace);
    let service = "--service=Lamp,_http._tcp,80,path=/on,colour=red";
    let arguments = ["--ipv4=10.0.0.2/24", "--ipv6=fd00::2/64", service];
    let running = run(&namespace, &arguments);
    let _ = running.address("fd00::2/64");
    let running = running.ready();

    let resolve = |family: &str| {
        succeed(avahi.command("avahi-resolve").args([family, "--name", "lamp.local"]))
    };
    assert_eq!(resolve("-4"), "lamp.local\t10.0.0.2\n");
    let ipv6 = resolve("-6");
    assert!(ipv6.starts_with("lamp.local\tf"), "{ipv6}");
    let found = ["=;tap0;IPv4;Lamp;", ";lamp.local;10.0.0.2;80;", "\"path=/on\"", "\"colour=red\""];
    avahi.finds("_http._tcp", &found);
    avahi.finds("_http._tcp", &["=;tap0;IPv6;Lamp;", ";lamp.local;", ";80;"]);
    drop((running, avahi));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_finds_what_avahi_publishes_and_sees_it_go() {
    let namespace = Namespace::new();
    namespace.ip(&format!("route add 224.0.0.0/4 dev {TAP}"));
    let avahi = Avahi::start(&namespace);
    let publish = |name: &str| {
        let mut publish = avahi.command("avahi-publish");
        Running::start(publish.args(["-s", name, "_ipp._tcp", "631", "paper=A4"]))
    };
    // One is there before it looks, the other comes later.
    let before = publish("A Printer");
    let _ = before.line("Established under name");
    let running = run(&namespace, &["--ipv4=10.0.0.2/24", "--browse=_ipp._tcp"]).ready();
    let line = running.line("found: \"A Printer\" (_ipp._tcp.local) at linux.local ");
    assert!(line.contains(":631"), "{line}");
    let after = publish("Another");
    let _ = running.line("found: \"Another\" (_ipp._tcp.local) at linux.local ");
    drop(after);
    let _ = running.line("gone: \"Another\" (_ipp._tcp.local)");
    assert!(!running.says("gone: \"A Printer\"", Duration::from_millis(200)));
    drop((before, running, avahi));
}
