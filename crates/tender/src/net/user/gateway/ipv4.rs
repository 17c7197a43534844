//! What the guest says over IPv4.

use std::net::Ipv4Addr;

use mnet_proto::ip::fragment::{Key, Piece};
use mnet_proto::wire::{icmpv4, ipv4, udp};
use netdev::{Instant, Mac};

use super::super::addresses::{GUEST_V4, MAC};
use super::super::drops::Drop;
use super::super::payload::Payload;
use super::super::queue::Queue;
use super::udp::check;
use super::{Action, Gateway};

impl Gateway {
    /// Takes a packet that was sent to this Ethernet address, with what may be behind it in the
    /// frame.
    pub(super) fn ipv4<'f>(
        &mut self,
        now: Instant,
        to: Mac,
        packet: &'f [u8],
        out: &mut Queue,
    ) -> Result<Action<'f>, Drop> {
        let header = ipv4::Header::parse(packet).map_err(|_| Drop::Ipv4Header)?;
        let (header_len, total_len) = (header.header_len(), header.total_len());
        if !ipv4::checksum_is_valid(packet, header_len) {
            return Err(Drop::Ipv4Checksum);
        }
        let (source, destination) = (header.source(), header.destination());
        let packet = packet.get(..total_len).ok_or(Drop::Ipv4Header)?;
        let payload = packet.get(header_len..).ok_or(Drop::Ipv4Header)?;
        // A client of DHCP has no address yet, or one that is none here.
        if header.protocol == ipv4::UDP
            && !header.is_fragment()
            && let Some(udp) = udp::Header::parse(payload)
            && Self::is_for_dhcp_server(destination, udp.destination.get())
        {
            let message = check(source.into(), destination.into(), Payload::Frame(payload))?;
            self.dhcpv4(&message.payload, out)?;
            return Ok(Action::None);
        }
        if to != MAC {
            return Err(Drop::NotForGateway);
        }
        if source != GUEST_V4 {
            return Err(Drop::Source);
        }
        let payload = if header.is_fragment() {
            let key = Key {
                source: source.into(),
                destination: destination.into(),
                protocol: header.protocol,
                identification: header.identification.get().into(),
            };
            let (offset, more) = (header.fragment_offset(), header.more_fragments());
            let (ecn, length) = (header.traffic_class & 3, header_len as u16);
            let piece = Piece { key, offset, more, ecn, header_len: length };
            match self.fragment(now, piece, packet, header_len)? {
                Some(whole) => Payload::Whole(whole.payload),
                None => return Ok(Action::None),
            }
        } else {
            Payload::Frame(payload)
        };
        match header.protocol {
            ipv4::UDP => self.udp(now, source.into(), destination.into(), payload, out),
            ipv4::ICMP => self.icmpv4(destination, &payload, out),
            _ => Err(Drop::Protocol),
        }
    }

    /// Answers a ping.
    fn icmpv4<'f>(
        &mut self,
        destination: Ipv4Addr,
        message: &[u8],
        out: &mut Queue,
    ) -> Result<Action<'f>, Drop> {
        if !self.is_own(destination) {
            return Err(Drop::Destination);
        }
        let icmp = icmpv4::Header::parse(message).ok_or(Drop::Icmp)?;
        if (icmp.kind, icmp.code) != (icmpv4::ECHO_REQUEST, 0) {
            return Err(Drop::Icmp);
        }
        let echo = &message[icmpv4::HEADER_LEN..];
        let mut packet = self.link.packet(echo.len())?;
        packet.append(echo.len()).ok_or(Drop::DatagramTooLong)?.copy_from_slice(echo);
        if !icmpv4::Header::emit(&mut packet, icmpv4::ECHO_REPLY, 0, icmp.rest) {
            return Err(Drop::NotTaken);
        }
        self.link.ip(&mut packet, destination.into(), GUEST_V4.into(), ipv4::ICMP, out)?;
        Ok(Action::None)
    }
}
