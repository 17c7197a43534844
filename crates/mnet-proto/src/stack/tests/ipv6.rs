//! IPv6's own header, its extension headers and fragments (RFC 8200, 5722, 6946, 7112), and which
//! addresses are heard (RFC 4291).

use std::collections::HashSet;
use std::net::Ipv6Addr;

use super::scene6::*;
use super::*;

const DESTINATION: u8 = 60;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const PROBLEM: u8 = 4;

/// A header of options with one of type `kind` in it, four bytes behind its start.
fn option(kind: u8) -> [u8; 8] {
    [0, 0, 0, 0, kind, 2, 0, 0]
}

fn padding() -> [u8; 8] {
    [0, 0, 1, 4, 0, 0, 0, 0]
}

/// A header of 16 bytes with an option in it of which nobody need know.
fn long() -> [u8; 16] {
    let mut header = [0; 16];
    header[1..4].copy_from_slice(&[1, 0x1e, 12]);
    header
}

fn is_answered(datagram: Datagram6) -> bool {
    let answers = scene_with_neighbor().answers(datagram);
    assert!(answers.len() <= 1, "{answers:?}");
    answers.first().and_then(Seen6::kind) == Some((129, 0))
}

/// The code and pointer of the problem that a datagram makes.
fn problem(datagram: Datagram6) -> (u8, u32) {
    let frame = datagram.clone().frame();
    let mut scene = scene_with_neighbor();
    let answers = scene.answers(datagram);
    let [answer] = answers.as_slice() else { panic!("{answers:?}") };
    let Some((PROBLEM, code)) = answer.kind() else { panic!("{answer:?}") };
    assert_eq!(&answer.payload[8..], &frame[14..]);
    assert_eq!((answer.source, answer.destination), (host(), peer()));
    (code, answer.pointer())
}

fn is_silently_dropped(datagram: Datagram6) -> Drop {
    let mut scene = scene_with_neighbor();
    let before: Vec<_> = scene.dropped();
    assert_eq!(before, []);
    assert_eq!(scene.answers(datagram), []);
    let dropped = scene.dropped();
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert_eq!(scene.pool.available(), scene.pool.capacity());
    dropped[0].0
}

#[test]
fn a_header_of_another_version_or_longer_than_its_frame_is_dropped() {
    let good = echo(b"hello").frame();
    let mut version = good.clone();
    version[14] = 0x50;
    let mut longer = good.clone();
    longer[19] += 1;
    for frame in [version, longer, good[..14 + 39].to_vec(), good[..14].to_vec()] {
        let mut scene = scene_with_neighbor();
        scene.receive(&frame);
        assert_eq!(scene.dropped(), [(Drop::Ipv6Malformed, 1)]);
        assert_eq!(scene.sent6(), []);
    }
}

#[test]
fn what_is_behind_the_payload_is_padding() {
    let mut scene = scene_with_neighbor();
    let mut frame = echo(b"x").frame();
    frame.extend([0xee; 30]);
    scene.receive(&frame);
    let answer = scene.sent_one();
    assert_eq!((answer.kind(), &answer.payload[8..]), (Some((129, 0)), &b"x"[..]));
}

#[test]
fn a_datagram_with_nothing_in_it_or_with_no_next_header_is_dropped_without_a_word() {
    assert_eq!(is_silently_dropped(raw(59, b"")), Drop::Ipv6NoNextHeader);
    assert_eq!(is_silently_dropped(raw(59, b"anything")), Drop::Ipv6NoNextHeader);
    let behind = raw(59, b"anything").header(DESTINATION, &padding());
    assert_eq!(is_silently_dropped(behind), Drop::Ipv6NoNextHeader);
    assert_eq!(is_silently_dropped(raw(HOP_BY_HOP, b"")), Drop::Ipv6Malformed);
    assert_eq!(is_silently_dropped(raw(UDP, b"")), Drop::UdpMalformed);
}

#[test]
fn sources_that_no_host_may_have_are_dropped() {
    for source in
        ["ff02::1", "ff0e::1234", "::1", "::ffff:10.0.0.1", "2001:db8::2", "fe80::ff:fe00:2"]
    {
        assert_eq!(is_silently_dropped(echo(b"").from(a(source))), Drop::Ipv6Source, "{source}");
        assert_eq!(is_silently_dropped(udp6(b"").from(a(source))), Drop::Ipv6Source, "{source}");
    }
    let nobody = Ipv6Addr::UNSPECIFIED;
    assert_eq!(is_silently_dropped(udp6(b"").from(nobody)), Drop::Ipv6Source);
    let hidden = udp6(b"").from(nobody).header(DESTINATION, &padding());
    assert_eq!(is_silently_dropped(hidden), Drop::Ipv6Source);
    assert_eq!(is_silently_dropped(echo(b"").from(nobody)), Drop::IcmpUnhandled);
}

#[test]
fn destinations_that_are_not_ours_or_beyond_a_link_are_dropped() {
    for destination in ["2001:db8::3", "::", "::1", "ff01::1", "ff00::1", "ff02::2", "ff05::1"] {
        let datagram = echo(b"").to(a(destination));
        assert_eq!(is_silently_dropped(datagram), Drop::Ipv6Destination, "{destination}");
    }
    assert!(is_answered(echo(b"").to(a("ff02::1"))));
    assert!(is_answered(echo(b"").to(solicited(host()))));
    assert!(is_answered(echo(b"").to(host_local()).from(peer())));
}

#[test]
fn extension_headers_are_passed_in_any_order_and_number() {
    let routing = [0, 0, 99, 0, 0, 0, 0, 0];
    assert!(is_answered(echo(b"").header(HOP_BY_HOP, &padding())));
    assert!(is_answered(echo(b"").header(DESTINATION, &padding())));
    assert!(is_answered(echo(b"").header(ROUTING, &routing)));
    assert!(is_answered(
        echo(b"")
            .header(HOP_BY_HOP, &padding())
            .header(DESTINATION, &padding())
            .header(ROUTING, &routing)
            .header(FRAGMENT, &fragment_header(0, false, 7))
            .header(DESTINATION, &padding())
    ));
    let mut many = echo(b"");
    for _ in 0..20 {
        many = many.header(DESTINATION, &padding()).header(ROUTING, &routing);
    }
    assert!(is_answered(many));
    assert!(is_answered(echo(b"").header(DESTINATION, &long())));
}

#[test]
fn hop_by_hop_options_that_are_not_first_are_an_unknown_next_header() {
    let second = echo(b"").header(DESTINATION, &padding()).header(HOP_BY_HOP, &padding());
    assert_eq!(problem(second), (1, 40));
    let twice = echo(b"").header(HOP_BY_HOP, &padding()).header(HOP_BY_HOP, &padding());
    assert_eq!(problem(twice), (1, 40));
    let atomic = fragment_header(0, false, 7);
    let inside = echo(b"").header(FRAGMENT, &atomic).header(HOP_BY_HOP, &padding());
    assert_eq!(problem(inside), (1, 40));
    let mut scene = scene_with_neighbor();
    let whole = raw(HOP_BY_HOP, &[&[59, 0, 1, 4, 0, 0, 0, 0], &[9; 16][..]].concat());
    whole.fragments(1, &[8, 24]).iter().for_each(|frame| scene.receive(frame));
    let answer = scene.sent_one();
    assert_eq!((answer.kind(), answer.pointer()), (Some((PROBLEM, 1)), 6));
}

#[test]
fn an_unknown_next_header_is_pointed_at_where_it_stands() {
    for unknown in [6, 1, 132, 253, 255, 50, 51] {
        assert_eq!(problem(raw(unknown, &[0; 16])), (1, 6), "{unknown}");
        let behind = raw(unknown, b"abcdefgh").header(DESTINATION, &padding());
        assert_eq!(problem(behind), (1, 40), "{unknown}");
        let behind = raw(unknown, b"abcdefgh")
            .header(HOP_BY_HOP, &long())
            .header(ROUTING, &[0; 8])
            .header(FRAGMENT, &fragment_header(0, false, 1));
        assert_eq!(problem(behind), (1, 64), "{unknown}");
    }
    assert_eq!(is_silently_dropped(raw(6, &[0; 16]).to(a("ff02::1"))), Drop::IpProtocol);
}

#[test]
fn unknown_options_are_treated_as_their_first_two_bits_say() {
    for kind in [HOP_BY_HOP, DESTINATION] {
        let with = |option: u8| echo(b"x").header(kind, &self::option(option));
        let to_group = |option: u8| with(option).to(a("ff02::1"));
        assert!(is_answered(with(0x1e)) && is_answered(to_group(0x3f)));
        assert_eq!(is_silently_dropped(with(0x5e)), Drop::Ipv6Option);
        assert_eq!(is_silently_dropped(to_group(0x5e)), Drop::Ipv6Option);
        assert_eq!(problem(with(0x9e)), (2, 44));
        assert_eq!(problem(with(0xde)), (2, 44));
        assert_eq!(is_silently_dropped(to_group(0xde)), Drop::Ipv6Option);
        let answers = scene_with_neighbor().answers(to_group(0x9e));
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0].kind(), answers[0].pointer()), (Some((PROBLEM, 2)), 44));
        assert_eq!(answers[0].source, host());
    }
    // Padding, what is known elsewhere, and what comes second.
    let second = echo(b"").header(DESTINATION, &padding()).header(DESTINATION, &option(0xc9));
    assert_eq!(problem(second), (2, 52));
}

#[test]
fn a_length_that_does_not_fit_its_field_is_pointed_at() {
    let jumbo = |high| echo(b"").header(HOP_BY_HOP, &[0, 0, 0xc2, 4, 0, high, 0, 0]);
    // RFC 2675 §3: beside a length that fits; of what would fit; and what says no length at all.
    assert_eq!(problem(jumbo(1)), (0, 42));
    let elsewhere = |datagram: Datagram6| {
        let mut frame = datagram.frame();
        frame[18..20].fill(0);
        let mut scene = scene_with_neighbor();
        scene.receive(&frame);
        let dropped = scene.dropped();
        (scene.sent6().first().map(|seen| (seen.kind(), seen.pointer())), dropped)
    };
    let malformed = |pointer| Some((Some((PROBLEM, 0)), pointer));
    assert_eq!(elsewhere(jumbo(0)), (malformed(44), vec![(Drop::Ipv6Option, 1)]));
    assert_eq!(elsewhere(jumbo(1)), (None, vec![(Drop::Ipv6Option, 1)]));
    let padded = echo(b"").header(HOP_BY_HOP, &padding());
    assert_eq!(elsewhere(padded), (malformed(4), vec![(Drop::Ipv6Malformed, 1)]));
    assert_eq!(elsewhere(echo(b"")), (None, vec![(Drop::IcmpMalformed, 1)]));
    // To the destination it is as any other option that is not known.
    let inside = echo(b"").header(DESTINATION, &[0, 0, 0xc2, 4, 0, 1, 0, 0]);
    assert_eq!(problem(inside), (2, 42));
}

#[test]
fn padding_that_hides_something_and_more_options_than_anybody_needs_are_dropped() {
    for kind in [HOP_BY_HOP, DESTINATION] {
        let hidden = echo(b"").header(kind, &[0, 0, 1, 4, 0, 0, 0, 1]);
        assert_eq!(is_silently_dropped(hidden), Drop::Ipv6Malformed);
        let padded = echo(b"").header(kind, &[&[0, 1, 1, 12][..], &[0; 12]].concat());
        assert_eq!(is_silently_dropped(padded), Drop::Ipv6Malformed);
        let options = |count: u8| {
            let mut header = [&[0, 2][..], &[0x1e, 0].repeat(count.into())].concat();
            header.extend([0x1e, 24 - 2 * count - 4]);
            header.resize(24, 0);
            echo(b"").header(kind, &header)
        };
        assert!(is_answered(options(7)));
        assert_eq!(is_silently_dropped(options(8)), Drop::Ipv6Option);
    }
    let alert = echo(b"").header(HOP_BY_HOP, &[0, 0, 5, 4, 0, 0, 0, 0]);
    assert_eq!(is_silently_dropped(alert), Drop::Ipv6Malformed);
}

#[test]
fn to_many_cards_only_the_option_that_asks_for_it_is_told_of() {
    let everybody = Mac::BROADCAST;
    let with = |kind| echo(b"").header(DESTINATION, &option(kind)).in_frame_to(everybody);
    assert_eq!(is_silently_dropped(with(0xde)), Drop::Ipv6Option);
    assert_eq!(problem(with(0x9e)), (2, 44));
    assert_eq!(is_silently_dropped(raw(6, b"x").in_frame_to(everybody)), Drop::IpProtocol);
}

#[test]
fn options_that_end_behind_their_header_or_headers_behind_the_datagram_are_dropped() {
    for (kind, bytes) in [
        (DESTINATION, [0, 0, 5, 5, 0, 0, 0, 0]),
        (HOP_BY_HOP, [0, 0, 1, 3, 0, 0, 0, 0x1e]),
        (HOP_BY_HOP, [0, 9, 1, 4, 0, 0, 0, 0]),
        (DESTINATION, [0, 255, 1, 4, 0, 0, 0, 0]),
        (ROUTING, [0, 9, 0, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(is_silently_dropped(echo(b"").header(kind, &bytes)), Drop::Ipv6Malformed);
    }
    for kind in [DESTINATION, HOP_BY_HOP, ROUTING, FRAGMENT] {
        assert_eq!(is_silently_dropped(raw(kind, &[58, 0, 1])), Drop::Ipv6Malformed);
    }
}

#[test]
fn a_routing_header_is_passed_over_at_its_end_and_refused_before() {
    for kind in [0, 2, 3, 4, 253] {
        let address = peer().octets();
        let with = |left| [&[0, 2, kind, left, 0, 0, 0, 0][..], &address].concat();
        assert!(is_answered(echo(b"").header(ROUTING, &with(0))), "{kind}");
        assert_eq!(problem(echo(b"").header(ROUTING, &with(1))), (0, 42), "{kind}");
        let second = echo(b"").header(DESTINATION, &padding()).header(ROUTING, &with(255));
        assert_eq!(problem(second), (0, 50), "{kind}");
        let to_group = echo(b"").header(ROUTING, &with(1)).to(a("ff02::1"));
        assert_eq!(is_silently_dropped(to_group), Drop::Ipv6Routing);
    }
}

#[test]
fn a_fragment_that_is_all_there_is_waits_for_nothing() {
    let mut scene = scene_with_neighbor();
    let atomic = |id| echo(b"whole").header(FRAGMENT, &fragment_header(0, false, id));
    // RFC 6946 §4: not even if others of the same number wait.
    scene.receive(&echo(&[0; 64]).fragments(7, &[32, 72])[0]);
    for _ in 0..2 {
        let answers = scene.answers(atomic(7));
        assert_eq!(answers.len(), 1);
        assert_eq!(&answers[0].payload[8..], b"whole");
    }
    let frames = echo(&[0; 64]).fragments(7, &[32, 72]);
    scene.receive(&frames[1]);
    assert_eq!(scene.sent_one().kind(), Some((129, 0)));
}

#[test]
fn a_part_of_a_part_is_refused() {
    let atomic = fragment_header(0, false, 7);
    let nested = echo(b"").header(FRAGMENT, &atomic).header(FRAGMENT, &atomic);
    assert_eq!(problem(nested), (0, 48));
    let mut scene = scene_with_neighbor();
    let inner = [&[ICMP6, 0, 0, 0, 0, 0, 0, 1][..], &[128; 16]].concat();
    raw(FRAGMENT, &inner).fragments(1, &[16, 24]).iter().for_each(|frame| scene.receive(frame));
    let answer = scene.sent_one();
    assert_eq!((answer.kind(), answer.pointer()), (Some((PROBLEM, 0)), 40));
}

#[test]
fn fragments_in_any_order_with_headers_in_front_and_inside_make_a_whole() {
    let payload: Vec<u8> = (0..1_000).map(|n| n as u8).collect();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let mut scene = scene_with_neighbor();
        let before = scene.pool.available();
        let whole = echo(&payload).header(HOP_BY_HOP, &padding()).header(ROUTING, &[0; 8]);
        let frames = whole.fragments(9, &[400, 808, 1_008]);
        for at in order {
            assert_eq!(scene.sent6(), []);
            scene.receive(&frames[at]);
        }
        let answer = scene.sent_one();
        assert_eq!(answer.kind(), Some((129, 0)));
        assert_eq!(&answer.payload[8..], payload);
        assert_eq!(scene.pool.available(), before);
        assert_eq!(scene.dropped(), []);
    }
}

#[test]
fn what_is_wrong_in_a_whole_is_pointed_at_in_the_whole() {
    let mut scene = scene_with_neighbor();
    let inside = [&[6, 0, 1, 4, 0, 0, 0, 0][..], &[0; 24]].concat();
    let whole = raw(DESTINATION, &inside).header(HOP_BY_HOP, &padding());
    whole.fragments(9, &[16, 32]).iter().for_each(|frame| scene.receive(frame));
    let answer = scene.sent_one();
    // The headers as they would be without the fragment header.
    assert_eq!((answer.kind(), answer.pointer()), (Some((PROBLEM, 1)), 48));
    let quoted = &answer.payload[8..];
    assert_eq!((quoted[6], quoted[40], quoted[48]), (HOP_BY_HOP, DESTINATION, 6));
    assert_eq!(u16::from_be_bytes([quoted[4], quoted[5]]), 8 + 32);
}

#[test]
fn a_fragment_not_of_whole_eight_bytes_is_pointed_at_by_its_length() {
    for (offset, len) in [(0, 9), (8, 15), (800, 1)] {
        let header = fragment_header(offset, true, 1);
        let fragment = raw(UDP, &vec![0; len]).header(FRAGMENT, &header);
        assert_eq!(problem(fragment), (0, 4));
    }
    let empty = raw(UDP, b"").header(FRAGMENT, &fragment_header(8, true, 1));
    assert_eq!(is_silently_dropped(empty), Drop::FragmentMalformed);
}

#[test]
fn a_fragment_beyond_the_end_of_any_datagram_is_pointed_at_by_its_offset() {
    let at =
        |offset, len| raw(UDP, &vec![0; len]).header(FRAGMENT, &fragment_header(offset, false, 1));
    assert_eq!(problem(at(65_528, 8)), (0, 42));
    let behind = raw(UDP, &[0; 8])
        .header(DESTINATION, &padding())
        .header(FRAGMENT, &fragment_header(65_520, false, 1));
    // 8 bytes of options, 65,520 and 8 more.
    assert_eq!(problem(behind), (0, 50));
    let mut scene = scene_with_neighbor();
    assert_eq!(scene.answers(at(65_528, 7)), []);
    assert_eq!(scene.dropped(), []);
}

#[test]
fn a_first_fragment_without_all_headers_is_refused() {
    let options = [&[0, 2, 1, 20][..], &[0; 20]].concat();
    let first =
        |next, bytes: &[u8]| raw(next, bytes).header(FRAGMENT, &fragment_header(0, true, 1));
    assert_eq!(problem(first(DESTINATION, &options[..16])), (3, 0));
    assert_eq!(problem(first(DESTINATION, &[UDP, 0, 1, 4, 0, 0, 0, 0])), (3, 0));
    assert_eq!(problem(first(DESTINATION, &[6, 0, 1, 4, 0, 0, 0, 0])), (3, 0));
    assert_eq!(problem(first(DESTINATION, &[ICMP6, 0, 1, 4, 0, 0, 0, 0])), (3, 0));
    let mut scene = scene_with_neighbor();
    assert_eq!(scene.answers(first(UDP, &[0; 8])), []);
    assert_eq!(scene.answers(first(ICMP6, &[0; 8]).from(a("2001:db8::77"))), []);
    assert_eq!(scene.dropped(), []);
}

#[test]
fn overlapping_fragments_take_the_whole_with_them_and_all_that_comes_of_it() {
    let frames = echo(&[1; 92]).fragments(5, &[40, 80, 100]);
    let shifted = raw(ICMP6, &[9; 16]).header(FRAGMENT, &fragment_header(32, true, 5)).frame();
    for overlap in 0..=2 {
        let mut scene = scene_with_neighbor();
        for (at, frame) in frames.iter().enumerate() {
            scene.receive(frame);
            if at == overlap {
                scene.receive(&shifted);
            }
        }
        let whole = overlap == 2;
        assert_eq!(scene.sent6().len(), usize::from(whole), "after {overlap}");
        // No time is exceeded by what was discarded.
        scene.drive(Duration::from_secs(100));
        assert_eq!(scene.sent_icmp(3), []);
        assert_eq!(scene.pool.available(), scene.pool.capacity());
    }
}

#[test]
fn a_fragment_that_comes_twice_does_no_harm() {
    let mut scene = scene_with_neighbor();
    let frames = echo(&[1; 92]).fragments(5, &[40, 80, 100]);
    for at in [0, 0, 1, 1, 0, 2] {
        scene.receive(&frames[at]);
    }
    assert_eq!(scene.sent_one().kind(), Some((129, 0)));
}

#[test]
fn time_is_exceeded_after_a_minute_if_the_first_fragment_came() {
    for (first, told) in [(0, 1), (1, 0)] {
        let mut scene = scene_with_neighbor();
        let frames = echo(&[1; 92]).fragments(5, &[40, 80, 100]);
        scene.receive(&frames[first]);
        scene.drive(Duration::from_millis(59_900));
        assert_eq!(scene.sent_icmp(3), []);
        scene.meet(peer(), PEER_MAC);
        scene.drive(Duration::from_millis(200));
        let sent = scene.sent_icmp(3);
        assert_eq!(sent.len(), told);
        if let Some(error) = sent.first() {
            assert_eq!((error.kind(), error.pointer()), (Some((3, 1)), 0));
            assert_eq!(&error.payload[8..], &frames[0][14..]);
            assert_eq!((error.source, error.destination), (host(), peer()));
        }
        assert_eq!(scene.dropped(), [(Drop::ReassemblyTimeout, 1)]);
    }
}

#[test]
fn fragments_of_a_datagram_to_a_group_end_without_a_word() {
    let mut scene = scene_with_neighbor();
    scene.receive(&echo(&[1; 92]).to(a("ff02::1")).fragments(5, &[40, 100])[0]);
    scene.drive(Duration::from_secs(61));
    assert_eq!(scene.sent_icmp(3), []);
}

#[test]
fn udp_over_ipv6_has_a_checksum_always() {
    let mut scene = scene_with_neighbor();
    let socket = scene.stack.udp_bind(7).unwrap();
    scene.receive(&udp6(b"no").no_checksum().frame());
    assert_eq!(scene.dropped(), [(Drop::UdpChecksum, 1)]);
    assert_eq!(scene.sent6(), []);
    scene.receive(&udp6(b"yes").header(DESTINATION, &padding()).frame());
    let datagram = scene.stack.udp_mut().receive(socket).unwrap();
    assert_eq!(datagram.payload(), b"yes");
    assert_eq!((datagram.remote(), datagram.local()), ((peer(), 5_000).into(), (host(), 7).into()));
}

#[test]
fn all_datagrams_of_a_flow_have_one_label_and_other_flows_have_others() {
    let mut scene = scene_with_neighbor();
    let mut labels = |from: u16, to: u16, length: usize| {
        scene.send_bytes(from, (peer(), to).into(), &vec![0; length]).unwrap();
        let label =
            |frame: &Vec<u8>| u32::from_be_bytes([0, frame[15] & 0x0f, frame[16], frame[17]]);
        let labels: Vec<_> = scene.sent().iter().map(label).collect();
        assert!(labels.iter().all(|label| *label == labels[0] && *label != 0), "{labels:x?}");
        labels[0]
    };
    let flow = labels(5_353, 9, 1);
    assert_eq!([labels(5_353, 9, 100), labels(5_353, 9, 4_000)], [flow; 2]);
    let others: HashSet<_> = (1..=64).map(|port| labels(5_353, 1_000 + port, 1)).collect();
    assert!(others.len() > 60 && !others.contains(&flow));
    assert_ne!(labels(5_354, 9, 1), flow);
}

#[test]
fn smoltcp_and_the_stack_find_each_other_and_exchange_datagrams() {
    let mut scene = scene();
    let socket = scene.stack.udp_bind(7).unwrap();
    for (ours, theirs) in [(host(), peer()), (host_local(), a("fe80::1"))] {
        let mut them = Peer::with(smoltcp::wire::IpCidr::new(theirs.into(), 64));
        for length in [0, 1, 2, 63, 64, 65, 511, 1_451, 1_452] {
            let payload: Vec<u8> = (0..length).map(|n: usize| (n * 7) as u8).collect();
            them.send(&payload, ours, 7);
            scene.exchange(&mut them);
            let datagram = scene.stack.udp_mut().receive(socket).unwrap();
            assert_eq!(datagram.payload(), payload);
            assert_eq!(datagram.remote(), (theirs, 5_000).into());
            scene.send(datagram.local().into(), datagram.remote(), datagram.into_packet()).unwrap();
            scene.exchange(&mut them);
            assert_eq!(them.receive(), Some((payload, (ours, 7).into())));
        }
    }
    assert_eq!(scene.stack.stats().dropped.total(), 0);
}

#[test]
fn a_large_datagram_comes_and_goes_in_fragments() {
    let mut scene = scene_with_neighbor();
    let socket = scene.stack.udp_bind(7).unwrap();
    let payload: Vec<u8> = (0..60_000usize).map(|n| (n / 8) as u8).collect();
    let ends: Vec<usize> = (1..=60).map(|n| n * 1_008).collect();
    udp6(&payload).fragments(3, &ends).iter().for_each(|frame| scene.receive(frame));
    let datagram = scene.stack.udp_mut().receive(socket).unwrap();
    assert_eq!(datagram.payload(), payload);
    scene.send(datagram.local().into(), datagram.remote(), datagram.into_packet()).unwrap();
    let sent = scene.sent6();
    let (mut whole, mut ids) = (Vec::new(), Vec::new());
    for (at, piece) in sent.iter().enumerate() {
        assert_eq!((piece.next, piece.payload[0]), (FRAGMENT, UDP));
        let offset = u16::from_be_bytes([piece.payload[2], piece.payload[3]]);
        assert_eq!(usize::from(offset & !7), whole.len());
        assert_eq!(offset & 7, u16::from(at + 1 < sent.len()));
        assert!(piece.payload.len() <= 1_460);
        ids.push(piece.payload[4..8].to_vec());
        whole.extend(&piece.payload[8..]);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(checksum(host(), peer(), UDP, &whole), 0);
    assert_eq!(&whole[8..], payload);
}

#[test]
fn a_prefix_that_comes_with_an_address_is_on_the_link_for_whom_was_sent_to_before_too() {
    for known in [false, true] {
        let mut scene = scene();
        scene.advertise(&link_option(1, ROUTER_MAC));
        let to = a("2001:db8:7::9");
        for _ in 0..3 {
            if known {
                assert_eq!(sends(&mut scene, to).to, ROUTER_MAC);
            }
        }
        scene.stack.add_address(scene.now, "2001:db8:7::2/64".parse().unwrap()).unwrap();
        scene.drive(Duration::from_millis(900));
        let asked = sends(&mut scene, to);
        assert_eq!(asked.kind(), Some((135, 0)), "{known}");
    }
}
