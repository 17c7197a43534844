//! DHCP, as clients speak it.

use mnet_proto::wire::dhcpv4::{Kind, Message};

use super::*;

const CLIENT: Mac = GUEST_MAC;

fn message(kind: Kind) -> Message {
    Message::new(kind, 0x1234_5678, CLIENT)
}

/// A frame of the guest with a message in it.
fn client(source: Ipv4Addr, to: Ipv4Addr, message: &Message) -> Vec<u8> {
    let mac = if to == ADDRESS { MAC } else { Mac::BROADCAST };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST_MAC.0, mac.0)
        .ipv4(source.octets(), to.octets(), 64)
        .udp(68, 67)
        .write(&mut frame, &message.emit())
        .unwrap();
    frame
}

/// To whom an answer goes, and what it says.
fn server(frame: &[u8]) -> (Mac, Ipv4Addr, Message) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("no IPv4") };
    let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
    assert_eq!(ip.header().source_addr(), ADDRESS);
    assert_eq!((udp.source_port(), udp.destination_port()), (67, 68));
    let mac = frame[..6].try_into().map(Mac).unwrap();
    (mac, ip.header().destination_addr(), Message::parse(udp.payload()).unwrap())
}

/// The answer to a message of a client that has no address yet.
#[track_caller]
fn ask(scene: &mut Scene, message: &Message) -> (Mac, Ipv4Addr, Message) {
    server(&scene.reply(&client(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, message)))
}

#[track_caller]
fn assert_unanswered(source: Ipv4Addr, to: Ipv4Addr, message: &Message) {
    let mut scene = gateway();
    assert_eq!(scene.send(at(0), &client(source, to, message)), Action::None);
    assert_eq!(scene.frame(), None, "{message:?}");
}

#[test]
fn who_has_no_address_gets_the_guests_with_all_that_goes_with_it() {
    let mut scene = with_nameserver(Some("192.0.2.53:53"));
    let (mac, to, offer) = ask(&mut scene, &message(Kind::Discover));
    assert_eq!((mac, to), (GUEST_MAC, GUEST));
    assert_eq!((offer.kind, offer.xid, offer.yiaddr), (Kind::Offer, 0x1234_5678, GUEST));
    assert_eq!((offer.server_id, offer.chaddr), (Some(ADDRESS), CLIENT));
    assert_eq!(offer.subnet_mask, Some(Ipv4Addr::new(255, 255, 255, 0)));
    assert_eq!((&*offer.routers, &*offer.ntp_servers), (&[ADDRESS][..], &[][..]));
    assert_eq!(offer.dns_servers, [Ipv4Addr::new(10, 0, 2, 3)]);
    assert_eq!((offer.mtu, offer.lease_time), (Some(1500), Some(86_400)));

    let request = Message {
        requested_address: Some(offer.yiaddr),
        server_id: offer.server_id,
        ..message(Kind::Request)
    };
    let (_, _, ack) = ask(&mut scene, &request);
    assert_eq!(ack, Message { kind: Kind::Ack, ..offer });
    assert_eq!(scene.gateway.drops(), &Drops::default());
}

#[test]
fn where_the_host_has_no_name_server_none_is_offered() {
    let (_, _, offer) = ask(&mut gateway(), &message(Kind::Discover));
    assert!(offer.dns_servers.is_empty());
}

#[test]
fn who_cannot_be_reached_by_address_yet_is_answered_by_broadcast() {
    let discover = Message { broadcast: true, ..message(Kind::Discover) };
    let (mac, to, offer) = ask(&mut gateway(), &discover);
    assert_eq!((mac, to, offer.broadcast), (Mac::BROADCAST, Ipv4Addr::BROADCAST, true));
}

#[test]
fn a_lease_is_renewed_where_it_was_given_and_rebound_anywhere() {
    for to in [ADDRESS, Ipv4Addr::BROADCAST] {
        let request = Message { ciaddr: GUEST, ..message(Kind::Request) };
        let (mac, to, ack) = server(&gateway().reply(&client(GUEST, to, &request)));
        assert_eq!((mac, to), (GUEST_MAC, GUEST));
        assert_eq!((ack.kind, ack.yiaddr, ack.ciaddr), (Kind::Ack, GUEST, GUEST));
    }
}

#[test]
fn any_other_address_is_refused() {
    let other = Ipv4Addr::new(192, 168, 1, 5);
    let reboots = Message { requested_address: Some(other), ..message(Kind::Request) };
    let rebinds = Message { ciaddr: other, ..message(Kind::Request) };
    for (source, request) in [(Ipv4Addr::UNSPECIFIED, reboots), (other, rebinds)] {
        let frame = client(source, Ipv4Addr::BROADCAST, &request);
        let (mac, to, nak) = server(&gateway().reply(&frame));
        assert_eq!((mac, to, nak.kind), (Mac::BROADCAST, Ipv4Addr::BROADCAST, Kind::Nak));
        assert_eq!((nak.yiaddr, nak.lease_time), (Ipv4Addr::UNSPECIFIED, None));
        assert_eq!(nak.text.as_deref(), Some("the address here is 10.0.2.15"));
    }
}

#[test]
fn who_has_an_address_of_its_own_may_ask_for_the_rest() {
    let inform = Message { ciaddr: GUEST, ..message(Kind::Inform) };
    let (_, to, ack) = server(&gateway().reply(&client(GUEST, ADDRESS, &inform)));
    assert_eq!((to, ack.kind, ack.yiaddr), (GUEST, Kind::Ack, Ipv4Addr::UNSPECIFIED));
    assert_eq!((ack.routers, ack.lease_time), (vec![ADDRESS], None));
}

#[test]
fn what_expects_no_answer_from_here_gets_none() {
    let none = Ipv4Addr::UNSPECIFIED;
    let elsewhere = Message {
        server_id: Some(REMOTE),
        requested_address: Some(GUEST),
        ..message(Kind::Request)
    };
    let relayed = Message { giaddr: REMOTE, ..message(Kind::Discover) };
    let release = Message { ciaddr: GUEST, ..message(Kind::Release) };
    assert_unanswered(none, Ipv4Addr::BROADCAST, &elsewhere);
    assert_unanswered(none, Ipv4Addr::BROADCAST, &relayed);
    assert_unanswered(none, Ipv4Addr::BROADCAST, &message(Kind::Decline));
    assert_unanswered(none, Ipv4Addr::BROADCAST, &message(Kind::Offer));
    assert_unanswered(GUEST, ADDRESS, &release);

    let broadcast = |port, payload: &[u8]| {
        let mut frame = frame(68, Ipv4Addr::BROADCAST, port, payload);
        frame[..6].fill(0xff);
        frame
    };
    assert_dropped(&broadcast(67, b"no DHCP at all"), Drop::Dhcp);
    assert_dropped(&broadcast(69, b"no DHCP at all"), Drop::NotForGateway);
}

#[test]
fn after_a_refusal_or_a_release_the_address_is_there_for_who_asks() {
    let mut scene = gateway();
    for kind in [Kind::Decline, Kind::Release] {
        let gone = client(GUEST, ADDRESS, &Message { ciaddr: GUEST, ..message(kind) });
        assert_eq!(scene.send(at(0), &gone), Action::None);
        let other = Mac([2, 0, 0, 0, 0, 9]);
        let discover = Message { chaddr: other, ..message(Kind::Discover) };
        let (_, _, offer) = ask(&mut scene, &discover);
        assert_eq!((offer.yiaddr, offer.chaddr), (GUEST, other));
    }
}
