mod hostile;

use std::collections::HashSet;

use super::*;
use crate::ip::Ipv4Cidr;
use crate::wire::dhcpv4::INFINITY;

const START: Instant = Instant::from_nanos(1_000_000_000_000);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn after(seconds: f64) -> Instant {
    START + Duration::from_secs_f64(seconds)
}

fn seconds(instant: Instant) -> f64 {
    (instant - START).as_secs_f64()
}

fn cidr(text: &str) -> Ipv4Cidr {
    text.parse().unwrap()
}

/// What a client sent, and when.
#[derive(Clone, Debug)]
struct Sent {
    at: Instant,
    to: Destination,
    source: Ipv4Addr,
    message: Message,
}

/// What answers a message.
type Server = dyn FnMut(&Message) -> Option<Message>;

/// A client, the server that answers it, and what came of it.
struct Scene {
    client: Client,
    server: Box<Server>,
    sent: Vec<Sent>,
    events: Vec<(Instant, Event)>,
    ignored: Vec<Ignored>,
}

impl Scene {
    fn new(server: impl FnMut(&Message) -> Option<Message> + 'static) -> Self {
        let client = Client::new(MAC, 1500, [7; 32]);
        let (sent, events, ignored) = Default::default();
        Self { client, server: Box::new(server), sent, events, ignored }
    }

    /// A client that has a lease of an hour, got at the start.
    fn bound() -> Self {
        let mut scene = Self::new(generous);
        scene.client.start(START);
        scene.settle(START);
        assert_eq!(scene.client.lease().map(|lease| lease.address), Some(cidr("10.0.0.5/24")));
        assert_eq!(scene.events.len(), 1);
        scene.sent.clear();
        scene.events.clear();
        scene
    }

    /// Lets client and server talk until both are silent.
    fn settle(&mut self, now: Instant) {
        while let Some(Transmit { to, source, message }) = self.client.poll_transmit() {
            let message = Message::parse(&message).unwrap();
            self.sent.push(Sent { at: now, to, source, message: message.clone() });
            if let Some(reply) = (self.server)(&message) {
                self.ignored.extend(self.client.handle_message(now, &reply.emit()).err());
            }
        }
        self.events.extend(self.client.poll_event().map(|event| (now, event)));
    }

    /// Lets time pass from timer to timer until `end`.
    fn drive(&mut self, end: f64) {
        while let Some(next) = self.client.poll_timeout().filter(|&next| next <= after(end)) {
            self.client.handle_timeout(next);
            self.settle(next);
        }
    }

    fn drive_without_server(&mut self, end: f64) {
        self.server = Box::new(silent);
        self.drive(end);
    }

    fn handle(&mut self, now: Instant, message: &Message) -> Result<(), Ignored> {
        self.client.handle_message(now, &message.emit())
    }

    fn kinds(&self) -> Vec<Kind> {
        self.sent.iter().map(|sent| sent.message.kind).collect()
    }

    fn events(&self) -> Vec<Event> {
        self.events.iter().map(|(_, event)| event.clone()).collect()
    }

    fn last(&self) -> &Sent {
        self.sent.last().unwrap()
    }
}

fn silent(_: &Message) -> Option<Message> {
    None
}

fn give(request: &Message, kind: Kind) -> Message {
    let mut reply = request.reply(kind, SERVER);
    reply.yiaddr = ADDRESS;
    reply.subnet_mask = Some(Ipv4Addr::new(255, 255, 255, 0));
    reply.lease_time = Some(3_600);
    reply.routers = vec![SERVER];
    reply.dns_servers = vec![Ipv4Addr::new(10, 0, 0, 3), Ipv4Addr::new(9, 9, 9, 9)];
    reply
}

/// A server that gives what it is asked for.
fn generous(request: &Message) -> Option<Message> {
    match request.kind {
        Kind::Discover => Some(give(request, Kind::Offer)),
        Kind::Request => Some(give(request, Kind::Ack)),
        _ => None,
    }
}

/// The generous server, with one thing otherwise.
fn generous_but(
    change: impl Fn(&mut Message) + 'static,
) -> impl FnMut(&Message) -> Option<Message> {
    move |request| {
        let mut reply = generous(request)?;
        change(&mut reply);
        Some(reply)
    }
}

#[test]
fn an_address_is_discovered_requested_and_bound_at_once() {
    let mut scene = Scene::new(generous);
    assert_eq!(scene.client.poll_timeout(), None);
    scene.client.start(START);
    scene.settle(START);
    assert_eq!(scene.kinds(), [Kind::Discover, Kind::Request]);

    let [discover, request] = &scene.sent[..] else { panic!("two messages") };
    for sent in [discover, request] {
        assert_eq!((sent.at, sent.to, sent.source), (START, Destination::Broadcast, ANY));
        let message = &sent.message;
        assert_eq!((message.ciaddr, message.secs, message.broadcast), (ANY, 0, false));
        assert_eq!(message.client_id, [1, 2, 0, 0, 0, 0, 1]);
        assert_eq!(message.max_message_size, Some(1500));
        let mut parameters = message.parameter_list.clone();
        parameters.sort_unstable();
        assert_eq!(parameters, [1, 3, 6, 15, 26, 42, 51, 54, 58, 59, 121]);
    }
    assert_eq!((discover.message.requested_address, discover.message.server_id), (None, None));
    assert_eq!(request.message.requested_address, Some(ADDRESS));
    assert_eq!(request.message.server_id, Some(SERVER));
    assert_eq!(request.message.xid, discover.message.xid);

    let lease = Lease {
        address: cidr("10.0.0.5/24"),
        server: SERVER,
        routes: vec![(cidr("0.0.0.0/0"), Some(SERVER))],
        dns: vec![Ipv4Addr::new(10, 0, 0, 3), Ipv4Addr::new(9, 9, 9, 9)],
        ntp: vec![],
        mtu: None,
        domain: None,
        renew: after(1_800.0),
        rebind: after(3_150.0),
        expires: after(3_600.0),
    };
    assert_eq!(scene.client.lease(), Some(&lease));
    assert_eq!(lease.gateway(), Some(SERVER));
    assert_eq!(scene.events, [(START, Event::Bound(lease))]);
    assert_eq!(scene.client.poll_timeout(), Some(after(1_800.0)));

    scene.client.start(after(1.0));
    scene.settle(after(1.0));
    assert_eq!((scene.sent.len(), scene.events.len()), (2, 1), "it starts but once");
}

#[test]
fn servers_are_looked_for_after_4_8_16_32_and_then_64_seconds_each_a_second_more_or_less() {
    let mut scene = Scene::new(silent);
    scene.client.start(START);
    scene.settle(START);
    scene.drive(500.0);
    assert!(scene.sent.len() > 8);
    let xid = scene.last().message.xid;
    let mut spreads = Vec::new();
    for (index, sent) in scene.sent.iter().enumerate() {
        assert_eq!((sent.message.kind, sent.message.xid), (Kind::Discover, xid));
        assert_eq!(sent.message.secs, seconds(sent.at) as u16);
        let Some(next) = scene.sent.get(index + 1) else { break };
        let delay = (next.at - sent.at).as_secs_f64();
        let expected = [4.0, 8.0, 16.0, 32.0].get(index).copied().unwrap_or(64.0);
        assert!((delay - expected).abs() <= 1.0, "{delay} for {expected}");
        spreads.push(delay - expected);
    }
    let (least, most) =
        (spreads[1..].iter()).fold((1.0f64, -1.0f64), |(a, b), &s| (a.min(s), b.max(s)));
    assert!(most - least > 0.5, "{spreads:?} are not spread");
    assert_eq!(scene.events, []);

    // However late, the first offer is as good as ever.
    scene.server = Box::new(generous);
    scene.drive(600.0);
    assert!(scene.client.lease().is_some());
    let request = scene.last();
    assert_eq!(
        (request.message.kind, request.message.secs),
        (Kind::Request, seconds(request.at) as u16)
    );
}

#[test]
fn a_request_says_of_the_time_what_the_discover_said_however_late_the_offer() {
    let mut scene = Scene::new(silent);
    scene.client.start(START);
    scene.settle(START);
    scene.drive(6.0);
    let discover = scene.last().clone();
    assert!((3..=5).contains(&discover.message.secs), "{discover:?}");
    let late = discover.at + Duration::from_secs(5);
    assert_eq!(scene.handle(late, &give(&discover.message, Kind::Offer)), Ok(()));
    scene.settle(late);
    scene.drive(30.0);
    let requests: Vec<_> =
        scene.sent.iter().filter(|it| it.message.kind == Kind::Request).collect();
    assert!(requests.len() > 1);
    for request in requests {
        assert_eq!(request.message.secs, discover.message.secs, "{request:?}");
    }
}

#[test]
fn a_request_is_sent_four_times_and_after_a_minute_all_begins_anew() {
    let mut scene = Scene::new(|request| generous(request).filter(|it| it.kind == Kind::Offer));
    scene.client.start(START);
    scene.settle(START);
    scene.drive(66.0);
    use Kind::{Discover, Request};
    assert_eq!(scene.kinds()[..6], [Discover, Request, Request, Request, Request, Discover]);
    for (sent, expected) in scene.sent[1..6].iter().zip([0.0, 4.0, 12.0, 28.0, 60.0]) {
        assert!((seconds(sent.at) - expected).abs() <= 4.0, "{sent:?} at {expected}");
    }
    assert_ne!(scene.sent[5].message.xid, scene.sent[4].message.xid);
    assert_eq!(scene.sent[4].message.xid, scene.sent[0].message.xid);
    assert_eq!(scene.sent[5].message.secs, 0);
    assert_eq!(scene.events, []);
}

#[test]
fn a_lease_counts_from_the_request_that_was_answered() {
    let mut requests = 0;
    let mut scene = Scene::new(move |request| {
        requests += u32::from(request.kind == Kind::Request);
        generous(request).filter(|_| requests != 1)
    });
    scene.client.start(START);
    scene.settle(START);
    scene.drive(10.0);
    let lease = scene.client.lease().unwrap();
    assert_eq!(lease.expires, scene.last().at + Duration::from_secs(3_600));
    assert!(scene.last().at > after(2.9));

    // The answer to a request is late: it is the request that counts.
    let mut scene = Scene::bound();
    scene.drive_without_server(1_800.0);
    let ack = give(&scene.last().message, Kind::Ack);
    assert_eq!(scene.handle(after(1_830.0), &ack), Ok(()));
    assert_eq!(scene.client.lease().unwrap().expires, after(1_800.0 + 3_600.0));
}

#[test]
fn a_lease_is_renewed_at_t1_by_its_server_alone_and_nobody_is_told() {
    let mut scene = Scene::bound();
    scene.drive(1_799.9);
    assert!(scene.sent.is_empty());
    scene.drive(1_800.0);
    let [request] = &scene.sent[..] else { panic!("one request") };
    assert_eq!((request.to, request.source), (Destination::Server(SERVER), ADDRESS));
    let message = &request.message;
    assert_eq!((message.kind, message.ciaddr, message.secs), (Kind::Request, ADDRESS, 0));
    assert_eq!((message.requested_address, message.server_id), (None, None));
    assert_eq!(scene.client.lease().unwrap().expires, after(5_400.0));
    assert_eq!(scene.client.poll_timeout(), Some(after(3_600.0)));
    assert_eq!(scene.events, []);
    scene.drive(100_000.0);
    assert_eq!(scene.events, [], "it goes on like this for ever");
    assert!(scene.sent.len() > 50);
}

#[test]
fn a_change_that_comes_with_a_renewal_is_told() {
    let mut scene = Scene::bound();
    scene.server = Box::new(generous_but(|reply| reply.dns_servers.truncate(1)));
    scene.drive(3_600.0);
    let lease = scene.client.lease().unwrap().clone();
    assert_eq!(lease.dns, [Ipv4Addr::new(10, 0, 0, 3)]);
    let [(at, Event::Bound(told))] = &scene.events[..] else { panic!("one event") };
    assert_eq!((*at, &told.dns), (after(1_800.0), &lease.dns));
}

#[test]
fn a_lease_that_is_not_renewed_is_asked_of_all_servers_after_t2_and_lost_in_the_end() {
    let mut scene = Scene::bound();
    scene.drive_without_server(3_600.0);
    // RFC 2131 §4.4.5: at half the time that remains, but not within a minute.
    let expected = [
        (1_800.0, Destination::Server(SERVER)),
        (2_475.0, Destination::Server(SERVER)),
        (2_812.5, Destination::Server(SERVER)),
        (2_981.25, Destination::Server(SERVER)),
        (3_065.625, Destination::Server(SERVER)),
        (3_125.625, Destination::Server(SERVER)),
        (3_150.0, Destination::Broadcast),
        (3_375.0, Destination::Broadcast),
        (3_487.5, Destination::Broadcast),
        (3_547.5, Destination::Broadcast),
    ];
    let (requests, anew) = scene.sent.split_at(expected.len());
    let sent: Vec<_> = requests.iter().map(|sent| (seconds(sent.at), sent.to)).collect();
    assert_eq!(sent, expected);
    for sent in requests {
        let message = &sent.message;
        assert_eq!((message.kind, sent.source, message.ciaddr), (Kind::Request, ADDRESS, ADDRESS));
        assert_eq!((message.requested_address, message.server_id), (None, None));
        assert_eq!(message.secs, (seconds(sent.at) - 1_800.0) as u16);
    }
    let xids: HashSet<_> = requests.iter().map(|sent| sent.message.xid).collect();
    assert_eq!(xids.len(), requests.len(), "each answer tells its request");
    let [discover] = anew else { panic!("one discover: {anew:?}") };
    assert_eq!((discover.at, discover.source), (after(3_600.0), ANY));
    assert_eq!((discover.message.kind, discover.message.ciaddr), (Kind::Discover, ANY));
    assert_eq!(scene.events, [(after(3_600.0), Event::Lost)]);
    assert_eq!(scene.client.lease(), None);
}

#[test]
fn any_server_may_prolong_a_lease_after_t2_but_only_its_own_before() {
    let mut scene = Scene::bound();
    let other = |request: &Message| {
        let mut ack = give(request, Kind::Ack);
        ack.server_id = Some(OTHER_SERVER);
        Some(ack)
    };
    scene.server = Box::new(other);
    scene.drive(3_149.0);
    assert_eq!(scene.ignored, [Ignored::OtherServer; 6]);
    assert_eq!(scene.events, []);
    scene.drive(3_150.0);
    let lease = scene.client.lease().unwrap();
    assert_eq!((lease.server, lease.expires), (OTHER_SERVER, after(3_150.0 + 3_600.0)));
    assert_eq!(scene.events(), [Event::Bound(lease.clone())]);
}

#[test]
fn a_host_that_slept_through_its_lease_has_lost_it() {
    let mut scene = Scene::bound();
    scene.client.handle_timeout(after(5_000.0));
    scene.settle(after(5_000.0));
    assert_eq!(scene.kinds(), [Kind::Discover, Kind::Request]);
    // It has got it back before anybody was told of the loss.
    assert_eq!(scene.events.len(), 1);
    assert_eq!(scene.client.lease().unwrap().expires, after(8_600.0));

    let mut scene = Scene::bound();
    scene.client.handle_timeout(after(3_200.0));
    scene.settle(after(3_200.0));
    assert_eq!((scene.kinds(), scene.last().to), (vec![Kind::Request], Destination::Broadcast));
}

#[test]
fn an_acknowledgement_that_comes_when_all_is_over_is_of_no_use() {
    let mut scene = Scene::new(generous_but(|reply| reply.lease_time = Some(60)));
    scene.client.start(START);
    scene.settle(START);
    scene.drive_without_server(52.5);
    let ack = generous_but(|reply| reply.lease_time = Some(60))(&scene.last().message).unwrap();
    assert_eq!(scene.handle(after(112.5), &ack), Err(Ignored::Unusable));
    assert_eq!(scene.handle(after(112.4), &ack), Ok(()));
}

#[test]
fn a_refused_request_begins_anew_at_once_and_then_ever_later() {
    let mut scene = Scene::new(|request| match request.kind {
        Kind::Discover => generous(request),
        _ => Some(request.reply(Kind::Nak, SERVER)),
    });
    scene.client.start(START);
    scene.settle(START);
    assert_eq!(scene.kinds(), [Kind::Discover, Kind::Request, Kind::Discover, Kind::Request]);
    assert_ne!(scene.sent[2].message.xid, scene.sent[0].message.xid);
    scene.drive(600.0);
    assert_eq!(scene.events, [], "there was nothing to lose");
    let discovers: Vec<_> = (scene.sent.iter())
        .filter(|sent| sent.message.kind == Kind::Discover)
        .map(|sent| seconds(sent.at))
        .collect();
    for (index, pair) in discovers[1..].windows(2).enumerate() {
        let expected = [4.0, 8.0, 16.0, 32.0].get(index).copied().unwrap_or(64.0);
        assert!((pair[1] - pair[0] - expected).abs() <= 1.0, "{discovers:?}");
    }

    // A lease ends the row.
    scene.server = Box::new(generous);
    scene.drive(700.0);
    assert!(scene.client.lease().is_some());
    assert_eq!(scene.client.naks, 0);
}

#[test]
fn a_lease_that_is_refused_is_lost_at_once() {
    for t in [1_800.0, 3_150.0] {
        let mut scene = Scene::bound();
        scene.drive_without_server(t);
        let nak = scene.last().message.reply(Kind::Nak, SERVER);
        assert_eq!(scene.handle(after(t), &nak), Ok(()));
        scene.settle(after(t));
        assert_eq!(scene.events, [(after(t), Event::Lost)]);
        assert_eq!(scene.client.lease(), None);
        assert_eq!((scene.last().message.kind, scene.last().source), (Kind::Discover, ANY));
    }
}

#[test]
fn an_address_that_another_host_has_is_declined_and_another_sought_after_ten_seconds() {
    let mut scene = Scene::bound();
    scene.client.decline(after(1.0));
    scene.settle(after(1.0));
    assert_eq!(scene.events, [(after(1.0), Event::Lost)]);
    assert_eq!(scene.client.lease(), None);
    let [decline] = &scene.sent[..] else { panic!("one message") };
    assert_eq!((decline.to, decline.source), (Destination::Broadcast, ANY));
    let mut expected = Message::new(Kind::Decline, decline.message.xid, MAC);
    expected.client_id = vec![1, 2, 0, 0, 0, 0, 1];
    expected.requested_address = Some(ADDRESS);
    expected.server_id = Some(SERVER);
    assert_eq!(decline.message, expected);

    scene.drive(10.9);
    assert_eq!(scene.sent.len(), 1);
    scene.client.decline(after(10.9));
    scene.settle(after(10.9));
    assert_eq!(scene.sent.len(), 1, "there is nothing to decline");
    scene.drive(11.0);
    assert_eq!(scene.kinds(), [Kind::Decline, Kind::Discover, Kind::Request]);
    assert!(scene.client.lease().is_some());
}

#[test]
fn a_lease_without_end_is_left_alone() {
    let mut scene = Scene::new(generous_but(|reply| {
        reply.lease_time = Some(INFINITY);
        reply.renewal_time = Some(10);
    }));
    scene.client.start(START);
    scene.settle(START);
    assert_eq!(scene.client.lease().unwrap().expires, Instant::FAR_FUTURE);
    assert_eq!(scene.client.poll_timeout(), None);
    assert_eq!(scene.client.lease().unwrap().renew, Instant::FAR_FUTURE);
}

#[test]
fn a_small_link_still_takes_the_messages_that_every_client_takes() {
    let mut client = Client::new(MAC, 68, [0; 32]);
    client.start(START);
    let message = Message::parse(&client.poll_transmit().unwrap().message).unwrap();
    assert_eq!(message.max_message_size, Some(576));
}

#[test]
fn a_request_that_waited_to_be_sent_until_it_was_answered_is_sent_no_more() {
    // Refused once already, so that it would wait before it asks again.
    for kind in [Kind::Ack, Kind::Nak] {
        let mut client = Client::new(MAC, 1500, [0; 32]);
        let next =
            |client: &mut Client| Message::parse(&client.poll_transmit().unwrap().message).unwrap();
        client.start(START);
        for kind in [Kind::Offer, Kind::Nak, Kind::Offer] {
            let reply = give(&next(&mut client), kind);
            assert_eq!(client.handle_message(START, &reply.emit()), Ok(()));
        }
        let request = next(&mut client);
        client.handle_timeout(after(5.0));
        let reply = give(&request, kind);
        assert_eq!(client.handle_message(after(5.0), &reply.emit()), Ok(()));
        assert_eq!(client.poll_transmit(), None, "{kind:?}");
    }
}
