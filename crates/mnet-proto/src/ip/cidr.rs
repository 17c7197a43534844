use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An IPv4 address and the length of its prefix: who a host is, and what is on its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Cidr {
    address: Ipv4Addr,
    // at most 32
    prefix_len: u8,
    // The last address of the prefix, or, if there are no more than two, that of everybody anywhere.
    everybody: Ipv4Addr,
}

impl Ipv4Cidr {
    /// An address with a prefix of `prefix_len` bits; `None` if that is more than 32.
    #[must_use]
    pub const fn new(address: Ipv4Addr, prefix_len: u8) -> Option<Self> {
        if prefix_len > 32 {
            return None;
        }
        let hosts = if prefix_len < 31 { u32::MAX >> prefix_len } else { u32::MAX };
        let everybody = Ipv4Addr::from_bits(address.to_bits() | hosts);
        Some(Self { address, prefix_len, everybody })
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

    /// The same prefix, and behind it zeros.
    #[must_use]
    pub(crate) const fn network(self) -> Self {
        self.with_address(Ipv4Addr::from_bits(self.address.to_bits() & self.mask()))
    }

    /// The same prefix length with another address.
    #[must_use]
    pub(crate) const fn with_address(self, address: Ipv4Addr) -> Self {
        match Self::new(address, self.prefix_len) {
            Some(cidr) => cidr,
            None => self,
        }
    }

    const fn mask(self) -> u32 {
        match self.prefix_len {
            0 => 0,
            len => u32::MAX << (32 - len),
        }
    }

    /// Whether `address` has this prefix.
    ///
    /// ```
    /// use mnet_proto::Ipv4Cidr;
    ///
    /// let cidr: Ipv4Cidr = "10.0.0.2/24".parse()?;
    /// assert!(cidr.contains([10, 0, 0, 255].into()) && !cidr.contains([10, 0, 1, 2].into()));
    ///
    /// let refused = "10.0.0.2".parse::<Ipv4Cidr>().unwrap_err();
    /// assert_eq!(refused.to_string(), "not an address with a prefix length, such as 10.0.0.2/24");
    /// # Ok::<_, mnet_proto::ParseCidrError>(())
    /// ```
    #[must_use]
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        (self.address.to_bits() ^ address.to_bits()) & self.mask() == 0
    }

    /// The address of everybody with this prefix; a prefix of 31 or 32 bits has none (RFC 3021).
    #[must_use]
    pub const fn broadcast(self) -> Option<Ipv4Addr> {
        if self.prefix_len >= 31 { None } else { Some(self.everybody) }
    }

    /// The address by which everybody with this prefix is reached: its own, or the limited broadcast.
    #[inline]
    pub(crate) const fn everybody(self) -> Ipv4Addr {
        self.everybody
    }

    /// Whether a host can have this address: one that is nobody else's, everybody's, a group's,
    /// the network's or a loop's (RFC 1122 §3.2.1.3).
    #[must_use]
    pub fn is_host(self) -> bool {
        is_unicast(self.address)
            && self.broadcast() != Some(self.address)
            && (self.prefix_len >= 31 || self.address != self.network().address)
    }
}

/// Whether an address can be one host's on a link. 0.0.0.0/8 is this network, 127.0.0.0/8 this
/// host, and from 224.0.0.0 on there are groups, reserved ones, and everybody.
#[inline]
pub(crate) fn is_unicast(address: Ipv4Addr) -> bool {
    !matches!(address.to_bits() >> 24, 0 | 127 | 224..)
}

/// An IPv6 address and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv6Cidr {
    address: Ipv6Addr,
    // at most 128
    prefix_len: u8,
}

impl Ipv6Cidr {
    /// An address with a prefix of `prefix_len` bits; `None` if that is more than 128.
    #[must_use]
    pub const fn new(address: Ipv6Addr, prefix_len: u8) -> Option<Self> {
        if prefix_len > 128 { None } else { Some(Self { address, prefix_len }) }
    }

    /// The address.
    #[must_use]
    pub const fn address(self) -> Ipv6Addr {
        self.address
    }

    /// Length of the prefix in bits, 0 to 128.
    #[must_use]
    pub const fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    const fn mask(self) -> u128 {
        match self.prefix_len {
            0 => 0,
            len => u128::MAX << (128 - len),
        }
    }

    /// Whether `address` has this prefix.
    #[must_use]
    pub const fn contains(self, address: Ipv6Addr) -> bool {
        (self.address.to_bits() ^ address.to_bits()) & self.mask() == 0
    }

    /// The same prefix, and behind it zeros.
    #[must_use]
    pub(crate) const fn network(self) -> Self {
        Self { address: Ipv6Addr::from_bits(self.address.to_bits() & self.mask()), ..self }
    }

    /// The address that has this prefix, and behind it the bits of `interface_id`.
    #[must_use]
    pub(crate) const fn with_interface_id(self, interface_id: u64) -> Self {
        let bits = self.address.to_bits() & self.mask() | interface_id as u128 & !self.mask();
        Self { address: Ipv6Addr::from_bits(bits), ..self }
    }

    /// Whether a host can have this address: one that is nobody else's, everybody's, a group's, a
    /// loop's, or all routers' of the link (RFC 4291 §2.5, §2.6.1).
    #[must_use]
    pub fn is_host(self) -> bool {
        let anycast = self.prefix_len < 127 && self.address == self.network().address;
        is_unicast_v6(self.address) && !anycast
    }
}

/// Whether an address can be one host's: 0::/8 holds the unspecified one, the loopback one and
/// those that stand for IPv4's, and ff00::/8 groups.
#[inline]
pub(crate) fn is_unicast_v6(address: Ipv6Addr) -> bool {
    let bits = address.to_bits();
    match (bits >> 64, bits as u64) {
        (0, 0 | 1) => false,
        (0, low) => low >> 32 != 0xffff,
        _ => !address.is_multicast(),
    }
}

/// An address of either family, and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpCidr {
    /// Of IPv4.
    V4(Ipv4Cidr),
    /// Of IPv6.
    V6(Ipv6Cidr),
}

impl IpCidr {
    /// The address.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        match self {
            Self::V4(cidr) => IpAddr::V4(cidr.address),
            Self::V6(cidr) => IpAddr::V6(cidr.address),
        }
    }

    /// Length of the prefix in bits.
    #[must_use]
    pub const fn prefix_len(self) -> u8 {
        match self {
            Self::V4(cidr) => cidr.prefix_len,
            Self::V6(cidr) => cidr.prefix_len,
        }
    }

    /// Whether `address` is of this family and has this prefix.
    #[must_use]
    pub const fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(cidr), IpAddr::V4(address)) => cidr.contains(address),
            (Self::V6(cidr), IpAddr::V6(address)) => cidr.contains(address),
            _ => false,
        }
    }

    /// Whether `address` is that of everybody with this prefix: IPv6 has none.
    #[must_use]
    pub fn is_broadcast(self, address: IpAddr) -> bool {
        matches!(self, Self::V4(cidr) if cidr.broadcast().map(IpAddr::V4) == Some(address))
    }

    /// The same prefix, and behind it zeros.
    #[must_use]
    pub(crate) const fn network(self) -> Self {
        match self {
            Self::V4(cidr) => Self::V4(cidr.network()),
            Self::V6(cidr) => Self::V6(cidr.network()),
        }
    }

    /// Whether a host can have this address; see [`Ipv4Cidr::is_host`] and [`Ipv6Cidr::is_host`].
    #[must_use]
    pub fn is_host(self) -> bool {
        match self {
            Self::V4(cidr) => cidr.is_host(),
            Self::V6(cidr) => cidr.is_host(),
        }
    }
}

impl From<Ipv4Cidr> for IpCidr {
    fn from(cidr: Ipv4Cidr) -> Self {
        Self::V4(cidr)
    }
}

impl From<Ipv6Cidr> for IpCidr {
    fn from(cidr: Ipv6Cidr) -> Self {
        Self::V6(cidr)
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl fmt::Display for Ipv6Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl fmt::Display for IpCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(cidr) => cidr.fmt(f),
            Self::V6(cidr) => cidr.fmt(f),
        }
    }
}

impl FromStr for Ipv4Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        let error = ParseCidrError { example: "10.0.0.2/24" };
        let (address, prefix_len) = split(text).ok_or(error)?;
        let address = address.parse().map_err(|_| error)?;
        Self::new(address, prefix_len).ok_or(error)
    }
}

impl FromStr for Ipv6Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        let error = ParseCidrError { example: "2001:db8::2/64" };
        let (address, prefix_len) = split(text).ok_or(error)?;
        let address = address.parse().map_err(|_| error)?;
        Self::new(address, prefix_len).ok_or(error)
    }
}

impl FromStr for IpCidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        if text.contains(':') { text.parse().map(Self::V6) } else { text.parse().map(Self::V4) }
    }
}

/// Splits an address from the length of its prefix.
fn split(text: &str) -> Option<(&str, u8)> {
    let (address, prefix_len) = text.split_once('/')?;
    let digits = prefix_len.bytes().all(|b| b.is_ascii_digit());
    Some((address, prefix_len.parse().ok().filter(|_| digits)?))
}

/// The text is no address with a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseCidrError {
    example: &'static str,
}

impl fmt::Display for ParseCidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an address with a prefix length, such as {}", self.example)
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
            assert!(text.parse::<Ipv4Cidr>().is_err(), "{text}");
        }
        for text in ["", "fe80::1", "fe80::1/", "fe80::1/129", "fe80::1/+8", "10.0.0.2/24", ":/8"] {
            assert!(text.parse::<Ipv6Cidr>().is_err(), "{text}");
            assert!(text.starts_with("10") || text.parse::<IpCidr>().is_err(), "{text}");
        }
        let error = "x".parse::<Ipv6Cidr>().unwrap_err();
        let text = "not an address with a prefix length, such as 2001:db8::2/64";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn an_ipv6_prefix_contains_what_begins_with_it_and_takes_an_interface_identifier() {
        let cidr: Ipv6Cidr = "2001:db8:1:2:3:4:5:6/64".parse().unwrap();
        assert_eq!(cidr.to_string(), "2001:db8:1:2:3:4:5:6/64");
        assert!(cidr.contains("2001:db8:1:2::1".parse().unwrap()));
        assert!(!cidr.contains("2001:db8:1:3::1".parse().unwrap()));
        assert_eq!(cidr.network().to_string(), "2001:db8:1:2::/64");
        let made = cidr.with_interface_id(0x0102_0304_0506_0708);
        assert_eq!(made.to_string(), "2001:db8:1:2:102:304:506:708/64");
        assert_eq!("::/0".parse::<IpCidr>().unwrap().prefix_len(), 0);
        assert!("::/0".parse::<IpCidr>().unwrap().contains("fe80::1".parse().unwrap()));
    }

    #[test]
    fn what_no_host_may_have_is_no_host() {
        for text in ["::/64", "::1/128", "ff02::1/64", "::ffff:10.0.0.1/128", "2001:db8::/64"] {
            assert!(!text.parse::<Ipv6Cidr>().unwrap().is_host(), "{text}");
        }
        for text in ["fe80::1/64", "2001:db8::1/64", "2001:db8::/127", "fd00::1/128"] {
            assert!(text.parse::<Ipv6Cidr>().unwrap().is_host(), "{text}");
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
        assert_eq!(cidr("10.1.2.3/30").everybody(), Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!(cidr("10.1.2.3/24").with_address(Ipv4Addr::LOCALHOST), cidr("127.0.0.1/24"));
        for alone in ["10.1.2.3/31", "10.1.2.3/32"] {
            assert_eq!(cidr(alone).everybody(), Ipv4Addr::BROADCAST);
        }
    }
}
