//! What really passes on a link with all of a [`Scene`]'s hosts, to be made noise of.

use std::cell::RefCell;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use netdev::Mac;

use crate::craft;
use crate::scene::{GROUPS, LEASED, ROUND, Scene};

/// What has been captured of a link.
#[derive(Clone, Default)]
struct Captured(Rc<RefCell<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The frames of all kinds that pass on such a link.
pub(crate) fn corpus(seed: u64) -> Vec<Vec<u8>> {
    let captured = Captured::default();
    let mut scene = Scene::captured(seed, captured.clone());
    let [a, b] = scene.talkers;
    for _ in 0..16 {
        scene.talk(ROUND);
    }
    let far = scene.addresses_of(scene.far);
    let other = scene.addresses_of(scene.other);
    let global = |all: Vec<Ipv6Addr>| *all.iter().find(|all| !all.is_unicast_link_local()).unwrap();
    let (far_v6, other_v6) = (global(far.1), global(other.1));
    scene.net.router_mut(scene.router).set_redirects(true);
    let router_v6 = scene.net.router_mut(scene.router).link_local(scene.lan).unwrap();
    // So that the router tells of a better way.
    for (address, gateway) in
        [(IpAddr::V4(LEASED), IpAddr::from([10, 0, 0, 1])), (other_v6.into(), router_v6.into())]
    {
        let len = if address.is_ipv4() { 32 } else { 128 };
        let cidr = format!("{address}/{len}").parse().unwrap();
        scene.net.stack_mut(a).add_route(cidr, Some(gateway)).unwrap();
    }
    let nobody: [IpAddr; 2] = ["10.0.0.99".parse().unwrap(), "fd00:0:0:1::99".parse().unwrap()];
    let nowhere: [IpAddr; 2] = ["203.0.113.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    for to in [far.0[0].into(), far_v6.into(), LEASED.into(), other_v6.into()]
        .into_iter()
        .chain(nobody)
        .chain(nowhere)
        .chain(scene.addresses[1])
        .chain([GROUPS.0.into(), GROUPS.1.into()])
    {
        for len in [10, 1_400, 3_000] {
            scene.send(a, to, len, None);
            scene.run(ROUND * 10);
        }
        scene.send(a, to, 10, Some(1));
        scene.run(Duration::from_secs(4));
    }
    let strangers: [IpAddr; 2] = ["10.0.0.9".parse().unwrap(), "fd00:0:0:1::9".parse().unwrap()];
    for host in [a, b] {
        let (end, mac) = (usize::from(host == b), scene.net.mac(host));
        for (family, stranger) in strangers.into_iter().enumerate() {
            let ends = (stranger, scene.addresses[end][family]);
            let mut frames = vec![
                craft::ping(mac, ends, 56),
                craft::ping(mac, ends, 1_400),
                craft::udp(mac, ends, (9, 7), b"to a port"),
                craft::udp(mac, ends, (9, 99), b"to a port on which nobody listens"),
                craft::fragment(mac, ends, 77, 0, &[1; 64]),
                craft::fragment(mac, ends, 77, 64, &[2; 64]),
                craft::fragment(mac, ends, 78, 1_024, &[2; 1_024]),
                craft::datagram(mac, ends, 200, 64, |packet| craft::append(packet, &[0; 40])),
            ];
            if family == 0 {
                let everybody = IpAddr::from([10, 0, 0, 255]);
                frames.push(craft::udp(Mac::BROADCAST, (stranger, everybody), (9, 7), b"all"));
                frames.push(craft::source_routed(mac, ends));
            }
            if family == 1 {
                // Options that may be passed over, and ones that may not; routing; and fragments
                // that are the whole (RFC 8200 §4.2, §4.4, RFC 6946).
                for (kind, body) in [
                    (0, [0x1e, 4, 0, 0, 0, 0]),
                    (0, [0x9e, 4, 0, 0, 0, 0]),
                    (60, [0xde, 4, 0, 0, 0, 0]),
                    (43, [0, 0, 0, 0, 0, 0]),
                    (43, [0, 1, 0, 0, 0, 0]),
                    (44, [0, 0, 0, 0, 0, 5]),
                    (59, [0, 0, 0, 0, 0, 0]),
                ] {
                    frames.push(craft::extended(mac, ends, kind, body));
                }
            }
            for frame in frames {
                scene.net.inject(scene.lan, &frame);
                scene.run(ROUND);
            }
        }
    }
    for query in craft::queries(Ipv4Addr::new(10, 0, 0, 1), router_v6, GROUPS) {
        scene.net.inject(scene.lan, &query);
        scene.run(Duration::from_secs(1));
    }
    // Until what is not whole is given up.
    scene.run(Duration::from_secs(70));
    scene.net.finish_captures().unwrap();
    let capture = captured.0.take();
    let (mut frames, mut at) = (Vec::new(), 24);
    while let Some(&len) = capture.get(at + 8..).and_then(|record| record.first_chunk()) {
        let end = at + 16 + u32::from_le_bytes(len) as usize;
        frames.push(capture[at + 16..end].to_vec());
        at = end;
    }
    frames
}
