//! The host's name server, under the network's own address.

use super::*;

const NAMESERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

#[test]
fn questions_go_to_the_hosts_name_server_and_its_answers_come_from_the_networks_own() {
    let server: SocketAddr = "127.0.0.1:53".parse().unwrap();
    let mut scene = with_nameserver(Some("127.0.0.1:53"));
    let question = frame(4000, NAMESERVER, 53, b"question");
    let asked = Action::Outgoing {
        socket: 0,
        open: true,
        to: server,
        payload: Payload::Frame(b"question"),
    };
    assert_eq!(scene.send(at(0), &question), asked);
    // The same server, but by its other name.
    let question = frame(4000, ADDRESS, 53, b"question");
    let asked = Action::Outgoing {
        socket: 1,
        open: true,
        to: server,
        payload: Payload::Frame(b"question"),
    };
    assert_eq!(scene.send(at(0), &question), asked);

    for (socket, source) in [(0, NAMESERVER), (1, ADDRESS)] {
        let answer = scene.answer(socket, server, b"answer").unwrap();
        assert_eq!(datagram(&answer), (source, 53, 4000, b"answer".to_vec()));
    }
    assert_eq!(scene.answer(0, (REMOTE, 53), b"forged"), None);
    assert_eq!(scene.answer(0, (Ipv4Addr::LOCALHOST, 54), b"forged"), None);
}

#[test]
fn a_name_server_of_the_other_family_is_asked_by_a_socket_of_that() {
    let mut scene = with_nameserver(Some("[2001:db8::53]:53"));
    let question = frame(4000, NAMESERVER, 53, b"question");
    let Action::Outgoing { socket, to, .. } = scene.send(at(0), &question) else { panic!() };
    assert_eq!(to.to_string(), "[2001:db8::53]:53");
    let answer = scene.answer(socket, to, b"answer").unwrap();
    assert_eq!(datagram(&answer), (NAMESERVER, 53, 4000, b"answer".to_vec()));
}

#[test]
fn there_is_nothing_else_at_its_address_and_nothing_without_it() {
    let mut scene = with_nameserver(Some("192.0.2.53:53"));
    assert_eq!(scene.send(at(0), &frame(4000, NAMESERVER, 54, b"")), Action::None);
    assert_eq!(gateway().send(at(0), &frame(4000, NAMESERVER, 53, b"")), Action::None);
}
