//! smoltcp's parts.

use std::hint::black_box;
use std::net::IpAddr;

use mnet_bench::{FIRST_PORT, Family, Run, frames};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken,
};
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, HardwareAddress, IpCidr, IpProtocol,
    Ipv4Packet, Ipv6Packet, UdpPacket, checksum as wire,
};

use super::{LARGE, NEIGHBORS, PAUSE, Read, SIZE, fragments, frame, repeat, turns};

pub(super) fn parse(family: Family) -> Run {
    let frame = frame(family);
    repeat(move || {
        black_box(read(family, black_box(&frame)));
    })
}

pub(crate) fn read(family: Family, frame: &[u8]) -> Option<Read<'_>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let (source, destination, datagram): (IpAddr, IpAddr, _) = match family {
        Family::V4 => {
            let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
            if frame.ethertype() != EthernetProtocol::Ipv4 || ip.next_header() != IpProtocol::Udp {
                return None;
            }
            (ip.src_addr().into(), ip.dst_addr().into(), ip.payload())
        }
        Family::V6 => {
            let ip = Ipv6Packet::new_checked(frame.payload()).ok()?;
            if frame.ethertype() != EthernetProtocol::Ipv6 || ip.next_header() != IpProtocol::Udp {
                return None;
            }
            (ip.src_addr().into(), ip.dst_addr().into(), ip.payload())
        }
    };
    let datagram = UdpPacket::new_checked(datagram).ok()?;
    let (from, to) = (datagram.src_port(), datagram.dst_port());
    Some(Read { source, destination, from, to, payload: datagram.payload() })
}

pub(super) fn checksum(size: usize) -> Run {
    let bytes = frames::payload(size);
    repeat(move || {
        black_box(sum(black_box(&bytes)));
    })
}

pub(crate) fn sum(bytes: &[u8]) -> u16 {
    !wire::data(bytes)
}

pub(super) fn demultiplex(family: Family, ports: usize) -> Run {
    let mut frame = frame(family);
    let mut host = Host::new(family, Checksum::None);
    let sockets = host.bind(ports, SIZE);
    let port = frame.len() - SIZE - 6;
    let mut turns = turns(ports);
    repeat(move || {
        let index = turns.next().map_or(0, |turn| turn * 7_919 % ports);
        frame[port..port + 2].copy_from_slice(&(FIRST_PORT + index as u16).to_be_bytes());
        host.handle_frame(&frame);
        assert_eq!(host.receive(sockets[index]), SIZE);
    })
}

pub(super) fn reassembly(family: Family) -> Run {
    let fragments = fragments(family);
    let mut host = Host::new(family, Checksum::Both);
    let socket = host.bind(1, LARGE)[0];
    let mut received = Vec::new();
    repeat(move || {
        for fragment in &fragments {
            copy(&mut received, fragment);
            host.handle_frame(&received);
        }
        assert_eq!(host.receive(socket), LARGE);
    })
}

pub(super) fn neighbor_miss(family: Family) -> Run {
    let neighbors: Vec<_> = (0..NEIGHBORS)
        .map(|index| frames::neighbor(family, index))
        .map(|neighbor| ((neighbor, 5_000), frames::has(neighbor)))
        .collect();
    let payload = frames::payload(SIZE);
    let mut host = Host::new(family, Checksum::Both);
    let socket = host.bind(1, SIZE)[0];
    let mut received = Vec::new();
    let mut turns = turns(NEIGHBORS);
    repeat(move || {
        let (neighbor, answer) = &neighbors[turns.next().unwrap_or_default()];
        host.now += Duration::from_secs(PAUSE);
        host.sockets.get_mut::<Socket<'_>>(socket).send_slice(&payload, *neighbor).unwrap();
        assert!(!frames::is_udp(host.sent()), "it has to ask first");
        copy(&mut received, answer);
        host.handle_frame(&received);
        assert!(frames::is_udp(host.sent()));
    })
}

/// Receives a frame, as a driver would: into a buffer.
fn copy(buffer: &mut Vec<u8>, frame: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(frame);
}

/// A host at a time that passes when it is told to.
struct Host {
    interface: Interface,
    sockets: SocketSet<'static>,
    checksums: Checksum,
    sent: Vec<u8>,
    now: Instant,
}

impl Host {
    fn new(family: Family, checksums: Checksum) -> Self {
        let mut sent = Vec::new();
        let mut card = Card { checksums, frame: None, sent: &mut sent };
        let mac = HardwareAddress::Ethernet(EthernetAddress(frames::HOST.0));
        let mut interface = Interface::new(Config::new(mac), &mut card, Instant::ZERO);
        let host = frames::host(family);
        let prefix_len = if host.is_ipv4() { 16 } else { 64 };
        interface.update_ip_addrs(|own| own.push(IpCidr::new(host.into(), prefix_len)).unwrap());
        let sockets = SocketSet::new(Vec::new());
        Self { interface, sockets, checksums, sent, now: Instant::ZERO }
    }

    fn bind(&mut self, ports: usize, size: usize) -> Vec<SocketHandle> {
        let bind = |index| {
            let [receive, send] = [(); 2]
                .map(|()| PacketBuffer::new(vec![PacketMetadata::EMPTY; 4], vec![0; 4 * size]));
            let mut socket = Socket::new(receive, send);
            socket.bind(FIRST_PORT + index as u16).unwrap();
            self.sockets.add(socket)
        };
        (0..ports).map(bind).collect()
    }

    fn handle_frame(&mut self, frame: &[u8]) {
        let mut card = Card { checksums: self.checksums, frame: Some(frame), sent: &mut self.sent };
        self.interface.poll_ingress_single(self.now, &mut card, &mut self.sockets);
    }

    /// The frame that is sent, of all that there is to send the last.
    fn sent(&mut self) -> &[u8] {
        self.sent.clear();
        let mut card = Card { checksums: self.checksums, frame: None, sent: &mut self.sent };
        self.interface.poll_egress(self.now, &mut card, &mut self.sockets);
        &self.sent
    }

    /// Takes the datagram that has come for this socket, and says how long it is.
    fn receive(&mut self, socket: SocketHandle) -> usize {
        let (payload, _) = self.sockets.get_mut::<Socket<'_>>(socket).recv().expect("it has come");
        black_box(payload).len()
    }
}

/// A card, for as long as it takes to receive a frame or to send one.
struct Card<'a> {
    checksums: Checksum,
    frame: Option<&'a [u8]>,
    sent: &'a mut Vec<u8>,
}

struct Incoming<'a>(&'a [u8]);

struct Outgoing<'a>(&'a mut Vec<u8>);

impl Device for Card<'_> {
    type RxToken<'a>
        = Incoming<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Outgoing<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        Some((Incoming(self.frame.take()?), Outgoing(self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing(self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = usize::from(frames::MTU) + 14;
        capabilities.checksum = ChecksumCapabilities::default();
        (capabilities.checksum.ipv4, capabilities.checksum.udp) = (self.checksums, self.checksums);
        capabilities
    }
}

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        self.0.clear();
        self.0.resize(len, 0);
        write(self.0)
    }
}
