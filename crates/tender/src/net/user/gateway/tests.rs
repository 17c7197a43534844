use std::iter;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use mnet_proto::wire::Checksum;
use netdev::Pool;
use proptest::prelude::*;

use super::super::addresses::MAC;
use super::super::link::MAX_FRAMES;
use super::*;

mod dhcpv4;
mod fragments;
mod ipv6;
mod nameserver;
mod unreachable;

const ADDRESS: Ipv4Addr = GATEWAY_V4;
const GUEST: Ipv4Addr = GUEST_V4;

const GUEST_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ASKED: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A gateway, and the queue to its guest.
struct Scene {
    gateway: Gateway,
    queue: Queue,
}

fn gateway() -> Scene {
    with_nameserver(None)
}

fn with_nameserver(nameserver: Option<&str>) -> Scene {
    let port = |port| NonZeroU16::new(port).unwrap();
    let nameserver = nameserver.map(|address| address.parse().unwrap());
    let gateway = Gateway::new(GUEST_MAC, vec![port(7), port(7), port(9)], nameserver);
    Scene { gateway, queue: Queue::new(64) }
}

impl Scene {
    /// Takes a frame that the guest sends.
    fn send<'f>(&mut self, now: Instant, frame: &'f [u8]) -> Action<'f> {
        self.gateway.handle_frame(now, frame, &mut self.queue)
    }

    /// The next frame to the guest.
    fn frame(&mut self) -> Option<Vec<u8>> {
        let frame = self.queue.front().map(<[u8]>::to_vec);
        self.queue.pop();
        frame
    }

    /// The one frame that answers a frame of the guest.
    #[track_caller]
    fn reply(&mut self, frame: &[u8]) -> Vec<u8> {
        assert_eq!(self.send(at(0), frame), Action::None);
        let reply = self.frame().unwrap();
        assert_eq!(self.frame(), None);
        reply
    }

    /// The frame to the guest of a datagram to a published port, without what goes before it.
    fn publish(&mut self, now: Instant, peer: Peer, payload: &[u8]) -> Option<Vec<u8>> {
        self.gateway.handle_published(now, peer, &mut packet(payload), &mut self.queue);
        iter::from_fn(|| self.frame()).last()
    }

    /// The frame to the guest of a datagram to the socket of one of its ports.
    fn answer(
        &mut self,
        socket: usize,
        from: impl Into<SocketAddr>,
        payload: &[u8],
    ) -> Option<Vec<u8>> {
        self.gateway.handle_outgoing(socket, from.into(), &mut packet(payload), &mut self.queue);
        self.frame()
    }
}

/// A packet that holds this.
fn packet(payload: &[u8]) -> Packet {
    let mut packet = Pool::new(1, 2048).take().unwrap();
    packet.append(payload.len()).unwrap().copy_from_slice(payload);
    packet
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// A peer of the first published port.
fn peer(address: &str) -> Peer {
    Peer { publish: 0, asked: ASKED, address: address.parse().unwrap() }
}

/// A frame of the guest with a datagram in it.
fn frame(source: u16, to: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST_MAC.0, MAC.0)
        .ipv4(GUEST.octets(), to.octets(), 64)
        .udp(source, port)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// The same with the IPv4 checksum made right again.
fn with_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    frame[24..26].fill(0);
    let sum = Checksum::new().add_bytes(&frame[14..34]).finish();
    frame[24..26].copy_from_slice(&sum);
    frame
}

/// Source, ports and payload of a frame to the guest, whose checksums are checked.
fn datagram(frame: &[u8]) -> (Ipv4Addr, u16, u16, Vec<u8>) {
    assert_eq!((&frame[..6], &frame[6..12]), (&GUEST_MAC.0[..], &MAC.0[..]));
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("no IPv4") };
    let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(header.destination, GUEST.octets());
    let checksum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
    assert_eq!(udp.checksum(), if checksum == 0 { 0xffff } else { checksum });
    let source = Ipv4Addr::from(header.source);
    (source, udp.source_port(), udp.destination_port(), udp.payload().to_vec())
}

/// Why a frame is dropped.
#[track_caller]
fn assert_dropped(frame: &[u8], reason: Drop) {
    let mut scene = gateway();
    assert_eq!(scene.send(at(0), frame), Action::None);
    let mut expected = Drops::default();
    expected.count(reason);
    assert_eq!(scene.gateway.drops(), &expected);
}

#[test]
fn who_asks_for_the_gateway_and_nobody_else_is_answered() {
    let ask = |target: Ipv4Addr| {
        let mut frame = Vec::new();
        let arp = etherparse::ArpPacket::new(
            etherparse::ArpHardwareId::ETHERNET,
            etherparse::EtherType::IPV4,
            etherparse::ArpOperation::REQUEST,
            &GUEST_MAC.0,
            &GUEST.octets(),
            &[0; 6],
            &target.octets(),
        )
        .unwrap();
        PacketBuilder::ethernet2(GUEST_MAC.0, [0xff; 6]).arp(arp).write(&mut frame).unwrap();
        frame
    };
    let mut scene = gateway();
    let reply = scene.reply(&ask(ADDRESS));
    let packet = SlicedPacket::from_ethernet(&reply).unwrap();
    let Some(NetSlice::Arp(arp)) = packet.net else { panic!("{packet:?}") };
    assert_eq!(arp.operation(), etherparse::ArpOperation::REPLY);
    assert_eq!(
        (arp.sender_hw_addr(), arp.sender_protocol_addr()),
        (&MAC.0[..], &[10, 0, 2, 2][..])
    );
    assert_eq!(arp.target_hw_addr(), GUEST_MAC.0);
    assert_eq!(arp.target_protocol_addr(), GUEST.octets());

    // Its own address, which it probes and announces, is nobody else's.
    assert_dropped(&ask(GUEST), Drop::Arp);
    assert_dropped(&ask(Ipv4Addr::new(10, 0, 2, 3)), Drop::Arp);
    let mut claim = ask(ADDRESS);
    claim[21] = 2;
    assert_dropped(&claim, Drop::Arp);
}

#[test]
fn the_guest_learns_of_the_gateway_before_a_datagram_and_again_after_a_silence() {
    let mut scene = gateway();
    let mut introduces = |seconds| {
        let Scene { gateway, queue } = &mut scene;
        gateway.handle_published(at(seconds), peer("192.0.2.1:5000"), &mut packet(b""), queue);
        let (first, then) = (scene.frame().unwrap(), scene.frame());
        datagram(then.as_ref().unwrap_or(&first));
        let frame = then.map(|_| first)?;
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Arp(arp)) = packet.net else { panic!("no ARP") };
        assert_eq!(arp.operation(), etherparse::ArpOperation::REQUEST);
        assert_eq!(arp.sender_hw_addr(), MAC.0);
        assert_eq!(arp.sender_protocol_addr(), ADDRESS.octets());
        assert_eq!(arp.target_protocol_addr(), GUEST.octets());
        Some(frame[..6] == GUEST_MAC.0)
    };
    assert_eq!(introduces(1), Some(true));
    assert_eq!(introduces(1), None);
    assert_eq!(introduces(10), None);
    assert_eq!(introduces(20), Some(true));
}

#[test]
fn the_gateway_answers_a_ping_with_what_was_in_it() {
    let ping = |to: Ipv4Addr| {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(GUEST_MAC.0, MAC.0)
            .ipv4(GUEST.octets(), to.octets(), 64)
            .icmpv4_echo_request(0x1234, 1)
            .write(&mut frame, b"odd")
            .unwrap();
        frame
    };
    let mut scene = gateway();
    let reply = scene.reply(&ping(ADDRESS));
    let packet = SlicedPacket::from_ethernet(&reply).unwrap();
    let Some(TransportSlice::Icmpv4(icmp)) = packet.transport else { panic!("{packet:?}") };
    let header = icmp.header();
    assert_eq!(
        header.icmp_type,
        etherparse::Icmpv4Type::EchoReply(etherparse::IcmpEchoHeader { id: 0x1234, seq: 1 })
    );
    assert_eq!(icmp.payload(), b"odd");
    assert_eq!(header.checksum, header.icmp_type.calc_checksum(b"odd"));

    assert_dropped(&ping(REMOTE), Drop::Destination);
    let mut wrong = ping(ADDRESS);
    wrong[36] ^= 1;
    assert_dropped(&wrong, Drop::Icmp);
}

#[test]
fn an_answer_goes_back_to_the_peer_that_asked_from_the_port_that_it_asked() {
    let mut scene = gateway();
    let peers = [
        (0, "192.0.2.1:5000"),
        (0, "192.0.2.2:6000"),
        (1, "192.0.2.1:5001"),
        (0, "[2001:db8::1]:7000"),
    ];
    for (publish, from) in peers {
        let peer = Peer { publish, ..peer(from) };
        let port = peer.address.port();
        let request = scene.publish(at(0), peer, b"hello").unwrap();
        let expected = (ADDRESS, port, 7, b"hello".to_vec());
        assert_eq!(datagram(&request), expected, "a peer keeps its port number");

        let answer = frame(7, ADDRESS, port, b"world");
        assert_eq!(
            scene.send(at(0), &answer),
            Action::Published { peer, payload: Payload::Frame(b"world") }
        );
    }
    assert_eq!(scene.gateway.drops(), &Drops::default());
}

#[test]
fn peers_of_the_same_port_number_are_kept_apart() {
    let mut scene = gateway();
    let first = peer("192.0.2.1:5000");
    let peers = [
        first,
        peer("192.0.2.2:5000"),
        Peer { publish: 1, ..first },
        Peer { asked: IpAddr::V4(REMOTE), ..first },
    ];
    let ports = peers.map(|peer| datagram(&scene.publish(at(0), peer, b"").unwrap()).1);
    assert_eq!(ports, [5000, 49152, 49153, 49154]);
    for (peer, port) in peers.into_iter().zip(ports) {
        let answer = frame(7, ADDRESS, port, b"");
        assert_eq!(
            scene.send(at(0), &answer),
            Action::Published { peer, payload: Payload::Frame(b"") }
        );
    }
    // To another port of the guest, the number is free.
    let another = Peer { publish: 2, ..peer("192.0.2.9:5000") };
    assert_eq!(datagram(&scene.publish(at(0), another, b"").unwrap()).1, 5000);
}

#[test]
fn a_flood_of_peers_does_not_end_a_conversation() {
    let mut scene = gateway();
    let friend = peer("192.0.2.1:5000");
    let mut refused = 0;
    for n in 0..3 * MAX_FLOWS {
        // A datagram of the friend's each second; four thousand newcomers in the same time.
        let now = at(n as u64 / 4096);
        if n % 4096 == 0 {
            assert!(scene.publish(now, friend, b"").is_some());
        }
        let address = SocketAddr::from(([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 5000));
        refused += usize::from(scene.publish(now, Peer { address, ..friend }, b"").is_none());
    }
    assert!(refused > 0, "no table is without end");
    let answer = frame(7, ADDRESS, 5000, b"still here");
    assert_eq!(
        scene.send(at(6), &answer),
        Action::Published { peer: friend, payload: Payload::Frame(b"still here") }
    );
    let newcomer = peer("192.0.2.3:1");
    assert!(scene.publish(at(10), newcomer, b"").is_some());
}

#[test]
fn a_late_answer_reaches_nobody() {
    let mut scene = gateway();
    scene.publish(at(0), peer("192.0.2.1:53"), b"").unwrap();
    assert_eq!(scene.gateway.poll_timeout(), Some(at(60)));
    scene.gateway.handle_timeout(at(60), &mut scene.queue, |_| panic!("no socket is open"));
    assert_eq!(scene.gateway.poll_timeout(), None);
    let answer = frame(7, ADDRESS, 53, b"");
    assert_eq!(scene.send(at(61), &answer), Action::None);
    assert_eq!(scene.gateway.drops().iter().collect::<Vec<_>>().len(), 1);
}

#[test]
fn what_the_guest_sends_elsewhere_leaves_by_one_socket_for_each_of_its_ports() {
    let mut scene = gateway();
    let send = |scene: &mut Scene, source, to, port, seconds| match scene
        .send(at(seconds), &frame(source, to, port, b"question"))
    {
        Action::Outgoing { socket, open, to, payload } if *payload == *b"question" => {
            (socket, open, to)
        }
        other => panic!("{other:?}"),
    };
    let remote = |port| SocketAddr::from((REMOTE, port));
    assert_eq!(send(&mut scene, 4000, REMOTE, 53, 0), (0, true, remote(53)));
    assert_eq!(send(&mut scene, 4000, REMOTE, 54, 0), (0, false, remote(54)));
    assert_eq!(send(&mut scene, 4001, REMOTE, 53, 1), (1, true, remote(53)));
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
    assert_eq!(send(&mut scene, 4001, ADDRESS, 53, 1), (1, false, loopback));

    let answer = scene.answer(0, remote(53), b"answer").unwrap();
    assert_eq!(datagram(&answer), (REMOTE, 53, 4000, b"answer".to_vec()));
    let answer = scene.answer(1, loopback, b"answer").unwrap();
    assert_eq!(datagram(&answer), (ADDRESS, 53, 4001, b"answer".to_vec()));

    let mut closed = Vec::new();
    scene.gateway.handle_timeout(at(60), &mut scene.queue, |socket| closed.push(socket));
    assert_eq!(closed, [0]);
    assert!(scene.answer(0, remote(53), b"late").is_none());
    assert_eq!(send(&mut scene, 4002, REMOTE, 53, 60), (0, true, remote(53)));
}

#[test]
fn there_are_no_more_sockets_than_the_host_can_spare() {
    let mut scene = gateway();
    for port in 0..MAX_OUTGOING as u16 {
        let frame = frame(4000 + port, REMOTE, 53, b"");
        let action = scene.send(at(0), &frame);
        assert!(matches!(action, Action::Outgoing { open: true, .. }));
    }
    let another = frame(9999, REMOTE, 53, b"");
    assert_eq!(scene.send(at(4), &another), Action::None);
    let Action::Outgoing { socket: 0, open: true, .. } = scene.send(at(5), &another) else {
        panic!("the one idle longest leaves")
    };
}

#[test]
fn what_is_only_on_the_hosts_own_links_is_out_of_reach() {
    for forbidden in [
        [127, 0, 0, 1],
        [127, 0, 0, 53],
        [0, 0, 0, 0],
        [169, 254, 169, 254],
        [224, 0, 0, 251],
        [239, 1, 2, 3],
        [255, 255, 255, 255],
        [240, 0, 0, 1],
        [10, 0, 2, 3],
        [10, 0, 2, 15],
        [10, 0, 2, 255],
    ] {
        assert_dropped(&frame(4000, forbidden.into(), 53, b""), Drop::Destination);
        let mut scene = gateway();
        scene.send(at(0), &frame(4000, REMOTE, 53, b""));
        let passed = scene.answer(0, (forbidden, 53), b"").is_some();
        assert_eq!(passed, forbidden == [127, 0, 0, 1], "the host itself answers from there");
    }
}

#[test]
fn a_computed_checksum_of_zero_is_sent_as_its_other_form() {
    let mut scene = gateway();
    let sums = (0..=u16::MAX).map(|word| {
        let peer = peer("192.0.2.1:5000");
        let frame = scene.publish(at(0), peer, &word.to_be_bytes()).unwrap();
        datagram(&frame);
        u16::from_be_bytes([frame[40], frame[41]])
    });
    assert!(sums.filter(|&sum| sum == 0xffff).count() >= 1);
}

#[test]
fn malformed_frames_are_dropped_under_their_name() {
    let good = || frame(4000, REMOTE, 53, b"payload");
    let changed = |at: usize, byte: u8| {
        let mut frame = good();
        frame[at] = byte;
        with_checksum(frame)
    };
    assert_dropped(&[], Drop::FrameTooShort);
    assert_dropped(&good()[..13], Drop::FrameTooShort);
    assert_dropped(&[0; MAX_FRAME + 1], Drop::FrameTooLong);
    assert_dropped(&changed(13, 0xdd), Drop::EtherType);
    assert_dropped(&changed(0, 0xff), Drop::NotForGateway);
    assert_dropped(&changed(14, 0x65), Drop::Ipv4Header);
    assert_dropped(&changed(14, 0x44), Drop::Ipv4Header);
    assert_dropped(&changed(16, 0xff), Drop::Ipv4Header);
    assert_dropped(&good()[..33], Drop::Ipv4Header);
    let mut wrong = good();
    wrong[24] ^= 1;
    assert_dropped(&wrong, Drop::Ipv4Checksum);
    assert_dropped(&changed(29, 16), Drop::Source);
    assert_dropped(&changed(20, 0x20), Drop::Fragment);
    assert_dropped(&changed(23, 6), Drop::Protocol);
    assert_dropped(&changed(39, 7), Drop::UdpHeader);
    assert_dropped(&changed(39, 99), Drop::UdpHeader);
    assert_dropped(&changed(42, b'P'), Drop::UdpChecksum);
    assert_dropped(&frame(4000, REMOTE, 0, b""), Drop::UdpHeader);
    assert_dropped(&frame(0, REMOTE, 53, b""), Drop::UdpHeader);
}

#[test]
fn a_datagram_may_come_with_options_padding_and_without_a_checksum() {
    let plain = frame(4000, REMOTE, 53, b"payload");
    let mut odd = [&plain[..34], &[1, 1, 1, 1], &plain[34..], &[0; 9]].concat();
    odd[14] = 0x46;
    odd[17] += 4;
    odd[24..26].fill(0);
    let sum = Checksum::new().add_bytes(&odd[14..38]).finish();
    odd[24..26].copy_from_slice(&sum);
    odd[44..46].fill(0);
    let mut scene = gateway();
    let action = scene.send(at(0), &odd);
    assert!(
        matches!(action, Action::Outgoing { payload: Payload::Frame(b"payload"), .. }),
        "{action:?}"
    );
}

proptest! {
    #[test]
    fn no_frame_makes_it_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ethertype in prop_oneof![Just(0x0800u16), Just(0x0806), any::<u16>()],
        protocol in prop_oneof![Just(1u8), Just(17), any::<u8>()],
    ) {
        if bytes.len() >= 34 {
            bytes[..6].copy_from_slice(&MAC.0);
            bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
            bytes[14] = 0x45 + bytes[14] % 3;
            bytes[16] = 0;
            bytes[20..22].fill(0);
            bytes[23] = protocol;
            bytes[26..30].copy_from_slice(&GUEST.octets());
            let length = usize::from(bytes[14] & 15) * 4;
            if let Some(header) = bytes.get_mut(14..14 + length) {
                header[10..12].fill(0);
                let sum = Checksum::new().add_bytes(header).finish();
                header[10..12].copy_from_slice(&sum);
            }
        }
        gateway().send(at(0), &bytes);
    }
}
