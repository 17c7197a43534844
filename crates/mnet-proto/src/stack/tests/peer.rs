//! The host on the other side: smoltcp, with one socket.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::udp::{self, PacketBuffer, PacketMetadata};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

use super::*;

pub(super) struct Peer {
    card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self::with(IpCidr::new(PEER.into(), 24))
    }

    pub(super) fn with(address: IpCidr) -> Self {
        let mut card = Card { received: VecDeque::new(), sent: Vec::new() };
        let config = Config::new(EthernetAddress(PEER_MAC.0).into());
        let mut interface = Interface::new(config, &mut card, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(address).unwrap();
        });
        let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; 8], vec![0; 16_384]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(5_000).unwrap();
        let mut sockets = SocketSet::new(Vec::new());
        let socket = sockets.add(socket);
        Self { card, interface, sockets, socket }
    }

    pub(super) fn send(&mut self, payload: &[u8], to: impl Into<IpAddress>, port: u16) {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.socket);
        socket.send_slice(payload, (to, port)).unwrap();
    }

    pub(super) fn receive(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.socket);
        let (payload, metadata) = socket.recv().ok()?;
        let from = metadata.endpoint;
        Some((payload.to_vec(), SocketAddr::new(from.addr.into(), from.port)))
    }

    /// Takes frames and gives those that it has to send.
    pub(super) fn exchange(&mut self, frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        self.card.received.extend(frames);
        self.interface.poll(Instant::ZERO, &mut self.card, &mut self.sockets);
        std::mem::take(&mut self.card.sent)
    }
}

struct Card {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Device for Card {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1_514;
        capabilities
    }
}

struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}
