use core::net::Ipv4Addr;
use core::ops::RangeInclusive;

use netdev::{HEADROOM, Pool};
use thiserror::Error;

use crate::ip::Ipv4Cidr;
use crate::wire::ethernet;
use crate::wire::ipv4::MIN_MTU;

/// How a stack is set up: its addresses, and every bound it keeps.
#[derive(Clone, Debug)]
pub struct Config {
    /// The host's IPv4 address, and what is on its link.
    pub ipv4: Ipv4Cidr,
    /// The router to all that is not on the link.
    pub ipv4_gateway: Option<Ipv4Addr>,
    /// Packet buffers, of which an eighth is kept for sending.
    pub packets: usize,
    /// Hop limit of what is sent (RFC 1700: 64).
    pub hop_limit: u8,
    /// Most neighbours to know at once.
    pub neighbors: usize,
    /// Most packets that wait for one neighbour's address.
    pub neighbor_queue: usize,
    /// Most packets that wait for neighbours' addresses, together, but for the first of each.
    pub neighbor_queues: usize,
    /// Most datagrams in a socket's receive queue.
    pub receive_queue: usize,
    /// Most bytes of payload in a socket's receive queue.
    pub receive_queue_bytes: usize,
    /// Most datagrams in all receive queues together, but for the first in each.
    pub receive_queues: usize,
    /// Most frames that wait for the device. More are not sent until it takes some.
    pub transmit_queue: usize,
    /// ICMP errors to send in a second.
    pub icmp_errors_per_second: u32,
    /// ICMP errors to send at once after a quiet time.
    pub icmp_error_burst: u32,
    /// Ports to choose from for a socket that does not care. RFC 6056 §3.2 asks for as many as can
    /// be; the lower half is left to services, which find their ports free at any time.
    pub ephemeral_ports: RangeInclusive<u16>,
}

impl Config {
    /// The defaults, with this address.
    #[must_use]
    pub fn new(ipv4: Ipv4Cidr) -> Self {
        Self {
            ipv4,
            ipv4_gateway: None,
            packets: 1_024,
            hop_limit: 64,
            neighbors: 512,
            neighbor_queue: 8,
            neighbor_queues: 256,
            receive_queue: 256,
            receive_queue_bytes: 512 * 1024,
            receive_queues: 512,
            transmit_queue: 128,
            icmp_errors_per_second: 100,
            icmp_error_burst: 50,
            ephemeral_ports: 32_768..=65_535,
        }
    }

    /// A pool as this asks for: each packet takes a frame of a link of this MTU, and is of 2 KiB at
    /// least.
    ///
    /// # Errors
    /// [`ConfigError::Memory`].
    pub fn pool(&self, mtu: u16) -> Result<Pool, ConfigError> {
        let size = HEADROOM + ethernet::HEADER_LEN + usize::from(mtu);
        let size = size.clamp(2_048, usize::from(u16::MAX));
        let kib = (self.packets * size).div_ceil(1_024);
        Pool::try_new(self.packets, size).ok_or(ConfigError::Memory { kib })
    }

    /// Checks the addresses against each other, and the link against what IP asks of it.
    pub(crate) fn check(&self, mtu: u16) -> Result<(), ConfigError> {
        let Self { ipv4, .. } = *self;
        if !ipv4.is_host() {
            return Err(ConfigError::Address(ipv4));
        }
        // A host that has its address to itself knows its gateway to be on the link all the same.
        let alone = ipv4.prefix_len() == 32;
        match self.ipv4_gateway {
            Some(gateway)
                if gateway == ipv4.address()
                    || !ipv4.with_address(gateway).is_host()
                    || !(alone || ipv4.contains(gateway)) =>
            {
                return Err(ConfigError::Gateway { gateway, ipv4 });
            }
            None if alone => return Err(ConfigError::Alone(ipv4)),
            _ => {}
        }
        if mtu < MIN_MTU {
            return Err(ConfigError::Mtu { mtu, least: MIN_MTU });
        }
        if self.ephemeral_ports.is_empty() || *self.ephemeral_ports.start() == 0 {
            return Err(ConfigError::EphemeralPorts);
        }
        Ok(())
    }
}

/// Why a stack cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No host can have this address.
    #[error("{0} is no address for a host")]
    Address(Ipv4Cidr),
    /// The gateway is not on the link, or not another host's address.
    #[error("gateway {gateway} is no other host on the link of {ipv4}")]
    Gateway {
        /// The gateway.
        gateway: Ipv4Addr,
        /// What is on the link.
        ipv4: Ipv4Cidr,
    },
    /// There is nobody on the link, and no gateway.
    #[error("with {0} there is nobody to talk to: give a shorter prefix, or a gateway")]
    Alone(Ipv4Cidr),
    /// The device's MTU is too small for IP.
    #[error("an MTU of {mtu} is too small: IPv4 needs {least}")]
    Mtu {
        /// The device's MTU in bytes.
        mtu: u16,
        /// The smallest that will do.
        least: u16,
    },
    /// There is no memory for the packet pool.
    #[error("no memory for a packet pool of {kib} KiB: give more, or ask for fewer packets")]
    Memory {
        /// What the pool takes, in KiB.
        kib: usize,
    },
    /// The range of ephemeral ports is empty, or has port 0.
    #[error("the range of ephemeral ports is empty or has 0")]
    EphemeralPorts,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ipv4: &str, gateway: Option<&str>, mtu: u16) -> Result<(), String> {
        let mut config = Config::new(ipv4.parse().unwrap());
        config.ipv4_gateway = gateway.map(|gateway| gateway.parse().unwrap());
        config.check(mtu).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_that_make_a_host_are_taken() {
        assert_eq!(check("10.0.0.2/24", Some("10.0.0.1"), 1500), Ok(()));
        assert_eq!(check("10.0.0.2/24", None, 68), Ok(()));
        // RFC 3021: on a link of two there is neither network nor broadcast address.
        assert_eq!(check("10.0.0.0/31", Some("10.0.0.1"), 1500), Ok(()));
        // A cloud's way: everything goes by the gateway.
        assert_eq!(check("10.0.0.255/32", Some("169.254.1.1"), 1500), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for address in ["10.0.0.0/24", "10.0.0.255/24", "0.0.0.0/0", "224.0.0.1/24", "127.0.0.1/8"]
        {
            let error = check(address, None, 1500).unwrap_err();
            assert_eq!(error, format!("{address} is no address for a host"));
        }
        for gateway in ["10.0.1.1", "10.0.0.2", "10.0.0.255", "10.0.0.0", "0.0.0.0"] {
            let error = check("10.0.0.2/24", Some(gateway), 1500).unwrap_err();
            assert_eq!(
                error,
                format!("gateway {gateway} is no other host on the link of 10.0.0.2/24")
            );
        }
        assert_eq!(
            check("10.0.0.2/32", None, 1500).unwrap_err(),
            "with 10.0.0.2/32 there is nobody to talk to: give a shorter prefix, or a gateway"
        );
        assert_eq!(
            check("10.0.0.2/24", None, 67).unwrap_err(),
            "an MTU of 67 is too small: IPv4 needs 68"
        );
    }
}
