//! What a router tells a link, and when.

use etherparse::Icmpv6Type;
use mnet_proto::wire::icmpv6;
use mnet_proto::wire::ndp::{self, Message, NdpOption};
use netsim::Advertisement;

use super::*;

const ROUTER_SOLICIT: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];

/// An ICMPv6 message from the probe to all routers.
fn to_routers(source: &str, message: &[u8], hop_limit: u8) -> Vec<u8> {
    let [source, destination] =
        [source, "ff02::2"].map(|address| address.parse::<Ipv6Addr>().unwrap().octets());
    let kind = Icmpv6Type::Unknown {
        type_u8: message[0],
        code_u8: message[1],
        bytes5to8: message[4..8].try_into().unwrap(),
    };
    let mut datagram = Vec::new();
    etherparse::PacketBuilder::ipv6(source, destination, hop_limit)
        .icmpv6(kind)
        .write(&mut datagram, &message[8..])
        .unwrap();
    datagram
}

#[test]
fn a_router_advertises_itself_at_once_from_time_to_time_and_when_asked() {
    let (mut net, first, _, router) = scene(1_500);
    let mut probe = probe(&mut net, first, router);
    let advertisement = Advertisement {
        mtu: Some(1_400),
        dns: vec!["fd00::53".parse().unwrap(), "fd00::54".parse().unwrap()],
        dns_lifetime: 60,
        ..Advertisement::of("fd00:0:0:1::".parse().unwrap(), 64)
    };
    net.router_mut(router).advertise(first, Some(advertisement));
    net.run_for(Duration::from_millis(1));
    let received = probe.received();
    assert_eq!(received.len(), 1);
    assert_eq!((received[0][7], received[0][24]), (255, 0xff));
    let Some(Message::RouterAdvert(advert)) =
        Message::parse(icmpv6::ROUTER_ADVERT, &received[0][40..])
    else {
        panic!("no advertisement")
    };
    assert_eq!((advert.lifetime, advert.options.mtu()), (1_800, Some(1_400)));
    assert!(advert.options.source_link().is_some());
    let prefix = ndp::Prefix {
        prefix: "fd00:0:0:1::".parse().unwrap(),
        prefix_len: 64,
        on_link: true,
        autonomous: true,
        valid: 2_592_000,
        preferred: 604_800,
    };
    assert!(advert.options.iter().any(|option| option == NdpOption::Prefix(prefix)));
    let servers = ["fd00::53", "fd00::54"].map(|s| s.parse::<Ipv6Addr>().unwrap().octets());
    let rdnss = NdpOption::Rdnss { lifetime: 60, servers: &servers };
    assert!(advert.options.iter().any(|option| option == rdnss));

    net.run_for(61 * SECOND);
    assert_eq!(probe.received().len(), 2);
    for (source, hop_limit, answers) in [("fe80::9", 255, 1), ("::", 255, 1), ("fe80::9", 254, 0)] {
        probe.send(&to_routers(source, &ROUTER_SOLICIT, hop_limit));
        net.run_for(Duration::from_millis(1));
        assert_eq!(probe.received().len(), answers, "{source} {hop_limit}");
    }
    net.router_mut(router).advertise(first, None);
    probe.send(&to_routers("fe80::9", &ROUTER_SOLICIT, 255));
    net.run_for(61 * SECOND);
    assert!(probe.received().is_empty());
}

#[test]
fn who_wants_the_routers_address_is_told_that_it_is_taken() {
    let (mut net, first, _, router) = scene(1_500);
    let mut probe = probe(&mut net, first, router);
    let mut solicit = vec![135, 0, 0, 0, 0, 0, 0, 0];
    for (target, answers) in [("fd00:0:0:1::1", 1), ("fd00:0:0:1::2", 0)] {
        solicit.truncate(8);
        solicit.extend(target.parse::<Ipv6Addr>().unwrap().octets());
        probe.send(&to_routers("::", &solicit, 255));
        net.run_for(SECOND);
        let received = probe.received();
        assert_eq!(received.len(), answers);
        for advert in received {
            assert_eq!(icmp(&advert).0, ip(target));
            // To all nodes, from a router, overriding, and unasked.
            assert_eq!(
                (&advert[24..40], advert[44]),
                (&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], 0xa0)
            );
        }
    }
}
