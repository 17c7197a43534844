//! The layers put together.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::array;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use chacha20::ChaCha20Rng;
use netdev::{Device, Instant, Packet, Pool};
use rand_core::{Rng, SeedableRng};

use crate::autoconf::Lease;
use crate::autoconf::dhcpv4::Client;
use crate::config::{Config, ConfigError, Ipv4Config};
use crate::ethernet::Link;
use crate::icmp;
use crate::ip::{
    Address, AddressError, AddressEvent, Cast, ControlBlock, Ip, IpCidr, Network, Origin, Received,
    RouteError, SendError, earlier, ipv4, ipv6, routes,
};
use crate::multicast::{Filter, JoinError};
use crate::neighbor::arp;
use crate::stats::{Drop, Stats};
use crate::udp::{BindError, Datagram, Destination, Holder, Local, Refused, SocketId, Udp};
use crate::wire::{dhcpv4, ethernet, ipv4 as wire, ipv6 as wire_v6};

mod dhcp;

/// A host on a link: frames and time go in, frames and events come out.
///
/// Whoever drives it gives it each frame that comes ([`Stack::handle_frame`]), calls
/// [`Stack::handle_timeout`] when [`Stack::poll_timeout`] says so, and after any call sends what
/// [`Stack::outgoing`] holds and asks [`Stack::poll_event`] until there is none. `now` never goes
/// back from one call to the next.
// The way of a datagram is `inline`, and compiled for speed by the crate that calls it. What it
// branches off to is not, so that it can be compiled for size.
pub struct Stack {
    ip: Ip,
    udp: Udp,
    dhcp: Option<Client>,
    transmit_queue: usize,
    gone: bool,
    // Not later than what [`Stack::rare_timeout`] says.
    next_rare: Instant,
}

/// What has happened that someone may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Something has come for the socket: a datagram, or an ICMP error. It is said again only of
    /// what comes after this.
    Readable(SocketId),
    /// The host has an address more, or less.
    Address(AddressEvent),
}

impl Stack {
    /// A host behind `device`, whose packets come from `pool`, at this time. All that is to be hard
    /// to guess comes from `seed`, which must be.
    ///
    /// # Errors
    /// [`ConfigError`], which says what does not fit.
    pub fn new(
        config: &Config,
        device: &impl Device,
        pool: Pool,
        now: Instant,
        seed: [u8; 32],
    ) -> Result<Self, ConfigError> {
        Self::on(Link::new(device, pool), config, now, seed)
    }

    /// A host on a link.
    #[inline(never)]
    fn on(link: Link, config: &Config, now: Instant, seed: [u8; 32]) -> Result<Self, ConfigError> {
        config.check(link.mtu)?;
        let mut random = ChaCha20Rng::from_seed(seed);
        let dhcp = (config.ipv4 == Ipv4Config::Dhcp).then(|| {
            let seed = array::from_fn(|_| random.next_u32() as u8);
            Client::new(link.mac, link.mtu, seed)
        });
        let mut stack = Self {
            ip: Ip::new(config, link, now, random),
            udp: Udp::new(config),
            dhcp,
            transmit_queue: config.transmit_queue,
            gone: false,
            next_rare: Instant::FAR_FUTURE,
        };
        stack.start_dhcp(now);
        stack.act(now);
        Ok(stack)
    }

    /// The host's addresses: those that it uses, and those that it is about to.
    pub fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        self.ip.addresses()
    }

    /// How often the host's addresses have changed: one was added, is used, is another host's, or was
    /// removed.
    #[must_use]
    pub fn address_changes(&self) -> u64 {
        self.ip.address_changes
    }

    /// Whether the host has an address that it may use.
    #[must_use]
    pub fn has_address(&self) -> bool {
        self.ip.has_address()
    }

    /// Gives the host an address. It is used once [`Event::Address`] says so: at once if it is of
    /// IPv4, and of IPv6 when nobody else has claimed it for a second. One that another host has is
    /// asked for again every minute.
    ///
    /// # Errors
    /// [`AddressError`], which says why not.
    pub fn add_address(&mut self, now: Instant, cidr: IpCidr) -> Result<(), AddressError> {
        if !cidr.is_host() {
            return Err(AddressError::NotHost);
        }
        match cidr {
            IpCidr::V4(cidr) => ipv4::add_address(&mut self.ip, now, cidr, Origin::Static)?,
            IpCidr::V6(cidr) => {
                let at_once = Duration::ZERO;
                ipv6::add_address(&mut self.ip, now, cidr, Origin::Static, at_once)?;
            }
        }
        self.act(now);
        Ok(())
    }

    /// Takes an address away; `false` if the host does not have it.
    pub fn remove_address(&mut self, now: Instant, address: IpAddr) -> bool {
        let removed = match address {
            IpAddr::V4(address) => ipv4::remove_address(&mut self.ip, address),
            IpAddr::V6(address) => ipv6::remove_address(&mut self.ip, now, address),
        };
        self.act(now);
        removed
    }

    /// Sends what goes to a prefix by a router, or, without one, to neighbours on the link. Of
    /// several ways the longest prefix counts.
    ///
    /// # Errors
    /// [`RouteError`], which says why not.
    pub fn add_route(&mut self, prefix: IpCidr, gateway: Option<IpAddr>) -> Result<(), RouteError> {
        if let Some(gateway) = gateway {
            if gateway.is_ipv4() != prefix.address().is_ipv4() {
                return Err(RouteError::FamilyMismatch);
            }
            let to_one = self.ip.cast(gateway) == Cast::Unicast && !gateway.is_unspecified();
            if !to_one || gateway.is_loopback() || self.ip.is_local(gateway) {
                return Err(RouteError::NotRouter);
            }
        }
        self.ip.destinations.reroute();
        let entry = routes::Entry::new(prefix.network(), gateway, routes::Source::Static);
        if self.ip.routes.set(entry) { Ok(()) } else { Err(RouteError::TooMany) }
    }

    /// Takes a route away that [`Stack::add_route`] made, or the configuration; `false` if there is
    /// none.
    pub fn remove_route(&mut self, prefix: IpCidr, gateway: Option<IpAddr>) -> bool {
        self.ip.destinations.reroute();
        let entry = routes::Entry::new(prefix.network(), gateway, routes::Source::Static);
        self.ip.routes.remove(&|known| known.is_same_way(&entry))
    }

    /// What a DHCP server has leased to the host.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.dhcp.as_ref()?.lease()
    }

    /// The DNS servers of the network, as DHCP and routers name them, best first.
    pub fn dns_servers(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.lease().into_iter().flat_map(|lease| lease.dns.iter().copied());
        v4.map(IpAddr::V4).chain(self.ip.v6.slaac.dns_servers().map(IpAddr::V6))
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.ip.stats
    }

    /// Where packets come from and go back to.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.ip.link.pool
    }

    /// Takes a frame that the device has received.
    #[inline]
    pub fn handle_frame(&mut self, now: Instant, mut packet: Packet) {
        let ip = &mut self.ip;
        ip.stats.frames_received += 1;
        let (frame, block) = packet.parts_mut();
        let block = ControlBlock::at_mut(block);
        let (ethertype, link_group) = match ip.link.receive(frame) {
            Ok(received) => received,
            Err(reason) => return ip.count(reason),
        };
        let datagram = frame.get(ethernet::HEADER_LEN..).unwrap_or_default();
        let udp = match ethertype {
            ethernet::IPV4 if ip.v4.enabled => ipv4::receive(ip, now, datagram, block, link_group),
            ethernet::IPV6 if ip.v6.enabled => ipv6::receive(ip, now, datagram, block, link_group),
            _ => Ok(None),
        };
        match udp {
            Ok(Some(length)) => {
                let at = ethernet::HEADER_LEN + block.header_len();
                packet.narrow(at, length);
            }
            Ok(None) => match self.receive_other(now, ethertype, packet) {
                Some(udp) => packet = udp,
                None => return,
            },
            Err(reason) => return ip.count(reason),
        }
        self.deliver_udp(now, packet);
    }

    /// Takes a frame that has been checked, and of which it was not plain to see that it holds a UDP
    /// datagram. Returns that, if it turns out to.
    #[inline(never)]
    fn receive_other(
        &mut self,
        now: Instant,
        ethertype: u16,
        mut packet: Packet,
    ) -> Option<Packet> {
        packet.trim_front(ethernet::HEADER_LEN);
        let ip = &mut self.ip;
        let received = match ethertype {
            ethernet::IPV4 if ip.v4.enabled => ipv4::receive_rest(ip, now, packet)?,
            ethernet::IPV6 if ip.v6.enabled => ipv6::receive_rest(ip, now, packet)?,
            ethernet::ARP if ip.v4.enabled => {
                if arp::receive(ip, now, packet) {
                    self.settle(now);
                }
                return None;
            }
            _ => {
                ip.count(Drop::EthernetProtocol);
                return None;
            }
        };
        if received.protocol == wire::UDP {
            return Some(received.packet);
        }
        self.deliver(now, received);
        None
    }

    /// Hands what is not UDP to the protocol that it is.
    #[inline(never)]
    fn deliver(&mut self, now: Instant, received: Received) {
        let Self { ip, udp, .. } = self;
        let is_ipv6 = ControlBlock::of(&received.packet).is_ipv6();
        let report = match (received.protocol, is_ipv6) {
            (wire::ICMP, false) => icmp::v4::receive(ip, now, received),
            (wire_v6::ICMP, true) => icmp::v6::receive(ip, now, received),
            (wire::IGMP, false) => {
                ip.receive_igmp(now, &received);
                None
            }
            _ => {
                ip.count(Drop::IpProtocol);
                icmp::protocol_unreachable(ip, now, received.packet);
                None
            }
        };
        if let Some(report) = report {
            udp.handle_error(report);
        }
        self.settle(now);
    }

    #[inline]
    fn deliver_udp(&mut self, now: Instant, packet: Packet) {
        let block = ControlBlock::of(&packet);
        if self.dhcp.is_some() && self.receive_dhcp(now, block, packet.bytes()) {
            return;
        }
        let Ip { multicast, stats, .. } = &mut self.ip;
        let is_member = |id: SocketId, to: &ControlBlock| {
            multicast.accepts(id.number().into(), to.destination(), to.source())
        };
        let taken = self.udp.handle_noted(packet, stats, is_member);
        if let Err((Refused::PortUnreachable, packet)) = taken {
            icmp::port_unreachable(&mut self.ip, now, packet);
        }
    }

    /// Does what follows from what others have said.
    fn settle(&mut self, now: Instant) {
        self.ip.act(now);
        self.tell_sockets();
        self.settle_dhcp(now);
        self.act(now);
    }

    /// Does what the layers ask for, and sees when they have to be asked again.
    #[inline(never)]
    fn act(&mut self, now: Instant) {
        self.ip.act(now);
        self.next_rare = self.rare_timeout();
        if self.gone {
            // There is nobody who would take them out.
            self.outgoing().clear();
        }
    }

    /// When something has to be done of what a datagram's way changes nothing about.
    fn rare_timeout(&self) -> Instant {
        let dhcp = self.dhcp.as_ref().and_then(Client::poll_timeout);
        earlier(self.ip.rare_timeout(), dhcp).unwrap_or(Instant::FAR_FUTURE)
    }

    /// Tells the sockets of what they have sent in vain.
    fn tell_sockets(&mut self) {
        while let Some(report) = self.ip.poll_report() {
            self.udp.handle_error(report);
        }
    }

    /// Counts frames that the device dropped for want of a packet.
    pub fn count_missed(&mut self, frames: u32) {
        self.ip.stats.frames_missed += u64::from(frames);
    }

    /// The device is gone: nothing comes any more, and what is sent is refused.
    pub fn handle_gone(&mut self) {
        self.gone = true;
        self.outgoing().clear();
    }

    /// Whether the device is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// The link's MTU: the most bytes of IP in one frame.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.ip.link.mtu
    }

    /// When [`Stack::handle_timeout`] is to be called; `None` if time has nothing to do. Any other
    /// call may change it.
    #[must_use]
    #[inline]
    pub fn poll_timeout(&self) -> Option<Instant> {
        debug_assert!(self.next_rare <= self.rare_timeout(), "nothing comes too late");
        let rare = (self.next_rare < Instant::FAR_FUTURE).then_some(self.next_rare);
        earlier(self.ip.frequent_timeout(), rare)
    }

    /// Does what time asks for. Calling it early, or twice, does no harm.
    #[inline]
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|next| next <= now) {
            self.act_in_time(now);
        }
    }

    #[inline(never)]
    fn act_in_time(&mut self, now: Instant) {
        self.ip.handle_timeout(now);
        self.tell_sockets();
        self.drive_dhcp(now);
        self.act(now);
    }

    /// The frames to be sent, in order: whoever sends one takes it out.
    pub fn outgoing(&mut self) -> &mut VecDeque<Packet> {
        self.ip.link.outgoing()
    }

    /// Whether so many frames wait for the device that more should not be sent now.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.ip.link.outgoing_len() >= self.transmit_queue
    }

    /// Whether all that was sent has been taken out of [`Stack::outgoing`], or given up: nothing
    /// waits for the device or for a neighbour.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.gone || (self.ip.link.outgoing_len() == 0 && !self.ip.neighbors.has_waiting())
    }

    /// What has happened, one thing at a time; `None` when that is all.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        let readable = self.udp.poll_readable().map(Event::Readable);
        readable.or_else(|| self.ip.poll_event().map(Event::Address))
    }

    /// The sockets.
    #[must_use]
    pub fn udp(&self) -> &Udp {
        &self.udp
    }

    /// The sockets, to receive from.
    #[must_use]
    pub fn udp_mut(&mut self) -> &mut Udp {
        &mut self.udp
    }

    /// Makes a socket, as [`Udp::bind`] does.
    ///
    /// # Errors
    /// [`BindError`], which says why not.
    pub fn udp_bind(&mut self, local: impl Into<Local>) -> Result<SocketId, BindError> {
        let local = local.into();
        self.check_port(local.port)?;
        self.udp.bind(&mut self.ip, local)
    }

    /// The stack's own ports are nobody else's.
    fn check_port(&self, port: u16) -> Result<(), BindError> {
        if self.dhcp.is_some() && port == dhcpv4::CLIENT_PORT {
            return Err(BindError::PortInUse { port, by: Holder::Dhcp });
        }
        Ok(())
    }

    /// The socket of a port that is read from by its number alone, as [`Udp::reader`] does.
    ///
    /// # Errors
    /// [`BindError`], which says why there is none.
    pub fn udp_reader(&mut self, port: u16) -> Result<SocketId, BindError> {
        self.check_port(port)?;
        self.udp.reader(&mut self.ip, port)
    }

    /// Lets a socket speak to one peer alone, or to all again, as [`Udp::connect`] does.
    ///
    /// # Errors
    /// [`SendError`], if there is no way to the peer.
    pub fn udp_connect(
        &mut self,
        now: Instant,
        id: SocketId,
        peer: Option<SocketAddr>,
    ) -> Result<(), SendError> {
        let dropped = self.udp.connect(&mut self.ip, now, id, peer)?;
        (0..dropped).for_each(|_| self.ip.count(Drop::UdpNotPeer));
        Ok(())
    }

    /// The largest IP datagram, in bytes with its headers, that is known to pass to a destination in
    /// one piece.
    ///
    /// # Errors
    /// [`SendError::RouteNotFound`] if there is no way there.
    pub fn path_mtu(&mut self, now: Instant, destination: IpAddr) -> Result<u16, SendError> {
        Ok(self.ip.route(now, destination, None)?.mtu)
    }

    /// The host's addresses that something can be sent from now.
    #[must_use]
    pub fn addresses_in_use(&self) -> Vec<IpAddr> {
        let addresses = self.addresses().map(|own| own.cidr.address());
        addresses.filter(|&address| self.ip.is_local(address)).collect()
    }

    /// The address that what is sent to a destination leaves from, unless the sender names one.
    ///
    /// # Errors
    /// [`SendError::RouteNotFound`] if there is no way there.
    pub fn source_for(&mut self, now: Instant, to: IpAddr) -> Result<IpAddr, SendError> {
        Ok(self.ip.route(now, to, None)?.source)
    }

    /// Closes a socket, as [`Udp::close`] does, which then leaves its groups.
    pub fn udp_close(&mut self, now: Instant, id: SocketId) {
        self.udp.close(id);
        self.ip.multicast.leave_all(now, id.number().into());
        self.act(now);
    }

    /// Makes a socket a member of a group, or changes from which sources it wants to hear there.
    ///
    /// # Errors
    /// [`JoinError`], which says why not.
    pub fn udp_join(
        &mut self,
        now: Instant,
        id: SocketId,
        group: IpAddr,
        filter: Filter,
    ) -> Result<(), JoinError> {
        self.ip.multicast.join(now, id.number().into(), group, filter)?;
        self.act(now);
        Ok(())
    }

    /// Ends a socket's membership in a group; `false` if it was not a member.
    pub fn udp_leave(&mut self, now: Instant, id: SocketId, group: IpAddr) -> bool {
        let left = self.ip.multicast.leave(now, id.number().into(), group);
        self.act(now);
        left
    }

    /// Sends a datagram, as [`Udp::send`] does.
    ///
    /// # Errors
    /// [`SendError`] if it is known that it will not arrive.
    #[inline]
    pub fn udp_send(
        &mut self,
        now: Instant,
        local: Local,
        destination: impl Into<Destination>,
        packet: Packet,
    ) -> Result<(), SendError> {
        if self.gone {
            return Err(SendError::DeviceGone);
        }
        let Self { ip, udp, .. } = self;
        udp.send_over(ip, now, local, &destination.into(), packet)?;
        ip.stats.udp_sent += 1;
        Ok(())
    }

    /// Sends a datagram's payload back to who sent it, from the address that it was sent to, or one of
    /// the host's own if that was a group's.
    ///
    /// # Errors
    /// [`SendError`] if it is known that it will not arrive.
    #[inline]
    pub fn udp_reply(&mut self, now: Instant, datagram: Datagram) -> Result<(), SendError> {
        if self.gone {
            return Err(SendError::DeviceGone);
        }
        let Self { ip, udp, .. } = self;
        udp.reply_over(ip, now, datagram)?;
        ip.stats.udp_sent += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
