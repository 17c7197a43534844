use mnet_proto::wire::ipv6::ALL_NODES;
use mnet_proto::wire::ndp::{self, NdpOption, RouterAdvert};
use netdev::Instant;

use super::Router;

impl Router {
    pub(super) fn handle_advertisement_timeout(&mut self, now: Instant) {
        for number in 0..self.interfaces.len() {
            let interface = &mut self.interfaces[number];
            if interface.next_advertisement <= now
                && let Some(advertisement) = &interface.advertisement
            {
                interface.next_advertisement = now + advertisement.interval;
                self.send_advertisement(number);
            }
        }
    }

    /// Sends all nodes on a link what they are to know, if they are to.
    pub(super) fn send_advertisement(&mut self, out: usize) {
        let interface = &self.interfaces[out];
        let Some(advertisement) = interface.advertisement.clone() else { return };
        let (own, mac) = (interface.link_local, interface.mac);
        let servers: Vec<_> = advertisement.dns.iter().map(|server| server.octets()).collect();

        let mut options = vec![NdpOption::SourceLink(mac)];
        options.extend(advertisement.mtu.map(NdpOption::Mtu));
        options.extend(advertisement.prefixes.iter().copied().map(NdpOption::Prefix));
        if !servers.is_empty() {
            let lifetime = advertisement.dns_lifetime;
            options.push(NdpOption::Rdnss { lifetime, servers: &servers });
        }
        let advert = RouterAdvert {
            hop_limit: advertisement.hop_limit,
            managed: false,
            other: false,
            preference: advertisement.preference,
            lifetime: advertisement.lifetime,
            reachable: 0,
            retransmit: 0,
            options: ndp::Options::default(),
        };
        self.send_ndp_to_group(out, ALL_NODES, |packet| {
            ndp::router_advert(packet, &advert, &options, own, ALL_NODES)
        });
    }
}
