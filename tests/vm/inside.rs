//! What is tried of hvt in a Linux of its own, which `boot` boots: there is KVM, a TAP tap0
//! with 10.0.0.1/24 and fd00::1/64, and in the root folder the tender, the command, and echo.

#![allow(clippy::unwrap_used, reason = "what is not as it should be ends it")]

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mnet_tests::{Running, burst, client, on_link, ping_pong};
use rustix::process::Signal;

mod guests;

const ECHO: &str = "/echo.hvt";

type Check = (&'static str, fn());

/// With images that take a while, most of which is waiting for the other side.
const IMAGES: [Check; 6] = [
    ("10,000 datagrams come back by the ring", by_the_ring),
    ("the command runs it on a user network", on_a_user_network),
    ("an image that ends by itself passes its status on", status),
    ("an image says where it fails", failures),
    ("what other crates have for tasks works", tasks),
    ("2,000 datagrams come back by calls", by_calls),
];

/// With many small guests, meanwhile.
const GUESTS: [Check; 4] = [
    ("a guest starts as under Solo5", guests::start_as_under_solo5),
    ("a guest's frames are sent before it ends", guests::send_all_before_they_end),
    ("blocks are read and written", guests::have_block_devices),
    ("a guest that does what it may not is refused, by name", guests::are_refused),
];

fn main() {
    thread::scope(|scope| {
        scope.spawn(|| GUESTS.into_iter().for_each(run));
        IMAGES.into_iter().for_each(run);
    });
    run(("without KVM the tender says what to do", without_kvm));
}

fn run((what, check): Check) {
    let started = Instant::now();
    check();
    println!("{what}: {:.1} s", started.elapsed().as_secs_f32());
}

fn tender(arguments: &[&str]) -> Command {
    let mut command = Command::new("/mnet-tender");
    command.args(arguments);
    command
}

/// All frames go by the ring, and there is no kick for each.
fn by_the_ring() {
    let line = echoes(&[], 5_000).line("mnet-tender: the ring: ");
    println!("{line}");
    let counts: Vec<u32> = line
        .rsplit_once(": ")
        .unwrap()
        .1
        .split(", ")
        .map(|count| count.split_once(' ').unwrap().0.parse().unwrap())
        .collect();
    let [sent, received, _, kicks] = counts[..] else { panic!("{counts:?}") };
    // Some datagrams are in several fragments.
    assert!(sent >= 10_000 && received >= 10_000, "{counts:?}");
    assert!(kicks < sent / 2, "{counts:?}");
}

fn by_calls() {
    assert!(!echoes(&["--no-net-ring"], 1_000).says("the ring", Duration::from_secs(1)));
}

/// Has echo on the TAP send back so many datagrams of mixed sizes of each family, and ends it.
fn echoes(options: &[&str], count: u32) -> Running {
    let mut command = tender(&["--net:service=tap0", "--stats"]);
    command.args(options).args([ECHO, "--ipv4=10.0.0.2/24", "--ipv6=fd00::2/64"]);
    let mut running = Running::start(&mut command);
    // That of IPv6 takes a second or two to be sure that it is nobody else's.
    for address in ["10.0.0.2/24, static", "fd00::2/64, static"] {
        let address = running.address(address);
        exchange(address, count);
        // More at once than the image has buffers for in the ring.
        (0..5).for_each(|_| burst(&client(on_link(address, 7)), 64));
    }
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code(), Some(143));
    running
}

/// Sends so many datagrams of mixed sizes, some at a time; each must come back whole.
fn exchange(address: IpAddr, count: u32) {
    const WINDOW: usize = 64;
    // Up to what a frame takes in either family, and what takes two or three.
    const SIZES: [usize; 8] = [4, 5, 64, 300, 1_000, 1_452, 1_472, 4_000];
    let socket: UdpSocket = client(on_link(address, 7));
    let datagram = |number: u32| {
        let mut datagram = vec![number as u8; SIZES[number as usize % SIZES.len()]];
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        datagram
    };
    let mut missing = HashSet::new();
    let mut received = [0; 4_001];
    for number in 0..count {
        socket.send(&datagram(number)).unwrap();
        missing.insert(number);
        let last = number + 1 == count;
        while missing.len() >= WINDOW || last && !missing.is_empty() {
            let length = socket.recv(&mut received);
            let length = length.unwrap_or_else(|error| panic!("lost {missing:?}: {error}"));
            let echoed = u32::from_be_bytes(received[..4].try_into().unwrap());
            assert!(missing.remove(&echoed), "{echoed} came back again");
            assert!(received[..length] == datagram(echoed), "{echoed} came back as another");
        }
    }
}

fn on_a_user_network() {
    const CAPTURE: &str = "/tmp/frames.pcap";
    let pcap = format!("--pcap={CAPTURE}");
    let arguments = ["run", ECHO, "--publish=127.0.0.1:0:7/udp", &pcap];
    let running = Running::start(Command::new("/cargo-mnet").args(arguments));
    let address = running.published(7);
    let mut running = running.ready();
    ping_pong(&client(address), 64, 20);
    is_confined(&running.image());
    running.signal(Signal::INT);
    assert_eq!(running.wait().code(), Some(130));
    let ports = captured(&fs::read(CAPTURE).unwrap());
    // Each way.
    assert_eq!(ports.iter().filter(|[_, to]| *to == 7).count(), 20, "{ports:?}");
    assert_eq!(ports.iter().filter(|[from, _]| *from == 7).count(), 20, "{ports:?}");
}

/// The ports of the UDP datagrams over IPv4 in a capture, of which each frame must be whole.
fn captured(capture: &[u8]) -> Vec<[u16; 2]> {
    let (header, mut records) = capture.split_at(24);
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    // Nanoseconds or microseconds; the last word says that it is Ethernet.
    assert!([0xa1b2_c3d4, 0xa1b2_3c4d].contains(&word(&header[..4])) && word(&header[20..]) == 1);
    let mut ports = Vec::new();
    while !records.is_empty() {
        let (header, rest) = records.split_at(16);
        assert_eq!(header[8..12], header[12..], "a frame is cut");
        let (frame, rest) = rest.split_at(word(&header[8..12]) as usize);
        if frame[12..14] == [8, 0] && frame[23] == 17 {
            ports.push([34, 36].map(|at| u16::from_be_bytes([frame[at], frame[at + 1]])));
        }
        records = rest;
    }
    ports
}

fn status() {
    let mut running = Running::start(&mut tender(&["--net:service=tap0", ECHO, "--port=0"]));
    let _ = running.line("--port=0");
    assert_eq!(running.wait().code(), Some(1));
}

/// Looks at the process of a guest: it has two threads, both behind seccomp, and little open.
fn is_confined(process: &str) {
    let threads: Vec<_> = fs::read_dir(format!("/proc/{process}/task")).unwrap().collect();
    assert_eq!(threads.len(), 2);
    for thread in threads {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        // One signal is the C library's own, for threads.
        for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "SigCgt:\t0000000100000000"] {
            assert!(status.contains(line), "{line} in {status}");
        }
    }
    let mut open: Vec<_> = fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().display().to_string())
        .map(|target| target.split([':', '[']).next().unwrap().to_owned())
        .collect();
    open.sort();
    // The ring's kicks, the processor and the machine; the console, and where it reports.
    let expected = ["/dev/kvm", "anon_inode", "anon_inode", "anon_inode", "pipe", "pipe", "socket"];
    assert_eq!(open, expected);
}

fn failures() {
    let run =
        |argument| Running::start(&mut tender(&["--net:service=user", "/runtime.hvt", argument]));
    let mut panicked = run("--panic");
    let _ = panicked.line("a task that panics says so");
    assert_eq!(panicked.wait().code(), Some(255));

    let mut faulted = run("--fault");
    let line = faulted.line("page fault (14) at rip 0x1");
    assert!(line.ends_with(", error code 0x0, address 0x8"), "{line}");
    for register in ["rsp 0x", "rax 0x", "r15 0x", "cs 0x8 ss 0x"] {
        let _ = faulted.line(register);
    }
    assert_eq!(faulted.wait().code(), Some(255));
}

fn tasks() {
    let mut running = Running::start(&mut tender(&["--net:service=user", "/runtime.hvt", "--try"]));
    let line = running.line("tried: ");
    assert!(line.ends_with("tried: Some((true, true)) of heap, asleep true"), "{line}");
    assert_eq!(running.wait().code(), Some(0));
}

fn without_kvm() {
    let says = |command: &mut Command, expected: &str| {
        let mut refused = Running::start(command);
        let line = refused.line("an hvt image needs KVM: ");
        assert!(line.contains(expected), "{line}");
        assert_eq!(refused.wait().code(), Some(1));
    };
    let arguments = ["--net:service=user", ECHO];
    says(
        tender(&arguments).uid(1_000),
        "/dev/kvm is forbidden to this user; add them to its group",
    );
    fs::rename("/dev/kvm", "/dev/kvm-away").unwrap();
    says(&mut tender(&arguments), "there is no /dev/kvm; load it (modprobe kvm_intel");
    fs::rename("/dev/kvm-away", "/dev/kvm").unwrap();
}
