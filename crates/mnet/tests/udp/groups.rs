//! What is sent to many: to groups, and to everybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mkernel::{block_on, sleep, timeout};
use mnet::{Drop, Filter, JoinError, RecvError, SendError, Stack, UdpSocket};

use crate::wire::{A, A6, B, B6, meet, pair, pair_v6};
use crate::{LONG, SHORT};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 3);

/// Whether what one host sends to an address gets to another's socket.
async fn hears(sender: &Stack, socket: &UdpSocket, to: impl Into<IpAddr>) -> bool {
    sender.udp().send_from(9, b"to all", (to.into(), socket.local().port)).await.unwrap();
    sleep(SHORT).await;
    match socket.try_recv_datagram() {
        Ok(datagram) => {
            assert_eq!(datagram.payload(), b"to all");
            true
        }
        Err(error) => {
            assert_eq!(error, RecvError::WouldBlock);
            false
        }
    }
}

#[test]
fn a_group_is_heard_from_all_its_sources_or_from_those_that_are_named() {
    block_on(async {
        let (a, b, _cable) = pair_v6().await;
        let socket = b.udp().bind(7).unwrap();
        let stranger: [IpAddr; 2] = [[10, 0, 0, 9].into(), "fd00::9".parse().unwrap()];
        let groups = [(GROUP.into(), A.into()), (GROUP6.into(), A6.into())];
        for ((group, sender), stranger) in groups.into_iter().zip(stranger) {
            let (group, sender): (IpAddr, IpAddr) = (group, sender);
            assert!(!hears(&a, &socket, group).await);
            for (filter, heard) in [
                (Filter::ANY, true),
                (Filter::Exclude(vec![sender]), false),
                (Filter::Exclude(vec![stranger]), true),
                (Filter::Include(vec![stranger]), false),
                (Filter::Include(vec![stranger, sender]), true),
            ] {
                socket.join(group, filter.clone()).unwrap();
                assert_eq!(hears(&a, &socket, group).await, heard, "{group}: {filter:?}");
            }
            assert!(socket.leave(group) && !socket.leave(group));
            assert!(!hears(&a, &socket, group).await);
        }
        // Those of source-specific multicast are joined for named sources (RFC 4607).
        for (group, source) in [("232.1.2.3", IpAddr::from(A)), ("ff35::8000:3", IpAddr::from(A6))]
        {
            let group: IpAddr = group.parse().unwrap();
            assert_eq!(socket.join(group, Filter::ANY), Err(JoinError::SourceSpecific));
            socket.join(group, Filter::Include(vec![source])).unwrap();
            assert!(hears(&a, &socket, group).await, "{group}");
        }
    });
}

#[test]
fn a_membership_is_the_sockets_and_its_clones_and_ends_with_the_last() {
    block_on(async {
        let (a, b, _cable) = pair();
        meet(&a, &b).await;
        let (member, other) = (b.udp().bind(7).unwrap(), b.udp().bind(8).unwrap());
        member.join(GROUP, Filter::ANY).unwrap();
        let clone = member.clone();
        assert!(hears(&a, &clone, GROUP).await);
        // The host is in the group, that socket is not.
        assert!(!hears(&a, &other, GROUP).await);
        assert_eq!(b.stats().dropped[Drop::UdpNotMember], 1);
        drop(member);
        assert!(hears(&a, &clone, GROUP).await);
        drop(clone);
        let next = b.udp().bind(7).unwrap();
        assert!(!hears(&a, &next, GROUP).await);
    });
}

#[test]
fn what_is_no_group_or_no_source_of_one_is_refused() {
    block_on(async {
        let (_a, b, _cable) = pair();
        let socket = b.udp().bind(7).unwrap();
        for none in [IpAddr::from(B), B6.into(), [255; 4].into(), [0; 4].into()] {
            assert_eq!(socket.join(none, Filter::ANY), Err(JoinError::NotMulticast), "{none}");
            assert!(!socket.leave(none));
        }
        for (group, source) in [
            (IpAddr::from(GROUP), IpAddr::from(A6)),
            (GROUP6.into(), A.into()),
            (GROUP.into(), GROUP.into()),
            (GROUP.into(), [0; 4].into()),
            (GROUP6.into(), Ipv6Addr::LOCALHOST.into()),
        ] {
            let refused = socket.join(group, Filter::Include(vec![source]));
            assert_eq!(refused, Err(JoinError::Source), "{group} from {source}");
        }
    });
}

#[test]
fn everybody_is_spoken_to_and_heard_by_sockets_that_may() {
    block_on(async {
        let (a, b, _cable) = pair();
        let (sender, socket) = (a.udp().bind(9).unwrap(), b.udp().bind(7).unwrap());
        for everybody in [Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 0, 0, 255)] {
            let to = (everybody, 7);
            sender.set_broadcast(false);
            socket.set_broadcast(false);
            let refused = Err(SendError::BroadcastNotAllowed);
            assert_eq!(sender.send_to(b"x", to).await, refused);
            assert_eq!(a.udp().send_to(b"x", to).await, refused);
            assert!(!sender.broadcast());
            sender.set_broadcast(true);
            assert!(sender.broadcast());
            let dropped = b.stats().dropped[Drop::UdpBroadcast];
            sender.send_to(b"x", to).await.unwrap();
            sleep(SHORT).await;
            assert_eq!(socket.try_recv(&mut [0; 1]), Err(RecvError::WouldBlock));
            assert_eq!(b.stats().dropped[Drop::UdpBroadcast], dropped + 1);

            socket.set_broadcast(true);
            sender.send_to(b"x", to).await.unwrap();
            let datagram = timeout(LONG, socket.recv_datagram()).await.unwrap().unwrap();
            assert_eq!(datagram.local(), to.into());
            // It is answered from one of the host's own addresses.
            datagram.reply().await.unwrap();
            let answer = timeout(LONG, sender.recv_from(&mut [0; 1])).await.unwrap();
            assert_eq!(answer, Ok((1, (B, 7).into())));
        }
    });
}

#[test]
fn what_goes_to_a_group_stays_on_the_link_unless_asked_otherwise() {
    block_on(async {
        let (a, b, _cable) = pair();
        let (sender, socket) = (a.udp().bind(9).unwrap(), b.udp().bind(7).unwrap());
        socket.join(GROUP, Filter::ANY).unwrap();
        // The hop limit of what goes to one host is another one.
        sender.set_hop_limit(20);
        for hop_limit in [1, 5] {
            sender.send_to(b"x", (GROUP, 7)).await.unwrap();
            let datagram = timeout(LONG, socket.recv_datagram()).await.unwrap().unwrap();
            assert_eq!((datagram.hop_limit(), datagram.local().ip()), (hop_limit, GROUP.into()));
            assert_eq!(sender.multicast_hop_limit(), hop_limit);
            sender.set_multicast_hop_limit(5);
        }
    });
}
