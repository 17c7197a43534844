//! The name server of the host, which the network's own stands for.

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// Port of DNS.
pub(super) const PORT: u16 = 53;

/// The first name server that the host asks; `None` if it has none.
pub(super) fn of_host() -> Option<SocketAddr> {
    first(&fs::read_to_string("/etc/resolv.conf").ok()?)
}

/// The first in the text of a resolv.conf(5). One at a link-local address is passed over: that
/// says nothing without an interface.
fn first(text: &str) -> Option<SocketAddr> {
    text.lines().find_map(|line| {
        let address = line.strip_prefix("nameserver")?;
        let address = address.strip_prefix([' ', '\t'])?.split_whitespace().next()?;
        let address: IpAddr = address.parse().ok()?;
        let usable = match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        };
        usable.then(|| SocketAddr::new(address, PORT))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_server_that_can_be_asked_is_taken() {
        for (text, expected) in [
            ("", None),
            ("# nameserver 192.0.2.1\nsearch example.org\n", None),
            ("nameserver\nnameserver \nnameservers 192.0.2.1\n", None),
            ("search a\nnameserver 192.0.2.1\nnameserver 192.0.2.2", Some("192.0.2.1:53")),
            ("nameserver\t127.0.0.53 # the stub\n", Some("127.0.0.53:53")),
            ("nameserver fe80::1%eth0\nnameserver 2001:db8::1\n", Some("[2001:db8::1]:53")),
            ("nameserver fe80::1\nnameserver ns.example.org\n", None),
        ] {
            assert_eq!(first(text), expected.map(|address| address.parse().unwrap()), "{text}");
        }
    }
}
