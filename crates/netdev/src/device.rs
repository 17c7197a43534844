use alloc::collections::VecDeque;
use core::fmt;
use core::str::FromStr;
use core::task::{Context, Poll};

use crate::{Packet, Pool};

/// A network card: frames in, frames out, in batches, and word when there are more.
///
/// A frame is an Ethernet II frame from its destination address to the end of its payload, without
/// checksum. Frames move in the order in which they came.
pub trait Device {
    /// The card's own address.
    fn mac(&self) -> Mac;

    /// The most bytes of IP (header and payload, not the Ethernet header) in one frame.
    fn mtu(&self) -> u16;

    /// Which checksums the card sees to. None, unless it says so.
    fn checksums(&self) -> Checksums {
        Checksums::default()
    }

    /// Takes up to `limit` frames that have come, each into a packet of `pool`, and hands them to
    /// `take`, which must not use the device. Never waits.
    ///
    /// When the pool has none left for receiving, frames are taken from the card all the same, and
    /// dropped and counted, so that old ones do not stand in the way of new ones.
    ///
    /// # Errors
    /// [`Gone`] if the card will never again have one.
    fn receive(
        &mut self,
        pool: &Pool,
        limit: usize,
        take: &mut dyn FnMut(Packet),
    ) -> Result<Received, Gone>;

    /// Sends frames from the front of `frames`, as many as the card takes now; those that it does
    /// not take stay. Never waits.
    ///
    /// # Errors
    /// [`Gone`] if the card will never again take one.
    fn transmit(&mut self, frames: &mut VecDeque<Packet>) -> Result<(), Gone>;

    /// Whether [`Device::receive`] may have something. If not, the task is woken when it may.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether [`Device::transmit`] may take something. If not, the task is woken when it may.
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What [`Device::receive`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The card had nothing more: the next call is worth making once
    /// [`Device::poll_receive`] says so.
    pub drained: bool,
    /// Frames dropped for want of a packet to put them in.
    pub dropped: u32,
}

/// The device is gone for good: unplugged, or taken by its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the network device is gone")
    }
}

impl core::error::Error for Gone {}

/// Which checksums a card verifies on what it receives, and fills in on what it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksums {
    /// It delivers no frame whose IPv4 header checksum is wrong.
    pub verifies_ipv4: bool,
    /// It delivers no frame whose UDP checksum is wrong.
    pub verifies_udp: bool,
    /// It fills in the IPv4 header checksum.
    pub fills_ipv4: bool,
    /// It fills in the UDP checksum.
    pub fills_udp: bool,
}

/// An Ethernet (EUI-48) address, in the order in which it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`, everybody.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it addresses a group: multicast, or everybody.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it can be one card's address: no group, and not all zero.
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        !self.is_group() && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = ParseMacError;

    /// Six pairs of hexadecimal digits with colons between them.
    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let mut mac = Self::default();
        let mut pairs = text.split(':');
        for byte in &mut mac.0 {
            let pair = pairs.next().filter(|pair| pair.len() == 2).ok_or(ParseMacError)?;
            if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ParseMacError)?;
        }
        if pairs.next().is_some() {
            return Err(ParseMacError);
        }
        Ok(mac)
    }
}

/// The text is no Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseMacError;

impl fmt::Display for ParseMacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a MAC address, such as 02:00:00:00:00:01")
    }
}

impl core::error::Error for ParseMacError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_reads_back_as_it_prints() {
        let mac = Mac([0x02, 0xab, 0, 1, 0x10, 0xff]);
        assert_eq!(mac.to_string(), "02:ab:00:01:10:ff");
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }

    #[test]
    fn what_is_no_mac_address_is_refused() {
        for text in
            ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "2:0:0:0:0:1", "+2:00:00:00:00:01"]
        {
            assert_eq!(text.parse::<Mac>(), Err(ParseMacError), "{text}");
        }
    }

    #[test]
    fn group_addresses_are_no_cards() {
        assert!(Mac::BROADCAST.is_group());
        assert!(Mac([0x01, 0, 0x5e, 0, 0, 1]).is_group());
        assert!(!Mac::default().is_unicast());
        assert!(Mac([2, 0, 0, 0, 0, 1]).is_unicast());
    }
}
