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
/// Type of an error: the sender is too fast. It means nothing any more (RFC 6633).
pub const SOURCE_QUENCH: u8 = 4;
/// Type of a router's hint to a better first hop.
pub const REDIRECT: u8 = 5;
/// The last code of [`REDIRECT`]: for networks or hosts, with any type of service or the same.
pub const REDIRECT_LAST: u8 = 3;
/// Type of a message that asks for its payload back.
pub const ECHO_REQUEST: u8 = 8;
/// Type of an error: it took too long.
pub const TIME_EXCEEDED: u8 = 11;
/// Type of an error: a header is wrong at the offset in the first of the header's last four bytes.
pub const PARAMETER_PROBLEM: u8 = 12;

/// Type of a message that asks what time it is.
pub const TIMESTAMP: u8 = 13;
/// Type of an answer to [`TIMESTAMP`].
pub const TIMESTAMP_REPLY: u8 = 14;
/// Length in bytes of the times behind the header of either: when the request left, came, and was
/// answered.
pub const TIMES_LEN: usize = 12;
/// What a time has that is not in milliseconds since midnight UT.
pub const NO_STANDARD_TIME: u32 = 0x8000_0000;

/// Code of [`DESTINATION_UNREACHABLE`]: no route leads to the network.
pub const NETWORK_UNREACHABLE: u8 = 0;
/// Code of [`DESTINATION_UNREACHABLE`]: nobody has the address.
pub const HOST_UNREACHABLE: u8 = 1;
/// Code of [`DESTINATION_UNREACHABLE`]: the host does not know the protocol.
pub const PROTOCOL_UNREACHABLE: u8 = 2;
/// Code of [`DESTINATION_UNREACHABLE`]: nobody listens on the port.
pub const PORT_UNREACHABLE: u8 = 3;
/// Code of [`DESTINATION_UNREACHABLE`]: it is longer than the next link's MTU, which is in the
/// header's last two bytes (RFC 1191 §4), and may not be fragmented.
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// Code of [`DESTINATION_UNREACHABLE`]: the way that the source wants leads nowhere.
pub const SOURCE_ROUTE_FAILED: u8 = 5;
/// Code of [`DESTINATION_UNREACHABLE`]: there is no such network (this and the following two:
/// RFC 1122 §3.2.2.1).
pub const NETWORK_UNKNOWN: u8 = 6;
/// Code of [`DESTINATION_UNREACHABLE`]: there is no such host.
pub const HOST_UNKNOWN: u8 = 7;
/// Code of [`DESTINATION_UNREACHABLE`]: the source is isolated.
pub const SOURCE_HOST_ISOLATED: u8 = 8;
/// Code of [`DESTINATION_UNREACHABLE`]: the network is prohibited by an administrator.
pub const NETWORK_PROHIBITED: u8 = 9;
/// Code of [`DESTINATION_UNREACHABLE`]: the host is prohibited by an administrator.
pub const HOST_PROHIBITED: u8 = 10;
/// Code of [`DESTINATION_UNREACHABLE`]: no route leads to the network with this type of service.
pub const NETWORK_UNREACHABLE_FOR_SERVICE: u8 = 11;
/// Code of [`DESTINATION_UNREACHABLE`]: no route leads to the host with this type of service.
pub const HOST_UNREACHABLE_FOR_SERVICE: u8 = 12;
/// Code of [`DESTINATION_UNREACHABLE`]: a filter is against it (this and the following:
/// RFC 1812 §5.2.7.1).
pub const COMMUNICATION_PROHIBITED: u8 = 13;
/// Code of [`DESTINATION_UNREACHABLE`]: its precedence is not allowed.
pub const PRECEDENCE_VIOLATION: u8 = 14;
/// Code of [`DESTINATION_UNREACHABLE`]: its precedence is too low.
pub const PRECEDENCE_CUTOFF: u8 = 15;

/// Code of [`TIME_EXCEEDED`]: there were more hops than it might take.
pub const TTL: u8 = 0;
/// Code of [`TIME_EXCEEDED`]: not all fragments came in time.
pub const REASSEMBLY: u8 = 1;

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
