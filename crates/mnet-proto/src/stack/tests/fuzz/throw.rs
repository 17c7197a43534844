//! What is thrown at a host: noise, and frames of every protocol that it speaks, as good as they can be
//! or with something changed.

use std::net::Ipv6Addr;

use super::super::link::{self, Frame, message, udp_bytes};
use super::super::scene6::{
    self, FRAGMENT, ICMP6, ROUTER_MAC, UDP, a, advert, echo, fragment_header, host_local, icmp6,
    link_option, peer, prefix_option, raw, redirect, router_advert, solicit, udp6,
};
use super::super::*;
use crate::wire::dhcpv4::{Kind, Message};

pub(super) const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
pub(super) const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1);
/// The longest noise; what is longer was put together of fragments.
pub(super) const NOISE: usize = 200;
/// What makes routers look at a datagram (RFC 2113, RFC 2711), as an option and in its header.
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];
const ROUTER_ALERT_V6: [u8; 8] = [0, 0, 5, 2, 0, 0, 1, 0];
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const OPTIONS: u8 = 60;

/// One thing to throw, and how long to rest then.
#[derive(Clone, Debug)]
pub(super) struct Throw {
    pub(super) kind: u8,
    fields: [u8; 8],
    noise: Vec<u8>,
    changes: Vec<(usize, u8)>,
    mend: bool,
    cut: usize,
    pub(super) millis: u16,
}

/// The UDP datagrams that a host has sent last, to be answered or quoted; of IPv6, or a fragment.
#[derive(Default)]
pub(super) struct Last {
    pub(super) v4: Vec<u8>,
    pub(super) v6: Vec<u8>,
}

pub(super) fn throws() -> impl Strategy<Value = Throw> {
    let noise = proptest::collection::vec(any::<u8>(), 0..NOISE);
    let change = || proptest::collection::vec((0usize..120, any::<u8>()), 1..4);
    let changes = prop_oneof![Just(Vec::new()), change()];
    let cut = prop_oneof![4 => Just(usize::MAX), 1 => 0usize..120];
    let millis = prop_oneof![200 => 0u16..50, 10 => 0u16..2_000, 1 => any::<u16>()];
    (any::<u8>(), any::<[u8; 8]>(), noise, changes, any::<bool>(), cut, millis).prop_map(
        |(kind, fields, noise, changes, mend, cut, millis)| Throw {
            kind,
            fields,
            noise,
            changes,
            mend,
            cut,
            millis,
        },
    )
}

/// One of several, by a number.
fn pick<T: Clone>(number: u8, from: &[T]) -> T {
    from[usize::from(number) % from.len()].clone()
}

impl Throw {
    pub(super) fn source(&self) -> Ipv4Addr {
        match self.fields[0] % 4 {
            0 | 1 => PEER,
            2 => Ipv4Addr::new(10, 0, 0, self.fields[1]),
            _ => Ipv4Addr::new(192, 0, 2, self.fields[1]),
        }
    }

    fn destination(&self) -> Ipv4Addr {
        match self.fields[2] % 8 {
            0 => Ipv4Addr::BROADCAST,
            1 => GROUP,
            2 => Ipv4Addr::new(224, 0, 0, 1),
            3 => Ipv4Addr::new(10, 0, 0, 255),
            _ => HOST,
        }
    }

    /// To whom the host is to say something meanwhile.
    pub(super) fn listeners(&self) -> [IpAddr; 2] {
        let far = [peer(), a("2001:db8:ffff::1"), self.source_v6()];
        [self.source().into(), pick(self.fields[4], &far).into()]
    }

    /// How many bytes of it.
    pub(super) fn length(&self) -> usize {
        usize::from(self.fields[3]) * 16
    }

    /// The frame, made for a host that has sent `last` last.
    pub(super) fn frame(&self, last: &Last) -> Vec<u8> {
        let mut frame = match self.kind % 12 {
            0..=7 => self.frame_v4(&last.v4),
            8..=10 => self.frame_v6(&last.v6),
            _ => self.noise.clone(),
        };
        for &(at, value) in &self.changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        if self.mend {
            mend(&mut frame);
        }
        frame.truncate(self.cut);
        frame
    }

    fn frame_v4(&self, last: &[u8]) -> Vec<u8> {
        let [.., a, b, c, d, e] = self.fields;
        let (source, destination) = (self.source(), self.destination());
        let v4 = |protocol, payload: &[u8]| Frame {
            source,
            destination,
            ttl: if e % 2 == 0 { 1 } else { 64 },
            to: if destination == HOST { HOST_MAC } else { Mac::BROADCAST },
            options: if e % 8 == 0 { vec![d, c % 8, b, a] } else { vec![] },
            ..Frame::new(protocol, payload)
        };
        match self.kind % 12 {
            0 => {
                let ports = [(5_000, 7), (67, 68), (5_000, 9), (b.into(), c.into())];
                let (from, to) = pick(a, &ports);
                v4(17, &udp_bytes((source, from), (destination, to), &self.noise)).bytes()
            }
            1 => {
                let quoted = last.get(14..).unwrap_or_default();
                let body = [&[0, 0, b % 8, c], &quoted[..quoted.len().min(60)]].concat();
                v4(1, &message(pick(a, &[3, 5, 11, 12]), d % 5, &body)).bytes()
            }
            2 => v4(1, &message(8, 0, &self.noise)).bytes(),
            3 => {
                let group = pick(c, &[Ipv4Addr::UNSPECIFIED, GROUP]);
                let query = [&group.octets()[..], &[b % 16, c, 0, 0]].concat();
                let kind = pick(a, &[0x11, 0x11, 0x12, 0x16, 0x22]);
                // Of the second version, of the third, or of none.
                let body = pick(d, &[&query[..4], &query[..], &self.noise[..]]);
                let options = if e % 8 == 0 { vec![d, c % 8, b, a] } else { ROUTER_ALERT.into() };
                Frame { options, ..v4(2, &message(kind, b, body)) }.bytes()
            }
            4 => {
                let kinds = [Kind::Offer, Kind::Ack, Kind::Nak, Kind::Discover];
                // The answer to what was asked, if anything was.
                let xid = last.get(46..50).and_then(|xid| xid.try_into().ok()).unwrap_or_default();
                let mut answer = Message::new(pick(a, &kinds), u32::from_be_bytes(xid), HOST_MAC);
                answer.server_id = Some(PEER);
                answer.yiaddr = Ipv4Addr::new(10, 0, 0, 2 + c % 2);
                answer.subnet_mask = Some([255, 255, 255, if c < 250 { 0 } else { c }].into());
                answer.lease_time = Some(u32::from(d) * 10);
                answer.routers = vec![PEER];
                let payload = udp_bytes((PEER, 67), (destination, 68), &answer.emit());
                Frame { source: PEER, ..v4(17, &payload) }.bytes()
            }
            5 | 6 => {
                // Few datagrams, so that some become whole.
                let datagram = udp_bytes((PEER, 5_000), (HOST, 7), &[a % 2; 24]);
                let pieces = Frame { id: u16::from(a % 2), ..Frame::new(17, &datagram) }.pieces(8);
                let mut piece = pick(b, &pieces);
                if d % 32 == 0 {
                    piece.offset = usize::from(c) * 8;
                    piece.payload.extend(&self.noise);
                }
                piece.bytes()
            }
            _ => {
                let sender = if b % 4 == 0 { HOST } else { source };
                let mac = Mac([2, 0, 0, 0, 0, c % 4]);
                arp(1 + u16::from(a % 2), (mac, sender), if d % 2 == 0 { HOST } else { source })
            }
        }
    }

    fn source_v6(&self) -> Ipv6Addr {
        let from = [a("fe80::1"), Ipv6Addr::UNSPECIFIED, peer()];
        let neighbor = Ipv6Addr::from(0xfe80_u128 << 112 | u128::from(self.fields[1]));
        from.get(usize::from(self.fields[0] % 4)).copied().unwrap_or(neighbor)
    }

    fn frame_v6(&self, last: &[u8]) -> Vec<u8> {
        let [to, _, kind, .., b, c, d, e] = self.fields;
        let own =
            pick(to / 4, &[scene6::host(), host_local(), scene6::host(), a("ff02::1"), GROUP_V6]);
        let source = self.source_v6();
        // One that speaks as a neighbour, or a router.
        let (local, mac) = (a("fe80::1"), [None, Some(PEER_MAC), Some(ROUTER_MAC)]);
        let mac = pick(b, &mac);
        let target = pick(c, &[scene6::host(), host_local(), peer(), local, source]);
        let datagram = match kind % 12 {
            0 => udp6(&self.noise).from(source).to(own),
            1 => echo(&self.noise).from(source).to(own),
            2 => solicit(target, mac).from(source),
            3 => advert(target, e, mac).from(source).to(own),
            4 => {
                let lifetime = u16::from(d) * 8;
                router_advert(lifetime, &self.router_options()).from(local).sender_mac(PEER_MAC)
            }
            5 => {
                let far = pick(d, &[peer(), a("2001:db8:ffff::1")]);
                redirect(target, far, mac).from(local).to(own)
            }
            6 => {
                let group = pick(d, &[Ipv6Addr::UNSPECIFIED, GROUP_V6]).octets();
                let version_2 = [b % 16, c, 0, 0];
                let body =
                    [&group[..], pick(e, &[&[][..], &version_2[..], &self.noise[..]])].concat();
                let query = icmp6(130, 0, [0, c, 0, 0], &body).from(local).to(a("ff02::1")).hops(1);
                query.header(HOP_BY_HOP, &ROUTER_ALERT_V6)
            }
            7 => {
                let quoted = last.get(14..).unwrap_or_default();
                let quoted = &quoted[..quoted.len().min(1_200)];
                // Of MTUs those that may be one.
                let mtu = [0, 0, pick(c, &[5, 5, 5, c]), d];
                icmp6(1 + b % 4, d % 4, mtu, quoted).from(source).to(own)
            }
            8 | 9 => return self.fragment_v6(),
            10 => {
                let datagram = udp6(b"behind").from(source).to(own);
                let length = (self.noise.len() / 8 * 8).clamp(8, 64);
                let mut header = self.noise.clone();
                header.resize(length, 0);
                if e % 8 > 0 {
                    header[1] = (length / 8 - 1) as u8;
                }
                datagram.header(pick(d, &[HOP_BY_HOP, ROUTING, FRAGMENT, OPTIONS]), &header)
            }
            _ => raw(pick(d, &[ICMP6, UDP, 6, 59]), &self.noise).from(source).to(own).hops(255),
        };
        datagram.frame()
    }

    /// A piece of one of few datagrams, so that some become whole.
    fn fragment_v6(&self) -> Vec<u8> {
        let [.., b, c, d, e] = self.fields;
        let datagram = udp6(&[b % 2; NOISE + 40]);
        if d % 32 == 0 {
            let fragment = fragment_header(usize::from(c) * 8, e % 2 == 0, u32::from(b % 2));
            return raw(UDP, &self.noise).header(FRAGMENT, &fragment).frame();
        }
        pick(c, &datagram.fragments(u32::from(b % 2), &[96, 192, usize::MAX]))
    }

    /// What a router has to say of its link.
    fn router_options(&self) -> Vec<u8> {
        let [.., b, c, d, e] = self.fields;
        let seconds = u32::from(c) * 60;
        let prefix = format!("2001:db8:{:x}::/64", b % 32);
        let server = [&[25, 3, 0, 0][..], &seconds.to_be_bytes(), &peer().octets()].concat();
        let options = [
            link_option(1, PEER_MAC),
            prefix_option(&prefix, d, seconds, seconds / 2),
            [&[5, 1, 0, 0, 0, 0][..], &[d % 8, c]].concat(),
            server,
            self.noise.clone(),
        ];
        let many = usize::from(e % 4) + 1;
        options.iter().cycle().skip((c % 5).into()).take(many).flatten().copied().collect()
    }
}

/// Writes the sums anew that are checked first: one that fits leads deeper.
fn mend(frame: &mut [u8]) {
    match frame.get(12..14) {
        Some([8, 0]) if frame.len() > 34 => {
            let end = 14 + usize::from(frame[14] & 0x0f).max(5) * 4;
            if end <= frame.len() {
                frame[24..26].fill(0);
                let sum = link::checksum(&[&frame[14..end]]);
                frame[24..26].copy_from_slice(&sum);
            }
        }
        Some([0x86, 0xdd]) if frame.len() > 62 => {
            let at = match frame[20] {
                UDP => 60,
                ICMP6 => 56,
                _ => return,
            };
            frame[at..at + 2].fill(0);
            let (source, destination) = (&frame[22..38], &frame[38..54]);
            let address = |bytes: &[u8]| Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap());
            let (source, destination) = (address(source), address(destination));
            let sum = scene6::checksum(source, destination, frame[20], &frame[54..]);
            frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        _ => {}
    }
}
