use alloc::string::{String, ToString};
use core::fmt;
use core::net::Ipv4Addr;

use mnet_proto::{Config, Ipv4Cidr};
use thiserror::Error;

const IPV4: &str = "--ipv4";
const IPV4_GATEWAY: &str = "--ipv4-gateway";

/// Whether an argument of the image is one of the stack's, so that a service can pass over it.
#[must_use]
pub fn is_argument(argument: &str) -> bool {
    let name = argument.split_once('=').map_or(argument, |(name, _)| name);
    matches!(name, IPV4 | IPV4_GATEWAY)
}

/// The configuration that the image's arguments ask for. Of an argument that is given twice, the
/// last counts.
///
/// # Errors
/// [`ArgumentError`], which says what is malformed or missing.
pub fn config_from_args() -> Result<Config, ArgumentError> {
    parse(mkernel::args())
}

fn parse<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<Config, ArgumentError> {
    let (mut ipv4, mut gateway) = (None::<Ipv4Cidr>, None::<Ipv4Addr>);
    for argument in arguments {
        let malformed = |reason: &dyn fmt::Display| ArgumentError::Malformed {
            argument: argument.to_string(),
            reason: reason.to_string(),
        };
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        match name {
            IPV4 => ipv4 = Some(value.parse().map_err(|error| malformed(&error))?),
            IPV4_GATEWAY => {
                let reason = "not an address, such as 10.0.0.1";
                gateway = Some(value.parse().map_err(|_| malformed(&reason))?);
            }
            _ => {}
        }
    }
    let mut config = Config::new(ipv4.ok_or(ArgumentError::NoAddress)?);
    config.ipv4_gateway = gateway;
    Ok(config)
}

/// Why the image's arguments do not configure a stack.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// An argument's value is none.
    #[error("{argument}: {reason}")]
    Malformed {
        /// The argument.
        argument: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no address.
    #[error("no address: give the image one, such as --ipv4=10.0.0.2/24")]
    NoAddress,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &str) -> Result<(Ipv4Cidr, Option<Ipv4Addr>), String> {
        parse(arguments.split_whitespace())
            .map(|config| (config.ipv4, config.ipv4_gateway))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn address_and_gateway_are_taken_and_the_rest_is_the_services() {
        let address: Ipv4Cidr = "10.0.0.2/24".parse().unwrap();
        assert_eq!(parsed("--ipv4=10.0.0.2/24 --port=7 x"), Ok((address, None)));
        let gateway = Some(Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(
            parsed("--ipv4=1.2.3.4/8 --ipv4-gateway=10.0.0.1 --ipv4=10.0.0.2/24"),
            Ok((address, gateway))
        );
        assert!(is_argument("--ipv4=10.0.0.2/24") && is_argument("--ipv4-gateway"));
        assert!(!is_argument("--port=7") && !is_argument("--ipv44=1"));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        let no_cidr = "not an address with a prefix length, such as 10.0.0.2/24";
        for bad in ["--ipv4=10.0.0.2", "--ipv4=10.0.0.2/33", "--ipv4=", "--ipv4"] {
            assert_eq!(parsed(bad), Err(format!("{bad}: {no_cidr}")));
        }
        let bad = "--ipv4-gateway=10.0.0.1/24";
        assert_eq!(parsed(bad), Err(format!("{bad}: not an address, such as 10.0.0.1")));
        let missing = "no address: give the image one, such as --ipv4=10.0.0.2/24";
        assert_eq!(parsed("--port=7"), Err(missing.into()));
    }
}
