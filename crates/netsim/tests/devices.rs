//! Devices in memory, and devices that wrap devices.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use etherparse::PacketBuilder;
use netdev::{Device, Gone, Instant, Packet, Pool};
use netsim::device::{Faulty, Pcap, Plug, Summary, Trace, pair};
use netsim::{Faults, Link, Network};

fn frame(pool: &Pool, bytes: &[u8]) -> Packet {
    let mut packet = pool.take().unwrap();
    packet.append(bytes.len()).unwrap().copy_from_slice(bytes);
    packet
}

fn send(device: &mut impl Device, pool: &Pool, frames: &[&[u8]]) {
    let mut frames: VecDeque<_> = frames.iter().map(|bytes| frame(pool, bytes)).collect();
    device.transmit(&mut frames).unwrap();
    assert!(frames.is_empty());
}

/// All that a device has received, in batches of at most `limit`.
fn receive(device: &mut impl Device, pool: &Pool, limit: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let before = all.len();
        let mut take = |frame: Packet| all.push(frame.bytes().to_vec());
        let received = device.receive(pool, limit, &mut take).unwrap();
        assert!(all.len() - before <= limit && received.dropped == 0);
        if received.drained {
            return all;
        }
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_one_plug_sends_the_other_receives() {
    let pool = Pool::new(16, 2_048);
    let (mut a, mut b, _cable) = pair(1_500);
    assert_eq!((a.mtu(), a.mac() == b.mac()), (1_500, false));
    send(&mut a, &pool, &[b"one", b"two"]);
    send(&mut b, &pool, &[b"three"]);
    assert_eq!(receive(&mut b, &pool, 1), [b"one", b"two"]);
    assert_eq!(receive(&mut a, &pool, 64), [b"three"]);

    // Without a packet to put it in, a frame is dropped, and counted.
    let mut frames = VecDeque::new();
    (0..20).for_each(|_| a.push(b"flood"));
    let received = b.receive(&pool, 64, &mut |frame| frames.push_back(frame)).unwrap();
    assert_eq!((frames.len(), received.dropped), (14, 6));
}

#[test]
fn who_waits_is_woken_when_there_is_something_to_do() {
    let pool = Pool::new(16, 2_048);
    let (mut a, mut b, cable) = pair(1_500);
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let cx = &mut Context::from_waker(&waker);
    let woken = || count.0.swap(0, Ordering::Relaxed);

    assert!(b.poll_receive(cx).is_pending());
    a.push(b"x");
    assert_eq!(woken(), 1);
    assert!(b.poll_receive(cx).is_ready());

    cable.set_stuck(true);
    assert!(a.poll_transmit(cx).is_pending());
    let mut frames = VecDeque::from([frame(&pool, b"y")]);
    a.transmit(&mut frames).unwrap();
    assert_eq!(frames.len(), 1);
    cable.set_stuck(false);
    assert_eq!(woken(), 1);
    assert!(a.poll_transmit(cx).is_ready());

    assert!(a.poll_receive(cx).is_pending());
    cable.cut();
    assert_eq!(woken(), 1);
    assert_eq!(a.poll_receive(cx), Poll::Ready(()));
    assert_eq!(a.transmit(&mut frames), Err(Gone));
    assert_eq!(b.receive(&pool, 1, &mut drop), Err(Gone));
    assert_eq!(cable.plugs(), 2);
    drop(a);
    assert_eq!(cable.plugs(), 1);
}

fn numbers(frames: &[Vec<u8>]) -> Vec<u32> {
    frames.iter().map(|frame| u32::from_be_bytes(frame[..4].try_into().unwrap())).collect()
}

/// Sends 1,000 numbered frames in batches from a device with faults, or to one.
fn through(faults: Faults, on_receive: bool, seed: u64) -> Vec<Vec<u8>> {
    let pool = Pool::new(64, 2_048);
    let (near, far, _cable) = pair(1_500);
    let none = Faults::NONE;
    let (mut sender, mut receiver): (Box<dyn Device>, Box<dyn Device>) = if on_receive {
        (Box::new(near), Box::new(Faulty::new(far, faults, none, seed)))
    } else {
        (Box::new(Faulty::new(near, none, faults, seed)), Box::new(far))
    };
    let mut received = Vec::new();
    let cx = &mut Context::from_waker(Waker::noop());
    for number in (0..1_000u32).step_by(4) {
        let mut frames: VecDeque<_> =
            (number..number + 4).map(|number| frame(&pool, &number.to_be_bytes())).collect();
        sender.transmit(&mut frames).unwrap();
        // Now and then there is nothing more to be done, and the driver waits.
        if number % 20 == 0 {
            assert!(sender.poll_receive(cx).is_pending());
        }
        while receiver.poll_receive(cx).is_ready() {
            let mut take = |frame: Packet| received.push(frame.bytes().to_vec());
            assert_eq!(receiver.receive(&pool, 3, &mut take).unwrap().dropped, 0);
        }
    }
    assert!(sender.poll_receive(cx).is_pending());
    while receiver.poll_receive(cx).is_ready() {
        let mut take = |frame: Packet| received.push(frame.bytes().to_vec());
        assert_eq!(receiver.receive(&pool, 64, &mut take).unwrap().dropped, 0);
    }
    drop((sender, receiver));
    assert_eq!(pool.available(), 64);
    received
}

#[test]
fn a_faulty_device_does_what_it_is_told_in_both_directions() {
    for on_receive in [false, true] {
        let all: Vec<u32> = (0..1_000).collect();
        assert_eq!(numbers(&through(Faults::NONE, on_receive, 1)), all);

        let lossy = numbers(&through(Faults { loss: 0.2, ..Faults::NONE }, on_receive, 2));
        assert!((700..900).contains(&lossy.len()) && lossy.is_sorted());

        let twice = numbers(&through(Faults { duplicate: 0.2, ..Faults::NONE }, on_receive, 3));
        assert!((1_100..1_300).contains(&twice.len()) && twice.is_sorted());

        let mixed = numbers(&through(Faults { reorder: 0.2, ..Faults::NONE }, on_receive, 4));
        assert!(!mixed.is_sorted());
        assert_eq!(mixed.iter().copied().collect::<HashSet<_>>(), all.into_iter().collect());
        assert_eq!(mixed.len(), 1_000);

        let changed = numbers(&through(Faults { corrupt: 1.0, ..Faults::NONE }, on_receive, 5));
        assert_eq!(changed.len(), 1_000);
        // The first is all zeros, of which none can become one.
        let mut changes = changed.iter().zip(0..).skip(1);
        assert!(changes.all(|(changed, number): (_, u32)| (changed ^ number).count_ones() == 1));
    }
}

#[test]
fn a_faulty_device_replays_from_its_seed() {
    let faults = Faults { loss: 0.1, duplicate: 0.1, corrupt: 0.1, reorder: 0.1 };
    assert_eq!(through(faults, true, 7), through(faults, true, 7));
    assert_ne!(through(faults, true, 7), through(faults, true, 8));
}

#[test]
fn a_faulty_device_keeps_what_the_one_inside_does_not_take_yet() {
    let pool = Pool::new(64, 2_048);
    let (near, mut far, cable) = pair(1_500);
    let faults = Faults { reorder: 0.5, ..Faults::NONE };
    let mut faulty = Faulty::new(near, Faults::NONE, faults, 1);
    let cx = &mut Context::from_waker(Waker::noop());
    cable.set_stuck(true);
    let mut frames: VecDeque<_> =
        (0..20u32).map(|number| frame(&pool, &number.to_be_bytes())).collect();
    faulty.transmit(&mut frames).unwrap();
    let more = &mut VecDeque::from([frame(&pool, &20u32.to_be_bytes())]);
    faulty.transmit(more).unwrap();
    // What waits inside goes first: no more is taken.
    assert_eq!((frames.len(), more.len()), (0, 1));
    assert!(faulty.poll_transmit(cx).is_pending() && faulty.poll_receive(cx).is_pending());
    cable.set_stuck(false);
    assert!(faulty.poll_receive(cx).is_pending());
    assert_eq!(receive(&mut far, &pool, 64).len(), 20);
    cable.cut();
    assert!(faulty.poll_receive(cx).is_ready());
}

/// A clock that counts milliseconds.
fn clock() -> impl FnMut() -> Instant {
    let mut now = Instant::ZERO;
    move || {
        now += Duration::from_millis(1);
        now
    }
}

#[test]
fn a_capture_has_what_was_received_and_what_the_device_took() {
    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<Vec<u8>>>);
    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let pool = Pool::new(16, 2_048);
    let (near, mut far, cable) = pair(1_500);
    let out = Shared::default();
    let mut device = Pcap::new(near, out.clone(), clock()).unwrap();
    far.push(b"received");
    assert_eq!(receive(&mut device, &pool, 64), [b"received"]);
    cable.set_stuck(true);
    let frames = &mut VecDeque::from([frame(&pool, b"sent")]);
    device.transmit(frames).unwrap();
    cable.set_stuck(false);
    device.transmit(frames).unwrap();
    device.finish().unwrap();
    let written = out.0.borrow();
    assert_eq!(written.len(), 24 + 16 + 8 + 16 + 4);
    assert_eq!((&written[40..48], &written[64..]), (&b"received"[..], &b"sent"[..]));
    assert_eq!(written[28..32], 1_000_000u32.to_le_bytes());
    assert_eq!(written[52..56], 2_000_000u32.to_le_bytes());
}

#[test]
fn a_trace_has_a_line_for_each_frame() {
    let pool = Pool::new(16, 2_048);
    let (near, mut far, _cable) = pair(1_500);
    let lines = Rc::new(RefCell::new(Vec::new()));
    let sink = {
        let lines = lines.clone();
        move |line: std::fmt::Arguments<'_>| lines.borrow_mut().push(line.to_string())
    };
    let mut device = Trace::new(near, clock(), sink);
    let mut udp = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64)
        .udp(5_000, 7)
        .write(&mut udp, b"hello")
        .unwrap();
    far.push(&udp);
    receive(&mut device, &pool, 64);
    send(&mut device, &pool, &[b"short"]);
    assert_eq!(
        *lines.borrow(),
        ["0.001000 < 10.0.0.2 > 10.0.0.1 UDP 5000 > 7, 5 bytes (47)", "0.002000 > cut short (5)"]
    );
}

#[test]
fn a_summary_says_what_a_frame_is() {
    let v4 = || PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64);
    let source = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    let v6 = || PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6(source, source, 64);
    let write = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = Vec::new();
        write(&mut frame);
        frame
    };
    let mut fragment = write(&|to| v4().udp(5_000, 7).write(to, &[0; 24]).unwrap());
    fragment[18..22].copy_from_slice(&[0, 9, 0x20, 0]);
    let mut later = fragment.clone();
    later[20..22].copy_from_slice(&[0, 4]);
    let echo6 = write(&|to| v6().icmpv6_echo_request(1, 2).write(to, b"").unwrap());
    let mut fragment6 = write(&|to| v6().udp(5_000, 7).write(to, b"12345678").unwrap());
    fragment6[20] = 44;
    fragment6[54..62].copy_from_slice(&[17, 0, 0, 1, 0, 0, 0, 9]);
    for (frame, expected) in [
        (echo6, "fd00::2 > fd00::2 ICMPv6 echo request (62)"),
        (
            write(&|to| v4().icmpv4_echo_reply(1, 2).write(to, b"").unwrap()),
            "10.0.0.2 > 10.0.0.1 ICMP echo reply (42)",
        ),
        (
            write(&|to| v4().icmpv4_raw(3, 3, [0; 4]).write(to, b"").unwrap()),
            "10.0.0.2 > 10.0.0.1 ICMP destination unreachable, code 3 (42)",
        ),
        (fragment, "10.0.0.2 > 10.0.0.1 fragment 0x9 0..32+, UDP 5000 > 7, 24 bytes (66)"),
        (later, "10.0.0.2 > 10.0.0.1 fragment 0x9 32..64 (66)"),
        (fragment6, "fd00::2 > fd00::2 fragment 0x9 0..8+, UDP 12594 > 13108, 13614 bytes (70)"),
        (
            [&[0xff; 6][..], &[2; 6], &[0x88, 0xcc], &[0; 4]].concat(),
            "02:02:02:02:02:02 > ff:ff:ff:ff:ff:ff EtherType 0x88cc (18)",
        ),
        (
            [&[4; 6][..], &[2; 6], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[2; 6], &[10, 0, 0, 2]]
                .into_iter()
                .chain([&[0; 6][..], &[10, 0, 0, 1]])
                .collect::<Vec<_>>()
                .concat(),
            "ARP 10.0.0.2 asks for 10.0.0.1 (42)",
        ),
        ([&[4; 12][..], &[8, 6, 1]].concat(), "ARP malformed (15)"),
        ([&[4; 12][..], &[8, 0, 1]].concat(), "IPv4 malformed (15)"),
        ([&[4; 12][..], &[0x86, 0xdd, 1]].concat(), "IPv6 malformed (15)"),
    ] {
        assert_eq!(Summary(&frame).to_string(), expected);
        // However it is cut, it is some text.
        (0..frame.len()).for_each(|len| assert!(!Summary(&frame[..len]).to_string().is_empty()));
    }
}

#[test]
fn a_device_on_a_network_hears_what_is_for_it_until_it_is_unplugged() {
    let mut net = Network::new(1);
    let lan = net.link(Link::default());
    let (id, mut a): (_, Plug) = net.device(lan);
    let (_, mut b) = net.device(lan);
    let (_, mut c) = net.device(lan);
    let to_b = [&b.mac().0[..], &a.mac().0, &[8, 0]].concat();
    a.push(&to_b);
    a.push(&[0xff; 20]);
    net.run_for(Duration::from_secs(1));
    assert_eq!([b.pop(), b.pop(), b.pop()], [Some(to_b.clone()), Some(vec![0xff; 20]), None]);
    assert_eq!([c.pop(), c.pop()], [Some(vec![0xff; 20]), None]);
    assert_eq!(a.pop(), None);

    net.set_up(id, false);
    a.push(&to_b);
    net.run_for(Duration::from_secs(1));
    assert_eq!((b.pop(), net.link_stats(lan).down), (None, 1));

    // One answers while time goes on.
    net.set_up(id, true);
    a.push(&to_b);
    let answered = Cell::new(false);
    assert!(net.run_while(Duration::from_secs(1), |_| {
        if b.pop().is_some() {
            b.push(&[0xff; 20]);
        }
        answered.set(a.pop().is_some());
        !answered.get()
    }));
    assert!(answered.get());
}
