//! Hashes with keys of the stack's own.

use core::hash::{BuildHasher, Hasher};

use siphasher::sip::SipHasher13;

/// SipHash-1-3: for what nobody may be able to tell from what it has given before.
#[derive(Clone, Copy)]
pub(crate) struct Keyed(pub(crate) u64, pub(crate) u64);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// The hash of tables whose keys are addresses that come from the network: products of address and
/// keys, folded. Nobody who does not know the keys, and who never sees a hash, can choose
/// addresses that collide; and it takes a tenth of the time.
#[derive(Clone, Copy)]
pub(crate) struct ByAddress(pub(crate) u64, pub(crate) u64);

impl BuildHasher for ByAddress {
    type Hasher = Octets;

    #[inline]
    fn build_hasher(&self) -> Octets {
        Octets { keys: (self.0, self.1), hash: 0 }
    }
}

/// Hashes an address's octets, and not what is derived before them: of which family it is, and how
/// many they are. The hash tells that by itself.
pub(crate) struct Octets {
    keys: (u64, u64),
    hash: u64,
}

impl Octets {
    #[inline]
    fn add(&mut self, low: u64, high: u64) {
        self.hash = fold(low ^ self.keys.0, high ^ self.keys.1 ^ self.hash);
    }
}

/// The two halves of a product, one upon the other.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl Hasher for Octets {
    #[inline]
    fn write(&mut self, octets: &[u8]) {
        if let Ok(octets) = octets.try_into() {
            return self.add(u32::from_ne_bytes(octets).into(), 4);
        }
        let (pairs, rest) = octets.as_chunks::<16>();
        for pair in pairs {
            let pair = u128::from_ne_bytes(*pair);
            self.add(pair as u64, (pair >> 64) as u64);
        }
        if !rest.is_empty() {
            rest.iter().for_each(|&octet| self.add(octet.into(), 1));
        }
    }

    #[inline]
    fn write_isize(&mut self, _family: isize) {}

    #[inline]
    fn write_usize(&mut self, _length: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        // Once more, so that each bit of the address counts in each bit of the hash.
        fold(self.hash, self.keys.0)
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::collections::HashSet;

    use super::*;

    fn keys() -> ByAddress {
        ByAddress(0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03)
    }

    #[test]
    fn every_octet_the_family_and_the_keys_count() {
        let ByAddress(low, high) = keys();
        let of = |address: &str| keys().hash_one(address.parse::<IpAddr>().unwrap());
        let mut hashes = [
            of("0.0.0.0"),
            of("1.0.0.0"),
            of("0.0.0.1"),
            of("::"),
            of("::1"),
            of("100::"),
            of("0:0:0:1::"),
            of("0:0:0:1::1"),
            ByAddress(low, high ^ 1 << 40).hash_one(IpAddr::from([0; 4])),
            ByAddress(low ^ 1 << 40, high).hash_one(IpAddr::from([0; 4])),
        ];
        assert_eq!(of("::1"), of("::1"));
        hashes.sort_unstable();
        assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]), "{hashes:?}");
    }

    #[test]
    fn neighbours_and_strangers_are_spread_evenly() {
        // A table looks at the low bits for a place, and at seven of the high ones for a tag.
        let v4 = |number: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
        let v6 = |number: u32| IpAddr::V6(Ipv6Addr::from((0xfd << 120) + u128::from(number)));
        let far = |number: u32| IpAddr::V6(Ipv6Addr::from(u128::from(number) << 80));
        for make in [&v4 as &dyn Fn(u32) -> IpAddr, &v6, &far] {
            let hashes: Vec<_> = (0..1 << 14).map(|number| keys().hash_one(make(number))).collect();
            for shift in [0, 50] {
                let places: HashSet<_> = hashes.iter().map(|hash| hash >> shift & 0x3fff).collect();
                // At random 63 % of the places would have something in them.
                let share = places.len() as f64 / f64::from(1 << 14);
                assert!(share > 0.6, "{share}");
            }
        }
    }
}
