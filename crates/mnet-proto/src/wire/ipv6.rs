//! IPv6 (RFC 8200), and what its addresses say of themselves (RFC 4291).

use core::net::Ipv6Addr;

use netdev::{Mac, Packet};
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Checksum;

mod extension;
#[cfg(test)]
mod tests;

pub use self::extension::{
    Action, FRAGMENT_LEN, Fragment, JUMBO_PAYLOAD, Opt, Options, OptionsIter, ROUTER_ALERT,
    ROUTER_ALERT_HOP_BY_HOP, Routing, options,
};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 40;
/// The smallest MTU that a link may have (RFC 8200 §5).
pub const MIN_MTU: u16 = 1280;

/// Next-header number of the options that every node on the way looks at.
pub const HOP_BY_HOP: u8 = 0;
/// Next-header number of a routing header.
pub const ROUTING: u8 = 43;
/// Next-header number of a fragment header.
pub const FRAGMENT: u8 = 44;
/// Next-header number of ICMPv6.
pub const ICMP: u8 = 58;
/// Next-header number that says that nothing follows.
pub const NO_NEXT_HEADER: u8 = 59;
/// Next-header number of the options that the destination looks at.
pub const DESTINATION_OPTIONS: u8 = 60;

/// All nodes of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers of the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The header, without its extensions.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    version_class_flow: U32,
    payload_length: U16,
    /// What comes behind it.
    pub next_header: u8,
    /// How many more hops it may take.
    pub hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end before the header, or the option, does.
    Truncated,
    /// It is not of version 6.
    Version,
    /// Its payload is longer than the bytes there are.
    Length,
    /// There is more padding than alignment asks for, or something is in it.
    Padding,
}

impl Header {
    /// The header at the front of a datagram, if its version and length are right.
    ///
    /// # Errors
    /// What is wrong.
    #[inline]
    pub fn parse(datagram: &[u8]) -> Result<&Self, Malformed> {
        let (header, payload) =
            Self::ref_from_prefix(datagram).map_err(|_| Malformed::Truncated)?;
        header.check(payload.len())?;
        Ok(header)
    }

    /// As [`Header::parse`], to be changed.
    ///
    /// # Errors
    /// What is wrong.
    #[inline]
    pub fn parse_mut(datagram: &mut [u8]) -> Result<&mut Self, Malformed> {
        let (header, payload) =
            Self::mut_from_prefix(datagram).map_err(|_| Malformed::Truncated)?;
        header.check(payload.len())?;
        Ok(header)
    }

    #[inline]
    fn check(&self, available: usize) -> Result<(), Malformed> {
        if self.version_class_flow.get() >> 28 != 6 {
            return Err(Malformed::Version);
        }
        if self.payload_len() > available {
            return Err(Malformed::Length);
        }
        Ok(())
    }

    /// Writes a header in front of `packet`, which holds the payload: extension headers and what is
    /// behind them.
    ///
    /// `false` if there is no headroom, or the payload is longer than 65,535 bytes.
    #[must_use]
    #[inline]
    pub fn emit(packet: &mut Packet, fields: &Fields) -> bool {
        let Ok(payload_length) = u16::try_from(packet.len()) else { return false };
        let class_flow = u32::from(fields.traffic_class) << 20 | fields.flow_label & 0x000f_ffff;
        let header = Self {
            version_class_flow: U32::new(6 << 28 | class_flow),
            payload_length: U16::new(payload_length),
            next_header: fields.next_header,
            hop_limit: fields.hop_limit,
            source: fields.source.octets(),
            destination: fields.destination.octets(),
        };
        packet.prepend(HEADER_LEN).is_some_and(|bytes| header.write_to(bytes).is_ok())
    }

    /// Lets it go to another address.
    pub fn set_destination(&mut self, destination: Ipv6Addr) {
        self.destination = destination.octets();
    }

    /// Lets it belong to a flow, of whose label 20 bits count.
    pub fn set_flow_label(&mut self, label: u32) {
        let class = self.version_class_flow.get() & !0x000f_ffff;
        self.version_class_flow = U32::new(class | label & 0x000f_ffff);
    }

    /// DSCP in the upper six bits (RFC 2474), ECN in the lower two (RFC 3168).
    #[must_use]
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// The flow it belongs to (RFC 6437): 20 bits, 0 if it is of none.
    #[must_use]
    #[inline]
    pub fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & 0x000f_ffff
    }

    /// Length of what is behind this header, extension headers included, in bytes.
    #[must_use]
    #[inline]
    pub fn payload_len(&self) -> usize {
        self.payload_length.get().into()
    }

    /// Says how long what is behind this header is, in bytes.
    #[inline]
    pub fn set_payload_len(&mut self, len: u16) {
        self.payload_length = U16::new(len);
    }

    /// Who sent it and to whom it goes, one behind the other.
    #[must_use]
    #[inline]
    pub fn addresses(&self) -> &[u8] {
        &self.as_bytes()[8..]
    }

    /// Who sent it.
    #[must_use]
    #[inline]
    pub fn source(&self) -> Ipv6Addr {
        self.source.into()
    }

    /// To whom it goes.
    #[must_use]
    #[inline]
    pub fn destination(&self) -> Ipv6Addr {
        self.destination.into()
    }
}

/// What a header says that [`Header::emit`] cannot know.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// Who sends it.
    pub source: Ipv6Addr,
    /// To whom it goes.
    pub destination: Ipv6Addr,
    /// What is behind the header.
    pub next_header: u8,
    /// How many hops it may take.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// The flow, in the lower 20 bits.
    pub flow_label: u32,
}

/// The sum of the pseudo-header that UDP and ICMPv6 check (RFC 8200 §8.1); `len` is that of the
/// upper-layer packet in bytes.
#[must_use]
#[inline]
pub fn pseudo_header(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    len: u32,
) -> Checksum {
    Checksum::new()
        .add_bytes(&source.octets())
        .add_bytes(&destination.octets())
        .add_u32(len)
        .add_u32(next_header.into())
}

/// Whether a host can have this address and others can reach it there: it is neither unspecified,
/// nor loopback, nor multicast, nor a mapped IPv4 address, which has no place on a wire.
#[must_use]
#[inline]
pub fn is_host_address(address: Ipv6Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.to_ipv4_mapped().is_some())
}

/// The group of those whose address ends in the same 24 bits (RFC 4291 §2.7.1).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The Ethernet address of a group (RFC 2464 §7).
#[must_use]
pub fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// How far an address reaches, as a multicast scope (RFC 6724 §3.1): 2 is the link, 5 the site, 14
/// the world. Loopback counts as the link.
#[must_use]
pub fn scope(address: Ipv6Addr) -> u8 {
    match address.octets() {
        [0xff, flags_scope, ..] => flags_scope & 0x0f,
        [0xfe, 0x80..=0xbf, ..] => 2,
        [0xfe, 0xc0..=0xff, ..] => 5,
        _ if address.is_loopback() => 2,
        _ => 14,
    }
}
