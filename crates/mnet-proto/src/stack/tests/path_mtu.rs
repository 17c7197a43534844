//! What passes on the way to a destination (RFC 1191), and whom to believe about it (RFC 5927).

use super::link::{Card, Seen, behind_gateway, pattern, whole};
use super::*;
use crate::IcmpError;

const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

fn send(scene: &mut Scene, to: Ipv4Addr, length: usize) -> Vec<Seen> {
    scene.send_v4(7, (to, 53), &pattern(length), &Options::default()).unwrap();
    scene.sent_v4()
}

/// A router says what passes of a datagram.
fn narrow(scene: &mut Scene, about: &Seen, mtu: u16) {
    let [high, low] = mtu.to_be_bytes();
    scene.receive(&about.error(ROUTER, 3, 4, [0, 0, high, low]).bytes());
}

/// A host whose datagram of 1,500 bytes was found to be too long for the path.
fn narrowed(mtu: u16) -> (Scene, SocketId, Seen) {
    let mut scene = behind_gateway();
    let socket = scene.stack.udp_bind(7).unwrap();
    let sent = send(&mut scene, FAR, 1_472).remove(0);
    narrow(&mut scene, &sent, mtu);
    (scene, socket, sent)
}

/// The longest datagram that goes to the destination in one piece.
fn passes(scene: &mut Scene, to: Ipv4Addr) -> u16 {
    let options = Options { dont_fragment: Some(true), ..Options::default() };
    match scene.send_v4(7, (to, 53), &[0; 65_507], &options) {
        Err(SendError::PacketTooBig { mtu }) => mtu,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_passes_no_more_goes_in_pieces_from_then_on() {
    for mtu in [1_499, 1_280, 1_006, 577, 576, 296, 69, 68] {
        let (mut scene, socket, _) = narrowed(mtu);
        let report = scene.stack.udp_mut().receive_error(socket).unwrap();
        assert_eq!(report.error, IcmpError::PacketTooBig { mtu });
        assert_eq!((report.remote, report.reporter), ((FAR, 53).into(), ROUTER.into()));
        let (seen, lengths) = whole(&send(&mut scene, FAR, 1_472));
        assert_eq!(seen.udp(), pattern(1_472));
        assert!(lengths.iter().all(|&length| length <= mtu), "{mtu}: {lengths:?}");
        let fits = send(&mut scene, FAR, usize::from(mtu) - 28);
        assert!(fits.len() == 1 && fits[0].header.dont_fragment);
        assert_eq!(passes(&mut scene, FAR), mtu);
        // Others have paths of their own.
        assert_eq!(passes(&mut scene, ROUTER), 1_500);
        assert_eq!(scene.stack.stats().path_mtu_changes, 1);
    }
}

#[test]
fn nothing_makes_it_less_than_what_every_link_takes() {
    for mtu in [1, 67] {
        let (mut scene, ..) = narrowed(mtu);
        assert_eq!(passes(&mut scene, FAR), 68);
    }
}

#[test]
fn a_router_that_says_no_number_is_taken_to_have_a_usual_link() {
    let (mut scene, _, mut sent) = narrowed(0);
    for mtu in [1_492, 1_006, 508, 296, 68] {
        assert_eq!(passes(&mut scene, FAR), mtu);
        sent.header.total_len = mtu;
        narrow(&mut scene, &sent, 0);
    }
    assert_eq!(passes(&mut scene, FAR), 68);
}

#[test]
fn nobody_makes_it_more_than_it_was() {
    let (mut scene, socket, sent) = narrowed(1_000);
    scene.stack.udp_mut().receive_error(socket);
    for mtu in [1_000, 1_001, 1_500, 9_000, u16::MAX] {
        narrow(&mut scene, &sent, mtu);
        assert_eq!(passes(&mut scene, FAR), 1_000);
    }
    assert_eq!(scene.stack.udp_mut().receive_error(socket), None);
    assert_eq!(scene.stack.stats().path_mtu_changes, 1);
}

#[test]
fn after_ten_minutes_it_is_tried_anew() {
    let (mut scene, _, sent) = narrowed(1_000);
    scene.now += Duration::from_secs(300);
    assert_eq!(passes(&mut scene, FAR), 1_000);
    // What is heard again counts from then.
    narrow(&mut scene, &sent, 900);
    scene.now += Duration::from_secs(599);
    assert_eq!(passes(&mut scene, FAR), 900);
    scene.now += Duration::from_secs(2);
    assert_eq!(passes(&mut scene, FAR), 1_500);
}

#[test]
fn what_waits_for_a_neighbour_goes_by_what_was_known() {
    let mut scene = Card::default().host(|_| ());
    scene.stack.udp_bind(7).unwrap();
    let sent = send(&mut scene, PEER, 1_472).remove(0);
    narrow(&mut scene, &sent, 600);
    let (_, lengths) = whole(&send(&mut scene, PEER, 1_472));
    assert_eq!(lengths, [596, 596, 348]);
}

#[test]
fn changes_of_routes_leave_what_is_known_of_paths() {
    let (mut scene, ..) = narrowed(1_000);
    let prefix = "203.0.113.0/24".parse().unwrap();
    scene.stack.add_route(prefix, Some(PEER.into())).unwrap();
    assert_eq!(passes(&mut scene, FAR), 1_000);
}
