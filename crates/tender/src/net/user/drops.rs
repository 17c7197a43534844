/// Why something was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Drop {
    FrameTooShort,
    FrameTooLong,
    EtherType,
    NotForGateway,
    Arp,
    Ipv4Header,
    Ipv4Checksum,
    Ipv6Header,
    Ndp,
    Source,
    Fragment,
    Protocol,
    Icmp,
    UdpHeader,
    UdpChecksum,
    Dhcp,
    Destination,
    TooManyPorts,
    TooManyPeers,
    NoPeer,
    DatagramTooLong,
    NotSent,
    NotTaken,
}

/// What a person is told of each, but for what any stack sends now and then, and nobody misses:
/// other protocols, frames for everybody, announcements.
const TEXTS: [(Drop, &str); 20] = [
    (Drop::FrameTooShort, "frames too short"),
    (Drop::FrameTooLong, "frames longer than the MTU"),
    (Drop::Ipv4Header, "malformed IPv4 headers"),
    (Drop::Ipv4Checksum, "wrong IPv4 checksums"),
    (Drop::Ipv6Header, "malformed IPv6 headers"),
    (Drop::Ndp, "malformed messages of neighbour discovery"),
    (Drop::Source, "packets from addresses that are not the image's"),
    (Drop::Fragment, "fragments that made no datagram"),
    (Drop::Protocol, "packets of a protocol other than UDP and ICMP"),
    (Drop::Icmp, "ICMP messages other than ping"),
    (Drop::UdpHeader, "malformed UDP headers"),
    (Drop::UdpChecksum, "wrong UDP checksums"),
    (Drop::Dhcp, "malformed DHCP messages"),
    (Drop::Destination, "datagrams to or from an address that is out of bounds"),
    (Drop::TooManyPorts, "datagrams from more ports than there can be sockets"),
    (Drop::TooManyPeers, "datagrams from more peers than there is room for"),
    (Drop::NoPeer, "answers to peers that were silent for too long"),
    (Drop::DatagramTooLong, "datagrams that are too long for IP"),
    (Drop::NotSent, "datagrams that the host did not send"),
    (Drop::NotTaken, "datagrams that the image did not take"),
];

/// How often each [`Drop`] happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Drops([u64; Drop::NotTaken as usize + 1]);

impl Drops {
    /// Counts one.
    pub(super) fn count(&mut self, drop: Drop) {
        self.0[drop as usize] += 1;
    }

    /// What a person is told: how often, and what.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &'static str)> {
        TEXTS
            .into_iter()
            .map(|(drop, text)| (self.0[drop as usize], text))
            .filter(|&(count, _)| count > 0)
    }
}
