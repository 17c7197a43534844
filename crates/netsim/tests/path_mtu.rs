//! What passes on a path is found out, in both families and both directions, and found out again.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::net::IpAddr;
use std::time::Duration;

use mnet_proto::{Config, Destination, Drop, IcmpError, IpCidr, SendError, SocketId};
use netsim::{HostId, Link, LinkId, Network, RouterId};

const NARROW: u16 = 1_280;
const PORT: u16 = 7;
const SECOND: Duration = Duration::from_secs(1);
/// By then hosts have claimed their addresses.
const SETTLED: Duration = Duration::from_secs(12);
/// How long less is believed to pass than the link takes (RFC 1191 §6.3).
const BELIEVED: Duration = Duration::from_secs(600);
const ADDRESSES: [[&str; 2]; 2] = [["10.0.0.2", "fd00:0:0:1::2"], ["10.0.2.2", "fd00:0:0:3::2"]];

/// Two hosts, and between them two routers, with a link between those that takes less than others.
struct Scene {
    net: Network,
    middle: LinkId,
    routers: [RouterId; 2],
    hosts: [HostId; 2],
    sockets: [SocketId; 2],
}

impl Scene {
    fn new() -> Self {
        let mut net = Network::new(1);
        let [left, right] = [(); 2].map(|()| net.link(Link::default()));
        let middle = net.link(Link { mtu: NARROW, ..Link::default() });
        let routers = [net.router(), net.router()];
        let cidrs = |all: [&str; 2]| all.map(|cidr| cidr.parse::<IpCidr>().unwrap());
        net.attach(routers[0], left, &cidrs(["10.0.0.1/24", "fd00:0:0:1::1/64"]));
        net.attach(routers[0], middle, &cidrs(["10.0.1.1/24", "fd00:0:0:2::1/64"]));
        net.attach(routers[1], middle, &cidrs(["10.0.1.2/24", "fd00:0:0:2::2/64"]));
        net.attach(routers[1], right, &cidrs(["10.0.2.1/24", "fd00:0:0:3::1/64"]));
        let others = [["10.0.1.2", "fd00:0:0:2::2"], ["10.0.1.1", "fd00:0:0:2::1"]];
        for (router, next_hops) in routers.into_iter().zip(others) {
            for (all, next_hop) in ["0.0.0.0/0", "::/0"].into_iter().zip(next_hops) {
                let next_hop = next_hop.parse().unwrap();
                net.router_mut(router).route(all.parse().unwrap(), next_hop);
            }
        }
        let gateways = [["10.0.0.1", "fd00:0:0:1::1"], ["10.0.2.1", "fd00:0:0:3::1"]];
        let mut ends = [left, right].into_iter().zip(ADDRESSES).zip(gateways);
        let hosts = [(); 2].map(|()| {
            let ((link, [v4, v6]), [gateway_v4, gateway_v6]) = ends.next().unwrap();
            let config = Config::new(format!("{v4}/24").parse().unwrap());
            let mut config = config.with_ipv4_gateway(gateway_v4.parse().unwrap());
            config.ipv6.autoconf = false;
            config.ipv6.addresses = vec![format!("{v6}/64").parse().unwrap()];
            config.ipv6.gateway = Some(gateway_v6.parse().unwrap());
            net.host(link, &config).unwrap()
        });
        let sockets = hosts.map(|host| net.bind(host, PORT).unwrap());
        net.run_for(SETTLED);
        Self { net, middle, routers, hosts, sockets }
    }

    /// Sends a datagram from one end to the other; returns how long what came is.
    fn send(&mut self, from: usize, family: usize, len: usize) -> Option<usize> {
        let to: IpAddr = ADDRESSES[1 - from][family].parse().unwrap();
        self.net.send(self.hosts[from], PORT, (to, PORT), &vec![0x5a; len]).unwrap();
        self.net.run_for(SECOND);
        let datagram = self.net.receive(self.hosts[1 - from], self.sockets[1 - from])?;
        assert!(datagram.payload().iter().all(|&byte| byte == 0x5a));
        Some(datagram.payload().len())
    }

    /// Sends one that must not be fragmented.
    fn send_whole(&mut self, from: usize, family: usize, len: usize) -> Result<(), SendError> {
        let to: IpAddr = ADDRESSES[1 - from][family].parse().unwrap();
        let now = self.net.now();
        let stack = self.net.stack_mut(self.hosts[from]);
        let mut packet = stack.pool().take().unwrap();
        packet.append(len).unwrap();
        let to = Destination::from((to, PORT)).dont_fragment(true);
        stack.udp_send(now, PORT.into(), to, packet)
    }

    fn error(&mut self, end: usize) -> Option<IcmpError> {
        let stack = self.net.stack_mut(self.hosts[end]);
        stack.udp_mut().receive_error(self.sockets[end]).map(|report| report.error)
    }

    fn too_big(&self) -> u64 {
        self.routers.iter().map(|&router| self.net.router_stats(router).too_big).sum()
    }
}

#[test]
fn after_one_that_is_lost_all_pass() {
    let mut scene = Scene::new();
    for (from, family) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        // What fits passes at once, and tells nothing.
        assert_eq!(scene.send(from, family, 1_000), Some(1_000));
        assert_eq!((scene.too_big(), scene.error(from)), (0, None));
        assert_eq!(scene.send(from, family, 1_400), None);
        assert_eq!(scene.error(from), Some(IcmpError::PacketTooBig { mtu: NARROW }));
        for len in [1_400, 1_232, 1_253, 4_000, 65_507, 1_400] {
            assert_eq!(scene.send(from, family, len), Some(len));
        }
        let headers = [28, 48][family];
        let refused = SendError::PacketTooBig { mtu: NARROW };
        assert_eq!(scene.send_whole(from, family, 1_281 - headers), Err(refused));
        assert_eq!(scene.send_whole(from, family, 1_280 - headers), Ok(()));
        scene.net.run_for(SECOND);
        let Scene { net, hosts, sockets, .. } = &mut scene;
        assert!(net.receive(hosts[1 - from], sockets[1 - from]).is_some());
        // It was lost on the path from here to there: the way back is another.
        assert_eq!(scene.too_big(), 1);
        scene = Scene::new();
    }
}

#[test]
fn each_path_is_found_out_once_and_no_router_makes_fragments() {
    let mut scene = Scene::new();
    for (from, family) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        assert_eq!(scene.send(from, family, 1_400), None);
        (0..10).for_each(|_| assert_eq!(scene.send(from, family, 3_000), Some(3_000)));
    }
    assert_eq!(scene.too_big(), 4);
    for end in [0, 1] {
        assert_eq!(scene.net.router_stats(scene.routers[end]).fragments, 0);
        let stats = scene.net.stack(scene.hosts[end]).stats();
        assert_eq!((stats.path_mtu_changes, stats.datagrams_fragmented), (2, 20));
        assert_eq!((stats.datagrams_reassembled, stats.dropped[Drop::IcmpUnexpected]), (20, 0));
    }
}

#[test]
fn over_ipv6_one_in_fragments_that_is_lost_tells_as_well() {
    let mut scene = Scene::new();
    assert_eq!(scene.send(0, 1, 4_000), None);
    assert_eq!(scene.error(0), Some(IcmpError::PacketTooBig { mtu: NARROW }));
    assert_eq!(scene.send(0, 1, 4_000), Some(4_000));
    // Over IPv4, a router makes smaller fragments of it, and nobody need know.
    assert_eq!(scene.send(0, 0, 4_000), Some(4_000));
    assert!(scene.net.router_stats(scene.routers[0]).fragments > 0);
}

#[test]
fn a_path_that_has_widened_is_believed_to_after_ten_minutes() {
    let mut scene = Scene::new();
    for family in [0, 1] {
        assert_eq!(scene.send(0, family, 1_400), None);
        assert_eq!(scene.send(0, family, 1_400), Some(1_400));
    }
    let fragmented = |scene: &Scene| scene.net.stack(scene.hosts[0]).stats().datagrams_fragmented;
    assert_eq!(fragmented(&scene), 2);
    scene.net.link_mut(scene.middle).mtu = 1_500;
    for family in [0, 1] {
        assert_eq!(scene.send(0, family, 1_400), Some(1_400));
    }
    assert_eq!(fragmented(&scene), 4);
    scene.net.run_for(BELIEVED);
    for family in [0, 1] {
        assert_eq!(scene.send(0, family, 1_400), Some(1_400));
    }
    assert_eq!(fragmented(&scene), 4);
    // And if it narrows again, that is found out again.
    scene.net.link_mut(scene.middle).mtu = NARROW;
    for family in [0, 1] {
        assert_eq!(scene.send(0, family, 1_400), None);
        assert_eq!(scene.send(0, family, 1_400), Some(1_400));
    }
}
