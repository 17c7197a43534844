use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use mnet_proto::wire::arp::{Arp, REPLY, REQUEST};
use mnet_proto::wire::ethernet::{ARP, IPV4, IPV6};
use mnet_proto::wire::{icmpv4, icmpv6, ipv6, ndp};
use netdev::{Instant, Mac};

use super::{Router, ipv4};

/// Time between two requests (RFC 4861 §10, RetransTimer).
const RETRANSMIT: Duration = Duration::from_secs(1);
/// Requests before a neighbour is given up.
const MAX_REQUESTS: u32 = 3;
/// For how long an answer is believed.
const LIFETIME: Duration = Duration::from_secs(30);
/// Datagrams that wait for one neighbour.
const MAX_WAITING: usize = 64;
/// Neighbours that are known or asked for.
const MAX_NEIGHBORS: usize = 4_096;

/// Who has which address on which interface. A map with an order, so that a replay asks in the
/// same one.
#[derive(Default)]
pub(super) struct Neighbors(BTreeMap<(usize, IpAddr), Neighbor>);

enum Neighbor {
    Asked { requests: u32, next: Instant, waiting: VecDeque<Vec<u8>> },
    Known { mac: Mac, until: Instant },
}

impl Neighbors {
    pub(super) fn has_waiting(&self) -> bool {
        self.0.values().any(|neighbor| matches!(neighbor, Neighbor::Asked { .. }))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().map(Neighbor::timeout).min()
    }
}

impl Neighbor {
    fn timeout(&self) -> Instant {
        match *self {
            Self::Asked { next, .. } => next,
            Self::Known { until, .. } => until,
        }
    }
}

impl Router {
    /// Sends a datagram to a neighbour, once its Ethernet address is known.
    pub(super) fn send(&mut self, now: Instant, (out, to): (usize, IpAddr), datagram: Vec<u8>) {
        let full = self.neighbors.0.len() >= MAX_NEIGHBORS;
        match self.neighbors.0.get_mut(&(out, to)) {
            Some(&mut Neighbor::Known { mac, .. }) => self.send_known(out, mac, datagram),
            Some(Neighbor::Asked { waiting, .. }) if waiting.len() < MAX_WAITING => {
                waiting.push_back(datagram);
            }
            None if !full => {
                let waiting = VecDeque::from([datagram]);
                let asked = Neighbor::Asked { requests: 1, next: now + RETRANSMIT, waiting };
                self.neighbors.0.insert((out, to), asked);
                self.ask(out, to);
            }
            _ => self.stats.unresolved += 1,
        }
    }

    fn send_known(&mut self, out: usize, mac: Mac, datagram: Vec<u8>) {
        self.stats.sent += 1;
        if datagram[0] >> 4 == 6 {
            return self.transmit(out, mac, IPV6, &datagram);
        }
        let mtu = usize::from(self.interfaces[out].mtu);
        if datagram.len() <= mtu {
            return self.transmit(out, mac, IPV4, &datagram);
        }
        for fragment in ipv4::fragments(self, &datagram, mtu) {
            self.stats.fragments += 1;
            self.transmit(out, mac, IPV4, &fragment);
        }
    }

    /// Asks who has an address.
    fn ask(&mut self, out: usize, address: IpAddr) {
        let interface = &self.interfaces[out];
        let mac = interface.mac;
        match address {
            IpAddr::V4(address) => {
                let Some(own) = interface.ipv4() else { return };
                let arp = Arp::new(REQUEST, (mac, own), (Mac::default(), address));
                if let Some(arp) = self.build(|packet| arp.emit(packet)) {
                    self.transmit(out, Mac::BROADCAST, ARP, &arp);
                }
            }
            IpAddr::V6(target) => {
                let (own, group) = (interface.link_local, ipv6::solicited_node(target));
                let to = ipv6::multicast_mac(group);
                self.send_ndp(out, to, own, group, |packet| {
                    ndp::neighbor_solicit(packet, target, Some(mac), None, own, group)
                });
            }
        }
    }

    /// Learns who has an address. What nobody has asked for is only learned with `new`.
    pub(super) fn learn(&mut self, now: Instant, via: usize, address: IpAddr, mac: Mac, new: bool) {
        let is_known = self.neighbors.0.contains_key(&(via, address));
        if !mac.is_unicast() || !(is_known || new && self.neighbors.0.len() < MAX_NEIGHBORS) {
            return;
        }
        let known = Neighbor::Known { mac, until: now + LIFETIME };
        if let Some(Neighbor::Asked { waiting, .. }) =
            self.neighbors.0.insert((via, address), known)
        {
            waiting.into_iter().for_each(|datagram| self.send_known(via, mac, datagram));
        }
    }

    pub(super) fn handle_arp(&mut self, now: Instant, via: usize, bytes: &[u8]) {
        let Some(arp) = Arp::parse(bytes) else {
            self.stats.ignored += 1;
            return;
        };
        let interface = &self.interfaces[via];
        let ((mac, sender), (_, target)) = (arp.sender(), arp.target());
        let is_neighbor = interface.addresses.iter().any(|cidr| {
            let sender = sender.into();
            cidr.contains(sender) && cidr.address() != sender && !cidr.is_broadcast(sender)
        });
        let for_us = interface.addresses.iter().any(|cidr| cidr.address() == IpAddr::V4(target));
        let own = interface.mac;
        if is_neighbor {
            self.learn(now, via, sender.into(), mac, for_us);
        }
        if for_us && arp.opcode() == REQUEST && mac.is_unicast() {
            let reply = Arp::new(REPLY, (own, target), (mac, sender));
            if let Some(reply) = self.build(|packet| reply.emit(packet)) {
                self.transmit(via, mac, ARP, &reply);
            }
        }
    }

    /// Answers who looks for one of its addresses (RFC 4861 §7.2.3, §7.2.4).
    pub(super) fn handle_neighbor_solicit(
        &mut self,
        now: Instant,
        via: usize,
        source: Ipv6Addr,
        target: Ipv6Addr,
        source_link: Option<Mac>,
    ) {
        if !self.is_own(via, target.into()) {
            return;
        }
        // Who asks whether an address is free has none yet: everybody is told that it is not.
        let solicited = !source.is_unspecified();
        let to = if solicited { source } else { ipv6::ALL_NODES };
        let mac = match source_link {
            Some(mac) if solicited => {
                self.learn(now, via, source.into(), mac, true);
                mac
            }
            // A neighbour that is probed need not say who it is: it is known.
            None if solicited => match self.neighbors.0.get(&(via, source.into())) {
                Some(Neighbor::Known { mac, .. }) => *mac,
                _ => return,
            },
            _ => ipv6::multicast_mac(to),
        };
        let own = self.interfaces[via].mac;
        let flags = ndp::AdvertFlags { router: true, solicited, overrides: true };
        self.send_ndp(via, mac, target, to, |packet| {
            ndp::neighbor_advert(packet, flags, target, Some(own), target, to)
        });
    }

    pub(super) fn handle_neighbor_timeout(&mut self, now: Instant) {
        let due = self.neighbors.0.iter().filter(|(_, neighbor)| neighbor.timeout() <= now);
        let due: Vec<_> = due.map(|(&key, _)| key).collect();
        for key in due {
            match self.neighbors.0.get_mut(&key) {
                Some(Neighbor::Asked { requests, next, .. }) if *requests < MAX_REQUESTS => {
                    *requests += 1;
                    *next = now + RETRANSMIT;
                    self.ask(key.0, key.1);
                }
                _ => {
                    let gone = self.neighbors.0.remove(&key);
                    let Some(Neighbor::Asked { waiting, .. }) = gone else { continue };
                    waiting.into_iter().for_each(|datagram| self.give_up(now, key.0, &datagram));
                }
            }
        }
    }

    /// Tells the sender of a datagram that its destination does not answer.
    fn give_up(&mut self, now: Instant, out: usize, datagram: &[u8]) {
        self.stats.unresolved += 1;
        if datagram[0] >> 4 == 6 {
            let (kind, code) = (icmpv6::DESTINATION_UNREACHABLE, icmpv6::ADDRESS);
            self.send_icmpv6_error(now, out, kind, code, [0; 4], datagram);
        } else {
            let (kind, code) = (icmpv4::DESTINATION_UNREACHABLE, icmpv4::HOST_UNREACHABLE);
            self.send_icmpv4_error(now, kind, code, [0; 4], datagram);
        }
    }
}
