//! IPv4 (RFC 791).

use core::net::Ipv4Addr;

use netdev::{Mac, Packet};
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use self::options::ROUTER_ALERT;
pub use self::options::{MAX_OPTIONS_LEN, Options, ROUTER_ALERT_LEN};
use super::Checksum;

mod options;
#[cfg(test)]
mod tests;

/// Length in bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// Length in bytes of the longest header.
pub const MAX_HEADER_LEN: usize = HEADER_LEN + MAX_OPTIONS_LEN;
/// The smallest MTU that a link may have (RFC 791 §3.2).
pub const MIN_MTU: u16 = 68;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of IGMP.
pub const IGMP: u8 = 2;
/// Protocol number of UDP.
pub const UDP: u8 = 17;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// The header, without its options.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    version_ihl: u8,
    /// DSCP in the upper six bits (RFC 2474), ECN in the lower two (RFC 3168).
    pub traffic_class: u8,
    total_length: U16,
    /// Identification of the datagram that a fragment is of.
    pub identification: U16,
    fragment: U16,
    /// Time to live.
    pub hop_limit: u8,
    /// What is in it.
    pub protocol: u8,
    checksum: [u8; 2],
    source: [u8; 4],
    destination: [u8; 4],
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end before the header does.
    Truncated,
    /// It is not of version 4.
    Version,
    /// Its lengths contradict each other, or the bytes there are.
    Length,
}

impl Header {
    /// The header at the front of a datagram, if its version and lengths are right. The checksum is
    /// yet to be looked at.
    ///
    /// # Errors
    /// What is wrong.
    #[inline]
    pub fn parse(datagram: &[u8]) -> Result<&Self, Malformed> {
        let (header, _) = Self::ref_from_prefix(datagram).map_err(|_| Malformed::Truncated)?;
        if header.version_ihl >> 4 != 4 {
            return Err(Malformed::Version);
        }
        let (header_len, total_len) = (header.header_len(), header.total_len());
        if header_len < HEADER_LEN || total_len < header_len || total_len > datagram.len() {
            return Err(Malformed::Length);
        }
        Ok(header)
    }

    /// The header at the front of what an ICMP error quotes, of which the end is cut off; `None` if
    /// it is not all there.
    #[must_use]
    pub fn from_quoted(quoted: &[u8]) -> Option<&Self> {
        let (header, _) = Self::ref_from_prefix(quoted).ok()?;
        let header_len = header.header_len();
        let whole = (HEADER_LEN..=quoted.len()).contains(&header_len);
        (header.version_ihl >> 4 == 4 && whole).then_some(header)
    }

    /// Writes a header in front of `packet`, which holds what is to be sent. Without `checksum` the
    /// device fills that in.
    ///
    /// `false` if there is no headroom, or the datagram is longer than 65,535 bytes.
    #[must_use]
    #[inline]
    pub fn emit(packet: &mut Packet, fields: &Fields, checksum: bool) -> bool {
        let options: &[u8] = if fields.router_alert { &ROUTER_ALERT } else { &[] };
        let header_len = HEADER_LEN + options.len();
        let Ok(total_length) = u16::try_from(packet.len() + header_len) else { return false };
        let header = Self {
            version_ihl: 0x40 | (header_len / 4) as u8,
            traffic_class: fields.traffic_class,
            total_length: U16::new(total_length),
            identification: U16::new(fields.identification),
            fragment: U16::new(if fields.dont_fragment { DONT_FRAGMENT } else { 0 }),
            hop_limit: fields.hop_limit,
            protocol: fields.protocol,
            checksum: [0; 2],
            source: fields.source.octets(),
            destination: fields.destination.octets(),
        };
        header.write_before(packet, options, checksum)
    }

    /// Writes a header in front of `packet`, which holds a part of what a datagram holds: the part
    /// that starts so many bytes into it, with others behind it or not. The header is as that of the
    /// whole, with the given options, a multiple of 4 bytes long. Without `checksum` the device fills
    /// that in.
    ///
    /// `false` if there is no headroom, the offset is no multiple of 8, or the part ends where no
    /// datagram does, behind 65,535 bytes.
    #[must_use]
    pub fn emit_fragment(
        packet: &mut Packet,
        (whole, options): (&Self, &[u8]),
        (offset, more): (usize, bool),
        checksum: bool,
    ) -> bool {
        let header_len = HEADER_LEN + options.len();
        let total_len = packet.len() + header_len;
        let fits = offset.checked_add(total_len).is_some_and(|end| end <= u16::MAX.into());
        if !fits || !offset.is_multiple_of(8) || header_len > MAX_HEADER_LEN {
            return false;
        }
        let more = if more { MORE_FRAGMENTS } else { 0 };
        let header = Self {
            version_ihl: 0x40 | (header_len / 4) as u8,
            total_length: U16::new(total_len as u16),
            fragment: U16::new((offset / 8) as u16 | more),
            checksum: [0; 2],
            ..*whole
        };
        header.write_before(packet, options, checksum)
    }

    /// Writes it with its options in front of a packet, and its checksum, if the device does not.
    fn write_before(mut self, packet: &mut Packet, options: &[u8], checksum: bool) -> bool {
        if checksum {
            self.checksum = self.sum(options).finish();
        }
        let Some(bytes) = packet.prepend(HEADER_LEN + options.len()) else { return false };
        let (front, behind) = bytes.split_at_mut(HEADER_LEN);
        if !options.is_empty() {
            behind.copy_from_slice(options);
        }
        self.write_to(front).is_ok()
    }

    /// The sum of it and its options.
    fn sum(&self, options: &[u8]) -> Checksum {
        let sum = Checksum::new().add_bytes(self.as_bytes());
        if options.is_empty() { sum } else { sum.add_bytes(options) }
    }

    /// Makes the header of a first fragment that of the whole datagram, which is `total_len` bytes
    /// long, header included. Does nothing to bytes that end before their header does.
    pub fn mend(datagram: &mut [u8], total_len: u16) {
        let Ok((header, behind)) = Self::mut_from_prefix(datagram) else { return };
        let options_len = header.header_len().saturating_sub(HEADER_LEN);
        let Some(options) = behind.get(..options_len) else { return };
        header.total_length = U16::new(total_len);
        header.fragment = U16::ZERO;
        header.checksum = [0; 2];
        header.checksum = header.sum(options).finish();
    }

    /// The sum of a header without options, but for its total length.
    #[must_use]
    pub fn sum_without_len(&self) -> Checksum {
        let plain = Self { total_length: U16::ZERO, checksum: [0; 2], ..*self };
        Checksum::new().add_bytes(plain.as_bytes())
    }

    /// The sum of a header without options as parts of its datagram have it, but for the total length and
    /// for which part it is.
    #[must_use]
    pub fn sum_of_parts(&self) -> Checksum {
        Self { fragment: U16::ZERO, ..*self }.sum_without_len()
    }

    /// Lets a header without options be that of a part of the datagram: of so many bytes of payload,
    /// starting so many bytes into what the datagram holds, with others behind it or not. Its checksum is
    /// made of [`Header::sum_of_parts`], or left to the device.
    ///
    /// Parts start at multiples of 8, and none ends where no datagram does; the rest of the numbers is
    /// lost.
    #[inline]
    pub fn set_part(
        &mut self,
        (offset, more): (usize, bool),
        payload_len: u16,
        sum: Option<Checksum>,
    ) {
        let fragment =
            (offset / 8) as u16 & FRAGMENT_OFFSET | if more { MORE_FRAGMENTS } else { 0 };
        self.fragment = U16::new(fragment);
        self.set_len(payload_len, sum.map(|sum| sum.add_u16(fragment)));
    }

    /// Lets it be that of a datagram that nobody may make parts of, of which no number tells others
    /// (RFC 6864 §4.1). Its checksum is to be made anew.
    pub fn set_whole(&mut self) {
        (self.identification, self.fragment) = (U16::ZERO, U16::new(DONT_FRAGMENT));
    }

    /// Lets it go to another address. Its checksum is to be made anew.
    pub fn set_destination(&mut self, destination: Ipv4Addr) {
        self.destination = destination.octets();
    }

    /// Lets a header without options be that of so many bytes of payload. Its checksum is made of
    /// [`Header::sum_without_len`], or left to the device.
    #[inline]
    pub fn set_len(&mut self, payload_len: u16, sum: Option<Checksum>) {
        let total_length = payload_len.wrapping_add(HEADER_LEN as u16);
        self.total_length = U16::new(total_length);
        self.checksum = sum.map_or([0; 2], |sum| sum.add_u16(total_length).finish());
    }

    /// Length of the header with its options, in bytes: 20 to 60 in one that was parsed.
    #[must_use]
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.version_ihl & 0x0f) * 4
    }

    /// Length of the datagram, header included, in bytes.
    #[must_use]
    #[inline]
    pub fn total_len(&self) -> usize {
        self.total_length.get().into()
    }

    /// Whether this is a part of a datagram.
    #[must_use]
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment.get() & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0
    }

    /// Where this part starts in what the datagram holds, in bytes.
    #[must_use]
    #[inline]
    pub fn fragment_offset(&self) -> usize {
        usize::from(self.fragment.get() & FRAGMENT_OFFSET) * 8
    }

    /// Whether there are parts behind this one.
    #[must_use]
    #[inline]
    pub fn more_fragments(&self) -> bool {
        self.fragment.get() & MORE_FRAGMENTS != 0
    }

    /// Whether nobody may make parts of it.
    #[must_use]
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.fragment.get() & DONT_FRAGMENT != 0
    }

    /// Who sent it and to whom it goes, one behind the other.
    #[must_use]
    #[inline]
    pub fn addresses(&self) -> &[u8] {
        &self.as_bytes()[12..]
    }

    /// Who sent it.
    #[must_use]
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        self.source.into()
    }

    /// To whom it goes.
    #[must_use]
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        self.destination.into()
    }
}

/// What a header says that [`Header::emit`] cannot know.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// Who sends it.
    pub source: Ipv4Addr,
    /// To whom it goes.
    pub destination: Ipv4Addr,
    /// What is in it.
    pub protocol: u8,
    /// Time to live.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// What is the same in all its parts, and in no other datagram's between the same hosts.
    pub identification: u16,
    /// Whether nobody may make parts of it.
    pub dont_fragment: bool,
    /// Whether routers are to look inside (RFC 2113): the header is then four bytes longer.
    pub router_alert: bool,
}

/// Whether the header of a datagram that was parsed has the right checksum.
#[must_use]
#[inline]
pub fn checksum_is_valid(datagram: &[u8], header_len: usize) -> bool {
    if header_len == HEADER_LEN {
        let header = datagram.first_chunk::<HEADER_LEN>();
        return header.is_some_and(|header| Checksum::new().add_bytes(header).is_valid());
    }
    datagram.get(..header_len).is_some_and(|header| Checksum::new().add_bytes(header).is_valid())
}

/// The sum of the pseudo-header that UDP checks (RFC 768).
#[must_use]
#[inline]
pub fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: u16) -> Checksum {
    Checksum::new()
        .add_bytes(&source.octets())
        .add_bytes(&destination.octets())
        .add_u16(protocol.into())
        .add_u16(len)
}

/// The Ethernet address of a group (RFC 1112 §6.4).
#[must_use]
pub fn multicast_mac(group: Ipv4Addr) -> Mac {
    let [_, a, b, c] = group.octets();
    Mac([0x01, 0x00, 0x5e, a & 0x7f, b, c])
}
