//! Counters: what was done, and what was dropped and why.

use core::ops::Index;

/// Counters of a stack. None ever goes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Frames that the device delivered.
    pub frames_received: u64,
    /// Frames handed to the device.
    pub frames_sent: u64,
    /// Frames that the device dropped for want of a packet to put them in.
    pub frames_missed: u64,
    /// UDP datagrams put into a socket's queue.
    pub udp_received: u64,
    /// UDP datagrams that a socket sent.
    pub udp_sent: u64,
    /// Echo requests answered.
    pub icmp_echo_replies: u64,
    /// ICMP errors sent.
    pub icmp_errors: u64,
    /// ARP requests sent.
    pub arp_requests: u64,
    /// ARP requests answered.
    pub arp_replies: u64,
    /// What was dropped, by reason.
    pub dropped: Dropped,
}

/// Why something was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drop {
    /// A frame too short for its header.
    EthernetMalformed,
    /// A frame from a group address, or to another card.
    EthernetAddress,
    /// A frame of a protocol that is not spoken here.
    EthernetProtocol,
    /// An ARP packet that is malformed, or whose sender cannot be.
    ArpMalformed,
    /// An ARP packet from someone who uses our address.
    ArpConflict,
    /// An IPv4 header whose version or lengths are wrong.
    Ipv4Malformed,
    /// An IPv4 header checksum that is wrong.
    Ipv4Checksum,
    /// A source address that no host may have, or our own.
    Ipv4Source,
    /// A destination that is not ours, or one host's address in a frame to many.
    Ipv4Destination,
    /// A fragment.
    Ipv4Fragment,
    /// A protocol above IP that is not spoken here.
    IpProtocol,
    /// An ICMP message that is cut short, or whose checksum is wrong.
    IcmpMalformed,
    /// An ICMP message that there is nothing to do about.
    IcmpUnhandled,
    /// An ICMP error that was not sent, as too many were.
    IcmpRateLimited,
    /// A UDP header whose lengths are wrong, or a datagram to port 0.
    UdpMalformed,
    /// A UDP checksum that is wrong.
    UdpChecksum,
    /// A datagram to a port or address on which nobody listens.
    UdpNoSocket,
    /// A datagram to everybody, for which no socket has asked.
    UdpBroadcast,
    /// A datagram for a socket whose queue is full.
    UdpQueueFull,
    /// A packet that waited for a neighbour that did not answer.
    NeighborUnreachable,
    /// A packet that waited for a neighbour and made room for a newer one, or found no room.
    NeighborQueueFull,
    /// A packet to a neighbour for which the full cache had no place.
    NeighborCacheFull,
    /// Something that was to be sent when no packet was free for it, or too small for it.
    NoPacket,
}

impl Drop {
    /// Every reason.
    pub const ALL: [Self; 23] = [
        Self::EthernetMalformed,
        Self::EthernetAddress,
        Self::EthernetProtocol,
        Self::ArpMalformed,
        Self::ArpConflict,
        Self::Ipv4Malformed,
        Self::Ipv4Checksum,
        Self::Ipv4Source,
        Self::Ipv4Destination,
        Self::Ipv4Fragment,
        Self::IpProtocol,
        Self::IcmpMalformed,
        Self::IcmpUnhandled,
        Self::IcmpRateLimited,
        Self::UdpMalformed,
        Self::UdpChecksum,
        Self::UdpNoSocket,
        Self::UdpBroadcast,
        Self::UdpQueueFull,
        Self::NeighborUnreachable,
        Self::NeighborQueueFull,
        Self::NeighborCacheFull,
        Self::NoPacket,
    ];
}

/// How much was dropped for each reason; indexed by [`Drop`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped([u64; Drop::ALL.len()]);

impl Dropped {
    /// Counts one.
    #[inline]
    pub(crate) fn count(&mut self, reason: Drop) {
        self.0[reason as usize] += 1;
    }

    /// The sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each reason for which something was dropped, and how much.
    pub fn iter(&self) -> impl Iterator<Item = (Drop, u64)> + '_ {
        Drop::ALL.into_iter().map(|reason| (reason, self[reason])).filter(|&(_, count)| count > 0)
    }
}

impl Index<Drop> for Dropped {
    type Output = u64;

    fn index(&self, reason: Drop) -> &u64 {
        &self.0[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let mut dropped = Dropped::default();
        for (i, reason) in Drop::ALL.into_iter().enumerate() {
            (0..=i).for_each(|_| dropped.count(reason));
        }
        for (i, reason) in Drop::ALL.into_iter().enumerate() {
            assert_eq!(dropped[reason], i as u64 + 1, "{reason:?}");
        }
        assert_eq!(dropped.iter().count(), Drop::ALL.len());
        assert_eq!(dropped.total(), (1..=Drop::ALL.len() as u64).sum());
    }
}
