use alloc::rc::Rc;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use mkernel::now_coarse;
use mnet_proto::{Filter, JoinError, Local, Options, SendError, SocketId, SocketStats};

use crate::shared::Shared;

mod receive;
mod send;

/// A port of one's own; made by [`Udp::bind`](crate::Udp::bind).
///
/// Clones share its queue, its peer and its options, and each datagram goes to one of them. The port
/// is free again when the last is dropped.
#[derive(Clone)]
pub struct UdpSocket {
    // Beside what they are in, too: of many sockets, what receiving need not look at is not in the cache.
    shared: Rc<Shared>,
    id: SocketId,
    bound: Rc<Bound>,
}

struct Bound {
    shared: Rc<Shared>,
    id: SocketId,
    local: Local,
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.shared.state.borrow_mut().close(self.id);
    }
}

impl UdpSocket {
    pub(crate) fn new(shared: Rc<Shared>, id: SocketId, local: Local) -> Self {
        let bound = Rc::new(Bound { shared: Rc::clone(&shared), id, local });
        Self { shared, id, bound }
    }

    /// What it is bound to; its port is never 0.
    #[must_use]
    pub fn local(&self) -> Local {
        self.bound.local
    }

    /// Lets it speak to one peer alone: [`UdpSocket::send`] sends there, and only that one's
    /// datagrams are received. Those of others that wait in the queue are dropped, and counted. If an
    /// ICMP error says that the peer cannot be reached, the next call that receives or sends fails
    /// with it, once.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let (client, server) = (ours.udp().bind(0)?, theirs.udp().bind(7)?);
    /// client.connect(([10, 0, 0, 2], 7))?;
    /// client.send(b"question").await?;
    /// server.recv_datagram().await?.reply().await?;
    /// assert_eq!(client.recv(&mut [0; 1_500]).await?, 8);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`SendError`], if there is no way to the peer; [`SendError::FamilyMismatch`], if the socket is
    /// bound to an address of the other family.
    pub fn connect(&self, peer: impl Into<SocketAddr>) -> Result<(), SendError> {
        let (Self { shared, id, .. }, peer) = (self, peer.into());
        let mut state = shared.state.borrow_mut();
        state.host.udp_connect(now_coarse(), *id, Some(peer))
    }

    /// Lets it speak to everybody again.
    pub fn disconnect(&self) {
        let Self { shared, id, .. } = self;
        let mut state = shared.state.borrow_mut();
        // Only a peer can be refused.
        let _ = state.host.udp_connect(now_coarse(), *id, None);
    }

    /// The only one that it speaks to, if it is connected.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.shared.state.borrow().host.udp().peer(self.id)
    }

    /// Joins a group: from now on the socket gets what is sent to it, from all sources, or from some.
    /// Joining again changes the sources. Routers are told by IGMP (RFC 3376, RFC 2236) or MLD
    /// (RFC 3810, RFC 2710).
    ///
    /// ```
    /// use mnet::Filter;
    ///
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let (sender, member) = (ours.udp().bind(0)?, theirs.udp().bind(5_353)?);
    /// member.join([239, 1, 2, 3], Filter::ANY)?;
    /// member.join([232, 1, 2, 3], Filter::Include(vec![[10, 0, 0, 1].into()]))?;
    /// for group in [[239, 1, 2, 3], [232, 1, 2, 3]] {
    ///     sender.send_to(b"to all", (group, 5_353)).await?;
    ///     assert_eq!(member.recv_datagram().await?.local().ip(), core::net::IpAddr::from(group));
    /// }
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// [`JoinError`], which says why not.
    pub fn join(&self, group: impl Into<IpAddr>, filter: Filter) -> Result<(), JoinError> {
        let (Self { shared, id, .. }, group) = (self, group.into());
        let mut state = shared.state.borrow_mut();
        state.host.udp_join(now_coarse(), *id, group, filter)?;
        state.wake_driver();
        Ok(())
    }

    /// Leaves a group, as RFC 3376 §5.1 and RFC 3810 §6.1 say; `false` if it was not in it. A socket
    /// that is dropped leaves all.
    pub fn leave(&self, group: impl Into<IpAddr>) -> bool {
        let (Self { shared, id, .. }, group) = (self, group.into());
        let mut state = shared.state.borrow_mut();
        let left = state.host.udp_leave(now_coarse(), *id, group);
        state.wake_driver();
        left
    }

    /// Lets the socket get what is sent to everybody on the link (RFC 919), and send to everybody, or
    /// not. At first it does not.
    ///
    /// ```
    /// # snippets::two_hosts(async |ours, theirs| {
    /// let (sender, socket) = (ours.udp().bind(0)?, theirs.udp().bind(67)?);
    /// sender.set_broadcast(true);
    /// socket.set_broadcast(true);
    /// sender.send_to(b"anybody?", ([255; 4], 67)).await?;
    /// assert_eq!(socket.recv_datagram().await?.payload(), b"anybody?");
    /// # Ok(()) });
    /// ```
    pub fn set_broadcast(&self, allowed: bool) {
        let mut state = self.shared.state.borrow_mut();
        state.host.udp_mut().set_broadcast(self.id, allowed);
    }

    /// Whether it may get what is sent to everybody, and send to everybody.
    #[must_use]
    pub fn broadcast(&self) -> bool {
        self.shared.state.borrow().host.udp().may_broadcast(self.id)
    }

    /// What it asks for with all that it sends.
    #[must_use]
    pub fn options(&self) -> Options {
        let state = self.shared.state.borrow();
        state.host.udp().options(self.id).unwrap_or_default()
    }

    /// Changes what it asks for with all that it sends: from now on, and of all clones.
    ///
    /// ```
    /// # fn example(socket: &mnet::UdpSocket) {
    /// socket.set_options(mnet::Options { dscp: Some(46), ..socket.options() });
    /// # }
    /// ```
    pub fn set_options(&self, options: Options) {
        let mut state = self.shared.state.borrow_mut();
        state.host.udp_mut().set_options(self.id, options);
    }

    /// Lets what it sends to one host have this TTL (RFC 791) or hop limit (RFC 8200): 1 to 255 hops.
    /// With 0 nothing leaves the host.
    pub fn set_hop_limit(&self, hop_limit: u8) {
        self.set_options(Options { hop_limit: Some(hop_limit), ..self.options() });
    }

    /// Lets what it sends to groups have this TTL or hop limit. At first it is 1, which keeps it on
    /// the link (RFC 1112 §6.1).
    pub fn set_multicast_hop_limit(&self, hop_limit: u8) {
        let mut state = self.shared.state.borrow_mut();
        state.host.udp_mut().set_multicast_hop_limit(self.id, hop_limit);
    }

    /// The TTL or hop limit of what it sends to groups.
    #[must_use]
    pub fn multicast_hop_limit(&self) -> u8 {
        let state = self.shared.state.borrow();
        state.host.udp().multicast_hop_limit(self.id).unwrap_or(1)
    }

    /// Lets what it sends have this DSCP, 0 to 63 (RFC 2474). The lower six bits count: 64 is 0
    /// again. (What `IP_TOS` takes holds DSCP and ECN: its value is four times this one.)
    pub fn set_dscp(&self, dscp: u8) {
        self.set_options(Options { dscp: Some(dscp), ..self.options() });
    }

    /// Lets what it sends have this ECN codepoint, 0 to 3 (RFC 3168). The lower two bits count.
    pub fn set_ecn(&self, ecn: u8) {
        self.set_options(Options { ecn: Some(ecn), ..self.options() });
    }

    /// Lets what does not pass in one piece (RFC 791 §2.3, RFC 8200 §4.5) be refused with [`SendError::PacketTooBig`], or be
    /// fragmented, as it is at first.
    pub fn set_dont_fragment(&self, dont_fragment: bool) {
        self.set_options(Options { dont_fragment: Some(dont_fragment), ..self.options() });
    }

    /// The largest IP datagram, in bytes with its headers, that is known to pass to a destination in
    /// one piece (RFC 1191, RFC 8201): of UDP's payload, 28 bytes less over IPv4, 48 less over IPv6.
    ///
    /// # Errors
    /// [`SendError::RouteNotFound`] if there is no way there.
    pub fn path_mtu(&self, destination: impl Into<IpAddr>) -> Result<u16, SendError> {
        let destination = destination.into();
        let mut state = self.shared.state.borrow_mut();
        state.host.path_mtu(now_coarse(), destination)
    }

    /// Its counters, as they are now.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        let state = self.shared.state.borrow();
        state.host.udp().stats(self.id).unwrap_or_default()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket")
            .field("local", &self.bound.local)
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}
