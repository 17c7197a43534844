//! Datagrams in pieces, as they leave and as they come (RFC 791 §2.3, §3.2, RFC 815, RFC 1122
//! §3.3.2, RFC 6864).

use std::collections::HashSet;

use netdev::Checksums;

use super::link::{Card, Frame, Seen, message, pattern, udp_bytes, whole};
use super::*;

/// Sends a datagram and puts it together again.
fn send(scene: &mut Scene, payload: &[u8]) -> (Seen, Vec<u16>) {
    scene.send_v4(7, (PEER, 5_000), payload, &Options::default()).unwrap();
    whole(&scene.sent_v4())
}

#[test]
fn a_datagram_of_any_length_leaves_in_pieces_that_fit_any_link() {
    for mtu in [68, 69, 75, 76, 296, 576, 577, 1_006, 1_280, 1_492, 1_499, 1_500, 9_000] {
        let mut scene = Card::with_mtu(mtu).host(|_| ());
        scene.stack.udp_bind(7).unwrap();
        let fits = usize::from(mtu) - 28;
        let step = (usize::from(mtu) - 20) & !7;
        for length in [fits + 1, fits + 8, 2 * step - 8, 2 * step - 7, 5_000, 20_000, 9_999] {
            if length <= fits || length > 400 * step {
                continue;
            }
            let payload = pattern(length);
            let (seen, lengths) = send(&mut scene, &payload);
            assert_eq!(seen.udp(), payload, "{length} over {mtu}");
            let (last, others) = lengths.split_last().unwrap();
            // As few as can be: all but the last are as long as may be, and that is longer by up
            // to seven.
            assert!(others.iter().all(|&length| usize::from(length) == 20 + step), "{lengths:?}");
            assert!(*last <= mtu);
            assert_eq!(lengths.len(), (length + 8 - (fits + 8 - step)).div_ceil(step));
        }
        // What fits is whole, and stays so.
        scene.send_v4(7, (PEER, 5_000), &pattern(fits), &Options::default()).unwrap();
        let sent = scene.sent_v4();
        assert_eq!((sent.len(), sent[0].header.total_len), (1, mtu));
        assert!(sent[0].header.dont_fragment);
        assert_eq!(scene.pool.available(), scene.pool.capacity());
    }
}

#[test]
fn the_largest_datagram_leaves_comes_in_and_is_echoed() {
    for mtu in [1_499, 1_500] {
        let mut scene = Card::with_mtu(mtu).host(|_| ());
        let socket = scene.stack.udp_bind(7).unwrap();
        let payload = pattern(65_507);
        assert!(send(&mut scene, &payload).0.udp() == payload);

        Frame::udp(&payload).pieces(1_472).iter().for_each(|it| scene.receive(&it.bytes()));
        let datagram = scene.stack.udp_mut().receive(socket).unwrap();
        assert!(datagram.payload() == payload);
        scene.send(datagram.local().into(), datagram.remote(), datagram.into_packet()).unwrap();
        let (echoed, _) = whole(&scene.sent_v4());
        assert!(echoed.udp() == payload);

        let too_long = scene.send_v4(7, (PEER, 5_000), &pattern(65_508), &Options::default());
        assert_eq!(too_long, Err(SendError::PacketTooBig { mtu: u16::MAX }));
        assert_eq!(scene.pool.available(), scene.pool.capacity());
    }
}

#[test]
fn what_must_not_be_fragmented_is_refused_and_not_sent() {
    let mut scene = Card::with_mtu(576).host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    let options = Options { dont_fragment: Some(true), ..Options::default() };
    let refused = scene.send_v4(7, (PEER, 9), &[0; 549], &options);
    assert_eq!(refused, Err(SendError::PacketTooBig { mtu: 576 }));
    assert!(scene.sent().is_empty());
    scene.send_v4(7, (PEER, 9), &[0; 548], &options).unwrap();
    assert!(scene.sent_v4()[0].header.dont_fragment);
    // The router alert takes four bytes.
    let alert = Options { router_alert: Some(true), ..options };
    let refused = scene.send_v4(7, (PEER, 9), &[0; 545], &alert);
    assert_eq!(refused, Err(SendError::PacketTooBig { mtu: 576 }));
    scene.send_v4(7, (PEER, 9), &[0; 544], &alert).unwrap();
    assert_eq!(scene.sent_v4()[0].header.total_len, 576);
}

#[test]
fn every_piece_has_the_options_that_are_to_be_in_each() {
    let mut scene = Card::default().host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    let options = Options {
        router_alert: Some(true),
        hop_limit: Some(9),
        dscp: Some(0b10_1110),
        ..Options::default()
    };
    let payload = pattern(4_000);
    scene.send_v4(7, (PEER, 5_000), &payload, &options).unwrap();
    let pieces = scene.sent_v4();
    for piece in &pieces {
        assert!(piece.header.total_len <= 1_500);
        assert_eq!(piece.header.options.as_slice(), [0x94, 4, 0, 0]);
        assert_eq!((piece.header.time_to_live, piece.header.dscp.value()), (9, 0b10_1110));
    }
    assert_eq!(whole(&pieces).0.udp(), payload);
}

#[test]
fn no_number_comes_again_before_all_have_been_used() {
    let mut scene = Card::with_mtu(68).host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    let numbers: Vec<_> =
        (0..2_000).map(|_| send(&mut scene, &[0; 60]).0.header.identification).collect();
    let distinct: HashSet<_> = numbers.iter().collect();
    assert_eq!(distinct.len(), numbers.len());
    let steps: HashSet<_> = numbers.windows(2).map(|two| two[1].wrapping_sub(two[0])).collect();
    assert!(steps.len() > 1_900, "nobody can guess the next");
}

#[test]
fn of_a_datagram_for_which_there_are_not_packets_enough_nothing_leaves() {
    let mut scene = Card::default().host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    // It goes in 45 pieces: in its own packet and 44 others, and a sixteenth of all are kept.
    let few = 44 + scene.pool.capacity() / 16 - 1;
    let mut held: Vec<_> = std::iter::from_fn(|| scene.pool.take()).collect();
    held.truncate(scene.pool.capacity() - few);
    // By a template, too.
    for templates in 0..3 {
        let payload = pattern(65_507);
        let refused = scene.send_v4(7, (PEER, 5_000), &payload, &Options::default());
        assert_eq!(refused, Err(SendError::NoBuffer));
        assert!(scene.sent().is_empty());
        assert_eq!(scene.dropped(), [(Drop::NoPacket, templates + 1)]);
        held.pop();
        assert!(send(&mut scene, &payload).0.udp() == payload);
        held.extend(scene.pool.take());
    }
    drop(held);
    scene.converses(socket);
}

#[test]
fn a_datagram_in_pieces_waits_for_its_neighbour_as_one() {
    let mut scene = Card::default().fresh(|_| ());
    scene.stack.udp_bind(7).unwrap();
    scene.drive(Duration::from_secs(20));
    scene.sent();
    let payload = pattern(10_000);
    for _ in 0..3 {
        scene.send_v4(7, (PEER, 5_000), &payload, &Options::default()).unwrap();
    }
    let asked = scene.sent();
    assert_eq!((asked.len(), &asked[0][12..14]), (1, &[8, 6][..]));
    scene.receive(&arp(REPLY, (PEER_MAC, PEER), HOST));
    let sent = scene.sent_v4();
    assert_eq!(sent.len(), 21);
    sent.chunks(7).for_each(|pieces| assert_eq!(whole(pieces).0.udp(), payload));
    assert_eq!(scene.pool.available(), scene.pool.capacity());
}

#[test]
fn a_card_makes_no_sum_over_what_it_does_not_see_whole() {
    let checksums = Checksums { fills_udp: true, ..Checksums::default() };
    let mut scene = Card { mtu: 576, checksums }.host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    let payload = pattern(3_000);
    assert_eq!(send(&mut scene, &payload).0.udp(), payload);
    let checksums = Checksums { fills_ipv4: true, ..Checksums::default() };
    let mut scene = Card { mtu: 576, checksums }.host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    scene.send_v4(7, (PEER, 5_000), &payload, &Options::default()).unwrap();
    assert!(scene.sent().iter().all(|frame| frame[24..26] == [0, 0]));
}

/// What a socket reads when these come.
fn received(pieces: &[Frame]) -> (Vec<Vec<u8>>, Vec<(Drop, u64)>) {
    let mut scene = Card::default().host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    pieces.iter().for_each(|piece| scene.receive(&piece.bytes()));
    let read = scene.read(socket);
    (read, scene.dropped())
}

#[test]
fn pieces_make_a_whole_in_any_order_and_however_often_they_come() {
    let payload = pattern(100);
    let pieces = Frame::udp(&payload).pieces(32);
    assert_eq!(pieces.len(), 4);
    for order in 0..24 {
        let mut rest = pieces.clone();
        let mut order = order;
        let shuffled: Vec<_> = (1..=4)
            .rev()
            .map(|count| {
                let piece = rest.remove(order % count);
                order /= count;
                piece
            })
            .collect();
        assert_eq!(received(&shuffled), (vec![payload.clone()], vec![]));
        let twice: Vec<_> =
            shuffled[..3].iter().flat_map(|piece| [piece.clone(), piece.clone()]).collect();
        let all = [&twice[..], &shuffled[3..]].concat();
        assert_eq!(received(&all), (vec![payload.clone()], vec![]));
    }
}

#[test]
fn pieces_that_overlap_take_their_datagram_with_them() {
    let datagram = Frame::udp(&pattern(100));
    let [first, second, third, last] = &datagram.pieces(32)[..] else { panic!() };
    let mut other = second.clone();
    other.payload[9] ^= 1;
    let early = Frame { offset: 24, ..second.clone() };
    for bad in [other, early] {
        let pieces = [first, second, &bad, third, last].map(Clone::clone);
        let (read, dropped) = received(&pieces);
        assert!(read.is_empty());
        assert_eq!(dropped, [(Drop::FragmentOverlap, 1), (Drop::FragmentLate, 2)]);
    }
}

#[test]
fn pieces_of_different_datagrams_are_kept_apart() {
    let datagram = Frame::udp(&pattern(40));
    let [first, last] = &datagram.pieces(24)[..] else { panic!() };
    for other in [
        Frame { id: 2, ..last.clone() },
        Frame { protocol: 1, ..last.clone() },
        Frame { source: [10, 0, 0, 9].into(), ..last.clone() },
        Frame { destination: [10, 0, 0, 255].into(), ..last.clone() },
    ] {
        let mut scene = Card::default().host(|_| ());
        let socket = scene.stack.udp_bind(7).unwrap();
        scene.receive(&first.bytes());
        scene.receive(&other.bytes());
        assert!(scene.read(socket).is_empty());
        scene.receive(&last.bytes());
        assert_eq!(scene.read(socket), [pattern(40)]);
    }
}

#[test]
fn the_first_piece_brings_the_options_and_the_time_to_live() {
    let mut pieces = Frame::udp(&pattern(100)).pieces(48);
    pieces[0].options = vec![7, 7, 4, 0, 0, 0, 0, 0];
    (pieces[0].ttl, pieces[0].tos) = (17, 0xb9);
    (pieces[1].ttl, pieces[1].tos) = (99, 0x03);
    pieces[2].tos = 0x01;
    pieces.reverse();
    let mut scene = Card::default().host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    pieces.iter().for_each(|piece| scene.receive(&piece.bytes()));
    let datagram = scene.stack.udp_mut().receive(socket).unwrap();
    assert_eq!(datagram.payload(), pattern(100));
    // Congestion was experienced if one piece says so (RFC 3168 §5.3).
    assert_eq!((datagram.hop_limit(), datagram.traffic_class()), (17, 0xbb));
}

#[test]
fn a_piece_that_cannot_be_one_is_dropped() {
    let datagram = Frame::udp(&pattern(100));
    let pieces = datagram.pieces(32);
    for (reason, bad) in [
        (Drop::FragmentMalformed, Frame { payload: vec![1; 31], ..pieces[1].clone() }),
        (Drop::FragmentMalformed, Frame { payload: vec![], ..pieces[1].clone() }),
        (Drop::FragmentTooLong, Frame { offset: 65_512, payload: vec![1; 8], ..pieces[1].clone() }),
    ] {
        let (read, dropped) = received(&[&[bad], &pieces[..]].concat());
        assert_eq!((read, dropped), (vec![pattern(100)], vec![(reason, 1)]));
    }
    // One byte more than a datagram can have, with the options of its first.
    let mut pieces = Frame::udp(&pattern(65_507)).pieces(1_400);
    pieces[0].options = vec![1, 1, 1, 0];
    assert_eq!(received(&pieces), (vec![], vec![(Drop::FragmentTooLong, 1)]));
}

#[test]
fn who_sends_the_start_of_what_never_comes_whole_is_told_with_it() {
    let pieces = Frame { options: vec![1, 1, 1, 0], ..Frame::udp(&pattern(2_900)) }.pieces(1_000);
    let mut scene = Card::default().host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    scene.receive(&pieces[2].bytes());
    scene.receive(&pieces[0].bytes());
    scene.drive(Duration::from_millis(29_900));
    assert!(scene.sent_v4().is_empty() && scene.dropped().is_empty());
    scene.drive(Duration::from_millis(200));
    let frames = scene.sent();
    let sent = frames.iter().find_map(|frame| Seen::read(frame)).unwrap();
    assert_eq!(sent.icmp(), (11, 1, [0; 4], &pieces[0].bytes()[14..][..548]));
    assert_eq!(scene.dropped(), [(Drop::ReassemblyTimeout, 1)]);
    // What comes after that begins anew.
    scene.receive(&pieces[1].bytes());
    scene.receive(&pieces[2].bytes());
    assert!(scene.read(socket).is_empty());
    scene.receive(&pieces[0].bytes());
    assert_eq!(scene.read(socket).len(), 1);
}

#[test]
fn nobody_is_told_when_the_start_did_not_come_or_went_to_many() {
    let pieces = Frame::udp(&pattern(3_000)).pieces(1_000);
    let mut scene = Card::default().host(|_| ());
    scene.receive(&pieces[1].bytes());
    scene.receive(&pieces[2].bytes());
    let (destination, to) = (Ipv4Addr::BROADCAST, Mac::BROADCAST);
    scene.receive(&Frame { destination, to, ..pieces[0].clone() }.bytes());
    scene.drive(Duration::from_secs(40));
    assert!(scene.sent_v4().is_empty());
    assert_eq!(scene.dropped(), [(Drop::ReassemblyTimeout, 2)]);
    assert_eq!(scene.pool.available(), scene.pool.capacity());
    assert_eq!(scene.pool.large_available(), 4 << 20);
}

#[test]
fn pieces_that_lead_nowhere_leave_room_for_those_that_do() {
    let mut scene = Card::default().host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    let datagram = Frame::udp(&pattern(8_000)).pieces(1_000);
    let half = datagram.len() / 2;
    for round in 0..50u16 {
        let ours = |piece: &Frame| Frame { id: round, ..piece.clone() };
        datagram[..half].iter().for_each(|piece| scene.receive(&ours(piece).bytes()));
        // One who sends only starts, of many datagrams.
        for number in 0..500 {
            let payload = vec![0; 1_480];
            let source = Ipv4Addr::new(10, 0, 0, 66);
            let offset = usize::from(number % 40) * 1_480;
            let lost = Frame { source, id: number, offset, more: true, ..Frame::new(17, &payload) };
            scene.receive(&lost.bytes());
        }
        // And many who send one each, but fewer than are kept.
        for number in 0..50 {
            let source = Ipv4Addr::new(10, 0, 0, 100 + number);
            let lost = Frame { source, more: true, ..Frame::new(17, &[0; 1_480]) };
            scene.receive(&lost.bytes());
        }
        datagram[half..].iter().for_each(|piece| scene.receive(&ours(piece).bytes()));
        assert_eq!(scene.read(socket), [pattern(8_000)], "{round}");
    }
    scene.converses(socket);
    assert!(scene.pool.large_available() >= 3 << 20);
    scene.drive(Duration::from_secs(60));
    scene.sent();
    assert_eq!(scene.pool.available(), scene.pool.capacity());
    assert_eq!(scene.pool.large_available(), 4 << 20);
}

#[test]
fn sockets_that_nobody_reads_leave_room_for_large_datagrams_of_others() {
    let mut scene = Card::default().host(|_| ());
    let sockets: Vec<_> = (7..107).map(|port| scene.stack.udp_bind(port).unwrap()).collect();
    let payload = pattern(60_000);
    let mut id = 0;
    let mut large = |scene: &mut Scene, port: u16| {
        id += 1;
        let datagram = Frame::new(17, &udp_bytes((PEER, 5_000), (HOST, port), &payload));
        let pieces = Frame { id, ..datagram }.pieces(1_480);
        pieces.iter().for_each(|piece| scene.receive(&piece.bytes()));
    };
    for port in 8..107 {
        (0..3).for_each(|_| large(&mut scene, port));
        // Of whoever reads nothing is lost.
        large(&mut scene, 7);
        assert!(scene.read(sockets[0]) == [&payload[..]], "{port}");
        assert!(send(&mut scene, &payload).0.udp() == payload);
        assert!(scene.pool.large_available() >= 1 << 20);
    }
    scene.converses(sockets[0]);
    let kept: usize = sockets.iter().map(|&socket| scene.read(socket).len()).sum();
    let dropped = scene.stack.stats().dropped[Drop::UdpQueueFull];
    assert_eq!(kept as u64 + dropped, 3 * 99);
    assert!(kept > 10);
    assert_eq!(scene.pool.large_available(), 4 << 20);
}

#[test]
fn large_answers_to_those_who_do_not_exist_leave_room_for_others() {
    let mut scene = Card::default().host(|_| ());
    let socket = scene.stack.udp_bind(7).unwrap();
    let ping = message(8, 0, &pattern(60_000));
    for number in 100..250 {
        let source = Ipv4Addr::new(10, 0, 0, number);
        let pieces = Frame { source, ..Frame::new(1, &ping) }.pieces(1_480);
        pieces.iter().for_each(|piece| scene.receive(&piece.bytes()));
        scene.sent();
    }
    let payload = pattern(60_000);
    Frame::udp(&payload).pieces(1_480).iter().for_each(|piece| scene.receive(&piece.bytes()));
    assert!(scene.read(socket) == [&payload[..]]);
    assert!(send(&mut scene, &payload).0.udp() == payload);
    scene.converses(socket);
}

#[test]
fn who_sends_another_fragment_when_time_is_over_is_told_that_it_is() {
    let mut scene = Scene::with_neighbor();
    let pieces = Frame::udp(&pattern(2_000)).pieces(1_000);
    scene.receive(&pieces[0].bytes());
    scene.now += Duration::from_secs(30);
    scene.receive(&pieces[1].bytes());
    let sent = scene.sent_v4();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].icmp().0, 11);
}
