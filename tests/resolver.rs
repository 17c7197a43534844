//! The caching resolver, between `dig` and `dnsmasq`.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use mnet_tests::{Namespace, Running, TAP, build, serve, succeed};

/// What `dnsmasq` knows.
const RECORDS: [&str; 5] = [
    "--host-record=www.test,192.0.2.80,2001:db8::80,60",
    "--cname=web.test,www.test,40",
    "--txt-record=text.test,in a record",
    "--local=/test/",
    "--local-ttl=60",
];

/// What `dig` says of a question.
fn dig(dig: &mut Command, question: &str) -> String {
    dig.args(["+tries=1", "+timeout=12", "+nostats", "+nocmd"]);
    succeed(dig.args(question.split(' ')))
}

/// The TTL of the only answer.
fn ttl(said: &str) -> u32 {
    let answer = said.split_once(";; ANSWER SECTION:\n").unwrap().1.lines().next().unwrap();
    answer.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_line_of_its_readme_asks_the_server_that_it_is_given() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq.args([
        "--no-daemon",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--pid-file=",
    ]);
    dnsmasq.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--log-queries"]);
    let dnsmasq = Running::start(dnsmasq.arg(format!("--port={free}")).args(RECORDS));
    let _ = dnsmasq.line("started");
    let (resolver, address) = serve("resolver", 53, &[&format!("--server=10.0.2.2:{free}")]);
    let port = address.port().to_string();
    let ask = |question: &str| dig(Command::new("dig").args(["@127.0.0.1", "-p", &port]), question);

    assert_eq!(ask("+short www.test"), "192.0.2.80\n");
    assert_eq!(ask("+short www.test AAAA"), "2001:db8::80\n");
    assert_eq!(ask("+short web.test"), "www.test.\n192.0.2.80\n");
    assert_eq!(ask("+short text.test TXT"), "\"in a record\"\n");
    assert!(ask("nonesuch.test").contains("status: NXDOMAIN"));
    assert!(ask("www.test MX").contains("status: NOERROR, id: "));
    assert!(ask("+norecurse www.test").contains("status: REFUSED"));
    // Asked again, the answer comes from here: `dnsmasq` hears of it once.
    let _ = dnsmasq.line("query[A] www.test from 127.0.0.1");
    let again = ask("www.test");
    assert!(again.contains("flags: qr rd ra;"), "{again}");
    assert!(ttl(&again) <= 60);
    assert!(!dnsmasq.says("query[A] www.test", Duration::from_millis(200)));
    drop((resolver, dnsmasq));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_asks_whom_dhcp_names_and_counts_ttls_down() {
    let namespace = Namespace::new();
    let options = format!(
        "--no-daemon --conf-file=/dev/null --no-resolv --no-hosts --pid-file= --interface={TAP}"
    );
    let leases = namespace.path("leases");
    let range = "--dhcp-range=10.0.0.100,10.0.0.200,1h --dhcp-option=6,10.0.0.1 --log-queries";
    let mut command = namespace.command("dnsmasq");
    command.args(options.split(' ')).args(range.split(' ')).args(RECORDS);
    let dnsmasq = Running::start(command.arg(format!("--dhcp-leasefile={}", leases.display())));
    let _ = dnsmasq.line("started");
    let running = namespace.image(&build("resolver", "spt"), "--ipv6=none");
    let address = running.address(", by DHCP");
    let running = running.ready();
    let server = format!("@{address}");
    let ask = |question: &str| dig(namespace.command("dig").arg(&server), question);

    let first = ttl(&ask("www.test"));
    thread::sleep(Duration::from_millis(2_100));
    let later = ttl(&ask("www.test"));
    assert!((2..=3).contains(&(first - later)), "{first} {later}");
    let _ = dnsmasq.line("query[A] www.test");
    assert!(!dnsmasq.says("query[A] www.test", Duration::from_millis(200)));
    drop((running, dnsmasq));
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_server_that_is_silent_is_passed_over_and_forged_answers_too() {
    let namespace = Namespace::new();
    namespace.ip(&format!("addr add 10.0.0.9/24 dev {TAP}"));
    // One server hears and says nothing; another first says what nobody asked.
    let (silent, forger, stranger) = namespace.inside(|| {
        let bind = |address: &str| UdpSocket::bind(address).unwrap();
        (bind("10.0.0.1:53"), bind("10.0.0.9:53"), bind("10.0.0.9:54"))
    });
    let arguments = "--ipv4=10.0.0.2/24 --ipv6=none --server=10.0.0.1 --server=10.0.0.9";
    let running = namespace.image(&build("resolver", "spt"), arguments).ready();
    let answers = thread::spawn(move || {
        let mut question = [0; 1_500];
        forger.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let (length, from): (usize, SocketAddr) = forger.recv_from(&mut question).unwrap();
        let question = &question[..length];
        // An A record behind the question, which is as far as the additional OPT record.
        let end = 12 + question[12..].iter().position(|&byte| byte == 0).unwrap() + 5;
        let answer = |id_change: u8, last: u8| {
            let mut answer = question[..end].to_vec();
            answer[0] ^= id_change;
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            answer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last]);
            answer
        };
        forger.send_to(&answer(0xff, 66), from).unwrap();
        stranger.send_to(&answer(0, 67), from).unwrap();
        forger.send_to(&answer(0, 1), from).unwrap();
    });
    let said = dig(namespace.command("dig").arg("@10.0.0.2"), "+short x.test");
    assert_eq!(said, "192.0.2.1\n");
    answers.join().unwrap();
    let mut heard = [0; 1_500];
    assert!(silent.recv(&mut heard).unwrap() > 12);
    // Nobody answers any more.
    drop((silent, running));
}
