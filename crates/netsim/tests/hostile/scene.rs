//! Two hosts that talk, and who else is there.

use std::collections::HashSet;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mnet_proto::wire::arp::{self, Arp};
use mnet_proto::wire::{dhcpv4, ethernet, ipv4};
use mnet_proto::{Config, Destination, Filter, IpCidr, Local, Origin, SocketId};
use netdev::{Mac, Pool};
use netsim::device::Plug;
use netsim::{Advertisement, HostId, Link, LinkId, Network, RouterId};

use crate::craft;
use crate::mutate::impersonates;

/// By then all have their addresses, and have told so.
const SETTLED: Duration = Duration::from_secs(15);
/// From one datagram of a conversation to the next.
pub(crate) const ROUND: Duration = Duration::from_millis(1);
const PORTS: [u16; 2] = [5_000, 7];
const MAGIC: &[u8] = b"conversation";
/// How long datagrams of a conversation are: some go in fragments.
const LENGTHS: [usize; 4] = [20, 600, 1_400, 3_500];
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 250);
pub(crate) const LEASED: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);
pub(crate) const GROUPS: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(239, 1, 2, 3), Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 1, 2));

/// A link with two hosts that talk to each other, one that has its addresses by DHCP and from a
/// router, that router, and one behind it on a link that takes less.
pub(crate) struct Scene {
    pub(crate) net: Network,
    pub(crate) lan: LinkId,
    pub(crate) router: RouterId,
    pub(crate) talkers: [HostId; 2],
    pub(crate) other: HostId,
    pub(crate) far: HostId,
    /// The talkers' addresses: IPv4, IPv6.
    pub(crate) addresses: [[IpAddr; 2]; 2],
    sockets: [SocketId; 2],
    others: [SocketId; 2],
    server: Plug,
    sent: u32,
    answered: HashSet<u32>,
    refused: u32,
}

impl Scene {
    pub(crate) fn new(seed: u64) -> Self {
        Self::captured(seed, io::sink())
    }

    /// One whose link is captured from the start.
    pub(crate) fn captured(seed: u64, capture: impl Write + 'static) -> Self {
        let mut net = Network::new(seed);
        let lan = net.link(Link::default());
        net.capture_link(lan, capture).unwrap();
        let behind = net.link(Link { mtu: 1_280, ..Link::default() });
        let router = net.router();
        let cidrs = |all: [&str; 2]| all.map(|cidr| cidr.parse::<IpCidr>().unwrap());
        net.attach(router, lan, &cidrs(["10.0.0.1/24", "fd00:0:0:1::1/64"]));
        net.attach(router, behind, &cidrs(["10.0.1.1/24", "fd00:0:0:2::1/64"]));
        for (link, number) in [(lan, 1), (behind, 2)] {
            let prefix = Ipv6Addr::new(0xfd00, 0, 0, number, 0, 0, 0, 0);
            let advertisement = Advertisement {
                mtu: Some(if link == lan { 1_500 } else { 1_280 }),
                dns: vec![prefix],
                ..Advertisement::of(prefix, 64)
            };
            net.router_mut(router).advertise(link, Some(advertisement));
        }
        let [a, b, d] = ["10.0.0.2/24", "10.0.0.3/24", "10.0.1.2/24"].map(|address| {
            let gateway = if address.starts_with("10.0.0") { [10, 0, 0, 1] } else { [10, 0, 1, 1] };
            Config::new(address.parse().unwrap()).with_ipv4_gateway(gateway.into())
        });
        let mut b = b;
        b.ipv6.addresses = vec!["fd00:0:0:1::3/64".parse().unwrap()];
        let talkers = [&a, &b].map(|config| net.host(lan, config).unwrap());
        let other = net.host(lan, &Config::default()).unwrap();
        let far = net.host(behind, &d).unwrap();
        let (_, server) = net.device(lan);
        let bind = |net: &mut Network, host, port| net.bind(host, port).unwrap();
        let sockets = [0, 1].map(|end| bind(&mut net, talkers[end], PORTS[end]));
        let others = [other, far].map(|host| bind(&mut net, host, 9));
        let addresses = [[IpAddr::V4(Ipv4Addr::UNSPECIFIED); 2]; 2];
        let (sent, refused, answered) = (0, 0, HashSet::new());
        let mut scene = Self {
            net,
            lan,
            router,
            talkers,
            other,
            far,
            addresses,
            sockets,
            others,
            server,
            sent,
            answered,
            refused,
        };
        for (host, socket) in [(talkers[0], sockets[0]), (other, others[0])] {
            let now = scene.net.now();
            for group in [GROUPS.0.into(), GROUPS.1.into()] {
                scene.net.stack_mut(host).udp_join(now, socket, group, Filter::ANY).unwrap();
            }
        }
        scene.run(SETTLED);
        scene.addresses = [0, 1].map(|end| {
            let origin = [Origin::Router, Origin::Static][end];
            let mut all = scene.net.stack(talkers[end]).addresses();
            let v4 = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2 + end as u8));
            let v6 = all.find(|own| own.origin == origin && own.cidr.address().is_ipv6());
            [v4, v6.unwrap().cidr.address()]
        });
        assert!(scene.net.stack(other).lease().is_some());
        scene
    }

    /// Lets time pass, and the DHCP server work.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.net.now() + duration;
        // How long the server takes.
        let step = if duration < Duration::from_secs(60) { 20 } else { 500 };
        let step = duration.min(Duration::from_millis(step));
        while self.net.now() < end {
            self.net.run_for(step);
            while let Some(frame) = self.server.pop() {
                if let Some(answer) = self.serve(&frame) {
                    self.server.push(&answer);
                }
            }
        }
        // What others get is of no interest.
        for (host, socket) in [self.other, self.far].into_iter().zip(self.others) {
            while self.net.receive(host, socket).is_some() {}
        }
    }

    /// What the DHCP server answers.
    fn serve(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let mac = self.server_mac();
        let header = ethernet::Header::parse(frame)?;
        let (kind, payload) = (header.ethertype.get(), frame.get(ethernet::HEADER_LEN..)?);
        if kind == ethernet::ARP {
            let asked = Arp::parse(payload)?;
            if asked.opcode() != arp::REQUEST || asked.target().1 != SERVER {
                return None;
            }
            let mut packet = Pool::new(1, 512).take()?;
            let answer = Arp::new(arp::REPLY, (mac, SERVER), asked.sender());
            answer.emit(&mut packet).then_some(())?;
            return Some(craft::frame(asked.sender().0, mac, ethernet::ARP, packet.bytes()));
        }
        let ip = ipv4::Header::parse(payload).ok().filter(|_| kind == ethernet::IPV4)?;
        let udp = payload.get(ip.header_len()..ip.total_len())?;
        let (_, port) = mnet_proto::wire::udp::ports(udp)?;
        if ip.protocol != ipv4::UDP || port != dhcpv4::SERVER_PORT {
            return None;
        }
        let asked = dhcpv4::Message::parse(udp.get(8..)?).ok()?;
        let kind = match asked.kind {
            dhcpv4::Kind::Discover => dhcpv4::Kind::Offer,
            dhcpv4::Kind::Request => dhcpv4::Kind::Ack,
            _ => return None,
        };
        let mut answer = asked.reply(kind, SERVER);
        answer.yiaddr = LEASED;
        answer.subnet_mask = Some(Ipv4Addr::new(255, 255, 255, 0));
        answer.routers = vec![Ipv4Addr::new(10, 0, 0, 1)];
        answer.dns_servers = vec![Ipv4Addr::new(10, 0, 0, 1)];
        answer.lease_time = Some(20);
        let to = if asked.ciaddr.is_unspecified() { LEASED } else { asked.ciaddr };
        let ports = (dhcpv4::SERVER_PORT, dhcpv4::CLIENT_PORT);
        Some(craft::udp(asked.chaddr, (SERVER.into(), to.into()), ports, &answer.emit()))
    }

    fn server_mac(&self) -> Mac {
        use netdev::Device as _;
        self.server.mac()
    }

    /// The cards on the link.
    pub(crate) fn macs(&self) -> Vec<Mac> {
        let [a, b] = self.talkers;
        [a, b, self.other].map(|host| self.net.mac(host)).to_vec()
    }

    /// All addresses of a host.
    pub(crate) fn addresses_of(&self, host: HostId) -> (Vec<Ipv4Addr>, Vec<Ipv6Addr>) {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for own in self.net.stack(host).addresses() {
            match own.cidr.address() {
                IpAddr::V4(address) => v4.push(address),
                IpAddr::V6(address) => v6.push(address),
            }
        }
        (v4, v6)
    }

    /// Whether a frame speaks for one of those that talk.
    pub(crate) fn impersonates(&self, frame: &[u8]) -> bool {
        self.talkers.iter().any(|&host| {
            let (v4, v6) = self.addresses_of(host);
            impersonates(frame, self.net.mac(host), v4[0], &v6)
        })
    }

    /// One more datagram goes from the first to the second, and back; and time goes on.
    pub(crate) fn talk(&mut self, round: Duration) {
        let number = self.sent;
        self.sent += 1;
        self.say(0, number);
        self.run(round / 2);
        self.hear(1);
        self.run(round / 2);
        self.hear(0);
    }

    /// Takes what has come to one of the two: the second says it again.
    fn hear(&mut self, end: usize) {
        while let Some(datagram) = self.net.receive(self.talkers[end], self.sockets[end]) {
            let other = 1 - end;
            let family = usize::from(datagram.remote().is_ipv6());
            let of_other =
                datagram.remote() == (self.addresses[other][family], PORTS[other]).into();
            let number = datagram.payload().get(MAGIC.len()..MAGIC.len() + 4);
            let Some(number) = number.filter(|_| of_other) else { continue };
            let number = u32::from_be_bytes(number.try_into().unwrap());
            // What others say is not what is waited for.
            if datagram.payload() != payload(number) {
                continue;
            }
            if end == 1 {
                self.say(1, number);
            } else {
                self.answered.insert(number);
            }
        }
    }

    fn say(&mut self, end: usize, number: u32) {
        let family = (number % 2) as usize;
        let local = Local { address: Some(self.addresses[end][family]), port: PORTS[end] };
        let remote = (self.addresses[1 - end][family], PORTS[1 - end]);
        let said = self.net.send(self.talkers[end], local, remote, &payload(number));
        self.refused += u32::from(said.is_err());
    }

    /// How many datagrams were not answered since the last time, and how many were not even sent.
    pub(crate) fn missing(&mut self) -> (u32, u32) {
        self.run(ROUND);
        self.hear(1);
        self.run(ROUND);
        self.hear(0);
        let missing = self.sent - self.answered.len() as u32;
        self.sent = 0;
        self.answered.clear();
        (missing, std::mem::take(&mut self.refused))
    }

    /// Sends a datagram from a host, whatever becomes of it.
    pub(crate) fn send(&mut self, from: HostId, to: IpAddr, len: usize, hop_limit: Option<u8>) {
        let now = self.net.now();
        let stack = self.net.stack_mut(from);
        let mut packet = stack.pool().take_sized(len).unwrap();
        packet.append(len).unwrap();
        let mut to = Destination::from((to, 9));
        to.options.hop_limit = hop_limit;
        let _ = stack.udp_send(now, 5_001.into(), to, packet);
    }

    /// Every packet of every host is free, once nothing is waited for any more.
    pub(crate) fn assert_nothing_is_held(&mut self, what: &str) {
        for end in [0, 1] {
            self.hear(end);
        }
        for host in [self.talkers[0], self.talkers[1], self.other, self.far] {
            let pool = self.net.stack(host).pool();
            assert_eq!(pool.available(), pool.capacity(), "{what}: {host:?} holds packets");
            assert_eq!(pool.large_available(), Config::default().large_packets, "{what}: {host:?}");
        }
    }

    /// No host holds more than its bounds allow: of packets, what waits for neighbours and the first
    /// fragments of what is not whole; of bytes, what is not whole.
    pub(crate) fn assert_bounds_hold(&self, what: &str) {
        let config = Config::default();
        let packets = config.neighbor_queues + config.neighbors + config.reassembly.datagrams;
        for host in [self.talkers[0], self.talkers[1], self.other, self.far] {
            let pool = self.net.stack(host).pool();
            let held = pool.capacity() - pool.available();
            assert!(held <= packets, "{what}: {host:?} holds {held} packets");
            let held = config.large_packets - pool.large_available();
            assert!(
                held <= config.reassembly.bytes + 65_536,
                "{what}: {host:?} holds {held} bytes"
            );
        }
    }
}

fn payload(number: u32) -> Vec<u8> {
    let len = LENGTHS[(number / 2) as usize % LENGTHS.len()];
    let filler = (0..).map(|at: u32| (number.wrapping_add(at)) as u8);
    let payload = MAGIC.iter().copied().chain(number.to_be_bytes());
    payload.chain(filler).take(len).collect()
}
