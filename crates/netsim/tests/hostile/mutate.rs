//! Frames with something changed, and made to look right again.

use std::net::{Ipv4Addr, Ipv6Addr};

use chacha20::ChaCha20Rng;
use mnet_proto::wire::ethernet::{ARP, HEADER_LEN, IPV4, IPV6};
use mnet_proto::wire::{Checksum, icmpv6, ipv4, ipv6};
use netdev::Mac;
use rand_core::{Rng, SeedableRng};

/// Numbers at which something changes.
const EDGES: [u16; 20] = [
    0, 1, 7, 8, 20, 28, 40, 48, 68, 255, 256, 576, 1_280, 1_480, 1_500, 0x1fff, 0x2000, 0x7fff,
    0xfff8, 0xffff,
];

/// What no end comes of: frames that passed, changed, or made of chance alone.
pub(crate) struct Noise {
    random: ChaCha20Rng,
    corpus: Vec<Vec<u8>>,
    macs: Vec<Mac>,
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
}

impl Noise {
    /// Noise about these cards and addresses, made of what has passed.
    pub(crate) fn new(
        seed: u64,
        corpus: Vec<Vec<u8>>,
        macs: Vec<Mac>,
        v4: Vec<Ipv4Addr>,
        v6: Vec<Ipv6Addr>,
    ) -> Self {
        Self { random: ChaCha20Rng::seed_from_u64(seed), corpus, macs, v4, v6 }
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.random.next_u64() % bound as u64) as usize
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let chosen = self.below(self.corpus.len());
        let mut frame = self.corpus[chosen].clone();
        match self.below(64) {
            0 | 1 => {
                frame.truncate(HEADER_LEN);
                let len = self.below(200);
                frame.extend((0..len).map(|_| self.random.next_u64() as u8));
            }
            // The header of the frame itself.
            2 => {
                let at = self.below(HEADER_LEN);
                frame[at] = self.random.next_u64() as u8;
            }
            _ => {}
        }
        for _ in 0..self.below(5) {
            self.change(&mut frame);
        }
        if self.below(4) > 0 {
            let lengths = self.below(2) == 0;
            mend(&mut frame, lengths);
        }
        // To one of those that are there, or to whom it was.
        if self.below(2) == 0 && frame.len() >= 6 {
            let to = self.below(self.macs.len());
            frame[..6].copy_from_slice(&self.macs[to].0);
        }
        frame.truncate(HEADER_LEN + 1_500);
        frame
    }

    fn change(&mut self, frame: &mut Vec<u8>) {
        if frame.len() <= HEADER_LEN {
            return;
        }
        // Headers are more often looked at than what is behind them.
        let within = if self.below(4) > 0 { frame.len().min(100) } else { frame.len() };
        let at = HEADER_LEN + self.below(within.max(HEADER_LEN + 1) - HEADER_LEN);
        match self.below(9) {
            0 => frame[at] ^= 1 << self.below(8),
            1 => frame[at] = self.random.next_u64() as u8,
            2 | 3 => {
                let edge = EDGES[self.below(EDGES.len())];
                put(frame, at & !1, &edge.to_be_bytes());
            }
            4 => {
                let chosen = self.below(self.v4.len());
                let address = self.v4[chosen];
                put(frame, HEADER_LEN + ((at - HEADER_LEN) & !3), &address.octets());
            }
            5 => {
                let chosen = self.below(self.v6.len());
                let address = self.v6[chosen];
                put(frame, HEADER_LEN + ((at - HEADER_LEN) & !7), &address.octets());
            }
            6 => frame.truncate(at),
            7 => {
                let count = self.below(64);
                frame.extend((0..count).map(|_| self.random.next_u64() as u8));
            }
            _ => {
                let other = self.below(self.corpus.len());
                frame.truncate(at);
                frame.extend(self.corpus[other].get(at..).unwrap_or_default());
            }
        }
    }
}

fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = frame.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

/// Makes the checksums of a frame right again, and its lengths too if it is to.
pub(crate) fn mend(frame: &mut [u8], lengths: bool) {
    let Some((header, datagram)) = frame.split_at_mut_checked(HEADER_LEN) else { return };
    match u16::from_be_bytes([header[12], header[13]]) {
        IPV4 => mend_ipv4(datagram, lengths),
        IPV6 => mend_ipv6(datagram, lengths),
        _ => {}
    }
}

fn mend_ipv4(datagram: &mut [u8], lengths: bool) {
    if datagram.len() < ipv4::HEADER_LEN {
        return;
    }
    if lengths {
        let header_len = datagram[0] & 0xf;
        datagram[0] = 0x40 | header_len.max(5);
        let len = datagram.len() as u16;
        put(datagram, 2, &len.to_be_bytes());
    }
    let header_len = usize::from(datagram[0] & 0xf) * 4;
    let total_len = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
    if !(ipv4::HEADER_LEN..=total_len).contains(&header_len) || total_len > datagram.len() {
        return;
    }
    let (header, payload) = datagram[..total_len].split_at_mut(header_len);
    let sum = |bytes: &[u8]| Checksum::new().add_bytes(bytes).finish();
    put(header, 10, &[0; 2]);
    let checksum = sum(header);
    put(header, 10, &checksum);
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return;
    }
    let pair = (address_v4(header, 12), address_v4(header, 16));
    match header[9] {
        ipv4::ICMP | ipv4::IGMP => {
            put(payload, 2, &[0; 2]);
            let checksum = sum(payload);
            put(payload, 2, &checksum);
        }
        ipv4::UDP => {
            let len = payload.len() as u16;
            mend_udp(payload, lengths, ipv4::pseudo_header(pair.0, pair.1, ipv4::UDP, len));
        }
        _ => {}
    }
}

fn mend_ipv6(datagram: &mut [u8], lengths: bool) {
    let Some(len) = datagram.len().checked_sub(ipv6::HEADER_LEN) else { return };
    if lengths {
        datagram[0] = 0x60 | datagram[0] & 0xf;
        put(datagram, 4, &(len as u16).to_be_bytes());
    }
    let len = len.min(usize::from(u16::from_be_bytes([datagram[4], datagram[5]])));
    let datagram = &mut datagram[..ipv6::HEADER_LEN + len];
    let pair = (address_v6(datagram, 8), address_v6(datagram, 24));
    let Some((protocol, at)) = upper_layer(datagram) else { return };
    let payload = &mut datagram[at..];
    let sum = ipv6::pseudo_header(pair.0, pair.1, protocol, payload.len() as u32);
    match protocol {
        ipv6::ICMP => {
            put(payload, 2, &[0; 2]);
            let checksum = sum.add_bytes(payload).finish();
            put(payload, 2, &checksum);
        }
        ipv4::UDP => mend_udp(payload, lengths, sum),
        _ => {}
    }
}

fn mend_udp(datagram: &mut [u8], lengths: bool, pseudo_header: Checksum) {
    if lengths {
        let len = datagram.len() as u16;
        put(datagram, 4, &len.to_be_bytes());
    }
    put(datagram, 6, &[0; 2]);
    let checksum = match pseudo_header.add_bytes(datagram).finish() {
        [0, 0] => [0xff; 2],
        checksum => checksum,
    };
    put(datagram, 6, &checksum);
}

/// What an IPv6 datagram carries and where, unless in fragments.
fn upper_layer(datagram: &[u8]) -> Option<(u8, usize)> {
    let (mut next, mut at) = (*datagram.get(6)?, ipv6::HEADER_LEN);
    while let ipv6::HOP_BY_HOP | ipv6::ROUTING | ipv6::DESTINATION_OPTIONS = next {
        let &[following, len, ..] = datagram.get(at..)? else { return None };
        next = following;
        at += 8 + usize::from(len) * 8;
    }
    (next != ipv6::FRAGMENT && at <= datagram.len()).then_some((next, at))
}

fn address_v4(bytes: &[u8], at: usize) -> Ipv4Addr {
    let address = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<4>());
    address.map_or(Ipv4Addr::UNSPECIFIED, |&address| address.into())
}

fn address_v6(bytes: &[u8], at: usize) -> Ipv6Addr {
    let address = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<16>());
    address.map_or(Ipv6Addr::UNSPECIFIED, |&address| address.into())
}

/// Whether a frame speaks for a host of these addresses: by IP as if from it, or by ARP or neighbour
/// discovery as if its card were another. Nobody can do anything about that on an Ethernet.
pub(crate) fn impersonates(frame: &[u8], mac: Mac, v4: Ipv4Addr, v6: &[Ipv6Addr]) -> bool {
    let Some((header, payload)) = frame.split_at_checked(HEADER_LEN) else { return false };
    match u16::from_be_bytes([header[12], header[13]]) {
        ARP => address_v4(payload, 14) == v4 && payload.get(8..14) != Some(&mac.0),
        IPV4 => address_v4(payload, 12) == v4,
        IPV6 => {
            let subject = upper_layer(payload).filter(|&(protocol, at)| {
                let kinds = [icmpv6::NEIGHBOR_ADVERT, icmpv6::REDIRECT];
                protocol == ipv6::ICMP && payload.get(at).is_some_and(|kind| kinds.contains(kind))
            });
            v6.contains(&address_v6(payload, 8))
                || subject.is_some_and(|(_, at)| v6.contains(&address_v6(payload, at + 8)))
        }
        _ => false,
    }
}
