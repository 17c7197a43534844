use netdev::Mac;

use super::*;
use crate::wire::dhcpv4::Kind;

const START: Instant = Instant::from_nanos(1_000_000_000_000);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

fn cidr(text: &str) -> Ipv4Cidr {
    text.parse().unwrap()
}

/// What comes of an acknowledgement with an address, a mask and a time, changed so.
fn lease(change: impl FnOnce(&mut Message)) -> Option<Lease> {
    let mut ack = Message::new(Kind::Ack, 0, Mac::default());
    ack.yiaddr = ADDRESS;
    ack.subnet_mask = Some(Ipv4Addr::new(255, 255, 255, 0));
    ack.server_id = Some(SERVER);
    ack.lease_time = Some(3_600);
    change(&mut ack);
    Lease::new(&ack, START)
}

#[test]
fn a_mask_makes_a_prefix_or_there_is_no_lease() {
    for (mask, prefix_len) in [
        ([255, 255, 255, 0], Some(24)),
        ([255, 255, 240, 0], Some(20)),
        ([255, 255, 255, 254], Some(31)),
        ([255, 255, 255, 255], Some(32)),
        ([0, 0, 0, 0], Some(0)),
        ([255, 0, 255, 0], None),
        ([0, 0, 0, 255], None),
        ([127, 255, 255, 255], None),
    ] {
        let lease = lease(|ack| ack.subnet_mask = Some(mask.into()));
        assert_eq!(lease.map(|lease| lease.address.prefix_len()), prefix_len, "{mask:?}");
    }
}

#[test]
fn without_a_mask_the_address_tells_its_class() {
    for (address, prefix_len) in [
        ([126, 0, 0, 5], 8),
        ([128, 0, 0, 5], 16),
        ([191, 0, 0, 5], 16),
        ([192, 0, 0, 5], 24),
        ([223, 0, 0, 5], 24),
    ] {
        let lease = lease(|ack| (ack.yiaddr, ack.subnet_mask) = (address.into(), None)).unwrap();
        assert_eq!(lease.address, Ipv4Cidr::new(address.into(), prefix_len).unwrap());
    }
}

#[test]
fn without_a_host_s_address_a_server_s_or_time_there_is_no_lease() {
    assert!(lease(|_| ()).is_some());
    for address in [
        [0, 0, 0, 0],
        [10, 0, 0, 0],
        [10, 0, 0, 255],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [255, 255, 255, 255],
        SERVER.octets(),
    ] {
        assert_eq!(lease(|ack| ack.yiaddr = address.into()), None, "{address:?}");
    }
    for server in [[0, 0, 0, 0], [10, 0, 0, 255], [255; 4], [224, 0, 0, 1]] {
        assert_eq!(lease(|ack| ack.server_id = Some(server.into())), None, "{server:?}");
    }
    assert_eq!(lease(|ack| ack.server_id = None), None);
    assert_eq!(lease(|ack| ack.lease_time = Some(0)), None);
    assert_eq!(lease(|ack| ack.lease_time = None), None);
}

#[test]
fn times_out_of_order_are_replaced() {
    let times = |t1: Option<u32>, t2: Option<u32>| {
        let lease = lease(|ack| {
            ack.lease_time = Some(800);
            (ack.renewal_time, ack.rebinding_time) = (t1, t2);
        });
        let Lease { renew, rebind, expires, .. } = lease.unwrap();
        assert_eq!((expires - START).as_secs(), 800);
        ((renew - START).as_secs(), (rebind - START).as_secs())
    };
    assert_eq!(times(None, None), (400, 700));
    assert_eq!(times(Some(100), Some(200)), (100, 200));
    assert_eq!(times(Some(100), None), (100, 700));
    assert_eq!(times(None, Some(500)), (400, 500));
    for (t1, t2) in [
        (Some(0), None),
        (Some(700), None),
        (Some(INFINITY), Some(INFINITY)),
        (Some(200), Some(100)),
        (Some(100), Some(800)),
        (None, Some(400)),
    ] {
        assert_eq!(times(t1, t2), (400, 700), "{t1:?} {t2:?}");
    }
}

#[test]
fn only_infinity_never_ends() {
    let endless = lease(|ack| ack.lease_time = Some(INFINITY)).unwrap();
    assert_eq!(endless.expires, Instant::FAR_FUTURE);
    let longest = lease(|ack| ack.lease_time = Some(INFINITY - 1)).unwrap();
    assert!(longest.expires < Instant::FAR_FUTURE);
}

#[test]
fn routers_make_default_routes_if_they_are_others_on_the_link() {
    let routers = [
        ADDRESS,
        Ipv4Addr::new(10, 0, 0, 255),
        Ipv4Addr::new(192, 0, 2, 1),
        Ipv4Addr::new(224, 0, 0, 1),
        SERVER,
    ];
    let default = |router| (cidr("0.0.0.0/0"), Some(router));
    let many = lease(|ack| ack.routers = routers.into()).unwrap();
    assert_eq!(many.routes, [default(SERVER)]);
    assert_eq!(many.gateway(), Some(SERVER));

    // A cloud's way: a host is alone, and whoever the server names is on its link.
    let alone = lease(|ack| {
        ack.subnet_mask = Some(Ipv4Addr::BROADCAST);
        ack.routers = routers.into();
    });
    let expected = [default(routers[1]), default(routers[2]), default(SERVER)];
    assert_eq!(alone.unwrap().routes, expected);

    assert_eq!(lease(|_| ()).unwrap().gateway(), None);
}

#[test]
fn classless_routes_stand_in_for_routers_and_those_by_nobody_are_left_out() {
    let lease = lease(|ack| {
        ack.routers = vec![Ipv4Addr::new(10, 0, 0, 77)];
        ack.classless_routes = vec![
            (cidr("0.0.0.0/0"), Ipv4Addr::new(10, 0, 0, 9)),
            (cidr("192.0.2.0/24"), Ipv4Addr::new(10, 0, 1, 9)),
            (cidr("198.51.100.0/24"), ADDRESS),
            (cidr("203.0.113.0/24"), Ipv4Addr::new(10, 0, 0, 255)),
            (cidr("172.16.0.0/16"), Ipv4Addr::UNSPECIFIED),
            (cidr("172.17.0.0/16"), Ipv4Addr::new(172, 16, 0, 1)),
        ];
    });
    let lease = lease.unwrap();
    let expected = [
        (cidr("0.0.0.0/0"), Some(Ipv4Addr::new(10, 0, 0, 9))),
        (cidr("172.16.0.0/16"), None),
        (cidr("172.17.0.0/16"), Some(Ipv4Addr::new(172, 16, 0, 1))),
    ];
    assert_eq!(lease.routes, expected);
    assert_eq!(lease.gateway(), Some(Ipv4Addr::new(10, 0, 0, 9)));
}

#[test]
fn what_no_host_can_use_is_left_out() {
    let change = |ack: &mut Message| {
        let none = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST, ADDRESS];
        ack.dns_servers = [&none[..], &[SERVER]].concat();
        ack.ntp_servers = vec![Ipv4Addr::new(224, 0, 1, 1), Ipv4Addr::new(192, 0, 2, 1)];
        ack.mtu = Some(67);
        ack.domain_name = Some("example.org".into());
    };
    let lease_without = lease(change).unwrap();
    assert_eq!(lease_without.dns, [SERVER]);
    assert_eq!(lease_without.ntp, [Ipv4Addr::new(192, 0, 2, 1)]);
    assert_eq!(lease_without.mtu, None);
    assert_eq!(lease_without.domain.as_deref(), Some("example.org"));
    assert_eq!(lease(|ack| ack.mtu = Some(68)).unwrap().mtu, Some(68));
}

#[test]
fn leases_that_differ_in_time_alone_are_the_same() {
    let first = lease(|_| ()).unwrap();
    assert!(first.is_as(&lease(|ack| ack.lease_time = Some(60)).unwrap()));
    assert!(!first.is_as(&lease(|ack| ack.mtu = Some(1_400)).unwrap()));
    assert!(!first.is_as(&lease(|ack| ack.routers = vec![SERVER]).unwrap()));
}
