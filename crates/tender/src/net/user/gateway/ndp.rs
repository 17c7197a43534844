//! Neighbour discovery (RFC 4861): the gateway is the router of the network, and all its
//! neighbours but one.

use std::net::Ipv6Addr;
use std::time::Duration;

use mnet_proto::wire::icmpv6::{NEIGHBOR_ADVERT, NEIGHBOR_SOLICIT, ROUTER_SOLICIT};
use mnet_proto::wire::ipv6::{self, ALL_NODES};
use mnet_proto::wire::ndp::{self, AdvertFlags, Message, NdpOption, Prefix, RouterAdvert};
use netdev::Instant;

use super::super::MTU;
use super::super::addresses::{GATEWAY_V6, MAC, NAMESERVER_V6, PREFIX_V6, ROUTER_V6, is_in_prefix};
use super::super::drops::Drop;
use super::super::queue::Queue;
use super::Gateway;

/// Hop limit of what must come from the link itself (§6.1, §7.1).
pub(super) const HOP_LIMIT: u8 = 255;

/// Time from one advertisement that nobody asked for to the next.
const ADVERT_INTERVAL: Duration = Duration::from_secs(200);
/// Seconds that the router may be used after an advertisement: nine of them may be lost.
const ROUTER_LIFETIME: u16 = 1800;
/// Seconds that an address of the prefix is valid, and preferred: RFC 4861's own (§6.2.1).
const VALID: u32 = 30 * 24 * 60 * 60;
const PREFERRED: u32 = 7 * 24 * 60 * 60;

impl Gateway {
    /// Takes a message whose ICMPv6 header is right. `kind` is one of those below.
    pub(super) fn ndp(
        &mut self,
        now: Instant,
        kind: u8,
        header: &ipv6::Header,
        message: &[u8],
        out: &mut Queue,
    ) -> Result<(), Drop> {
        if header.hop_limit != HOP_LIMIT {
            return Err(Drop::Ndp);
        }
        let source = header.source();
        match Message::parse(kind, message).ok_or(Drop::Ndp)? {
            Message::RouterSolicit { .. } => {
                let to = if source.is_unspecified() { ALL_NODES } else { source };
                self.advertise_router(to, out)
            }
            Message::NeighborSolicit { target, .. } if self.is_own(target) => {
                self.advertise_neighbor(target, source, out)
            }
            // Nobody else is here: the guest may have it.
            Message::NeighborSolicit { target, .. } => {
                if source.is_unspecified() && is_in_prefix(target) {
                    self.residents.probe(now, target);
                }
                Ok(())
            }
            Message::NeighborAdvert { target, .. } => {
                if is_in_prefix(target) && !self.is_own(target) {
                    self.residents.confirm(now, target);
                }
                Ok(())
            }
            _ => Err(Drop::Ndp),
        }
    }

    /// Whether [`Gateway::ndp`] is for messages of this type.
    pub(super) fn is_ndp(kind: u8) -> bool {
        matches!(kind, ROUTER_SOLICIT | NEIGHBOR_SOLICIT | NEIGHBOR_ADVERT)
    }

    /// Says who the router is, and what the network is like.
    fn advertise_router(&mut self, to: Ipv6Addr, out: &mut Queue) -> Result<(), Drop> {
        let advert = RouterAdvert {
            hop_limit: 64,
            managed: false,
            other: false,
            preference: ndp::Preference::Medium,
            lifetime: ROUTER_LIFETIME,
            reachable: 0,
            retransmit: 0,
            options: ndp::Options::default(),
        };
        let prefix = Prefix {
            prefix: PREFIX_V6,
            prefix_len: 64,
            on_link: true,
            autonomous: true,
            valid: VALID,
            preferred: PREFERRED,
        };
        let servers = [NAMESERVER_V6.octets()];
        let options = [
            NdpOption::SourceLink(MAC),
            NdpOption::Mtu(MTU.into()),
            NdpOption::Prefix(prefix),
            NdpOption::Rdnss { lifetime: ROUTER_LIFETIME.into(), servers: &servers },
        ];
        let known = if self.nameserver.is_some() { &options[..] } else { &options[..3] };
        let mut packet = self.link.packet(0)?;
        let whole = ndp::router_advert(&mut packet, &advert, known, ROUTER_V6, to);
        self.link.icmpv6(packet, whole, HOP_LIMIT, ROUTER_V6, to, out)
    }

    /// Says that one of the gateway's own addresses is taken, to who asks for its Ethernet address
    /// or wants to take it (§7.2.4).
    fn advertise_neighbor(
        &mut self,
        target: Ipv6Addr,
        source: Ipv6Addr,
        out: &mut Queue,
    ) -> Result<(), Drop> {
        let solicited = !source.is_unspecified();
        let to = if solicited { source } else { ALL_NODES };
        let flags = AdvertFlags { router: true, solicited, overrides: true };
        let mut packet = self.link.packet(0)?;
        let whole = ndp::neighbor_advert(&mut packet, flags, target, Some(MAC), target, to);
        self.link.icmpv6(packet, whole, HOP_LIMIT, target, to, out)
    }

    /// Asks the guest for its Ethernet address, whereby it learns the gateway's.
    pub(super) fn solicit_neighbor(
        &mut self,
        target: Ipv6Addr,
        out: &mut Queue,
    ) -> Result<(), Drop> {
        let to = ipv6::solicited_node(target);
        let mut packet = self.link.packet(0)?;
        let whole = ndp::neighbor_solicit(&mut packet, target, Some(MAC), None, GATEWAY_V6, to);
        self.link.icmpv6(packet, whole, HOP_LIMIT, GATEWAY_V6, to, out)
    }

    /// Advertises the router when it is time. That begins with the first word of the guest: before,
    /// it may not speak IPv6.
    pub(super) fn handle_advert_timeout(&mut self, now: Instant, out: &mut Queue) {
        if self.next_advert.is_none_or(|next| now < next) {
            return;
        }
        self.next_advert = Some(now + ADVERT_INTERVAL);
        if let Err(drop) = self.advertise_router(ALL_NODES, out) {
            self.count(drop);
        }
    }

    /// The guest speaks IPv6.
    pub(super) fn start_adverts(&mut self, now: Instant) {
        self.next_advert.get_or_insert(now + ADVERT_INTERVAL);
    }
}
