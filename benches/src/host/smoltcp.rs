//! smoltcp, polled in a loop, as its own examples do.

use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket};
use smoltcp::time::Instant as Now;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use super::Outcome;
use crate::load::FIRST_PORT;
use crate::{Case, Load, Way, frames};

pub(super) fn serve(case: &Case, orders: &Receiver<u64>, done: &Sender<Outcome>) {
    // The clock that mnet reads.
    let now = || Now::from_micros((mkernel::now().as_nanos() / 1_000) as i64);
    let mut card = Card { load: Load::new(case), frame: Vec::new() };
    let mac = HardwareAddress::Ethernet(EthernetAddress(frames::HOST.0));
    let mut interface = Interface::new(Config::new(mac), &mut card, now());
    let host = frames::host(case.family);
    let prefix_len = if host.is_ipv4() { 16 } else { 64 };
    interface.update_ip_addrs(|own| own.push(IpCidr::new(host.into(), prefix_len)).unwrap());
    let routes = interface.routes_mut();
    match frames::router(case.family) {
        IpAddr::V4(router) => drop(routes.add_default_ipv4_route(router).unwrap()),
        IpAddr::V6(router) => drop(routes.add_default_ipv6_route(router).unwrap()),
    }
    let mut sockets = SocketSet::new(Vec::new());
    let handles: Vec<_> =
        (0..case.ports).map(|index| sockets.add(socket(case, index as u16))).collect();
    let mut buffer = frames::payload(case.size);
    while let Ok(count) = orders.recv() {
        card.load.start(count);
        let before = Instant::now();
        let mut to_send = if case.way == Way::Source { count } else { 0 };
        while !card.load.is_done() {
            interface.poll(now(), &mut card, &mut sockets);
            if case.way == Way::Source {
                say(sockets.get_mut(handles[0]), case, &buffer, &mut to_send);
            } else {
                answer(&mut sockets, &handles, &mut buffer, case, &mut card.load);
            }
        }
        let elapsed = before.elapsed();
        done.send(Outcome { elapsed, last: card.load.last().to_vec() }).unwrap();
    }
}

fn socket(case: &Case, index: u16) -> Socket<'static> {
    // As many as come at once, but of many sockets each has less.
    let depth = if case.ports > 1 { 4 } else { case.window.max(4) };
    let [receive, send] = [(); 2].map(|()| {
        PacketBuffer::new(vec![PacketMetadata::EMPTY; depth], vec![0; depth * case.size])
    });
    let mut socket = Socket::new(receive, send);
    socket.bind(FIRST_PORT + index).unwrap();
    socket
}

/// What the host does with what has come. It is told for which socket that is: smoltcp has no list of
/// those to which something came.
fn answer(
    sockets: &mut SocketSet<'_>,
    handles: &[SocketHandle],
    buffer: &mut [u8],
    case: &Case,
    load: &mut Load,
) {
    let socket = sockets.get_mut::<Socket<'_>>(handles[load.port_index()]);
    while let Ok((length, metadata)) = socket.recv_slice(buffer) {
        if case.way == Way::Sink {
            load.finish();
        } else {
            socket.send_slice(&buffer[..length], metadata.endpoint).unwrap();
        }
    }
}

/// What a host that speaks first says, as far as there is room.
fn say(socket: &mut Socket<'_>, case: &Case, payload: &[u8], left: &mut u64) {
    let to = (frames::neighbor(case.family, 0), 5_000);
    while *left > 0 && socket.send_slice(payload, to).is_ok() {
        *left -= 1;
    }
}

/// The card that is plugged to the [`Load`].
struct Card {
    load: Load,
    frame: Vec<u8>,
}

struct Incoming<'a>(&'a [u8]);

struct Outgoing<'a> {
    load: &'a mut Load,
}

impl Device for Card {
    type RxToken<'a> = Incoming<'a>;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: Now) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        let frame = self.load.deliver()?;
        // As a driver would, and as the other stacks' cards do.
        self.frame.clear();
        self.frame.extend_from_slice(frame);
        Some((Incoming(&self.frame), Outgoing { load: &mut self.load }))
    }

    fn transmit(&mut self, _: Now) -> Option<Outgoing<'_>> {
        Some(Outgoing { load: &mut self.load })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = usize::from(frames::MTU) + 14;
        capabilities.checksum = ChecksumCapabilities::default();
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
        let mut buffer = [0; 1_514];
        let written = write(&mut buffer[..len]);
        self.load.take(&buffer[..len]);
        written
    }
}
