//! Captures are read back by programs that know the format.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::cell::RefCell;
use std::io::{self, Write};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use mnet_proto::Config;
use netsim::{Link, Network};

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A link and a host, captured: the host asks, gets an answer, and sends two datagrams of which
/// the second is lost.
fn captures() -> (Vec<u8>, Vec<u8>) {
    let mut net = Network::new(1);
    let lan = net.link(Link { delay: Duration::from_millis(5), ..Link::default() });
    let a = net.host(lan, &Config::new("10.0.0.1/24".parse().unwrap()).without_ipv6()).unwrap();
    let b = net.host(lan, &Config::new("10.0.0.2/24".parse().unwrap()).without_ipv6()).unwrap();
    net.bind(b, 7).unwrap();
    // Until they have claimed their addresses.
    net.run_for(Duration::from_secs(10));
    let (of_link, of_host) = (Shared::default(), Shared::default());
    net.capture_link(lan, of_link.clone()).unwrap();
    net.capture_host(b, of_host.clone()).unwrap();
    net.send(a, 5_000, ([10, 0, 0, 2], 7), b"hello").unwrap();
    net.run_for(Duration::from_secs(1));
    net.link_mut(lan).faults.loss = 1.0;
    net.send(a, 5_000, ([10, 0, 0, 2], 7), b"lost").unwrap();
    net.run_for(Duration::from_secs(1));
    net.finish_captures().unwrap();
    (of_link.0.take(), of_host.0.take())
}

/// The frames in a capture, and the time of each in nanoseconds.
fn read(capture: &[u8]) -> Vec<(u64, &[u8])> {
    let number = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap());
    assert_eq!((number(0), number(20)), (0xa1b2_3c4d, 1));
    let mut frames = Vec::new();
    let mut at = 24;
    while at < capture.len() {
        let len = number(at + 8) as usize;
        assert_eq!(number(at + 12) as usize, len);
        let time = u64::from(number(at)) * 1_000_000_000 + u64::from(number(at + 4));
        frames.push((time, &capture[at + 16..at + 16 + len]));
        at += 16 + len;
    }
    frames
}

#[test]
fn etherparse_reads_what_passed_and_when() {
    let (of_link, of_host) = captures();
    let frames = read(&of_link);
    let times: Vec<_> = frames.iter().map(|(time, _)| time / 1_000_000).collect();
    assert_eq!(times, [10_000, 10_005, 10_010, 11_000]);
    for (number, payload) in [(2, &b"hello"[..]), (3, b"lost")] {
        let packet = SlicedPacket::from_ethernet(frames[number].1).unwrap();
        let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("no IPv4") };
        assert_eq!(ip.header().destination(), [10, 0, 0, 2]);
        let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
        assert_eq!((udp.destination_port(), udp.payload()), (7, payload));
    }
    // The host has not seen the last one, and the others when they came to it or left it.
    let times: Vec<_> = read(&of_host).iter().map(|(time, _)| time / 1_000_000).collect();
    assert_eq!(times, [10_005, 10_005, 10_015]);
}

#[test]
fn tcpdump_reads_it_too() {
    let path = std::env::temp_dir().join(format!("netsim-{}.pcap", std::process::id()));
    std::fs::write(&path, captures().0).unwrap();
    let output = Command::new("tcpdump").args(["-n", "--nano", "-tt", "-r"]).arg(&path).output();
    std::fs::remove_file(&path).unwrap();
    // Where it is not installed, etherparse has to do.
    let Ok(output) = output else { return };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("10.000000000 ARP, Request who-has 10.0.0.2 tell 10.0.0.1"), "{text}");
    assert!(text.contains("10.010000000 IP 10.0.0.1.5000 > 10.0.0.2.7: UDP, length 5"), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn a_capture_that_is_not_whole_is_told_of() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut net = Network::new(1);
    let lan = net.link(Link::default());
    assert!(net.capture_link(lan, Full(10)).is_err());
    net.capture_link(lan, Full(100)).unwrap();
    net.inject(lan, &[0xff; 60]);
    net.inject(lan, &[0xff; 60]);
    assert_eq!(net.finish_captures().unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(net.finish_captures().is_ok());
}
