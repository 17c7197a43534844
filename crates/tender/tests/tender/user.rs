//! The `user` network: an image on one side, ordinary sockets of the host on the other.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use rustix::net::sockopt;
use solo5_abi::Entry;

use crate::guest::{
    Arg, Code, DATA, EPOLL, Running, SCRATCH, device, output, reflect, temporary, wait,
};

use Arg::{At, Value};

const GATEWAY_MAC: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];

/// An image that echoes, with these ports published.
fn echo(publish: &[&str]) -> (Running, crate::guest::Image) {
    let image = reflect();
    let publish: Vec<_> = publish.iter().map(|port| format!("--publish={port}")).collect();
    let mut options = vec!["--net:service=user"];
    options.extend(publish.iter().map(String::as_str));
    (Running::start(image.tender(&options, &[]), publish.len()), image)
}

/// A socket that takes datagrams from this address alone.
fn client(to: impl Into<SocketAddr>) -> UdpSocket {
    let to = to.into();
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.connect(to).unwrap();
    socket
}

/// A datagram's worth of bytes that tell it from others.
fn payload(number: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| (number * 7 + at) as u8).collect()
}

#[test]
fn every_size_comes_back_whole_from_the_port_that_was_asked() {
    let (running, _image) = echo(&["0:7"]);
    let client = client(running.published[0]);
    let mut buffer = [0; 2048];
    for size in [0, 1, 2, 64, 1471, 1472] {
        for number in 0..300 {
            let sent = payload(number, size);
            client.send(&sent).unwrap();
            let length = client.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..length], sent, "{size} bytes");
        }
    }
}

#[test]
fn bursts_of_large_datagrams_are_all_answered_in_order() {
    let (running, _image) = echo(&["0:7"]);
    let client = client(running.published[0]);
    // Each takes less than 4 KiB of what the host gives a socket of this user.
    sockopt::set_socket_recv_buffer_size(&client, 1 << 20).unwrap();
    let burst = 200.min(sockopt::socket_recv_buffer_size(&client).unwrap() >> 12);
    let mut buffer = [0; 2048];
    for _ in 0..10 {
        for number in 0..burst {
            client.send(&payload(number, 1472)).unwrap();
        }
        for number in 0..burst {
            let length = client.recv(&mut buffer).unwrap();
            assert!(buffer[..length] == payload(number, 1472), "datagram {number}");
        }
    }
}

#[test]
fn each_of_several_peers_gets_its_own_answers() {
    let (running, _image) = echo(&["0:7", "0:7", "[::1]:0:9"]);
    let clients: Vec<_> = (0..24).map(|number| client(running.published[number % 3])).collect();
    let mut buffer = [0; 2048];
    for round in 0..20 {
        for (number, client) in clients.iter().enumerate() {
            client.send(&payload(round * 100 + number, 100)).unwrap();
        }
        for (number, client) in clients.iter().enumerate() {
            let length = client.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..length], payload(round * 100 + number, 100));
        }
    }
}

#[test]
fn a_port_on_all_addresses_answers_from_the_one_that_was_asked() {
    let (running, _image) = echo(&["0.0.0.0:0:7", "[::]:0:7"]);
    for (address, published) in [("127.0.0.1", 0), ("127.0.0.2", 0), ("::1", 1)] {
        let address: IpAddr = address.parse().unwrap();
        let client = client((address, running.published[published].port()));
        client.send(b"hello").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(client.recv(&mut buffer).unwrap(), 5, "{address}");
    }
}

/// A frame from the image to the host's loopback address.
fn frame(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], GATEWAY_MAC)
        .ipv4([10, 0, 2, 15], [10, 0, 2, 2], 64)
        .udp(4000, port)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

#[test]
fn an_image_asks_the_host_and_gets_the_answer() {
    let host = UdpSocket::bind("127.0.0.1:0").unwrap();
    host.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let question = frame(host.local_addr().unwrap().port(), b"question");
    let (net, scratch) = (At(device(1)), Value(SCRATCH));
    let size = Value(question.len() as u64);
    let image = Code::default()
        .call(1, &[net, Value(DATA), size])
        .call(281, &[At(EPOLL), scratch, Value(1), Value(u64::MAX), Value(0)])
        .call(0, &[net, scratch, Value(2048)])
        // The first byte of the answer, behind 42 bytes of headers.
        .exit_with(SCRATCH + 42)
        .data(&question)
        .image(&[Entry::net("service")]);
    let running = image.tender(&["--net:service=user"], &[]).spawn().unwrap();

    let mut buffer = [0; 16];
    let (length, from) = host.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"question");
    host.send_to(&[99, 0, 0, 0], from).unwrap();
    assert_eq!(wait(running).status, 99);
}

#[test]
fn an_image_is_told_of_a_host_that_refuses() {
    for ipv6 in [false, true] {
        let host = if ipv6 { "[::1]:0" } else { "127.0.0.1:0" };
        let closed = UdpSocket::bind(host).unwrap().local_addr().unwrap().port();
        let make = if ipv6 { frame_v6 } else { frame };
        let question = make(closed, b"anybody there?");
        let (net, scratch) = (At(device(1)), Value(SCRATCH));
        let image = Code::default()
            .call(1, &[net, Value(DATA), Value(question.len() as u64)])
            .call(281, &[At(EPOLL), scratch, Value(1), Value(u64::MAX), Value(0)])
            .call(0, &[net, scratch, Value(2048)])
            // The type of the ICMP message.
            .exit_with(SCRATCH + if ipv6 { 54 } else { 34 })
            .data(&question)
            .image(&[Entry::net("service")]);
        let ended = image.run(&["--net:service=user"]);
        let unreachable = if ipv6 { 1 } else { 3 };
        assert_eq!((ended.status, &*ended.stderr), (unreachable, ""));
    }
}

#[test]
fn a_peer_that_is_gone_stops_no_other() {
    let (running, _image) = echo(&["0:7"]);
    let friend = client(running.published[0]);
    let mut buffer = [0; 16];
    for number in 0..100 {
        // It is gone before the answer comes, which the host then refuses.
        client(running.published[0]).send(b"bye").unwrap();
        friend.send(&[number]).unwrap();
        assert_eq!((friend.recv(&mut buffer).unwrap(), buffer[0]), (1, number));
    }
}

#[test]
fn a_datagram_longer_than_a_frame_leaves_whole() {
    let host = UdpSocket::bind("127.0.0.1:0").unwrap();
    host.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // An IPv4 packet without its Ethernet header, to be cut after 1,000 bytes of its payload.
    let sent = payload(1, 1400);
    let whole = frame(host.local_addr().unwrap().port(), &sent);
    let part = |from: usize, to: usize, flags: u16| {
        let mut part = whole[..34].to_vec();
        part.extend(&whole[34 + from..34 + to]);
        part[16..18].copy_from_slice(&(20 + to as u16 - from as u16).to_be_bytes());
        part[20..22].copy_from_slice(&((from as u16 / 8) | flags).to_be_bytes());
        part[24..26].fill(0);
        let words = part[14..34].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
        let sum: u32 = words.sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        part[24..26].copy_from_slice(&(!(sum as u16 + (sum >> 16) as u16)).to_be_bytes());
        part
    };
    let (first, second) = (part(0, 1000, 0x2000), part(1000, 1408, 0));
    let send = |code: Code, at: usize, len: usize| {
        code.call(1, &[At(device(1)), Value(DATA + at as u64), Value(len as u64)])
    };
    let code = send(Code::default(), first.len(), second.len());
    let image = send(code, 0, first.len())
        .exit(0)
        .data(&[first, second].concat())
        .image(&[Entry::net("service")]);
    let ended = image.run(&["--net:service=user"]);
    assert_eq!((ended.status, &*ended.stderr), (0, ""));
    let mut buffer = [0; 2048];
    let length = host.recv(&mut buffer).unwrap();
    assert!(buffer[..length] == sent);
}

/// A frame from the image to the host's loopback address, over IPv6.
fn frame_v6(port: u16, payload: &[u8]) -> Vec<u8> {
    let address = |last| Ipv6Addr::new(0xfd00, 0x10, 2, 0, 0, 0, 0, last).octets();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], GATEWAY_MAC)
        .ipv6(address(0xabcd), address(2), 64)
        .udp(4000, port)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

#[test]
fn an_image_asks_the_host_over_ipv6_and_is_asked() {
    let host = UdpSocket::bind("[::1]:0").unwrap();
    host.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let question = frame_v6(host.local_addr().unwrap().port(), b"question");
    let (net, scratch) = (At(device(1)), Value(SCRATCH));
    let size = Value(question.len() as u64);
    let wait_and_read = |code: Code| {
        code.call(281, &[At(EPOLL), scratch, Value(1), Value(u64::MAX), Value(0)])
            .call(0, &[net, scratch, Value(2048)])
    };
    let code = Code::default().call(1, &[net, Value(DATA), size]);
    // The answer; then what introduces the gateway, and the datagram behind that.
    let image = (0..3)
        .fold(code, |code, _| wait_and_read(code))
        // Its first byte, behind 62 bytes of headers.
        .exit_with(SCRATCH + 62)
        .data(&question)
        .image(&[Entry::net("service")]);
    let options = ["--net:service=user", "--publish=[::1]:0:7"];
    let mut running = Running::start(image.tender(&options, &[]), 1);

    let mut buffer = [0; 16];
    let (length, from) = host.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"question");
    host.send_to(&[1], from).unwrap();
    client(running.published[0]).send(&[77]).unwrap();
    assert_eq!(running.child.wait().unwrap().code(), Some(77));
}

#[test]
fn what_an_image_sends_right_before_its_end_still_arrives() {
    let host = UdpSocket::bind("127.0.0.1:0").unwrap();
    host.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let last = frame(host.local_addr().unwrap().port(), b"last words");
    let send = [At(device(1)), Value(DATA), Value(last.len() as u64)];
    let image = Code::default().call(1, &send).exit(0).data(&last).image(&[Entry::net("service")]);
    assert_eq!(image.run(&["--net:service=user"]).status, 0);
    let mut buffer = [0; 16];
    let length = host.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"last words");
}

#[test]
fn the_tender_says_which_ports_it_publishes_and_what_it_dropped_unless_it_is_quiet() {
    let mut wrong = frame(7, b"payload");
    wrong[42] = b'P';
    let send = [At(device(1)), Value(DATA), Value(wrong.len() as u64)];
    let image = Code::default().call(1, &send).exit(0).data(&wrong).image(&[Entry::net("service")]);

    let said = image.run(&["--net:service=user", "--publish=0:7/udp"]).stderr;
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with("mnet-tender: 127.0.0.1:"), "{said}");
    assert!(lines[0].ends_with("/udp -> service port 7"), "{said}");
    assert_eq!(lines[1..], ["mnet-tender: the network service dropped 1 wrong UDP checksums"]);
    let quiet = image.run(&["--net:service=user", "--publish=0:7/udp", "--quiet"]);
    assert_eq!((quiet.status, &*quiet.stderr), (0, ""));
}

/// The frames of a file that tcpdump reads.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let (header, mut rest) = bytes.split_at(24);
    assert_eq!(header[..4], 0xa1b2_c3d4_u32.to_ne_bytes());
    let mut frames = Vec::new();
    // The last may not be whole yet.
    while rest.len() >= 16 {
        let length = u32::from_ne_bytes(rest[8..12].try_into().unwrap()) as usize;
        let Some(frame) = rest.get(16..16 + length) else { break };
        frames.push(frame.to_vec());
        rest = &rest[16 + length..];
    }
    frames
}

#[test]
fn what_passes_is_in_the_capture_while_it_runs() {
    let capture = temporary("pcap");
    let image = reflect();
    let pcap = format!("--pcap:service={}", capture.display());
    let options = ["--net:service=user", "--publish=0:7", &pcap];
    let running = Running::start(image.tender(&options, &[]), 1);
    let client = client(running.published[0]);
    let mut buffer = [0; 16];
    client.send(b"hello").unwrap();
    client.recv(&mut buffer).unwrap();
    // The datagram and its answer, among what introduces the gateway. The answer is written as soon
    // as it is sent.
    let deadline = Instant::now() + Duration::from_secs(5);
    let datagrams = loop {
        let mut datagrams = frames(&capture);
        datagrams.retain(|frame| frame.ends_with(b"hello"));
        if datagrams.len() > 1 {
            break datagrams;
        }
        assert!(Instant::now() < deadline, "{datagrams:?}");
    };
    let [asked, answered] = &datagrams[..] else { panic!("{datagrams:?}") };
    assert_eq!((&asked[6..12], &asked[6..12]), (&GATEWAY_MAC[..], &answered[..6]));
    drop(running);
    fs::remove_file(capture).unwrap();
}

#[test]
fn an_image_that_does_not_read_loses_what_there_is_no_room_for_and_nothing_else_breaks() {
    let image = crate::guest::spin().image(&[Entry::net("service")]);
    let options = ["--net:service=user", "--publish=0:7"];
    let mut running = Running::start(image.tender(&options, &[]), 1);
    let client = client(running.published[0]);
    for number in 0..20_000 {
        client.send(&payload(number, 1472)).unwrap();
    }
    running.signal(libc::SIGTERM);
    let ended = running.child.wait().unwrap();
    let mut said = String::new();
    running.child.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((ended.code(), &*said), (Some(143), "mnet-tender: interrupted\n"));
}

#[test]
fn a_port_that_is_published_is_free_again_when_the_image_has_ended() {
    let port = {
        let (running, _image) = echo(&["0:7"]);
        running.published[0].port()
    };
    let image = Code::default().exit(0).image(&[Entry::net("service")]);
    let publish = format!("--publish={port}:7");
    let again = output(image.tender(&["--net:service=user", &publish, "--quiet"], &[]));
    assert_eq!((again.status, &*again.stderr), (0, ""));
}
