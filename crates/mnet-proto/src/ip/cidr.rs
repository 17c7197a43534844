use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

/// An IPv4 address and the length of its prefix: who a host is, and what is on its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Cidr {
    address: Ipv4Addr,
    // at most 32
    prefix_len: u8,
}

impl Ipv4Cidr {
    /// An address with a prefix of `prefix_len` bits; `None` if that is more than 32.
    #[must_use]
    pub const fn new(address: Ipv4Addr, prefix_len: u8) -> Option<Self> {
        if prefix_len > 32 { None } else { Some(Self { address, prefix_len }) }
    }

    /// The address.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Length of the prefix in bits, 0 to 32.
    #[must_use]
    pub const fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// The same prefix length with another address.
    #[must_use]
    pub(crate) const fn with_address(self, address: Ipv4Addr) -> Self {
        Self { address, ..self }
    }

    const fn mask(self) -> u32 {
        match self.prefix_len {
            0 => 0,
            len => u32::MAX << (32 - len),
        }
    }

    /// Whether `address` has this prefix.
    #[must_use]
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        (self.address.to_bits() ^ address.to_bits()) & self.mask() == 0
    }

    /// The address of everybody with this prefix; a prefix of 31 or 32 bits has none (RFC 3021).
    #[must_use]
    pub const fn broadcast(self) -> Option<Ipv4Addr> {
        if self.prefix_len >= 31 {
            return None;
        }
        Some(Ipv4Addr::from_bits(self.address.to_bits() | !self.mask()))
    }

    /// Whether a host can have this address: one that is nobody else's, everybody's, a group's,
    /// the network's or a loop's (RFC 1122 §3.2.1.3).
    #[must_use]
    pub fn is_host(self) -> bool {
        let network = Ipv4Addr::from_bits(self.address.to_bits() & self.mask());
        is_unicast(self.address)
            && self.broadcast() != Some(self.address)
            && (self.prefix_len >= 31 || self.address != network)
    }
}

/// Whether an address can be one host's on a link. 0.0.0.0/8 is this network, 127.0.0.0/8 this
/// host, and from 224.0.0.0 on there are groups, reserved ones, and everybody.
pub(crate) fn is_unicast(address: Ipv4Addr) -> bool {
    !matches!(address.octets()[0], 0 | 127 | 224..)
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl FromStr for Ipv4Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        let (address, prefix_len) = text.split_once('/').ok_or(ParseCidrError)?;
        let digits = prefix_len.bytes().all(|b| b.is_ascii_digit());
        let prefix_len = prefix_len.parse().ok().filter(|_| digits).ok_or(ParseCidrError)?;
        let address = address.parse().map_err(|_| ParseCidrError)?;
        Self::new(address, prefix_len).ok_or(ParseCidrError)
    }
}

/// The text is no address with a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseCidrError;

impl fmt::Display for ParseCidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address with a prefix length, such as 10.0.0.2/24")
    }
}

impl core::error::Error for ParseCidrError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Ipv4Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn it_reads_back_as_it_prints() {
        for text in ["10.0.0.2/24", "0.0.0.0/0", "255.255.255.255/32"] {
            assert_eq!(cidr(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "10.0.0.2", "10.0.0.2/", "10.0.0.2/33", "10.0.0/24", "10.0.0.2/+8", "a/8"]
        {
            assert_eq!(text.parse::<Ipv4Cidr>(), Err(ParseCidrError), "{text}");
        }
    }

    #[test]
    fn a_prefix_contains_what_begins_with_it() {
        assert!(cidr("10.1.2.3/8").contains(Ipv4Addr::new(10, 255, 0, 1)));
        assert!(!cidr("10.1.2.3/8").contains(Ipv4Addr::new(11, 1, 2, 3)));
        assert!(cidr("10.1.2.3/0").contains(Ipv4Addr::new(192, 0, 2, 1)));
        assert!(!cidr("10.1.2.3/32").contains(Ipv4Addr::new(10, 1, 2, 2)));
    }

    #[test]
    fn everybody_has_the_last_address_unless_there_are_only_two() {
        assert_eq!(cidr("10.1.2.3/24").broadcast(), Some(Ipv4Addr::new(10, 1, 2, 255)));
        assert_eq!(cidr("10.1.2.3/31").broadcast(), None);
        assert_eq!(cidr("10.1.2.3/32").broadcast(), None);
    }
}
