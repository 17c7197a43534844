//! What is sent by templates is, byte for byte, what is sent without them.

use proptest::prelude::*;

use super::link::{Card, Frame, Seen, message, pattern, udp_bytes};
use super::scene6::{host, peer, router_advert, scene_with_neighbor, sends, udp6};
use super::*;

const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const DESTINATIONS: [Ipv4Addr; 6] = [
    PEER,
    OTHER,
    FAR,
    Ipv4Addr::new(192, 0, 2, 10),
    Ipv4Addr::new(192, 0, 2, 11),
    Ipv4Addr::new(192, 0, 2, 12),
];

/// A host that remembers so many destinations, its peer by, and its gateway the peer.
fn host_behind_gateway(destinations: usize) -> Scene {
    Card::default().host(|config| {
        let addresses = vec![crate::Ipv4Cidr::new(HOST, 24).unwrap()];
        config.ipv4 = Ipv4Config::Static { addresses, gateway: Some(PEER) };
        config.destinations = destinations;
    })
}

/// Sends a datagram from port 7, and returns it as it went.
fn send(scene: &mut Scene, to: Ipv4Addr, port: u16) -> Seen {
    scene.send_v4(7, (to, port), b"x", &Options::default()).unwrap();
    scene.sent().iter().find_map(|frame| Seen::read(frame)).unwrap()
}

/// Answers a question that comes to port 7, and returns the answer, if it went at once.
fn answer(scene: &mut Scene, socket: SocketId, source: Ipv4Addr, port: u16) -> Option<Seen> {
    let question = udp_bytes((source, port), (HOST, 7), b"x");
    scene.receive(&Frame { source, ..Frame::new(17, &question) }.bytes());
    let datagram = scene.stack.udp_mut().receive(socket).unwrap();
    scene.stack.udp_reply(scene.now, datagram).unwrap();
    let sent = scene.sent();
    let mut answers = sent.iter().filter_map(|frame| Seen::read(frame));
    let answer = answers.next();
    assert!(answers.next().is_none());
    answer
}

/// What happens to a host.
#[derive(Clone, Debug)]
enum Happening {
    Send {
        from: u16,
        to: usize,
        port: u16,
        length: usize,
        source: bool,
        options: Options,
    },
    /// A question comes, and is answered: as it is, or with something changed.
    Ask {
        from: usize,
        length: usize,
        checksum: bool,
        change: bool,
    },
    /// A neighbour says that it has another card.
    Move {
        to: usize,
        mac: u8,
    },
    /// A router says that no more passes.
    Narrow {
        to: usize,
        mtu: u16,
    },
    Route {
        to: usize,
        add: bool,
    },
    Address {
        add: bool,
    },
    SocketOptions(Options),
    Wait(u64),
}

fn options() -> impl Strategy<Value = Options> {
    let some = (proptest::option::of(1_u8..), proptest::option::of(0_u8..64))
        .prop_map(|(hop_limit, dscp)| Options { hop_limit, dscp, ..Options::default() });
    prop_oneof![6 => Just(Options::default()), 1 => some]
}

fn happening() -> impl Strategy<Value = Happening> {
    let to = 0..DESTINATIONS.len();
    let length = prop_oneof![4 => 0_usize..100, 2 => 1_400_usize..1_480, 1 => 0_usize..4_000];
    // Nobody listens on the last of these ports.
    let send = (7_u16..10, to.clone(), 9_u16..11, length.clone(), any::<bool>(), options())
        .prop_map(|(from, to, port, length, source, options)| Happening::Send {
            from,
            to,
            port,
            length,
            source,
            options,
        });
    let asked = prop_oneof![4 => 0_usize..1_473, 1 => 1_473_usize..9_000];
    let ask = (to.clone(), asked, any::<bool>(), any::<bool>()).prop_map(
        |(from, length, checksum, change)| Happening::Ask { from, length, checksum, change },
    );
    prop_oneof![
        12 => send,
        8 => ask,
        2 => (0_usize..2, any::<u8>()).prop_map(|(to, mac)| Happening::Move { to, mac }),
        1 => (to.clone(), 68_u16..1_500).prop_map(|(to, mtu)| Happening::Narrow { to, mtu }),
        1 => (to, any::<bool>()).prop_map(|(to, add)| Happening::Route { to, add }),
        1 => any::<bool>().prop_map(|add| Happening::Address { add }),
        1 => options().prop_map(Happening::SocketOptions),
        4 => (0_u64..1_500).prop_map(Happening::Wait),
        1 => (0_u64..100_000).prop_map(Happening::Wait),
    ]
}

/// The same host twice; one of them forgets its templates again and again.
struct Twins([Scene; 2]);

impl Twins {
    fn new(make: impl Fn() -> Scene) -> Self {
        Self([make(), make()])
    }

    /// Lets the same happen to both, and compares what follows.
    fn both<T: PartialEq + std::fmt::Debug>(&mut self, happen: impl Fn(&mut Scene) -> T) -> T {
        let [with, without] = &mut self.0;
        without.stack.ip.forget_templates();
        let results = [happen(with), happen(without)];
        let [frames, expected] = [with.sent(), without.sent()];
        assert_eq!(frames, expected);
        let [result, other] = results;
        assert_eq!(result, other);
        result
    }
}

fn happen(scene: &mut Scene, socket: SocketId, happening: &Happening) -> Result<(), SendError> {
    let mac = |number| Mac([2, 0, 0, 0, 1, number]);
    match *happening {
        Happening::Send { from, to, port, length, source, options } => {
            let mut packet = scene.pool.take_sized(length).unwrap();
            packet.append(length).unwrap().copy_from_slice(&pattern(length));
            let source = source.then_some(HOST.into());
            let to = Destination { source, options, ..(DESTINATIONS[to], port).into() };
            scene.stack.udp_send(scene.now, from.into(), to, packet)?;
        }
        Happening::Ask { from, length, checksum, change } => {
            let source = DESTINATIONS[from];
            let mut payload = udp_bytes((source, 5_000), (HOST, 7), &pattern(length));
            if !checksum {
                payload[6..8].fill(0);
            }
            let question = Frame { source, ..Frame::new(17, &payload) };
            question.pieces(1_480).iter().for_each(|piece| scene.receive(&piece.bytes()));
            let mut datagram = scene.stack.udp_mut().receive(socket).unwrap();
            if change {
                datagram.payload_mut().reverse();
            }
            scene.stack.udp_reply(scene.now, datagram)?;
        }
        Happening::Move { to, mac: number } => {
            scene.receive(&arp(REQUEST, (mac(number), DESTINATIONS[to]), HOST));
        }
        Happening::Narrow { to, mtu } => {
            let udp = udp_bytes((HOST, 7), (DESTINATIONS[to], 9), b"");
            let quoted =
                Frame { source: HOST, destination: DESTINATIONS[to], ..Frame::new(17, &udp) };
            let [high, low] = mtu.to_be_bytes();
            let body = [&[0, 0, high, low][..], &quoted.bytes()[14..]].concat();
            scene.receive(&Frame::new(1, &message(3, 4, &body)).bytes());
        }
        Happening::Route { to, add } => {
            let prefix = crate::Ipv4Cidr::new(DESTINATIONS[to], 32).unwrap().into();
            if add {
                let _ = scene.stack.add_route(prefix, Some(OTHER.into()));
            } else {
                scene.stack.remove_route(prefix, Some(OTHER.into()));
            }
        }
        Happening::Address { add } => {
            let other = Ipv4Addr::new(192, 0, 2, 2);
            if add {
                let _ = scene
                    .stack
                    .add_address(scene.now, crate::Ipv4Cidr::new(other, 24).unwrap().into());
            } else {
                scene.stack.remove_address(scene.now, other.into());
            }
        }
        Happening::SocketOptions(options) => scene.stack.udp_mut().set_options(socket, options),
        Happening::Wait(millis) => scene.drive(Duration::from_millis(millis)),
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_happens_the_same_frames_are_sent_as_without_templates(
        happenings in proptest::collection::vec(happening(), 1..200),
        destinations in prop_oneof![Just(2_usize), Just(1_024)],
    ) {
        let mut twins = Twins::new(|| host_behind_gateway(destinations));
        let socket = twins.both(|scene| scene.stack.udp_bind(7).unwrap());
        twins.both(|scene| scene.stack.udp_bind(8).unwrap());
        for happening in &happenings {
            // Who was sent to last is known to the second: of two that are sent to in turn, another may
            // be forgotten, with what passes on its way.
            if destinations > 2 || !matches!(happening, Happening::Narrow { .. }) {
                let _ = twins.both(|scene| happen(scene, socket, happening));
            }
        }
        prop_assert_eq!(twins.0[0].pool.available(), twins.0[1].pool.available());
    }

    #[test]
    fn over_ipv6_too(
        happenings in proptest::collection::vec((7_u16..9, 9_u16..11, 0_usize..4_000, 0_u64..1_500), 1..100),
    ) {
        let mut twins = Twins::new(scene_with_neighbor);
        let socket = twins.both(|scene| scene.stack.udp_bind(7).unwrap());
        twins.both(|scene| scene.stack.udp_bind(8).unwrap());
        for &(from, to, length, millis) in &happenings {
            let _ = twins.both(|scene| {
                scene.send_bytes(from, (peer(), to).into(), &pattern(length))
            });
            let _ = twins.both(|scene| {
                scene.receive(&udp6(&pattern(length % 1_400)).to(host()).frame());
                let mut datagram = scene.stack.udp_mut().receive(socket).unwrap();
                if millis % 2 == 0 {
                    datagram.payload_mut().reverse();
                }
                scene.stack.udp_reply(scene.now, datagram)
            });
            if millis % 5 == 0 {
                twins.both(|scene| scene.meet(peer(), Mac([2, 0, 0, 0, 1, millis as u8])));
            }
            twins.both(|scene| scene.drive(Duration::from_millis(millis)));
        }
    }
}

#[test]
fn a_device_that_makes_checksums_is_left_to_make_them_in_templates_too() {
    for fills in [(true, false), (false, true), (true, true)] {
        let mut twins = Twins::new(|| {
            let checksums = netdev::Checksums {
                fills_ipv4: fills.0,
                fills_udp: fills.1,
                ..netdev::Checksums::default()
            };
            Card { checksums, ..Card::default() }.host(|_| ())
        });
        twins.both(|scene| scene.stack.udp_bind(7).unwrap());
        for length in [1, 2, 3, 1_400, 4_000, 4_001] {
            twins
                .both(|scene| scene.send_v4(7, (PEER, 9), &pattern(length), &Options::default()))
                .unwrap();
        }
    }
}

#[test]
fn what_a_router_says_of_hops_holds_for_what_has_gone_by_a_template_before() {
    let mut scene = scene_with_neighbor();
    let hop_limits = |scene: &mut Scene| [(); 3].map(|()| sends(scene, peer()).hop_limit);
    assert_eq!(hop_limits(&mut scene), [64; 3]);
    let mut advert = router_advert(1_800, &[]);
    advert.payload[4] = 17;
    scene.receive(&advert.frame());
    assert_eq!(hop_limits(&mut scene), [17; 3]);
}

/// A template stands for a second at most: a neighbour that is spoken to all the time is asked for signs
/// of life as ever.
#[test]
fn who_is_sent_to_all_the_time_is_still_asked_whether_it_is_there() {
    let mut scene = Scene::with_neighbor();
    let mut asked = 0;
    for _ in 0..12_000 {
        scene.send_bytes(7, (PEER, 9).into(), b"x").unwrap();
        scene.drive(Duration::from_millis(10));
        asked += scene.sent().iter().filter(|frame| frame[12..14] == [8, 6]).count();
        if asked == 1 {
            break;
        }
    }
    assert_eq!(asked, 1);
}

#[test]
fn who_is_sent_to_all_the_time_is_not_put_out_by_a_flood_of_others() {
    let mut scene = host_behind_gateway(8);
    let socket = scene.stack.udp_bind(7).unwrap();
    let mut sent = send(&mut scene, FAR, 9);
    for other in 1..250 {
        sent = send(&mut scene, FAR, 9);
        let source = Ipv4Addr::new(198, 51, 100, other);
        assert!(answer(&mut scene, socket, source, 5_000).is_some());
    }
    scene.receive(&sent.error(FAR, 3, 3, [0; 4]).bytes());
    assert!(scene.stack.udp_mut().receive_error(socket).is_some());
}

/// And a destination stays one of those that were sent to of late, about which errors are believed.
#[test]
fn who_is_sent_to_all_the_time_is_not_forgotten_for_others() {
    let mut scene = host_behind_gateway(4);
    let socket = scene.stack.udp_bind(7).unwrap();
    for other in 1..7 {
        (0..20).for_each(|_| {
            send(&mut scene, FAR, 9);
            scene.drive(Duration::from_millis(20));
            scene.sent();
        });
        send(&mut scene, Ipv4Addr::new(192, 0, 2, 100 + other), 9);
    }
    let sent = send(&mut scene, FAR, 9);
    scene.receive(&sent.error(FAR, 3, 3, [0; 4]).bytes());
    assert!(scene.stack.udp_mut().receive_error(socket).is_some());
}

#[test]
fn errors_are_believed_about_what_has_gone_by_templates_too() {
    let mut scene = host_behind_gateway(8);
    let socket = scene.stack.udp_bind(7).unwrap();
    let others = (0..8).map(|number| Ipv4Addr::new(192, 0, 2, 100 + number));
    let mut sent = Vec::new();
    for other in others {
        sent.extend([9, 10, 10, 11].map(|port| (other, send(&mut scene, other, port))));
    }
    assert_eq!(sent.len(), 32);
    for (other, seen) in &sent {
        scene.receive(&seen.error(*other, 3, 3, [0; 4]).bytes());
        assert!(scene.stack.udp_mut().receive_error(socket).is_some(), "{seen:?}");
    }
}

#[test]
fn of_what_goes_by_a_template_only_the_last_is_believed_to_have_gone() {
    let mut scene = host_behind_gateway(8);
    let socket = scene.stack.udp_bind(7).unwrap();
    let sent: Vec<_> = (1..=20).map(|port| send(&mut scene, FAR, port)).collect();
    for (index, seen) in sent.iter().enumerate() {
        scene.receive(&seen.error(FAR, 3, 3, [0; 4]).bytes());
        let believed = scene.stack.udp_mut().receive_error(socket).is_some();
        assert_eq!(believed, index >= 12, "{seen:?}");
    }
}

#[test]
fn a_template_is_made_of_the_datagram_that_was_sent_and_of_no_other() {
    let mut scene = host_behind_gateway(1_024);
    scene.stack.udp_bind(7).unwrap();
    send(&mut scene, PEER, 9);
    scene.drive(Duration::from_secs(2));
    scene.sent();
    let options = Options { hop_limit: Some(1), ..Options::default() };
    scene.send_v4(7, (PEER, 9), b"x", &options).unwrap();
    // One that leaves no room for the Ethernet header, while that is still there.
    let mut packet = scene.pool.take().unwrap();
    packet.prepend(netdev::HEADROOM - 30).unwrap();
    assert_eq!(scene.send(7.into(), (PEER, 9).into(), packet), Err(SendError::NoBuffer));
    scene.sent();
    assert_eq!(send(&mut scene, PEER, 9).header.time_to_live, 64);
}

#[test]
fn errors_are_believed_about_what_goes_by_a_template_whatever_goes_there_without() {
    let mut scene = host_behind_gateway(1_024);
    let socket = scene.stack.udp_bind(7).unwrap();
    let far = Ipv4Addr::new(192, 0, 2, 9);
    (0..3).for_each(|_| drop(send(&mut scene, far, 9)));
    let options = Options { hop_limit: Some(9), ..Options::default() };
    for port in 100..108 {
        scene.send_v4(7, (far, port), b"x", &options).unwrap();
    }
    scene.sent();
    let sent = send(&mut scene, far, 9);
    scene.receive(&sent.error(far, 3, 3, [0; 4]).bytes());
    assert!(scene.stack.udp_mut().receive_error(socket).is_some());
}

#[test]
fn errors_are_believed_about_answers_to_those_that_were_forgotten() {
    let mut scene = host_behind_gateway(8);
    let socket = scene.stack.udp_bind(7).unwrap();
    let far = |number: u8| Ipv4Addr::new(192, 0, 2, 100 + number);
    for number in 0..8 {
        (0..3).for_each(|_| drop(answer(&mut scene, socket, far(number), 5_000)));
    }
    scene.drive(Duration::from_secs(2));
    scene.sent();
    for other in 1..40 {
        answer(&mut scene, socket, Ipv4Addr::new(198, 51, 100, other), 5_000);
    }
    for number in 0..8 {
        let sent = answer(&mut scene, socket, far(number), 6_000).unwrap();
        scene.receive(&sent.error(far(number), 3, 3, [0; 4]).bytes());
        assert!(scene.stack.udp_mut().receive_error(socket).is_some(), "{number}");
    }
}
