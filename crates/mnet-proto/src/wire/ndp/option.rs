//! The options of neighbour discovery (RFC 4861 §4.6).

use core::net::Ipv6Addr;

use netdev::{Mac, Packet};

use super::{Preference, append};

pub(super) const SOURCE_LINK: u8 = 1;
pub(super) const TARGET_LINK: u8 = 2;
const PREFIX: u8 = 3;
const REDIRECTED: u8 = 4;
const MTU: u8 = 5;
pub(super) const NONCE: u8 = 14;
const ROUTE: u8 = 24;
const RDNSS: u8 = 25;

const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// The options of a message, checked: each has a length, and ends where the next starts; and an
/// Ethernet address is as long as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// The options that these bytes are; `None` if the length of one is 0 or ends behind them, or is
    /// not an Ethernet address's, whose it should be (RFC 2464 §6).
    pub(super) fn check(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        while let [kind, units, ..] = *rest {
            if matches!(kind, SOURCE_LINK | TARGET_LINK) && units != 1 {
                return None;
            }
            (_, _, rest) = split(rest)?;
        }
        rest.is_empty().then_some(Self(bytes))
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The options in their order.
    pub fn iter(self) -> impl Iterator<Item = NdpOption<'a>> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (kind, body, behind) = split(rest)?;
            rest = behind;
            Some(NdpOption::parse(kind, body).unwrap_or(NdpOption::Unknown(kind)))
        })
    }

    /// The sender's Ethernet address.
    #[must_use]
    pub fn source_link(self) -> Option<Mac> {
        self.iter().find_map(|option| match option {
            NdpOption::SourceLink(mac) => Some(mac),
            _ => None,
        })
    }

    /// The target's Ethernet address.
    #[must_use]
    pub fn target_link(self) -> Option<Mac> {
        self.iter().find_map(|option| match option {
            NdpOption::TargetLink(mac) => Some(mac),
            _ => None,
        })
    }

    /// The number by which the sender knows its own message (RFC 7527 §4).
    #[must_use]
    pub fn nonce(self) -> Option<&'a [u8]> {
        self.iter().find_map(|option| match option {
            NdpOption::Nonce(nonce) => Some(nonce),
            _ => None,
        })
    }

    /// The link's MTU in bytes, as the router says it: any number.
    #[must_use]
    pub fn mtu(self) -> Option<u32> {
        self.iter().find_map(|option| match option {
            NdpOption::Mtu(mtu) => Some(mtu),
            _ => None,
        })
    }
}

/// Type and body of the option at the front, and what is behind it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [kind, units, ..] = *bytes else { return None };
    let (option, behind) = bytes.split_at_checked(usize::from(units) * 8)?;
    // An option of length 0 has no body.
    Some((kind, option.get(2..)?, behind))
}

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdpOption<'a> {
    /// The sender's Ethernet address.
    SourceLink(Mac),
    /// The target's Ethernet address.
    TargetLink(Mac),
    /// A prefix of the link.
    Prefix(Prefix),
    /// The start of the datagram that took the worse way, and perhaps up to 7 bytes of padding.
    Redirected(&'a [u8]),
    /// The link's MTU in bytes.
    Mtu(u32),
    /// Where else the router leads (RFC 4191 §2.3).
    Route {
        /// Addresses that start with this; the bits behind `prefix_len` are 0.
        prefix: Ipv6Addr,
        /// How many of its bits count: at most 128.
        prefix_len: u8,
        /// How it compares to other routers.
        preference: Preference,
        /// Seconds that it lasts; `u32::MAX` is for ever.
        lifetime: u32,
    },
    /// Recursive DNS servers (RFC 8106 §5.1).
    Rdnss {
        /// Seconds that they may be used; `u32::MAX` is for ever, 0 no longer.
        lifetime: u32,
        /// Their addresses, at least one; each makes an [`Ipv6Addr`].
        servers: &'a [[u8; 16]],
    },
    /// A number of the sender's that is in no other message (RFC 3971 §5.3.2): 6 bytes, or 8, 16, …
    /// more.
    Nonce(&'a [u8]),
    /// Of a type that is not known here, or of a form that the type does not have.
    Unknown(u8),
}

/// A prefix of the link (RFC 4861 §4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The prefix; the bits behind `prefix_len` are 0.
    pub prefix: Ipv6Addr,
    /// How many of its bits count: at most 128.
    pub prefix_len: u8,
    /// Whether who has it is on the link.
    pub on_link: bool,
    /// Whether hosts make addresses of it by themselves.
    pub autonomous: bool,
    /// Seconds that it is valid; `u32::MAX` is for ever.
    pub valid: u32,
    /// Seconds that addresses made of it are preferred; `u32::MAX` is for ever.
    pub preferred: u32,
}

impl<'a> NdpOption<'a> {
    /// Reads what is behind type and length; `None` if it is not what the type says.
    fn parse(kind: u8, body: &'a [u8]) -> Option<Self> {
        match kind {
            SOURCE_LINK => Some(Self::SourceLink(Mac(body.try_into().ok()?))),
            TARGET_LINK => Some(Self::TargetLink(Mac(body.try_into().ok()?))),
            PREFIX => parse_prefix(body).map(Self::Prefix),
            REDIRECTED => body.get(6..).map(Self::Redirected),
            MTU => {
                let [_, _, mtu @ ..] = *<&[u8; 6]>::try_from(body).ok()?;
                Some(Self::Mtu(u32::from_be_bytes(mtu)))
            }
            ROUTE => parse_route(body),
            RDNSS => {
                let (&[_, _, lifetime @ ..], addresses) = body.split_first_chunk::<6>()?;
                let (servers, rest) = addresses.as_chunks();
                let lifetime = u32::from_be_bytes(lifetime);
                let valid = !servers.is_empty() && rest.is_empty();
                valid.then_some(Self::Rdnss { lifetime, servers })
            }
            NONCE => Some(Self::Nonce(body)),
            _ => None,
        }
    }

    /// Appends the option to a packet; `false` if there is no room, or it is longer than 2,040
    /// bytes. What is no multiple of 8 bytes is filled up with zeros, and of an unknown option
    /// there is nothing but its type.
    pub(super) fn emit(&self, packet: &mut Packet) -> bool {
        match *self {
            Self::SourceLink(mac) => emit(packet, SOURCE_LINK, &[&mac.0]),
            Self::TargetLink(mac) => emit(packet, TARGET_LINK, &[&mac.0]),
            Self::Prefix(prefix) => emit_prefix(packet, &prefix),
            Self::Redirected(datagram) => emit(packet, REDIRECTED, &[&[0; 6], datagram]),
            Self::Mtu(mtu) => emit(packet, MTU, &[&[0; 2], &mtu.to_be_bytes()]),
            Self::Route { prefix, prefix_len, preference, lifetime } => {
                let head = [prefix_len, preference.flags()];
                let prefix = mask(prefix, prefix_len).octets();
                emit(packet, ROUTE, &[&head, &lifetime.to_be_bytes(), &prefix])
            }
            Self::Rdnss { lifetime, servers } => {
                emit(packet, RDNSS, &[&[0; 2], &lifetime.to_be_bytes(), servers.as_flattened()])
            }
            Self::Nonce(nonce) => emit(packet, NONCE, &[nonce]),
            Self::Unknown(kind) => emit(packet, kind, &[]),
        }
    }
}

fn parse_prefix(body: &[u8]) -> Option<Prefix> {
    let (&[prefix_len, flags], body) = body.split_first_chunk()?;
    let (valid, body) = body.split_first_chunk()?;
    let (preferred, body) = body.split_first_chunk()?;
    let (_reserved, prefix) = body.split_first_chunk::<4>()?;
    let prefix = <[u8; 16]>::try_from(prefix).ok()?;
    (prefix_len <= 128).then(|| Prefix {
        prefix: mask(prefix.into(), prefix_len),
        prefix_len,
        on_link: flags & ON_LINK != 0,
        autonomous: flags & AUTONOMOUS != 0,
        valid: u32::from_be_bytes(*valid),
        preferred: u32::from_be_bytes(*preferred),
    })
}

fn emit_prefix(packet: &mut Packet, prefix: &Prefix) -> bool {
    let mut flags = 0;
    if prefix.on_link {
        flags |= ON_LINK;
    }
    if prefix.autonomous {
        flags |= AUTONOMOUS;
    }
    let parts: [&[u8]; 5] = [
        &[prefix.prefix_len, flags],
        &prefix.valid.to_be_bytes(),
        &prefix.preferred.to_be_bytes(),
        &[0; 4],
        &mask(prefix.prefix, prefix.prefix_len).octets(),
    ];
    emit(packet, PREFIX, &parts)
}

/// RFC 4191 §2.3: of the prefix there may be only as much as counts, and who says the reserved
/// preference is not to be listened to.
fn parse_route<'a>(body: &[u8]) -> Option<NdpOption<'a>> {
    let (&[prefix_len, flags, lifetime @ ..], given) = body.split_first_chunk::<6>()?;
    let preference = Preference::from_flags(flags)?;
    let is_long_enough = usize::from(prefix_len) <= given.len() * 8;
    let mut prefix = [0; 16];
    prefix.get_mut(..given.len())?.copy_from_slice(given);
    is_long_enough.then(|| NdpOption::Route {
        prefix: mask(prefix.into(), prefix_len),
        prefix_len,
        preference,
        lifetime: u32::from_be_bytes(lifetime),
    })
}

/// The address with only its first `prefix_len` bits.
fn mask(address: Ipv6Addr, prefix_len: u8) -> Ipv6Addr {
    let behind = u128::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & !behind)
}

/// Appends an option of these parts, one behind the other, and padding.
pub(super) fn emit(packet: &mut Packet, kind: u8, parts: &[&[u8]]) -> bool {
    let body_len: usize = parts.iter().map(|part| part.len()).sum();
    let units = (2 + body_len).div_ceil(8);
    let Ok(length) = u8::try_from(units) else { return false };
    let padding = units * 8 - 2 - body_len;
    append(packet, &[kind, length])
        && parts.iter().all(|part| append(packet, part))
        && packet.append(padding).map(|bytes| bytes.fill(0)).is_some()
}
