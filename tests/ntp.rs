//! The time server, between one `chronyd` and another.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use mnet_tests::{Namespace, PATIENCE, Running, TAP, build, serve, succeed};

/// A `chronyd` that leaves the host's clock alone, with this configuration and its files in a folder.
fn chronyd(chronyd: &mut Command, folder: &Path, configuration: &str) -> Running {
    // It makes no socket in a folder that others can look into.
    fs::DirBuilder::new().mode(0o700).create(folder).unwrap();
    let file = folder.join("conf");
    let files =
        format!("pidfile {0}/pid\nbindcmdaddress {0}/socket\ncmdport 0\n", folder.display());
    fs::write(&file, files + configuration).unwrap();
    let running = Running::start(chronyd.args(["-x", "-U", "-d", "-u", "root", "-f"]).arg(&file));
    let _ = running.line("Disabled control of system clock");
    running
}

/// How far from the host's clock a server's is, in seconds, as `chronyd -Q` finds.
fn offset(chronyd: &mut Command, server: &str) -> f64 {
    let said =
        chronyd.args(["-Q", "-U", "-f", "/dev/null", "-t", "15"]).arg(server).output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr);
    let (_, wrong) = said.split_once("System clock wrong by ").unwrap_or_else(|| panic!("{said}"));
    wrong.split(' ').next().unwrap().parse().unwrap()
}

/// The value of a line of what `chronyc` prints.
fn value<'a>(said: &'a str, name: &str) -> &'a str {
    let mut lines = said.lines().filter_map(|line| line.split_once(':'));
    let line = lines.find(|(it, _)| it.trim() == name);
    line.unwrap_or_else(|| panic!("no {name} in {said}")).1.trim()
}

fn seconds(said: &str, name: &str) -> f64 {
    value(said, name).split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_line_of_its_readme_asks_a_server_and_serves_its_time() {
    let upstream = upstream(UdpSocket::bind("127.0.0.1:0").unwrap(), Duration::from_secs(1_000));
    let server = format!("--server=10.0.2.2:{}", upstream.port());
    let (running, address) = serve("ntp", 123, &[&server]);
    let _ = running.line("goes by 10.0.2.2");
    let server = format!("server 127.0.0.1 port {} iburst", address.port());
    let offset = offset(&mut Command::new("chronyd"), &server);
    assert!((offset - 1_000.0).abs() < 0.1, "{offset}");
    drop(running);
}

/// A server whose clock is so much ahead of the host's.
fn upstream(socket: UdpSocket, ahead: Duration) -> SocketAddr {
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut question = [0; 100];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            assert_eq!((length, question[0]), (48, 4 << 3 | 3));
            let time = ahead + SystemTime::UNIX_EPOCH.elapsed().unwrap();
            let seconds = (time.as_secs() + 2_208_988_800) as u32;
            let fraction = ((u64::from(time.subsec_nanos()) << 32) / 1_000_000_000) as u32;
            let time = [seconds.to_be_bytes(), fraction.to_be_bytes()].concat();
            let origin = &question[40..48];
            let head = [4 << 3 | 4, 1, 6, (-20i8).cast_unsigned()];
            let answer = [&head[..], &[0; 8], &b"GPS\0"[..], &time, origin, &time, &time].concat();
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

#[test]
fn without_a_server_the_hosts_clock_is_served() {
    let (running, address) = serve("ntp", 123, &[]);
    let server = format!("server 127.0.0.1 port {} iburst", address.port());
    let offset = offset(&mut Command::new("chronyd"), &server);
    assert!(offset.abs() < 0.1, "{offset}");
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn what_chrony_serves_is_served_one_stratum_below() {
    let namespace = Namespace::new();
    let upstream = "local stratum 5\nallow 10.0.0.0/24\nbindaddress 10.0.0.1\n";
    let folder = namespace.path("upstream");
    let upstream = chronyd(&mut namespace.command("chronyd"), &folder, upstream);
    let arguments = "--ipv4=10.0.0.2/24 --ipv6=none --server=10.0.0.1";
    let running = namespace.image(&build("ntp", "spt"), arguments).ready();
    let _ = running.line("goes by 10.0.0.1:123");

    let folder = namespace.path("client");
    let server = "port 0\nserver 10.0.0.2 iburst minpoll 2 maxpoll 2\n";
    let client = chronyd(&mut namespace.command("chronyd"), &folder, server);
    let _ = client.line("Selected source 10.0.0.2");
    let mut chronyc = namespace.command("chronyc");
    let said = succeed(chronyc.arg("-h").arg(folder.join("socket")).args(["ntpdata", "10.0.0.2"]));
    assert_eq!(value(&said, "Leap status"), "Normal");
    assert_eq!(value(&said, "Version"), "4");
    assert_eq!(value(&said, "Mode"), "Server");
    assert_eq!(value(&said, "Stratum"), "6");
    assert!(value(&said, "Reference ID").starts_with("0A000001"), "{said}");
    assert_eq!(value(&said, "Total good RX"), value(&said, "Total RX"));
    let (delay, dispersion) = (seconds(&said, "Root delay"), seconds(&said, "Root dispersion"));
    assert!(delay > 0.0 && delay < 0.1, "{said}");
    assert!(dispersion > 0.0 && dispersion < 0.1, "{said}");
    assert!(seconds(&said, "Offset").abs() < 0.05, "{said}");
    drop((client, running, upstream));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_asks_whom_dhcp_names_and_is_not_set_before_one_answers() {
    let namespace = Namespace::new();
    let leases = namespace.path("leases");
    let options = "--no-daemon --conf-file=/dev/null --port=0 --pid-file= \
                   --dhcp-range=10.0.0.100,10.0.0.200,1h --dhcp-option=42,10.0.0.1";
    let mut command = namespace.command("dnsmasq");
    command.args(options.split_whitespace()).arg(format!("--interface={TAP}"));
    let dnsmasq = Running::start(command.arg(format!("--dhcp-leasefile={}", leases.display())));
    let _ = dnsmasq.line("started");
    let running = namespace.image(&build("ntp", "spt"), "--ipv6=none");
    let address = running.address(", by DHCP");
    let running = running.ready();
    let upstream = namespace
        .inside(|| upstream(UdpSocket::bind("10.0.0.1:123").unwrap(), Duration::from_secs(60)));
    let _ = running.line(&format!("goes by {upstream}"));
    let offset = offset(&mut namespace.command("chronyd"), &format!("server {address} iburst"));
    assert!((offset - 60.0).abs() < 0.1, "{offset}");

    // Another that is told of a server, which is silent.
    drop(running);
    let arguments = "--ipv4=10.0.0.2/24 --ipv6=none --server=10.0.0.9";
    let running = namespace.image(&build("ntp", "spt"), arguments).ready();
    let answer = namespace.inside(|| {
        let client = mnet_tests::client(([10, 0, 0, 2], 123).into());
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut question = [0; 48];
        question[0] = 4 << 3 | 3;
        client.send(&question).unwrap();
        client.recv(&mut question).unwrap();
        question
    });
    assert_eq!((answer[0], answer[1]), (3 << 6 | 4 << 3 | 4, 0));
    drop((running, dnsmasq));
}
