//! The host's own addresses.

use core::fmt;
use core::net::IpAddr;

use netdev::Instant;
use thiserror::Error;

use super::IpCidr;
use crate::autoconf::Claim;

/// How a host came by an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// It was configured.
    Static,
    /// Every IPv6 host has one for its link alone (RFC 4862 §5.3).
    LinkLocal,
    /// A router told the prefix (RFC 4862 §5.5).
    Router,
    /// A DHCP server leased it (RFC 2131).
    Dhcp,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Static => "static",
            Self::LinkLocal => "link-local",
            Self::Router => "by router advertisement",
            Self::Dhcp => "by DHCP",
        })
    }
}

/// One of a host's addresses, and how it stands with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// The address and the length of its prefix.
    pub cidr: IpCidr,
    /// How the host came by it.
    pub origin: Origin,
    /// Whether it is yet to be found out if somebody else has it: until then an IPv6 address is not
    /// used (RFC 4862 §5.4), an IPv4 address is.
    pub tentative: bool,
    /// From then on it is not chosen for anything new (RFC 4862 §5.5.4).
    pub preferred_until: Instant,
    /// Until then the host has it.
    pub valid_until: Instant,
}

/// Why a host was not given an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// No host can have it: it is a group's, a network's, everybody's on that, or nobody's.
    #[error("Not an address that a host can have")]
    NotHost,
    /// The host has it already, or has asked others for it.
    #[error("The host has this address already")]
    InUse,
    /// The host has as many addresses of the family as it may.
    #[error("Too many addresses")]
    TooMany,
    /// The host has as many routes as it may, and none to the address's link.
    #[error("Too many routes for another link")]
    TooManyRoutes,
    /// The host is configured not to speak its family.
    #[error("The host does not speak this family of addresses")]
    FamilyOff,
}

/// Whether a host that has these addresses may have another.
pub(crate) fn check_new<C: Copy + Into<IpCidr>>(
    own: &[Own<C>],
    address: impl Into<IpAddr>,
    max: usize,
) -> Result<(), AddressError> {
    let address = address.into();
    if own.iter().any(|own| own.cidr.into().address() == address) {
        return Err(AddressError::InUse);
    }
    if own.len() >= max { Err(AddressError::TooMany) } else { Ok(()) }
}

/// An address of the host's, as the host keeps it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own<C> {
    pub(crate) cidr: C,
    pub(crate) origin: Origin,
    pub(crate) claim: Claim,
    pub(crate) preferred_until: Instant,
    pub(crate) valid_until: Instant,
    /// How often an IPv6 address was found to be somebody else's (RFC 7217 §5, DAD_Counter).
    pub(crate) conflicts: u8,
    /// Whether the time in which it was preferred is known to be over.
    pub(crate) deprecated: bool,
    /// What the last question whether somebody has it can be told by (RFC 7527 §4.1).
    pub(crate) nonce: [u8; 6],
}

impl<C: Copy + Into<IpCidr>> Own<C> {
    /// One that lasts for ever.
    pub(crate) fn new(cidr: C, origin: Origin, claim: Claim) -> Self {
        Self {
            cidr,
            origin,
            claim,
            preferred_until: Instant::FAR_FUTURE,
            valid_until: Instant::FAR_FUTURE,
            conflicts: 0,
            deprecated: false,
            nonce: [0; 6],
        }
    }

    /// What others may know of it.
    pub(crate) fn describe(&self) -> Address {
        Address {
            cidr: self.cidr.into(),
            origin: self.origin,
            tentative: self.claim.is_tentative(),
            preferred_until: self.preferred_until,
            valid_until: self.valid_until,
        }
    }

    /// When something about it changes by itself.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let until = if self.deprecated {
            self.valid_until
        } else {
            self.valid_until.min(self.preferred_until)
        };
        let until = Some(until).filter(|&until| until < Instant::FAR_FUTURE);
        super::earlier(self.claim.poll_timeout(), until)
    }
}

/// A change of a host's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressEvent {
    /// The host uses this address from now on.
    Added(Address),
    /// The host has this address no longer.
    Removed(Address),
    /// Another host has this address: it is not used. It is asked for again every minute, which is
    /// said only when it is used after all.
    Conflict(Address),
    /// No DHCP server has answered for a while. The host goes on asking.
    NoDhcpServer,
}

impl fmt::Display for AddressEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(Address { cidr, origin, .. }) => write!(f, "{cidr}, {origin}"),
            Self::Removed(Address { cidr, .. }) => write!(f, "{cidr} is gone"),
            Self::Conflict(Address { cidr, .. }) => {
                write!(f, "{} is another host's: not used", cidr.address())
            }
            Self::NoDhcpServer => f.write_str("no DHCP server has answered yet"),
        }
    }
}
