//! Neighbour discovery (RFC 4861), with default router preferences and more-specific routes
//! (RFC 4191), DNS servers (RFC 8106) and the nonce that tells one's own solicitation that came
//! back from another's (RFC 7527).
//!
//! A message is read once its ICMPv6 header is checked. What the IPv6 header must say of it is for
//! the caller to see to: a hop limit of 255, and which addresses go with which message (§6.1, §7.1,
//! §8.1).

use core::net::Ipv6Addr;

use netdev::{Mac, Packet};
use zerocopy::FromBytes;

use super::icmpv6::{
    self, NEIGHBOR_ADVERT, NEIGHBOR_SOLICIT, REDIRECT, ROUTER_ADVERT, ROUTER_SOLICIT,
};

mod option;
#[cfg(test)]
mod tests;

use self::option::{NONCE, SOURCE_LINK, TARGET_LINK};
pub use self::option::{NdpOption, Options, Prefix};

const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A host looks for routers (§4.1).
    RouterSolicit {
        /// May have the sender's Ethernet address.
        options: Options<'a>,
    },
    /// A router says what it is and what the link is like (§4.2).
    RouterAdvert(RouterAdvert<'a>),
    /// Somebody looks for a neighbour (§4.3).
    NeighborSolicit {
        /// Whose Ethernet address is looked for.
        target: Ipv6Addr,
        /// May have the sender's Ethernet address and a nonce.
        options: Options<'a>,
    },
    /// A neighbour says who it is (§4.4).
    NeighborAdvert {
        /// Whether it is a router.
        router: bool,
        /// Whether it answers a solicitation.
        solicited: bool,
        /// Whether it counts more than what is known already.
        overrides: bool,
        /// Who it is.
        target: Ipv6Addr,
        /// May have its Ethernet address.
        options: Options<'a>,
    },
    /// A router knows of a better first hop (§4.5).
    Redirect {
        /// The better first hop: a router's link-local address, or `destination` itself.
        target: Ipv6Addr,
        /// What it is a better first hop to.
        destination: Ipv6Addr,
        /// May have the target's Ethernet address and what was redirected.
        options: Options<'a>,
    },
}

/// What a router says of itself and of the link (§4.2). By default it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterAdvert<'a> {
    /// The hop limit that hosts are to use; 0 if the router has no opinion.
    pub hop_limit: u8,
    /// Whether addresses are to be had by DHCPv6.
    pub managed: bool,
    /// Whether other things are to be had by DHCPv6.
    pub other: bool,
    /// How it compares to other routers.
    pub preference: Preference,
    /// For how many seconds it is a default router; 0 if it is none.
    pub lifetime: u16,
    /// For how many milliseconds a neighbour is reachable once that was seen; 0 for no opinion.
    pub reachable: u32,
    /// Milliseconds between solicitations; 0 for no opinion.
    pub retransmit: u32,
    /// Prefixes, routes, and more.
    pub options: Options<'a>,
}

/// How a router compares to others (RFC 4191 §2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preference {
    /// To be used when there is no other.
    Low,
    /// As routers are that say nothing of it.
    #[default]
    Medium,
    /// To be used before others.
    High,
}

impl Preference {
    /// From the bits where both kinds of messages have it; `None` if they are the reserved value.
    fn from_flags(flags: u8) -> Option<Self> {
        match flags >> 3 & 3 {
            0 => Some(Self::Medium),
            1 => Some(Self::High),
            3 => Some(Self::Low),
            _ => None,
        }
    }

    fn flags(self) -> u8 {
        match self {
            Self::Medium => 0,
            Self::High => 1 << 3,
            Self::Low => 3 << 3,
        }
    }
}

impl<'a> Message<'a> {
    /// Reads an ICMPv6 message of type `kind`, given from its type on. `None` if it is of another
    /// protocol, or invalid: cut short, of a code that is not 0, with an option whose length is 0
    /// or ends behind the message, of a target that is a group, or redirected to what is neither
    /// link-local nor the destination.
    #[must_use]
    pub fn parse(kind: u8, message: &'a [u8]) -> Option<Self> {
        let (header, body) = icmpv6::Header::ref_from_prefix(message).ok()?;
        if header.code != 0 {
            return None;
        }
        match kind {
            ROUTER_SOLICIT => Some(Self::RouterSolicit { options: Options::check(body)? }),
            ROUTER_ADVERT => RouterAdvert::parse(header.rest, body).map(Self::RouterAdvert),
            NEIGHBOR_SOLICIT => {
                let (target, body) = take_unicast(body)?;
                Some(Self::NeighborSolicit { target, options: Options::check(body)? })
            }
            NEIGHBOR_ADVERT => {
                let (target, body) = take_unicast(body)?;
                let [flags, ..] = header.rest;
                Some(Self::NeighborAdvert {
                    router: flags & ROUTER != 0,
                    solicited: flags & SOLICITED != 0,
                    overrides: flags & OVERRIDE != 0,
                    target,
                    options: Options::check(body)?,
                })
            }
            REDIRECT => {
                let (target, body) = take_unicast(body)?;
                let (destination, body) = take_unicast(body)?;
                if !target.is_unicast_link_local() && target != destination {
                    return None;
                }
                Some(Self::Redirect { target, destination, options: Options::check(body)? })
            }
            _ => None,
        }
    }
}

impl<'a> RouterAdvert<'a> {
    fn parse([hop_limit, flags, lifetime @ ..]: [u8; 4], body: &'a [u8]) -> Option<Self> {
        let (reachable, body) = body.split_first_chunk()?;
        let (retransmit, body) = body.split_first_chunk()?;
        Some(Self {
            hop_limit,
            managed: flags & MANAGED != 0,
            other: flags & OTHER != 0,
            // RFC 4191 §2.2: the reserved value is to be taken for medium.
            preference: Preference::from_flags(flags).unwrap_or_default(),
            lifetime: u16::from_be_bytes(lifetime),
            reachable: u32::from_be_bytes(*reachable),
            retransmit: u32::from_be_bytes(*retransmit),
            options: Options::check(body)?,
        })
    }
}

fn take_unicast(bytes: &[u8]) -> Option<(Ipv6Addr, &[u8])> {
    let (address, rest) = bytes.split_first_chunk::<16>()?;
    let address = Ipv6Addr::from(*address);
    (!address.is_multicast()).then_some((address, rest))
}

/// Writes a router solicitation into an empty packet; `false`, and the packet is of no use, if
/// there is no room. From the unspecified address it has no
/// `source_link` either (§4.1).
#[must_use]
pub fn router_solicit(
    packet: &mut Packet,
    source_link: Option<Mac>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> bool {
    emit_link(packet, SOURCE_LINK, source_link)
        && icmpv6::Header::emit(packet, ROUTER_SOLICIT, 0, [0; 4], source, destination)
}

/// Writes a router advertisement into an empty packet: its options as they are, and behind them
/// `more`; `false`, and the packet is of no use, if there is no room.
#[must_use]
pub fn router_advert(
    packet: &mut Packet,
    advert: &RouterAdvert<'_>,
    more: &[NdpOption<'_>],
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> bool {
    let mut flags = advert.preference.flags();
    if advert.managed {
        flags |= MANAGED;
    }
    if advert.other {
        flags |= OTHER;
    }
    let [high, low] = advert.lifetime.to_be_bytes();
    let rest = [advert.hop_limit, flags, high, low];
    append(packet, &advert.reachable.to_be_bytes())
        && append(packet, &advert.retransmit.to_be_bytes())
        && append(packet, advert.options.bytes())
        && more.iter().all(|option| option.emit(packet))
        && icmpv6::Header::emit(packet, ROUTER_ADVERT, 0, rest, source, destination)
}

/// Writes a neighbour solicitation into an empty packet; `false`, and the packet is of no use, if
/// there is no room. One that looks for another with the same address has a nonce, and no
/// `source_link` (RFC 4862 §5.4.2, RFC 7527 §4.1).
#[must_use]
pub fn neighbor_solicit(
    packet: &mut Packet,
    target: Ipv6Addr,
    source_link: Option<Mac>,
    nonce: Option<[u8; 6]>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> bool {
    append(packet, &target.octets())
        && emit_link(packet, SOURCE_LINK, source_link)
        && nonce.is_none_or(|nonce| option::emit(packet, NONCE, &[&nonce]))
        && icmpv6::Header::emit(packet, NEIGHBOR_SOLICIT, 0, [0; 4], source, destination)
}

/// The flags of a neighbour advertisement (§4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdvertFlags {
    /// The sender is a router.
    pub router: bool,
    /// It answers a solicitation.
    pub solicited: bool,
    /// It counts more than what is known already.
    pub overrides: bool,
}

/// Writes a neighbour advertisement into an empty packet; `false`, and the packet is of no use, if
/// there is no room.
#[must_use]
pub fn neighbor_advert(
    packet: &mut Packet,
    flags: AdvertFlags,
    target: Ipv6Addr,
    target_link: Option<Mac>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> bool {
    let mut rest = [0; 4];
    for (is_set, flag) in
        [(flags.router, ROUTER), (flags.solicited, SOLICITED), (flags.overrides, OVERRIDE)]
    {
        if is_set {
            rest[0] |= flag;
        }
    }
    append(packet, &target.octets())
        && emit_link(packet, TARGET_LINK, target_link)
        && icmpv6::Header::emit(packet, NEIGHBOR_ADVERT, 0, rest, source, destination)
}

/// Writes a redirect of `redirected` into an empty packet; `false`, and the packet is of no use, if
/// there is no room. `quoted` is the start of the datagram that took the worse way; it is filled up
/// to a multiple of 8 bytes.
#[must_use]
pub fn redirect(
    packet: &mut Packet,
    target: Ipv6Addr,
    redirected: Ipv6Addr,
    target_link: Option<Mac>,
    quoted: Option<&[u8]>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> bool {
    append(packet, &target.octets())
        && append(packet, &redirected.octets())
        && emit_link(packet, TARGET_LINK, target_link)
        && quoted.is_none_or(|quoted| NdpOption::Redirected(quoted).emit(packet))
        && icmpv6::Header::emit(packet, REDIRECT, 0, [0; 4], source, destination)
}

// The options that a host sends are written without the others: an image need not have those.
fn emit_link(packet: &mut Packet, kind: u8, mac: Option<Mac>) -> bool {
    mac.is_none_or(|mac| option::emit(packet, kind, &[&mac.0]))
}

fn append(packet: &mut Packet, bytes: &[u8]) -> bool {
    packet.append(bytes.len()).map(|to| to.copy_from_slice(bytes)).is_some()
}
