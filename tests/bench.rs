//! The measuring image, with `iperf` and plain sockets at the other end.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::net::UdpSocket;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mnet_tests::{PATIENCE, client, ping_pong, serve, succeed};

const PORT: u16 = 5201;

/// A socket of the host, and the argument that tells the image of it.
fn peer() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = format!("--to=10.0.2.2:{}", socket.local_addr().unwrap().port());
    (socket, to)
}

/// The number before these words.
fn number(line: &str, words: &str) -> u64 {
    let (before, _) = line.split_once(words).unwrap_or_else(|| panic!("{line}"));
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_line_of_its_readme_sends_back_what_comes() {
    let (running, address) = serve("bench", PORT, &[]);
    let socket = client(address);
    for length in [1, 64, 1_400, 9_000] {
        ping_pong(&socket, length, 20);
    }
    let line = running.line("received 80 in all");
    assert!(line.ends_with(" 0 dropped"), "{line}");
    drop(running);
}

#[test]
fn a_sink_takes_and_counts_what_iperf_sends() {
    let (running, address) = serve("bench", PORT, &["--mode=sink"]);
    let port = address.port().to_string();
    let mut iperf = Command::new("iperf");
    iperf.args(["-u", "-c", "127.0.0.1", "-p", &port, "-b", "16m", "-l", "1000", "-t", "2"]);
    let said = succeed(&mut iperf);
    let line = said.lines().find(|line| line.contains("Sent ")).unwrap();
    let sent = number(line, " datagrams");
    assert!(sent > 3_000, "{said}");
    // It repeats its last a hundred times or so, for that is not answered.
    let deadline = Instant::now() + PATIENCE;
    let counted = loop {
        let line = running.line("received ");
        assert!(line.ends_with(" 0 dropped"), "{line}");
        let counted = number(&line, " in all");
        if counted >= sent {
            break counted;
        }
        assert!(Instant::now() < deadline, "{counted} of {sent}");
    };
    assert!(counted <= sent + 200, "{counted} of {sent}");
    drop(running);
}

#[test]
fn a_source_sends_as_much_and_as_fast_as_it_is_told() {
    let (socket, to) = peer();
    let arguments = ["--mode=source", &to, "--size=200", "--rate=2000", "--count=3000"];
    let (mut running, _) = serve("bench", PORT, &arguments);
    let mut datagram = [0; 300];
    let mut times = Vec::new();
    for number in 0..3_000u64 {
        let length = socket.recv(&mut datagram).unwrap();
        assert_eq!((length, &datagram[..8]), (200, &number.to_be_bytes()[..]));
        times.push(Instant::now());
    }
    let took = *times.last().unwrap() - times[0];
    assert!((Duration::from_millis(1_400)..Duration::from_secs(3)).contains(&took), "{took:?}");
    let line = running.line("done: sent 3000 datagrams");
    let rate = number(&line, " datagrams a second");
    assert!((1_000..=2_001).contains(&rate), "{line}");
    assert!(running.wait().success());
}

#[test]
fn requests_are_answered_or_counted_as_lost() {
    let (socket, to) = peer();
    let lossy = thread::spawn(move || {
        let mut datagram = [0; 300];
        for number in 0..1_000u64 {
            let (length, from) = socket.recv_from(&mut datagram).unwrap();
            assert_eq!((length, &datagram[..8]), (100, &number.to_be_bytes()[..]));
            // One in a hundred is lost, and one in two hundred answered twice.
            let answers = if number % 100 == 7 { 0 } else { 1 + u64::from(number % 200 == 11) };
            (0..answers).for_each(|_| {
                let _ = socket.send_to(&datagram[..length], from).unwrap();
            });
        }
    });
    let arguments = ["--mode=request", &to, "--size=100", "--window=20", "--count=1000"];
    let (mut running, _) = serve("bench", PORT, &arguments);
    let line = running.line("done: ");
    assert!(line.contains("done: 1000 requests, 990 answers, 10 lost, 5 stray; "), "{line}");
    let [least, median] = [" at least", " median"].map(|words| number(&line, words));
    let (most_of, most) = (number(&line, " of 99 %"), number(&line, " at most"));
    assert!(0 < least && least <= median && median <= most_of && most_of <= most, "{line}");
    assert!(running.wait().success());
    lossy.join().unwrap();
}

#[test]
fn responses_have_a_size_of_their_own_and_nothing_of_others_in_them() {
    let (running, address) = serve("bench", PORT, &["--mode=respond", "--size=1000"]);
    let socket = client(address);
    socket.send(&[0xa5; 1_400]).unwrap();
    let mut response = [0; 1_500];
    assert_eq!(socket.recv(&mut response).unwrap(), 1_000);
    assert!(response[..1_000].iter().all(|&byte| byte == 0xa5));
    for _ in 0..100 {
        socket.send(b"question").unwrap();
        assert_eq!(socket.recv(&mut response).unwrap(), 1_000);
        assert_eq!(&response[..8], b"question");
        assert!(response[8..1_000].iter().all(|&byte| byte == 0));
    }
    drop(running);
}
