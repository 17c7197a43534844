//! What the arguments ask for, besides what they ask of the stack.

use alloc::format;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use mnet::ArgumentError;

/// Most bytes of payload in a datagram over IPv4.
const MAX_SIZE: usize = 65_507;
/// Requests that may be under way at the same time.
const MAX_WINDOW: usize = 256;
/// Bytes of a datagram's number, which requests have to have room for.
pub(crate) const NUMBER_LEN: usize = 8;

const REASON: &str = "give --mode=echo, sink, respond, source or request; --port=N; --to=ADDRESS:PORT; \
                      --size=BYTES, up to 65507, --rate=N a second, --seconds=N, --count=N, \
                      --window=N, up to 256";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Sends back what comes.
    Echo,
    /// Takes what comes.
    Sink,
    /// Answers what comes with datagrams of a size of its own.
    Respond,
    /// Sends.
    Source(SocketAddr),
    /// Sends, and waits for what comes back.
    Request(SocketAddr),
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo => f.write_str("sends back what comes"),
            Self::Sink => f.write_str("takes what comes"),
            Self::Respond => f.write_str("answers what comes"),
            Self::Source(to) => write!(f, "sends to {to}"),
            Self::Request(to) => write!(f, "asks {to}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) mode: Mode,
    /// Where it listens.
    pub(crate) port: u16,
    /// Bytes of payload.
    pub(crate) size: usize,
    pub(crate) pace: Pace,
    /// Requests under way at the same time.
    pub(crate) window: usize,
}

/// How much to send, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Datagrams a second; `None` for as many as can be.
    pub(crate) rate: Option<u32>,
    pub(crate) time: Duration,
    /// Datagrams in all.
    pub(crate) count: u64,
}

impl Pace {
    /// When a datagram is due, counted from the start.
    pub(crate) fn due(&self, number: u64) -> Duration {
        let nanos =
            self.rate.map_or(0, |rate| u128::from(number) * 1_000_000_000 / u128::from(rate));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Arguments {
    pub(crate) fn parse<'a>(
        arguments: impl Iterator<Item = &'a str>,
    ) -> Result<Self, ArgumentError> {
        let (mut mode, mut to) = ("echo", None);
        let pace = Pace { rate: None, time: Duration::from_secs(10), count: u64::MAX };
        let mut parsed = Self { mode: Mode::Echo, port: 5201, size: 64, pace, window: 1 };
        for argument in arguments.filter(|argument| !mnet::is_argument(argument)) {
            let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
            match (name, value.parse::<u64>()) {
                ("--mode", _) => mode = value,
                ("--to", _) => to = Some(peer(value).ok_or_else(|| malformed(argument, REASON))?),
                ("--port", Ok(port @ 1..=0xffff)) => parsed.port = port as u16,
                ("--size", Ok(size)) if size <= MAX_SIZE as u64 => parsed.size = size as usize,
                ("--rate", Ok(rate @ 1..=0xffff_ffff)) => parsed.pace.rate = Some(rate as u32),
                ("--seconds", Ok(seconds @ 1..=1_000_000)) => {
                    parsed.pace.time = Duration::from_secs(seconds);
                }
                ("--count", Ok(count @ 1..)) => parsed.pace.count = count,
                ("--window", Ok(window)) if (1..=MAX_WINDOW as u64).contains(&window) => {
                    parsed.window = window as usize;
                }
                _ => return Err(malformed(argument, REASON)),
            }
        }
        parsed.mode = match (mode, to) {
            ("echo", None) => Mode::Echo,
            ("sink", None) => Mode::Sink,
            ("respond", None) => Mode::Respond,
            ("source", Some(to)) => Mode::Source(to),
            ("request", Some(to)) if parsed.size >= NUMBER_LEN => Mode::Request(to),
            ("request", Some(_)) => {
                let reason = format!(
                    "a request has a number of {NUMBER_LEN} bytes in it; give as many, or more"
                );
                return Err(malformed("--size", &reason));
            }
            ("source" | "request", None) => {
                let reason = "--to is missing; give --to=ADDRESS:PORT";
                return Err(malformed(&format!("--mode={mode}"), reason));
            }
            ("echo" | "sink" | "respond", Some(_)) => {
                let reason = format!(
                    "nothing is sent there by --mode={mode}; give --mode=source or request"
                );
                return Err(malformed("--to", &reason));
            }
            _ => {
                let reason = "no mode; give echo, sink, respond, source or request";
                return Err(malformed(&format!("--mode={mode}"), reason));
            }
        };
        Ok(parsed)
    }
}

fn malformed(argument: &str, reason: &str) -> ArgumentError {
    ArgumentError::Malformed { argument: argument.into(), reason: reason.into() }
}

/// Whom datagrams can be sent to.
fn peer(text: &str) -> Option<SocketAddr> {
    let peer: SocketAddr = text.parse().ok()?;
    let address = peer.ip();
    (peer.port() != 0 && !address.is_unspecified() && !address.is_loopback()).then_some(peer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "they are tests")]

    use super::*;

    fn parsed(arguments: &str) -> Result<Arguments, ArgumentError> {
        Arguments::parse(arguments.split_whitespace())
    }

    #[test]
    fn without_arguments_it_is_an_echo() {
        let arguments = parsed("--ipv6=none").unwrap();
        assert_eq!((arguments.mode, arguments.port), (Mode::Echo, 5201));
    }

    #[test]
    fn modes_rates_and_sizes_are_taken() {
        let arguments =
            parsed("--mode=source --to=10.0.2.2:9 --size=1400 --rate=5000 --seconds=2 --count=7");
        let arguments = arguments.unwrap();
        assert_eq!(arguments.mode, Mode::Source(([10, 0, 2, 2], 9).into()));
        let pace = Pace { rate: Some(5_000), time: Duration::from_secs(2), count: 7 };
        assert_eq!((arguments.size, arguments.pace), (1_400, pace));
        assert_eq!(pace.due(5), Duration::from_millis(1));
        assert_eq!(Pace { rate: None, ..pace }.due(5), Duration::ZERO);
        let arguments = parsed("--mode=request --to=[fd00::1]:7 --window=16").unwrap();
        assert_eq!(
            (arguments.mode, arguments.window),
            (Mode::Request("[fd00::1]:7".parse().unwrap()), 16)
        );
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        for (arguments, said) in [
            ("--mode=source", "--mode=source: --to is missing; give --to=ADDRESS:PORT"),
            ("--mode=request", "--mode=request: --to is missing; give --to=ADDRESS:PORT"),
            ("--mode=x", "--mode=x: no mode; give echo, sink, respond, source or request"),
            ("--mode", "--mode=: no mode; give echo, sink, respond, source or request"),
            (
                "--mode=x --to=10.0.2.2:9",
                "--mode=x: no mode; give echo, sink, respond, source or request",
            ),
            (
                "--to=10.0.2.2:9",
                "--to: nothing is sent there by --mode=echo; give --mode=source or request",
            ),
            (
                "--mode=request --to=10.0.2.2:7 --size=7",
                "--size: a request has a number of 8 bytes in it; give as many, or more",
            ),
        ] {
            assert_eq!(parsed(arguments).unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for bad in [
            "--mode=x",
            "--mode=source",
            "--mode=sink --to=10.0.2.2:9",
            "--port=0",
            "--size=65508",
            "--mode=request --to=10.0.2.2:7 --size=7",
            "--rate=0",
            "--window=0",
            "--window=257",
            "--to=10.0.2.2",
            "--to=10.0.2.2:0",
            "--seconds=0",
            "--count=0",
            "x",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
