//! Frames that no host here would send by itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mnet_proto::wire::multicast::Querier;
use mnet_proto::wire::{ethernet, icmpv4, icmpv6, igmp, ipv4, ipv6, mld, udp};
use netdev::{Mac, Packet, Pool};

/// Someone on the link who is none of the hosts.
pub(crate) const STRANGER: Mac = Mac([2, 0, 0, 0, 9, 9]);

/// A frame.
pub(crate) fn frame(to: Mac, from: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &ethertype.to_be_bytes(), payload].concat()
}

/// A datagram from the stranger's card, whose payload `emit` writes into an empty packet.
pub(crate) fn datagram(
    to: Mac,
    (source, destination): (IpAddr, IpAddr),
    protocol: u8,
    hop_limit: u8,
    emit: impl FnOnce(&mut Packet) -> bool,
) -> Vec<u8> {
    let mut packet = Pool::new(1, 4_096).take().unwrap();
    assert!(emit(&mut packet));
    // What is said of groups is for routers to look at.
    let router_alert = hop_limit == 1;
    let ethertype = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let fields = ipv4::Fields {
                source,
                destination,
                protocol,
                hop_limit,
                traffic_class: 0,
                identification: 0x1234,
                dont_fragment: false,
                router_alert,
            };
            assert!(ipv4::Header::emit(&mut packet, &fields, true));
            ethernet::IPV4
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut next_header = protocol;
            if router_alert {
                let option = ipv6::ROUTER_ALERT_HOP_BY_HOP(protocol);
                packet.prepend(option.len()).unwrap().copy_from_slice(&option);
                next_header = ipv6::HOP_BY_HOP;
            }
            let (traffic_class, flow_label) = (0, 0);
            let fields = ipv6::Fields {
                source,
                destination,
                next_header,
                hop_limit,
                traffic_class,
                flow_label,
            };
            assert!(ipv6::Header::emit(&mut packet, &fields));
            ethernet::IPV6
        }
        _ => panic!("two families"),
    };
    frame(to, STRANGER, ethertype, packet.bytes())
}

pub(crate) fn append(packet: &mut Packet, bytes: &[u8]) -> bool {
    packet.append(bytes.len()).map(|to| to.copy_from_slice(bytes)).is_some()
}

/// An echo request.
pub(crate) fn ping(to: Mac, (source, destination): (IpAddr, IpAddr), len: usize) -> Vec<u8> {
    let rest = [0, 1, 0, 2];
    let (kind, v6) = (icmpv4::ECHO_REQUEST, icmpv6::ECHO_REQUEST);
    let protocol = if source.is_ipv4() { ipv4::ICMP } else { ipv6::ICMP };
    datagram(to, (source, destination), protocol, 64, |packet| {
        append(packet, &vec![7; len])
            && match (source, destination) {
                (IpAddr::V6(source), IpAddr::V6(destination)) => {
                    icmpv6::Header::emit(packet, v6, 0, rest, source, destination)
                }
                _ => icmpv4::Header::emit(packet, kind, 0, rest),
            }
    })
}

/// A UDP datagram.
pub(crate) fn udp(
    to: Mac,
    (source, destination): (IpAddr, IpAddr),
    ports: (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    datagram(to, (source, destination), ipv4::UDP, 64, |packet| {
        let sum = |len| match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                ipv4::pseudo_header(source, destination, ipv4::UDP, len)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                ipv6::pseudo_header(source, destination, ipv4::UDP, len.into())
            }
            _ => panic!("two families"),
        };
        append(packet, payload) && udp::Header::emit(packet, ports.0, ports.1, Some(sum))
    })
}

/// A first or middle fragment of something that is larger.
pub(crate) fn fragment(
    to: Mac,
    (source, destination): (IpAddr, IpAddr),
    identification: u16,
    offset: usize,
    payload: &[u8],
) -> Vec<u8> {
    if source.is_ipv4() {
        let ends = (source, destination);
        let mut frame = datagram(to, ends, ipv4::UDP, 64, |packet| append(packet, payload));
        let flags = 0x2000 | (offset / 8) as u16;
        frame[18..20].copy_from_slice(&identification.to_be_bytes());
        frame[20..22].copy_from_slice(&flags.to_be_bytes());
        crate::mutate::mend(&mut frame, false);
        return frame;
    }
    datagram(to, (source, destination), ipv6::FRAGMENT, 64, |packet| {
        let offset = (offset as u16 | 1).to_be_bytes();
        append(packet, &[ipv4::UDP, 0])
            && append(packet, &offset)
            && append(packet, &[0, 0])
            && append(packet, &identification.to_be_bytes())
            && append(packet, payload)
    })
}

/// A datagram with an extension header of the given kind in front of a UDP header.
pub(crate) fn extended(to: Mac, ends: (IpAddr, IpAddr), kind: u8, body: [u8; 6]) -> Vec<u8> {
    datagram(to, ends, kind, 64, |packet| {
        append(packet, &[ipv4::UDP, 0])
            && append(packet, &body)
            && append(packet, &[0, 9, 0, 7, 0, 12, 0, 0, 1, 2, 3, 4])
    })
}

/// An IPv4 datagram that says which way it goes: its option is of as many bytes as the one for
/// routers that it replaces.
pub(crate) fn source_routed(to: Mac, ends: (IpAddr, IpAddr)) -> Vec<u8> {
    let mut frame = datagram(to, ends, ipv4::UDP, 1, |packet| append(packet, &[0; 12]));
    frame[34..38].copy_from_slice(&[0x83, 3, 4, 0]);
    crate::mutate::mend(&mut frame, false);
    frame
}

/// What a router asks about groups, in every version.
pub(crate) fn queries(v4: Ipv4Addr, v6: Ipv6Addr, groups: (Ipv4Addr, Ipv6Addr)) -> Vec<Vec<u8>> {
    let querier = Querier { suppress: false, robustness: 2, interval: Duration::from_secs(125) };
    let max_response = Duration::from_secs(1);
    let mut frames = Vec::new();
    for group in [Ipv4Addr::UNSPECIFIED, groups.0] {
        let to = if group.is_unspecified() { igmp::ALL_SYSTEMS } else { group };
        for version in [
            igmp::Version::V1,
            igmp::Version::V2 { max_response },
            igmp::Version::V3 { max_response, querier },
        ] {
            let sources: &[_] = if group.is_unspecified() { &[] } else { &[v4] };
            let message = igmp::Query { group, version }.emit(sources);
            let mac = ipv4::multicast_mac(to);
            frames.push(datagram(mac, (v4.into(), to.into()), ipv4::IGMP, 1, |packet| {
                append(packet, &message)
            }));
        }
    }
    for group in [Ipv6Addr::UNSPECIFIED, groups.1] {
        let to = if group.is_unspecified() { mld::ALL_NODES } else { group };
        for version in [mld::Version::V1, mld::Version::V2(querier)] {
            let sources: &[_] = if group.is_unspecified() { &[] } else { &[v6] };
            let message = mld::Query { group, max_response, version }.emit(sources);
            let mac = ipv6::multicast_mac(to);
            frames.push(datagram(mac, (v6.into(), to.into()), ipv6::ICMP, 1, |packet| {
                let [kind, code, _, _, rest @ ..] = *message.first_chunk::<8>().unwrap();
                append(packet, &message[8..])
                    && icmpv6::Header::emit(packet, kind, code, rest, v6, to)
            }));
        }
    }
    frames
}
