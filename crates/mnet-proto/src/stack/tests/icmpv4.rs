//! ICMP (RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3, RFC 5927, RFC 6633).

use super::link::{Card, Frame, Seen, behind_gateway, message, pattern, udp_bytes, whole};
use super::*;
use crate::IcmpError;

const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

/// A host that has sent a datagram from port 7 to port 53 far away.
fn asked() -> (Scene, SocketId, Seen) {
    let mut scene = behind_gateway();
    let socket = scene.stack.udp_bind(7).unwrap();
    scene.send_v4(7, (FAR, 53), b"question", &Options::default()).unwrap();
    let sent = scene.sent_v4().remove(0);
    (scene, socket, sent)
}

#[test]
fn an_echo_of_any_size_comes_back_as_it_was() {
    let mut scene = Card::default().host(|_| ());
    for length in [0, 1, 2, 63, 64, 65, 1_471, 1_472, 1_473, 2_960, 2_961, 65_507] {
        let body = [&[0x12, 0x34, 0, 9][..], &pattern(length)].concat();
        let frame = Frame { tos: 0b1011_1011, ttl: 3, ..Frame::new(1, &message(8, 0, &body)) };
        frame.pieces(1_480).iter().for_each(|piece| scene.receive(&piece.bytes()));
        let (reply, lengths) = whole_or_one(scene.sent_v4());
        assert!(lengths.iter().all(|&length| length <= 1_500));
        assert_eq!(reply.icmp(), (0, 0, [0x12, 0x34, 0, 9], &body[4..]), "{length}");
        assert_eq!((reply.source(), reply.destination(), reply.to), (HOST, PEER, PEER_MAC));
        let header = &reply.header;
        assert_eq!((header.dscp.value(), header.ecn.value()), (0b10_1110, 0));
        assert_eq!((header.time_to_live, header.dont_fragment), (64, false));
    }
    assert_eq!(scene.stack.stats().icmp_echo_replies, 12);
    assert_eq!(scene.pool.available(), scene.pool.capacity());
}

fn whole_or_one(mut pieces: Vec<Seen>) -> (Seen, Vec<u16>) {
    if pieces.len() > 1 {
        return whole(&pieces);
    }
    let one = pieces.remove(0);
    let length = one.header.total_len;
    (one, vec![length])
}

#[test]
fn an_echo_request_to_many_is_not_answered() {
    let mut scene = Card::default().host(|_| ());
    for destination in ["255.255.255.255", "10.0.0.255", "224.0.0.1"] {
        let (to, destination) = (Mac::BROADCAST, destination.parse().unwrap());
        let ping = Frame::new(1, &message(8, 0, &[0; 8]));
        scene.receive(&Frame { to, destination, ..ping }.bytes());
    }
    assert!(scene.sent().is_empty());
    assert_eq!(scene.dropped(), [(Drop::IcmpUnhandled, 3)]);
}

#[test]
fn what_asks_for_nothing_that_is_done_here_is_passed_over() {
    let mut scene = Card::default().host(|_| ());
    // Source quench (RFC 6633), information and mask requests (RFC 6918), and what nobody knows.
    for kind in [0, 4, 9, 10, 14, 15, 17, 255] {
        scene.receive(&Frame::new(1, &message(kind, 0, &[0; 28])).bytes());
    }
    assert!(scene.sent().is_empty());
    assert_eq!(scene.dropped(), [(Drop::IcmpUnhandled, 8)]);
}

#[test]
fn whoever_asks_for_the_time_is_told_it_as_it_is_here() {
    let mut scene = Card::default().host(|_| ());
    let ask = [&[0x12, 0x34, 0, 9, 1, 2, 3, 4][..], &[0xee; 8]].concat();
    let frame = Frame { tos: 0xb9, ..Frame::new(1, &message(13, 0, &ask)) };
    scene.receive(&frame.bytes());
    let sent = scene.sent_v4();
    let (kind, code, rest, times) = sent[0].icmp();
    assert_eq!((kind, code, rest, &times[..4]), (14, 0, [0x12, 0x34, 0, 9], &[1, 2, 3, 4][..]));
    // When it came, and when it was answered.
    let told = |times: &[u8]| u32::from_be_bytes(times[4..8].try_into().unwrap());
    assert_eq!(times[4..8], times[8..]);
    // In milliseconds, since nobody knows when: the first bit says so (RFC 792).
    let first = told(times);
    assert!(first >> 31 == 1 && first & 0x7fff_ffff != 1_020_000, "{first:x}");
    assert_eq!((sent[0].source(), sent[0].header.dscp.value()), (HOST, 0b10_1110));
    // What is behind is no part of it, and without all three there is nothing to tell.
    let long = [&ask[..], &[7; 5]].concat();
    scene.now += Duration::from_millis(1_500);
    scene.receive(&Frame::new(1, &message(13, 0, &long)).bytes());
    let sent = scene.sent_v4();
    let (.., times) = sent[0].icmp();
    assert_eq!((times.len(), told(times)), (12, (first + 1_500) | (1 << 31)));
    scene.receive(&Frame::new(1, &message(13, 0, &ask[..15])).bytes());
    assert_eq!(scene.dropped(), [(Drop::IcmpMalformed, 1)]);
    for destination in ["255.255.255.255", "10.0.0.255", "224.0.0.1"] {
        let destination = destination.parse().unwrap();
        scene.receive(&Frame { to: Mac::BROADCAST, destination, ..frame.clone() }.bytes());
    }
    assert!(scene.sent().is_empty());
}

#[test]
fn an_echo_has_the_routes_and_times_that_its_request_recorded_and_the_hosts() {
    let mut scene = Card::default().host(|_| ());
    let ping = Frame::new(1, &message(8, 0, &[&[1, 2, 3, 4][..], &pattern(2_000)].concat()));
    let routes = [&[7, 15, 8, 10, 0, 0, 9][..], &[0; 9]].concat();
    let recorded = [&[7, 15, 16, 10, 0, 0, 9][..], &HOST.octets(), &HOST.octets(), &[0]].concat();
    // Whole, and in pieces: of an answer in pieces only the first has them (RFC 791 §3.1).
    let short = Frame { payload: message(8, 0, &[1, 2, 3, 4]), ..ping.clone() };
    scene.receive(&Frame { options: routes.clone(), ..short.clone() }.bytes());
    let sent = scene.sent_v4();
    assert_eq!(sent[0].icmp(), (0, 0, [1, 2, 3, 4], &[][..]));
    assert_eq!((sent[0].source(), sent[0].destination()), (HOST, PEER));
    assert_eq!(sent[0].header.options.as_slice(), recorded);
    for mut piece in ping.pieces(1_000) {
        piece.options = if piece.offset == 0 { routes.clone() } else { vec![] };
        scene.receive(&piece.bytes());
    }
    let sent = scene.sent_v4();
    let options: Vec<_> = sent.iter().map(|piece| piece.header.options.as_slice()).collect();
    assert_eq!(options, [&recorded[..], &[]]);
    let (reply, lengths) = whole(&sent);
    assert!(lengths.iter().all(|&length| length <= 1_500));
    assert_eq!(reply.icmp().3, pattern(2_000));

    let times = vec![68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    scene.receive(&Frame { options: times, ..short.clone() }.bytes());
    let sent = scene.sent_v4();
    let (front, recorded) = sent[0].header.options.as_slice().split_at(4);
    assert_eq!((front, &recorded[..4]), (&[68, 12, 13, 0][..], &recorded[4..]));
    assert!(recorded[0] >> 7 == 1, "in no time that others know");
    // Others ask nothing of who answers.
    scene.receive(&Frame { options: vec![0x94, 4, 0, 0], ..short }.bytes());
    assert!(scene.sent_v4()[0].header.options.is_empty());
}

#[test]
fn no_error_is_sent_about_an_error() {
    let mut scene = Card::default().host(|_| ());
    for kind in [3, 4, 5, 11, 12] {
        let options = vec![30, 0, 0, 0];
        let frame = Frame { options, ..Frame::new(1, &message(kind, 0, &[0; 32])) };
        scene.receive(&frame.bytes());
    }
    assert!(scene.sent().is_empty());
    // A request is no error.
    let options = vec![30, 0, 0, 0];
    scene.receive(&Frame { options, ..Frame::new(1, &message(8, 0, &[0; 32])) }.bytes());
    assert_eq!(scene.sent_v4()[0].icmp().0, 12);
}

#[test]
fn an_error_quotes_as_much_as_makes_576_bytes() {
    let mut scene = Card::default().host(|_| ());
    for length in [0, 1, 519, 520, 521, 1_400] {
        let frame = Frame::new(17, &udp_bytes((PEER, 5_000), (HOST, 9), &pattern(length)));
        scene.receive(&frame.bytes());
        let sent = scene.sent_v4();
        let datagram = &frame.bytes()[14..];
        let quoted = &datagram[..datagram.len().min(548)];
        assert_eq!(sent[0].icmp(), (3, 3, [0; 4], quoted));
        assert!(sent[0].header.total_len <= 576);
    }
}

#[test]
fn a_refusal_of_a_datagram_in_pieces_quotes_it_as_if_it_were_whole() {
    let mut scene = Card::default().host(|_| ());
    let frame = Frame::new(17, &udp_bytes((PEER, 5_000), (HOST, 9), &pattern(3_000)));
    frame.pieces(1_000).iter().for_each(|piece| scene.receive(&piece.bytes()));
    let sent = scene.sent_v4();
    assert_eq!(sent[0].icmp(), (3, 3, [0; 4], &frame.bytes()[14..][..548]));
}

#[test]
fn errors_are_limited_and_the_rest_goes_on() {
    let mut scene = Card::default().host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    let refused = Frame::new(17, &udp_bytes((PEER, 5_000), (HOST, 9), b"x"));
    (0..1_000).for_each(|_| scene.receive(&refused.bytes()));
    assert_eq!(scene.sent_v4().len(), 50);
    assert_eq!(scene.stack.stats().dropped[Drop::IcmpRateLimited], 950);
    scene.converses(socket);
    scene.now += Duration::from_secs(1);
    (0..1_000).for_each(|_| scene.receive(&refused.bytes()));
    assert_eq!(scene.sent_v4().len(), 50);
}

#[test]
fn each_error_reaches_the_socket_that_sent() {
    use IcmpError::*;
    for (kind, code, error) in [
        (3, 0, NetworkUnreachable),
        (3, 1, HostUnreachable),
        (3, 2, ProtocolUnreachable),
        (3, 3, PortUnreachable),
        (3, 5, HostUnreachable),
        (3, 6, NetworkUnreachable),
        (3, 7, HostUnreachable),
        (3, 9, Prohibited),
        (3, 10, Prohibited),
        (3, 11, NetworkUnreachable),
        (3, 12, HostUnreachable),
        (3, 13, Prohibited),
        (11, 0, TimeExceeded),
        (11, 1, TimeExceeded),
        (12, 0, ParameterProblem),
    ] {
        let (mut scene, socket, sent) = asked();
        let router = "198.51.100.1".parse().unwrap();
        scene.receive(&sent.error(router, kind, code, [0; 4]).bytes());
        let report = scene.stack.udp_mut().receive_error(socket).unwrap();
        assert_eq!((report.local, report.remote), ((HOST, 7).into(), (FAR, 53).into()));
        assert_eq!((report.reporter, report.error), (router.into(), error), "{kind} {code}");
        assert_eq!(scene.stack.udp_mut().receive_error(socket), None);
        assert!(scene.sent().is_empty() && scene.dropped().is_empty());
    }
}

#[test]
fn an_error_about_what_was_not_sent_is_not_believed() {
    type Change = fn(&mut Seen);
    let changes: [Change; 9] = [
        |seen| seen.header.destination[3] ^= 1,
        |seen| seen.header.source = [10, 0, 0, 3],
        |seen| seen.payload[1] ^= 1,
        |seen| seen.payload[3] ^= 1,
        |seen| seen.payload[..4].fill(0),
        |seen| seen.header.protocol = 6.into(),
        |seen| seen.header.fragment_offset = 8u16.try_into().unwrap(),
        |seen| seen.payload.truncate(7),
        |seen| {
            let header = &mut seen.header;
            std::mem::swap(&mut header.source, &mut header.destination);
        },
    ];
    for (at, change) in changes.into_iter().enumerate() {
        for (kind, code) in [(3, 3), (3, 4), (5, 1), (11, 0)] {
            let (mut scene, socket, mut seen) = asked();
            change(&mut seen);
            let mut frame = seen.error(PEER, kind, code, [10, 0, 2, 0x44]);
            frame.destination = HOST;
            scene.receive(&frame.bytes());
            assert_eq!(scene.stack.udp_mut().receive_error(socket), None, "{at}");
            assert_eq!(scene.dropped(), [(Drop::IcmpUnexpected, 1)], "{at}: {kind} {code}");
            assert_eq!(scene.stack.stats().path_mtu_changes, 0);
        }
    }
}

#[test]
fn an_error_that_is_cut_short_or_sent_to_many_is_not_believed() {
    let (mut scene, socket, sent) = asked();
    let good = sent.error(PEER, 3, 3, [0; 4]);
    for length in 0..good.payload.len() {
        let body = &good.payload[4.min(length)..length.max(4)];
        let payload = if length < 4 { vec![3; length] } else { message(3, 3, body) };
        scene.receive(&Frame { payload, ..good.clone() }.bytes());
    }
    let everybody = Frame { destination: Ipv4Addr::BROADCAST, to: Mac::BROADCAST, ..good.clone() };
    scene.receive(&everybody.bytes());
    let mut corrupt = good.bytes();
    *corrupt.last_mut().unwrap() ^= 1;
    scene.receive(&corrupt);
    assert_eq!(scene.stack.udp_mut().receive_error(socket), None);
    scene.receive(&good.bytes());
    assert!(scene.stack.udp_mut().receive_error(socket).is_some());
}

#[test]
fn more_errors_than_are_kept_push_out_the_oldest() {
    let (mut scene, socket, sent) = asked();
    (0..100).for_each(|_| scene.receive(&sent.error(PEER, 3, 3, [0; 4]).bytes()));
    scene.receive(&sent.error(PEER, 3, 1, [0; 4]).bytes());
    let reports = std::iter::from_fn(|| scene.stack.udp_mut().receive_error(socket));
    let errors: Vec<_> = reports.map(|report| report.error).collect();
    assert_eq!(errors.len(), 16);
    assert_eq!(errors[15], IcmpError::HostUnreachable);
    scene.converses(socket);
}

/// What a redirect of the datagram by `from` does: the card that the next one goes to.
fn redirected(from: Ipv4Addr, code: u8, better: &str) -> Mac {
    let (mut scene, _, sent) = asked();
    for (last, mac) in [(7, 7), (8, 8)] {
        let neighbor = Ipv4Addr::new(10, 0, 0, last);
        scene.receive(&arp(REQUEST, (Mac([2, 0, 0, 0, 0, mac]), neighbor), HOST));
    }
    scene.sent();
    let better: Ipv4Addr = better.parse().unwrap();
    scene.receive(&sent.error(from, 5, code, better.octets()).bytes());
    scene.send_v4(7, (FAR, 53), b"again", &Options::default()).unwrap();
    let others = scene.send_v4(7, ([192, 0, 2, 10].into(), 53), b"x", &Options::default());
    assert_eq!(others, Ok(()));
    let sent = scene.sent_v4();
    assert_eq!(sent[1].to, PEER_MAC, "others go as before");
    sent[0].to
}

#[test]
fn a_redirect_is_followed_from_the_gateway_to_another_on_the_link() {
    for code in 0..4 {
        assert_eq!(redirected(PEER, code, "10.0.0.7"), Mac([2, 0, 0, 0, 0, 7]));
    }
    assert_eq!(redirected(PEER, 4, "10.0.0.7"), PEER_MAC);
    assert_eq!(redirected([10, 0, 0, 8].into(), 1, "10.0.0.7"), PEER_MAC);
    assert_eq!(redirected(FAR, 1, "10.0.0.7"), PEER_MAC);
    for better in ["10.0.0.2", "10.0.0.255", "198.51.100.1", "224.0.0.1", "0.0.0.0", "127.0.0.1"] {
        assert_eq!(redirected(PEER, 1, better), PEER_MAC, "{better}");
    }
}

#[test]
fn nobody_on_the_link_redirects_what_goes_to_himself() {
    let mut scene = Card::default().host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    scene.send_v4(7, (PEER, 5_000), b"x", &Options::default()).unwrap();
    let sent = scene.sent_v4().remove(0);
    scene.receive(&sent.error(PEER, 5, 1, [10, 0, 0, 7]).bytes());
    scene.send_v4(7, (PEER, 5_000), b"x", &Options::default()).unwrap();
    assert_eq!(scene.sent_v4()[0].to, PEER_MAC);
    assert_eq!(scene.stack.stats().redirects, 0);
}

#[test]
fn a_redirect_to_one_who_does_not_answer_is_forgotten() {
    let (mut scene, _, sent) = asked();
    scene.receive(&sent.error(PEER, 5, 1, [10, 0, 0, 77]).bytes());
    scene.send_v4(7, (FAR, 53), b"lost", &Options::default()).unwrap();
    scene.drive(Duration::from_millis(3_500));
    scene.sent();
    scene.send_v4(7, (FAR, 53), b"by the gateway", &Options::default()).unwrap();
    let frames = scene.sent();
    let seen = Seen::read(&frames[0]).unwrap();
    assert_eq!((seen.to, seen.udp()), (PEER_MAC, &b"by the gateway"[..]));
}

#[test]
fn a_redirect_is_worth_no_more_than_the_route_that_it_is_about() {
    let (mut scene, _, sent) = asked();
    let (other, other_mac) = (Ipv4Addr::new(10, 0, 0, 7), Mac([2, 0, 0, 0, 0, 7]));
    scene.receive(&arp(REQUEST, (other_mac, other), HOST));
    scene.sent();
    scene.receive(&sent.error(PEER, 5, 1, other.octets()).bytes());
    scene.send_v4(7, (FAR, 53), b"x", &Options::default()).unwrap();
    assert_eq!(scene.sent_v4()[0].to, other_mac);
    let everything = "0.0.0.0/0".parse().unwrap();
    assert!(scene.stack.remove_route(everything, Some(PEER.into())));
    let refused = scene.send_v4(7, (FAR, 53), b"x", &Options::default());
    assert_eq!(refused, Err(SendError::RouteNotFound));
    scene.stack.add_route(everything, Some(PEER.into())).unwrap();
    scene.send_v4(7, (FAR, 53), b"x", &Options::default()).unwrap();
    assert_eq!(scene.sent_v4()[0].to, PEER_MAC);
}
