use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::{Namespace, PATIENCE, TAP};

/// A DHCP server (RFC 2131) that does nothing by itself: the test says what to answer. It is
/// 10.0.0.1, in a [`Namespace`].
pub struct DhcpServer {
    socket: UdpSocket,
}

/// What a client has sent.
#[derive(Clone, Debug)]
pub struct DhcpRequest {
    header: Vec<u8>,
    /// Who sent it.
    pub from: SocketAddr,
    /// Its message type.
    pub kind: u8,
    /// The address that it says it has (ciaddr).
    pub has: Ipv4Addr,
    /// The address that it asks for (option 50).
    pub wants: Option<Ipv4Addr>,
}

impl DhcpRequest {
    /// Makes it another transaction's.
    pub fn change_transaction(&mut self) {
        self.header[4] ^= 0xff;
    }
}

/// Message types (RFC 2132 §9.6).
impl DhcpServer {
    /// DHCPDISCOVER.
    pub const DISCOVER: u8 = 1;
    /// DHCPOFFER.
    pub const OFFER: u8 = 2;
    /// DHCPREQUEST.
    pub const REQUEST: u8 = 3;
    /// DHCPACK.
    pub const ACK: u8 = 5;
    /// DHCPNAK.
    pub const NAK: u8 = 6;
}

impl DhcpServer {
    /// One that hears what comes to its namespace.
    #[must_use]
    pub fn new(namespace: &Namespace) -> Self {
        namespace.ip(&format!("route add 255.255.255.255 dev {TAP}"));
        let socket = namespace.inside(|| UdpSocket::bind("0.0.0.0:67")).unwrap();
        socket.set_broadcast(true).unwrap();
        Self { socket }
    }

    /// The next message that `wanted` agrees with, if one comes in that time.
    pub fn next(
        &self,
        time: Duration,
        wanted: impl Fn(&DhcpRequest) -> bool,
    ) -> Option<DhcpRequest> {
        let deadline = Instant::now() + time;
        let mut message = [0; 2_048];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
            match self.socket.recv_from(&mut message) {
                Ok((length, from)) => {
                    let request = parse(&message[..length], from);
                    if wanted(&request) {
                        return Some(request);
                    }
                }
                Err(error) => {
                    let timeouts = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                    assert!(timeouts.contains(&error.kind()), "{error}");
                    return None;
                }
            }
        }
    }

    /// Waits for a message of that type.
    #[must_use]
    pub fn expect(&self, kind: u8) -> DhcpRequest {
        self.next(PATIENCE, |request| request.kind == kind).expect("no such message")
    }

    /// Answers with a message of type `kind` that gives `address` for `seconds`, to the address
    /// that the client has, or to all.
    pub fn answer(&self, request: &DhcpRequest, kind: u8, address: &str, seconds: u32) {
        let address: Ipv4Addr = address.parse().unwrap();
        let server = [10, 0, 0, 1];
        let mut reply = request.header.clone();
        reply[0] = 2;
        if kind != Self::NAK {
            reply[16..20].copy_from_slice(&address.octets());
        }
        reply.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind, 54, 4]);
        reply.extend(server);
        if kind != Self::NAK {
            reply.extend([51, 4]);
            reply.extend(seconds.to_be_bytes());
            reply.extend([1, 4, 255, 255, 255, 0, 3, 4]);
            reply.extend(server);
        }
        reply.push(255);
        reply.resize(reply.len().max(300), 0);
        let unicast = !request.has.is_unspecified() && kind != Self::NAK;
        let to = if unicast { request.has } else { Ipv4Addr::BROADCAST };
        self.socket.send_to(&reply, (to, 68)).unwrap();
    }
}

fn parse(message: &[u8], from: SocketAddr) -> DhcpRequest {
    let address = |bytes: &[u8]| Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap());
    assert_eq!(message[236..240], [0x63, 0x82, 0x53, 0x63], "the magic cookie");
    let mut options = &message[240..];
    let (mut kind, mut wants) = (0, None);
    while let &[code, ref rest @ ..] = options {
        match (code, rest) {
            (0, rest) => options = rest,
            (255, _) => break,
            (code, &[length, ref rest @ ..]) => {
                let (value, rest) = rest.split_at(length.into());
                match code {
                    50 => wants = Some(address(value)),
                    53 => kind = value[0],
                    _ => {}
                }
                options = rest;
            }
            _ => panic!("an option without a length"),
        }
    }
    let header = message[..236].to_vec();
    DhcpRequest { header, from, kind, has: address(&message[12..16]), wants }
}
