//! IP layers with no stack beneath them: two hosts at the ends of a tunnel.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use mkernel::{now, yield_now};
use mnet::{Config, Instant, SendError, Udp, UdpInput};
use mnet_proto::ip::{Cast, Metadata, Network, Route, SendOptions};
use netdev::{Packet, Pool};

/// An IP layer of one address, which reaches one other.
struct Layer {
    own: IpAddr,
    other: IpAddr,
    mtu: u16,
    header_len: u16,
    outgoing: Outgoing,
}

/// What is on its way.
type Outgoing = Rc<RefCell<VecDeque<(Metadata, Packet)>>>;

impl Network for Layer {
    fn route(
        &mut self,
        _: Instant,
        destination: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<Route, SendError> {
        if destination != self.other {
            return Err(SendError::RouteNotFound);
        }
        if source.is_some_and(|source| source != self.own) {
            return Err(SendError::SourceNotLocal);
        }
        let &mut Self { own: source, mtu, header_len, .. } = self;
        Ok(Route { destination, source, next_hop: destination, mtu, header_len })
    }

    fn cast(&self, address: IpAddr) -> Cast {
        if address.is_multicast() { Cast::Multicast } else { Cast::Unicast }
    }

    fn is_local(&self, address: IpAddr) -> bool {
        address == self.own
    }

    fn wants_udp_checksum(&self) -> bool {
        true
    }

    fn random(&mut self) -> u32 {
        let mut bytes = [0; 4];
        mkernel::fill_random(&mut bytes);
        u32::from_ne_bytes(bytes)
    }

    fn send_udp(
        &mut self,
        _: Instant,
        route: &Route,
        _: (u16, u16),
        options: &SendOptions,
        packet: Packet,
    ) -> Result<(), SendError> {
        // A tunnel of its own would write its headers here, and cut what does not fit.
        if !route.fits(packet.len(), options) {
            return Err(SendError::PacketTooBig { mtu: route.mtu });
        }
        let metadata = Metadata {
            source: route.source,
            destination: route.destination,
            cast: Cast::Unicast,
            link_group: false,
            hop_limit: options.hop_limit.unwrap_or(64),
            traffic_class: options.traffic_class,
            dont_fragment: true,
            router_alert: false,
            fragmented: false,
            udp_verified: false,
            arrived: now(),
            header_len: 0,
        };
        self.outgoing.borrow_mut().push_back((metadata, packet));
        Ok(())
    }
}

/// One end: its UDP, and where what comes for it goes.
pub(crate) struct End {
    pub(crate) udp: Udp,
    pub(crate) input: UdpInput,
    outgoing: Outgoing,
}

/// UDP over an IPv4 and an IPv6 layer of these addresses: of either family this host's, and the
/// other's.
pub(crate) fn end(own: [&str; 2], other: [&str; 2], pool: &Pool) -> End {
    let outgoing = Outgoing::default();
    let layer = |family: usize, header_len| Layer {
        own: own[family].parse().unwrap(),
        other: other[family].parse().unwrap(),
        mtu: 1_400,
        header_len,
        outgoing: Rc::clone(&outgoing),
    };
    let (udp, input) = Udp::over(layer(0, 20), layer(1, 40), pool.clone(), &Config::default());
    End { udp, input, outgoing }
}

/// Carries what one end sends to the other, for ever.
pub(crate) async fn carry(outgoing: Outgoing, input: UdpInput) {
    loop {
        let next = outgoing.borrow_mut().pop_front();
        match next {
            // A host of its own would say of what nobody wants that its port is unreachable.
            Some((metadata, packet)) => drop(input.handle_datagram(&metadata, packet)),
            None => yield_now().await,
        }
    }
}

/// A tunnel with a host at each end.
pub(crate) fn tunnel() -> (End, End) {
    let pool = Pool::new(64, 2_048);
    let (left, right) = (["10.9.0.1", "fd09::1"], ["10.9.0.2", "fd09::2"]);
    let (a, b) = (end(left, right, &pool), end(right, left, &pool));
    mkernel::spawn(carry(Rc::clone(&a.outgoing), b.input.clone()));
    mkernel::spawn(carry(Rc::clone(&b.outgoing), a.input.clone()));
    (a, b)
}
