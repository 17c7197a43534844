//! The hash of tables whose keys come from the network.

use core::hash::{BuildHasher, Hasher};

use siphasher::sip::SipHasher13;

/// SipHash-1-3 of an address or other octets, with a key of the stack's own, so that nobody can
/// choose addresses that collide.
#[derive(Clone, Copy)]
pub(crate) struct Keyed(pub(crate) u64, pub(crate) u64);

impl BuildHasher for Keyed {
    type Hasher = Octets;

    #[inline]
    fn build_hasher(&self) -> Octets {
        Octets(SipHasher13::new_with_keys(self.0, self.1))
    }
}

/// Hashes an address's octets, and not what is derived before them: of which family it is, and how
/// many they are. The hash tells that by itself, as it ends with the length of what it is of.
pub(crate) struct Octets(SipHasher13);

impl Hasher for Octets {
    #[inline]
    fn write(&mut self, octets: &[u8]) {
        self.0.write(octets);
    }

    #[inline]
    fn write_isize(&mut self, _family: isize) {}

    #[inline]
    fn write_usize(&mut self, _length: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    #[test]
    fn every_octet_the_family_and_the_key_count() {
        let keyed = Keyed(1, 2);
        let of = |address: &str| keyed.hash_one(address.parse::<IpAddr>().unwrap());
        let mut hashes = [
            of("0.0.0.0"),
            of("1.0.0.0"),
            of("0.0.0.1"),
            of("::"),
            of("::1"),
            of("100::"),
            of("0:0:0:1::"),
            Keyed(1, 3).hash_one(IpAddr::from([0; 4])),
            Keyed(0, 2).hash_one(IpAddr::from([0; 4])),
        ];
        assert_eq!(of("::1"), of("::1"));
        hashes.sort_unstable();
        assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]), "{hashes:?}");
    }

    #[test]
    fn an_address_is_hashed_by_its_octets_alone() {
        let mut plain = SipHasher13::new_with_keys(1, 2);
        plain.write(&[192, 0, 2, 1]);
        let address = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(Keyed(1, 2).hash_one(address), plain.finish());
    }
}
