use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use mnet_proto::{Config, InterfaceId, Ipv4Cidr, Ipv4Config};
use thiserror::Error;

const IPV4: &str = "--ipv4";
const IPV4_GATEWAY: &str = "--ipv4-gateway";
const IPV6: &str = "--ipv6";
const IPV6_GATEWAY: &str = "--ipv6-gateway";
const PACKETS: &str = "--packets";

/// Whether an argument of the image is one of the stack's, so that a service can pass over it.
#[must_use]
pub fn is_argument(argument: &str) -> bool {
    let name = argument.split_once('=').map_or(argument, |(name, _)| name);
    matches!(name, IPV4 | IPV4_GATEWAY | IPV6 | IPV6_GATEWAY | PACKETS)
}

/// The configuration that the image's arguments ask for.
///
/// # Errors
/// [`ArgumentError`], which says what is malformed or missing.
pub fn config_from_args() -> Result<Config, ArgumentError> {
    parse(mkernel::args())
}

fn parse<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<Config, ArgumentError> {
    let mut config = Config::default();
    let (mut ipv4, mut ipv4_gateway, mut ipv4_off) = (Vec::<Ipv4Cidr>::new(), None, false);
    let mut ipv6_named = None;
    for argument in arguments {
        let malformed = |reason: &dyn fmt::Display| ArgumentError::malformed(argument, reason);
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        match (name, value) {
            (IPV4, "none") => ipv4_off = true,
            (IPV4, _) => ipv4.push(value.parse().map_err(|error| malformed(&error))?),
            (IPV4_GATEWAY, _) => {
                let gateway: Option<Ipv4Addr> = value.parse().ok();
                let reason = "not an address, such as 10.0.0.1";
                ipv4_gateway = Some(gateway.ok_or_else(|| malformed(&reason))?);
            }
            (IPV6, "none") => config.ipv6.enabled = false,
            (IPV6, "stable") => config.ipv6.interface_id = InterfaceId::default(),
            (IPV6, "eui64") => config.ipv6.interface_id = InterfaceId::Eui64,
            (IPV6, _) => {
                let reason = "not an address with a prefix length, such as 2001:db8::2/64, nor one \
                              of stable, eui64, none";
                let address = value.parse().map_err(|_| malformed(&reason))?;
                config.ipv6.addresses.push(address);
            }
            (IPV6_GATEWAY, _) => {
                let gateway: Option<Ipv6Addr> = value.parse().ok();
                let reason = "not an address, such as fe80::1";
                config.ipv6.gateway = Some(gateway.ok_or_else(|| malformed(&reason))?);
            }
            (PACKETS, _) => {
                let packets = value.parse::<u16>().ok().filter(|&packets| packets >= 8);
                let reason = "not a number from 8 to 65535";
                config.set_packets(packets.ok_or_else(|| malformed(&reason))?.into());
            }
            _ => {}
        }
        if matches!(name, IPV6 | IPV6_GATEWAY) && value != "none" {
            ipv6_named = Some(argument);
        }
    }
    if ipv4_off && !(ipv4.is_empty() && ipv4_gateway.is_none()) {
        return Err(ArgumentError::Contradiction { argument: "--ipv4".into(), off: "--ipv4=none" });
    }
    if let Some(argument) = ipv6_named.filter(|_| !config.ipv6.enabled) {
        let argument = argument.to_string();
        return Err(ArgumentError::Contradiction { argument, off: "--ipv6=none" });
    }
    config.ipv4 = match (ipv4.is_empty(), ipv4_gateway) {
        (true, None) if ipv4_off => Ipv4Config::Off,
        (true, None) => Ipv4Config::Dhcp,
        (true, Some(_)) => return Err(ArgumentError::NoAddress),
        (false, gateway) => Ipv4Config::Static { addresses: ipv4, gateway },
    };
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
    /// There is a gateway, but no address.
    #[error("--ipv4-gateway without --ipv4: give the image an address, such as --ipv4=10.0.0.2/24")]
    NoAddress,
    /// A family is configured and turned off.
    #[error("{argument}: {off} turns that off")]
    Contradiction {
        /// The argument that configures it.
        argument: String,
        /// The argument that turns it off.
        off: &'static str,
    },
}

impl ArgumentError {
    #[cold]
    #[inline(never)]
    fn malformed(argument: &str, reason: &dyn fmt::Display) -> Self {
        Self::Malformed { argument: argument.to_string(), reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use mnet_proto::Ipv6Cidr;

    use super::*;

    fn parsed(arguments: &str) -> Result<Config, String> {
        parse(arguments.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn without_arguments_all_addresses_are_found() {
        let config = parsed("--port=7 x").unwrap();
        assert_eq!((config.ipv4, config.ipv6), (Ipv4Config::Dhcp, Config::default().ipv6));
    }

    #[test]
    fn addresses_and_gateways_are_taken_and_the_rest_is_the_services() {
        let config =
            parsed("--ipv4=10.0.0.2/24 --port=7 --ipv4-gateway=10.0.0.1 --ipv4=10.1.0.2/16");
        let addresses = ["10.0.0.2/24", "10.1.0.2/16"].map(|address| address.parse().unwrap());
        let gateway = Some(Ipv4Addr::new(10, 0, 0, 1));
        let ipv4 = Ipv4Config::Static { addresses: addresses.into(), gateway };
        assert_eq!(config.unwrap().ipv4, ipv4);

        let config = parsed("--ipv6=2001:db8::2/64 --ipv6=eui64 --ipv6-gateway=fe80::1").unwrap();
        let addresses: [Ipv6Cidr; 1] = ["2001:db8::2/64".parse().unwrap()];
        assert_eq!(config.ipv6.addresses, addresses);
        assert_eq!(config.ipv6.interface_id, InterfaceId::Eui64);
        assert_eq!(config.ipv6.gateway, "fe80::1".parse().ok());
        assert!(config.ipv6.enabled && config.ipv4 == Ipv4Config::Dhcp);

        let config = parsed("--ipv6=none --ipv4=10.0.0.2/24").unwrap();
        assert!(!config.ipv6.enabled);
        assert_eq!(parsed("--ipv4=none").unwrap().ipv4, Ipv4Config::Off);

        assert_eq!(parsed("--packets=256 --ipv4=none").unwrap().packets, 256);

        let ours = ["--ipv4=10.0.0.2/24", "--ipv4-gateway", "--ipv6=none", "--ipv6-gateway=::"];
        for ours in ours.into_iter().chain(["--packets=8"]) {
            assert!(is_argument(ours), "{ours}");
        }
        assert!(!is_argument("--port=7") && !is_argument("--ipv44=1"));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        let refused = |arguments| parsed(arguments).unwrap_err();
        let no_cidr = "not an address with a prefix length, such as 10.0.0.2/24";
        for bad in ["--ipv4=10.0.0.2", "--ipv4=10.0.0.2/33", "--ipv4=", "--ipv4"] {
            assert_eq!(refused(bad), format!("{bad}: {no_cidr}"));
        }
        let bad = "--ipv4-gateway=10.0.0.1/24";
        assert_eq!(refused(bad), format!("{bad}: not an address, such as 10.0.0.1"));
        let no_cidr = "not an address with a prefix length, such as 2001:db8::2/64, nor one of \
                       stable, eui64, none";
        for bad in ["--ipv6=2001:db8::2", "--ipv6=10.0.0.2/24", "--ipv6=yes", "--ipv6"] {
            assert_eq!(refused(bad), format!("{bad}: {no_cidr}"));
        }
        let bad = "--ipv6-gateway=10.0.0.1";
        assert_eq!(refused(bad), format!("{bad}: not an address, such as fe80::1"));
        for bad in ["--packets=7", "--packets=65536", "--packets=many", "--packets"] {
            assert_eq!(refused(bad), format!("{bad}: not a number from 8 to 65535"));
        }
        assert!(refused("--ipv4-gateway=10.0.0.1").contains("give the image an address"));
        assert!(
            refused("--ipv4=none --ipv4=10.0.0.2/24")
                .contains("--ipv4: --ipv4=none turns that off")
        );
        assert!(
            refused("--ipv6=eui64 --ipv6=none")
                .contains("--ipv6=eui64: --ipv6=none turns that off")
        );
    }
}
