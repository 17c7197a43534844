/// The Internet checksum of RFC 1071: the ones' complement of the ones' complement sum of 16-bit
/// words.
///
/// The sum is kept in 64 bits, in the machine's byte order: RFC 1071 §2 (B) shows that the order
/// does not matter until the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum(u64);

impl Checksum {
    /// The sum of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds bytes. All but the last that are added must be of even length.
    #[must_use]
    #[inline]
    pub fn add_bytes(self, bytes: &[u8]) -> Self {
        // Two sums let the processor add two words at a time. 32-bit words in 64 bits overflow
        // after 2^32 of them, and a packet is shorter than that.
        let (chunks, rest) = bytes.as_chunks::<16>();
        let (mut even, mut odd) = (self.0, 0u64);
        for chunk in chunks {
            let (words, _) = chunk.as_chunks::<4>();
            even +=
                u64::from(u32::from_ne_bytes(words[0])) + u64::from(u32::from_ne_bytes(words[1]));
            odd +=
                u64::from(u32::from_ne_bytes(words[2])) + u64::from(u32::from_ne_bytes(words[3]));
        }
        let mut sum = even + odd;
        let (words, rest) = rest.as_chunks::<4>();
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        Self(sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// Adds a 16-bit number.
    #[must_use]
    #[inline]
    pub const fn add_u16(self, number: u16) -> Self {
        Self(self.0 + number.to_be() as u64)
    }

    /// Adds a 32-bit number.
    #[must_use]
    #[inline]
    pub const fn add_u32(self, number: u32) -> Self {
        Self(self.0 + number.to_be() as u64)
    }

    /// The checksum, to be stored as it is: its bytes are in network order.
    #[must_use]
    #[inline]
    pub const fn finish(self) -> [u8; 2] {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        (!(sum as u16)).to_ne_bytes()
    }

    /// Whether what was added, its own checksum included, is right.
    #[must_use]
    #[inline]
    pub const fn is_valid(self) -> bool {
        matches!(self.finish(), [0, 0])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071_comes_out_as_there() {
        let sum = Checksum::new().add_bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.finish(), (!0xddf2u16).to_be_bytes());
    }

    #[test]
    fn the_largest_sum_does_not_overflow() {
        let sum = Checksum::new().add_bytes(&[0xff; 65_536]).add_bytes(&[0xff; 65_536]);
        assert_eq!(sum.finish(), [0, 0]);
    }

    proptest! {
        #[test]
        fn it_agrees_with_adding_word_by_word(
            bytes: Vec<u8>, head: [u8; 12], number: u16, long: u32,
        ) {
            let words = bytes.chunks(2).map(|w| u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)]));
            let head_words = head.chunks(2).map(|w| u16::from_be_bytes([w[0], w[1]]));
            let mut sum: u64 = words.chain(head_words).chain([number]).map(u64::from).sum();
            sum += u64::from(long);
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            let checksum =
                Checksum::new().add_bytes(&head).add_u16(number).add_u32(long).add_bytes(&bytes);
            prop_assert_eq!(checksum.finish(), (!(sum as u16)).to_be_bytes());
        }

        #[test]
        fn bytes_with_their_own_checksum_are_valid(mut bytes: [u8; 40]) {
            bytes[10..12].fill(0);
            let sum = Checksum::new().add_bytes(&bytes).finish();
            bytes[10..12].copy_from_slice(&sum);
            prop_assert!(Checksum::new().add_bytes(&bytes).is_valid());
        }
    }
}
