//! The gateway: what the `user` network does with a frame or a datagram. It does no I/O.
//!
//! ```text
//!            frames                                   datagrams
//!  guest ─────────────▶ handle_frame ─────▶ Published: out of the socket of a published port
//!  10.0.2.15, fd00:10:2::…   │        └───▶ Outgoing:  out of the socket of the guest's port
//!            ◀── the queue ◀─┤ what the gateway says itself: ARP, neighbour discovery, DHCP, ping
//!                            ├─── handle_published ◀──── a peer to a published port
//!                            └─── handle_outgoing  ◀──── an answer to the guest's port
//! ```

mod dhcpv4;
mod fragments;
mod ipv4;
mod ipv6;
mod ndp;
mod udp;
mod unreachable;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use mnet_proto::ip::fragment::Reassembler;
use mnet_proto::wire::{arp, ethernet};
use netdev::{Instant, Mac, Packet};

pub(crate) use self::unreachable::Unreachable;
use super::MAX_FRAME;
use super::addresses::{
    self, GATEWAY_V4, GATEWAY_V6, GUEST_V4, NAMESERVER_V4, NAMESERVER_V6, ROUTER_V6,
};
use super::drops::{Drop, Drops};
use super::flows::{Flows, Peer};
use super::link::Link;
use super::outgoing::Outgoing;
use super::payload::Payload;
use super::queue::Queue;
use super::residents::Residents;

/// After so long without a datagram for it, the guest may have forgotten the gateway's address.
const SILENCE: Duration = Duration::from_secs(10);
/// Most peers of published ports at a time.
const MAX_FLOWS: usize = 8192;
/// Most ports of the guest that have a socket on the host at a time.
pub(crate) const MAX_OUTGOING: usize = 256;

/// The state machine of a `user` network.
///
/// What goes to the guest is appended to the queue that each call is given.
pub(crate) struct Gateway {
    link: Link,
    published: Flows,
    outgoing: Outgoing,
    /// The name server of the host.
    nameserver: Option<SocketAddr>,
    /// The guest's IPv6 addresses.
    residents: Residents,
    /// When the router advertises itself again.
    next_advert: Option<Instant>,
    /// When a datagram for a published port last went to the guest, over either family.
    last_published: [Option<Instant>; 2],
    /// Datagrams of the guest that are not whole yet.
    fragments: Reassembler,
    unreachable: unreachable::Limiter,
    drops: Drops,
}

/// What is to be done with a datagram of the guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<'f> {
    /// Nothing more.
    None,
    /// The payload goes to a peer, from the socket of the published port that it had asked.
    Published {
        /// The peer.
        peer: Peer,
        /// The datagram.
        payload: Payload<'f>,
    },
    /// The payload goes to a host, from the socket of the guest's port.
    Outgoing {
        /// The socket, by its index.
        socket: usize,
        /// Whether it is to be opened, in place of what had this index before. It is of the same
        /// family as `to`, now and ever after.
        open: bool,
        /// The host.
        to: SocketAddr,
        /// The datagram.
        payload: Payload<'f>,
    },
}

impl Gateway {
    /// The gateway of a guest with this address, and with these ports published, on a host with
    /// this name server.
    pub(crate) fn new(guest: Mac, ports: Vec<NonZeroU16>, nameserver: Option<SocketAddr>) -> Self {
        Self {
            link: Link::new(guest),
            published: Flows::new(ports, MAX_FLOWS),
            outgoing: Outgoing::new(MAX_OUTGOING),
            nameserver,
            residents: Residents::default(),
            next_advert: None,
            last_published: [None; 2],
            fragments: fragments::reassembler(),
            unreachable: unreachable::Limiter::default(),
            drops: Drops::default(),
        }
    }

    /// What was dropped so far.
    pub(crate) fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Counts a drop that happened outside.
    pub(crate) fn count(&mut self, drop: Drop) {
        self.drops.count(drop);
    }

    /// Takes a frame from the guest. The guest is hostile: whatever it is, it is dealt with here.
    pub(crate) fn handle_frame<'f>(
        &mut self,
        now: Instant,
        frame: &'f [u8],
        out: &mut Queue,
    ) -> Action<'f> {
        self.frame(now, frame, out).unwrap_or_else(|drop| {
            self.count(drop);
            Action::None
        })
    }

    fn frame<'f>(
        &mut self,
        now: Instant,
        frame: &'f [u8],
        out: &mut Queue,
    ) -> Result<Action<'f>, Drop> {
        if frame.len() > MAX_FRAME {
            return Err(Drop::FrameTooLong);
        }
        let header = ethernet::Header::parse(frame).ok_or(Drop::FrameTooShort)?;
        let payload = &frame[ethernet::HEADER_LEN..];
        match header.ethertype.get() {
            ethernet::ARP => self.arp(payload, out),
            ethernet::IPV4 => self.ipv4(now, Mac(header.destination), payload, out),
            ethernet::IPV6 => self.ipv6(now, Mac(header.destination), payload, out),
            _ => Err(Drop::EtherType),
        }
    }

    /// Answers who asks for an address of the gateway, and for no other.
    fn arp<'f>(&self, packet: &[u8], out: &mut Queue) -> Result<Action<'f>, Drop> {
        let arp = arp::Arp::parse(packet).ok_or(Drop::Arp)?;
        let (_, target) = arp.target();
        if arp.opcode() != arp::REQUEST || !self.is_own(target) {
            return Err(Drop::Arp);
        }
        self.link.arp(arp::REPLY, target, arp.sender(), out)?;
        Ok(Action::None)
    }

    /// Whether this address is one of the gateway's.
    fn is_own(&self, address: impl Into<IpAddr>) -> bool {
        match address.into() {
            IpAddr::V4(address) => {
                address == GATEWAY_V4 || address == NAMESERVER_V4 && self.nameserver.is_some()
            }
            IpAddr::V6(address) => {
                [GATEWAY_V6, ROUTER_V6].contains(&address)
                    || address == NAMESERVER_V6 && self.nameserver.is_some()
            }
        }
    }

    /// Forgets a socket that could not be opened.
    pub(crate) fn close(&mut self, socket: usize) {
        self.outgoing.close(socket);
    }

    /// Asks the guest for its address if it is time, as a router does before it delivers: so the
    /// guest learns the gateway's (RFC 826), and need not ask for it while a burst of answers waits.
    fn introduce(&mut self, now: Instant, guest: IpAddr, out: &mut Queue) -> Result<(), Drop> {
        let last = self.last_published[usize::from(guest.is_ipv6())].replace(now);
        if last.is_some_and(|last| now - last < SILENCE) {
            return Ok(());
        }
        match guest {
            IpAddr::V4(guest) => {
                self.link.arp(arp::REQUEST, GATEWAY_V4, (Mac::default(), guest), out)
            }
            IpAddr::V6(guest) => self.solicit_neighbor(guest, out),
        }
    }

    /// Takes a datagram that came to a published port: the packet's window is its payload.
    pub(crate) fn handle_published(
        &mut self,
        now: Instant,
        peer: Peer,
        packet: &mut Packet,
        out: &mut Queue,
    ) {
        if let Err(drop) = self.publish(now, peer, packet, out) {
            self.count(drop);
        }
    }

    fn publish(
        &mut self,
        now: Instant,
        peer: Peer,
        packet: &mut Packet,
        out: &mut Queue,
    ) -> Result<(), Drop> {
        if peer.address.port() == 0 {
            // It wants no answer (RFC 768), and port 0 could not be given one.
            return Err(Drop::UdpHeader);
        }
        // Who comes over IPv6 is let through over IPv6, if the guest speaks that.
        let ipv6 = peer.address.is_ipv6() && self.guest(now, true).is_some();
        let way = self.published.admit(now, peer, ipv6).ok_or(Drop::TooManyPeers)?;
        let guest = self.guest(now, way.ipv6).ok_or(Drop::Destination)?;
        self.introduce(now, guest, out)?;
        let from = SocketAddr::new(addresses::gateway(guest), way.gateway.get());
        self.link.udp(packet, from, SocketAddr::new(guest, way.guest.get()), out)
    }

    /// Where the guest is, over either family.
    fn guest(&self, now: Instant, ipv6: bool) -> Option<IpAddr> {
        match ipv6 {
            true => self.residents.current(now).map(IpAddr::V6),
            false => Some(GUEST_V4.into()),
        }
    }

    /// Takes a datagram that came to the socket of a port of the guest; as
    /// [`Gateway::handle_published`].
    pub(crate) fn handle_outgoing(
        &mut self,
        socket: usize,
        from: SocketAddr,
        packet: &mut Packet,
        out: &mut Queue,
    ) {
        if let Err(drop) = self.answer(socket, from, packet, out) {
            self.count(drop);
        }
    }

    fn answer(
        &mut self,
        socket: usize,
        from: SocketAddr,
        packet: &mut Packet,
        out: &mut Queue,
    ) -> Result<(), Drop> {
        // If there is none, it was closed while this was on its way.
        let Some(purpose) = self.outgoing.purpose(socket) else { return Ok(()) };
        let source = if !purpose.nameserver {
            addresses::to_guest(from.ip()).ok_or(Drop::Destination)?
        } else if Some(from) == self.nameserver {
            addresses::nameserver(purpose.guest.ip())
        } else {
            return Err(Drop::Destination);
        };
        self.link.udp(packet, SocketAddr::new(source, from.port()), purpose.guest, out)
    }

    /// Forgets peers and ports that have been idle for too long, and advertises the router now and
    /// then. `closed` gets the index of each socket that is not needed any more. To be called at
    /// [`Gateway::poll_timeout`]; spurious calls do nothing.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        out: &mut Queue,
        closed: impl FnMut(usize),
    ) {
        self.handle_advert_timeout(now, out);
        self.handle_fragment_timeout(now);
        self.published.expire(now);
        self.outgoing.expire(now, closed);
    }

    /// When [`Gateway::handle_timeout`] next has something to do. Any other call may change it.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let idle = [self.published.expiry(), self.outgoing.expiry()];
        let timers = [self.next_advert, self.fragments.poll_timeout()];
        idle.into_iter().chain(timers).flatten().min()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("link", &self.link).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
