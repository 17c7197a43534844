//! A cable between two stacks, in memory.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mkernel::{sleep, timeout};
use mnet::{Config, Ipv4Cidr, Ipv6Cidr, Stack};
use netsim::device::{self, Cable};

pub(crate) const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

pub(crate) const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// Two stacks, and the cable between them.
pub(crate) fn pair() -> (Stack, Stack, Cable) {
    pair_with(|_| ())
}

pub(crate) fn pair_with(change: impl Fn(&mut Config)) -> (Stack, Stack, Cable) {
    let (a, b, cable) = device::pair(1_500);
    let [a, b] = [(A, a), (B, b)].map(|(address, plug)| {
        let mut config = Config::new(Ipv4Cidr::new(address, 24).unwrap());
        change(&mut config);
        Stack::new(plug, &config).unwrap()
    });
    (a, b, cable)
}

/// Lets two hosts know each other's Ethernet addresses: before, only so many packets wait for that.
pub(crate) async fn meet(a: &Stack, b: &Stack) {
    let socket = b.udp().bind(1).unwrap();
    a.udp().send_to(b"hello", (B, 1)).await.unwrap();
    let met = timeout(Duration::from_secs(30), socket.recv(&mut [0; 5])).await;
    assert_eq!(met, Ok(Ok(5)));
}

/// Two stacks that have [`A6`] and [`B6`] too, which nobody else has claimed, and the cable.
pub(crate) async fn pair_v6() -> (Stack, Stack, Cable) {
    let (a, b, cable) = pair();
    for (stack, address) in [(&a, A6), (&b, B6)] {
        stack.add_address(Ipv6Cidr::new(address, 64).unwrap()).unwrap();
    }
    let settled = async {
        for stack in [&a, &b] {
            while stack.addresses().iter().any(|own| own.tentative && own.cidr.address().is_ipv6())
            {
                sleep(Duration::from_millis(20)).await;
            }
        }
    };
    timeout(Duration::from_secs(30), settled).await.unwrap();
    (a, b, cable)
}
