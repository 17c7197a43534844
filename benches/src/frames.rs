//! The frames that are sent to hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mnet_proto::ip::fragment;
use mnet_proto::wire::{arp, ethernet, icmpv6, ipv4, ipv6, ndp, udp};
use netdev::{Mac, Packet, Pool};
use zerocopy::{FromBytes, IntoBytes};

use crate::Family;

/// Most bytes of IP in a frame.
pub const MTU: u16 = 1_500;
/// The host's card.
pub const HOST: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// The card of everybody else: of one neighbour, and of the router.
pub const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// The host's own address; its prefix is of 16 bits, or of 64.
#[must_use]
pub fn host(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 0, 0, 1).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// The router's address.
#[must_use]
pub fn router(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 0, 0, 254).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe).into(),
    }
}

/// The address of the host that is the `index`th on the link.
#[must_use]
pub fn neighbor(family: Family, index: usize) -> IpAddr {
    match family {
        Family::V4 => {
            let [high, low] = (index as u16 + 0x100).to_be_bytes();
            Ipv4Addr::new(10, 0, high, low).into()
        }
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, index as u16).into(),
    }
}

/// The address of the host that is the `index`th behind the router.
#[must_use]
pub fn remote(family: Family, index: usize) -> IpAddr {
    let [high, low] = (index as u16).to_be_bytes();
    match family {
        Family::V4 => Ipv4Addr::new(10, 1, high, low).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, index as u16).into(),
    }
}

/// What a datagram says: bytes that are not all the same.
#[must_use]
pub fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 7 + 3) as u8).collect()
}

/// The frames of a datagram from a peer's port to one of the host's.
#[must_use]
pub fn datagram(from: (IpAddr, u16), port: u16, payload: &[u8]) -> Vec<Vec<u8>> {
    let pool = Pool::new(1, 2_048);
    let mut packet = pool.take_large(usize::from(u16::MAX)).unwrap();
    packet.append(payload.len()).unwrap().copy_from_slice(payload);
    let family = if from.0.is_ipv4() { Family::V4 } else { Family::V6 };
    match (from.0, host(family)) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let sum = |len| ipv4::pseudo_header(source, destination, ipv4::UDP, len);
            assert!(udp::Header::emit(&mut packet, from.1, port, Some(sum)));
            in_ipv4(&pool, &packet, source, destination)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let next = ipv4::UDP;
            let sum = |len: u16| ipv6::pseudo_header(source, destination, next, len.into());
            assert!(udp::Header::emit(&mut packet, from.1, port, Some(sum)));
            in_ipv6(&pool, &packet, source, destination)
        }
        _ => unreachable!("a family has addresses of one kind"),
    }
}

fn in_ipv4(pool: &Pool, payload: &Packet, source: Ipv4Addr, to: Ipv4Addr) -> Vec<Vec<u8>> {
    let fields = ipv4::Fields {
        source,
        destination: to,
        protocol: ipv4::UDP,
        hop_limit: 64,
        traffic_class: 0,
        identification: 7,
        dont_fragment: false,
        router_alert: false,
    };
    let mut whole = pool.take().unwrap();
    assert!(ipv4::Header::emit(&mut whole, &fields, true));
    let header = *ipv4::Header::ref_from_prefix(whole.bytes()).unwrap().0;
    drop(whole);
    let cuts = fragment::cuts(payload.len(), usize::from(MTU) - ipv4::HEADER_LEN);
    cuts.map(|(offset, len, more)| {
        let mut piece = pool.take().unwrap();
        piece.append(len).unwrap().copy_from_slice(&payload.bytes()[offset..offset + len]);
        let (whole, part) = ((&header, &[][..]), (offset, more));
        assert!(ipv4::Header::emit_fragment(&mut piece, whole, part, true));
        framed(piece, HOST, ethernet::IPV4)
    })
    .collect()
}

fn in_ipv6(pool: &Pool, payload: &Packet, source: Ipv6Addr, to: Ipv6Addr) -> Vec<Vec<u8>> {
    let room = usize::from(MTU) - ipv6::HEADER_LEN;
    let whole = payload.len() <= room;
    let cuts = fragment::cuts(payload.len(), if whole { room } else { room - ipv6::FRAGMENT_LEN });
    cuts.map(|(offset, len, more)| {
        let mut piece = pool.take().unwrap();
        piece.append(len).unwrap().copy_from_slice(&payload.bytes()[offset..offset + len]);
        let mut next_header = ipv4::UDP;
        if !whole {
            let fragment = ipv6::Fragment::new(next_header, offset, more, 7);
            fragment.write_to(piece.prepend(ipv6::FRAGMENT_LEN).unwrap()).unwrap();
            next_header = ipv6::FRAGMENT;
        }
        let fields = ipv6::Fields {
            source,
            destination: to,
            next_header,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
        };
        assert!(ipv6::Header::emit(&mut piece, &fields));
        framed(piece, HOST, ethernet::IPV6)
    })
    .collect()
}

/// What the link says to a frame that asks who has an address: that [`PEER`] has it.
#[must_use]
pub fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let (header, body) = ethernet::Header::ref_from_prefix(frame).ok()?;
    match header.ethertype.get() {
        ethernet::ARP => {
            let arp = arp::Arp::parse(body).filter(|arp| arp.opcode() == arp::REQUEST)?;
            let ((_, wanted), (_, to)) = (arp.target(), arp.sender());
            // It asks whether somebody else has what is its own.
            let its_own = IpAddr::V4(wanted) == host(Family::V4);
            (!its_own).then(|| has_v4(wanted, to))
        }
        ethernet::IPV6 => {
            let (header, message) = ipv6::Header::ref_from_prefix(body).ok()?;
            let asks = header.next_header == ipv6::ICMP
                && message.first() == Some(&icmpv6::NEIGHBOR_SOLICIT)
                && !header.source().is_unspecified();
            let wanted = <[u8; 16]>::try_from(message.get(8..24)?).ok().filter(|_| asks)?;
            Some(has_v6(wanted.into(), header.source()))
        }
        _ => None,
    }
}

/// What the link says to the host when that asks who has an address: that [`PEER`] has it.
#[must_use]
pub fn has(wanted: IpAddr) -> Vec<u8> {
    match (wanted, host(Family::V4), host(Family::V6)) {
        (IpAddr::V4(wanted), IpAddr::V4(to), _) => has_v4(wanted, to),
        (IpAddr::V6(wanted), _, IpAddr::V6(to)) => has_v6(wanted, to),
        _ => unreachable!("a family has addresses of one kind"),
    }
}

fn has_v4(wanted: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut packet = Pool::new(1, 2_048).take().unwrap();
    assert!(arp::Arp::new(arp::REPLY, (PEER, wanted), (HOST, to)).emit(&mut packet));
    framed(packet, HOST, ethernet::ARP)
}

fn has_v6(wanted: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let mut packet = Pool::new(1, 2_048).take().unwrap();
    let flags = ndp::AdvertFlags { router: false, solicited: true, overrides: true };
    assert!(ndp::neighbor_advert(&mut packet, flags, wanted, Some(PEER), wanted, to));
    let fields = ipv6::Fields {
        source: wanted,
        destination: to,
        next_header: ipv6::ICMP,
        hop_limit: 255,
        traffic_class: 0,
        flow_label: 0,
    };
    assert!(ipv6::Header::emit(&mut packet, &fields));
    framed(packet, HOST, ethernet::IPV6)
}

/// Whether a frame holds UDP, or a part of it.
#[must_use]
#[inline]
pub fn is_udp(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(23) == Some(&ipv4::UDP),
        Some([0x86, 0xdd]) => matches!(frame.get(20), Some(&(ipv4::UDP | ipv6::FRAGMENT))),
        _ => false,
    }
}

fn framed(mut packet: Packet, to: Mac, ethertype: u16) -> Vec<u8> {
    assert!(ethernet::Header::emit(&mut packet, to, PEER, ethertype));
    packet.bytes().to_vec()
}
