//! What the guest is told of a datagram that did not arrive (RFC 792, RFC 4443).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mnet_proto::wire::{icmpv4, icmpv6, ipv4, ipv6};
use netdev::Instant;

use super::super::addresses;
use super::super::drops::Drop;
use super::super::flows::Peer;
use super::super::link::{HOP_LIMIT, emit_datagram};
use super::super::queue::Queue;
use super::Gateway;

/// Errors at once after a quiet time, and how long it is from one to the next when there are more:
/// 100 a second.
const BURST: u32 = 50;
const INTERVAL: Duration = Duration::from_millis(10);

/// Most bytes that an error is long: those that every host takes in one piece (RFC 1812 §4.3.2.3,
/// RFC 4443 §3.1).
const MAX_V4: usize = 576;
const MAX_V6: usize = 1280;

/// Why a datagram did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// The host has no way there.
    Network,
    /// Nobody has the address.
    Host,
    /// It may not go there.
    Prohibited,
    /// Nobody listens on the port.
    Port,
}

impl Unreachable {
    fn code_v4(self) -> u8 {
        match self {
            Self::Network => icmpv4::NETWORK_UNREACHABLE,
            Self::Host => icmpv4::HOST_UNREACHABLE,
            Self::Prohibited => icmpv4::COMMUNICATION_PROHIBITED,
            Self::Port => icmpv4::PORT_UNREACHABLE,
        }
    }

    fn code_v6(self) -> u8 {
        match self {
            Self::Network => icmpv6::NO_ROUTE,
            Self::Host => icmpv6::ADDRESS,
            Self::Prohibited => icmpv6::PROHIBITED,
            Self::Port => icmpv6::PORT,
        }
    }
}

/// How many errors may still be told.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    /// When as many may be told at once as ever.
    full_at: Instant,
}

impl Limiter {
    fn allow(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now);
        let allowed = full_at - now <= INTERVAL * (BURST - 1);
        if allowed {
            self.full_at = full_at + INTERVAL;
        }
        allowed
    }
}

impl Gateway {
    /// Takes word that an answer to a peer did not arrive, with as much of it as is known.
    pub(crate) fn handle_published_error(
        &mut self,
        now: Instant,
        peer: Peer,
        why: Unreachable,
        payload: &[u8],
        out: &mut Queue,
    ) {
        let Some(way) = self.published.way(peer) else { return };
        let Some(guest) = self.guest(now, way.ipv6) else { return };
        let from = SocketAddr::new(guest, way.guest.get());
        let to = SocketAddr::new(addresses::gateway(guest), way.gateway.get());
        self.unreachable(now, (from, to), why, payload, out);
    }

    /// Takes word that what the guest sent to a host, out of the socket of one of its ports, did
    /// not arrive, with as much of it as is known.
    pub(crate) fn handle_outgoing_error(
        &mut self,
        now: Instant,
        socket: usize,
        host: SocketAddr,
        why: Unreachable,
        payload: &[u8],
        out: &mut Queue,
    ) {
        let Some(purpose) = self.outgoing.purpose(socket) else { return };
        let to = if purpose.nameserver {
            Some(addresses::nameserver(purpose.guest.ip()))
        } else {
            addresses::to_guest(host.ip())
        };
        if let Some(to) = to {
            let to = SocketAddr::new(to, host.port());
            self.unreachable(now, (purpose.guest, to), why, payload, out);
        }
    }

    /// Tells the guest that what it sent did not arrive, unless it was told of too many.
    pub(super) fn unreachable(
        &mut self,
        now: Instant,
        sent: (SocketAddr, SocketAddr),
        why: Unreachable,
        payload: &[u8],
        out: &mut Queue,
    ) {
        // One that finds no room is no loss.
        if !self.unreachable.allow(now) || out.room() == 0 {
            return;
        }
        if let Err(drop) = self.tell(sent, why, payload, out) {
            self.count(drop);
        }
    }

    fn tell(
        &mut self,
        (from, to): (SocketAddr, SocketAddr),
        why: Unreachable,
        payload: &[u8],
        out: &mut Queue,
    ) -> Result<(), Drop> {
        // As it was sent, but for what only its own IP header told.
        let mut packet = self.link.packet(payload.len())?;
        packet.append(payload.len()).ok_or(Drop::DatagramTooLong)?.copy_from_slice(payload);
        emit_datagram(&mut packet, from, to)?;

        // A port is refused by the host itself, all else by the gateway on the way there.
        let source = match why {
            Unreachable::Port => to.ip(),
            _ => addresses::gateway(from.ip()),
        };
        match (source, from.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) => {
                packet.truncate(MAX_V4 - ipv4::HEADER_LEN - icmpv4::HEADER_LEN);
                let kind = icmpv4::DESTINATION_UNREACHABLE;
                if !icmpv4::Header::emit(&mut packet, kind, why.code_v4(), [0; 4]) {
                    return Err(Drop::NotTaken);
                }
                self.link.ip(&mut packet, source, from.ip(), ipv4::ICMP, out)
            }
            (IpAddr::V6(source), IpAddr::V6(guest)) => {
                packet.truncate(MAX_V6 - ipv6::HEADER_LEN - icmpv6::HEADER_LEN);
                let kind = icmpv6::DESTINATION_UNREACHABLE;
                let whole =
                    icmpv6::Header::emit(&mut packet, kind, why.code_v6(), [0; 4], source, guest);
                self.link.icmpv6(packet, whole, HOP_LIMIT, source, guest, out)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_bursts_of_50_and_100_a_second() {
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        let mut limiter = Limiter::default();
        let mut count = |now| (0..1000).filter(|_| limiter.allow(now)).count();
        assert_eq!(count(at(0)), 50);
        assert_eq!(count(at(9)), 0);
        assert_eq!(count(at(10)), 1);
        assert_eq!(count(at(110)), 10);
        assert_eq!(count(at(5000)), 50);
    }
}
