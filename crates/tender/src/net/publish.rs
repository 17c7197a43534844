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
        let error = |wrong| ParsePublishError { text: text.to_owned(), wrong };
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "udp"));
        if protocol != "udp" {
            return Err(error(Wrong::Protocol(protocol.to_owned())));
        }
        let (host, guest) = ports.rsplit_once(':').ok_or_else(|| error(Wrong::Ports))?;
        let number = port(guest).and_then(NonZeroU16::new);
        let guest = number.ok_or_else(|| error(Wrong::Guest(guest.to_owned())))?;
        let (address, host) = match host.rsplit_once(':') {
            None => (Ipv4Addr::LOCALHOST.into(), host),
            Some((text, host)) => {
                let address = match text.strip_prefix('[') {
                    Some(address) => address
                        .strip_suffix(']')
                        .and_then(|address| address.parse().ok())
                        .map(IpAddr::V6),
                    None => text.parse().ok().map(IpAddr::V4),
                };
                (address.ok_or_else(|| error(Wrong::Address(text.to_owned())))?, host)
            }
        };
        let number = port(host).ok_or_else(|| error(Wrong::Host(host.to_owned())))?;
        Ok(Self { host: SocketAddr::new(address, number), guest })
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
#[error(
    "{text:?} is no port to publish: {wrong}; give [ADDR:]HOST:GUEST/udp, such as \
     127.0.0.1:7007:7/udp"
)]
pub struct ParsePublishError {
    text: String,
    wrong: Wrong,
}

/// What is wrong with the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Wrong {
    #[error("there are not two ports")]
    Ports,
    #[error("{0:?} is no address of the host")]
    Address(String),
    #[error("{0:?} is no port of the host, from 0 to 65535")]
    Host(String),
    #[error("{0:?} is no port of the image, from 1 to 65535")]
    Guest(String),
    #[error("{0:?} is not published, only udp")]
    Protocol(String),
}

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
    fn what_names_no_two_ports_is_refused_with_the_part_that_is_wrong() {
        let host = |part| format!("{part:?} is no port of the host, from 0 to 65535");
        let guest = |part| format!("{part:?} is no port of the image, from 1 to 65535");
        let address = |part| format!("{part:?} is no address of the host");
        let one = || "there are not two ports".to_owned();
        for (text, wrong) in [
            ("", one()),
            ("7", one()),
            ("7/udp", one()),
            (":7", host("")),
            ("7:", guest("")),
            ("7007:0", guest("0")),
            ("65536:7", host("65536")),
            ("99999:7/udp", host("99999")),
            ("7007:99999/udp", guest("99999")),
            ("7007:+7", guest("+7")),
            ("7007:7/tcp", "\"tcp\" is not published, only udp".to_owned()),
            ("7007:7/", "\"\" is not published, only udp".to_owned()),
            ("localhost:7007:7", address("localhost")),
            ("::1:7007:7", address("::1")),
            ("[127.0.0.1]:7007:7", address("[127.0.0.1]")),
            ("[::1:7007:7", address("[::1")),
            ("1.2.3.4:5:6:7", address("1.2.3.4:5")),
            ("7007:7/udp/udp", "\"udp/udp\" is not published, only udp".to_owned()),
        ] {
            let error = text.parse::<Publish>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{text:?} is no port to publish: {wrong}; give ")),
                "{error}"
            );
        }
    }
}
