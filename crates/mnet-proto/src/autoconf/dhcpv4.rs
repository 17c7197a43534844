//! A DHCP client (RFC 2131 §4.4).
//!
//! ```text
//!          start            offer                ack               T1
//!  STOPPED ──────▶ SELECTING ─────▶ REQUESTING ───────▶ BOUND ───────────▶ RENEWING
//!                   ▲ ▲  ▲            │     │            ▲ ▲                │    │
//!                   │ │  │ 4 requests │     │ nak        │ └───── ack ──────┘    │ T2
//!                   │ │  └────────────┘     │            └─────── ack ───────┐   ▼
//!                   │ │                     ▼                              REBINDING
//!                   │ └────────────────── INIT ◀──── nak, decline ──────────────┤
//!                   │      back-off                                             │
//!                   └────────────────────────────────────── expiry ─────────────┘
//! ```
//!
//! RENEWING takes a NAK as REBINDING does, and an address is declined in any state that has one.
//! There is no INIT-REBOOT: a host without storage has no address to come back to.
//!
//! Who drives it sends what [`Client::poll_transmit`] gives from port 68 to port 67, as it says:
//! while the host has no address from 0.0.0.0, to everybody and so to the broadcast MAC. Servers
//! are not asked to broadcast their replies, as few links carry many of these well. So until there
//! is a lease, datagrams to port 68 must get through that come to the host's MAC address and *any*
//! unicast IP address (RFC 2131 §4.1), besides those to 255.255.255.255; later, those to the
//! host's address.

mod lease;

use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use netdev::{Instant, Mac};
use rand_core::{Rng, SeedableRng};

pub use self::lease::Lease;
use crate::wire::dhcpv4::{Kind, Message, options};

/// What the client asks servers for. RFC 3442 wants the classless routes named before the routers.
const PARAMETERS: [u8; 11] = [
    options::SUBNET_MASK,
    options::CLASSLESS_ROUTES,
    options::ROUTERS,
    options::DNS_SERVERS,
    options::DOMAIN_NAME,
    options::MTU,
    options::NTP_SERVERS,
    options::LEASE_TIME,
    options::SERVER_ID,
    options::RENEWAL_TIME,
    options::REBINDING_TIME,
];

/// The longest message that every client takes (RFC 2131 §2).
const MIN_MESSAGE_SIZE: u16 = 576;
/// Requests for an address before it is given up, 60 s after the first (RFC 2131 §3.1).
const REQUESTS: u32 = 4;
/// Messages that look for servers, the last some 12 s after the first, after which it is likely that
/// there is none.
const DISCOVERS: u32 = 3;
/// Least time between two requests for more time (RFC 2131 §4.4.5).
const RENEWAL_INTERVAL: Duration = Duration::from_secs(60);
/// How long to leave servers alone after an address was declined (RFC 2131 §3.1).
const DECLINED: Duration = Duration::from_secs(10);

/// The client of one interface.
pub(crate) struct Client {
    mac: Mac,
    max_message_size: u16,
    random: ChaCha20Rng,
    state: State,
    xid: u32,
    // When the exchange began that the next message is a part of.
    began: Instant,
    // What the last DHCPDISCOVER said of how long that was ago.
    secs: u16,
    // When the last request was sent.
    requested: Instant,
    // Refusals since the last lease.
    naks: u32,
    transmit: Option<Transmit>,
    event: Option<Change>,
}

enum State {
    Stopped,
    Init { until: Instant },
    Selecting { sent: u32, next: Instant },
    Requesting { address: Ipv4Addr, server: Ipv4Addr, sent: u32, next: Instant },
    Leased { lease: Lease, phase: Phase },
}

#[derive(Clone, Copy)]
enum Phase {
    Bound,
    Renewing { next: Instant },
    Rebinding { next: Instant },
}

enum Change {
    Bound,
    Lost,
}

/// A message to be sent from port 68 to port 67.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transmit {
    /// To whom.
    pub(crate) to: Destination,
    /// From which address: 0.0.0.0, or the leased one.
    pub(crate) source: Ipv4Addr,
    /// The payload of the datagram.
    pub(crate) message: Vec<u8>,
}

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Everybody on the link: 255.255.255.255.
    Broadcast,
    /// The server that gave the lease, which need not be on the link.
    Server(Ipv4Addr),
}

/// What has happened to the lease. Only the last is told of several that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The host has this, instead of what it had. A lease that is only prolonged is not told of.
    Bound(Lease),
    /// The host has nothing: the address is to be used no more, from now on.
    Lost,
}

/// Why a message was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// It is no DHCP message.
    Malformed,
    /// It answers another client, or another request.
    NotOurs,
    /// Nothing of the kind was asked for.
    Unexpected,
    /// It is not from the server that was asked.
    OtherServer,
    /// No host can use what it gives, or it is not what was asked for.
    Unusable,
}

impl Client {
    /// The client of a host with this address, on a link that takes IP packets of `mtu` bytes.
    /// What is to be hard to guess comes from `seed`.
    pub(crate) fn new(mac: Mac, mtu: u16, seed: [u8; 32]) -> Self {
        Self {
            mac,
            max_message_size: mtu.max(MIN_MESSAGE_SIZE),
            random: ChaCha20Rng::from_seed(seed),
            state: State::Stopped,
            xid: 0,
            began: Instant::ZERO,
            secs: 0,
            requested: Instant::ZERO,
            naks: 0,
            transmit: None,
            event: None,
        }
    }

    /// Looks for a server, at once: RFC 2131 §4.4.1 would wait for 1 to 10 s, for hosts that all
    /// start when the power comes back. An image starts when it is needed, within a millisecond.
    pub(crate) fn start(&mut self, now: Instant) {
        if matches!(self.state, State::Stopped) {
            self.select(now);
        }
    }

    /// What the host has.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Leased { lease, .. } => Some(lease),
            _ => None,
        }
    }

    /// Whether as many servers have been looked for in vain as make it likely that there is none.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self.state, State::Selecting { sent: DISCOVERS, .. })
    }

    /// Takes the payload of a datagram to port 68.
    pub(crate) fn handle_message(&mut self, now: Instant, payload: &[u8]) -> Result<(), Ignored> {
        let message = Message::parse(payload).map_err(|_| Ignored::Malformed)?;
        // RFC 6842: servers repeat the identifier; older ones leave it out.
        let ours = message.chaddr == self.mac
            && (message.client_id.is_empty() || message.client_id == self.id());
        // Its xid is all that proves that a message answers us.
        if !ours || message.xid != self.xid {
            return Err(Ignored::NotOurs);
        }
        let asked = match (&self.state, message.kind) {
            (State::Selecting { .. }, Kind::Offer) => return self.take_offer(now, &message),
            (&State::Requesting { address, server, .. }, Kind::Ack | Kind::Nak) => {
                (address, Some(server))
            }
            (State::Leased { lease, phase }, Kind::Ack | Kind::Nak) => match phase {
                Phase::Bound => return Err(Ignored::Unexpected),
                Phase::Renewing { .. } => (lease.address.address(), Some(lease.server)),
                Phase::Rebinding { .. } => (lease.address.address(), None),
            },
            _ => return Err(Ignored::Unexpected),
        };
        let (address, server) = asked;
        if server.is_some() && message.server_id != server {
            return Err(Ignored::OtherServer);
        }
        if message.kind == Kind::Nak {
            self.refused(now);
            return Ok(());
        }
        let lease = Lease::new(&message, self.requested).ok_or(Ignored::Unusable)?;
        if lease.address.address() != address || lease.expires <= now {
            return Err(Ignored::Unusable);
        }
        self.bind(lease);
        Ok(())
    }

    /// Gives the address up as another host has it (RFC 5227), and looks for another after 10 s.
    /// Without a lease it does nothing.
    pub(crate) fn decline(&mut self, now: Instant) {
        let State::Leased { lease, .. } = &self.state else { return };
        let (address, server) = (lease.address.address(), lease.server);
        self.xid = self.random.next_u32();
        let mut message = Message::new(Kind::Decline, self.xid, self.mac);
        message.client_id = self.id().into();
        message.requested_address = Some(address);
        message.server_id = Some(server);
        self.send(Destination::Broadcast, &message);
        self.event = Some(Change::Lost);
        self.state = State::Init { until: now + DECLINED };
    }

    /// When [`Client::handle_timeout`] is to be called; it may change with any other call.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let time = match &self.state {
            State::Stopped => return None,
            State::Init { until } => *until,
            State::Selecting { next, .. } | State::Requesting { next, .. } => *next,
            State::Leased { lease, phase } => match phase {
                Phase::Bound => lease.renew,
                Phase::Renewing { next } | Phase::Rebinding { next } => *next,
            },
        };
        Some(time).filter(|&time| time != Instant::FAR_FUTURE)
    }

    /// Does what time asks for. Calling it early does no harm.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|time| time > now) {
            return;
        }
        match &self.state {
            State::Stopped => {}
            State::Init { .. } => self.select(now),
            State::Selecting { sent, .. } => self.discover(now, *sent),
            &State::Requesting { address, server, sent, .. } => {
                if sent < REQUESTS {
                    self.request(now, address, server, sent);
                } else {
                    self.select(now);
                }
            }
            State::Leased { lease, .. } if lease.expires <= now => {
                self.event = Some(Change::Lost);
                self.select(now);
            }
            State::Leased { .. } => self.prolong(now),
        }
    }

    /// The next message to be sent. One that nobody asked for makes way for the next.
    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmit.take()
    }

    /// What has happened, if anything has since the last call.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        match self.event.take()? {
            Change::Bound => self.lease().cloned().map(Event::Bound),
            Change::Lost => Some(Event::Lost),
        }
    }

    /// Looks for servers anew.
    fn select(&mut self, now: Instant) {
        self.xid = self.random.next_u32();
        self.began = now;
        self.discover(now, 0);
    }

    /// Sends a DHCPDISCOVER, after `sent` of them.
    fn discover(&mut self, now: Instant, sent: u32) {
        let message = self.question(now, Kind::Discover);
        self.secs = message.secs;
        self.send(Destination::Broadcast, &message);
        let next = now + self.retransmission_delay(sent);
        self.state = State::Selecting { sent: sent.saturating_add(1), next };
    }

    /// Takes the first offer that will do.
    fn take_offer(&mut self, now: Instant, offer: &Message) -> Result<(), Ignored> {
        let lease = Lease::new(offer, now).ok_or(Ignored::Unusable)?;
        self.request(now, lease.address.address(), lease.server, 0);
        Ok(())
    }

    /// Asks for what was offered, after `sent` such requests. All have the xid of the offer, and the
    /// time of the DHCPDISCOVER: relays go by it, and are to pass both on to the same servers (RFC
    /// 2131 §3.1 (3)).
    fn request(&mut self, now: Instant, address: Ipv4Addr, server: Ipv4Addr, sent: u32) {
        let mut message = self.question(now, Kind::Request);
        message.secs = self.secs;
        message.requested_address = Some(address);
        message.server_id = Some(server);
        self.send(Destination::Broadcast, &message);
        self.requested = now;
        let next = now + self.retransmission_delay(sent);
        self.state = State::Requesting { address, server, sent: sent + 1, next };
    }

    /// Asks for more time: the server that gave the lease, or after T2 any.
    fn prolong(&mut self, now: Instant) {
        let State::Leased { lease, phase } = &mut self.state else { return };
        if matches!(phase, Phase::Bound) {
            self.began = now;
        }
        let renewing = now < lease.rebind;
        let end = if renewing { lease.rebind } else { lease.expires };
        let next = (now + ((end - now) / 2).max(RENEWAL_INTERVAL)).min(end);
        *phase = if renewing { Phase::Renewing { next } } else { Phase::Rebinding { next } };
        let to = if renewing { Destination::Server(lease.server) } else { Destination::Broadcast };
        let address = lease.address.address();
        // With an xid of its own for each request there is no doubt from when the time counts.
        self.xid = self.random.next_u32();
        self.requested = now;
        let mut message = self.question(now, Kind::Request);
        message.ciaddr = address;
        self.send(to, &message);
    }

    fn bind(&mut self, lease: Lease) {
        if self.lease().is_none_or(|old| !lease.is_as(old)) {
            self.event = Some(Change::Bound);
        }
        self.naks = 0;
        self.transmit = None;
        self.state = State::Leased { lease, phase: Phase::Bound };
    }

    /// Begins anew: at once the first time, and later and later if servers only ever refuse.
    fn refused(&mut self, now: Instant) {
        if self.lease().is_some() {
            self.event = Some(Change::Lost);
        }
        self.naks = self.naks.saturating_add(1);
        if self.naks == 1 {
            return self.select(now);
        }
        self.transmit = None;
        let until = now + self.retransmission_delay(self.naks - 2);
        self.state = State::Init { until };
    }

    /// A message that asks a server for something.
    fn question(&self, now: Instant, kind: Kind) -> Message {
        let mut message = Message::new(kind, self.xid, self.mac);
        message.secs = u16::try_from((now - self.began).as_secs()).unwrap_or(u16::MAX);
        message.client_id = self.id().into();
        message.parameter_list = PARAMETERS.into();
        message.max_message_size = Some(self.max_message_size);
        message
    }

    fn send(&mut self, to: Destination, message: &Message) {
        self.transmit = Some(Transmit { to, source: message.ciaddr, message: message.emit() });
    }

    /// Hardware type and address (RFC 2132 §9.14).
    fn id(&self) -> [u8; 7] {
        let [a, b, c, d, e, f] = self.mac.0;
        [1, a, b, c, d, e, f]
    }

    /// 4, 8, 16, 32, and then 64 s, each a second more or less (RFC 2131 §4.1).
    fn retransmission_delay(&mut self, sent: u32) -> Duration {
        let spread = Duration::from_secs(2) * (self.random.next_u32() >> 16) / 0xffff;
        Duration::from_secs((4 << sent.min(4)) - 1) + spread
    }
}

#[cfg(test)]
mod tests;
