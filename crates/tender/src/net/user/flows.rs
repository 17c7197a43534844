//! The peers of published ports, kept apart by a port of the gateway for each.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use netdev::Instant;

use super::recent::Recent;

/// First of the ports that are tried when a peer's own is taken.
const FIRST_PORT: u16 = 49152;

/// A table of peers.
///
/// To the guest, each peer is a port of the gateway: the peer's own number, unless that is taken by
/// another peer of the same port of the guest. Who stays when the table is full, see [`Recent`].
#[derive(Debug)]
pub(super) struct Flows {
    /// The guest's port, for each published port.
    ports: Vec<NonZeroU16>,
    flows: Recent<Flow>,
    by_peer: HashMap<Peer, u32>,
    by_way: HashMap<Way, u32>,
    next_port: u16,
}

/// A peer of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    /// The published port that it sends to, by its index.
    pub(super) publish: usize,
    /// The address of the host that it sends to, and expects answers from.
    pub(super) asked: IpAddr,
    /// Its own address.
    pub(super) address: SocketAddr,
}

/// How the guest and the gateway speak for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Way {
    /// Whether it is over IPv6.
    pub(super) ipv6: bool,
    /// The guest's port.
    pub(super) guest: NonZeroU16,
    /// The gateway's, which stands for the peer.
    pub(super) gateway: NonZeroU16,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    peer: Peer,
    way: Way,
}

impl Flows {
    pub(super) fn new(ports: Vec<NonZeroU16>, capacity: usize) -> Self {
        Self {
            ports,
            flows: Recent::new(capacity),
            by_peer: HashMap::new(),
            by_way: HashMap::new(),
            next_port: FIRST_PORT,
        }
    }

    /// The way to the guest for a peer that sent to a published port, which is over IPv6 if that is
    /// wanted when it is new; `None` if there is no room for the peer.
    pub(super) fn admit(&mut self, now: Instant, peer: Peer, ipv6: bool) -> Option<Way> {
        let &guest = self.ports.get(peer.publish)?;
        if let Some(&index) = self.by_peer.get(&peer) {
            self.flows.touch(index, now);
            return self.flows.get(index).map(|flow| flow.way);
        }
        if let Some(leaving) = self.flows.leaving(now) {
            self.remove(leaving);
        }
        let gateway = NonZeroU16::new(peer.address.port())?;
        let way = self.free(Way { ipv6, guest, gateway })?;
        let index = self.flows.insert(now, Flow { peer, way })?;
        self.by_peer.insert(peer, index);
        self.by_way.insert(way, index);
        Some(way)
    }

    /// How a peer is spoken to, if it is known.
    pub(super) fn way(&self, peer: Peer) -> Option<Way> {
        let &index = self.by_peer.get(&peer)?;
        self.flows.get(index).map(|flow| flow.way)
    }

    /// The peer that is spoken to like this.
    pub(super) fn peer(&mut self, now: Instant, way: Way) -> Option<Peer> {
        let &index = self.by_way.get(&way)?;
        self.flows.touch(index, now);
        self.flows.get(index).map(|flow| flow.peer)
    }

    /// Whether this port of the guest is published.
    pub(super) fn is_published(&self, guest: NonZeroU16) -> bool {
        self.ports.contains(&guest)
    }

    /// This way, or another like it if that is taken.
    fn free(&mut self, mut way: Way) -> Option<Way> {
        // One more try than there can be flows: one of them is free.
        for _ in 0..=self.flows.capacity() {
            if !self.by_way.contains_key(&way) {
                return Some(way);
            }
            way.gateway = NonZeroU16::new(self.next_port)?;
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
        }
        None
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(expired) = self.flows.expired(now) {
            self.remove(expired);
        }
    }

    pub(super) fn expiry(&self) -> Option<Instant> {
        self.flows.expiry()
    }

    fn remove(&mut self, index: u32) {
        if let Some(flow) = self.flows.remove(index) {
            self.by_peer.remove(&flow.peer);
            self.by_way.remove(&flow.way);
        }
    }
}
