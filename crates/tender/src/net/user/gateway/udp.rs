//! What the guest sends in datagrams, over either family.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use mnet_proto::wire::{ipv4, udp};
use netdev::Instant;

use super::super::addresses;
use super::super::drops::Drop;
use super::super::flows::Way;
use super::super::link::pseudo_header;
use super::super::nameserver;
use super::super::outgoing::Purpose;
use super::super::payload::Payload;
use super::super::queue::Queue;
use super::{Action, Gateway, Unreachable};

impl Gateway {
    /// Takes a datagram, with what may be behind it in the packet.
    pub(super) fn udp<'f>(
        &mut self,
        now: Instant,
        source: IpAddr,
        destination: IpAddr,
        datagram: Payload<'f>,
        out: &mut Queue,
    ) -> Result<Action<'f>, Drop> {
        let Checked { source_port, port, payload } = check(source, destination, datagram)?;

        if destination == addresses::gateway(destination) {
            let ipv6 = destination.is_ipv6();
            let way = Way { ipv6, guest: source_port, gateway: port };
            if let Some(peer) = self.published.peer(now, way) {
                return Ok(Action::Published { peer, payload });
            }
            // A late answer: it must not reach a program on the host that the peer has chosen by
            // its port number.
            if self.published.is_published(source_port) {
                return Err(Drop::NoPeer);
            }
        }
        let asks_nameserver =
            destination == addresses::nameserver(destination) && port.get() == nameserver::PORT;
        let nameserver = self.nameserver.filter(|_| asks_nameserver);
        let guest = SocketAddr::new(source, source_port.get());
        let host = match addresses::to_host(destination) {
            _ if nameserver.is_some() => nameserver,
            Some(host) => Some(SocketAddr::new(host, port.get())),
            None => None,
        };
        let Some(to) = host else {
            // There is nobody to answer for a group (RFC 1122 §3.2.2, RFC 4443 §2.4 e).
            if !addresses::is_group(destination) {
                let why = match self.is_own(destination) {
                    true => Unreachable::Port,
                    false => Unreachable::Prohibited,
                };
                let sent = (guest, SocketAddr::new(destination, port.get()));
                self.unreachable(now, sent, why, &payload, out);
            }
            return Err(Drop::Destination);
        };
        let purpose = Purpose { guest, nameserver: nameserver.is_some() };
        let (socket, open) = self.outgoing.admit(now, purpose).ok_or(Drop::TooManyPorts)?;
        Ok(Action::Outgoing { socket, open, to, payload })
    }
}

/// A datagram that is as it should be.
pub(super) struct Checked<'f> {
    source_port: NonZeroU16,
    port: NonZeroU16,
    pub(super) payload: Payload<'f>,
}

/// Checks a datagram.
pub(super) fn check(
    source: IpAddr,
    destination: IpAddr,
    datagram: Payload<'_>,
) -> Result<Checked<'_>, Drop> {
    let header = *udp::Header::parse(&datagram).ok_or(Drop::UdpHeader)?;
    let bytes = datagram.get(..header.len()).ok_or(Drop::UdpHeader)?;
    // Only over IPv4 may there be none (RFC 8200 §8.1).
    if header.has_checksum() || source.is_ipv6() {
        let sum = pseudo_header(source, destination, ipv4::UDP, header.len() as u16);
        if !sum.add_bytes(bytes).is_valid() {
            return Err(Drop::UdpChecksum);
        }
    }
    Ok(Checked {
        source_port: NonZeroU16::new(header.source.get()).ok_or(Drop::UdpHeader)?,
        port: NonZeroU16::new(header.destination.get()).ok_or(Drop::UdpHeader)?,
        payload: datagram.part(udp::HEADER_LEN..header.len()).ok_or(Drop::UdpHeader)?,
    })
}
