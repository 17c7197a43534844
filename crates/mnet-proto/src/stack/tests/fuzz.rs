//! Whatever comes: frames at random, and good ones with something changed, in both families. The
//! stack never panics, grows no farther than its bounds, and gives every packet back.

use proptest::strategy::ValueTree;
use proptest::test_runner::{Config as Runs, RngAlgorithm, TestRng, TestRunner};

use super::link::{Card, Frame, checksum, message, udp_bytes};
use super::*;
use crate::Filter;
use crate::wire::dhcpv4::{Kind, Message};
use crate::wire::ipv6;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

/// What is thrown at a host.
#[derive(Clone, Debug)]
struct Throw {
    kind: u8,
    fields: [u8; 8],
    noise: Vec<u8>,
    changes: Vec<(usize, u8)>,
    mend: bool,
    cut: usize,
    millis: u16,
}

fn throws() -> impl Strategy<Value = Throw> {
    let noise = proptest::collection::vec(any::<u8>(), 0..200);
    let change = || proptest::collection::vec((0usize..120, any::<u8>()), 1..4);
    let changes = prop_oneof![Just(Vec::new()), change()];
    let cut = prop_oneof![4 => Just(usize::MAX), 1 => 0usize..120];
    let millis = prop_oneof![200 => 0u16..50, 10 => 0u16..2_000, 1 => any::<u16>()];
    (any::<u8>(), any::<[u8; 8]>(), noise, changes, any::<bool>(), cut, millis).prop_map(
        |(kind, fields, noise, changes, mend, cut, millis)| Throw {
            kind,
            fields,
            noise,
            changes,
            mend,
            cut,
            millis,
        },
    )
}

impl Throw {
    fn source(&self) -> Ipv4Addr {
        match self.fields[0] % 4 {
            0 | 1 => PEER,
            2 => Ipv4Addr::new(10, 0, 0, self.fields[1]),
            _ => Ipv4Addr::new(192, 0, 2, self.fields[1]),
        }
    }

    fn destination(&self) -> Ipv4Addr {
        match self.fields[2] % 8 {
            0 => Ipv4Addr::BROADCAST,
            1 => GROUP,
            2 => Ipv4Addr::new(224, 0, 0, 1),
            3 => Ipv4Addr::new(10, 0, 0, 255),
            _ => HOST,
        }
    }

    /// The frame, made for a host that has sent `last` last.
    fn frame(&self, last: &[u8]) -> Vec<u8> {
        let [.., a, b, c, d, e] = self.fields;
        let (source, destination) = (self.source(), self.destination());
        let v4 = |protocol, payload: &[u8]| Frame {
            source,
            destination,
            ttl: if e % 2 == 0 { 1 } else { 64 },
            to: if destination == HOST { HOST_MAC } else { Mac::BROADCAST },
            options: if e % 8 == 0 { vec![d, c % 8, b, a] } else { vec![] },
            ..Frame::new(protocol, payload)
        };
        let ports = [(5_000, 7), (67, 68), (5_000, 9), (b.into(), c.into())][usize::from(a % 4)];
        let mut frame = match self.kind % 12 {
            0 => v4(17, &udp_bytes((source, ports.0), (destination, ports.1), &self.noise)).bytes(),
            1 => {
                let quoted = last.get(14..).unwrap_or_default();
                let body = [&[0, 0, b % 8, c], &quoted[..quoted.len().min(60)]].concat();
                v4(1, &message([3, 5, 11, 12][usize::from(a % 4)], d % 5, &body)).bytes()
            }
            2 => v4(1, &message(8, 0, &self.noise)).bytes(),
            3 => v4(2, &message([0x11, 0x12, 0x16, 0x22][usize::from(a % 4)], b, &self.noise))
                .bytes(),
            4 => {
                let kinds = [Kind::Offer, Kind::Ack, Kind::Nak, Kind::Discover];
                // The answer to what was asked, if anything was.
                let xid = last.get(46..50).and_then(|xid| xid.try_into().ok()).unwrap_or_default();
                let kind = kinds[usize::from(a % 4)];
                let mut answer = Message::new(kind, u32::from_be_bytes(xid), HOST_MAC);
                answer.server_id = Some(PEER);
                answer.yiaddr = Ipv4Addr::new(10, 0, 0, 2 + c % 2);
                answer.subnet_mask = Some([255, 255, 255, if c < 250 { 0 } else { c }].into());
                answer.lease_time = Some(u32::from(d) * 10);
                answer.routers = vec![PEER];
                let payload = udp_bytes((PEER, 67), (destination, 68), &answer.emit());
                Frame { source: PEER, ..v4(17, &payload) }.bytes()
            }
            5 | 6 => {
                // Few datagrams, so that some become whole.
                let datagram = udp_bytes((PEER, 5_000), (HOST, 7), &[a % 2; 24]);
                let pieces = Frame { id: u16::from(a % 2), ..Frame::new(17, &datagram) }.pieces(8);
                let mut piece = pieces[usize::from(b) % pieces.len()].clone();
                if d % 32 == 0 {
                    piece.offset = usize::from(c) * 8;
                    piece.payload.extend(&self.noise);
                }
                piece.bytes()
            }
            7 => {
                let sender = if b % 4 == 0 { HOST } else { source };
                let mac = Mac([2, 0, 0, 0, 0, c % 4]);
                arp(1 + u16::from(a % 2), (mac, sender), if d % 2 == 0 { HOST } else { source })
            }
            8..=10 => self.frame_v6(),
            _ => self.noise.clone(),
        };
        for &(at, value) in &self.changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        // A sum that fits leads deeper.
        if self.mend && frame.len() > 34 && frame[12..14] == [8, 0] {
            let end = 14 + usize::from(frame[14] & 0x0f).max(5) * 4;
            if end <= frame.len() {
                frame[24..26].fill(0);
                let sum = checksum(&[&frame[14..end]]);
                frame[24..26].copy_from_slice(&sum);
            }
        }
        frame.truncate(self.cut);
        frame
    }

    fn frame_v6(&self) -> Vec<u8> {
        let [a, b, c, d, ..] = self.fields;
        let source: std::net::Ipv6Addr = match a % 4 {
            0 => "fe80::1".parse().unwrap(),
            1 => "::".parse().unwrap(),
            2 => "2001:db8::1".parse().unwrap(),
            _ => std::net::Ipv6Addr::from(0xfe80_u128 << 112 | u128::from(b)),
        };
        let destination: std::net::Ipv6Addr = match b % 4 {
            0 => "ff02::1".parse().unwrap(),
            1 => "2001:db8::2".parse().unwrap(),
            2 => "ff02::1:ff00:2".parse().unwrap(),
            _ => "ff15::1".parse().unwrap(),
        };
        let next = [58, 58, 58, 17, 44, 0, 43, 60][usize::from(c % 8)];
        let mut body = self.noise.clone();
        if next == 58 {
            let kind = [128, 133, 134, 135, 136, 137, 130, 1, 2, 3][usize::from(d % 10)];
            let target = "2001:db8::2".parse::<std::net::Ipv6Addr>().unwrap().octets();
            body = match kind {
                134 => [&[kind, 0, 0, 0, 64, 0, 0, c, 0, 0, 0, 0, 0, 0, 0, 0], &body[..]].concat(),
                135 | 136 => [&[kind, 0, 0, 0, c & 0xe0, 0, 0, 0], &target[..]].concat(),
                _ => [&[kind, 0, 0, 0], &body[..]].concat(),
            };
            if c % 2 == 0 {
                body.truncate(if kind == 134 { 16 } else { 24 });
            }
            let len = (body.len() as u32).to_be_bytes();
            let pseudo = [&source.octets()[..], &destination.octets(), &len, &[0, 0, 0, 58]];
            let sum = checksum(&[&pseudo.concat(), &body]);
            body[2..4].copy_from_slice(&sum);
        }
        let to = ipv6::multicast_mac(destination);
        let to = if destination.is_multicast() { to } else { HOST_MAC };
        let length = (body.len() as u16).to_be_bytes();
        let hops = if d % 7 == 6 { 1 } else { 255 };
        let header = [&[0x60, 0, 0, 0][..], &length, &[next, hops]].concat();
        let addresses = [source.octets(), destination.octets()].concat();
        [&to.0[..], &PEER_MAC.0, &[0x86, 0xdd], &header, &addresses, &body].concat()
    }
}

/// A host of both families, by DHCP or not, that is in groups and has ports.
fn host(dhcp: bool) -> (Scene, Vec<SocketId>) {
    let mut scene = Card::default().fresh(|config| {
        config.ipv6.enabled = true;
        config.ipv6.addresses = vec!["2001:db8::2/64".parse().unwrap()];
        if dhcp {
            config.ipv4 = Ipv4Config::Dhcp;
        } else {
            let addresses = vec![crate::Ipv4Cidr::new(HOST, 24).unwrap()];
            config.ipv4 = Ipv4Config::Static { addresses, gateway: Some(PEER) };
        }
    });
    let sockets: Vec<_> = [7, 100].map(|port| scene.stack.udp_bind(port).unwrap()).into();
    scene.stack.udp_mut().set_broadcast(sockets[0], true);
    let now = scene.now;
    for group in [IpAddr::V4(GROUP), "ff15::1".parse().unwrap()] {
        scene.stack.udp_join(now, sockets[0], group, Filter::ANY).unwrap();
    }
    (scene, sockets)
}

/// Throws one thing at the host, lets time pass, and has it say something now and then.
fn hit(scene: &mut Scene, sockets: &[SocketId], throw: &Throw, last: &mut Vec<u8>) {
    scene.receive(&throw.frame(last));
    scene.now += Duration::from_millis(throw.millis.into());
    scene.stack.handle_timeout(scene.now);
    if throw.kind.is_multiple_of(5) {
        let to = [throw.source().into(), "2001:db8::1".parse::<IpAddr>().unwrap()];
        for to in to {
            let length = usize::from(throw.fields[3]) * 16;
            if let Some(mut packet) = scene.pool.take_sized(length) {
                packet.append(length).unwrap();
                let _ = scene.send(7.into(), (to, 5_000).into(), packet);
            }
        }
    }
    if throw.kind.is_multiple_of(7) {
        scene.read(sockets[0]);
        while scene.stack.udp_mut().receive_error(sockets[0]).is_some() {}
    }
    while scene.stack.poll_event().is_some() {}
    let is_udp = |frame: &Vec<u8>| frame.len() > 42 && frame[12..14] == [8, 0] && frame[23] == 17;
    if let Some(frame) = scene.sent().into_iter().rfind(is_udp) {
        *last = frame;
    }
}

/// Lets go of all that waits, and looks for what is missing.
fn all_come_back(mut scene: Scene) {
    scene.drive(Duration::from_secs(200));
    scene.sent();
    let Scene { stack, pool, .. } = scene;
    drop(stack);
    assert_eq!(pool.available(), pool.capacity());
    assert_eq!(pool.large_available(), pool.large_capacity());
}

proptest! {
    #[test]
    fn whatever_comes_is_taken_and_every_packet_comes_back(
        throws in proptest::collection::vec(throws(), 1..60), dhcp: bool,
    ) {
        let (mut scene, sockets) = host(dhcp);
        let mut last = Vec::new();
        throws.iter().for_each(|throw| hit(&mut scene, &sockets, throw, &mut last));
        all_come_back(scene);
    }
}

/// For ten seconds, or as many as `MNET_FUZZ_SECONDS` says, on the same two hosts.
#[test]
fn hosts_under_fire_for_long_keep_within_their_bounds_and_still_converse() {
    let seconds = std::env::var("MNET_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = std::time::Instant::now() + Duration::from_secs(seconds.unwrap_or(10));
    let seed = if seconds.is_some() { std::process::id() } else { 1 };
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Runs::default(), random);
    let strategy = throws();
    let mut hosts = [false, true].map(|dhcp| (host(dhcp), Vec::new()));
    let mut count = 0u64;
    while std::time::Instant::now() < end {
        for _ in 0..500 {
            let throw = strategy.new_tree(&mut runner).unwrap().current();
            for ((scene, sockets), last) in &mut hosts {
                hit(scene, sockets, &throw, last);
                if scene.pool.available() <= scene.pool.capacity() / 8 {
                    panic!("seed {seed}: no packet is left to receive into");
                }
            }
            count += 1;
        }
        for ((scene, _), _) in &hosts {
            let (ip, limits) = (&scene.stack.ip, crate::ip::fragment::Limits::default());
            assert!(ip.reassembler.bytes() <= limits.bytes);
            assert!(ip.reassembler.len() <= limits.datagrams);
            assert!(ip.neighbors.waiting() <= scene.pool.capacity() / 4);
            assert!(scene.stack.addresses().count() <= 2 * 16);
            assert!(scene.pool.large_available() >= scene.pool.large_capacity() / 8);
        }
    }
    assert!(count > 1_000, "only {count} in that time");
    // Deep enough to be worth it.
    let [first, by_dhcp] = hosts.each_ref().map(|((scene, _), _)| scene.stack.stats());
    let deep = [
        first.udp_received,
        first.icmp_echo_replies,
        first.icmp_errors,
        first.datagrams_reassembled,
        first.datagrams_fragmented,
        first.arp_replies,
        first.neighbor_adverts,
        first.group_reports,
        by_dhcp.dhcp_received,
    ];
    assert!(count < 5_000 || deep.iter().all(|&count| count > 0), "{deep:?} of {count}");
    for (at, ((mut scene, sockets), _)) in hosts.into_iter().enumerate() {
        scene.read(sockets[0]);
        // After a rest there is nothing that is left of it.
        scene.drive(Duration::from_secs(7_200));
        scene.sent();
        scene.read(sockets[0]);
        scene.read(sockets[1]);
        assert!(scene.stack.ip.reassembler.is_empty());
        if at == 0 {
            scene.receive(&arp(REQUEST, (PEER_MAC, PEER), HOST));
            scene.sent();
            scene.receive(&Frame::udp(b"still here?").bytes());
            assert_eq!(scene.read(sockets[0]), [b"still here?"], "seed {seed}");
        }
        all_come_back(scene);
    }
}
