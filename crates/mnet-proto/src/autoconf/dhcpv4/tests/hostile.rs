//! What others send: strays, forgeries, and noise.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_not_an_answer_to_what_was_asked_is_ignored() {
    let mut scene = Scene::new(silent);
    let stray = give(&Message::new(Kind::Discover, 0, MAC), Kind::Ack);
    assert_eq!(scene.handle(START, &stray), Err(Ignored::Unexpected), "nothing was asked");

    scene.client.start(START);
    scene.settle(START);
    let offer = give(&scene.last().message, Kind::Offer);
    let changed = |change: fn(&mut Message)| {
        let mut message = offer.clone();
        change(&mut message);
        message
    };
    for (reason, message) in [
        (Ignored::NotOurs, changed(|it| it.xid ^= 1)),
        (Ignored::NotOurs, changed(|it| it.chaddr.0[5] ^= 1)),
        (Ignored::NotOurs, changed(|it| it.client_id[6] ^= 1)),
        (Ignored::Unexpected, changed(|it| it.kind = Kind::Ack)),
        (Ignored::Unexpected, changed(|it| it.kind = Kind::Nak)),
        (Ignored::Unexpected, changed(|it| it.kind = Kind::Discover)),
        (Ignored::Unexpected, changed(|it| it.kind = Kind::Request)),
        (Ignored::Unusable, changed(|it| it.lease_time = None)),
    ] {
        assert_eq!(scene.handle(START, &message), Err(reason), "{message:?}");
    }
    assert_eq!(scene.client.handle_message(START, &[0; 300]), Err(Ignored::Malformed));
    assert_eq!(scene.client.poll_transmit(), None);

    // A server that leaves the identifier out will do, and the first offer is taken.
    assert_eq!(scene.handle(START, &changed(|it| it.client_id.clear())), Ok(()));
    scene.settle(START);
    assert_eq!(scene.last().message.kind, Kind::Request);
    assert_eq!(scene.handle(START, &offer), Err(Ignored::Unexpected));

    let ack = give(&scene.last().message, Kind::Ack);
    let by_other = Message { server_id: Some(OTHER_SERVER), ..ack.clone() };
    assert_eq!(scene.handle(START, &by_other), Err(Ignored::OtherServer));
    let by_nobody = Message { server_id: None, ..ack.clone() };
    assert_eq!(scene.handle(START, &by_nobody), Err(Ignored::OtherServer));
    let refused = Message { kind: Kind::Nak, ..by_other };
    assert_eq!(scene.handle(START, &refused), Err(Ignored::OtherServer));
    let other_address = Message { yiaddr: Ipv4Addr::new(10, 0, 0, 6), ..ack.clone() };
    assert_eq!(scene.handle(START, &other_address), Err(Ignored::Unusable));

    assert_eq!(scene.handle(START, &ack), Ok(()));
    assert_eq!(scene.handle(START, &ack), Err(Ignored::Unexpected), "it has come twice");
    let nak = Message { kind: Kind::Nak, ..ack };
    assert_eq!(scene.handle(START, &nak), Err(Ignored::Unexpected), "it has what it asked for");
    assert!(scene.client.lease().is_some());
}

#[test]
fn the_shortest_lease_keeps_the_client_from_spinning() {
    let mut scene = Scene::new(generous_but(|reply| reply.lease_time = Some(1)));
    scene.client.start(START);
    scene.settle(START);
    scene.drive(100.0);
    assert!((190..=210).contains(&scene.sent.len()), "{}", scene.sent.len());
    assert_eq!(scene.events.len(), 1);
}

proptest! {
    /// Bytes that are a reply in all but a few places, at any time, in any state.
    #[test]
    fn nothing_that_comes_makes_it_panic_spin_or_forget_its_timer(
        seed: [u8; 32],
        steps in proptest::collection::vec(
            (0u8..6, any::<[u8; 8]>(), 0u64..4_000_000, any::<u32>()), 1..60,
        ),
    ) {
        let mut client = Client::new(MAC, 1500, seed);
        let mut now = START;
        client.start(now);
        let mut request = Message::parse(&client.poll_transmit().unwrap().message).unwrap();
        for (step, noise, millis, number) in steps {
            let kind = if number & 1 == 0 { Kind::Ack } else { Kind::Nak };
            let kind = if request.kind == Kind::Discover { Kind::Offer } else { kind };
            let mut reply = give(&request, kind);
            match step {
                0 => {
                    now += Duration::from_millis(millis);
                    client.handle_timeout(now);
                }
                1 => {
                    let _ = client.handle_message(now, &noise);
                }
                2 => {
                    let mut bytes = reply.emit();
                    for pair in noise.chunks(2) {
                        let index = 200 + usize::from(pair[0]);
                        if let Some(byte) = bytes.get_mut(index) {
                            *byte = pair[1];
                        }
                    }
                    let _ = client.handle_message(now, &bytes);
                }
                3 => client.decline(now),
                _ => {
                    let [a, b, ..] = noise;
                    reply.lease_time = Some(number >> (a % 32));
                    reply.renewal_time = Some(number >> (b % 32));
                    let _ = client.handle_message(now, &reply.emit());
                }
            }
            while let Some(Transmit { message, .. }) = client.poll_transmit() {
                request = Message::parse(&message).unwrap();
            }
            // Time that has come is dealt with in one call.
            client.handle_timeout(now);
            prop_assert!(client.poll_timeout().is_none_or(|next| next > now));
            let leased = client.lease().is_some();
            match client.poll_event() {
                Some(Event::Bound(lease)) => prop_assert_eq!(Some(&lease), client.lease()),
                Some(Event::Lost) => prop_assert!(!leased),
                None => {}
            }
            prop_assert!(leased || client.poll_timeout().is_some(), "it is stuck");
        }
    }
}
