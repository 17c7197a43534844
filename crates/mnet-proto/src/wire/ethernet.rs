//! Ethernet II (IEEE 802.3, RFC 894).

use netdev::{Mac, Packet};
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 14;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6 (RFC 2464).
pub const IPV6: u16 = 0x86dd;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;

/// What tells the address of a group from a card's, in its first byte.
const GROUP: u8 = 1;

/// The header in front of every frame.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// To whom.
    pub destination: [u8; 6],
    /// From whom.
    pub source: [u8; 6],
    /// What is in it; below 0x0600 it is a length (IEEE 802.3), which is not IP's.
    pub ethertype: U16,
}

impl Header {
    /// The header of a frame; `None` if it is too short to have one.
    #[must_use]
    #[inline]
    pub fn parse(frame: &[u8]) -> Option<&Self> {
        Self::ref_from_prefix(frame).ok().map(|(header, _)| header)
    }

    /// Whether it is to several cards: to a group, or to everybody.
    #[must_use]
    #[inline]
    pub fn is_to_group(&self) -> bool {
        self.destination[0] & GROUP != 0
    }

    /// Whether it says that a group has sent it.
    #[must_use]
    #[inline]
    pub fn is_from_group(&self) -> bool {
        self.source[0] & GROUP != 0
    }

    /// A header.
    #[must_use]
    #[inline]
    pub fn new(destination: Mac, source: Mac, ethertype: u16) -> Self {
        Self { destination: destination.0, source: source.0, ethertype: U16::new(ethertype) }
    }

    /// Writes the header in front of `packet`; `false` if it has no headroom.
    #[must_use]
    #[inline]
    pub fn emit(packet: &mut Packet, destination: Mac, source: Mac, ethertype: u16) -> bool {
        let header = Self::new(destination, source, ethertype);
        packet.prepend(HEADER_LEN).is_some_and(|bytes| header.write_to(bytes).is_ok())
    }
}
