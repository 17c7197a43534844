//! mnet's parts.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use mnet_bench::{FIRST_PORT, Family, Run, frames};
use mnet_proto::wire::{Checksum, ethernet, ipv4, ipv6, udp};
use mnet_proto::{Config, Event, Ipv4Cidr, Ipv4Config, Ipv6Cidr, SocketId, Stack};
use netdev::{Checksums, Device, Gone, Instant, Mac, Packet, Pool, Received};

use super::{LARGE, NEIGHBORS, PAUSE, Read, SIZE, fragments, frame, repeat, turns};

pub(super) fn parse(family: Family) -> Run {
    let frame = frame(family);
    repeat(move || {
        black_box(read(family, black_box(&frame)));
    })
}

pub(crate) fn read(family: Family, frame: &[u8]) -> Option<Read<'_>> {
    let header = ethernet::Header::parse(frame)?;
    let packet = &frame[ethernet::HEADER_LEN..];
    let (source, destination, datagram): (IpAddr, IpAddr, _) = match family {
        Family::V4 => {
            let ip = ipv4::Header::parse(packet).ok()?;
            if header.ethertype.get() != ethernet::IPV4 || ip.protocol != ipv4::UDP {
                return None;
            }
            let datagram = &packet[ip.header_len()..ip.total_len()];
            (ip.source().into(), ip.destination().into(), datagram)
        }
        Family::V6 => {
            let ip = ipv6::Header::parse(packet).ok()?;
            if header.ethertype.get() != ethernet::IPV6 || ip.next_header != ipv4::UDP {
                return None;
            }
            let datagram = &packet[ipv6::HEADER_LEN..][..ip.payload_len()];
            (ip.source().into(), ip.destination().into(), datagram)
        }
    };
    let header = udp::Header::parse(datagram)?;
    Some(Read {
        source,
        destination,
        from: header.source.get(),
        to: header.destination.get(),
        payload: &datagram[udp::HEADER_LEN..header.len()],
    })
}

pub(super) fn checksum(size: usize) -> Run {
    let bytes = frames::payload(size);
    repeat(move || {
        black_box(sum(black_box(&bytes)));
    })
}

pub(crate) fn sum(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(Checksum::new().add_bytes(bytes).finish())
}

pub(super) fn pool() -> Run {
    let pool = Pool::new(1_024, 2_048);
    repeat(move || drop(black_box(pool.take())))
}

pub(super) fn demultiplex(family: Family, ports: usize) -> Run {
    let frame = frame(family);
    let mut host = Host::new(family, true, Config::default().neighbors);
    let sockets = host.bind(ports);
    let headers = frame.len() - SIZE;
    let mut packet = Some(host.packet(&frame));
    let mut turns = turns(ports);
    let mut run = repeat(move || {
        let index = turns.next().map_or(0, |turn| turn * 7_919 % ports);
        let mut whole = packet.take().expect("it has come back");
        let port = headers - udp::HEADER_LEN + 2;
        whole.bytes_mut()[port..port + 2]
            .copy_from_slice(&(FIRST_PORT + index as u16).to_be_bytes());
        host.stack.handle_frame(host.now, whole);
        let mut back = host.receive(sockets[index]);
        // It is sent again: its headers have been spent.
        back.prepend(headers).expect("they were there").copy_from_slice(&frame[..headers]);
        packet = Some(back);
    });
    // Each socket has had a datagram: its queue is there.
    let _ = run(ports as u64);
    run
}

pub(super) fn reassembly(family: Family) -> Run {
    let fragments = fragments(family);
    let mut host = Host::new(family, false, Config::default().neighbors);
    let socket = host.bind(1)[0];
    repeat(move || {
        for fragment in &fragments {
            let packet = host.packet(fragment);
            host.stack.handle_frame(host.now, packet);
        }
        assert_eq!(host.receive(socket).len(), LARGE);
    })
}

pub(super) fn neighbor_miss(family: Family, known: usize) -> Run {
    let neighbors: Vec<_> = (0..NEIGHBORS)
        .map(|index| frames::neighbor(family, index))
        .map(|neighbor| (SocketAddr::new(neighbor, 5_000), frames::has(neighbor)))
        .collect();
    let payload = frames::payload(SIZE);
    let mut host = Host::new(family, false, known);
    let mut turns = turns(NEIGHBORS);
    repeat(move || {
        let (neighbor, answer) = &neighbors[turns.next().unwrap_or_default()];
        host.pass(PAUSE);
        let packet = host.packet(&payload);
        host.stack.udp_send(host.now, FIRST_PORT.into(), *neighbor, packet).unwrap();
        assert!(!frames::is_udp(host.sent().bytes()), "it has to ask first");
        let packet = host.packet(answer);
        host.stack.handle_frame(host.now, packet);
        assert!(frames::is_udp(host.sent().bytes()));
    })
}

/// A host without tasks, at a time that passes when it is told to.
struct Host {
    stack: Stack,
    now: Instant,
}

impl Host {
    /// One that has its address to itself by now. Perhaps its device sees to checksums, and so many
    /// neighbours can be known.
    fn new(family: Family, checksums: bool, neighbors: usize) -> Self {
        let mut config = config(family);
        config.neighbors = neighbors;
        let pool = config.pool(frames::MTU).unwrap();
        let card = Card { checksums };
        let stack = Stack::new(&config, &card, pool, Instant::ZERO, [7; 32]).unwrap();
        let mut host = Self { stack, now: Instant::ZERO };
        for _ in 0..60 {
            host.pass(1);
            host.stack.outgoing().clear();
            while host.stack.poll_event().is_some() {}
        }
        host
    }

    fn bind(&mut self, ports: usize) -> Vec<SocketId> {
        (0..ports).map(|index| self.stack.udp_bind(FIRST_PORT + index as u16).unwrap()).collect()
    }

    /// A packet that holds this.
    fn packet(&self, bytes: &[u8]) -> Packet {
        let mut packet = self.stack.pool().take().expect("all have come back");
        packet.append(bytes.len()).expect("it is small enough").copy_from_slice(bytes);
        packet
    }

    /// Lets so many seconds pass.
    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.stack.handle_timeout(self.now);
    }

    /// The datagram that has come for this socket.
    fn receive(&mut self, socket: SocketId) -> Packet {
        assert_eq!(self.stack.poll_event(), Some(Event::Readable(socket)));
        self.stack.udp_mut().receive(socket).expect("it has come").into_packet()
    }

    /// The frame that is to be sent.
    fn sent(&mut self) -> Packet {
        self.stack.outgoing().pop_front().expect("there is something to send")
    }
}

fn config(family: Family) -> Config {
    match frames::host(family) {
        IpAddr::V4(host) => Config::new(Ipv4Cidr::new(host, 16).unwrap()).without_ipv6(),
        IpAddr::V6(host) => {
            let mut config = Config { ipv4: Ipv4Config::Off, ..Config::default() };
            config.ipv6.autoconf = false;
            config.ipv6.addresses = vec![Ipv6Cidr::new(host, 64).unwrap()];
            config
        }
    }
}

/// What the stack is told of its card. Frames go by hand.
struct Card {
    checksums: bool,
}

impl Device for Card {
    fn mac(&self) -> Mac {
        frames::HOST
    }

    fn mtu(&self) -> u16 {
        frames::MTU
    }

    fn checksums(&self) -> Checksums {
        let (verifies, fills) = (self.checksums, self.checksums);
        Checksums {
            verifies_ipv4: verifies,
            verifies_udp: verifies,
            fills_ipv4: fills,
            fills_udp: fills,
        }
    }

    fn receive(&mut self, _: &Pool, _: usize, _: &mut dyn FnMut(Packet)) -> Result<Received, Gone> {
        Err(Gone)
    }

    fn transmit(&mut self, _: &mut VecDeque<Packet>) -> Result<(), Gone> {
        Err(Gone)
    }

    fn poll_receive(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn poll_transmit(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
