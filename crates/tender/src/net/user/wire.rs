//! Headers as they are on the wire, each in the order of its RFC's figure, and the checksum.

/// Ethernet II.
pub(crate) mod ethernet {
    use zerocopy::byteorder::network_endian::U16;
    use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

    pub(crate) const IPV4: u16 = 0x0800;
    pub(crate) const ARP: u16 = 0x0806;

    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    #[repr(C)]
    pub(crate) struct Header {
        pub(crate) destination: [u8; 6],
        pub(crate) source: [u8; 6],
        pub(crate) ethertype: U16,
    }
}

/// ARP for IPv4 over Ethernet (RFC 826).
pub(crate) mod arp {
    use zerocopy::byteorder::network_endian::U16;
    use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

    pub(crate) const REQUEST: u16 = 1;
    pub(crate) const REPLY: u16 = 2;

    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    #[repr(C)]
    pub(crate) struct Packet {
        pub(crate) hardware_type: U16,
        pub(crate) protocol_type: U16,
        pub(crate) hardware_length: u8,
        pub(crate) protocol_length: u8,
        pub(crate) operation: U16,
        pub(crate) sender_hardware: [u8; 6],
        pub(crate) sender_protocol: [u8; 4],
        pub(crate) target_hardware: [u8; 6],
        pub(crate) target_protocol: [u8; 4],
    }

    impl Packet {
        /// A packet that speaks of IPv4 over Ethernet, and says nothing.
        pub(crate) const IPV4_OVER_ETHERNET: Self = Self {
            hardware_type: U16::new(1),
            protocol_type: U16::new(super::ethernet::IPV4),
            hardware_length: 6,
            protocol_length: 4,
            operation: U16::ZERO,
            sender_hardware: [0; 6],
            sender_protocol: [0; 4],
            target_hardware: [0; 6],
            target_protocol: [0; 4],
        };

        /// Whether it speaks of IPv4 over Ethernet.
        pub(crate) fn is_ipv4_over_ethernet(&self) -> bool {
            let known = Self::IPV4_OVER_ETHERNET;
            (self.hardware_type, self.protocol_type) == (known.hardware_type, known.protocol_type)
                && (self.hardware_length, self.protocol_length)
                    == (known.hardware_length, known.protocol_length)
        }
    }
}

/// IPv4 (RFC 791).
pub(crate) mod ipv4 {
    use zerocopy::byteorder::network_endian::U16;
    use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

    pub(crate) const ICMP: u8 = 1;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const DONT_FRAGMENT: u16 = 0x4000;
    /// More fragments, and the fragment offset: all zero in a datagram that is whole.
    pub(crate) const FRAGMENT: u16 = 0x3fff;

    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    #[repr(C)]
    pub(crate) struct Header {
        pub(crate) version_and_length: u8,
        pub(crate) traffic_class: u8,
        pub(crate) total_length: U16,
        pub(crate) identification: U16,
        pub(crate) flags_and_offset: U16,
        pub(crate) time_to_live: u8,
        pub(crate) protocol: u8,
        pub(crate) checksum: U16,
        pub(crate) source: [u8; 4],
        pub(crate) destination: [u8; 4],
    }
}

/// UDP (RFC 768).
pub(crate) mod udp {
    use zerocopy::byteorder::network_endian::U16;
    use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    #[repr(C)]
    pub(crate) struct Header {
        pub(crate) source_port: U16,
        pub(crate) destination_port: U16,
        pub(crate) length: U16,
        pub(crate) checksum: U16,
    }
}

/// ICMP echo (RFC 792).
pub(crate) mod icmp {
    use zerocopy::byteorder::network_endian::U16;
    use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

    pub(crate) const ECHO_REPLY: u8 = 0;
    pub(crate) const ECHO: u8 = 8;

    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    #[repr(C)]
    pub(crate) struct Header {
        pub(crate) kind: u8,
        pub(crate) code: u8,
        pub(crate) checksum: U16,
    }
}

/// The Internet checksum (RFC 1071).
pub(crate) mod checksum {
    /// A sum of 16-bit words that is not yet folded.
    #[derive(Clone, Copy, Debug, Default)]
    pub(crate) struct Sum(u64);

    impl Sum {
        /// The sum of a pseudo-header (RFC 768).
        pub(crate) fn pseudo_header(
            source: [u8; 4],
            destination: [u8; 4],
            protocol: u8,
            length: u16,
        ) -> Self {
            let [a, b] = [source, destination].map(|word| u64::from(u32::from_be_bytes(word)));
            Self(a + b + u64::from(protocol) + u64::from(length))
        }

        /// Adds bytes; those of all calls but the last are of even length.
        pub(crate) fn add(self, bytes: &[u8]) -> Self {
            let (words, rest) = bytes.as_chunks::<4>();
            let mut sum = self.0;
            for &word in words {
                sum += u64::from(u32::from_be_bytes(word));
            }
            let mut last = [0; 4];
            last[..rest.len()].copy_from_slice(rest);
            Self(sum + u64::from(u32::from_be_bytes(last)))
        }

        /// What goes into the checksum field, or 0 if the field was summed and is right.
        pub(crate) fn finish(self) -> u16 {
            let mut sum = self.0;
            while sum >> 16 != 0 {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            !(sum as u16)
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::checksum as oracle;
    use proptest::prelude::*;

    use super::checksum::Sum;

    proptest! {
        #[test]
        fn the_checksum_is_that_of_rfc_1071(
            source: [u8; 4],
            destination: [u8; 4],
            bytes in proptest::collection::vec(any::<u8>(), 0..1500),
        ) {
            let length = bytes.len() as u16;
            let expected = oracle::Sum16BitWords::new()
                .add_4bytes(source)
                .add_4bytes(destination)
                .add_2bytes([0, 17])
                .add_2bytes(length.to_be_bytes())
                .add_slice(&bytes)
                .ones_complement();
            let sum = Sum::pseudo_header(source, destination, 17, length).add(&bytes);
            prop_assert_eq!(sum.finish(), u16::from_be(expected));
        }
    }
}
