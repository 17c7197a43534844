//! Which addresses a datagram goes between, in both families.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mkernel::{block_on, sleep, spawn, timeout, yield_now};
use mnet::{
    BindError, Destination, Drop, Filter, Ipv4Cidr, Ipv6Cidr, JoinError, Local, Options, RecvError,
    SendError, UdpSocket,
};

use crate::wire::{A, A6, B, B6, pair, pair_v6};
use crate::{LONG, SHORT, at_b};

/// Another of B's addresses.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

async fn next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let datagram = timeout(LONG, socket.recv_datagram()).await.unwrap().unwrap();
    (datagram.payload().to_vec(), datagram.remote())
}

#[test]
fn a_reply_leaves_from_the_address_that_was_asked() {
    block_on(async {
        let (a, b, _cable) = pair_v6().await;
        b.add_address(Ipv4Cidr::new(OTHER, 24).unwrap()).unwrap();
        let (client, server) = (a.udp().bind(5_000).unwrap(), b.udp().bind(7).unwrap());
        for address in [IpAddr::from(B), OTHER.into(), B6.into()] {
            let to = SocketAddr::new(address, 7);
            client.send_to(b"whole", to).await.unwrap();
            let datagram = timeout(LONG, server.recv_datagram()).await.unwrap().unwrap();
            assert_eq!(datagram.local(), to);
            datagram.reply().await.unwrap();
            assert_eq!(next(&client).await, (b"whole".to_vec(), to));

            client.send_to(b"with", to).await.unwrap();
            let datagram = timeout(LONG, server.recv_datagram()).await.unwrap().unwrap();
            datagram.reply_with(2, |_| ()).await.unwrap();
            assert_eq!(next(&client).await, (b"wi".to_vec(), to));

            // The same by hand, where the answer is to have something of its own.
            client.send_to(b"hand", to).await.unwrap();
            let datagram = timeout(LONG, server.recv_datagram()).await.unwrap().unwrap();
            let back = Destination::from(datagram.remote()).source(datagram.local().ip()).ecn(1);
            server.send_to(b"made", back).await.unwrap();
            assert_eq!(next(&client).await, (b"made".to_vec(), to));
        }
    });
}

#[test]
fn a_socket_on_one_address_hears_that_one_alone_and_sends_from_it() {
    block_on(async {
        let (a, b, _cable) = pair();
        b.add_address(Ipv4Cidr::new(OTHER, 24).unwrap()).unwrap();
        let not_local = BindError::AddressNotLocal(A.into());
        assert_eq!(b.udp().bind((A, 7)).unwrap_err(), not_local);
        let (client, server) = (a.udp().bind(5_000).unwrap(), b.udp().bind((OTHER, 7)).unwrap());
        client.send_to(b"not for it", at_b(7)).await.unwrap();
        client.send_to(b"for it", (OTHER, 7)).await.unwrap();
        assert_eq!(next(&server).await.0, b"for it");
        assert_eq!(b.stats().dropped[Drop::UdpNoSocket], 1);
        server.send_to(b"x", (A, 5_000)).await.unwrap();
        assert_eq!(next(&client).await.1, (OTHER, 7).into());
        // A port has one socket, whichever its address.
        let refused = b.udp().bind((B, 7)).unwrap_err();
        assert_eq!(refused.to_string(), "UDP port 7 is in use by a socket on 10.0.0.3");
    });
}

#[test]
fn both_families_come_to_one_socket_and_what_does_not_match_is_refused() {
    block_on(async {
        let (a, b, _cable) = pair_v6().await;
        let server = b.udp().bind(7).unwrap();
        let client = a.udp().bind(5_000).unwrap();
        for (from, to) in [(IpAddr::from(A), IpAddr::from(B)), (A6.into(), B6.into())] {
            client.send_to(b"x", (to, 7)).await.unwrap();
            assert_eq!(next(&server).await.1, (from, 5_000).into());
        }
        let mismatch = Err(SendError::FamilyMismatch);
        let v4 = a.udp().bind((A, 0)).unwrap();
        let v6 = a.udp().bind((A6, 0)).unwrap();
        assert_eq!(v4.send_to(b"x", (B6, 7)).await, mismatch);
        assert_eq!(v6.send_to(b"x", (B, 7)).await, mismatch);
        assert_eq!(v4.connect((B6, 7)), mismatch);
        assert_eq!(client.send_to(b"x", Destination::from((B6, 7)).source(A)).await, mismatch);
        // `0.0.0.0` is all of IPv4, `[::]` is all there is.
        let all_v4 = a.udp().bind(([0, 0, 0, 0], 0)).unwrap();
        assert_eq!(all_v4.send_to(b"x", (B6, 7)).await, mismatch);
        let all = a.udp().bind(("::".parse::<IpAddr>().unwrap(), 0)).unwrap();
        assert_eq!(all.local().address, None);
        assert_eq!(all.send_to(b"x", (B, 7)).await, Ok(()));
    });
}

#[test]
fn a_payload_is_as_long_as_its_family_lets_it_be() {
    block_on(async {
        let (a, b, _cable) = pair_v6().await;
        let (client, server) = (a.udp().bind(0).unwrap(), b.udp().bind(7).unwrap());
        for (to, longest) in [(IpAddr::from(B), 65_507), (B6.into(), 65_527)] {
            let payload: Vec<u8> = (0..longest).map(|at| at as u8).collect();
            // The first packets wait for the neighbour's address.
            client.send_to(b"hello", (to, 7)).await.unwrap();
            assert_eq!(next(&server).await.0, b"hello");
            client.send_to(&payload, (to, 7)).await.unwrap();
            assert!(next(&server).await.0 == payload);
            let refused = client.send_with((to, 7), longest + 1, |_| ()).await;
            assert_eq!(refused, Err(SendError::PacketTooBig { mtu: 65_535 }));
            let refused = client.try_send_with((to, 7), longest + 1, |_| ());
            assert_eq!(refused, Err(SendError::PacketTooBig { mtu: 65_535 }));
        }
    });
}

#[test]
fn what_is_asked_for_is_what_arrives_over_ipv6_too() {
    block_on(async {
        let (a, b, _cable) = pair_v6().await;
        let (socket, server) = (a.udp().bind(1_000).unwrap(), b.udp().bind(7).unwrap());
        socket.set_options(Options { hop_limit: Some(9), dscp: Some(46), ..socket.options() });
        let told = async || {
            let datagram = timeout(LONG, server.recv_datagram()).await.unwrap().unwrap();
            let dont_fragment = datagram.dont_fragment();
            (datagram.hop_limit(), datagram.dscp(), datagram.ecn(), dont_fragment)
        };
        socket.send_to(b"x", (B6, 7)).await.unwrap();
        assert_eq!(told().await, (9, 46, 0, true));
        socket.send_to(b"x", Destination::from((B6, 7)).hop_limit(1).ecn(3)).await.unwrap();
        assert_eq!(told().await, (1, 46, 3, true));
        // Over IPv4 it says whether those on the way could have made pieces of it.
        socket.send_to(b"x", at_b(7)).await.unwrap();
        assert_eq!(told().await, (9, 46, 0, true));
        socket.send_to(&[0; 1_473], at_b(7)).await.unwrap();
        assert_eq!(told().await, (9, 46, 0, false));
        let whole = Destination::from((B6, 7)).dont_fragment(true);
        assert_eq!(socket.send_to(&[0; 1_452], whole).await, Ok(()));
        let too_big = Err(SendError::PacketTooBig { mtu: 1_500 });
        assert_eq!(socket.send_to(&[0; 1_453], whole).await, too_big);
    });
}

#[test]
fn a_datagram_is_sent_from_the_port_that_it_is_asked_to() {
    block_on(async {
        let (a, b, _cable) = pair();
        let server = b.udp().bind(7).unwrap();
        a.udp().send_from(53, b"copied", at_b(7)).await.unwrap();
        assert_eq!(next(&server).await, (b"copied".to_vec(), (A, 53).into()));
        let fill = |room: &mut [u8]| room.copy_from_slice(b"written");
        a.udp().send_from_with((A, 54), at_b(7), 7, fill).await.unwrap();
        assert_eq!(next(&server).await, (b"written".to_vec(), (A, 54).into()));
        let foreign = a.udp().send_from((B, 53), b"x", at_b(7)).await;
        assert_eq!(foreign, Err(SendError::SourceNotLocal));
        sleep(SHORT).await;
        assert_eq!(server.try_recv(&mut []), Err(RecvError::WouldBlock));
    });
}

/// A peer whose address is looked up in a socket when it is needed.
struct PeerOf<'a>(&'a UdpSocket);

impl PeerOf<'_> {
    fn address(&self) -> SocketAddr {
        self.0.peer().unwrap_or_else(|| at_b(7))
    }
}

impl From<PeerOf<'_>> for SocketAddr {
    fn from(peer: PeerOf<'_>) -> Self {
        peer.address()
    }
}

impl From<PeerOf<'_>> for IpAddr {
    fn from(peer: PeerOf<'_>) -> Self {
        peer.address().ip()
    }
}

impl From<PeerOf<'_>> for Local {
    fn from(peer: PeerOf<'_>) -> Self {
        peer.address().port().into()
    }
}

#[test]
fn what_becomes_an_address_may_ask_a_socket() {
    block_on(async {
        let (a, _b, _cable) = pair();
        let socket = a.udp().bind(5_000).unwrap();
        assert_eq!(socket.connect(PeerOf(&socket)), Ok(()));
        assert_eq!(socket.path_mtu(PeerOf(&socket)), Ok(1_500));
        let refused = socket.join(PeerOf(&socket), Filter::ANY);
        assert_eq!(refused, Err(JoinError::NotMulticast));
        assert!(!socket.leave(PeerOf(&socket)));
        assert_eq!(a.udp().source_for(PeerOf(&socket)), Ok(A.into()));
        assert_eq!(a.udp().bind(PeerOf(&socket)).unwrap().local().port, 7);
        assert!(!a.remove_address(PeerOf(&socket)));
    });
}

#[test]
fn each_change_of_addresses_is_waited_for_and_nothing_else_is_one() {
    block_on(async {
        let (a, _b, cable) = pair();
        // Until what the stack begins with is done.
        while timeout(Duration::from_secs(2), a.addresses_changed()).await.is_ok() {}
        let other = Ipv4Cidr::new(OTHER, 24).unwrap();
        let changed = a.addresses_changed();
        a.add_address(other).unwrap();
        timeout(LONG, changed).await.unwrap();
        // It is there already, also if nobody has been told yet.
        a.remove_address(OTHER);
        let changed = a.addresses_changed();
        assert!(!a.remove_address(OTHER));
        assert!(timeout(SHORT, changed).await.is_err());

        let waits = spawn({
            let a = a.clone();
            async move {
                for tentative in [true, false] {
                    a.addresses_changed().await;
                    let own = a.addresses();
                    let own =
                        own.iter().find(|own| own.cidr.address() == IpAddr::from(A6)).unwrap();
                    assert_eq!(own.tentative, tentative);
                }
                a.addresses_changed().await;
                assert!(a.addresses().iter().all(|own| own.cidr.address() != IpAddr::from(A6)));
                // No more comes when the device is gone.
                a.addresses_changed().await;
                a.addresses_changed().await;
            }
        });
        yield_now().await;
        a.add_address(Ipv6Cidr::new(A6, 64).unwrap()).unwrap();
        sleep(Duration::from_secs(2)).await;
        assert!(a.remove_address(A6));
        sleep(SHORT).await;
        assert!(!waits.is_finished());
        cable.cut();
        timeout(LONG, waits).await.unwrap().unwrap();
    });
}
