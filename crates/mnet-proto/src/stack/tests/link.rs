//! Cards of all kinds, and IPv4 frames made by hand: what no library would send can come all the
//! same.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use netdev::{Checksums, Device, Gone, HEADROOM, Received};

use super::*;

/// A card of any MTU, which may do checksums.
pub(super) struct Card {
    pub(super) mtu: u16,
    pub(super) checksums: Checksums,
}

impl Default for Card {
    fn default() -> Self {
        Self { mtu: 1_500, checksums: Checksums::default() }
    }
}

impl Device for Card {
    fn mac(&self) -> Mac {
        HOST_MAC
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn checksums(&self) -> Checksums {
        self.checksums
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

impl Card {
    pub(super) fn with_mtu(mtu: u16) -> Self {
        Self { mtu, ..Self::default() }
    }

    /// A host of IPv4 alone on this card, which nothing has happened to yet.
    pub(super) fn fresh(self, change: impl FnOnce(&mut Config)) -> Scene {
        let pool = Pool::new(512, HEADROOM + 14 + usize::from(self.mtu));
        let mut config = Config::new(crate::Ipv4Cidr::new(HOST, 24).unwrap());
        config.ipv6.enabled = false;
        change(&mut config);
        let now = Instant::from_nanos(1_000_000_000_000);
        let stack = Stack::new(&config, &self, pool.clone(), now, [7; 32]).unwrap();
        Scene { stack, pool, now }
    }

    /// The same, whose address is its own, and who knows its peer.
    pub(super) fn host(self, change: impl FnOnce(&mut Config)) -> Scene {
        let mut scene = self.fresh(change);
        scene.drive(Duration::from_secs(20));
        scene.receive(&arp(REQUEST, (PEER_MAC, PEER), HOST));
        scene.sent();
        while scene.stack.poll_event().is_some() {}
        scene
    }
}

/// A host, its peer by, and its gateway the peer.
pub(super) fn behind_gateway() -> Scene {
    Card::default().host(|config| {
        let addresses = vec![crate::Ipv4Cidr::new(HOST, 24).unwrap()];
        config.ipv4 = Ipv4Config::Static { addresses, gateway: Some(PEER) };
    })
}

/// An IPv4 datagram in a frame, any field of which may be what it should not.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) to: Mac,
    pub(super) from: Mac,
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    pub(super) tos: u8,
    pub(super) ttl: u8,
    pub(super) id: u16,
    /// Bytes.
    pub(super) offset: usize,
    pub(super) more: bool,
    pub(super) dont_fragment: bool,
    pub(super) protocol: u8,
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// From the peer to the host.
    pub(super) fn new(protocol: u8, payload: &[u8]) -> Self {
        Self {
            to: HOST_MAC,
            from: PEER_MAC,
            source: PEER,
            destination: HOST,
            tos: 0,
            ttl: 64,
            id: 1,
            offset: 0,
            more: false,
            dont_fragment: false,
            protocol,
            options: Vec::new(),
            payload: payload.into(),
        }
    }

    /// A UDP datagram from the peer's port 5000 to the host's port 7.
    pub(super) fn udp(payload: &[u8]) -> Self {
        Self::new(17, &udp_bytes((PEER, 5_000), (HOST, 7), payload))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut header = vec![0x40 | (5 + self.options.len() as u8 / 4), self.tos];
        let length = 20 + self.options.len() + self.payload.len();
        header.extend((length as u16).to_be_bytes());
        header.extend(self.id.to_be_bytes());
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more) << 13;
        header.extend((flags | (self.offset / 8) as u16).to_be_bytes());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(self.source.octets());
        header.extend(self.destination.octets());
        header.extend(&self.options);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum);
        [&self.to.0[..], &self.from.0, &[8, 0], &header, &self.payload].concat()
    }

    /// The same in pieces of `size` bytes.
    pub(super) fn pieces(&self, size: usize) -> Vec<Self> {
        let count = self.payload.len().div_ceil(size);
        let piece = |(at, bytes): (usize, &[u8])| Self {
            offset: at * size,
            more: at + 1 < count,
            payload: bytes.into(),
            ..self.clone()
        };
        self.payload.chunks(size).enumerate().map(piece).collect()
    }
}

/// The Internet checksum of these, each but the last an even number of bytes long.
pub(super) fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut bytes = parts.concat();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1]));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// A UDP datagram with its checksum.
pub(super) fn udp_bytes(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = ((8 + payload.len()) as u16).to_be_bytes();
    let ports = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    let pseudo = [&from.0.octets()[..], &to.0.octets(), &[0, 17], &length].concat();
    let sum = match checksum(&[&pseudo, &ports, &length, &[0, 0], payload]) {
        [0, 0] => [0xff, 0xff],
        sum => sum,
    };
    [&ports[..], &length, &sum, payload].concat()
}

/// An ICMP or IGMP message with its checksum.
pub(super) fn message(kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let sum = checksum(&[&[kind, code, 0, 0], rest]);
    [&[kind, code], &sum[..], rest].concat()
}

/// An IPv4 datagram as it was seen on the wire.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) to: Mac,
    pub(super) header: etherparse::Ipv4Header,
    pub(super) payload: Vec<u8>,
}

impl Seen {
    /// What a frame holds, if that is IPv4. Its checksum is right, and there is no more in it.
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        if frame[12..14] != [8, 0] {
            return None;
        }
        assert_eq!(frame[6..12], HOST_MAC.0);
        let (header, payload) = etherparse::Ipv4Header::from_slice(&frame[14..]).unwrap();
        assert_eq!(header.calc_header_checksum(), header.header_checksum);
        assert_eq!(usize::from(header.total_len), frame.len() - 14);
        let to = Mac(frame[..6].try_into().unwrap());
        Some(Self { to, header, payload: payload.into() })
    }

    pub(super) fn source(&self) -> Ipv4Addr {
        self.header.source.into()
    }

    pub(super) fn destination(&self) -> Ipv4Addr {
        self.header.destination.into()
    }

    /// Type, code and the other four bytes of an ICMP message's header, and what is behind it.
    pub(super) fn icmp(&self) -> (u8, u8, [u8; 4], &[u8]) {
        assert_eq!(self.header.protocol.0, 1);
        assert_eq!(checksum(&[&self.payload]), [0, 0]);
        let rest = self.payload[4..8].try_into().unwrap();
        (self.payload[0], self.payload[1], rest, &self.payload[8..])
    }

    /// The payload of a UDP datagram, whose checksum is right.
    pub(super) fn udp(&self) -> &[u8] {
        assert_eq!(self.header.protocol.0, 17);
        assert_ne!(self.payload[6..8], [0, 0]);
        let length = (self.payload.len() as u16).to_be_bytes();
        assert_eq!(self.payload[4..6], length);
        let addresses = [self.header.source, self.header.destination].concat();
        assert_eq!(checksum(&[&addresses, &[0, 17], &length, &self.payload]), [0, 0]);
        &self.payload[8..]
    }

    /// The frame in which an ICMP message about this datagram comes from a router.
    pub(super) fn error(&self, router: Ipv4Addr, kind: u8, code: u8, rest: [u8; 4]) -> Frame {
        let quoted = &self.payload[..self.payload.len().min(8)];
        let body = [&rest[..], &self.header.to_bytes(), quoted].concat();
        let mut frame = Frame::new(1, &message(kind, code, &body));
        frame.source = router;
        frame.destination = self.source();
        frame
    }
}

/// What was sent in pieces, whole again, and how long each piece's datagram was. All but the last
/// are of whole 8 bytes, none may be fragmented less than it is, and all are one datagram's.
pub(super) fn whole(pieces: &[Seen]) -> (Seen, Vec<u16>) {
    let first = &pieces[0];
    let mut payload = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let last = at + 1 == pieces.len();
        assert_eq!(usize::from(piece.header.fragment_offset.value()) * 8, payload.len());
        assert_eq!(piece.header.more_fragments, !last);
        assert!(!piece.header.dont_fragment);
        assert_eq!(piece.header.identification, first.header.identification);
        assert_eq!((piece.source(), piece.destination()), (first.source(), first.destination()));
        assert_eq!(piece.to, first.to);
        assert!(last || piece.payload.len() % 8 == 0);
        payload.extend(&piece.payload);
    }
    let lengths = pieces.iter().map(|piece| piece.header.total_len).collect();
    (Seen { payload, ..first.clone() }, lengths)
}

impl Scene {
    /// The IPv4 datagrams that wait for the card, and nothing else does.
    pub(super) fn sent_v4(&mut self) -> Vec<Seen> {
        let frames = self.sent();
        frames.iter().map(|frame| Seen::read(frame).expect("IPv4")).collect()
    }

    /// Sends from a socket's port, with options, whatever the length.
    pub(super) fn send_v4(
        &mut self,
        port: u16,
        to: (Ipv4Addr, u16),
        payload: &[u8],
        options: &Options,
    ) -> Result<(), SendError> {
        let mut packet = self.pool.take_sized(payload.len()).unwrap();
        packet.append(payload.len()).unwrap().copy_from_slice(payload);
        let to = Destination { options: *options, ..to.into() };
        self.stack.udp_send(self.now, port.into(), to, packet)
    }

    /// The payloads that a socket has to read.
    pub(super) fn read(&mut self, socket: SocketId) -> Vec<Vec<u8>> {
        let datagrams = std::iter::from_fn(|| self.stack.udp_mut().receive(socket));
        datagrams.map(|datagram| datagram.payload().to_vec()).collect()
    }

    /// What was dropped since the stack was made.
    pub(super) fn dropped(&self) -> Vec<(Drop, u64)> {
        self.stack.stats().dropped.iter().collect()
    }

    /// Whether an exchange with the peer on port 7 goes on: nothing is asked, nothing is lost.
    pub(super) fn converses(&mut self, socket: SocketId) {
        self.receive(&Frame::udp(b"still here?").bytes());
        assert_eq!(self.read(socket), [b"still here?"]);
        self.send_v4(7, (PEER, 5_000), b"yes", &Options::default()).unwrap();
        let sent = self.sent_v4();
        let [answer] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((answer.to, answer.udp()), (PEER_MAC, &b"yes"[..]));
    }
}

/// Bytes of which no two neighbours are alike.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}
