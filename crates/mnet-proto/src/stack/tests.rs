//! The stack as its link sees it. Frames are made and read by `etherparse`, and `smoltcp` is the
//! host on the other side: what is tested here is not believed twice.

mod arp;
mod dhcp;
mod duplicates;
mod fragments;
mod fuzz;
mod icmpv4;
mod icmpv6;
mod ipv4;
mod ipv6;
mod link;
mod multicast;
mod ndp;
mod path_mtu;
mod peer;
mod redirect;
mod scene;
mod scene6;
mod slaac;
mod sockets;
mod templates;
mod udp;

use core::time::Duration;
use std::net::Ipv4Addr;

use etherparse::{IcmpEchoHeader, Icmpv4Type, TransportSlice};
use netdev::Mac;
use proptest::prelude::*;

use self::peer::Peer;
use self::scene::{HOST, HOST_MAC, PEER, PEER_MAC, Scene, arp, icmp, udp};
use super::*;
use crate::IcmpError;
use crate::udp::Options;
use crate::wire::arp::{REPLY, REQUEST};

#[test]
fn a_datagram_reaches_its_socket_and_the_answer_its_sender() {
    let mut scene = Scene::with_neighbor();
    let socket = scene.stack.udp_bind(7).unwrap();
    scene.receive(&udp(b"hello").source(5000, 7).frame());
    assert_eq!(scene.stack.poll_event(), Some(Event::Readable(socket)));
    assert_eq!(scene.stack.poll_event(), None);

    let datagram = scene.stack.udp_mut().receive(socket).unwrap();
    assert_eq!(datagram.payload(), b"hello");
    assert_eq!(datagram.remote(), (PEER, 5000).into());
    assert_eq!(datagram.local(), (HOST, 7).into());
    assert_eq!((datagram.hop_limit(), datagram.arrived()), (64, scene.now));

    // The answer goes out in the packet that the question came in.
    let before = scene.pool.available();
    scene.send(datagram.local().into(), datagram.remote(), datagram.into_packet()).unwrap();
    let sent = scene.sent_udp();
    assert_eq!((sent.source, sent.destination), ((HOST, 7).into(), (PEER, 5000).into()));
    assert_eq!((sent.to, sent.payload), (PEER_MAC, b"hello".to_vec()));
    assert_eq!(scene.pool.available(), before + 1);
    let stats = scene.stack.stats();
    assert_eq!((stats.udp_received, stats.udp_sent, stats.dropped.total()), (1, 1, 0));
}

#[test]
fn a_readable_socket_is_told_of_once_for_all_that_came_since() {
    let mut scene = Scene::with_neighbor();
    let socket = scene.stack.udp_bind(7).unwrap();
    for _ in 0..3 {
        scene.receive(&udp(b"x").frame());
    }
    assert_eq!(scene.stack.poll_event(), Some(Event::Readable(socket)));
    assert_eq!(scene.stack.poll_event(), None);
    while scene.stack.udp_mut().receive(socket).is_some() {}
    scene.receive(&udp(b"x").frame());
    assert_eq!(scene.stack.poll_event(), Some(Event::Readable(socket)));
}

#[test]
fn what_is_behind_a_datagram_is_not_in_it() {
    let mut scene = Scene::with_neighbor();
    let socket = scene.stack.udp_bind(7).unwrap();
    // Ethernet's padding, behind IP's length.
    let mut frame = udp(b"x").frame();
    frame.resize(60, 0xee);
    scene.receive(&frame);
    assert_eq!(scene.stack.udp_mut().receive(socket).unwrap().payload(), b"x");
    // IP's length, beyond UDP's.
    scene.receive(&udp(b"abcdef").no_checksum().udp_length(8 + 3).frame());
    assert_eq!(scene.stack.udp_mut().receive(socket).unwrap().payload(), b"abc");
}

#[test]
fn a_datagram_may_come_without_a_checksum_and_with_ip_options() {
    let mut scene = Scene::with_neighbor();
    let socket = scene.stack.udp_bind(7).unwrap();
    scene.receive(&udp(b"plain").no_checksum().frame());
    assert_eq!(scene.stack.udp_mut().receive(socket).unwrap().payload(), b"plain");
    scene.receive(&udp(b"options").options(&[1, 1, 1, 0]).frame());
    assert_eq!(scene.stack.udp_mut().receive(socket).unwrap().payload(), b"options");
}

#[test]
fn each_malformed_or_foreign_frame_is_a_drop_with_a_name() {
    let flip = |mut frame: Vec<u8>, at: usize, bits: u8| {
        frame[at] ^= bits;
        frame
    };
    let good = udp(b"hello").frame();
    let cases: Vec<(Drop, Vec<u8>)> = vec![
        (Drop::EthernetMalformed, good[..13].to_vec()),
        (Drop::EthernetMalformed, vec![]),
        (Drop::EthernetAddress, udp(b"").target_mac(Mac([2, 9, 9, 9, 9, 9])).frame()),
        (Drop::EthernetAddress, udp(b"").sender_mac(Mac::BROADCAST).frame()),
        (Drop::EthernetProtocol, flip(good.clone(), 12, 0x80)),
        (Drop::Ipv4Malformed, good[..33].to_vec()),
        (Drop::Ipv4Malformed, good[..good.len() - 1].to_vec()),
        (Drop::Ipv4Malformed, flip(good.clone(), 14, 0x20)),
        (Drop::Ipv4Malformed, flip(good.clone(), 14, 0x01)),
        (Drop::Ipv4Checksum, flip(good.clone(), 22, 0x01)),
        (Drop::Ipv4Source, udp(b"").from("224.0.0.1").frame()),
        (Drop::Ipv4Source, udp(b"").from("255.255.255.255").frame()),
        (Drop::Ipv4Source, udp(b"").from("10.0.0.255").frame()),
        (Drop::Ipv4Source, udp(b"").from("127.0.0.1").frame()),
        (Drop::Ipv4Source, udp(b"").from("0.0.0.0").frame()),
        (Drop::Ipv4Source, udp(b"").from("10.0.0.2").frame()),
        (Drop::Ipv4Destination, udp(b"").to("10.0.0.3").frame()),
        (Drop::Ipv4Destination, udp(b"").to("224.0.0.251").frame()),
        (Drop::Ipv4Destination, udp(b"").target_mac(Mac::BROADCAST).frame()),
        (Drop::FragmentMalformed, udp(b"x").fragment(0, true).frame()),
        (Drop::FragmentTooLong, udp(b"").fragment(65_512, false).frame()),
        (Drop::IpProtocol, udp(b"").protocol(6).frame()),
        (Drop::IcmpMalformed, flip(icmp(ping(), b"x"), 37, 1)),
        (Drop::IcmpUnhandled, icmp(pong(), b"x")),
        (Drop::UdpMalformed, udp(b"").udp_length(7).frame()),
        (Drop::UdpMalformed, udp(b"").udp_length(9).frame()),
        (Drop::UdpChecksum, flip(good.clone(), good.len() - 1, 0x01)),
        (Drop::UdpNoSocket, udp(b"").source(5000, 8).frame()),
        (Drop::UdpNoSocket, udp(b"").source(5000, 0).frame()),
        (Drop::UdpBroadcast, udp(b"").to("10.0.0.255").target_mac(Mac::BROADCAST).frame()),
        (Drop::ArpMalformed, arp(REQUEST, (PEER_MAC, PEER), HOST)[..41].to_vec()),
        (Drop::ArpMalformed, arp(REQUEST, (Mac::BROADCAST, PEER), HOST)),
        (Drop::ArpMalformed, arp(REQUEST, (PEER_MAC, Ipv4Addr::BROADCAST), HOST)),
        (Drop::ArpConflict, arp(REPLY, (PEER_MAC, HOST), HOST)),
    ];
    // The last of them is told whose its address is.
    let told = [Drop::UdpNoSocket, Drop::IpProtocol, Drop::ArpConflict];
    for (reason, frame) in cases {
        let mut scene = Scene::with_neighbor();
        let socket = scene.stack.udp_bind(7).unwrap();
        scene.receive(&frame);
        let dropped: Vec<_> = scene.stack.stats().dropped.iter().collect();
        assert_eq!(dropped, [(reason, 1)], "{frame:02x?}");
        assert!(scene.stack.udp_mut().receive(socket).is_none());
        let answered = scene.sent().len();
        assert_eq!(answered, usize::from(told.contains(&reason)), "{reason:?}");
        assert_eq!(scene.pool.available(), scene.pool.capacity());
    }
}

#[test]
fn a_full_queue_drops_the_newest_and_says_so_with_the_next() {
    let mut scene = Scene::with_neighbor();
    let flooded = scene.stack.udp_bind(7).unwrap();
    let quiet = scene.stack.udp_bind(8).unwrap();
    for number in 0..300u16 {
        scene.receive(&udp(&number.to_be_bytes()).frame());
    }
    scene.receive(&udp(b"quiet").source(5000, 8).frame());
    assert_eq!(scene.stack.stats().dropped[Drop::UdpQueueFull], 44);
    assert_eq!(scene.stack.udp().stats(flooded).unwrap().dropped, 44);
    assert_eq!(scene.stack.udp_mut().receive(quiet).unwrap().payload(), b"quiet");
    for number in 0..256u16 {
        let datagram = scene.stack.udp_mut().receive(flooded).unwrap();
        assert_eq!(datagram.payload(), number.to_be_bytes());
        assert_eq!(datagram.dropped_before(), 0);
    }
    assert!(scene.stack.udp_mut().receive(flooded).is_none());
    scene.receive(&udp(b"next").frame());
    assert_eq!(scene.stack.udp_mut().receive(flooded).unwrap().dropped_before(), 44);
}

#[test]
fn a_queue_is_bounded_in_bytes_too() {
    let mut scene = Scene::with(|config| config.receive_queue_bytes = 2_500);
    let socket = scene.stack.udp_bind(7).unwrap();
    for _ in 0..3 {
        scene.receive(&udp(&[0; 1_000]).frame());
    }
    assert_eq!(scene.stack.stats().dropped[Drop::UdpQueueFull], 1);
    scene.stack.udp_mut().receive(socket).unwrap();
    scene.receive(&udp(&[0; 1_000]).frame());
    assert_eq!(scene.stack.udp().stats(socket).unwrap().received, 3);
}

#[test]
fn a_closed_port_is_refused_with_what_was_sent_to_it() {
    let mut scene = Scene::with_neighbor();
    let payload: Vec<u8> = (0..1_000u16).map(|n| n as u8).collect();
    let frame = udp(&payload).source(5000, 9).options(&[1, 1, 1, 0]).frame();
    scene.receive(&frame);
    let sent = scene.sent();
    let packet = etherparse::SlicedPacket::from_ethernet(&sent[0]).unwrap();
    let Some(TransportSlice::Icmpv4(message)) = packet.transport else { panic!("no ICMP") };
    let port = etherparse::icmpv4::DestUnreachableHeader::Port;
    assert_eq!(message.icmp_type(), Icmpv4Type::DestinationUnreachable(port));
    let header = icmpv4_header(&sent[0]);
    assert_eq!((header.source, header.destination), (HOST.octets(), PEER.octets()));
    assert_eq!(message.payload(), &frame[14..][..576 - 28]);
    assert_eq!(message.header().calc_checksum(message.payload()), message.checksum());
    assert_eq!(scene.stack.stats().icmp_errors, 1);
}

trait Checksum {
    fn calc_checksum(&self, payload: &[u8]) -> u16;
}

impl Checksum for etherparse::Icmpv4Header {
    fn calc_checksum(&self, payload: &[u8]) -> u16 {
        self.icmp_type.calc_checksum(payload)
    }
}

fn icmpv4_header(frame: &[u8]) -> etherparse::Ipv4Header {
    etherparse::Ipv4Header::from_slice(&frame[14..]).unwrap().0
}

#[test]
fn refusals_are_limited_in_rate_and_echo_replies_are_not() {
    let mut scene = Scene::with_neighbor();
    for _ in 0..200 {
        scene.receive(&udp(b"").source(5000, 9).frame());
        scene.receive(&icmp(ping(), b"ping"));
    }
    let stats = scene.stack.stats();
    assert_eq!((stats.icmp_errors, stats.dropped[Drop::IcmpRateLimited]), (50, 150));
    assert_eq!(stats.icmp_echo_replies, 200);
    scene.sent();
    scene.now += Duration::from_millis(10);
    scene.receive(&udp(b"").source(5000, 9).frame());
    assert_eq!(scene.sent().len(), 1);
}

#[test]
fn an_echo_request_comes_back_whole_unless_it_went_to_everybody() {
    let mut scene = Scene::with_neighbor();
    let payload = vec![0xa5; 1_472];
    scene.receive(&icmp(ping(), &payload));
    let sent = scene.sent();
    let packet = etherparse::SlicedPacket::from_ethernet(&sent[0]).unwrap();
    let Some(TransportSlice::Icmpv4(message)) = packet.transport else { panic!("no ICMP") };
    assert_eq!(message.icmp_type(), pong());
    assert_eq!(message.payload(), payload);
    assert_eq!(message.header().calc_checksum(message.payload()), message.checksum());

    let mut to_all = icmp(ping(), b"x");
    scene::readdress(&mut to_all, Ipv4Addr::new(10, 0, 0, 255));
    scene.receive(&to_all);
    assert_eq!(scene.sent().len(), 0);
    assert_eq!(scene.stack.stats().dropped[Drop::IcmpUnhandled], 1);
}

const ECHO: IcmpEchoHeader = IcmpEchoHeader { id: 7, seq: 9 };

fn ping() -> Icmpv4Type {
    Icmpv4Type::EchoRequest(ECHO)
}

fn pong() -> Icmpv4Type {
    Icmpv4Type::EchoReply(ECHO)
}

#[test]
fn an_arp_request_is_answered_to_its_sender_and_a_probe_too() {
    let mut scene = Scene::new();
    scene.receive(&arp(REQUEST, (PEER_MAC, PEER), HOST));
    scene.receive(&arp(REQUEST, (PEER_MAC, Ipv4Addr::UNSPECIFIED), HOST));
    scene.receive(&arp(REQUEST, (PEER_MAC, PEER), Ipv4Addr::new(10, 0, 0, 9)));
    let sent = scene.sent();
    let [to_peer, to_prober] = &sent[..] else { panic!("{sent:02x?}") };
    assert_eq!(
        to_peer[14..],
        arp(REPLY, (HOST_MAC, HOST), PEER)[14..][..18]
            .iter()
            .copied()
            .chain(PEER_MAC.0)
            .chain(PEER.octets())
            .collect::<Vec<_>>()
    );
    assert_eq!(
        (to_prober[..6].to_vec(), to_prober[38..42].to_vec()),
        (PEER_MAC.0.to_vec(), vec![0; 4])
    );
}

#[test]
fn who_asks_from_an_address_of_another_link_is_answered_and_not_believed() {
    let mut scene = Scene::new();
    let elsewhere = Ipv4Addr::new(192, 0, 2, 1);
    scene.receive(&arp(REQUEST, (PEER_MAC, elsewhere), HOST));
    let sent = scene.sent();
    assert_eq!(
        (sent[0][..6].to_vec(), sent[0][38..42].to_vec()),
        (PEER_MAC.0.to_vec(), elsewhere.octets().to_vec())
    );
    let refused = scene.send_bytes(0, (elsewhere, 9).into(), b"x");
    assert_eq!(refused, Err(SendError::RouteNotFound));
}

#[test]
fn ports_that_nobody_reads_leave_packets_for_those_that_are_read() {
    let mut scene = Scene::with(|config| config.receive_queues = 100);
    for port in 7..17 {
        scene.stack.udp_bind(port).unwrap();
    }
    for port in 7..16 {
        (0..50).for_each(|_| scene.receive(&udp(b"x").source(5_000, port).frame()));
    }
    let quiet = scene.stack.udp().socket_on(16).unwrap();
    scene.receive(&udp(b"quiet").source(5_000, 16).frame());
    assert_eq!(scene.stack.udp_mut().receive(quiet).unwrap().payload(), b"quiet");
    assert_eq!(scene.pool.available(), scene.pool.capacity() - (2 * 50 + 7 * 5));
    let unread = scene.stack.udp().socket_on(7).unwrap();
    scene.stack.udp_mut().close(unread);
    assert_eq!(scene.pool.available(), scene.pool.capacity() - (50 + 7 * 5));
}

#[test]
fn a_packet_waits_for_its_neighbour_and_goes_out_when_it_answers() {
    let mut scene = Scene::new();
    scene.stack.udp_bind(7).unwrap();
    scene.send_bytes(7, (PEER, 5000).into(), b"one").unwrap();
    scene.send_bytes(7, (PEER, 5000).into(), b"two").unwrap();
    let sent = scene.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0][..6], [0xff; 6]);
    assert_eq!(sent[0][14..], arp(REQUEST, (HOST_MAC, HOST), PEER)[14..]);
    scene.receive(&arp(REPLY, (PEER_MAC, PEER), HOST));
    let payloads = [scene.sent_udp().payload, scene.sent_udp().payload];
    assert_eq!(payloads, [b"one", b"two"]);
}

#[test]
fn a_sender_is_told_of_a_neighbour_that_does_not_answer() {
    let mut scene = Scene::new();
    scene.stack.udp_bind(7).unwrap();
    scene.send_bytes(7, (PEER, 5000).into(), b"one").unwrap();
    while let Some(next) =
        scene.stack.poll_timeout().filter(|_| scene.stack.stats().dropped.total() == 0)
    {
        scene.now = next;
        scene.stack.handle_timeout(next);
    }
    assert_eq!(scene.stack.stats().dropped[Drop::NeighborUnreachable], 1);
    let told = scene.send_bytes(7, (PEER, 5000).into(), b"two");
    assert_eq!(told, Err(SendError::DestinationUnreachable(IcmpError::HostUnreachable)));
}

#[test]
fn what_is_not_on_the_link_goes_to_the_gateway() {
    let mut scene = Scene::with(|config| {
        let addresses = vec!["10.0.0.2/24".parse().unwrap()];
        config.ipv4 = Ipv4Config::Static { addresses, gateway: Some(PEER) };
    });
    scene.receive(&arp(REQUEST, (PEER_MAC, PEER), HOST));
    scene.sent();
    scene.send_bytes(0, "192.0.2.1:53".parse().unwrap(), b"query").unwrap();
    let sent = scene.sent_udp();
    assert_eq!((sent.to, sent.destination), (PEER_MAC, "192.0.2.1:53".parse().unwrap()));
    assert!((32_768..=65_535).contains(&sent.source.port()));
}

#[test]
fn what_cannot_be_sent_is_refused_with_a_reason() {
    let mut scene = Scene::with_neighbor();
    let to = |text: &str| text.parse::<SocketAddr>().unwrap();
    let mut refusal = |destination, length| {
        let mut packet = scene.pool.take().unwrap();
        packet.append(length).unwrap();
        let destination = Destination::from(destination).dont_fragment(true);
        let (stack, now) = (&mut scene.stack, scene.now);
        stack.udp_send(now, Local::default(), destination, packet).unwrap_err()
    };
    assert_eq!(refusal(to("192.0.2.1:9"), 1), SendError::RouteNotFound);
    assert_eq!(refusal(to("10.0.0.255:9"), 1), SendError::BroadcastNotAllowed);
    assert_eq!(refusal(to("0.0.0.0:9"), 1), SendError::RouteNotFound);
    assert_eq!(refusal(to("[2001:db8::1]:9"), 1), SendError::RouteNotFound);
    assert_eq!(refusal(to("10.0.0.1:0"), 1), SendError::PortZero);
    assert_eq!(refusal(to("10.0.0.1:9"), 1_473), SendError::PacketTooBig { mtu: 1_500 });
    scene.send_bytes(0, to("10.0.0.1:9"), &[0; 1_472]).unwrap();
    assert_eq!(scene.sent_udp().payload.len(), 1_472);
}

#[test]
fn a_port_belongs_to_one_socket_until_that_is_closed() {
    let mut scene = Scene::new();
    let socket = scene.stack.udp_bind(7).unwrap();
    assert_eq!(
        scene.stack.udp_bind(7),
        Err(BindError::PortInUse { port: 7, by: Holder::Socket(7.into()) })
    );
    let foreign = IpAddr::from([10, 0, 0, 9]);
    assert_eq!(scene.stack.udp_bind((foreign, 8)), Err(BindError::AddressNotLocal(foreign)));
    scene.receive(&udp(b"x").frame());
    scene.stack.udp_mut().close(socket);
    assert_eq!(scene.stack.poll_event(), None);
    assert_eq!(scene.pool.available(), scene.pool.capacity());
    assert!(scene.stack.udp_bind((HOST, 7)).is_ok());
}

#[test]
fn an_empty_pool_costs_packets_and_nothing_else() {
    let mut scene = Scene::with_neighbor();
    scene.stack.udp_bind(7).unwrap();
    let all: Vec<_> = std::iter::from_fn(|| scene.pool.take()).collect();
    scene.stack.handle_timeout(scene.now + Duration::from_secs(60));
    drop(all);
    let unresolved: SocketAddr = "10.0.0.77:9".parse().unwrap();
    let packet = scene.pool.take().unwrap();
    let all: Vec<_> = std::iter::from_fn(|| scene.pool.take()).collect();
    scene.stack.udp_send(scene.now, Local::default(), unresolved, packet).unwrap();
    assert_eq!(scene.stack.stats().dropped[Drop::NoPacket], 1);
    drop(all);
    // The request that could not be sent is made up for.
    let next = scene.stack.poll_timeout().unwrap();
    scene.stack.handle_timeout(next);
    assert_eq!(scene.sent().len(), 1);
}

#[test]
fn smoltcp_and_the_stack_exchange_datagrams_and_pings() {
    let mut scene = Scene::new();
    let socket = scene.stack.udp_bind(7).unwrap();
    let mut peer = Peer::new();
    for length in [0, 1, 2, 63, 64, 65, 511, 1_471, 1_472] {
        let payload: Vec<u8> = (0..length).map(|n: usize| (n * 7) as u8).collect();
        peer.send(&payload, HOST, 7);
        scene.exchange(&mut peer);
        let datagram = scene.stack.udp_mut().receive(socket).unwrap();
        assert_eq!(datagram.payload(), payload);
        scene.send(datagram.local().into(), datagram.remote(), datagram.into_packet()).unwrap();
        scene.exchange(&mut peer);
        assert_eq!(peer.receive(), Some((payload, (HOST, 7).into())));
    }
    assert_eq!(scene.stack.stats().dropped.total(), 0);
}

proptest! {
    #[test]
    fn any_frame_is_taken_without_a_panic_and_every_packet_comes_back(
        frames in proptest::collection::vec(
            (0usize..6, proptest::collection::vec((0usize..80, any::<u8>()), 0..6), 0usize..1_600, any::<Vec<u8>>()),
            1..40,
        ),
        seconds in 0u64..100,
    ) {
        let mut scene = Scene::with_neighbor();
        scene.stack.udp_bind(7).unwrap();
        for (kind, changes, length, noise) in frames {
            let mut frame = match kind {
                0 => udp(&noise).frame(),
                1 => udp(&noise).source(5000, 9).options(&[7, 4, 4, 0]).frame(),
                2 => icmp(ping(), &noise),
                3 => arp(REQUEST, (PEER_MAC, PEER), HOST),
                4 => arp(REPLY, (PEER_MAC, PEER), HOST),
                _ => noise,
            };
            frame.truncate(length);
            for (at, value) in changes {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
            }
            scene.receive(&frame);
            scene.now += Duration::from_secs(seconds);
            scene.stack.handle_timeout(scene.now);
            scene.sent();
        }
        let Scene { stack, pool, .. } = scene;
        drop(stack);
        prop_assert_eq!(pool.available(), pool.capacity());
    }
}
