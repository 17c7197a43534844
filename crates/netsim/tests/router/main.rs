//! A router between two links. Who is there is smoltcp, or speaks through etherparse: what is
//! tested here is not believed twice.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

mod advertise;
mod hostile;
mod peer;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use etherparse::{
    Icmpv4Type, Icmpv6Type, Ipv4Header, SlicedPacket, TransportSlice, icmpv4, icmpv6,
};
use mnet_proto::Config;
use mnet_proto::IpCidr;
use netsim::{Advertisement, Link, LinkId, Network, RouterId};

use crate::peer::{Peer, Probe, run, udp};

const SECOND: Duration = Duration::from_secs(1);

fn cidrs(texts: &[&str]) -> Vec<IpCidr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Two links and a router between them; the first has an MTU of 1,500.
fn scene(second_mtu: u16) -> (Network, LinkId, LinkId, RouterId) {
    let mut net = Network::new(1);
    let [first, second] = [1_500, second_mtu].map(|mtu| net.link(Link { mtu, ..Link::default() }));
    let router = net.router();
    net.attach(router, first, &cidrs(&["10.0.0.1/24", "fd00:0:0:1::1/64"]));
    net.attach(router, second, &cidrs(&["10.0.1.1/24", "fd00:0:0:2::1/64"]));
    (net, first, second, router)
}

fn probe(net: &mut Network, link: LinkId, router: RouterId) -> Probe {
    let own = net.router_mut(router).link_local(link).unwrap();
    Probe::new(net, link, own)
}

#[derive(Debug, PartialEq)]
enum Icmp {
    V4(Icmpv4Type),
    V6(Icmpv6Type),
}

/// What the router says in an ICMP message, from which address, and what it quotes.
fn icmp(datagram: &[u8]) -> (IpAddr, Icmp, Vec<u8>) {
    let packet = SlicedPacket::from_ip(datagram).unwrap();
    match (packet.net.as_ref(), packet.transport) {
        (Some(etherparse::NetSlice::Ipv4(ip)), Some(TransportSlice::Icmpv4(message))) => {
            let header = message.header();
            let checksum = header.icmp_type.calc_checksum(message.payload());
            assert_eq!(header.checksum, checksum);
            let from = ip.header().source_addr().into();
            (from, Icmp::V4(message.icmp_type()), message.payload().to_vec())
        }
        (Some(etherparse::NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(message))) => {
            let header = ip.header();
            assert!(message.is_checksum_valid(header.source(), header.destination()));
            let from = header.source_addr().into();
            (from, Icmp::V6(message.icmp_type()), message.payload().to_vec())
        }
        other => panic!("no ICMP: {other:?}"),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn stacks_on_two_links_reach_each_other() {
    let (mut net, first, second, router) = scene(1_500);
    let [a, b] = [(first, "10.0.0.2/24", [10, 0, 0, 1]), (second, "10.0.1.2/24", [10, 0, 1, 1])]
        .map(|(link, address, gateway)| {
            let config = Config::new(address.parse().unwrap()).without_ipv6();
            let config = config.with_ipv4_gateway(gateway.into());
            net.host(link, &config).unwrap()
        });
    let [at_a, at_b] = [a, b].map(|host| net.bind(host, 7).unwrap());
    for number in 0..100 {
        net.send(a, 7, ([10, 0, 1, 2], 7), &[number; 1_472]).unwrap();
        net.run_for(SECOND);
        let datagram = net.receive(b, at_b).unwrap();
        assert_eq!((datagram.hop_limit(), datagram.payload()), (63, &[number; 1_472][..]));
        net.send(b, 7, datagram.remote(), &[number]).unwrap();
        net.run_for(SECOND);
        assert_eq!(net.receive(a, at_a).unwrap().payload(), [number]);
    }
    let stats = net.router_stats(router);
    assert_eq!((stats.received, stats.sent, stats.dropped()), (200, 200, 0));
    for link in [first, second] {
        assert_eq!(net.link_stats(link).offered, net.link_stats(link).delivered);
    }
}

#[test]
fn smoltcp_reaches_smoltcp_in_both_families() {
    let (mut net, first, second, router) = scene(1_500);
    let a = &mut Peer::new(
        &mut net,
        first,
        &["10.0.0.2/24", "fd00:0:0:1::2/64"],
        &["10.0.0.1", "fd00:0:0:1::1"],
    );
    let b = &mut Peer::new(
        &mut net,
        second,
        &["10.0.1.2/24", "fd00:0:0:2::2/64"],
        &["10.0.1.1", "fd00:0:0:2::1"],
    );
    for (from, to) in [("10.0.0.2:7", "10.0.1.2:7"), ("[fd00:0:0:1::2]:7", "[fd00:0:0:2::2]:7")] {
        a.send(b"question", to);
        run(&mut net, &mut [a, b], 4 * SECOND);
        assert_eq!(b.receive().unwrap(), (b"question".to_vec(), from.parse().unwrap()));
        b.send(b"answer", from);
        run(&mut net, &mut [a, b], 4 * SECOND);
        assert_eq!(a.receive().unwrap(), (b"answer".to_vec(), to.parse().unwrap()));
    }
    let stats = net.router_stats(router);
    assert!(stats.is_balanced(), "{stats:?}");
    assert_eq!((stats.sent, stats.dropped()), (4, 0));
}

#[test]
fn smoltcp_takes_its_address_and_route_from_an_advertisement() {
    let (mut net, first, second, router) = scene(1_500);
    net.router_mut(router).advertise(
        first,
        Some(Advertisement {
            mtu: Some(1_500),
            dns: vec!["fd00::53".parse().unwrap()],
            ..Advertisement::of("fd00:0:0:1::".parse().unwrap(), 64)
        }),
    );
    let a = &mut Peer::new(&mut net, first, &[], &[]);
    let b = &mut Peer::new(&mut net, second, &["fd00:0:0:2::2/64"], &["fd00:0:0:2::1"]);
    a.interface.update_ip_addrs(|all| {
        let local: Ipv6Addr = "fe80::1234".parse().unwrap();
        all.push(smoltcp::wire::IpCidr::new(local.into(), 64)).unwrap();
    });
    run(&mut net, &mut [a, b], 40 * SECOND);
    a.send(b"hello", "[fd00:0:0:2::2]:7");
    run(&mut net, &mut [a, b], 4 * SECOND);
    let (payload, from) = b.receive().unwrap();
    assert_eq!(payload, b"hello");
    assert!("fd00:0:0:1::/64".parse::<IpCidr>().unwrap().contains(from.ip()), "{from}");
}

#[test]
fn what_cannot_be_passed_on_is_told_to_its_sender_and_counted() {
    use icmpv4::DestUnreachableHeader as V4;
    use icmpv6::DestUnreachableCode as V6;
    let (mut net, first, _second, router) = scene(1_400);
    let mut probe = probe(&mut net, first, router);
    let (a4, a6) = ("10.0.0.9", "fd00:0:0:1::9");
    let big = [0; 1_400];
    let cases: [(Vec<u8>, Icmp); 10] = [
        (
            udp(a4, "10.0.1.2", 1, b"x"),
            Icmp::V4(Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit)),
        ),
        (
            udp(a6, "fd00:0:0:2::2", 1, b"x"),
            Icmp::V6(Icmpv6Type::TimeExceeded(icmpv6::TimeExceededCode::HopLimitExceeded)),
        ),
        (udp(a4, "192.0.2.1", 9, b"x"), Icmp::V4(Icmpv4Type::DestinationUnreachable(V4::Network))),
        (
            udp(a6, "2001:db8::1", 9, b"x"),
            Icmp::V6(Icmpv6Type::DestinationUnreachable(V6::NoRoute)),
        ),
        (udp(a4, "10.0.1.2", 9, b"x"), Icmp::V4(Icmpv4Type::DestinationUnreachable(V4::Host))),
        (
            udp(a6, "fd00:0:0:2::2", 9, b"x"),
            Icmp::V6(Icmpv6Type::DestinationUnreachable(V6::Address)),
        ),
        (
            udp(a4, "10.0.1.2", 9, &big),
            Icmp::V4(Icmpv4Type::DestinationUnreachable(V4::FragmentationNeeded {
                next_hop_mtu: 1_400,
            })),
        ),
        (udp(a6, "fd00:0:0:2::2", 9, &big), Icmp::V6(Icmpv6Type::PacketTooBig { mtu: 1_400 })),
        (udp(a4, "10.0.1.1", 9, b"x"), Icmp::V4(Icmpv4Type::DestinationUnreachable(V4::Port))),
        (udp(a6, "fd00:0:0:2::1", 9, b"x"), Icmp::V6(Icmpv6Type::DestinationUnreachable(V6::Port))),
    ];
    for (datagram, expected) in cases {
        probe.introduce(&mut net);
        probe.send(&datagram);
        net.run_for(5 * SECOND);
        let received = probe.received();
        assert_eq!(received.len(), 1, "{expected:?}");
        let (from, message, quoted) = icmp(&received[0]);
        assert_eq!(message, expected);
        let own = if matches!(message, Icmp::V4(_)) { "10.0.0.1" } else { "fd00:0:0:1::1" };
        assert_eq!(from, ip(own));
        // All of it that fits, and in it what the sender knows it by.
        let transport = if matches!(message, Icmp::V4(_)) { 20 } else { 40 };
        assert_eq!(quoted[transport..], datagram[transport..quoted.len()]);
        assert!(received[0].len() <= if transport == 20 { 576 } else { 1_280 });
        assert!(quoted.len() == datagram.len() || received[0].len() >= 570);
    }
    let stats = net.router_stats(router);
    assert!(stats.is_balanced(), "{stats:?}");
    assert_eq!((stats.hop_limit, stats.no_route, stats.unresolved, stats.too_big), (2, 2, 2, 2));
    assert_eq!((stats.errors, stats.originated, stats.sent), (10, 10, 10));
}

#[test]
fn nobody_is_told_of_what_became_of_an_error() {
    let (mut net, first, _, router) = scene(1_500);
    let mut probe = probe(&mut net, first, router);
    let mut v4 = udp("10.0.0.9", "192.0.2.1", 9, &[3, 0, 0, 0]);
    v4[9] = 1;
    v4[20] = 3;
    let mut v6 = udp("fd00:0:0:1::9", "2001:db8::1", 9, &[]);
    v6[6] = 58;
    v6[40] = 1;
    for datagram in [&mut v4, &mut v6] {
        mend(datagram);
        probe.send(datagram);
    }
    net.run_for(SECOND);
    assert!(probe.received().is_empty());
    let stats = net.router_stats(router);
    assert_eq!((stats.no_route, stats.errors), (2, 0));
    assert!(stats.is_balanced());
}

/// Puts the right checksum into a header, if it is IPv4's.
fn mend(datagram: &mut [u8]) {
    if datagram[0] >> 4 == 4 {
        let (header, _) = Ipv4Header::from_slice(datagram).unwrap();
        datagram[10..12].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
    }
}

#[test]
fn what_is_of_no_host_or_malformed_stays_where_it_is() {
    let (mut net, first, second, router) = scene(1_500);
    let mut probe = probe(&mut net, first, router);
    let before = net.link_stats(second).offered;
    for (source, destination) in [
        ("10.0.0.9", "224.0.0.9"),
        ("10.0.0.9", "255.255.255.255"),
        ("10.0.0.9", "10.0.1.255"),
        ("127.0.0.1", "10.0.1.2"),
        ("0.0.0.0", "10.0.1.2"),
        ("10.0.0.9", "127.0.0.1"),
        ("::", "fd00:0:0:2::2"),
        ("ff02::1", "fd00:0:0:2::2"),
        ("fd00:0:0:1::9", "::1"),
        ("fd00:0:0:1::9", "fe80::1"),
    ] {
        probe.send(&udp(source, destination, 9, b"x"));
    }
    let mut broken = udp("10.0.0.9", "10.0.1.2", 9, b"x");
    broken[10] ^= 1;
    probe.send(&broken);
    probe.send(&[0x45, 0, 0, 20]);
    probe.send(&[0x60, 0, 0, 1]);
    net.run_for(SECOND);
    let stats = net.router_stats(router);
    assert_eq!((stats.not_forwarded, stats.malformed), (10, 3));
    assert_eq!(net.link_stats(second).offered, before);
    assert!(probe.received().is_empty());

    // What is the link's alone goes no further, and its sender is told.
    probe.send(&udp("fe80::9", "fd00:0:0:2::2", 9, b"x"));
    net.run_for(5 * SECOND);
    assert_eq!(net.router_stats(router).not_forwarded, 11);
}

#[test]
fn the_router_answers_to_its_addresses() {
    let (mut net, first, _, router) = scene(1_500);
    let mut probe = probe(&mut net, first, router);
    let echo = etherparse::IcmpEchoHeader { id: 1, seq: 2 };
    let mut v4 = Vec::new();
    etherparse::PacketBuilder::ipv4([10, 0, 0, 9], [10, 0, 1, 1], 64)
        .icmpv4_echo_request(1, 2)
        .write(&mut v4, b"ping")
        .unwrap();
    probe.send(&v4);
    let mut v6 = Vec::new();
    let [source, destination] = ["fd00:0:0:1::9", "fd00:0:0:2::1"]
        .map(|address| address.parse::<Ipv6Addr>().unwrap().octets());
    etherparse::PacketBuilder::ipv6(source, destination, 64)
        .icmpv6_echo_request(1, 2)
        .write(&mut v6, b"ping")
        .unwrap();
    probe.send(&v6);
    net.run_for(SECOND);
    let received = probe.received();
    assert_eq!(received.len(), 2);
    let expected = (ip("10.0.1.1"), Icmp::V4(Icmpv4Type::EchoReply(echo)), b"ping".to_vec());
    assert_eq!(icmp(&received[0]), expected);
    let expected = (ip("fd00:0:0:2::1"), Icmp::V6(Icmpv6Type::EchoReply(echo)), b"ping".to_vec());
    assert_eq!(icmp(&received[1]), expected);
}

#[test]
fn a_long_datagram_goes_on_in_fragments_that_smoltcp_puts_together() {
    let (mut net, first, second, router) = scene(576);
    let mut probe = probe(&mut net, first, router);
    let b = &mut Peer::new(&mut net, second, &["10.0.1.2/24"], &["10.0.1.1"]);
    let payload: Vec<u8> = (0..1_400u32).map(|i| (i * 7) as u8).collect();
    let mut datagram = udp("10.0.0.9", "10.0.1.2", 9, &payload);
    datagram[6] = 0;
    mend(&mut datagram);
    probe.send(&datagram);
    run(&mut net, &mut [b], SECOND);
    assert_eq!(b.receive().unwrap().0, payload);
    let stats = net.router_stats(router);
    assert_eq!((stats.fragments, stats.sent, stats.too_big), (3, 1, 0));

    // What is a fragment already is cut further. The rest is yet to come: in two parts.
    let mut parts = [datagram[..20 + 800].to_vec(), datagram[..20].to_vec()];
    parts[1].extend(&datagram[820..]);
    for (part, field) in parts.iter_mut().zip([0x2000u16, 100]) {
        let len = (part.len() as u16).to_be_bytes();
        part[2..4].copy_from_slice(&len);
        part[4..6].copy_from_slice(&[9, 9]);
        part[6..8].copy_from_slice(&field.to_be_bytes());
        mend(part);
        probe.send(part);
    }
    run(&mut net, &mut [b], SECOND);
    assert_eq!(b.receive().unwrap().0, payload);
    assert_eq!(net.router_stats(router).fragments, 3 + 4);
}

#[test]
fn the_narrowest_route_is_taken_and_leads_over_several_routers() {
    let mut net = Network::new(1);
    let links: Vec<_> = (0..3).map(|_| net.link(Link::default())).collect();
    let [r, s] = [net.router(), net.router()];
    net.attach(r, links[0], &cidrs(&["10.0.0.1/24", "fd00:0:0:1::1/64"]));
    net.attach(r, links[1], &cidrs(&["10.0.1.1/24", "fd00:0:0:2::1/64"]));
    net.attach(s, links[1], &cidrs(&["10.0.1.2/24", "fd00:0:0:2::2/64"]));
    net.attach(s, links[2], &cidrs(&["10.0.2.1/24", "fd00:0:0:3::1/64"]));
    for (destination, next_hop) in [
        ("0.0.0.0/0", "10.0.0.77"),
        ("10.0.2.0/24", "10.0.1.2"),
        ("::/0", "fd00:0:0:1::77"),
        ("fd00:0:0:3::/64", "fd00:0:0:2::2"),
    ] {
        net.router_mut(r).route(destination.parse().unwrap(), ip(next_hop));
    }
    net.router_mut(s).route("0.0.0.0/0".parse().unwrap(), ip("10.0.1.1"));
    net.router_mut(s).route("::/0".parse().unwrap(), ip("fd00:0:0:2::1"));
    let c = &mut Peer::new(
        &mut net,
        links[2],
        &["10.0.2.9/24", "fd00:0:0:3::9/64"],
        &["10.0.2.1", "fd00:0:0:3::1"],
    );
    let mut probe = probe(&mut net, links[0], r);
    for (source, destination) in [("10.0.0.9", "10.0.2.9"), ("fd00:0:0:1::9", "fd00:0:0:3::9")] {
        probe.send(&udp(source, destination, 3, b"far"));
        run(&mut net, &mut [c], 4 * SECOND);
        let (payload, from) = c.receive().unwrap();
        assert_eq!((&payload[..], from.ip()), (&b"far"[..], ip(source)));
        // Two routers are on the way.
        probe.send(&udp(source, destination, 2, b"too far"));
        run(&mut net, &mut [c], 4 * SECOND);
        let (from, _, quoted) = icmp(&probe.received()[0]);
        assert!(from == ip("10.0.1.2") || from == ip("fd00:0:0:2::2"), "{from}");
        assert!(quoted.ends_with(b"too far"));
    }
}

#[test]
fn a_detour_is_answered_with_a_redirect_if_the_router_is_to() {
    let (mut net, first, _, router) = scene(1_500);
    let mut v4 = Peer::new(&mut net, first, &["10.0.0.3/24"], &[]);
    let mut v6 = Peer::new(&mut net, first, &["fd00:0:0:1::3/64", "fe80::3/64"], &[]);
    let mut probe = probe(&mut net, first, router);
    for redirects in [false, true] {
        net.router_mut(router).set_redirects(redirects);
        for (neighbor, source, destination) in
            [(&mut v4, "10.0.0.9", "10.0.0.3"), (&mut v6, "fd00:0:0:1::9", "fd00:0:0:1::3")]
        {
            probe.introduce(&mut net);
            probe.send(&udp(source, destination, 9, b"near"));
            run(&mut net, &mut [neighbor], 4 * SECOND);
            assert_eq!(neighbor.receive().unwrap().0, b"near");
            // The router also asks who its neighbours are, in ICMPv6.
            let received = probe.received();
            let mut told = received
                .iter()
                .map(|datagram| icmp(datagram).1)
                .filter(|message| !matches!(message, Icmp::V6(Icmpv6Type::NeighborSolicitation)));
            match told.next() {
                None => assert!(!redirects),
                Some(Icmp::V4(Icmpv4Type::Redirect(header))) => {
                    assert_eq!(IpAddr::from(header.gateway_internet_address), ip(destination));
                }
                Some(Icmp::V6(kind)) => assert_eq!(kind, Icmpv6Type::Redirect),
                other => panic!("{other:?}"),
            }
            assert_eq!((told.next(), net.router_stats(router).errors > 0), (None, redirects));
        }
    }
}
