//! Images that find their IPv6 addresses and routers by themselves, told by radvd and by dnsmasq.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use mnet_tests::{Capture, Namespace, PATIENCE, Running, TAP, client, on_link, ping_pong};
use rustix::process::Signal;

/// radvd on the TAP of a namespace. What it says of itself comes every three or four seconds.
struct Radvd {
    running: Running,
    configuration: PathBuf,
}

impl Radvd {
    /// Starts it with these lines in its interface's section.
    fn start(namespace: &Namespace, lines: &str) -> Self {
        namespace.forward();
        let configuration = namespace.path("radvd.conf");
        fs::write(&configuration, section(lines)).unwrap();
        let (file, pid) = (configuration.display(), namespace.path("radvd.pid"));
        let arguments = format!("-n -d1 -m stderr -C {file} -p {}", pid.display());
        let running = namespace.start("radvd", &arguments);
        Self { running, configuration }
    }

    /// Has it say something else from now on.
    fn change(&self, lines: &str) {
        fs::write(&self.configuration, section(lines)).unwrap();
        self.running.signal(Signal::HUP);
    }
}

fn section(lines: &str) -> String {
    format!(
        "interface {TAP} {{ AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; {lines} }};"
    )
}

fn prefix(prefix: &str, valid: u32, preferred: u32) -> String {
    format!(
        "prefix {prefix} {{ AdvValidLifetime {valid}; AdvPreferredLifetime {preferred}; \
         AdvAutonomous on; AdvOnLink on; }};"
    )
}

fn ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => panic!("{address} is of IPv4"),
    }
}

fn echoes(namespace: &Namespace, address: IpAddr) {
    namespace.inside(|| ping_pong(&client(on_link(address, 7)), 64, 10));
}

/// A ping from one of the namespace's addresses: whether it is answered.
fn answers(namespace: &Namespace, from: &str, address: IpAddr) -> bool {
    let mut ping = namespace.command("ping");
    let ping = ping.args(["-c1", "-W1", "-I", from]).arg(address.to_string());
    ping.output().unwrap().status.success()
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_has_an_address_of_each_prefix_that_is_advertised() {
    let namespace = Namespace::new();
    let first = prefix("fd01::/64", 3_600, 3_600);
    let radvd = Radvd::start(&namespace, &first);
    namespace.ip(&format!("addr add fd01::1/64 dev {TAP}"));
    let running = namespace.echo("--ipv4=none");
    let link_local = running.address(", link-local");
    let address = running.address(", by router advertisement");
    assert!(address.to_string().starts_with("fd01::"), "{address}");
    // The same identifier for both would tell that it is the same host (RFC 7217).
    assert_ne!(ipv6(address).segments()[4..], ipv6(link_local).segments()[4..]);
    echoes(&namespace, address);

    // Another prefix comes, another is not to make addresses from, and one is too long for that.
    let no_addresses = "prefix fd03::/64 { AdvAutonomous off; };";
    let too_long = "prefix fd04::/80 { AdvAutonomous on; };";
    let second = prefix("fd02::/64", 3_600, 3_600);
    radvd.change(&format!("{first} {second} {no_addresses} {too_long}"));
    let second = running.address("fd02:");
    namespace.ip(&format!("addr add fd02::1/64 dev {TAP}"));
    echoes(&namespace, second);
    echoes(&namespace, address);
    assert!(!running.says("fd03:", Duration::from_secs(1)));
    assert!(!running.says("fd04:", Duration::ZERO));
    drop((running, radvd));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn an_image_with_eui64_makes_its_addresses_from_its_link_layer_address() {
    let namespace = Namespace::new();
    let radvd = Radvd::start(&namespace, &prefix("fd01::/64", 3_600, 3_600));
    let running = namespace.echo("--ipv4=none --ipv6=eui64");
    let link_local = running.address(", link-local");
    let address = running.address(", by router advertisement");
    echoes(&namespace, link_local);
    let said = namespace.run("ndisc6", &format!("-1 -q {link_local} {TAP}"));
    let mac: Vec<u8> =
        said.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let id = [mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]];
    assert_eq!(ipv6(link_local).octets()[8..], id);
    assert_eq!(ipv6(address).octets()[8..], id);
    drop((running, radvd));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_answers_what_went_to_a_group_from_an_address_that_is_not_deprecated() {
    let namespace = Namespace::new();
    let first = |preferred| prefix("fd01::/64", 3_600, preferred);
    let second = prefix("fd02::/64", 3_600, 3_600);
    let radvd = Radvd::start(&namespace, &format!("{} {second}", first(3_600)));
    namespace.ip(&format!("addr add fd01::1/64 dev {TAP}"));
    let running = namespace.echo("--ipv4=none --join=ff05::1234");
    let (old, new) = (running.address("fd01:"), running.address("fd02:"));
    let answered_from = || {
        namespace.inside(|| {
            let socket = UdpSocket::bind("[fd01::1]:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send_to(b"who?", on_link("ff05::1234".parse().unwrap(), 7)).unwrap();
            socket.recv_from(&mut [0; 16]).unwrap().1.ip()
        })
    };
    // RFC 6724 §5: the longest common prefix decides,
    assert_eq!(answered_from(), old);
    // unless that address is deprecated.
    radvd.change(&format!("{} {second}", first(0)));
    let advertised = (0..40).any(|_| {
        thread::sleep(Duration::from_millis(250));
        answered_from() == new
    });
    assert!(advertised, "it still answers from {old}");
    // It is an address still.
    echoes(&namespace, old);
    drop((running, radvd));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn an_address_goes_when_its_prefix_is_no_longer_valid() {
    let namespace = Namespace::new();
    let radvd = Radvd::start(&namespace, &prefix("fd01::/64", 6, 5));
    namespace.ip(&format!("addr add fd01::1/64 dev {TAP}"));
    let running = namespace.echo("--ipv4=none");
    let address = running.address(", by router advertisement");
    // Each advertisement prolongs it.
    assert!(!running.says("is gone", Duration::from_secs(8)));
    echoes(&namespace, address);
    // It cannot say goodbye.
    radvd.running.signal(Signal::KILL);
    let gone = running.line("is gone");
    assert!(gone.contains(&address.to_string()), "{gone}");
    assert!(!answers(&namespace, "fd01::1", address));
    drop(running);
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_prefix_that_is_taken_back_at_once_stays_for_two_hours() {
    // RFC 4862 §5.5.3 e: else anybody on the link could take a host's addresses away.
    let namespace = Namespace::new();
    let radvd = Radvd::start(&namespace, &prefix("fd01::/64", 86_400, 14_400));
    namespace.ip(&format!("addr add fd01::1/64 dev {TAP}"));
    let running = namespace.echo("--ipv4=none");
    let address = running.address(", by router advertisement");
    let capture = namespace.start("tcpdump", &format!("-nvv -l --immediate-mode -i {TAP} icmp6"));
    let _ = capture.line("listening on");
    radvd.change(&prefix("fd01::/64", 0, 0));
    let _ = capture.line("fd01::/64, Flags [onlink, auto], valid time 0s");
    assert!(!running.says("is gone", Duration::from_secs(1)));
    echoes(&namespace, address);
    drop((running, radvd));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_reaches_beyond_the_link_as_long_as_there_is_a_router() {
    let (namespace, client) = (Namespace::new(), Namespace::empty());
    client.connect((&namespace, "router"), "client", 1_500);
    client.ip("addr add 2001:db8::2/64 dev router");
    namespace.ip("addr add 2001:db8::1/64 dev client");
    client.ip("-6 route add default via 2001:db8::1");
    let lines = prefix("fd01::/64", 3_600, 3_600);
    let radvd = Radvd::start(&namespace, &lines);
    namespace.ip(&format!("addr add fd01::1/64 dev {TAP}"));
    let running = namespace.echo("--ipv4=none");
    let address = running.address(", by router advertisement");
    let answers_client = || answers(&client, "2001:db8::2", address);
    assert!(answers_client());
    client.inside(|| ping_pong(&mnet_tests::client(SocketAddr::new(address, 7)), 64, 100));

    // In the end radvd says that it is a router no longer.
    drop(radvd);
    let noticed = (0..5).any(|_| !answers_client());
    assert!(noticed, "there is no router");
    assert!(answers(&namespace, "fd01::1", address));

    let radvd = Radvd::start(&namespace, &lines);
    let noticed = (0..20).any(|_| answers_client());
    assert!(noticed, "there is a router again");
    drop((running, radvd));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn of_two_routers_it_takes_the_one_that_is_preferred() {
    // Both are this namespace: what matters is to which of its cards the image sends.
    let namespace = Namespace::new();
    namespace.ip("link add br0 type bridge mcast_snooping 0");
    namespace.ip(&format!("link set {TAP} master br0"));
    namespace.ip("link set br0 up");
    let (high, low) = (Namespace::empty(), Namespace::empty());
    for (number, (router, preference)) in [(&low, "low"), (&high, "high")].into_iter().enumerate() {
        router.connect((&namespace, TAP), preference, 1_500);
        namespace.ip(&format!("link set {preference} master br0"));
        router.ip(&format!("addr add fd01::{}/64 dev {TAP}", number + 1));
        // The client is behind either.
        router.ip("addr add 2001:db8::1/128 dev lo");
        router.ip(&format!("addr add fe80::1{number}/64 dev {TAP}"));
        router.ip(&format!("addr del fe80::1/64 dev {TAP}"));
    }
    let lines = |preference: &str| {
        format!("AdvDefaultPreference {preference}; {}", prefix("fd01::/64", 3_600, 3_600))
    };
    let _low = Radvd::start(&low, &lines("low"));
    let running = namespace.echo("--ipv4=none");
    let address = running.address(", by router advertisement");
    let from = "2001:db8::1";
    low.ip(&format!("-6 route replace {address}/128 dev {TAP} src {from}"));
    high.ip(&format!("-6 route replace {address}/128 dev {TAP} src {from}"));
    assert!(answers(&low, from, address));
    let high_radvd = Radvd::start(&high, &lines("high"));
    let noticed = (0..10).any(|_| answers(&high, from, address));
    assert!(noticed, "the preferred one is not taken");
    assert!(!answers(&low, from, address));
    drop((running, high_radvd));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_keeps_to_the_mtu_that_a_router_tells() {
    let namespace = Namespace::new();
    let lines = format!("AdvLinkMTU 1400; {}", prefix("fd01::/64", 3_600, 3_600));
    let radvd = Radvd::start(&namespace, &lines);
    namespace.ip(&format!("addr add fd01::1/64 dev {TAP}"));
    let running = namespace.echo("--ipv4=10.0.0.2/24");
    let address = running.address(", by router advertisement");
    let capture = Capture::start(&namespace, "ip6");
    namespace.inside(|| {
        let socket = client(SocketAddr::new(address, 7));
        [1_352, 1_353, 1_452, 4_000, 65_527].iter().for_each(|&size| ping_pong(&socket, size, 3));
    });
    let lines = capture.finish();
    let lengths: Vec<u32> = lines
        .iter()
        .filter_map(|line| line.split("ethertype IPv6 (0x86dd), length ").nth(1))
        .map(|rest| rest.split(':').next().unwrap().parse().unwrap())
        .collect();
    // An Ethernet header is 14 bytes.
    assert!(lengths.contains(&1_414), "no full packet: {lengths:?}");
    assert!(lengths.iter().all(|&length| length <= 1_414), "{lengths:?}");
    // Of IPv4 it says nothing.
    let capture = Capture::start(&namespace, "udp");
    namespace.inside(|| ping_pong(&client("10.0.0.2:7".parse().unwrap()), 1_472, 3));
    let _ = capture.line("length 1514:");
    drop((running, radvd));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_hears_dnsmasqs_advertisements_too() {
    let namespace = Namespace::new();
    namespace.forward();
    namespace.ip(&format!("addr add fd05::1/64 dev {TAP}"));
    let dnsmasq = namespace.start(
        "dnsmasq",
        &format!(
            "-k --conf-file=/dev/null --port=0 --user=root --log-facility=- --pid-file= \
             --interface={TAP} --enable-ra --dhcp-range=fd05::,ra-only \
             --dhcp-leasefile={}",
            namespace.path("leases").display()
        ),
    );
    let running = namespace.echo("--ipv4=none");
    let address = running.address("fd05:");
    echoes(&namespace, address);
    drop((running, dnsmasq));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn without_a_router_it_has_its_link_local_address_alone() {
    let namespace = Namespace::new();
    let running = namespace.echo("--ipv4=none");
    let address = running.address(", link-local").to_string();
    let running = running.ready();
    let said = namespace.run("ping", &format!("-c2 -i0.1 {address}%{TAP}"));
    assert!(said.contains("2 received"), "{said}");
    drop(running);
}
