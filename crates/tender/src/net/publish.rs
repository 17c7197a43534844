use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use rustix::io::Errno;

/// A port of the image's `user` network that can be reached from the host.
///
/// Reads `[ADDR:]HOST:GUEST[/udp]`, as in `7007:7`, `0.0.0.0:53:53/udp` or `[::1]:7007:7`. Without
/// an address it is 127.0.0.1. Port 0 of the host stands for one that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Publish {
    /// Where the host listens.
    pub host: SocketAddr,
    /// The port of the image.
    pub guest: NonZeroU16,
}

impl FromStr for Publish {
    type Err = ParsePublishError;

    fn from_str(text: &str) -> Result<Self, ParsePublishError> {
        let error = || ParsePublishError(text.to_owned());
        let ports = text.strip_suffix("/udp").unwrap_or(text);
        let (host, guest) = ports.rsplit_once(':').ok_or_else(error)?;
        let guest = port(guest).and_then(NonZeroU16::new).ok_or_else(error)?;
        let (address, host) = match host.rsplit_once(':') {
            None => (Ipv4Addr::LOCALHOST.into(), host),
            Some((address, host)) => {
                let address = match address.strip_prefix('[') {
                    Some(address) => address
                        .strip_suffix(']')
                        .and_then(|address| address.parse().ok())
                        .map(IpAddr::V6),
                    None => address.parse().ok().map(IpAddr::V4),
                };
                (address.ok_or_else(error)?, host)
            }
        };
        let host = SocketAddr::new(address, port(host).ok_or_else(error)?);
        Ok(Self { host, guest })
    }
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/udp -> {}", self.host, self.guest)
    }
}

/// The text says no port to publish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no port to publish; give [ADDR:]HOST:GUEST/udp, such as 127.0.0.1:7007:7/udp")]
pub struct ParsePublishError(String);

/// Why a port cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Another program listens there.
    #[error("the port is taken by another program; publish another, or stop that program")]
    Taken,
    /// This user may not listen there.
    #[error("the port is forbidden to this user; publish one from 1024 up")]
    Forbidden,
    /// The host has no such address.
    #[error("the host has no such address; give one of its own, or 0.0.0.0 for all")]
    NoAddress,
    /// No network of the image is of this kind.
    #[error("no network of the image is `user`; attach one: --net:NAME=user")]
    NoUserNetwork,
    /// The host refuses, for this reason.
    #[error("the host refuses: {0}")]
    System(#[source] Errno),
}

impl From<Errno> for PublishError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::ADDRINUSE => Self::Taken,
            Errno::ACCESS | Errno::PERM => Self::Forbidden,
            Errno::ADDRNOTAVAIL => Self::NoAddress,
            error => Self::System(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_port_says_where_it_is_reached() {
        for (text, shown) in [
            ("7007:7", "127.0.0.1:7007/udp -> 7"),
            ("7007:7/udp", "127.0.0.1:7007/udp -> 7"),
            ("0:7", "127.0.0.1:0/udp -> 7"),
            ("0.0.0.0:53:5353/udp", "0.0.0.0:53/udp -> 5353"),
            ("[::1]:7007:7", "[::1]:7007/udp -> 7"),
        ] {
            assert_eq!(text.parse::<Publish>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_names_no_two_ports_is_refused() {
        for text in [
            "",
            "7",
            ":7",
            "7:",
            "7007:0",
            "65536:7",
            "7007:+7",
            "7007:7/tcp",
            "localhost:7007:7",
            "::1:7007:7",
            "[127.0.0.1]:7007:7",
            "[::1:7007:7",
            "1.2.3.4:5:6:7",
            "7007:7/udp/udp",
        ] {
            let error = text.parse::<Publish>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is no port to publish; give")), "{error}");
        }
    }
}
