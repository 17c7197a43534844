//! IPv6 frames, made and read byte by byte.

use std::net::Ipv6Addr;

use netdev::Mac;

use super::scene::{HOST_MAC, PEER_MAC};
use super::*;
use crate::config::InterfaceId;

pub(super) const UDP: u8 = 17;
pub(super) const FRAGMENT: u8 = 44;
pub(super) const ICMP6: u8 = 58;
pub(super) const NOBODY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
pub(super) const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x99]);

pub(super) fn a(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// The host's configured address.
pub(super) fn host() -> Ipv6Addr {
    a("2001:db8::2")
}

/// The host's address for the link alone.
pub(super) fn host_local() -> Ipv6Addr {
    a("fe80::ff:fe00:2")
}

pub(super) fn peer() -> Ipv6Addr {
    a("2001:db8::1")
}

pub(super) fn router() -> Ipv6Addr {
    a("fe80::99")
}

pub(super) fn solicited(address: Ipv6Addr) -> Ipv6Addr {
    let [.., x, y] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | x & 0xff, y)
}

fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., c, d, e, f] = group.octets();
    Mac([0x33, 0x33, c, d, e, f])
}

/// A host of IPv6 alone, some time after its start.
pub(super) fn scene() -> Scene {
    scene_with(|_| ())
}

pub(super) fn scene_with(change: impl FnOnce(&mut Config)) -> Scene {
    Scene::with(|config| {
        config.ipv4 = Ipv4Config::Off;
        config.ipv6.enabled = true;
        config.ipv6.addresses = vec!["2001:db8::2/64".parse().unwrap()];
        config.ipv6.interface_id = InterfaceId::Eui64;
        change(config);
    })
}

/// One whose peer is known to it.
pub(super) fn scene_with_neighbor() -> Scene {
    let mut scene = scene();
    scene.meet(peer(), PEER_MAC);
    scene
}

/// A datagram for the host, or with something changed.
#[derive(Clone)]
pub(super) struct Datagram6 {
    pub(super) macs: (Mac, Option<Mac>),
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) hop_limit: u8,
    headers: Vec<(u8, Vec<u8>)>,
    next: u8,
    pub(super) payload: Vec<u8>,
    checksum_at: Option<usize>,
}

pub(super) fn raw(next: u8, payload: &[u8]) -> Datagram6 {
    Datagram6 {
        macs: (PEER_MAC, None),
        source: peer(),
        destination: host(),
        hop_limit: 64,
        headers: Vec::new(),
        next,
        payload: payload.into(),
        checksum_at: None,
    }
}

pub(super) fn icmp6(kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Datagram6 {
    let message = [&[kind, code, 0, 0][..], &rest, body].concat();
    Datagram6 { checksum_at: Some(2), ..raw(ICMP6, &message) }
}

pub(super) fn echo(payload: &[u8]) -> Datagram6 {
    icmp6(128, 0, [0x12, 0x34, 0, 1], payload)
}

pub(super) fn udp6(payload: &[u8]) -> Datagram6 {
    let length = (8 + payload.len() as u16).to_be_bytes();
    let datagram = [&5000u16.to_be_bytes()[..], &[0, 7], &length, &[0, 0], payload].concat();
    Datagram6 { checksum_at: Some(6), ..raw(UDP, &datagram) }
}

/// What a fragment header says; its first byte is written later.
pub(super) fn fragment_header(offset: usize, more: bool, id: u32) -> Vec<u8> {
    let offset = (offset as u16 | u16::from(more)).to_be_bytes();
    [&[0, 0][..], &offset, &id.to_be_bytes()].concat()
}

impl Datagram6 {
    pub(super) fn from(mut self, source: Ipv6Addr) -> Self {
        self.source = source;
        self
    }

    pub(super) fn to(mut self, destination: Ipv6Addr) -> Self {
        self.destination = destination;
        self
    }

    pub(super) fn hops(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    pub(super) fn sender_mac(mut self, mac: Mac) -> Self {
        self.macs.0 = mac;
        self
    }

    pub(super) fn in_frame_to(mut self, mac: Mac) -> Self {
        self.macs.1 = Some(mac);
        self
    }

    /// An extension header of this type in front of the payload; its first byte is written later.
    pub(super) fn header(mut self, kind: u8, bytes: &[u8]) -> Self {
        assert!(bytes.len().is_multiple_of(8));
        self.headers.push((kind, bytes.into()));
        self
    }

    pub(super) fn no_checksum(mut self) -> Self {
        self.checksum_at = None;
        self
    }

    fn check(&mut self) {
        if let Some(at) = self.checksum_at.take() {
            let sum = checksum(self.source, self.destination, self.next, &self.payload);
            let sum = if self.next == UDP && sum == 0 { 0xffff } else { sum };
            self.payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
    }

    pub(super) fn frame(mut self) -> Vec<u8> {
        self.check();
        let mut behind = Vec::new();
        let mut nexts: Vec<u8> = self.headers.iter().map(|(kind, _)| *kind).collect();
        nexts.push(self.next);
        for (at, (_, bytes)) in self.headers.iter().enumerate() {
            behind.push(nexts[at + 1]);
            behind.extend(&bytes[1..]);
        }
        behind.extend(&self.payload);
        let group = self.destination.is_multicast().then(|| group_mac(self.destination));
        let to = self.macs.1.or(group).unwrap_or(HOST_MAC);
        let mut frame = [to.0, self.macs.0.0].concat();
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((behind.len() as u16).to_be_bytes());
        frame.extend([nexts[0], self.hop_limit]);
        frame.extend(self.source.octets());
        frame.extend(self.destination.octets());
        frame.extend(behind);
        frame
    }

    /// The same in fragments that end at these offsets, the last of them at its end.
    pub(super) fn fragments(mut self, id: u32, ends: &[usize]) -> Vec<Vec<u8>> {
        self.check();
        let mut start = 0;
        let mut frames = Vec::new();
        for &end in ends {
            let end = end.min(self.payload.len());
            let mut piece = self.clone();
            piece.payload = self.payload[start..end].to_vec();
            let more = end < self.payload.len();
            frames.push(piece.header(FRAGMENT, &fragment_header(start, more, id)).frame());
            start = end;
        }
        frames
    }
}

pub(super) fn checksum(source: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> u16 {
    let mut bytes = [source.octets(), to.octets()].concat();
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, next]);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A datagram of IPv6 as it was seen on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen6 {
    pub(super) to: Mac,
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) hop_limit: u8,
    pub(super) next: u8,
    pub(super) payload: Vec<u8>,
    /// What hop-by-hop options there were in front of it.
    pub(super) hop_by_hop: Option<Vec<u8>>,
}

impl Seen6 {
    pub(super) fn parse(frame: &[u8]) -> Self {
        assert_eq!((&frame[12..14], frame[14] >> 4), (&[0x86, 0xdd][..], 6), "{frame:02x?}");
        let ip = &frame[14..];
        assert_eq!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), ip.len() - 40);
        let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&ip[at..at + 16]).unwrap());
        let mut seen = Self {
            to: Mac(frame[..6].try_into().unwrap()),
            source: address(8),
            destination: address(24),
            hop_limit: ip[7],
            next: ip[6],
            payload: ip[40..].to_vec(),
            hop_by_hop: None,
        };
        if seen.next == 0 {
            let rest = seen.payload.split_off(8 + usize::from(seen.payload[1]) * 8);
            seen.next = seen.payload[0];
            seen.hop_by_hop = Some(std::mem::replace(&mut seen.payload, rest));
        }
        if [ICMP6, UDP].contains(&seen.next) {
            assert_eq!(checksum(seen.source, seen.destination, seen.next, &seen.payload), 0);
        }
        if seen.destination.is_multicast() {
            assert_eq!(seen.to, group_mac(seen.destination));
        }
        seen
    }

    /// Type and code, if it is ICMPv6.
    pub(super) fn kind(&self) -> Option<(u8, u8)> {
        (self.next == ICMP6).then(|| (self.payload[0], self.payload[1]))
    }

    pub(super) fn pointer(&self) -> u32 {
        u32::from_be_bytes(self.payload[4..8].try_into().unwrap())
    }

    /// The target of a message of neighbour discovery.
    pub(super) fn target(&self) -> Ipv6Addr {
        Ipv6Addr::from(<[u8; 16]>::try_from(&self.payload[8..24]).unwrap())
    }
}

impl Scene {
    /// Every datagram that waits for the card.
    pub(super) fn sent6(&mut self) -> Vec<Seen6> {
        self.sent().iter().map(|frame| Seen6::parse(frame)).collect()
    }

    /// Those of them that are ICMPv6 of this type.
    pub(super) fn sent_icmp(&mut self, kind: u8) -> Vec<Seen6> {
        let mut sent = self.sent6();
        sent.retain(|seen| seen.kind().is_some_and(|(seen, _)| seen == kind));
        sent
    }

    /// The only one that waits for the card.
    pub(super) fn sent_one(&mut self) -> Seen6 {
        let mut sent = self.sent6();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// What is sent in answer to a frame.
    pub(super) fn answers(&mut self, datagram: Datagram6) -> Vec<Seen6> {
        self.sent();
        self.receive(&datagram.frame());
        self.sent6()
    }

    /// Lets a neighbour ask for the host, so that it is known.
    pub(super) fn meet(&mut self, address: Ipv6Addr, mac: Mac) {
        let target = if address.is_unicast_link_local() { host_local() } else { host() };
        self.receive(&solicit(target, Some(mac)).from(address).sender_mac(mac).frame());
        self.sent();
    }

    pub(super) fn send6(&mut self, to: Ipv6Addr, payload: &[u8]) -> Result<(), SendError> {
        self.send_bytes(5_353, (to, 9).into(), payload)
    }

    /// A router that advertises itself for half an hour, and what is in `options`.
    pub(super) fn advertise(&mut self, options: &[u8]) {
        self.receive(&router_advert(1_800, options).frame());
    }
}

pub(super) fn link_option(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

pub(super) fn solicit(target: Ipv6Addr, mac: Option<Mac>) -> Datagram6 {
    let option = mac.map(|mac| link_option(1, mac)).unwrap_or_default();
    let body = [&target.octets()[..], &option].concat();
    icmp6(135, 0, [0; 4], &body).to(solicited(target)).hops(255)
}

pub(super) const ROUTER: u8 = 0x80;
pub(super) const SOLICITED: u8 = 0x40;
pub(super) const OVERRIDE: u8 = 0x20;

pub(super) fn advert(target: Ipv6Addr, flags: u8, mac: Option<Mac>) -> Datagram6 {
    let option = mac.map(|mac| link_option(2, mac)).unwrap_or_default();
    let body = [&target.octets()[..], &option].concat();
    icmp6(136, 0, [flags, 0, 0, 0], &body).from(target).hops(255)
}

pub(super) fn router_advert(lifetime: u16, options: &[u8]) -> Datagram6 {
    let [high, low] = lifetime.to_be_bytes();
    let body = [&[0; 8][..], options].concat();
    let advert = icmp6(134, 0, [0, 0, high, low], &body).from(router()).to(a("ff02::1"));
    advert.hops(255).sender_mac(ROUTER_MAC)
}

pub(super) const ON_LINK: u8 = 0x80;
pub(super) const AUTONOMOUS: u8 = 0x40;

pub(super) fn prefix_option(prefix: &str, flags: u8, valid: u32, preferred: u32) -> Vec<u8> {
    let (prefix, len) = prefix.split_once('/').unwrap();
    let mut option = vec![3, 4, len.parse().unwrap(), flags];
    option.extend(valid.to_be_bytes());
    option.extend(preferred.to_be_bytes());
    option.extend([0; 4]);
    option.extend(a(prefix).octets());
    option
}

pub(super) fn redirect(target: Ipv6Addr, destination: Ipv6Addr, mac: Option<Mac>) -> Datagram6 {
    let option = mac.map(|mac| link_option(2, mac)).unwrap_or_default();
    let body = [&target.octets()[..], &destination.octets(), &option].concat();
    icmp6(137, 0, [0; 4], &body).from(router()).hops(255).sender_mac(ROUTER_MAC)
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What is sent for a datagram to `to`: the datagram, or the question for a neighbour.
pub(super) fn sends(scene: &mut Scene, to: Ipv6Addr) -> Seen6 {
    scene.sent();
    scene.send6(to, b"x").unwrap();
    scene.sent_one()
}

/// A host that has just been switched on, with all of its addresses yet to be found.
pub(super) fn new_host(change: impl FnOnce(&mut Config)) -> Scene {
    let mut scene = Scene::new();
    let mut config = Config { ipv4: Ipv4Config::Off, ..Config::default() };
    config.ipv6.interface_id = InterfaceId::Eui64;
    change(&mut config);
    scene.restart(&config);
    scene
}

/// What is sent until so much time has passed, with the milliseconds of each.
pub(super) fn record(scene: &mut Scene, time: Duration) -> Vec<(u64, Seen6)> {
    let (start, end) = (scene.now, scene.now + time);
    let mut seen: Vec<_> = scene.sent6().into_iter().map(|seen| (0, seen)).collect();
    while scene.now < end {
        scene.drive(Duration::from_millis(10));
        let at = (scene.now - start).as_millis() as u64;
        seen.extend(scene.sent6().into_iter().map(|seen| (at, seen)));
    }
    seen
}

pub(super) fn of_kind(seen: &[(u64, Seen6)], kind: u8) -> Vec<(u64, Seen6)> {
    let is = |(_, seen): &&(u64, Seen6)| seen.kind().is_some_and(|(of, _)| of == kind);
    seen.iter().filter(is).cloned().collect()
}

/// Whether the host has an address, or is about to.
pub(super) fn has(scene: &Scene, address: Ipv6Addr) -> bool {
    scene.stack.addresses().any(|own| own.cidr.address() == address)
}
