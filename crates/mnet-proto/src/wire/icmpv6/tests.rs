use etherparse::{Icmpv6Slice, Icmpv6Type};
use netdev::Pool;
use proptest::prelude::*;
use smoltcp::wire::Icmpv6Packet;

use super::*;

const A: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const B: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

proptest! {
    #[test]
    fn what_is_emitted_is_what_is_parsed_here_and_by_others(
        rest: [u8; 4], source: [u8; 16], destination: [u8; 16],
        payload in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let (source, destination) = (Ipv6Addr::from(source), Ipv6Addr::from(destination));
        let mut packet = Pool::new(1, 300).take().unwrap();
        packet.append(payload.len()).unwrap().copy_from_slice(&payload);
        prop_assert!(Header::emit(&mut packet, ECHO_REPLY, 0, rest, source, destination));

        let header = Header::parse(packet.bytes(), source, destination).unwrap();
        prop_assert_eq!((header.kind, header.code, header.rest), (ECHO_REPLY, 0, rest));

        let theirs = Icmpv6Slice::from_slice(packet.bytes()).unwrap();
        prop_assert!(theirs.is_checksum_valid(source.octets(), destination.octets()));
        let Icmpv6Type::EchoReply(echo) = theirs.icmp_type() else { panic!("no echo reply") };
        prop_assert_eq!(echo.to_bytes(), rest);
        prop_assert_eq!(theirs.payload(), &payload[..]);

        let theirs = Icmpv6Packet::new_checked(packet.bytes()).unwrap();
        prop_assert!(theirs.verify_checksum(&source, &destination));
        prop_assert_eq!(theirs.echo_ident().to_be_bytes(), &rest[..2]);
        prop_assert_eq!(theirs.echo_seq_no().to_be_bytes(), &rest[2..]);
    }

    #[test]
    fn a_changed_bit_is_noticed(rest: [u8; 4], bit in 0usize..64) {
        let mut packet = Pool::new(1, 300).take().unwrap();
        prop_assert!(Header::emit(&mut packet, ECHO_REQUEST, 0, rest, A, B));
        packet.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Header::parse(packet.bytes(), A, B).is_none());
    }

    #[test]
    fn any_bytes_parse_or_do_not(bytes: Vec<u8>) {
        let valid = Icmpv6Slice::from_slice(&bytes)
            .is_ok_and(|theirs| theirs.is_checksum_valid(A.octets(), B.octets()));
        prop_assert_eq!(Header::parse(&bytes, A, B).is_some(), valid);
    }
}

#[test]
fn a_message_is_for_its_addresses_and_whole() {
    let mut packet = Pool::new(1, 300).take().unwrap();
    packet.append(2).unwrap().fill(0);
    assert!(Header::emit(&mut packet, ECHO_REQUEST, 0, [0; 4], A, B));
    assert!(Header::parse(packet.bytes(), A, B).is_some());
    assert!(Header::parse(packet.bytes(), A, A).is_none(), "of another destination");
    assert!(Header::parse(&packet.bytes()[..8], A, B).is_none(), "zeros at the end cut off");
    assert!(Header::parse(&packet.bytes()[..7], A, B).is_none(), "cut short");
}

#[test]
fn there_is_no_header_without_headroom() {
    let mut packet = Pool::new(1, 300).take().unwrap();
    let headroom = packet.headroom();
    packet.prepend(headroom - HEADER_LEN + 1).unwrap();
    assert!(!Header::emit(&mut packet, ECHO_REQUEST, 0, [0; 4], A, B));
}
