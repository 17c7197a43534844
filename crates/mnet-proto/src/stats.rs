//! Counters: what was done, and what was dropped and why.

use core::ops::Index;

use crate::ip::fragment::Reason;
use crate::multicast;

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
    /// Echo requests answered, and those that ask for the time.
    pub icmp_echo_replies: u64,
    /// ICMP errors sent.
    pub icmp_errors: u64,
    /// ICMP errors received about what was sent.
    pub icmp_errors_received: u64,
    /// Paths of which an ICMP error said that less passes than was thought.
    pub path_mtu_changes: u64,
    /// Redirects that were followed.
    pub redirects: u64,
    /// Fragments received.
    pub fragments_received: u64,
    /// Datagrams put together from fragments.
    pub datagrams_reassembled: u64,
    /// Datagrams sent in fragments.
    pub datagrams_fragmented: u64,
    /// ARP requests sent.
    pub arp_requests: u64,
    /// ARP requests answered.
    pub arp_replies: u64,
    /// Neighbour solicitations sent.
    pub neighbor_solicits: u64,
    /// Neighbour solicitations answered.
    pub neighbor_adverts: u64,
    /// Router solicitations sent.
    pub router_solicits: u64,
    /// Router advertisements received.
    pub router_adverts: u64,
    /// IGMP and MLD messages sent.
    pub group_reports: u64,
    /// DHCP messages sent.
    pub dhcp_sent: u64,
    /// DHCP messages received that were waited for.
    pub dhcp_received: u64,
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
    /// IPv4 options whose lengths are wrong.
    Ipv4Options,
    /// An IPv4 datagram that says which way it goes.
    Ipv4SourceRoute,
    /// An IPv4 source address that no host may have, or our own.
    Ipv4Source,
    /// An IPv4 destination that is not ours, or one host's address in a frame to many.
    Ipv4Destination,
    /// An IPv6 header whose version is wrong, or one whose lengths are.
    Ipv6Malformed,
    /// An IPv6 source address that no host may have, or our own.
    Ipv6Source,
    /// An IPv6 destination that is not ours, or not yet.
    Ipv6Destination,
    /// An IPv6 option that is not known and must not be passed over.
    Ipv6Option,
    /// An IPv6 routing header that asks us to route.
    Ipv6Routing,
    /// An IPv6 datagram with nothing in it.
    Ipv6NoNextHeader,
    /// A fragment that is empty, or not of whole 8 bytes though others come behind it.
    FragmentMalformed,
    /// A fragment that ends where no datagram can reach.
    FragmentTooLong,
    /// A first fragment that has not all the headers.
    FragmentHeaders,
    /// A fragment that overlaps with others, or contradicts them; its datagram goes too.
    FragmentOverlap,
    /// A fragment of a datagram that was discarded.
    FragmentLate,
    /// A datagram that was not whole yet and made room for others, or found none.
    ReassemblyFull,
    /// A datagram whose fragments did not all come in time.
    ReassemblyTimeout,
    /// A protocol above IP that is not spoken here.
    IpProtocol,
    /// An ICMP message that is cut short, or whose checksum is wrong.
    IcmpMalformed,
    /// An ICMP message that there is nothing to do about.
    IcmpUnhandled,
    /// An ICMP error or redirect about something that was not sent.
    IcmpUnexpected,
    /// An ICMP error that was not sent, as too many were.
    IcmpRateLimited,
    /// A message of neighbour discovery that is malformed, or not from the link.
    NdpMalformed,
    /// A message of neighbour discovery from someone who uses our address.
    NdpConflict,
    /// A message of neighbour discovery about someone of whom nobody wants to know.
    NdpForeign,
    /// A route, configured or told by a router or a DHCP server, for which there was no place.
    TooManyRoutes,
    /// An address, configured or made of a prefix, for which there was no place.
    TooManyAddresses,
    /// A message of IGMP or MLD that is malformed, or not from the link.
    MulticastMalformed,
    /// A message of IGMP or MLD that there is nothing to do about.
    MulticastUnhandled,
    /// A DHCP message that is malformed, or for which nobody asked.
    DhcpIgnored,
    /// A UDP header whose lengths are wrong.
    UdpMalformed,
    /// A UDP checksum that is wrong, or not there over IPv6.
    UdpChecksum,
    /// A datagram to a port or address on which nobody listens.
    UdpNoSocket,
    /// A datagram to a group that the socket on its port has not joined, or not from this source.
    UdpNotMember,
    /// A datagram that waited in the queue of a socket which then was connected to somebody else.
    UdpNotPeer,
    /// A datagram to everybody, for which the socket on its port has not asked.
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
    pub const ALL: [Self; 48] = [
        Self::EthernetMalformed,
        Self::EthernetAddress,
        Self::EthernetProtocol,
        Self::ArpMalformed,
        Self::ArpConflict,
        Self::Ipv4Malformed,
        Self::Ipv4Checksum,
        Self::Ipv4Options,
        Self::Ipv4SourceRoute,
        Self::Ipv4Source,
        Self::Ipv4Destination,
        Self::Ipv6Malformed,
        Self::Ipv6Source,
        Self::Ipv6Destination,
        Self::Ipv6Option,
        Self::Ipv6Routing,
        Self::Ipv6NoNextHeader,
        Self::FragmentMalformed,
        Self::FragmentTooLong,
        Self::FragmentHeaders,
        Self::FragmentOverlap,
        Self::FragmentLate,
        Self::ReassemblyFull,
        Self::ReassemblyTimeout,
        Self::IpProtocol,
        Self::IcmpMalformed,
        Self::IcmpUnhandled,
        Self::IcmpUnexpected,
        Self::IcmpRateLimited,
        Self::NdpMalformed,
        Self::NdpConflict,
        Self::NdpForeign,
        Self::TooManyRoutes,
        Self::TooManyAddresses,
        Self::MulticastMalformed,
        Self::MulticastUnhandled,
        Self::DhcpIgnored,
        Self::UdpMalformed,
        Self::UdpChecksum,
        Self::UdpNoSocket,
        Self::UdpNotMember,
        Self::UdpNotPeer,
        Self::UdpBroadcast,
        Self::UdpQueueFull,
        Self::NeighborUnreachable,
        Self::NeighborQueueFull,
        Self::NeighborCacheFull,
        Self::NoPacket,
    ];
}

impl From<Reason> for Drop {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Length => Self::FragmentMalformed,
            Reason::TooLong => Self::FragmentTooLong,
            Reason::Overlap | Reason::Inconsistent | Reason::Ecn | Reason::Scattered => {
                Self::FragmentOverlap
            }
            Reason::Poisoned => Self::FragmentLate,
            Reason::NoRoom | Reason::Evicted => Self::ReassemblyFull,
            Reason::TimedOut => Self::ReassemblyTimeout,
        }
    }
}

impl From<multicast::Ignored> for Drop {
    fn from(ignored: multicast::Ignored) -> Self {
        match ignored {
            multicast::Ignored::Unhandled => Self::MulticastUnhandled,
            _ => Self::MulticastMalformed,
        }
    }
}

/// How much was dropped for each reason; indexed by [`Drop`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped([u64; Drop::ALL.len()]);

impl Default for Dropped {
    fn default() -> Self {
        Self([0; Drop::ALL.len()])
    }
}

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
