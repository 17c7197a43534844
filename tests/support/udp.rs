use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::netdevice::name_to_index;
use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::{PATIENCE, TAP};

/// An address and port on the TAP of the namespace in which it is called: if it is link-local, it
/// says on which link.
#[must_use]
pub fn on_link(address: IpAddr, port: u16) -> SocketAddr {
    match address {
        IpAddr::V6(address) if address.is_unicast_link_local() || address.is_multicast() => {
            let socket = UdpSocket::bind("[::]:0").unwrap();
            SocketAddrV6::new(address, port, 0, name_to_index(&socket, TAP).unwrap()).into()
        }
        address => SocketAddr::new(address, port),
    }
}

/// A socket of the host that is connected to `to`.
#[must_use]
pub fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // A burst of large answers is more than Linux keeps for a socket unasked.
    set_socket_recv_buffer_size(&socket, 4 << 20).unwrap();
    socket
}

/// Sends `count` datagrams of `length` bytes one after the other; each must come back whole.
pub fn ping_pong(socket: &UdpSocket, length: usize, count: u32) {
    let mut sent = vec![0; length];
    let mut received = vec![0; length + 1];
    for number in 0..count {
        for (i, byte) in sent.iter_mut().enumerate() {
            *byte = (number as usize * 31 + i * 7) as u8;
        }
        socket.send(&sent).unwrap();
        let got = socket.recv(&mut received).unwrap();
        assert_eq!(&received[..got], sent, "number {number} of {length} bytes");
    }
}

/// Sends 200 datagrams of `length` bytes back to back; each must come back.
pub fn burst(socket: &UdpSocket, length: usize) {
    let mut missing: Vec<_> = vec![true; 200];
    for number in 0..200u8 {
        let mut datagram = vec![0xa5; length];
        datagram[0] = number;
        socket.send(&datagram).unwrap();
    }
    let mut received = vec![0; length + 1];
    while missing.contains(&true) {
        let got = socket.recv(&mut received);
        let left = missing.iter().filter(|&&missing| missing).count();
        let got = got.unwrap_or_else(|error| panic!("{left} of 200 did not come back: {error}"));
        assert_eq!(got, length);
        missing[usize::from(received[0])] = false;
    }
}

/// Waits until 100 datagrams of `length` bytes, one after the other, come back without loss, and
/// panics if that takes longer than `patience` after `what`.
pub fn recovers(socket: &UdpSocket, length: usize, patience: Duration, what: &str) {
    let started = Instant::now();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (mut sent, mut received) = (vec![0xa5; length], vec![0; length + 1]);
    let (mut in_a_row, mut number) = (0, 0u64);
    while in_a_row < 100 {
        assert!(started.elapsed() < patience, "after {what}: {in_a_row} of {number}");
        number += 1;
        sent[..8].copy_from_slice(&number.to_be_bytes());
        let mut came_back = socket.send(&sent).is_ok();
        while came_back {
            match socket.recv(&mut received) {
                Ok(length) if received[..length] == sent => break,
                // One that was given up has come back after all.
                Ok(_) => {}
                Err(_) => came_back = false,
            }
        }
        in_a_row = if came_back { in_a_row + 1 } else { 0 };
        if !came_back {
            thread::sleep(Duration::from_millis(20));
        }
    }
}
