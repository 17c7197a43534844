//! A network of a client and servers that do what a test says.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use mnet::{Config, Destination, Ipv4Cidr, Stack, UdpSocket};
use mnet_resolve::wire::op::{Message, Metadata};
use mnet_resolve::wire::rr::rdata::{CNAME, SOA};
use mnet_resolve::{Name, RData, Record};
use netsim::device;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

/// A client, and a host with two addresses beside it.
pub(crate) struct Network {
    pub(crate) client: Stack,
    servers: Stack,
}

/// The sockets that a server may answer from.
pub(crate) struct Sockets {
    pub(crate) asked: UdpSocket,
    pub(crate) other_port: UdpSocket,
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Rc<RefCell<Vec<(u16, u16)>>>,
}

impl Network {
    pub(crate) fn new() -> Self {
        let (a, b, _cable) = device::pair(1_500);
        let [client, servers] = [(CLIENT, a), (SERVER, b)].map(|(address, plug)| {
            Stack::new(plug, &Config::new(Ipv4Cidr::new(address, 24).unwrap())).unwrap()
        });
        servers.add_address(Ipv4Cidr::new(OTHER, 24).unwrap()).unwrap();
        Self { client, servers }
    }

    /// Starts a server that answers a question, the first of which is number 1, with these messages.
    pub(crate) fn serve(
        &self,
        port: u16,
        mut answers: impl FnMut(&Message, usize) -> Vec<Message> + 'static,
    ) -> Server {
        let mut count = 0;
        self.serve_by(port, move |sockets, query, from| {
            count += 1;
            let answers = answers(query, count).into_iter();
            answers
                .map(|answer| (sockets.asked.clone(), answer.to_vec().unwrap(), from.into()))
                .collect()
        })
    }

    /// Starts a server that sends what `answers` gives, from where it says.
    pub(crate) fn serve_by(
        &self,
        port: u16,
        mut answers: impl FnMut(
            &Sockets,
            &Message,
            SocketAddr,
        ) -> Vec<(UdpSocket, Vec<u8>, Destination)>
        + 'static,
    ) -> Server {
        let udp = self.servers.udp();
        let sockets =
            Sockets { asked: udp.bind(port).unwrap(), other_port: udp.bind(port + 100).unwrap() };
        let seen = Rc::new(RefCell::new(Vec::new()));
        let server = Server { address: (SERVER, port).into(), seen: seen.clone() };
        mkernel::spawn(async move {
            loop {
                let datagram = sockets.asked.recv_datagram().await.unwrap();
                let query = Message::from_vec(datagram.payload()).unwrap();
                let from = datagram.remote();
                seen.borrow_mut().push((from.port(), query.metadata.id));
                for (socket, payload, to) in answers(&sockets, &query, from) {
                    socket.send_to(&payload, to).await.unwrap();
                }
            }
        });
        server
    }
}

impl Server {
    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.seen.borrow().len()
    }

    /// From how many ports, and with how many IDs.
    pub(crate) fn seen(&self) -> (usize, usize) {
        let seen = self.seen.borrow();
        let (ports, ids): (HashSet<_>, HashSet<_>) = seen.iter().copied().unzip();
        (ports.len(), ids.len())
    }
}

pub(crate) fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}

/// An answer without records.
pub(crate) fn reply(query: &Message) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&query.metadata);
    reply.add_queries(query.queries.iter().cloned());
    reply
}

pub(crate) fn a(owner: &str, ttl: u32, address: &str) -> Record {
    let address: Ipv4Addr = address.parse().unwrap();
    Record::from_rdata(name(owner), ttl, RData::A(address.into()))
}

pub(crate) fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

pub(crate) fn soa(zone: &str, ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(name("ns.test"), name("root.test"), 1, 2, 3, 4, minimum);
    Record::from_rdata(name(zone), ttl, RData::SOA(soa))
}
