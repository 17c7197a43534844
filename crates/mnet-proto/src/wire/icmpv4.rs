//! ICMP for IPv4 (RFC 792).

use netdev::Packet;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Checksum;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// Type of an answer to [`ECHO_REQUEST`].
pub const ECHO_REPLY: u8 = 0;
/// Type of an error: the destination cannot be reached.
pub const DESTINATION_UNREACHABLE: u8 = 3;
/// Type of a message that asks for its payload back.
pub const ECHO_REQUEST: u8 = 8;

/// Code of [`DESTINATION_UNREACHABLE`]: nobody listens on the port.
pub const PORT_UNREACHABLE: u8 = 3;

/// The header of every message.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// What it is.
    pub kind: u8,
    /// More about what it is.
    pub code: u8,
    checksum: [u8; 2],
    /// What `kind` makes of it: identifier and sequence number of an echo.
    pub rest: [u8; 4],
}

impl Header {
    /// The header at the front of a message; `None` if it is cut short or its checksum is wrong.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<&Self> {
        let (header, _) = Self::ref_from_prefix(message).ok()?;
        Checksum::new().add_bytes(message).is_valid().then_some(header)
    }

    /// Writes a header in front of `packet`, which holds the rest of the message; `false` if there
    /// is no headroom.
    #[must_use]
    pub fn emit(packet: &mut Packet, kind: u8, code: u8, rest: [u8; 4]) -> bool {
        let mut header = Self { kind, code, checksum: [0; 2], rest };
        header.checksum =
            Checksum::new().add_bytes(header.as_bytes()).add_bytes(packet.bytes()).finish();
        packet.prepend(HEADER_LEN).is_some_and(|bytes| header.write_to(bytes).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv4Slice, Icmpv4Type};
    use netdev::Pool;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_emitted_is_what_is_parsed_here_and_by_etherparse(
            rest: [u8; 4], payload in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut packet = Pool::new(1, 300).take().unwrap();
            packet.append(payload.len()).unwrap().copy_from_slice(&payload);
            prop_assert!(Header::emit(&mut packet, ECHO_REPLY, 0, rest));

            let header = Header::parse(packet.bytes()).unwrap();
            prop_assert_eq!((header.kind, header.code, header.rest), (ECHO_REPLY, 0, rest));

            let theirs = Icmpv4Slice::from_slice(packet.bytes()).unwrap();
            let Icmpv4Type::EchoReply(echo) = theirs.icmp_type() else { panic!("no echo reply") };
            prop_assert_eq!(echo.to_bytes(), rest);
            prop_assert_eq!(theirs.payload(), &payload[..]);
        }

        #[test]
        fn a_changed_bit_is_noticed(rest: [u8; 4], bit in 0usize..64) {
            let mut packet = Pool::new(1, 300).take().unwrap();
            prop_assert!(Header::emit(&mut packet, ECHO_REQUEST, 0, rest));
            packet.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Header::parse(packet.bytes()).is_none());
        }
    }
}
