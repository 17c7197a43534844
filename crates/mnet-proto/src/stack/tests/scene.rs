//! A stack on a card that goes nowhere, and frames for it.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use etherparse::{
    Icmpv4Header, Icmpv4Type, IpNumber, Ipv4Header, PacketBuilder, SlicedPacket, TransportSlice,
};
use netdev::{Device, Gone, HEADROOM, Mac, Received};

use super::peer::Peer;
use super::*;
use crate::wire::arp::Arp;

pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const HOST_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
pub(super) const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

struct Card;

impl Device for Card {
    fn mac(&self) -> Mac {
        HOST_MAC
    }

    fn mtu(&self) -> u16 {
        1_500
    }

    fn receive(&mut self, _: &Pool, _: usize, _: &mut dyn FnMut(Packet)) -> Result<Received, Gone> {
        Err(Gone)
    }

    fn transmit(&mut self, _: &mut VecDeque<Packet>) -> Result<(), Gone> {
        Err(Gone)
    }

    fn poll_receive(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn poll_transmit(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

pub(super) struct Scene {
    pub(super) stack: Stack,
    pub(super) pool: Pool,
    pub(super) now: Instant,
}

/// A datagram as it was seen on the wire.
pub(super) struct Seen {
    pub(super) to: Mac,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) payload: Vec<u8>,
}

impl Scene {
    pub(super) fn new() -> Self {
        let pool = Pool::new(512, HEADROOM + 14 + 1_500);
        Self::build(pool, |_| ())
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let pool = Pool::new(512, HEADROOM + 14 + 1_500);
        Self::build(pool, change)
    }

    fn build(pool: Pool, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(crate::Ipv4Cidr::new(HOST, 24).unwrap());
        config.ipv6.enabled = false;
        change(&mut config);
        let now = Instant::from_nanos(1_000_000_000_000);
        let stack = Stack::new(&config, &Card, pool.clone(), now, [7; 32]).unwrap();
        let mut scene = Self { stack, pool, now };
        // Until its addresses are its own.
        scene.drive(Duration::from_secs(20));
        scene.sent();
        while scene.stack.poll_event().is_some() {}
        scene
    }

    /// Puts a new stack in the place of the old one, at its very start.
    pub(super) fn restart(&mut self, config: &Config) {
        self.stack = Stack::new(config, &Card, self.pool.clone(), self.now, [9; 32]).unwrap();
    }

    /// Lets time pass from timer to timer.
    pub(super) fn drive(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.stack.poll_timeout().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            self.stack.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// One that knows its peer already.
    pub(super) fn with_neighbor() -> Self {
        let mut scene = Self::new();
        scene.receive(&arp(REQUEST, (PEER_MAC, PEER), HOST));
        scene.sent();
        scene
    }

    pub(super) fn receive(&mut self, frame: &[u8]) {
        let mut packet = self.pool.take_for_receive().unwrap();
        packet.append(frame.len()).unwrap().copy_from_slice(frame);
        self.stack.handle_frame(self.now, packet);
    }

    pub(super) fn send(
        &mut self,
        from: Local,
        to: SocketAddr,
        packet: Packet,
    ) -> Result<(), SendError> {
        self.stack.udp_send(self.now, from, to, packet)
    }

    pub(super) fn send_bytes(
        &mut self,
        from_port: u16,
        to: SocketAddr,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let mut packet = self.pool.take_sized(payload.len()).unwrap();
        packet.append(payload.len()).unwrap().copy_from_slice(payload);
        self.send(from_port.into(), to, packet)
    }

    /// Every frame that waits for the card.
    pub(super) fn sent(&mut self) -> Vec<Vec<u8>> {
        self.stack.outgoing().drain(..).map(|packet| packet.bytes().to_vec()).collect()
    }

    /// The next frame that waits for the card: a UDP datagram with right checksums.
    pub(super) fn sent_udp(&mut self) -> Seen {
        let frame = self.stack.outgoing().pop_front().expect("a frame").bytes().to_vec();
        let ip = icmpv4_header(&frame);
        assert_eq!(ip.calc_header_checksum(), ip.header_checksum);
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
        let header = udp.to_header();
        let checksum = header.calc_checksum_ipv4(&ip, udp.payload()).unwrap();
        assert_eq!(udp.checksum(), checksum);
        Seen {
            to: Mac(frame[..6].try_into().unwrap()),
            source: (Ipv4Addr::from(ip.source), udp.source_port()).into(),
            destination: (Ipv4Addr::from(ip.destination), udp.destination_port()).into(),
            payload: udp.payload().to_vec(),
        }
    }

    /// Carries frames between the stack and its peer until neither has any.
    pub(super) fn exchange(&mut self, peer: &mut Peer) {
        loop {
            let to_peer = self.sent();
            let to_us = peer.exchange(to_peer.clone());
            to_us.iter().for_each(|frame| self.receive(frame));
            if to_peer.is_empty() && to_us.is_empty() {
                return;
            }
        }
    }
}

/// A UDP datagram for the host's port 7, or with one thing changed.
pub(super) struct UdpFrame {
    macs: (Mac, Mac),
    ip: Ipv4Header,
    ports: (u16, u16),
    payload: Vec<u8>,
    no_checksum: bool,
    udp_length: Option<u16>,
}

pub(super) fn udp(payload: &[u8]) -> UdpFrame {
    let mut ip = Ipv4Header::new(0, 64, IpNumber::UDP, PEER.octets(), HOST.octets()).unwrap();
    ip.dont_fragment = true;
    let (macs, ports) = ((PEER_MAC, HOST_MAC), (5_000, 7));
    UdpFrame { macs, ip, ports, payload: payload.into(), no_checksum: false, udp_length: None }
}

impl UdpFrame {
    pub(super) fn source(mut self, from: u16, to: u16) -> Self {
        self.ports = (from, to);
        self
    }

    pub(super) fn from(mut self, address: &str) -> Self {
        self.ip.source = address.parse::<Ipv4Addr>().unwrap().octets();
        self
    }

    pub(super) fn to(mut self, address: &str) -> Self {
        self.ip.destination = address.parse::<Ipv4Addr>().unwrap().octets();
        self
    }

    pub(super) fn sender_mac(mut self, mac: Mac) -> Self {
        self.macs.0 = mac;
        self
    }

    pub(super) fn target_mac(mut self, mac: Mac) -> Self {
        self.macs.1 = mac;
        self
    }

    pub(super) fn protocol(mut self, number: u8) -> Self {
        self.ip.protocol = IpNumber(number);
        self
    }

    pub(super) fn options(mut self, options: &[u8]) -> Self {
        self.ip.options = options.try_into().unwrap();
        self
    }

    pub(super) fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.ip.fragment_offset = (offset / 8).try_into().unwrap();
        self.ip.more_fragments = more;
        self
    }

    pub(super) fn no_checksum(mut self) -> Self {
        self.no_checksum = true;
        self
    }

    pub(super) fn udp_length(mut self, length: u16) -> Self {
        self.udp_length = Some(length);
        self
    }

    pub(super) fn frame(mut self) -> Vec<u8> {
        let mut udp = etherparse::UdpHeader {
            source_port: self.ports.0,
            destination_port: self.ports.1,
            length: 8 + self.payload.len() as u16,
            checksum: 0,
        };
        if !self.no_checksum {
            udp.checksum = udp.calc_checksum_ipv4(&self.ip, &self.payload).unwrap();
        }
        udp.length = self.udp_length.unwrap_or(udp.length);
        self.ip.set_payload_len(8 + self.payload.len()).unwrap();
        self.ip.header_checksum = self.ip.calc_header_checksum();
        let mut frame = [self.macs.1.0, self.macs.0.0].concat();
        frame.extend([0x08, 0x00]);
        self.ip.write(&mut frame).unwrap();
        frame.extend(udp.to_bytes());
        frame.extend(self.payload);
        frame
    }
}

/// An ICMP message for the host.
pub(super) fn icmp(kind: Icmpv4Type, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(PEER_MAC.0, HOST_MAC.0)
        .ipv4(PEER.octets(), HOST.octets(), 64)
        .icmpv4(kind);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    assert!(Icmpv4Header::from_slice(&frame[34..]).is_ok());
    frame
}

/// Sends an IP datagram without options to another address.
pub(super) fn readdress(frame: &mut [u8], to: Ipv4Addr) {
    let mut header = icmpv4_header(frame);
    header.destination = to.octets();
    header.header_checksum = header.calc_header_checksum();
    frame[14..34].copy_from_slice(&header.to_bytes());
}

/// An ARP packet as the sender would broadcast it.
pub(super) fn arp(opcode: u16, sender: (Mac, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let mut packet = Pool::new(1, 200).take().unwrap();
    assert!(Arp::new(opcode, sender, (Mac::default(), target)).emit(&mut packet));
    [&[0xff; 6], &sender.0.0[..], &[0x08, 0x06], packet.bytes()]
        .concat()
        .into_iter()
        .enumerate()
        // A group cannot send: the frame is somebody's all the same.
        .map(|(at, byte)| if at == 6 && sender.0.is_group() { 0x02 } else { byte })
        .collect()
}
