use core::net::IpAddr;

use netdev::{Instant, Packet};

use super::{Cast, Network, Route, SendError, SendOptions};

/// IPv4 and IPv6 side by side: each is asked about the addresses of its family.
impl<V4: Network, V6: Network> Network for (V4, V6) {
    fn route(
        &mut self,
        now: Instant,
        destination: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<Route, SendError> {
        match destination {
            IpAddr::V4(_) => self.0.route(now, destination, source),
            IpAddr::V6(_) => self.1.route(now, destination, source),
        }
    }

    fn cast(&self, address: IpAddr) -> Cast {
        match address {
            IpAddr::V4(_) => self.0.cast(address),
            IpAddr::V6(_) => self.1.cast(address),
        }
    }

    fn is_local(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.0.is_local(address),
            IpAddr::V6(_) => self.1.is_local(address),
        }
    }

    /// If one of them wants it both get it.
    fn wants_udp_checksum(&self) -> bool {
        self.0.wants_udp_checksum() || self.1.wants_udp_checksum()
    }

    fn random(&mut self) -> u32 {
        self.0.random()
    }

    fn send_udp(
        &mut self,
        now: Instant,
        route: &Route,
        ports: (u16, u16),
        options: &SendOptions,
        packet: Packet,
    ) -> Result<(), SendError> {
        match route.destination {
            IpAddr::V4(_) => self.0.send_udp(now, route, ports, options, packet),
            IpAddr::V6(_) => self.1.send_udp(now, route, ports, options, packet),
        }
    }
}
