use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;

use netdev::{HEADROOM, Pool};
use thiserror::Error;

use crate::ip::{IpCidr, Ipv4Cidr, Ipv6Cidr, fragment, routes};
use crate::multicast;
use crate::wire::{ethernet, ipv4, ipv6};

/// How a stack is set up: its addresses, and every bound it keeps.
///
/// The default finds all addresses by itself: that of IPv4 by DHCP, those of IPv6 by what routers
/// advertise.
#[derive(Clone, Debug)]
pub struct Config {
    /// How the host comes by its IPv4 address.
    pub ipv4: Ipv4Config,
    /// How the host comes by its IPv6 addresses.
    pub ipv6: Ipv6Config,
    /// Packet buffers, of which an eighth is kept for sending.
    pub packets: usize,
    /// Most bytes for datagrams that are larger than a packet buffer, reassembled or to be sent.
    pub large_packets: usize,
    /// Hop limit of what is sent (RFC 1700: 64), unless an IPv6 router says otherwise.
    pub hop_limit: u8,
    /// Most addresses of each family.
    pub addresses: usize,
    /// Most routers that advertise themselves.
    pub routers: usize,
    /// Most prefixes that routers say are on the link.
    pub prefixes: usize,
    /// Most routes that were configured, or learnt by DHCP.
    pub routes: usize,
    /// Most destinations whose paths are remembered.
    pub destinations: usize,
    /// Most neighbours to know at once.
    pub neighbors: usize,
    /// Most packets that wait for one neighbour's address.
    pub neighbor_queue: usize,
    /// Most packets that wait for neighbours' addresses, together, but for the first of each.
    pub neighbor_queues: usize,
    /// Bounds on datagrams that have not all come yet.
    pub reassembly: fragment::Limits,
    /// Most groups that sockets are members of.
    pub groups: usize,
    /// Most sources that the members of a group name.
    pub group_sources: usize,
    /// Most datagrams in a socket's receive queue.
    pub receive_queue: usize,
    /// Most bytes of payload in a socket's receive queue.
    pub receive_queue_bytes: usize,
    /// Most datagrams in all receive queues together; when there are as many, half as many more find
    /// room in sockets that hold less than their equal share of those.
    pub receive_queues: usize,
    /// Most bytes that reassembled datagrams take up in all receive queues together. The queue that
    /// has most of them makes room for the others.
    pub receive_queues_bytes: usize,
    /// Most ICMP errors in a socket's error queue.
    pub error_queue: usize,
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

/// How a host comes by its IPv4 address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ipv4Config {
    /// A DHCP server on the link leases one (RFC 2131).
    #[default]
    Dhcp,
    /// It has these.
    Static {
        /// The addresses, and what is on their link.
        addresses: Vec<Ipv4Cidr>,
        /// The router to all that is not on the link.
        gateway: Option<Ipv4Addr>,
    },
    /// It has none, and speaks no IPv4.
    Off,
}

/// How a host comes by its IPv6 addresses, besides the one for its link alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6Config {
    /// Whether it speaks IPv6. It does not on a link whose MTU is less than 1,280 bytes.
    pub enabled: bool,
    /// Whether it listens to what routers advertise: routes, and prefixes of which it makes
    /// addresses (RFC 4862).
    pub autoconf: bool,
    /// Addresses that it has besides those.
    pub addresses: Vec<Ipv6Cidr>,
    /// The router to all that is not on the link, before any that advertises itself.
    pub gateway: Option<Ipv6Addr>,
    /// How it makes the lower half of its addresses.
    pub interface_id: InterfaceId,
}

impl Default for Ipv6Config {
    fn default() -> Self {
        Self {
            enabled: true,
            autoconf: true,
            addresses: Vec::new(),
            gateway: None,
            interface_id: InterfaceId::default(),
        }
    }
}

/// How a host makes interface identifiers, the lower 64 bits of its IPv6 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceId {
    /// From the network's prefix and the card's Ethernet address by a hash (RFC 7217): always the
    /// same on one network, another on any other.
    Stable {
        /// The key of the hash. Whoever does not know it cannot tell which addresses are one host's;
        /// with the default, all zero, whoever knows the Ethernet address can.
        secret: [u8; 16],
    },
    /// From the card's Ethernet address (RFC 4291, appendix A), for all to see.
    Eui64,
}

impl Default for InterfaceId {
    fn default() -> Self {
        Self::Stable { secret: [0; 16] }
    }
}

impl Default for Config {
    #[inline(never)]
    fn default() -> Self {
        Self {
            ipv4: Ipv4Config::default(),
            ipv6: Ipv6Config::default(),
            packets: 1_024,
            large_packets: 4 << 20,
            hop_limit: 64,
            addresses: 16,
            routers: 8,
            prefixes: 16,
            routes: 32,
            destinations: 1_024,
            neighbors: 512,
            neighbor_queue: 8,
            neighbor_queues: 256,
            reassembly: fragment::Limits::default(),
            groups: 64,
            group_sources: 64,
            receive_queue: 256,
            receive_queue_bytes: 512 * 1024,
            receive_queues: 512,
            receive_queues_bytes: 2 << 20,
            error_queue: 16,
            transmit_queue: 128,
            icmp_errors_per_second: 100,
            icmp_error_burst: 50,
            ephemeral_ports: 32_768..=65_535,
        }
    }
}

impl Config {
    /// The defaults, with this IPv4 address and no gateway.
    #[must_use]
    pub fn new(ipv4: Ipv4Cidr) -> Self {
        let ipv4 = Ipv4Config::Static { addresses: [ipv4].into(), gateway: None };
        Self { ipv4, ..Self::default() }
    }

    /// The same, with a router to all that is not on the link of the addresses that were given.
    #[must_use]
    pub fn with_ipv4_gateway(mut self, router: Ipv4Addr) -> Self {
        if let Ipv4Config::Static { gateway, .. } = &mut self.ipv4 {
            *gateway = Some(router);
        }
        self
    }

    /// The same, without IPv6.
    #[must_use]
    pub fn without_ipv6(mut self) -> Self {
        self.ipv6.enabled = false;
        self
    }

    /// Asks for so many packet buffers, of which as great a share as by default may wait for tasks,
    /// neighbours and the device: one of each at least.
    pub fn set_packets(&mut self, packets: usize) {
        self.packets = packets;
        self.receive_queues = (packets / 2).max(1);
        self.receive_queue = (packets / 4).max(1);
        self.neighbor_queues = (packets / 4).max(1);
        self.transmit_queue = (packets / 8).max(1);
    }

    pub(crate) fn route_limits(&self) -> routes::Limits {
        routes::Limits { routers: self.routers, prefixes: self.prefixes, others: self.routes }
    }

    pub(crate) fn multicast_limits(&self) -> multicast::Limits {
        multicast::Limits { groups: self.groups, sources: self.group_sources }
    }

    /// A pool as this asks for: each packet takes a frame of a link of this MTU, and is of 2 KiB at
    /// least.
    ///
    /// # Errors
    /// [`ConfigError::Memory`].
    #[inline(never)]
    pub fn pool(&self, mtu: u16) -> Result<Pool, ConfigError> {
        let size = HEADROOM + ethernet::HEADER_LEN + usize::from(mtu);
        let size = size.clamp(2_048, usize::from(u16::MAX));
        let kib = (self.packets * size).div_ceil(1_024);
        let pool = Pool::try_new(self.packets, size).ok_or(ConfigError::Memory { kib })?;
        Ok(pool.with_large(self.large_packets))
    }

    /// Checks the addresses against each other, and the link against what IP asks of it.
    pub(crate) fn check(&self, mtu: u16) -> Result<(), ConfigError> {
        let Self { ipv4, ipv6, .. } = self;
        if let Ipv4Config::Static { addresses, gateway } = ipv4 {
            check_ipv4(addresses, *gateway)?;
        }
        if ipv6.enabled {
            check_ipv6(ipv6)?;
        }
        let static_ipv6 = ipv6.enabled && !ipv6.addresses.is_empty();
        let ipv6_alone = ipv6.enabled && *ipv4 == Ipv4Config::Off;
        let least = if static_ipv6 || ipv6_alone { ipv6::MIN_MTU } else { ipv4::MIN_MTU };
        if mtu < least {
            return Err(ConfigError::Mtu { mtu, least });
        }
        if *ipv4 == Ipv4Config::Off && !ipv6.enabled {
            return Err(ConfigError::Nothing);
        }
        if self.ephemeral_ports.is_empty() || *self.ephemeral_ports.start() == 0 {
            return Err(ConfigError::EphemeralPorts);
        }
        if self.transmit_queue == 0 {
            return Err(ConfigError::TransmitQueue);
        }
        Ok(())
    }
}

fn check_ipv4(addresses: &[Ipv4Cidr], gateway: Option<Ipv4Addr>) -> Result<(), ConfigError> {
    let Some(&first) = addresses.first() else { return Err(ConfigError::Nothing) };
    if let Some(&bad) = addresses.iter().find(|cidr| !cidr.is_host()) {
        return Err(ConfigError::Address(bad.into()));
    }
    // A host that has its address to itself knows its gateway to be on the link all the same.
    let alone = addresses.iter().all(|cidr| cidr.prefix_len() == 32);
    match gateway {
        None if alone => Err(ConfigError::Alone(first)),
        None => Ok(()),
        Some(gateway) => {
            let own = addresses.iter().any(|cidr| cidr.address() == gateway);
            let on_link = |cidr: &Ipv4Cidr| {
                cidr.with_address(gateway).is_host() && (alone || cidr.contains(gateway))
            };
            if own || !addresses.iter().any(on_link) {
                let (gateway, address) = (gateway.into(), first.into());
                return Err(ConfigError::Gateway { gateway, address });
            }
            Ok(())
        }
    }
}

fn check_ipv6(config: &Ipv6Config) -> Result<(), ConfigError> {
    if let Some(&bad) = config.addresses.iter().find(|cidr| !cidr.is_host()) {
        return Err(ConfigError::Address(bad.into()));
    }
    let Some(gateway) = config.gateway else { return Ok(()) };
    let own = config.addresses.iter().any(|cidr| cidr.address() == gateway);
    let on_link = gateway.is_unicast_link_local()
        || config.addresses.iter().any(|cidr| cidr.contains(gateway));
    if own || !on_link || !ipv6::is_host_address(gateway) {
        return Err(ConfigError::GatewayV6(gateway));
    }
    Ok(())
}

/// Why a stack cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No host can have this address.
    #[error("{0} is no address for a host")]
    Address(IpCidr),
    /// The gateway is not on the link, or not another host's address.
    #[error("gateway {gateway} is no other host on the link of {address}")]
    Gateway {
        /// The gateway.
        gateway: IpAddr,
        /// What is on the link.
        address: IpCidr,
    },
    /// The gateway is neither link-local nor on the link of an address that is given.
    #[error(
        "gateway {0} is no other host on the link of an IPv6 address that is given, nor fe80::…"
    )]
    GatewayV6(Ipv6Addr),
    /// There is nobody on the link, and no gateway.
    #[error("with {0} there is nobody to talk to: give a shorter prefix, or a gateway")]
    Alone(Ipv4Cidr),
    /// There is neither IPv4 nor IPv6.
    #[error("neither IPv4 nor IPv6 is left")]
    Nothing,
    /// The device's MTU is too small for IP.
    #[error("the link's MTU of {mtu} is too small: {least} is the least, and 1280 for IPv6")]
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
    /// No frame may wait for the device: then none can be sent.
    #[error("a transmit queue of 0 frames sends none: 1 is the least")]
    TransmitQueue,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ipv4: &str, gateway: Option<&str>, mtu: u16) -> Result<(), String> {
        let addresses = vec![ipv4.parse().unwrap()];
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        let ipv4 = Ipv4Config::Static { addresses, gateway };
        let config = Config { ipv4, ..Config::default() };
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
            "the link's MTU of 67 is too small: 68 is the least, and 1280 for IPv6"
        );
        let config = Config { transmit_queue: 0, ..Config::default() };
        let error = config.check(1_500).unwrap_err();
        assert_eq!(error.to_string(), "a transmit queue of 0 frames sends none: 1 is the least");
    }

    #[test]
    fn ipv6_is_checked_as_ipv4_is() {
        let check = |address: &str, gateway: Option<&str>, mtu| {
            let addresses = vec![address.parse().unwrap()];
            let gateway = gateway.map(|gateway| gateway.parse().unwrap());
            let ipv6 = Ipv6Config { addresses, gateway, ..Ipv6Config::default() };
            Config { ipv6, ..Config::default() }.check(mtu).map_err(|error| error.to_string())
        };
        assert_eq!(check("2001:db8::2/64", Some("2001:db8::1"), 1_500), Ok(()));
        assert_eq!(check("2001:db8::2/128", Some("fe80::1"), 1_280), Ok(()));
        assert!(check("2001:db8::2/64", None, 1_279).unwrap_err().contains("1280 for IPv6"));
        assert!(check("ff02::1/64", None, 1_500).unwrap_err().contains("no address for a host"));
        for gateway in ["2001:db8::2", "2001:db9::1", "ff02::2"] {
            let error = check("2001:db8::2/64", Some(gateway), 1_500).unwrap_err();
            assert!(error.starts_with(&format!("gateway {gateway} is no other host")), "{error}");
        }
        // IPv4 goes on where a link takes too little for IPv6.
        assert_eq!(Config::default().check(576), Ok(()));
        let ipv6 = Ipv6Config { enabled: false, ..Ipv6Config::default() };
        let nothing = Config { ipv4: Ipv4Config::Off, ipv6, ..Config::default() };
        assert_eq!(nothing.check(1_500), Err(ConfigError::Nothing));
    }

    #[test]
    fn of_fewer_packets_the_same_shares_may_wait() {
        let bounds = |config: &Config| {
            let Config { packets, receive_queues, receive_queue, .. } = config;
            [
                *packets,
                *receive_queues,
                *receive_queue,
                config.neighbor_queues,
                config.transmit_queue,
            ]
        };
        let default = bounds(&Config::default());
        let mut config = Config::default();
        config.set_packets(256);
        assert_eq!(bounds(&config), default.map(|bound| bound / 4));
        config.set_packets(1_024);
        assert_eq!(bounds(&config), default);
    }
}
