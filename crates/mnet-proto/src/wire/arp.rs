//! ARP for IPv4 on Ethernet (RFC 826).

use core::net::Ipv4Addr;

use netdev::{Mac, Packet};
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of a packet in bytes.
pub const LEN: usize = 28;

/// Asks who has an address.
pub const REQUEST: u16 = 1;
/// Says who has it.
pub const REPLY: u16 = 2;

const ETHERNET: u16 = 1;
const IPV4: u16 = super::ethernet::IPV4;

/// An ARP packet, in the order of RFC 826.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Arp {
    hardware_space: U16,
    protocol_space: U16,
    hardware_length: u8,
    protocol_length: u8,
    opcode: U16,
    sender_mac: [u8; 6],
    sender_address: [u8; 4],
    target_mac: [u8; 6],
    target_address: [u8; 4],
}

impl Arp {
    /// A packet of Ethernet and IPv4.
    #[must_use]
    pub fn new(opcode: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Self {
        Self {
            hardware_space: U16::new(ETHERNET),
            protocol_space: U16::new(IPV4),
            hardware_length: 6,
            protocol_length: 4,
            opcode: U16::new(opcode),
            sender_mac: sender.0.0,
            sender_address: sender.1.octets(),
            target_mac: target.0.0,
            target_address: target.1.octets(),
        }
    }

    /// The packet at the front of these bytes; `None` if it is cut short, or of other kinds of
    /// addresses.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<&Self> {
        let (arp, _) = Self::ref_from_prefix(bytes).ok()?;
        let ours = arp.hardware_space == ETHERNET
            && arp.protocol_space == IPV4
            && arp.hardware_length == 6
            && arp.protocol_length == 4;
        ours.then_some(arp)
    }

    /// Appends the packet to an empty one; `false` if there is no room.
    #[must_use]
    pub fn emit(&self, packet: &mut Packet) -> bool {
        packet.append(LEN).is_some_and(|bytes| self.write_to(bytes).is_ok())
    }

    /// [`REQUEST`], [`REPLY`], or something else.
    #[must_use]
    pub fn opcode(&self) -> u16 {
        self.opcode.get()
    }

    /// Who sends it.
    #[must_use]
    pub fn sender(&self) -> (Mac, Ipv4Addr) {
        (Mac(self.sender_mac), self.sender_address.into())
    }

    /// Whom it asks for, or tells.
    #[must_use]
    pub fn target(&self) -> (Mac, Ipv4Addr) {
        (Mac(self.target_mac), self.target_address.into())
    }
}

#[cfg(test)]
mod tests {
    use netdev::Pool;
    use proptest::prelude::*;
    use smoltcp::wire::{ArpPacket, ArpRepr};

    use super::*;

    proptest! {
        #[test]
        fn what_is_emitted_is_what_is_parsed_here_and_by_smoltcp(
            reply: bool, sender: ([u8; 6], [u8; 4]), target: ([u8; 6], [u8; 4]),
        ) {
            let opcode = if reply { REPLY } else { REQUEST };
            let sender = (Mac(sender.0), Ipv4Addr::from(sender.1));
            let target = (Mac(target.0), Ipv4Addr::from(target.1));
            let mut packet = Pool::new(1, 200).take().unwrap();
            prop_assert!(Arp::new(opcode, sender, target).emit(&mut packet));

            let arp = Arp::parse(packet.bytes()).unwrap();
            prop_assert_eq!((arp.opcode(), arp.sender(), arp.target()), (opcode, sender, target));

            let theirs = ArpPacket::new_checked(packet.bytes()).unwrap();
            let ArpRepr::EthernetIpv4 {
                operation, source_hardware_addr, source_protocol_addr,
                target_hardware_addr, target_protocol_addr,
            } = ArpRepr::parse(&theirs).unwrap() else { panic!("not Ethernet and IPv4") };
            prop_assert_eq!(u16::from(operation), opcode);
            prop_assert_eq!((source_hardware_addr.0, source_protocol_addr), (sender.0.0, sender.1));
            prop_assert_eq!((target_hardware_addr.0, target_protocol_addr), (target.0.0, target.1));
        }

        #[test]
        fn any_bytes_parse_or_do_not(bytes: Vec<u8>) {
            prop_assert!(Arp::parse(&bytes).is_none() || bytes.len() >= LEN);
        }
    }
}
