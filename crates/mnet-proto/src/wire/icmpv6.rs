//! ICMP for IPv6 (RFC 4443).

use core::net::Ipv6Addr;

use netdev::Packet;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Checksum, ipv6};

#[cfg(test)]
mod tests;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// Type of an error: the destination cannot be reached.
pub const DESTINATION_UNREACHABLE: u8 = 1;
/// Type of an error: the next link's MTU, which is in the header's last four bytes, is too small.
pub const PACKET_TOO_BIG: u8 = 2;
/// Type of an error: it took too long.
pub const TIME_EXCEEDED: u8 = 3;
/// Type of an error: a header is wrong at the offset in the header's last four bytes.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Type of a message that asks for its payload back.
pub const ECHO_REQUEST: u8 = 128;
/// Type of an answer to [`ECHO_REQUEST`].
pub const ECHO_REPLY: u8 = 129;
/// Type of a router's question who listens to which groups (RFC 2710, RFC 3810).
pub const MLD_QUERY: u8 = 130;
/// Type of a version 1 report of a group that is listened to (RFC 2710).
pub const MLD_REPORT: u8 = 131;
/// Type of a version 1 message that a group is no longer listened to (RFC 2710).
pub const MLD_DONE: u8 = 132;
/// Type of a version 2 report (RFC 3810).
pub const MLD_V2_REPORT: u8 = 143;
/// Type of a host's question for routers (RFC 4861).
pub const ROUTER_SOLICIT: u8 = 133;
/// Type of what a router says of itself and of the link (RFC 4861).
pub const ROUTER_ADVERT: u8 = 134;
/// Type of the question who has an address (RFC 4861).
pub const NEIGHBOR_SOLICIT: u8 = 135;
/// Type of the answer who has an address (RFC 4861).
pub const NEIGHBOR_ADVERT: u8 = 136;
/// Type of a router's hint to a better first hop (RFC 4861).
pub const REDIRECT: u8 = 137;

/// Code of [`DESTINATION_UNREACHABLE`]: no route leads there.
pub const NO_ROUTE: u8 = 0;
/// Code of [`DESTINATION_UNREACHABLE`]: it is prohibited by an administrator.
pub const PROHIBITED: u8 = 1;
/// Code of [`DESTINATION_UNREACHABLE`]: it lies beyond the scope of the source address.
pub const BEYOND_SCOPE: u8 = 2;
/// Code of [`DESTINATION_UNREACHABLE`]: nobody has the address, or for another reason.
pub const ADDRESS: u8 = 3;
/// Code of [`DESTINATION_UNREACHABLE`]: nobody listens on the port.
pub const PORT: u8 = 4;
/// Code of [`DESTINATION_UNREACHABLE`]: a policy is against the source address.
pub const POLICY: u8 = 5;
/// Code of [`DESTINATION_UNREACHABLE`]: the route there is one that rejects.
pub const REJECT: u8 = 6;

/// Code of [`TIME_EXCEEDED`]: there were more hops than it might take.
pub const HOP_LIMIT: u8 = 0;
/// Code of [`TIME_EXCEEDED`]: not all fragments came in time.
pub const REASSEMBLY: u8 = 1;

/// Code of [`PARAMETER_PROBLEM`]: a field is wrong.
pub const FIELD: u8 = 0;
/// Code of [`PARAMETER_PROBLEM`]: the type of the next header is unknown.
pub const NEXT_HEADER: u8 = 1;
/// Code of [`PARAMETER_PROBLEM`]: an option is unknown.
pub const OPTION: u8 = 2;
/// Code of [`PARAMETER_PROBLEM`]: the first fragment lacks a part of the headers (RFC 7112 §5).
pub const FIRST_FRAGMENT: u8 = 3;

/// The header of every message, and its first four bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// What it is; from 128 on, it is not an error.
    pub kind: u8,
    /// More about what it is.
    pub code: u8,
    checksum: [u8; 2],
    /// What `kind` makes of it: identifier and sequence number of an echo, an MTU, an offset.
    pub rest: [u8; 4],
}

impl Header {
    /// The header at the front of a message; `None` if it is cut short or its checksum is wrong.
    #[must_use]
    pub fn parse(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Option<&Self> {
        let (header, _) = Self::ref_from_prefix(message).ok()?;
        let sum = sum(source, destination, message.len())?;
        sum.add_bytes(message).is_valid().then_some(header)
    }

    /// Writes a header in front of `packet`, which holds the rest of the message; `false` if there
    /// is no headroom.
    #[must_use]
    pub fn emit(
        packet: &mut Packet,
        kind: u8,
        code: u8,
        rest: [u8; 4],
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> bool {
        let Some(sum) = sum(source, destination, HEADER_LEN + packet.len()) else { return false };
        let mut header = Self { kind, code, checksum: [0; 2], rest };
        header.checksum = sum.add_bytes(header.as_bytes()).add_bytes(packet.bytes()).finish();
        packet.prepend(HEADER_LEN).is_some_and(|bytes| header.write_to(bytes).is_ok())
    }
}

fn sum(source: Ipv6Addr, destination: Ipv6Addr, len: usize) -> Option<Checksum> {
    let len = u32::try_from(len).ok()?;
    Some(ipv6::pseudo_header(source, destination, ipv6::ICMP, len))
}
