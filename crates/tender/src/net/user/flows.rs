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
    /// By the guest's port, and the gateway's.
    by_port: HashMap<(NonZeroU16, NonZeroU16), u32>,
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

#[derive(Clone, Copy, Debug)]
struct Flow {
    peer: Peer,
    port: NonZeroU16,
}

impl Flows {
    pub(super) fn new(ports: Vec<NonZeroU16>, capacity: usize) -> Self {
        Self {
            ports,
            flows: Recent::new(capacity),
            by_peer: HashMap::new(),
            by_port: HashMap::new(),
            next_port: FIRST_PORT,
        }
    }

    /// The gateway's port for a peer that sent to a published port, and the guest's port; `None`
    /// if there is no room for the peer.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        mut peer: Peer,
    ) -> Option<(NonZeroU16, NonZeroU16)> {
        if let SocketAddr::V6(address) = &mut peer.address {
            // It may change from datagram to datagram, and says nothing of who sent it.
            address.set_flowinfo(0);
        }
        let &guest = self.ports.get(peer.publish)?;
        if let Some(&index) = self.by_peer.get(&peer) {
            self.flows.touch(index, now);
            return self.flows.get(index).map(|flow| (flow.port, guest));
        }
        if let Some(leaving) = self.flows.leaving(now) {
            self.remove(leaving);
        }
        let port = self.free_port(guest, NonZeroU16::new(peer.address.port())?)?;
        let index = self.flows.insert(now, Flow { peer, port })?;
        self.by_peer.insert(peer, index);
        self.by_port.insert((guest, port), index);
        Some((port, guest))
    }

    /// The peer that a port of the gateway stands for, to a port of the guest.
    pub(super) fn peer(
        &mut self,
        now: Instant,
        guest: NonZeroU16,
        port: NonZeroU16,
    ) -> Option<Peer> {
        let &index = self.by_port.get(&(guest, port))?;
        self.flows.touch(index, now);
        self.flows.get(index).map(|flow| flow.peer)
    }

    /// Whether this port of the guest is published.
    pub(super) fn is_published(&self, guest: NonZeroU16) -> bool {
        self.ports.contains(&guest)
    }

    fn free_port(&mut self, guest: NonZeroU16, own: NonZeroU16) -> Option<NonZeroU16> {
        let mut port = own;
        // One more try than there can be flows: one of them is free.
        for _ in 0..=self.flows.capacity() {
            if !self.by_port.contains_key(&(guest, port)) {
                return Some(port);
            }
            port = NonZeroU16::new(self.next_port)?;
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
            if let Some(&guest) = self.ports.get(flow.peer.publish) {
                self.by_port.remove(&(guest, flow.port));
            }
        }
    }
}
