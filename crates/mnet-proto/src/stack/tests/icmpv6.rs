//! ICMPv6 (RFC 4443), path MTU discovery (RFC 8201), and what listeners to groups say (RFC 3810).

use std::net::Ipv6Addr;

use super::scene6::*;
use super::*;
use crate::{Filter, IcmpError};

const DESTINATION: u8 = 60;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An options header that the host complains about.
fn bad_option() -> [u8; 8] {
    [0, 0, 1, 0, 0x9e, 2, 0, 0]
}

#[test]
fn an_echo_request_comes_back_whole_from_the_address_it_went_to() {
    for (to, from) in [(host(), host()), (host_local(), host_local()), (a("ff02::1"), host())] {
        for length in [0, 1, 56, 1_452, 1_453, 8_000, 65_527] {
            let mut scene = scene_with_neighbor();
            let payload: Vec<u8> = (0..length).map(|n: usize| (n / 3) as u8).collect();
            let ends: Vec<usize> = (1..=46).map(|n| n * 1_432).collect();
            let request = echo(&payload).to(to);
            if length <= 1_452 {
                scene.receive(&request.frame());
            } else {
                request.fragments(7, &ends).iter().for_each(|frame| scene.receive(frame));
            }
            let mut sent = scene.sent6();
            assert!(sent.iter().all(|seen| (seen.source, seen.hop_limit) == (from, 64)));
            assert!(sent.iter().all(|seen| seen.payload.len() <= 1_460));
            let message = if sent[0].next == FRAGMENT {
                assert_eq!(sent[0].payload[0], ICMP6);
                sent.iter().flat_map(|seen| seen.payload[8..].to_vec()).collect()
            } else {
                sent.remove(0).payload
            };
            assert_eq!(checksum(from, peer(), ICMP6, &message), 0);
            assert_eq!(message[..2], [129, 0]);
            assert_eq!(message[4..8], [0x12, 0x34, 0, 1]);
            assert_eq!(&message[8..], payload);
        }
    }
}

#[test]
fn messages_that_ask_for_nothing_are_passed_over() {
    for kind in [100, 127, 129, 139, 151, 200, 255] {
        let mut scene = scene_with_neighbor();
        assert_eq!(scene.answers(icmp6(kind, 0, [0; 4], &[0; 48])), [], "{kind}");
    }
    let mut scene = scene_with_neighbor();
    assert_eq!(scene.answers(icmp6(128, 1, [0; 4], b"")), []);
    assert_eq!(scene.dropped(), [(Drop::IcmpUnhandled, 1)]);
    assert_eq!(scene.answers(raw(ICMP6, &[128, 0, 0])), []);
    assert_eq!(scene.answers(echo(b"").no_checksum()), []);
    assert_eq!(scene.dropped(), [(Drop::IcmpMalformed, 2), (Drop::IcmpUnhandled, 1)]);
}

#[test]
fn a_closed_port_is_told_of_with_as_much_as_fits_into_the_least_mtu() {
    for (length, quoted) in [(0, 48), (1_184, 1_232), (1_185, 1_232), (1_400, 1_232)] {
        let mut scene = scene_with_neighbor();
        let datagram = udp6(&vec![7; length]);
        let frame = datagram.clone().frame();
        let answers = scene.answers(datagram);
        let [error] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!((error.kind(), error.pointer()), (Some((1, 4)), 0));
        assert_eq!((error.source, error.destination, error.hop_limit), (host(), peer(), 64));
        assert_eq!(error.payload[8..], frame[14..14 + quoted]);
        assert!(40 + error.payload.len() <= 1_280);
    }
    let mut scene = scene_with_neighbor();
    assert_eq!(scene.answers(udp6(b"").to(host_local()))[0].source, host_local());
}

#[test]
fn no_error_is_about_what_went_to_many_or_came_from_nobody() {
    let mut scene = scene_with_neighbor();
    assert_eq!(scene.answers(udp6(b"").to(a("ff02::1"))), []);
    assert_eq!(scene.answers(udp6(b"").in_frame_to(Mac::BROADCAST)), []);
    let nobody = Ipv6Addr::UNSPECIFIED;
    assert_eq!(scene.answers(raw(6, b"x").from(nobody)), []);
    assert_eq!(scene.answers(echo(b"").from(nobody).header(DESTINATION, &bad_option())), []);
    assert_eq!(scene.answers(raw(6, b"x")).len(), 1);
}

#[test]
fn no_error_is_about_an_error_or_a_redirect() {
    let mut scene = scene_with_neighbor();
    for kind in [0, 1, 2, 3, 4, 5, 100, 127, 137] {
        let about = icmp6(kind, 0, [0; 4], &[0; 48]).header(DESTINATION, &bad_option());
        assert_eq!(scene.answers(about), [], "{kind}");
    }
    for kind in [128, 129, 133, 200] {
        let about = icmp6(kind, 0, [0; 4], &[0; 48]).header(DESTINATION, &bad_option());
        assert_eq!(scene.answers(about).len(), 1, "{kind}");
    }
}

#[test]
fn errors_are_limited_in_rate_and_echo_replies_are_not() {
    let mut scene = scene_with_neighbor();
    for _ in 0..1_000 {
        scene.receive(&udp6(b"").frame());
        scene.receive(&raw(6, b"x").frame());
    }
    assert_eq!(scene.sent6().len(), 50);
    for _ in 0..200 {
        assert_eq!(scene.answers(echo(b"")).len(), 1);
    }
    scene.drive(Duration::from_millis(100));
    scene.sent();
    (0..100).for_each(|_| scene.receive(&udp6(b"").frame()));
    assert_eq!(scene.sent6().len(), 10);
}

/// A scene with a socket that has sent a datagram, and what it sent.
fn sent() -> (Scene, SocketId, Vec<u8>) {
    let mut scene = scene_with_neighbor();
    let socket = scene.stack.udp_bind(5_353).unwrap();
    scene.send6(peer(), b"lost").unwrap();
    let frame = scene.sent().remove(0);
    (scene, socket, frame[14..].to_vec())
}

fn on_the_way() -> Ipv6Addr {
    a("2001:db8::99")
}

fn error(kind: u8, code: u8, number: u32, about: &[u8]) -> Datagram6 {
    icmp6(kind, code, number.to_be_bytes(), about).from(on_the_way())
}

#[test]
fn an_error_about_what_was_sent_reaches_its_sender() {
    for (kind, code, expected) in [
        (1, 0, IcmpError::NetworkUnreachable),
        (1, 1, IcmpError::Prohibited),
        (1, 2, IcmpError::NetworkUnreachable),
        (1, 3, IcmpError::HostUnreachable),
        (1, 4, IcmpError::PortUnreachable),
        (1, 5, IcmpError::Prohibited),
        (1, 6, IcmpError::Prohibited),
        (1, 99, IcmpError::HostUnreachable),
        (3, 0, IcmpError::TimeExceeded),
        (3, 1, IcmpError::TimeExceeded),
        (4, 0, IcmpError::ParameterProblem),
        (4, 1, IcmpError::ProtocolUnreachable),
        (4, 2, IcmpError::ParameterProblem),
        (100, 7, IcmpError::Unknown { kind: 100, code: 7 }),
    ] {
        let (mut scene, socket, about) = sent();
        assert_eq!(scene.answers(error(kind, code, 0, &about)), []);
        let report = scene.stack.udp_mut().receive_error(socket).unwrap();
        assert_eq!((report.local, report.remote), ((host(), 5_353).into(), (peer(), 9).into()));
        assert_eq!((report.reporter, report.error), (on_the_way().into(), expected));
        assert_eq!(scene.stack.udp_mut().receive_error(socket), None);
    }
    // RFC 4443 §2.4 (c): a part is enough if the ports are in it.
    let (mut scene, socket, about) = sent();
    scene.receive(&error(1, 4, 0, &about[..44]).frame());
    assert!(scene.stack.udp_mut().receive_error(socket).is_some());
}

#[test]
fn an_error_about_what_was_not_sent_is_not_believed() {
    let (_, _, about) = sent();
    let with = |at: usize, value: u8| {
        let mut about = about.clone();
        about[at] ^= value;
        about
    };
    // Cut short, from another, to another, other ports, another protocol, no IPv6 at all.
    let cases = [
        about[..43].to_vec(),
        about[..39].to_vec(),
        vec![],
        with(23, 1),
        with(39, 8),
        with(41, 1),
        with(43, 1),
        with(6, 1),
    ];
    for (at, case) in cases.iter().enumerate() {
        let (mut scene, socket, _) = sent();
        for (kind, number) in [(1, 0), (2, 1_300), (3, 0), (4, 40), (99, 0)] {
            assert_eq!(scene.answers(error(kind, 0, number, case)), []);
        }
        assert_eq!(scene.stack.udp_mut().receive_error(socket), None, "{at}");
        assert_eq!(scene.dropped(), [(Drop::IcmpUnexpected, 5)], "{at}");
    }
    let (mut scene, socket, about) = sent();
    scene.receive(&error(1, 4, 0, &about).to(a("ff02::1")).frame());
    assert_eq!(scene.stack.udp_mut().receive_error(socket), None);
}

/// The length of the longest datagram that a large one is sent in.
fn longest(scene: &mut Scene) -> usize {
    scene.sent();
    scene.send6(peer(), &[0; 3_000]).unwrap();
    scene.sent6().iter().map(|seen| 40 + seen.payload.len()).max().unwrap()
}

#[test]
fn a_path_that_lets_less_pass_is_sent_less_for_ten_minutes() {
    let (mut scene, socket, about) = sent();
    scene.receive(&error(2, 0, 1_300, &about).frame());
    let report = scene.stack.udp_mut().receive_error(socket).unwrap();
    assert_eq!(report.error, IcmpError::PacketTooBig { mtu: 1_300 });
    scene.send6(peer(), &[0; 1_252]).unwrap();
    assert_eq!(scene.sent_one().next, UDP);
    scene.send6(peer(), &[0; 1_253]).unwrap();
    let pieces = scene.sent6();
    assert_eq!(pieces.len(), 2);
    assert!(pieces.iter().all(|piece| piece.next == FRAGMENT && piece.payload.len() <= 1_260));
    let whole = Destination::from((peer(), 9)).dont_fragment(true);
    let mut packet = scene.pool.take().unwrap();
    packet.append(1_253).unwrap();
    let refused = scene.stack.udp_send(scene.now, 5_353.into(), whole, packet);
    assert_eq!(refused, Err(SendError::PacketTooBig { mtu: 1_300 }));
    // The others' paths are as they were.
    scene.meet(on_the_way(), PEER_MAC);
    scene.send6(on_the_way(), &[0; 1_400]).unwrap();
    assert_eq!(scene.sent_one().next, UDP);

    for _ in 0..59 {
        scene.drive(seconds(10));
        scene.meet(peer(), PEER_MAC);
    }
    assert!(longest(&mut scene) <= 1_300);
    scene.drive(seconds(11));
    scene.meet(peer(), PEER_MAC);
    assert!(longest(&mut scene) > 1_300);
}

#[test]
fn nobody_can_say_that_less_passes_than_every_link_takes_or_more_than_is_sent() {
    for mtu in [0, 68, 1_279, 1_500, 1_501, 9_000, u32::MAX] {
        let (mut scene, socket, about) = sent();
        scene.receive(&error(2, 0, mtu, &about).frame());
        assert_eq!(scene.stack.udp_mut().receive_error(socket), None, "{mtu}");
        assert!(longest(&mut scene) > 1_400, "{mtu}");
    }
    let (mut scene, _, about) = sent();
    scene.receive(&error(2, 0, 1_280, &about).frame());
    scene.receive(&error(2, 0, 1_400, &about).frame());
    assert!(longest(&mut scene) <= 1_280);
}

#[test]
fn echo_replies_find_the_paths_mtu_too() {
    let mut scene = scene_with_neighbor();
    let request = || echo(&[7; 1_400]);
    scene.receive(&request().frame());
    let reply = scene.sent().remove(0)[14..].to_vec();
    let pieces = |scene: &mut Scene| scene.answers(request()).len();
    // Of another sequence number, or to somebody else, there was no reply.
    let mut other = reply.clone();
    other[47] ^= 1;
    let mut elsewhere = reply.clone();
    elsewhere[39] ^= 8;
    for about in [&other, &elsewhere] {
        scene.receive(&error(2, 0, 1_300, &about[..1_232]).frame());
    }
    assert_eq!(scene.dropped(), [(Drop::IcmpUnexpected, 2)]);
    for mtu in [1_279, 1_448, u32::MAX] {
        scene.receive(&error(2, 0, mtu, &reply[..1_232]).frame());
        assert_eq!(pieces(&mut scene), 1, "{mtu}");
    }
    for _ in 0..2 {
        scene.receive(&error(2, 0, 1_300, &reply[..1_232]).frame());
        assert_eq!(pieces(&mut scene), 2);
        // What is sent goes by it, too.
        assert!((1_290..=1_300).contains(&longest(&mut scene)));
        // It ages, and is found again.
        scene.drive(seconds(601));
        scene.meet(peer(), PEER_MAC);
        assert_eq!(pieces(&mut scene), 1);
    }
}

#[test]
fn a_path_is_found_narrower_by_what_is_said_of_its_fragments_too() {
    let (mut scene, _, _) = sent();
    scene.send6(peer(), &[0; 3_000]).unwrap();
    let first = scene.sent()[0][14..].to_vec();
    scene.receive(&error(2, 0, 1_400, &first[..1_232]).frame());
    let longest = longest(&mut scene);
    assert!((1_390..=1_400).contains(&longest), "{longest}");
}

#[test]
fn listeners_are_told_of_with_a_router_alert_one_hop_far() {
    let mut scene = scene();
    let socket = scene.stack.udp_bind(9).unwrap();
    let group = a("ff05::1234");
    scene.stack.udp_join(scene.now, socket, group.into(), Filter::ANY).unwrap();
    let report = scene.sent_one();
    assert_eq!((report.kind(), report.hop_limit), (Some((143, 0)), 1));
    assert_eq!((report.source, report.destination), (host_local(), a("ff02::16")));
    assert_eq!(report.hop_by_hop.as_deref(), Some(&[58, 0, 5, 2, 0, 0, 1, 0][..]));
    assert_eq!(report.payload[4..12], [0, 0, 0, 1, 4, 0, 0, 0]);
    assert_eq!(report.payload[12..], group.octets());
    assert!(scene.stack.udp_leave(scene.now, socket, group.into()));
    scene.drive(seconds(3));
    assert_eq!(scene.sent_icmp(143).last().unwrap().payload[8], 3);
}

#[test]
fn a_query_is_answered_with_all_groups_but_that_of_all_nodes() {
    let alert = [0, 0, 5, 2, 0, 0, 1, 0];
    let body = [&[0; 16][..], &[2, 125, 0, 0]].concat();
    let query = || icmp6(130, 0, [0x03, 0xe8, 0, 0], &body).from(router()).to(a("ff02::1"));
    let answer = |datagram: Datagram6| {
        let mut scene = scene();
        scene.receive(&datagram.frame());
        scene.drive(Duration::from_millis(1_010));
        scene.sent_icmp(143)
    };
    let reports = answer(query().hops(1).header(0, &alert));
    assert_eq!(reports.len(), 1);
    let groups: Vec<_> = reports[0].payload[8..]
        .chunks(20)
        .map(|record| Ipv6Addr::from(<[u8; 16]>::try_from(&record[4..]).unwrap()))
        .collect();
    assert_eq!(groups, [solicited(host())]);
    assert_eq!(solicited(host()), solicited(host_local()));
    for to in [host(), host_local(), solicited(host())] {
        assert_eq!(answer(query().hops(1).header(0, &alert).to(to)).len(), 1, "{to}");
    }
    // From beyond the link, or such that no router has looked at it, it is none.
    assert_eq!(answer(query().hops(2).header(0, &alert)), []);
    assert_eq!(answer(query().hops(1)), []);
    assert_eq!(answer(query().hops(1).header(DESTINATION, &alert)), []);
    assert_eq!(answer(query().hops(1).header(0, &[0, 0, 5, 2, 0, 1, 1, 0])), []);
    assert_eq!(answer(query().hops(1).header(0, &alert).from(peer())), []);
}

#[test]
fn what_is_sent_comes_from_the_address_that_rfc_6724_chooses() {
    let mut scene = scene();
    scene.advertise(&link_option(1, ROUTER_MAC));
    for cidr in ["fd00:1::2/64", "2001:db8:5::2/64", "2002:102:304::2/64", "2001:db8:5:8::2/64"] {
        scene.stack.add_address(scene.now, cidr.parse().unwrap()).unwrap();
    }
    scene.drive(seconds(3));
    for (to, from) in [
        // Scope (rule 2): as far as it goes, and no farther.
        ("fe80::7", "fe80::ff:fe00:2"),
        ("ff02::7", "fe80::ff:fe00:2"),
        ("ff05::7", "2001:db8::2"),
        ("ff0e::7", "2001:db8::2"),
        // Label (rule 6).
        ("fd77::1", "fd00:1::2"),
        ("2002:a00::1", "2002:102:304::2"),
        // Longest prefix (rule 8), of which no more counts than the address has.
        ("2001:db8:5::7", "2001:db8:5::2"),
        ("2001:db8:5:9::7", "2001:db8:5:8::2"),
        ("2001:db8:4::7", "2001:db8:5::2"),
        ("2001:db8::7", "2001:db8::2"),
        ("3000::1", "2001:db8::2"),
    ] {
        scene.sent();
        scene.send6(a(to), b"x").unwrap();
        let source = scene.sent_one().source;
        assert_eq!(source, a(from), "to {to}");
    }
    // What is for this host alone, or for nobody, goes nowhere.
    for to in ["::", "::1", "::ffff:10.0.0.1", "ff00::1", "ff01::1", "2001:db8::2"] {
        assert_eq!(scene.send6(a(to), b"x"), Err(SendError::RouteNotFound), "{to}");
    }
}

proptest! {
    #[test]
    fn any_ipv6_frame_is_taken_without_a_panic_and_every_packet_comes_back(
        frames in proptest::collection::vec(
            (
                0usize..16,
                proptest::collection::vec((14usize..120, any::<u8>()), 0..4),
                0usize..1_514,
                proptest::collection::vec(any::<u8>(), 0..200),
                0usize..5,
            ),
            1..60,
        ),
        millis in 0u64..20_000,
    ) {
        let mut scene = scene_with(|config| config.ipv6.interface_id = Default::default());
        scene.stack.udp_bind(7).unwrap();
        for (kind, changes, length, noise, header) in frames {
            let short: [u8; 8] = array::from_fn(|at| noise.get(at).copied().unwrap_or(1));
            let datagram = match kind {
                0 => udp6(&noise),
                1 => echo(&noise),
                2 => solicit(host(), Some(PEER_MAC)),
                3 => advert(peer(), short[0], Some(PEER_MAC)),
                4 => router_advert(u16::from(short[0]), &noise),
                5 => router_advert(
                    9,
                    &prefix_option("2001:db8:7::/64", short[1], short[2].into(), short[3].into()),
                ),
                6 => redirect(a("fe80::7"), peer(), Some(PEER_MAC)),
                7 => icmp6(short[0], short[1], [0, 0, short[2], short[3]], &noise),
                8 => icmp6(130, 0, [0; 4], &noise).hops(1).header(0, &[0, 0, 5, 2, 0, 0, 1, 0]),
                9 => raw(ICMP6, &noise).header(
                    FRAGMENT,
                    &fragment_header(usize::from(short[0] % 4) * 8, short[1] & 1 == 1, 1),
                ),
                10 => echo(&noise).from(Ipv6Addr::UNSPECIFIED),
                11 => solicit(host_local(), None).from(Ipv6Addr::UNSPECIFIED),
                12 => icmp6(2, 0, [0, 0, 5, short[0]], &udp6(b"").from(host()).frame()[14..]),
                13 => udp6(&noise).to(a("ff02::1")),
                _ => raw(short[0], &noise),
            };
            let datagram = match header {
                0 => datagram.header(0, &short),
                1 => datagram.header(DESTINATION, &short),
                2 => datagram.header(43, &short),
                _ => datagram,
            };
            let mut frame = datagram.frame();
            frame.truncate(if length > 1_400 { frame.len() } else { length });
            for (at, value) in changes {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
            }
            scene.receive(&frame);
            let _ = scene.send6(peer(), b"x");
            scene.sent();
            scene.drive(Duration::from_millis(millis));
            scene.sent();
        }
        let Scene { stack, pool, .. } = scene;
        drop(stack);
        prop_assert_eq!(pool.available(), pool.capacity());
        prop_assert_eq!(pool.large_available(), 4 << 20);
    }
}
