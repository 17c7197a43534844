use core::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::ip::{Cast, SendOptions};

/// What may be asked for with one datagram, or with all that a socket sends. `None` leaves it to
/// whoever is asked next: the socket, then the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// TTL or hop limit. With 0, nothing leaves the host (RFC 1122 §3.2.1.7): no route is found.
    pub hop_limit: Option<u8>,
    /// DSCP, 0 to 63 (RFC 2474 §3). The lower six bits count: 64 is 0 again. The stack's is 0.
    pub dscp: Option<u8>,
    /// ECN codepoint, 0 to 3 (RFC 3168 §5). The lower two bits count. The stack's is 0.
    pub ecn: Option<u8>,
    /// Whether what does not pass in one piece is refused, and not fragmented. The stack fragments.
    pub dont_fragment: Option<bool>,
    /// Whether routers on the way are to look at it (RFC 2113, RFC 2711). The stack does not ask
    /// them to.
    pub router_alert: Option<bool>,
}

/// Where a datagram goes, and how. Any socket address is one without wishes.
///
/// ```
/// use mnet_proto::Destination;
///
/// let to = Destination::from(([192, 0, 2, 1], 33_434)).hop_limit(1).dont_fragment(true);
/// # assert_eq!(to.options.hop_limit, Some(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Whom it is for.
    pub address: SocketAddr,
    /// One of the host's addresses to send from; without it that of the socket, or the one that
    /// suits the destination.
    pub source: Option<IpAddr>,
    /// What else is asked for.
    pub options: Options,
}

impl Destination {
    /// It leaves from this address of the host's.
    #[must_use]
    pub fn source(mut self, address: impl Into<IpAddr>) -> Self {
        self.source = Some(address.into());
        self
    }

    /// It has this TTL, or hop limit.
    #[must_use]
    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.options.hop_limit = Some(hop_limit);
        self
    }

    /// It has this DSCP: 0 to 63. The lower six bits count: 64 is 0 again.
    #[must_use]
    pub fn dscp(mut self, dscp: u8) -> Self {
        self.options.dscp = Some(dscp);
        self
    }

    /// It has this ECN codepoint: 0 to 3. The lower two bits count.
    #[must_use]
    pub fn ecn(mut self, ecn: u8) -> Self {
        self.options.ecn = Some(ecn);
        self
    }

    /// If it does not pass in one piece it is refused, and not fragmented; or the other way round.
    #[must_use]
    pub fn dont_fragment(mut self, dont_fragment: bool) -> Self {
        self.options.dont_fragment = Some(dont_fragment);
        self
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self { address, source: None, options: Options::default() }
    }
}

impl From<SocketAddrV4> for Destination {
    fn from(address: SocketAddrV4) -> Self {
        SocketAddr::from(address).into()
    }
}

impl From<SocketAddrV6> for Destination {
    fn from(address: SocketAddrV6) -> Self {
        SocketAddr::from(address).into()
    }
}

impl<A: Into<IpAddr>> From<(A, u16)> for Destination {
    fn from(address: (A, u16)) -> Self {
        SocketAddr::from(address).into()
    }
}

/// What a socket asks of the layer beneath with all that it sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    pub(super) options: Options,
    /// In place of the hop limit, for what is sent to groups.
    pub(super) multicast_hop_limit: Option<u8>,
    /// Whether it asks for anything.
    pub(super) wishes: bool,
}

impl Defaults {
    /// Those of what no socket sends.
    pub(super) const NONE: Self = Self {
        options: Options {
            hop_limit: None,
            dscp: None,
            ecn: None,
            dont_fragment: None,
            router_alert: None,
        },
        multicast_hop_limit: None,
        wishes: false,
    };

    /// Keeps of DSCP and ECN the bits that are sent: whoever asks is told what holds.
    pub(super) fn set(&mut self, mut options: Options, multicast_hop_limit: Option<u8>) {
        options.dscp = options.dscp.map(|dscp| dscp & 0x3f);
        options.ecn = options.ecn.map(|ecn| ecn & 0b11);
        let wishes = options != Options::default() || multicast_hop_limit.is_some();
        *self = Self { options, multicast_hop_limit, wishes };
    }

    /// What to ask for with one datagram, of which something else may be wished.
    #[inline]
    pub(super) fn resolve(&self, wished: &Options, cast: Cast) -> SendOptions {
        if self.wishes || *wished != Options::default() {
            self.overlay(wished, cast)
        } else {
            SendOptions::default()
        }
    }

    #[inline(never)]
    fn overlay(&self, wished: &Options, cast: Cast) -> SendOptions {
        let own = &self.options;
        let hop_limit =
            if cast == Cast::Multicast { self.multicast_hop_limit } else { own.hop_limit };
        let dscp = wished.dscp.or(own.dscp).unwrap_or(0);
        let ecn = wished.ecn.or(own.ecn).unwrap_or(0);
        SendOptions {
            hop_limit: wished.hop_limit.or(hop_limit),
            traffic_class: (dscp & 0x3f) << 2 | ecn & 0b11,
            dont_fragment: wished.dont_fragment.or(own.dont_fragment).unwrap_or(false),
            router_alert: wished.router_alert.or(own.router_alert).unwrap_or(false),
        }
    }
}
