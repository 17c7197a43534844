/// The Internet checksum of RFC 1071: the ones' complement of the ones' complement sum of 16-bit
/// words.
///
/// The sum is kept in 64 bits, in the machine's byte order: RFC 1071 §2 (B) and (C) show that
/// neither matters until the end.
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
        if bytes.len() < 128 { self.add_few(bytes) } else { self.add_many(bytes) }
    }

    /// Adds fewer than 128 bytes: by the digits of their number, so that there is no loop, and each word is
    /// read at once.
    // A call, and what has to be kept across it, would cost half as much again.
    #[inline(always)]
    fn add_few(self, bytes: &[u8]) -> Self {
        let (mut sum, mut rest) = (self, bytes);
        if let Some((words, behind)) = rest.split_first_chunk::<64>() {
            let (&[a, b], _) = words.as_chunks::<32>() else { return sum };
            let (added, carry) = add_words(sum.0, false, &a);
            sum = Self::around(add_words(added, carry, &b));
            rest = behind;
        }
        if let Some((words, behind)) = rest.split_first_chunk::<32>() {
            sum = Self::around(add_words(sum.0, false, words));
            rest = behind;
        }
        if let Some((words, behind)) = rest.split_first_chunk::<16>() {
            let (&[a, b], _) = words.as_chunks::<8>() else { return sum };
            let (added, carry) = sum.0.carrying_add(u64::from_ne_bytes(a), false);
            sum = Self::around(added.carrying_add(u64::from_ne_bytes(b), carry));
            rest = behind;
        }
        if let Some((&word, behind)) = rest.split_first_chunk::<8>() {
            sum = sum.add(u64::from_ne_bytes(word));
            rest = behind;
        }
        if let Some((&word, behind)) = rest.split_first_chunk::<4>() {
            sum = sum.add(u32::from_ne_bytes(word).into());
            rest = behind;
        }
        if let Some((&word, behind)) = rest.split_first_chunk::<2>() {
            sum = sum.add(u16::from_ne_bytes(word).into());
            rest = behind;
        }
        match rest {
            &[last] => sum.add(u16::from_ne_bytes([last, 0]).into()),
            _ => sum,
        }
    }

    // Apart: few bytes need none of its registers.
    #[inline(never)]
    fn add_many(self, bytes: &[u8]) -> Self {
        let (blocks, rest) = bytes.as_chunks::<128>();
        let (mut sum, mut carries) = (self.0, 0);
        for block in blocks {
            let (&[a, b, c, d], _) = block.as_chunks::<32>() else { continue };
            // Each block begins anew: none waits for the one before.
            let (of_block, carry) = add_words(0, false, &a);
            let (of_block, carry) = add_words(of_block, carry, &b);
            let (of_block, carry) = add_words(of_block, carry, &c);
            let (of_block, carry) = add_words(of_block, carry, &d);
            let (next, carry) = sum.carrying_add(of_block, carry);
            (sum, carries) = (next, carries + u64::from(carry));
        }
        // What was carried out of the sum is brought around.
        Self(sum).add(carries).add_few(rest)
    }

    /// A sum, and the carry out of it brought around, which may be out of that once more.
    #[inline]
    const fn around((sum, carry): (u64, bool)) -> Self {
        Self(sum).add(carry as u64)
    }

    /// Adds with the carry brought around: the sum is one modulo 2^64 - 1.
    #[inline]
    const fn add(self, number: u64) -> Self {
        let (sum, carry) = self.0.overflowing_add(number);
        Self(sum + carry as u64)
    }

    /// Adds a 16-bit number.
    #[must_use]
    #[inline]
    pub const fn add_u16(self, number: u16) -> Self {
        self.add(number.to_be() as u64)
    }

    /// Adds a 32-bit number.
    #[must_use]
    #[inline]
    pub const fn add_u32(self, number: u32) -> Self {
        self.add(number.to_be() as u64)
    }

    /// Takes one 32-bit number out that was added, and adds another (RFC 1624 §3).
    #[must_use]
    #[inline]
    pub const fn replace_u32(self, old: u32, new: u32) -> Self {
        self.add_u32(!old).add_u32(new)
    }

    /// The checksum, to be stored as it is: its bytes are in network order.
    #[must_use]
    #[inline]
    pub const fn finish(self) -> [u8; 2] {
        let (sum, carry) = (self.0 as u32).overflowing_add((self.0 >> 32) as u32);
        let sum = sum + carry as u32;
        let (sum, carry) = (sum as u16).overflowing_add((sum >> 16) as u16);
        (!(sum + carry as u16)).to_ne_bytes()
    }

    /// Whether what was added, its own checksum included, is right.
    #[must_use]
    #[inline]
    pub const fn is_valid(self) -> bool {
        matches!(self.finish(), [0, 0])
    }
}

/// Adds four words, each with the carry of the one before, and returns that of the last.
// Written out, so that a processor's carry goes from one to the next by itself, and lest a compiler that
// saves bytes makes a loop of it.
#[inline]
fn add_words(sum: u64, carry: bool, words: &[u8; 32]) -> (u64, bool) {
    let (&[a, b, c, d], _) = words.as_chunks::<8>() else { return (sum, carry) };
    let (sum, carry) = sum.carrying_add(u64::from_ne_bytes(a), carry);
    let (sum, carry) = sum.carrying_add(u64::from_ne_bytes(b), carry);
    let (sum, carry) = sum.carrying_add(u64::from_ne_bytes(c), carry);
    sum.carrying_add(u64::from_ne_bytes(d), carry)
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

    #[test]
    fn every_word_may_carry_whatever_the_length() {
        for len in 0..300 {
            let sum = Checksum::new().add_bytes(&[0xff; 8]).add_bytes(&vec![0xff; len]);
            let last = if len.is_multiple_of(2) { 0 } else { 0xff };
            assert_eq!(sum.finish(), [0, last], "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_adding_word_by_word(
            bytes in proptest::collection::vec(prop_oneof![Just(0xff), any::<u8>()], 0..400),
            head: [u8; 12],
            number: u16,
            long: u32,
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
        fn a_number_is_replaced_as_if_the_other_had_been_added(
            old: u32, new: u32, rest in 1_u32..,
        ) {
            let sum = |number| Checksum::new().add_u32(rest).add_u32(number);
            prop_assert_eq!(sum(old).replace_u32(old, new).finish(), sum(new).finish());
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
