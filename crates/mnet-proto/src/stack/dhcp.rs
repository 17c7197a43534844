//! How a stack and its DHCP client work together (RFC 2131): what the client says goes out, what
//! it is told comes in, and what it is leased is used.

use super::*;
use crate::autoconf::dhcpv4::{Destination, Event as Dhcp, Transmit};
use crate::ip::{SendOptions, to_everybody};
use crate::wire::udp;

impl Stack {
    /// Begins to look for a server.
    pub(super) fn start_dhcp(&mut self, now: Instant) {
        if let Some(client) = &mut self.dhcp {
            client.start(now);
            self.ip.v4.configuring = true;
        }
        self.drive_dhcp(now);
    }

    /// Takes a UDP datagram if it is the client's; `false`, and nothing done, if it is not. From which port
    /// servers send is theirs to say (RFC 2131 §4.1).
    #[inline]
    pub(super) fn receive_dhcp(
        &mut self,
        now: Instant,
        block: &ControlBlock,
        datagram: &[u8],
    ) -> bool {
        let to_client = udp::ports(datagram).is_some_and(|(_, to)| to == dhcpv4::CLIENT_PORT);
        // Before there is an address, only DHCP's answers are let in by others.
        (to_client || self.ip.v4.configuring) && self.handle_dhcp(now, block, datagram, to_client)
    }

    /// Takes a datagram for the client, or one that is nobody's.
    #[cold]
    #[inline(never)]
    fn handle_dhcp(
        &mut self,
        now: Instant,
        block: &ControlBlock,
        datagram: &[u8],
        to_client: bool,
    ) -> bool {
        if !to_client || block.is_ipv6() || block.cast() == Cast::Multicast {
            let nobodys = block.cast() == Cast::Unicast && !self.ip.is_local(block.destination());
            if nobodys {
                self.ip.count(Drop::Ipv4Destination);
            }
            return nobodys;
        }
        let Some(client) = &mut self.dhcp else { return false };
        let payload = match crate::udp::check(block, datagram) {
            Ok((_, length)) => datagram.get(udp::HEADER_LEN..udp::HEADER_LEN + length),
            Err(reason) => {
                self.ip.count(reason);
                return true;
            }
        };
        match client.handle_message(now, payload.unwrap_or_default()) {
            Ok(()) => self.ip.stats.dhcp_received += 1,
            Err(_) => self.ip.count(Drop::DhcpIgnored),
        }
        self.settle_dhcp(now);
        self.act(now);
        true
    }

    /// Does what time asks of the client.
    pub(super) fn drive_dhcp(&mut self, now: Instant) {
        if let Some(client) = &mut self.dhcp {
            client.handle_timeout(now);
            self.settle_dhcp(now);
        }
    }

    /// Does what the client asks for.
    pub(super) fn settle_dhcp(&mut self, now: Instant) {
        let Some(client) = &mut self.dhcp else { return };
        if core::mem::take(&mut self.ip.v4.declined) {
            client.decline(now);
        }
        let transmit = client.poll_transmit();
        let event = client.poll_event();
        if let Some(transmit) = transmit {
            self.send_dhcp(now, &transmit);
        }
        match event {
            Some(Dhcp::Bound(lease)) => self.take_lease(now, &lease),
            Some(Dhcp::Lost) => self.drop_lease(),
            None => {}
        }
    }

    /// Uses what was leased, instead of what was before.
    fn take_lease(&mut self, now: Instant, lease: &Lease) {
        let own = self.ip.v4.addresses.iter();
        let same = |own: &crate::ip::address::Own<_>| {
            own.origin == Origin::Dhcp && own.cidr == lease.address
        };
        if !{ own }.any(same) {
            self.drop_lease();
            if let Err(error) = ipv4::add_address(&mut self.ip, now, lease.address, Origin::Dhcp) {
                self.ip.count_refused(error);
            }
            arp::handle_timeout(&mut self.ip, now);
            // What groups the host is in could be said only from 0.0.0.0 up to now.
            self.ip.multicast.announce(now, false);
        }
        self.ip.v4.configuring = false;
        self.ip.v4.mtu = lease.mtu.unwrap_or(self.ip.link.mtu).min(self.ip.link.mtu);
        self.ip.destinations.reroute();
        self.ip.routes.remove(&|route| {
            route.source == routes::Source::Dhcp && route.prefix != lease.address.network().into()
        });
        for &(prefix, gateway) in &lease.routes {
            if !ipv4::add_route(&mut self.ip, prefix, gateway, routes::Source::Dhcp) {
                self.ip.count(Drop::TooManyRoutes);
            }
        }
        self.ip.act(now);
    }

    /// Uses what was leased no longer.
    fn drop_lease(&mut self) {
        self.ip.v4.configuring = true;
        self.ip.v4.mtu = self.ip.link.mtu;
        self.ip.routes.remove(&|route| route.source == routes::Source::Dhcp);
        self.ip.destinations.reroute();
        let mut own = self.ip.v4.addresses.iter();
        let leased = own.find(|own| own.origin == Origin::Dhcp).map(|own| own.cidr.address());
        if let Some(address) = leased {
            ipv4::remove_address(&mut self.ip, address);
        }
    }

    fn send_dhcp(&mut self, now: Instant, transmit: &Transmit) {
        if self.try_send_dhcp(now, transmit).is_some() {
            self.ip.stats.dhcp_sent += 1;
            if self.dhcp.as_ref().is_some_and(Client::is_alone) {
                self.ip.changed(AddressEvent::NoDhcpServer);
            }
        } else {
            // The client says it again.
            self.ip.count(Drop::NoPacket);
        }
    }

    fn try_send_dhcp(&mut self, now: Instant, transmit: &Transmit) -> Option<()> {
        let Transmit { to, source, ref message } = *transmit;
        let route = match to {
            Destination::Broadcast => to_everybody(source, self.ip.link.mtu),
            Destination::Server(server) => {
                self.ip.route(now, server.into(), Some(source.into())).ok()?
            }
        };
        let mut packet = self.ip.link.pool.take()?;
        packet.append(message.len())?.copy_from_slice(message);
        let pseudo = |length| crate::udp::pseudo_header(route.source, route.destination, length);
        let ports = (dhcpv4::CLIENT_PORT, dhcpv4::SERVER_PORT);
        udp::Header::emit(&mut packet, ports.0, ports.1, Some(pseudo)).then_some(())?;
        self.ip.send_udp(now, &route, ports, &SendOptions::default(), packet).ok()
    }
}
