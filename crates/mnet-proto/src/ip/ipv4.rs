//! IPv4: what is for us and what is not (RFC 791, RFC 1122 §3.2.1).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use netdev::{Instant, Packet};
use rand_core::Rng;
use zerocopy::FromBytes;

use super::address::{self, AddressError, Own};
use super::fragment::{Key, Piece, Whole};
use super::{
    AddressEvent, Arrival, Cast, ControlBlock, Ip, Ipv4Cidr, Metadata, Origin, Received, earlier,
    routes,
};
use crate::autoconf::Claim;
use crate::config::{Config, Ipv4Config};
use crate::icmp;
use crate::ip::cidr::is_unicast;
use crate::multicast::{Filter, HOST};
use crate::stats::Drop;
use crate::wire::icmpv4::PARAMETER_PROBLEM;
use crate::wire::ipv4::{self, Header, checksum_is_valid};
use crate::wire::{dhcpv4, igmp, udp};

/// RFC 5227 §1.1: PROBE_WAIT, in milliseconds.
const PROBE_WAIT: u32 = 1_000;
/// Everything.
const DEFAULT: Ipv4Cidr = match Ipv4Cidr::new(Ipv4Addr::UNSPECIFIED, 0) {
    Some(cidr) => cidr,
    None => unreachable!(),
};

/// The host's IPv4 addresses, and what follows from them.
pub(crate) struct Ipv4 {
    /// Whether the host speaks IPv4.
    pub(crate) enabled: bool,
    pub(crate) addresses: Vec<Own<Ipv4Cidr>>,
    pub(crate) hop_limit: u8,
    pub(crate) mtu: u16,
    /// Whether an address is being asked for, so that the answer may come to it already (RFC 2131
    /// §4.1).
    pub(crate) configuring: bool,
    /// Whether a leased address turned out to be another host's.
    pub(crate) declined: bool,
    max_addresses: usize,
}

impl Ipv4 {
    pub(crate) fn new(config: &Config, mtu: u16) -> Self {
        Self {
            enabled: config.ipv4 != Ipv4Config::Off,
            addresses: Vec::new(),
            hop_limit: config.hop_limit,
            mtu,
            configuring: false,
            declined: false,
            max_addresses: config.addresses,
        }
    }

    /// Whether the host has this address and uses it.
    #[inline]
    pub(crate) fn is_own(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| own.cidr.address() == address && is_used(own))
    }

    /// Whether the host has this address, or has asked if it can.
    pub(crate) fn is_claimed(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| own.cidr.address() == address && !own.claim.is_refused())
    }

    /// Whether this is the address of everybody on the link.
    #[inline]
    pub(crate) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast()
            || self.addresses.iter().any(|own| own.cidr.broadcast() == Some(address))
    }

    /// Whose a datagram's destination is, given its source, which can be one host's; `None` if that is not
    /// another's.
    #[inline]
    fn whose(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Option<Whose> {
        let (mut to_own, mut to_everybody) = (false, false);
        for own in &self.addresses {
            let (address, everybody) = (own.cidr.address(), own.cidr.everybody());
            if source == everybody || (source == address && is_used(own)) {
                return None;
            }
            to_own |= destination == address && is_used(own);
            to_everybody |= destination == everybody;
        }
        if to_own {
            return Some(Whose::Own);
        }
        Some(if to_everybody { Whose::Everybodys } else { Whose::Others })
    }

    /// Whether another host can have this address, as far as can be told from here.
    pub(crate) fn is_other_host(&self, address: Ipv4Addr) -> bool {
        is_unicast(address) && !self.is_own(address) && !self.is_broadcast(address)
    }

    /// When an address is to be probed for or told of.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.addresses.iter().map(Own::poll_timeout).fold(None, earlier)
    }
}

/// Whose an address is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The host's, which uses it.
    Own,
    /// That of everybody with an address of the same prefix.
    Everybodys,
    /// That of everybody anywhere, another host's, a group's, or nobody's.
    Others,
}

/// Whether the host uses an address: at once while it asks if others have it, but not if they have
/// had it before, nor as long as they do.
pub(crate) fn is_used(own: &Own<Ipv4Cidr>) -> bool {
    !own.claim.is_contested()
}

/// Takes the configured addresses, and joins the group of all systems, by which routers ask for
/// members (RFC 1112 §7.1).
pub(crate) fn start(ip: &mut Ip, config: &Config, now: Instant) {
    if ip.v4.enabled {
        let _ = ip.multicast.join(now, HOST, igmp::ALL_SYSTEMS.into(), Filter::ANY);
    }
    if let Ipv4Config::Static { addresses, gateway } = &config.ipv4 {
        for &cidr in addresses {
            if let Err(error) = add_address(ip, now, cidr, Origin::Static) {
                ip.count_refused(error);
            }
        }
        if gateway.is_some() && !add_route(ip, DEFAULT, *gateway, routes::Source::Static) {
            ip.count(Drop::TooManyRoutes);
        }
    }
}

/// Gives the host an address that a host can have. It is used at once, while others are asked if they
/// have it: of one that is leased before anything leaves from it (RFC 2131 §4.4.1), as hosts that start
/// together do not get theirs at the same time.
pub(crate) fn add_address(
    ip: &mut Ip,
    now: Instant,
    cidr: Ipv4Cidr,
    origin: Origin,
) -> Result<(), AddressError> {
    if !ip.v4.enabled {
        return Err(AddressError::FamilyOff);
    }
    address::check_new(&ip.v4.addresses, cidr.address(), ip.v4.max_addresses)?;
    let leased = origin == Origin::Dhcp;
    let source = if leased { routes::Source::Dhcp } else { routes::Source::Static };
    if cidr.prefix_len() < 32 && !add_route(ip, cidr, None, source) {
        return Err(AddressError::TooManyRoutes);
    }
    let delay = if leased { 0 } else { ip.random.next_u32() % PROBE_WAIT };
    let delay = Duration::from_millis(delay.into());
    let own = Own::new(cidr, origin, Claim::new(now, delay));
    ip.v4.addresses.push(own);
    ip.changed(AddressEvent::Added(own.describe()));
    Ok(())
}

/// Takes an address away; `false` if the host does not have it.
pub(crate) fn remove_address(ip: &mut Ip, address: Ipv4Addr) -> bool {
    let mut own = ip.v4.addresses.iter();
    let Some(at) = own.position(|own| own.cidr.address() == address) else { return false };
    let own = ip.v4.addresses.remove(at);
    let network = own.cidr.network();
    let shared = ip.v4.addresses.iter().any(|other| other.cidr.network() == network);
    ip.destinations.invalidate();
    if !shared {
        ip.routes.remove(&|route| route.prefix == network.into() && route.gateway.is_none());
    }
    if is_used(&own) {
        ip.changed(AddressEvent::Removed(own.describe()));
    } else {
        ip.address_changes += 1;
    }
    true
}

/// Adds a route; `false` if there are too many.
pub(crate) fn add_route(
    ip: &mut Ip,
    prefix: Ipv4Cidr,
    gateway: Option<Ipv4Addr>,
    source: routes::Source,
) -> bool {
    let gateway = gateway.map(IpAddr::V4);
    ip.add_route(routes::Entry::new(prefix.network().into(), gateway, source))
}

/// Checks a datagram for us, with what is behind it in the frame, and notes what its header says. If what is
/// behind the header is a UDP datagram, returns the length of that; of anything else, and of what there is
/// more to be looked at, `None`: it is for [`receive_rest`].
///
/// # Errors
/// Why it is to be dropped.
#[inline]
pub(crate) fn receive(
    ip: &Ip,
    now: Instant,
    datagram: &[u8],
    block: &mut ControlBlock,
    link_group: bool,
) -> Result<Option<usize>, Drop> {
    let header = Header::parse(datagram).map_err(|_| Drop::Ipv4Malformed)?;
    let (header_len, total_len) = (header.header_len(), header.total_len());
    if !ip.link.checksums.verifies_ipv4 && !checksum_is_valid(datagram, header_len) {
        return Err(Drop::Ipv4Checksum);
    }
    if !is_unicast(header.source()) && !is_from_nobody(header) {
        return Err(Drop::Ipv4Source);
    }
    let whose = ip.v4.whose(header.source(), header.destination()).ok_or(Drop::Ipv4Source)?;
    let cast = match whose {
        // RFC 1122 §3.3.6: a frame to many that holds a datagram to one is somebody's mistake.
        Whose::Own if !link_group => Cast::Unicast,
        Whose::Own => return Err(Drop::Ipv4Destination),
        Whose::Everybodys => Cast::Broadcast,
        Whose::Others => cast(ip, header, datagram, link_group).ok_or(Drop::Ipv4Destination)?,
    };
    let plain = header_len == ipv4::HEADER_LEN && !header.is_fragment();
    let udp_verified = ip.link.checksums.verifies_udp;
    block.note_v4(header, &Arrival { cast, link_group, udp_verified, now });
    Ok((plain && header.protocol == ipv4::UDP).then_some(total_len - header_len))
}

/// Whether a datagram is one of those that come from nobody: a switch that has no address asks for groups
/// without one (RFC 4541 §2.1.1).
#[cold]
fn is_from_nobody(header: &Header) -> bool {
    header.source().is_unspecified() && header.protocol == ipv4::IGMP
}

/// Looks at what [`receive`] has not looked at, the packet's window being what that was given. Returns what
/// is in the datagram, if it is whole: of a fragment the whole, if it is the last that was missing.
#[inline]
pub(crate) fn receive_rest(ip: &mut Ip, now: Instant, mut packet: Packet) -> Option<Received> {
    let (&header, _) = Header::ref_from_prefix(packet.bytes()).ok()?;
    let (header_len, protocol) = (header.header_len(), header.protocol);
    // What is behind the datagram is the frame's padding.
    packet.truncate(header.total_len());
    if header_len > ipv4::HEADER_LEN {
        packet = heed_options(ip, now, packet)?;
    }
    packet.trim_front(header_len);
    if !header.is_fragment() {
        return Some(Received { protocol, packet });
    }
    let piece = Piece {
        key: Key {
            source: header.source().into(),
            destination: header.destination().into(),
            protocol,
            identification: header.identification.get().into(),
        },
        offset: header.fragment_offset(),
        more: header.more_fragments(),
        ecn: header.traffic_class & 0b11,
        header_len: header_len as u16,
    };
    let whole = ip.reassemble(now, piece, packet)?;
    join(protocol, whole).map_err(|reason| ip.count(reason)).ok()
}

/// Looks at a header's options. None of them asks anything of a host but that it says where they
/// contradict themselves (RFC 1122 §3.2.2.5), and it need not take source routes (§3.2.1.8).
#[inline(never)]
fn heed_options(ip: &mut Ip, now: Instant, mut packet: Packet) -> Option<Packet> {
    let mut metadata = Metadata::of(&packet);
    match ipv4::Options::parse(packet.bytes(), metadata.header_len.into()) {
        Err(pointer) => {
            let rest = [pointer, 0, 0, 0];
            icmp::v4::error(ip, now, &metadata, packet, PARAMETER_PROBLEM, 0, rest);
            ip.count(Drop::Ipv4Options);
            None
        }
        Ok(options) if options.source_route > 0 => {
            ip.count(Drop::Ipv4SourceRoute);
            None
        }
        Ok(options) => {
            metadata.router_alert = options.router_alert > 0;
            metadata.note(&mut packet);
            Some(packet)
        }
    }
}

/// To whom a datagram is, if to us, which is not to an address of the host's or to everybody with its prefix.
#[cold]
#[inline(never)]
fn cast(ip: &Ip, header: &Header, datagram: &[u8], link_group: bool) -> Option<Cast> {
    let destination = header.destination();
    if destination.is_broadcast() {
        return Some(Cast::Broadcast);
    }
    if destination.is_multicast() {
        return ip.multicast.is_joined(destination.into()).then_some(Cast::Multicast);
    }
    let to_dhcp_client = || {
        let udp = datagram.get(header.header_len()..).and_then(udp::Header::parse);
        let ours = udp.is_some_and(|udp| udp.destination == dhcpv4::CLIENT_PORT);
        header.protocol == ipv4::UDP && !header.is_fragment() && ours
    };
    let to_anybody = ip.v4.configuring && !link_group && is_unicast(destination);
    (to_anybody && to_dhcp_client()).then_some(Cast::Unicast)
}

/// A datagram that came in fragments, as it would be in one.
#[inline(never)]
fn join(protocol: u8, whole: Whole) -> Result<Received, Drop> {
    let Whole { first, mut payload, ecn } = whole;
    let header = Header::parse(first.bytes()).map_err(|_| Drop::Ipv4Malformed)?;
    let (header_len, hop_limit) = (header.header_len(), header.hop_limit);
    let traffic_class = header.traffic_class & !0b11 | ecn;
    let total_len = u16::try_from(payload.len() + header_len).map_err(|_| Drop::FragmentTooLong)?;
    let headers = first.bytes().get(..header_len).ok_or(Drop::Ipv4Malformed)?;
    payload.prepend(header_len).ok_or(Drop::NoPacket)?.copy_from_slice(headers);
    Header::mend(payload.bytes_mut(), total_len);
    payload.trim_front(header_len);
    // Of the whole is true what is of the last that came, but for what is in its header.
    ControlBlock::of_mut(&mut payload).join(header_len, hop_limit, traffic_class);
    Ok(Received { protocol, packet: payload })
}

/// The address to ask from for one on the link.
pub(crate) fn source_on_link(ip: &Ip, address: Ipv4Addr) -> Option<Ipv4Addr> {
    super::selection::source_v4(ip, address, address)
}

/// What a datagram carries, of which perhaps the end is cut off, and where it goes; `None` if it is
/// not the first fragment.
pub(crate) fn quoted(datagram: &[u8]) -> Option<(&Header, u8, &[u8])> {
    let header = Header::from_quoted(datagram).filter(|header| header.fragment_offset() == 0)?;
    Some((header, header.protocol, datagram.get(header.header_len()..)?))
}
