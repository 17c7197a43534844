use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use mnet_proto::ParseCidrError;

/// An address of either family and the length of its prefix, such as `10.0.0.1/24` or
/// `fd00::1/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    // at most 32 or 128
    prefix_len: u8,
}

impl Cidr {
    /// An address with a prefix of `prefix_len` bits; `None` if the address has not so many.
    #[must_use]
    pub fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix_len <= bits).then_some(Self { address, prefix_len })
    }

    /// The address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Length of the prefix in bits.
    #[must_use]
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// Whether `address` has this prefix.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let difference = match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
            (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
            _ => return false,
        };
        difference.leading_zeros() >= self.prefix_len.into()
    }

    /// The address of everybody with this prefix, which IPv6 does not have, nor a prefix of 31 or
    /// 32 bits (RFC 3021).
    pub(crate) fn is_broadcast(self, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else { return false };
        let host_bits = u32::MAX.checked_shr(self.prefix_len.into()).unwrap_or(0);
        self.prefix_len < 31 && self.contains(address) && v4.to_bits() & host_bits == host_bits
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        let (address, prefix_len) = text.split_once('/').ok_or(ParseCidrError)?;
        let address = address.parse().map_err(|_| ParseCidrError)?;
        let prefix_len = prefix_len.parse().map_err(|_| ParseCidrError)?;
        Self::new(address, prefix_len).ok_or(ParseCidrError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(cidr: &str, address: &str) -> bool {
        cidr.parse::<Cidr>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_prefix_contains_what_starts_with_it() {
        assert!(contains("10.0.0.1/24", "10.0.0.255"));
        assert!(!contains("10.0.0.1/24", "10.0.1.1"));
        assert!(contains("0.0.0.0/0", "192.0.2.1"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("fd00:0:0:1::1/64", "fd00:0:0:1:ffff::"));
        assert!(!contains("fd00:0:0:1::1/64", "fd00:0:0:2::"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(!contains("fd00::1/128", "fd00::2"));
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for text in ["10.0.0.1", "10.0.0.1/33", "::/129", "x/1", "::/x", ""] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        assert_eq!("fd00::1/64".parse::<Cidr>().unwrap().to_string(), "fd00::1/64");
    }

    #[test]
    fn everybody_has_an_address_where_there_is_one() {
        let is_broadcast = |cidr: &str, address: &str| {
            cidr.parse::<Cidr>().unwrap().is_broadcast(address.parse().unwrap())
        };
        assert!(is_broadcast("10.0.0.1/24", "10.0.0.255"));
        assert!(!is_broadcast("10.0.0.1/24", "10.0.0.254"));
        assert!(!is_broadcast("10.0.0.0/31", "10.0.0.1"));
        assert!(!is_broadcast("10.0.0.1/32", "10.0.0.1"));
        assert!(!is_broadcast("fd00::/8", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    }
}
