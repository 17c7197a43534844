//! The collector, sent to by `cadence`, and by `nc` as its README says.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use cadence::prelude::*;
use cadence::{BufferedUdpMetricSink, StatsdClient, UdpMetricSink};
use mnet_tests::{client, serve_ports};

const SENDERS: u32 = 32;
/// Of each.
const DATAGRAMS: u32 = 1_000;
/// Datagrams in a second of all together.
const RATE: u32 = 10_000;

/// What is said of a question, on one page or several.
fn ask(to: SocketAddr, question: &str) -> BTreeMap<String, String> {
    let socket = client(to);
    let (mut all, mut page) = (BTreeMap::new(), vec![0; 1_500]);
    let mut next = question.to_owned();
    loop {
        socket.send(next.as_bytes()).unwrap();
        let length = socket.recv(&mut page).unwrap();
        assert!(length <= 1_232);
        for line in std::str::from_utf8(&page[..length]).unwrap().lines() {
            match line.split_once(' ') {
                None => {
                    assert_eq!(line, "END");
                    return all;
                }
                Some(("MORE", name)) => next = format!("{question} {name}"),
                Some((name, value)) => {
                    assert_eq!(all.insert(name.into(), value.into()), None, "{name} twice");
                }
            }
        }
    }
}

/// Waits until as many datagrams have come as were sent, or no more come.
fn settled(to: SocketAddr, sent: u32) -> BTreeMap<String, String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let stats = ask(to, "stats");
        if stats["datagrams"] == sent.to_string() || Instant::now() > deadline {
            return stats;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_is_sent_is_counted_and_told() {
    let (running, addresses) = serve_ports("statsd", &[8125, 8126], &[]);
    let [collect, questions] = addresses[..] else { panic!("{addresses:?}") };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = StatsdClient::from_sink("app", UdpMetricSink::from(collect, socket).unwrap());
    for millis in [20, 30, 10] {
        client.count("visits", 2).unwrap();
        client.gauge("load", millis).unwrap();
        client.time("query", millis).unwrap();
    }
    client.count_with_tags("visits", 1).with_tag("host", "a").try_send().unwrap();
    let bad = UdpSocket::bind("127.0.0.1:0").unwrap();
    bad.send_to(b"app.visits:1|c\nmalformed\n", collect).unwrap();
    let stats = settled(questions, 11);
    assert_eq!((&*stats["lines"], &*stats["malformed"]), ("11", "1"), "{stats:?}");
    assert_eq!(ask(questions, "counters"), [("app.visits".into(), "8".into())].into());
    assert_eq!(ask(questions, "gauges"), [("app.load".into(), "10".into())].into());
    let timer = "count=3 sum=60 min=10 max=30".to_owned();
    assert_eq!(ask(questions, "timers"), [("app.query".into(), timer)].into());
    drop(running);
}

#[test]
fn of_many_senders_nothing_is_lost_at_ten_thousand_datagrams_a_second() {
    let (running, addresses) = serve_ports("statsd", &[8125, 8126], &[]);
    let [collect, questions] = addresses[..] else { panic!("{addresses:?}") };
    let ready = Barrier::new(SENDERS as usize);
    let started = Instant::now();
    thread::scope(|scope| {
        for number in 0..SENDERS {
            let ready = &ready;
            scope.spawn(move || {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let sink = UdpMetricSink::from(collect, socket).unwrap();
                let client = StatsdClient::from_sink(&format!("sender.{number:02}"), sink);
                ready.wait();
                let start = Instant::now();
                for sent in 0..DATAGRAMS {
                    client.count("all", i64::from(sent)).unwrap();
                    let due = start + Duration::from_secs(1) * (sent + 1) * SENDERS / RATE;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            });
        }
    });
    let took = started.elapsed();
    let stats = settled(questions, SENDERS * DATAGRAMS);
    println!("{} datagrams in {took:?}: {stats:?}", SENDERS * DATAGRAMS);
    let sent = (SENDERS * DATAGRAMS).to_string();
    assert_eq!((&*stats["datagrams"], &*stats["dropped"]), (&*sent, "0"), "{stats:?}");
    let sum = (0..DATAGRAMS).sum::<u32>().to_string();
    let expected = (0..SENDERS).map(|number| (format!("sender.{number:02}.all"), sum.clone()));
    assert_eq!(ask(questions, "counters"), expected.collect());
    // No slower than that, or it would be no such rate.
    assert!(took < Duration::from_secs(1) * SENDERS * DATAGRAMS / RATE * 2, "{took:?}");
    drop(running);
}

#[test]
fn many_lines_in_a_datagram_and_many_names_are_told_on_many_pages() {
    let (running, addresses) = serve_ports("statsd", &[8125, 8126], &[]);
    let [collect, questions] = addresses[..] else { panic!("{addresses:?}") };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sink = BufferedUdpMetricSink::from(collect, socket).unwrap();
    let client = StatsdClient::from_sink("app", sink);
    let mut expected = BTreeMap::new();
    for number in 0..1_000 {
        client.count(&format!("name.{number}"), number).unwrap();
        expected.insert(format!("app.name.{number}"), number.to_string());
        // Some thirty of them are in one datagram.
        if number % 100 == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    client.flush().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while ask(questions, "stats")["lines"] != "1000" && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask(questions, "counters"), expected);
    drop(running);
}
