//! UDP (RFC 768).

use netdev::Packet;
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Checksum;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// The header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// From which port; 0 if nobody listens there.
    pub source: U16,
    /// To which port.
    pub destination: U16,
    length: U16,
    checksum: [u8; 2],
}

impl Header {
    /// The header at the front of a datagram; `None` if its length contradicts itself or the bytes
    /// there are. The checksum is yet to be looked at.
    #[must_use]
    #[inline]
    pub fn parse(datagram: &[u8]) -> Option<&Self> {
        let (header, _) = Self::ref_from_prefix(datagram).ok()?;
        (HEADER_LEN..=datagram.len()).contains(&header.len()).then_some(header)
    }

    /// Length of the datagram, header included, in bytes.
    #[must_use]
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "it is at least its header")]
    pub fn len(&self) -> usize {
        self.length.get().into()
    }

    /// Whether the sender has made a checksum: over IPv4 it need not.
    #[must_use]
    #[inline]
    pub fn has_checksum(&self) -> bool {
        self.checksum != [0; 2]
    }

    /// Writes a header in front of `packet`, which holds the payload. `pseudo_header` makes the sum
    /// of the pseudo-header from the datagram's length; without it the device fills in the
    /// checksum.
    ///
    /// `false` if there is no headroom, or the datagram is longer than 65,535 bytes.
    #[must_use]
    #[inline]
    pub fn emit(
        packet: &mut Packet,
        source: u16,
        destination: u16,
        pseudo_header: Option<impl FnOnce(u16) -> Checksum>,
    ) -> bool {
        let Ok(length) = u16::try_from(packet.len() + HEADER_LEN) else { return false };
        let mut checksum = [0; 2];
        if let Some(pseudo_header) = pseudo_header {
            let sum = pseudo_header(length).add_u16(source).add_u16(destination).add_u16(length);
            checksum = self::checksum(sum, packet.bytes());
        }
        Self::emit_with(packet, source, destination, checksum)
    }

    /// The same with a checksum that is known.
    #[must_use]
    #[inline]
    pub fn emit_with(
        packet: &mut Packet,
        source: u16,
        destination: u16,
        checksum: [u8; 2],
    ) -> bool {
        let Ok(length) = u16::try_from(packet.len() + HEADER_LEN) else { return false };
        let header = Self {
            source: U16::new(source),
            destination: U16::new(destination),
            length: U16::new(length),
            checksum,
        };
        packet.prepend(HEADER_LEN).is_some_and(|bytes| header.write_to(bytes).is_ok())
    }

    /// Lets it be of a datagram from one port to another.
    pub fn set_ports(&mut self, (source, destination): (u16, u16)) {
        self.source = U16::new(source);
        self.destination = U16::new(destination);
    }

    /// Lets it be of a datagram of so many bytes, header included, that has this checksum.
    #[inline]
    pub fn set_len(&mut self, length: u16, checksum: [u8; 2]) {
        self.length = U16::new(length);
        self.checksum = checksum;
    }

    /// Its checksum, as it is there.
    #[must_use]
    #[inline]
    pub fn checksum(&self) -> [u8; 2] {
        self.checksum
    }
}

/// The checksum of a datagram, by the sum of its headers and its payload.
#[must_use]
#[inline]
pub fn checksum(headers: Checksum, payload: &[u8]) -> [u8; 2] {
    // Zero says that there is none. As a sum it is the same as all ones.
    match headers.add_bytes(payload).finish() {
        [0, 0] => [0xff, 0xff],
        checksum => checksum,
    }
}

/// From which port to which a datagram goes, of which perhaps only the start is there; `None` if
/// not even that.
#[must_use]
pub fn ports(datagram: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *datagram.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use netdev::Pool;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::ipv4;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn emit(payload: &[u8], source: u16, destination: u16) -> Packet {
        let mut packet = Pool::new(1, 300).take().unwrap();
        packet.append(payload.len()).unwrap().copy_from_slice(payload);
        let pseudo = |length| ipv4::pseudo_header(A, B, ipv4::UDP, length);
        assert!(Header::emit(&mut packet, source, destination, Some(pseudo)));
        packet
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        // With this payload the sum of all else is all ones.
        let sum = emit(&[0, 0], 1, 2).bytes()[6..8].try_into().map(u16::from_be_bytes).unwrap();
        let packet = emit(&sum.to_be_bytes(), 1, 2);
        assert_eq!(packet.bytes()[6..8], [0xff, 0xff]);
        let pseudo = ipv4::pseudo_header(A, B, ipv4::UDP, packet.len() as u16);
        assert!(pseudo.add_bytes(packet.bytes()).is_valid());
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_what_is_parsed_here_and_by_etherparse(
            source: u16, destination: u16,
            payload in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let packet = emit(&payload, source, destination);
            let header = Header::parse(packet.bytes()).unwrap();
            prop_assert_eq!((header.source.get(), header.destination.get()), (source, destination));
            prop_assert_eq!(header.len(), payload.len() + HEADER_LEN);
            prop_assert!(header.has_checksum());

            let (theirs, rest) = etherparse::UdpHeader::from_slice(packet.bytes()).unwrap();
            prop_assert_eq!((theirs.source_port, theirs.destination_port), (source, destination));
            let checksum = theirs.calc_checksum_ipv4_raw(A.octets(), B.octets(), rest).unwrap();
            prop_assert_eq!(theirs.checksum, checksum);
            prop_assert_eq!(rest, &payload[..]);
        }

        #[test]
        fn smoltcp_accepts_the_same_headers(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..40), mend: bool,
        ) {
            if mend && bytes.len() > 6 {
                bytes[2] |= 1;
                bytes[4] = 0;
            }
            let theirs = smoltcp::wire::UdpPacket::new_checked(&bytes[..]);
            // It also refuses destination port 0, which is for the socket table to do here.
            prop_assume!(bytes.len() < 4 || bytes[2..4] != [0, 0]);
            prop_assert_eq!(Header::parse(&bytes).is_some(), theirs.is_ok());
        }
    }
}
