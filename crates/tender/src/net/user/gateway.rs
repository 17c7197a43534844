//! The gateway: what the `user` network does with a frame or a datagram. It does no I/O.
//!
//! ```text
//!            frames                                   datagrams
//!  guest ─────────────▶ handle_frame ─────▶ Published: out of the socket of a published port
//!  10.0.2.15                 │        └───▶ Outgoing:  out of the socket of the guest's port
//!            ◀───────────────┘ Reply (ARP, ping)
//!            ◀─────────────── handle_published ◀──── a peer to a published port
//!            ◀─────────────── handle_outgoing  ◀──── an answer to the guest's port
//! ```

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::Duration;

use netdev::{Instant, Mac};
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use super::drops::{Drop, Drops};
use super::flows::{Flows, Peer};
use super::recent::Recent;
use super::wire::checksum::Sum;
use super::wire::{arp, ethernet, icmp, ipv4, udp};

/// Most bytes of IP in a frame.
pub(crate) const MTU: u16 = 1500;
/// The gateway's own address on the network.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Where the guest is.
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// The gateway's Ethernet address.
pub(crate) const MAC: Mac = Mac([0x52, 0x55, 10, 0, 2, 2]);

const ETHERNET: usize = size_of::<ethernet::Header>();
const IPV4: usize = size_of::<ipv4::Header>();
const UDP: usize = size_of::<udp::Header>();
/// Bytes of headers before a payload.
pub(crate) const HEADERS: usize = ETHERNET + IPV4 + UDP;
/// Most bytes of payload in a frame.
pub(crate) const MAX_PAYLOAD: usize = MTU as usize - IPV4 - UDP;
/// Most bytes in a frame.
pub(crate) const MAX_FRAME: usize = ETHERNET + MTU as usize;

/// After so long without a datagram for it, the guest may have forgotten the gateway's address.
const SILENCE: Duration = Duration::from_secs(10);
/// Most peers of published ports at a time.
const MAX_FLOWS: usize = 8192;
/// Most ports of the guest that have a socket on the host at a time.
pub(crate) const MAX_OUTGOING: usize = 256;

/// The state machine of a `user` network.
#[derive(Debug)]
pub(crate) struct Gateway {
    guest: Mac,
    published: Flows,
    outgoing: Recent<NonZeroU16>,
    outgoing_by_port: HashMap<NonZeroU16, u32>,
    /// When a datagram for a published port last went to the guest.
    last_published: Option<Instant>,
    drops: Drops,
}

/// What is to be done with a frame from the guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<'f> {
    /// Nothing more.
    None,
    /// This frame goes to the guest.
    Reply(&'f [u8]),
    /// The payload goes to a peer, from the socket of the published port that it had asked.
    Published {
        /// The peer.
        peer: Peer,
        /// The datagram.
        payload: &'f [u8],
    },
    /// The payload goes to a host, from the socket of the guest's port.
    Outgoing {
        /// The socket, by its index.
        socket: usize,
        /// Whether it is to be opened, in place of what had this index before.
        open: bool,
        /// The host.
        to: SocketAddrV4,
        /// The datagram.
        payload: &'f [u8],
    },
}

impl Gateway {
    /// The gateway of a guest with this address, and with these ports published.
    pub(crate) fn new(guest: Mac, ports: Vec<NonZeroU16>) -> Self {
        Self {
            guest,
            published: Flows::new(ports, MAX_FLOWS),
            outgoing: Recent::new(MAX_OUTGOING),
            outgoing_by_port: HashMap::new(),
            last_published: None,
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
    pub(crate) fn handle_frame<'f>(&mut self, now: Instant, frame: &'f mut [u8]) -> Action<'f> {
        self.frame(now, frame).unwrap_or_else(|drop| {
            self.count(drop);
            Action::None
        })
    }

    fn frame<'f>(&mut self, now: Instant, frame: &'f mut [u8]) -> Result<Action<'f>, Drop> {
        if frame.len() > MAX_FRAME {
            return Err(Drop::FrameTooLong);
        }
        let (header, _) =
            ethernet::Header::ref_from_prefix(frame).map_err(|_| Drop::FrameTooShort)?;
        match header.ethertype.get() {
            ethernet::ARP => self.arp(frame),
            ethernet::IPV4 if header.destination == MAC.0 => self.ipv4(now, frame),
            ethernet::IPV4 => Err(Drop::NotForGateway),
            _ => Err(Drop::EtherType),
        }
    }

    /// Answers who asks for the gateway's address, and for no other.
    fn arp<'f>(&self, frame: &'f mut [u8]) -> Result<Action<'f>, Drop> {
        let (ethernet, rest) =
            ethernet::Header::mut_from_prefix(frame).map_err(|_| Drop::FrameTooShort)?;
        let (arp, _) = arp::Packet::mut_from_prefix(rest).map_err(|_| Drop::Arp)?;
        let asks = arp.is_ipv4_over_ethernet() && arp.operation.get() == arp::REQUEST;
        if !asks || arp.target_protocol != ADDRESS.octets() {
            return Err(Drop::Arp);
        }
        arp.operation = U16::new(arp::REPLY);
        (arp.target_hardware, arp.target_protocol) = (arp.sender_hardware, arp.sender_protocol);
        (arp.sender_hardware, arp.sender_protocol) = (MAC.0, ADDRESS.octets());
        (ethernet.destination, ethernet.source) = (self.guest.0, MAC.0);
        Ok(Action::Reply(&frame[..ETHERNET + size_of::<arp::Packet>()]))
    }

    fn ipv4<'f>(&mut self, now: Instant, frame: &'f mut [u8]) -> Result<Action<'f>, Drop> {
        let packet = &frame[ETHERNET..];
        let (header, _) = ipv4::Header::ref_from_prefix(packet).map_err(|_| Drop::Ipv4Header)?;
        let header_length = usize::from(header.version_and_length & 0x0f) * 4;
        let total_length = usize::from(header.total_length.get());
        if header.version_and_length >> 4 != 4
            || header_length < IPV4
            || total_length < header_length
            || packet.len() < total_length
        {
            return Err(Drop::Ipv4Header);
        }
        if Sum::default().add(&packet[..header_length]).finish() != 0 {
            return Err(Drop::Ipv4Checksum);
        }
        if header.source != GUEST.octets() {
            return Err(Drop::Source);
        }
        if header.flags_and_offset.get() & ipv4::FRAGMENT != 0 {
            return Err(Drop::Fragment);
        }
        let destination = Ipv4Addr::from(header.destination);
        let payload = ETHERNET + header_length..ETHERNET + total_length;
        match header.protocol {
            ipv4::UDP => self.udp(now, destination, &frame[payload]),
            ipv4::ICMP if destination == ADDRESS => self.ping(frame, header_length, total_length),
            ipv4::ICMP => Err(Drop::Destination),
            _ => Err(Drop::Protocol),
        }
    }

    /// Answers a ping.
    fn ping<'f>(
        &self,
        frame: &'f mut [u8],
        header_length: usize,
        total_length: usize,
    ) -> Result<Action<'f>, Drop> {
        // Options are left out of the answer: the headers are written anew, right before the echo.
        let start = header_length - IPV4;
        let frame = &mut frame[start..ETHERNET + total_length];
        let (headers, echo) = frame.split_at_mut(ETHERNET + IPV4);
        let (icmp, _) = icmp::Header::ref_from_prefix(echo).map_err(|_| Drop::Icmp)?;
        if icmp.kind != icmp::ECHO || icmp.code != 0 || Sum::default().add(echo).finish() != 0 {
            return Err(Drop::Icmp);
        }
        // Type and code of a reply are 0, and add nothing to the sum.
        let sum = Sum::default().add(&echo[size_of::<icmp::Header>()..]);
        let checksum = U16::new(sum.finish());
        let icmp = icmp::Header { kind: icmp::ECHO_REPLY, code: 0, checksum };
        echo[..size_of::<icmp::Header>()].copy_from_slice(icmp.as_bytes());
        self.write_headers(headers, ADDRESS, ipv4::ICMP, echo.len());
        Ok(Action::Reply(frame))
    }

    fn udp<'f>(
        &mut self,
        now: Instant,
        destination: Ipv4Addr,
        datagram: &'f [u8],
    ) -> Result<Action<'f>, Drop> {
        let (header, _) = udp::Header::ref_from_prefix(datagram).map_err(|_| Drop::UdpHeader)?;
        let length = header.length.get();
        if usize::from(length) < UDP || usize::from(length) > datagram.len() {
            return Err(Drop::UdpHeader);
        }
        let datagram = &datagram[..usize::from(length)];
        if header.checksum != U16::ZERO {
            let sum = Sum::pseudo_header(GUEST.octets(), destination.octets(), ipv4::UDP, length);
            if sum.add(datagram).finish() != 0 {
                return Err(Drop::UdpChecksum);
            }
        }
        let payload = &datagram[UDP..];
        let source_port = header.source_port.get();
        let port = NonZeroU16::new(header.destination_port.get()).ok_or(Drop::UdpHeader)?;

        if destination == ADDRESS {
            if let Some(peer) = self.published.peer(now, source_port, port) {
                return Ok(Action::Published { peer, payload });
            }
            // A late answer: it must not reach a program on the host that the peer has chosen by
            // its port number.
            if self.published.is_published(source_port) {
                return Err(Drop::NoPeer);
            }
        }
        let to = host_address(destination).ok_or(Drop::Destination)?;
        let source_port = NonZeroU16::new(source_port).ok_or(Drop::UdpHeader)?;
        let (socket, open) = self.socket(now, source_port).ok_or(Drop::TooManyPorts)?;
        let to = SocketAddrV4::new(to, port.get());
        Ok(Action::Outgoing { socket: socket as usize, open, to, payload })
    }

    /// The socket of a port of the guest, and whether it is new.
    fn socket(&mut self, now: Instant, port: NonZeroU16) -> Option<(u32, bool)> {
        if let Some(&socket) = self.outgoing_by_port.get(&port) {
            self.outgoing.touch(socket, now);
            return Some((socket, false));
        }
        if let Some(leaving) = self.outgoing.leaving(now) {
            self.close(leaving as usize);
        }
        let socket = self.outgoing.insert(now, port)?;
        self.outgoing_by_port.insert(port, socket);
        Some((socket, true))
    }

    /// Forgets a socket that could not be opened.
    pub(crate) fn close(&mut self, socket: usize) {
        if let Some(port) = self.outgoing.remove(socket as u32) {
            self.outgoing_by_port.remove(&port);
        }
    }

    /// Asks the guest for its address, as a router does before it delivers: so the guest learns the
    /// gateway's (RFC 826), and need not ask for it while a burst of answers waits.
    ///
    /// To be called before [`Gateway::handle_published`]; gives the length of a frame for the
    /// guest in `buffer`, if it is time for one.
    pub(crate) fn poll_introduce(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        let last = self.last_published.replace(now);
        if last.is_some_and(|last| now - last < SILENCE) {
            return None;
        }
        let (ethernet, rest) = ethernet::Header::mut_from_prefix(buffer).ok()?;
        let (arp, _) = arp::Packet::mut_from_prefix(rest).ok()?;
        *ethernet = ethernet::Header {
            destination: self.guest.0,
            source: MAC.0,
            ethertype: U16::new(ethernet::ARP),
        };
        *arp = arp::Packet {
            operation: U16::new(arp::REQUEST),
            sender_hardware: MAC.0,
            sender_protocol: ADDRESS.octets(),
            target_hardware: [0; 6],
            target_protocol: GUEST.octets(),
            ..arp::Packet::IPV4_OVER_ETHERNET
        };
        Some(ETHERNET + size_of::<arp::Packet>())
    }

    /// Takes a datagram that came to a published port. Its payload stands in `buffer` behind
    /// [`HEADERS`] bytes; what comes back is the frame for the guest.
    pub(crate) fn handle_published<'b>(
        &mut self,
        now: Instant,
        peer: Peer,
        buffer: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        if peer.address.port() == 0 {
            // It wants no answer (RFC 768), and port 0 could not be given one.
            self.count(Drop::UdpHeader);
            return None;
        }
        let Some((source, destination)) = self.published.admit(now, peer) else {
            self.count(Drop::TooManyPeers);
            return None;
        };
        self.datagram(ADDRESS, source.get(), destination.get(), buffer)
    }

    /// Takes a datagram that came to the socket of a port of the guest; as
    /// [`Gateway::handle_published`].
    pub(crate) fn handle_outgoing<'b>(
        &mut self,
        socket: usize,
        from: SocketAddrV4,
        buffer: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        let &port = self.outgoing.get(socket as u32)?;
        let Some(source) = guest_address(*from.ip()) else {
            self.count(Drop::Destination);
            return None;
        };
        self.datagram(source, from.port(), port.get(), buffer)
    }

    fn datagram<'b>(
        &mut self,
        source: Ipv4Addr,
        source_port: u16,
        destination_port: u16,
        buffer: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        let Some(payload) = buffer.len().checked_sub(HEADERS).filter(|&n| n <= MAX_PAYLOAD) else {
            self.count(Drop::DatagramTooLong);
            return None;
        };
        let (headers, datagram) = buffer.split_at_mut(ETHERNET + IPV4);
        let length = (UDP + payload) as u16;
        let mut header = udp::Header {
            source_port: U16::new(source_port),
            destination_port: U16::new(destination_port),
            length: U16::new(length),
            checksum: U16::ZERO,
        };
        let sum = Sum::pseudo_header(source.octets(), GUEST.octets(), ipv4::UDP, length)
            .add(header.as_bytes())
            .add(&datagram[UDP..]);
        // 0 would say that there is none.
        header.checksum = U16::new(match sum.finish() {
            0 => 0xffff,
            checksum => checksum,
        });
        datagram[..UDP].copy_from_slice(header.as_bytes());
        self.write_headers(headers, source, ipv4::UDP, usize::from(length));
        Some(buffer)
    }

    /// Writes the Ethernet and IPv4 headers of a frame to the guest.
    fn write_headers(&self, headers: &mut [u8], source: Ipv4Addr, protocol: u8, payload: usize) {
        let ethernet = ethernet::Header {
            destination: self.guest.0,
            source: MAC.0,
            ethertype: U16::new(ethernet::IPV4),
        };
        let mut ip = ipv4::Header {
            version_and_length: 0x45,
            traffic_class: 0,
            total_length: U16::new((IPV4 + payload) as u16),
            // Without fragments there is nothing to identify (RFC 6864).
            identification: U16::ZERO,
            flags_and_offset: U16::new(ipv4::DONT_FRAGMENT),
            time_to_live: 64,
            protocol,
            checksum: U16::ZERO,
            source: source.octets(),
            destination: GUEST.octets(),
        };
        ip.checksum = U16::new(Sum::default().add(ip.as_bytes()).finish());
        headers[..ETHERNET].copy_from_slice(ethernet.as_bytes());
        headers[ETHERNET..].copy_from_slice(ip.as_bytes());
    }

    /// Forgets peers and ports that have been idle for too long. `closed` gets the index of each
    /// socket that is not needed any more. To be called at [`Gateway::poll_timeout`]; spurious
    /// calls do nothing.
    pub(crate) fn handle_timeout(&mut self, now: Instant, mut closed: impl FnMut(usize)) {
        self.published.expire(now);
        while let Some(expired) = self.outgoing.expired(now) {
            self.close(expired as usize);
            closed(expired as usize);
        }
    }

    /// When [`Gateway::handle_timeout`] next has something to do. Any other call may change it.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.published.expiry(), self.outgoing.expiry()].into_iter().flatten().min()
    }
}

/// Where a datagram of the guest really goes; `None` if it may not go there.
///
/// The gateway's address stands for the host itself, at its loopback address. No other loopback
/// address can be reached, nor what is only on the host's links: multicast, broadcast, link-local.
fn host_address(destination: Ipv4Addr) -> Option<Ipv4Addr> {
    if destination == ADDRESS {
        return Some(Ipv4Addr::LOCALHOST);
    }
    let [a, b, c, _] = destination.octets();
    let forbidden = destination.is_loopback()
        || destination.is_link_local()
        || a == 0
        || a >= 224
        || [a, b, c] == [10, 0, 2];
    (!forbidden).then_some(destination)
}

/// The reverse of [`host_address`]: who the guest sees.
fn guest_address(source: Ipv4Addr) -> Option<Ipv4Addr> {
    if source == Ipv4Addr::LOCALHOST {
        return Some(ADDRESS);
    }
    host_address(source).filter(|&source| source != Ipv4Addr::LOCALHOST)
}

#[cfg(test)]
mod tests;
