//! Images behind routers whose link between takes smaller packets.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use mnet_tests::{Namespace, PATIENCE, Running, TAP, client, ping_pong};

/// A client, two routers with a link of `mtu` bytes between them, and an image behind the second.
struct Path {
    // In the order in which they end.
    _image: Running,
    client: Namespace,
    _far: Namespace,
    near: Namespace,
}

impl Path {
    fn new(mtu: u16) -> Self {
        let near = Namespace::new();
        let (client, far) = (Namespace::empty(), Namespace::empty());
        client.connect((&far, "far"), "client", 1_500);
        far.connect((&near, "near"), "far", mtu);
        for (namespace, interface, net, host) in [
            (&client, "far", 1, 2),
            (&far, "client", 1, 1),
            (&far, "near", 2, 2),
            (&near, "far", 2, 1),
        ] {
            namespace.ip(&format!("addr add 10.{net}.0.{host}/24 dev {interface}"));
            if mtu >= 1_280 {
                namespace.ip(&format!("addr add fd00:{net}::{host}/64 dev {interface}"));
            }
        }
        far.forward();
        near.forward();
        client.ip("route add default via 10.1.0.1");
        far.ip("route add 10.0.0.0/24 via 10.2.0.1");
        near.ip("route add 10.1.0.0/24 via 10.2.0.2");
        if mtu >= 1_280 {
            client.ip("-6 route add default via fd00:1::1");
            far.ip("-6 route add fd00::/64 via fd00:2::1");
            near.ip("-6 route add fd00:1::/64 via fd00:2::2");
        }
        let image = near.echo(
            "--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1 --ipv6=fd00::2/64 --ipv6-gateway=fe80::1",
        );
        let _ = image.line("10.0.0.2/24, static");
        let _ = image.line("fd00::2/64, static");
        Self { _image: image.ready(), client, _far: far, near }
    }
}

/// Sends a datagram until it comes back: the first that is too big for the path is lost, on the
/// way there and on the way back.
fn until_it_comes_back(socket: &UdpSocket, length: usize) {
    let sent = vec![0xa5; length];
    let mut received = vec![0; length + 1];
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let came_back = (0..5).any(|_| {
        // The socket tells in the same way that a router has refused one.
        let _ = socket.send(&sent);
        socket.recv(&mut received).is_ok_and(|got| received[..got] == sent)
    });
    assert!(came_back, "none of {length} bytes came back");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
}

fn large_ones_pass(path: &Path, echo: &str, sizes: &[usize]) {
    let echo: SocketAddr = echo.parse().unwrap();
    path.client.inside(|| {
        let socket = client(echo);
        ping_pong(&socket, 64, 10);
        until_it_comes_back(&socket, sizes[0]);
        for &size in sizes {
            ping_pong(&socket, size, 20);
        }
    });
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_learns_the_mtu_of_the_path_over_ipv4() {
    let path = Path::new(1_000);
    large_ones_pass(&path, "10.0.0.2:7", &[1_472, 972, 973, 4_000, 65_507]);
    let said = path.client.run("ping", "-c3 -i0.02 -W5 -s 1400 -M dont 10.0.0.2");
    assert!(said.contains("3 received"), "{said}");
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn it_learns_the_mtu_of_the_path_over_ipv6() {
    let path = Path::new(1_280);
    large_ones_pass(&path, "[fd00::2]:7", &[1_452, 1_232, 1_233, 4_000, 65_527]);
    let said = path.client.run("ping", "-c3 -i0.02 -W5 -s 1400 fd00::2");
    assert!(said.contains("3 received"), "{said}");
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn large_answers_pass_when_only_the_way_back_is_narrow() {
    // The client sends in fragments that fit, as those who will not wait for the path's MTU do.
    let path = Path::new(1_280);
    path.client.ip("link set far mtu 1280");
    for echo in ["10.0.0.2:7", "[fd00::2]:7"] {
        large_ones_pass(&path, echo, &[1_452, 8_000]);
    }
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn large_pings_pass_when_only_the_way_back_is_narrow() {
    let path = Path::new(1_280);
    path.client.ip("link set far mtu 1280");
    // The first answer over IPv6 is lost to what tells of the path's MTU.
    path.client.run("ping", "-c2 -i0.2 -W1 -s1400 fd00::2");
    for address in ["10.0.0.2", "fd00::2"] {
        let said = path.client.run("ping", &format!("-c3 -i0.2 -W1 -s1400 {address}"));
        assert!(said.contains(" 0% packet loss"), "{said}");
    }
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn tracepath_finds_the_way_to_it_over_both_families() {
    let path = Path::new(1_280);
    for (address, routers) in
        [("10.0.0.2", ["10.1.0.1", "10.2.0.1"]), ("fd00::2", ["fd00:1::1", "fd00:2::1"])]
    {
        let said = path.client.run("tracepath", &format!("-n -m8 {address}"));
        for router in routers {
            assert!(said.contains(router), "{router} in {said}");
        }
        let reached = |line: &str| line.contains(address) && line.contains("reached");
        assert!(said.lines().any(reached), "{said}");
        assert!(said.contains("Resume: pmtu 1280 hops 3 back 3"), "{said}");
    }
}

#[test]
#[ignore = "needs root: makes a TAP in a network namespace"]
fn a_router_with_a_new_card_is_found() {
    let path = Path::new(1_500);
    let echo = |address: &str| {
        let address: SocketAddr = address.parse().unwrap();
        path.client.inside(|| ping_pong(&client(address), 64, 10));
    };
    echo("10.0.0.2:7");
    echo("[fd00::2]:7");
    path.near.ip(&format!("link set {TAP} address 02:00:00:00:00:77"));
    path.near.ip("neigh flush all");
    // Linux asks after the image when it next sends to it: the image learns the new card from that.
    echo("10.0.0.2:7");
    echo("[fd00::2]:7");
}
