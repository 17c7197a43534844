//! Who is on the router's links: smoltcp, and a card in the hand of the test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use etherparse::{EtherType, Ethernet2Header, PacketBuilder};
use mnet_proto::wire::{arp, ipv6, ndp};
use netdev::{Device as _, Mac, Pool};
use netsim::device::Plug;
use netsim::{LinkId, Network};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::udp::{self, PacketBuffer, PacketMetadata};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr, IpEndpoint, IpListenEndpoint};

/// A host that is smoltcp, with a socket on port 7.
pub(crate) struct Peer {
    card: Card,
    pub(crate) interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
}

impl Peer {
    pub(crate) fn new(
        net: &mut Network,
        link: LinkId,
        addresses: &[&str],
        router: &[&str],
    ) -> Self {
        let mut card = Card(net.device(link).1);
        let mut config = Config::new(EthernetAddress(card.0.mac().0).into());
        config.slaac = addresses.is_empty();
        let mut interface = Interface::new(config, &mut card, Instant::ZERO);
        interface.update_ip_addrs(|all| {
            for address in addresses {
                let (address, prefix_len) = address.split_once('/').unwrap();
                let address: IpAddr = address.parse().unwrap();
                all.push(IpCidr::new(address.into(), prefix_len.parse().unwrap())).unwrap();
            }
        });
        for router in router {
            match router.parse().unwrap() {
                IpAddr::V4(router) => {
                    interface.routes_mut().add_default_ipv4_route(router).unwrap();
                }
                IpAddr::V6(router) => {
                    interface.routes_mut().add_default_ipv6_route(router).unwrap();
                }
            }
        }
        let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; 8], vec![0; 16_384]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(IpListenEndpoint { addr: None, port: 7 }).unwrap();
        let mut sockets = SocketSet::new(Vec::new());
        let socket = sockets.add(socket);
        Self { card, interface, sockets, socket }
    }

    pub(crate) fn send(&mut self, payload: &[u8], to: &str) {
        let to: SocketAddr = to.parse().unwrap();
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.socket);
        socket.send_slice(payload, IpEndpoint::from(to)).unwrap();
    }

    pub(crate) fn receive(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.socket);
        let (payload, metadata) = socket.recv().ok()?;
        let from = metadata.endpoint;
        Some((payload.to_vec(), SocketAddr::new(from.addr.into(), from.port)))
    }
}

/// Lets time pass, for the peers too.
pub(crate) fn run(net: &mut Network, peers: &mut [&mut Peer], duration: Duration) {
    let end = net.now() + duration;
    while net.now() < end {
        for peer in &mut *peers {
            let now = Instant::from_micros((net.now().as_nanos() / 1_000) as i64);
            peer.interface.poll(now, &mut peer.card, &mut peer.sockets);
        }
        net.run_for(Duration::from_millis(1));
    }
}

struct Card(Plug);

impl Device for Card {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.0.pop()?;
        Some((Received(frame), Sending(&mut self.0)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = usize::from(self.0.mtu()) + 14;
        capabilities
    }
}

struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Sending<'a>(&'a mut Plug);

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        self.0.push(&frame);
        result
    }
}

/// A host whose datagrams are written by the test: 10.0.0.9 and fd00:0:0:1::9.
pub(crate) struct Probe {
    plug: Plug,
    router: Mac,
    link_local: Ipv6Addr,
}

impl Probe {
    /// A probe that knows the router by its link-local address.
    pub(crate) fn new(net: &mut Network, link: LinkId, link_local: Ipv6Addr) -> Self {
        let plug = net.device(link).1;
        let mut probe = Self { plug, router: Mac::default(), link_local };
        probe.introduce(net);
        probe
    }

    /// Tells the router who it is, by asking for the router; it answers no questions.
    pub(crate) fn introduce(&mut self, net: &mut Network) {
        let mac = self.plug.mac();
        let pool = Pool::new(1, 300);
        let mut packet = pool.take().unwrap();
        let (own, target) = ((mac, Ipv4Addr::new(10, 0, 0, 9)), Ipv4Addr::new(10, 0, 0, 1));
        assert!(arp::Arp::new(arp::REQUEST, own, (Mac::default(), target)).emit(&mut packet));
        self.plug.push(&framed(mac, Mac::BROADCAST, EtherType::ARP, packet.bytes()));
        packet.clear();
        let source = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 9);
        let destination = ipv6::solicited_node(self.link_local);
        assert!(ndp::neighbor_solicit(
            &mut packet,
            self.link_local,
            Some(mac),
            None,
            source,
            destination
        ));
        let fields = ipv6::Fields {
            source,
            destination,
            next_header: ipv6::ICMP,
            hop_limit: 255,
            traffic_class: 0,
            flow_label: 0,
        };
        assert!(ipv6::Header::emit(&mut packet, &fields));
        let to = ipv6::multicast_mac(destination);
        self.plug.push(&framed(mac, to, EtherType::IPV6, packet.bytes()));
        net.run_for(Duration::from_millis(1));
        let [reply, advert] = [self.plug.pop().unwrap(), self.plug.pop().unwrap()];
        assert_eq!(reply[6..12], advert[6..12], "the router answers both");
        self.router = Mac(reply[6..12].try_into().unwrap());
    }

    /// Sends an IP datagram by way of the router.
    pub(crate) fn send(&mut self, datagram: &[u8]) {
        let ether_type = if datagram[0] >> 4 == 4 { EtherType::IPV4 } else { EtherType::IPV6 };
        let frame = framed(self.plug.mac(), self.router, ether_type, datagram);
        self.plug.push(&frame);
    }

    /// The IP datagrams that have come since the last time.
    pub(crate) fn received(&mut self) -> Vec<Vec<u8>> {
        let frames = std::iter::from_fn(|| self.plug.pop());
        frames.filter(|frame| frame[12..14] != [8, 6]).map(|frame| frame[14..].to_vec()).collect()
    }
}

fn framed(source: Mac, destination: Mac, ether_type: EtherType, payload: &[u8]) -> Vec<u8> {
    let header = Ethernet2Header { source: source.0, destination: destination.0, ether_type };
    [&header.to_bytes(), payload].concat()
}

/// A UDP datagram of either family.
pub(crate) fn udp(source: &str, destination: &str, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    match (source.parse().unwrap(), destination.parse().unwrap()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), hop_limit)
                .udp(5_000, 7)
                .write(&mut datagram, payload)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            PacketBuilder::ipv6(source.octets(), destination.octets(), hop_limit)
                .udp(5_000, 7)
                .write(&mut datagram, payload)
        }
        _ => panic!("two families"),
    }
    .unwrap();
    datagram
}
