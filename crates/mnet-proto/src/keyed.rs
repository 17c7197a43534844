//! Hashes with keys of the stack's own.

use core::net::{IpAddr, Ipv6Addr};

/// The hash of tables whose keys are addresses that come from the network: products of address and
/// keys, folded. Nobody who does not know the keys, and who never sees a hash, can choose
/// addresses that collide; and it takes a tenth of the time.
#[derive(Clone, Copy)]
pub(crate) struct ByAddress(pub(crate) u64, pub(crate) u64);

impl ByAddress {
    /// The hash of an address.
    #[inline]
    pub(crate) fn hash(self, address: IpAddr) -> u64 {
        self.finish(match address {
            IpAddr::V4(address) => self.add(0, u32::from_ne_bytes(address.octets()).into(), 4),
            IpAddr::V6(address) => self.add_v6(0, address),
        })
    }

    /// The hash of what goes from one address and port to the others.
    pub(crate) fn hash_flow(self, ends: (Ipv6Addr, Ipv6Addr), ports: (u16, u16)) -> u64 {
        let hash = self.add_v6(self.add_v6(0, ends.0), ends.1);
        self.finish(self.add(hash, u64::from(ports.0) << 16 | u64::from(ports.1), 4))
    }

    #[inline]
    fn add_v6(self, hash: u64, address: Ipv6Addr) -> u64 {
        let octets = u128::from_ne_bytes(address.octets());
        self.add(hash, octets as u64, (octets >> 64) as u64)
    }

    #[inline]
    fn add(self, hash: u64, low: u64, high: u64) -> u64 {
        fold(low ^ self.0, high ^ self.1 ^ hash)
    }

    /// Once more, so that each bit of the address counts in each bit of the hash.
    #[inline]
    fn finish(self, hash: u64) -> u64 {
        fold(hash, self.0)
    }
}

/// The two halves of a product, one upon the other.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;
    use std::collections::HashSet;

    use super::*;

    fn keys() -> ByAddress {
        ByAddress(0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03)
    }

    #[test]
    fn every_octet_the_family_and_the_keys_count() {
        let ByAddress(low, high) = keys();
        let of = |address: &str| keys().hash(address.parse().unwrap());
        let mut hashes = [
            of("0.0.0.0"),
            of("1.0.0.0"),
            of("0.0.0.1"),
            of("::"),
            of("::1"),
            of("100::"),
            of("0:0:0:1::"),
            of("0:0:0:1::1"),
            ByAddress(low, high ^ 1 << 40).hash([0; 4].into()),
            ByAddress(low ^ 1 << 40, high).hash([0; 4].into()),
        ];
        assert_eq!(of("::1"), of("::1"));
        hashes.sort_unstable();
        assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]), "{hashes:?}");
    }

    #[test]
    fn neighbours_and_strangers_are_spread_evenly() {
        // An index looks at the low bits for a chain, and at 32 for a tag.
        let v4 = |number: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
        let v6 = |number: u32| IpAddr::V6(Ipv6Addr::from((0xfd << 120) + u128::from(number)));
        let far = |number: u32| IpAddr::V6(Ipv6Addr::from(u128::from(number) << 80));
        for make in [&v4 as &dyn Fn(u32) -> IpAddr, &v6, &far] {
            let hashes: Vec<_> = (0..1 << 14).map(|number| keys().hash(make(number))).collect();
            for shift in [0, 18] {
                let places: HashSet<_> = hashes.iter().map(|hash| hash >> shift & 0x3fff).collect();
                // At random 63 % of the places would have something in them.
                let share = places.len() as f64 / f64::from(1 << 14);
                assert!(share > 0.6, "{share}");
            }
        }
    }
}
