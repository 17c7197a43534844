//! The networks that an image can be given.

mod publish;
mod tap;
pub(crate) mod user;

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use netdev::Mac;
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

pub use publish::{ParsePublishError, Publish, PublishError};

/// What a network device of the image is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// A network inside the tender, that needs no privilege.
    User,
    /// The TAP interface of this name.
    Tap(String),
    /// A TAP that is already open, under this descriptor. (Anything else that gives and takes
    /// whole frames will do, and is taken to have an MTU of 1500.)
    Descriptor(i32),
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    /// `user`, `tap:IF`, `@FD`, or `IF` alone, as Solo5 has it.
    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        if text == "user" {
            return Ok(Self::User);
        }
        if let Some(number) = text.strip_prefix('@') {
            return number
                .parse()
                .ok()
                .filter(|&descriptor| descriptor > 2)
                .map(Self::Descriptor)
                .ok_or_else(|| ParseNetworkError::Descriptor(text.to_owned()));
        }
        let interface = match text.split_once(':') {
            Some(("tap", interface)) => interface,
            Some(("xdp", _)) => return Err(ParseNetworkError::Xdp),
            Some(_) => return Err(ParseNetworkError::Unknown(text.to_owned())),
            None => text,
        };
        if !tap::is_name(interface) {
            return Err(ParseNetworkError::Interface(interface.to_owned()));
        }
        Ok(Self::Tap(interface.to_owned()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("user"),
            Self::Tap(interface) => write!(f, "tap:{interface}"),
            Self::Descriptor(descriptor) => write!(f, "@{descriptor}"),
        }
    }
}

/// The text names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseNetworkError {
    /// It is of no known kind.
    #[error("there is no network {0:?}; give user, tap:IF or @FD")]
    Unknown(String),
    /// AF_XDP comes later.
    #[error("xdp: is not supported yet; give user, tap:IF or @FD")]
    Xdp,
    /// It is no name that an interface can have.
    #[error("{0:?} is no interface name; it has 1 to 15 characters, without /, : and %")]
    Interface(String),
    /// It is no descriptor, or one of the first three, which are the tender's.
    #[error("{0:?} is no descriptor of a device; give @ and a number from 3 up")]
    Descriptor(String),
}

/// Opens an existing TAP.
pub(crate) fn open_tap(interface: &str) -> Result<(OwnedFd, u16), NetworkError> {
    tap::open(interface)
}

/// Takes over an open TAP, or what looks like one.
pub(crate) fn open_descriptor(descriptor: i32) -> Result<(OwnedFd, u16), NetworkError> {
    tap::adopt(descriptor)
}

/// What to do instead, where the tender cannot capture what passes.
pub(crate) fn how_to_capture(network: &Network, path: &Path) -> String {
    let interface = match network {
        Network::Tap(interface) => interface,
        Network::User | Network::Descriptor(_) => "INTERFACE",
    };
    format!("use tcpdump -i {interface} -w {}", path.display())
}

/// A random address, locally administered, of no group.
pub(crate) fn random_mac() -> Result<Mac, Errno> {
    let mut mac = Mac::default();
    getrandom(&mut mac.0, GetRandomFlags::empty())?;
    mac.0[0] = mac.0[0] & 0xfe | 0x02;
    Ok(mac)
}

/// Why a network cannot be attached. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// There is no interface of this name.
    #[error("there is no interface {0}; make it, as root: ip tuntap add {0} mode tap user $USER")]
    Missing(String),
    /// The interface is down.
    #[error("the interface {0} is down; bring it up, as root: ip link set {0} up")]
    Down(String),
    /// Another program has the TAP.
    #[error("the TAP {0} is busy; stop the program that has it, or give another")]
    Busy(String),
    /// This user may not have it.
    #[error(
        "the TAP {0} is forbidden to this user; make it theirs, as root: ip tuntap add {0} mode tap user $USER"
    )]
    Forbidden(String),
    /// The interface is no TAP, or one with several queues.
    #[error(
        "the interface {0} is no TAP of one queue; make one, as root: ip tuntap add NAME mode tap"
    )]
    NoTap(String),
    /// The host has no `/dev/net/tun`.
    #[error("there is no /dev/net/tun, so there are no TAPs; load it: modprobe tun")]
    NoTun,
    /// This user may not open `/dev/net/tun`.
    #[error("/dev/net/tun is forbidden to this user; change its mode, or run as root")]
    TunForbidden,
    /// No such descriptor is open.
    #[error("descriptor {0} is not open; open a TAP under this number first")]
    NotOpen(i32),
    /// It is a TUN, which has no Ethernet frames.
    #[error("descriptor {0} is a TUN; open a TAP: with IFF_TAP and IFF_NO_PI")]
    Tun(i32),
    /// This address is the gateway's, or none that a card can have.
    #[error("{0} cannot be its MAC address; give one of a single card, such as 02:00:00:00:00:01")]
    Mac(Mac),
    /// The file for what passes cannot be written.
    #[error("cannot write what passes to {}: {source}", path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What passes is seen only where the tender itself passes it on.
    #[error("only what passes on a user network is captured; {0}")]
    NoCapture(String),
    /// The host refuses, for this reason.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: Errno,
    },
}

/// Borrows an open descriptor by its number.
fn borrow(descriptor: i32) -> Option<BorrowedFd<'static>> {
    // SAFETY: fcntl(F_GETFD) only looks, and says whether the descriptor is open.
    let open = descriptor >= 0 && unsafe { libc::fcntl(descriptor, libc::F_GETFD) } >= 0;
    // SAFETY: it is open, and was handed to this process by its number for this purpose: nobody
    // in this process owns it, so nobody closes it.
    open.then(|| unsafe { BorrowedFd::borrow_raw(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_reads_back_as_it_prints() {
        for (text, network) in [
            ("user", Network::User),
            ("tap:tap0", Network::Tap("tap0".to_owned())),
            ("tap:user", Network::Tap("user".to_owned())),
            ("@3", Network::Descriptor(3)),
        ] {
            assert_eq!(text.parse(), Ok(network.clone()));
            assert_eq!(network.to_string(), text);
        }
        assert_eq!("tap0".parse(), Ok(Network::Tap("tap0".to_owned())), "as Solo5 has it");
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_to_give() {
        for (text, error) in [
            ("xdp:eth0", "xdp: is not supported yet; give user, tap:IF or @FD"),
            ("bridge:x", "there is no network \"bridge:x\"; give user, tap:IF or @FD"),
            ("@", "\"@\" is no descriptor of a device; give @ and a number from 3 up"),
            ("@1", "\"@1\" is no descriptor of a device; give @ and a number from 3 up"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap_err().to_string(), error);
        }
        for name in ["", "tap:", "tap%d", "a/b", "a b", "..", "sixteencharacter"] {
            assert!(
                matches!(name.parse::<Network>(), Err(ParseNetworkError::Interface(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn a_random_address_is_one_that_nobody_was_given() {
        let mac = random_mac().unwrap();
        assert!(mac.is_unicast() && mac.0[0] & 2 != 0);
        assert_ne!(random_mac().unwrap(), mac);
    }
}
