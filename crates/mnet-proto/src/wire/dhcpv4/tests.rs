use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr};

use super::*;

const XID: u32 = 0x1234_5678;
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn address() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits)
}

fn addresses() -> impl Strategy<Value = Vec<Ipv4Addr>> {
    vec(address(), 0..=MAX_ADDRESSES)
}

fn text() -> impl Strategy<Value = Option<String>> {
    of(vec(b' '..=b'~', 1..=255).prop_map(|text| String::from_utf8(text).unwrap()))
}

fn route() -> impl Strategy<Value = (Ipv4Cidr, Ipv4Addr)> {
    (any::<u32>(), 0u8..=32, address()).prop_map(|(bits, len, router)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
        (Ipv4Cidr::new(Ipv4Addr::from_bits(bits & mask), len).unwrap(), router)
    })
}

prop_compose! {
    fn message()(
        kind in 1u8..=8, xid: u32, secs: u16, broadcast: bool, chaddr: [u8; 6],
        (ciaddr, yiaddr, siaddr, giaddr) in (address(), address(), address(), address()),
        (subnet_mask, requested_address, server_id) in (of(address()), of(address()), of(address())),
        (routers, dns_servers, ntp_servers) in (addresses(), addresses(), addresses()),
        (host_name, domain_name, text) in (text(), text(), text()),
        classless_routes in vec(route(), 0..=MAX_ROUTES),
        (lease_time, renewal_time, rebinding_time) in any::<(Option<u32>, Option<u32>, Option<u32>)>(),
        (mtu, max_message_size) in any::<(Option<u16>, Option<u16>)>(),
        parameter_list in vec(any::<u8>(), 0..600),
        client_id in vec(any::<u8>(), 2..600),
    ) -> Message {
        Message {
            kind: Kind::parse(kind).unwrap(), xid, secs, broadcast, chaddr: Mac(chaddr),
            ciaddr, yiaddr, siaddr, giaddr, subnet_mask, requested_address, server_id,
            routers, dns_servers, ntp_servers, host_name, domain_name, text, classless_routes,
            lease_time, renewal_time, rebinding_time, mtu, max_message_size, parameter_list,
            client_id,
        }
    }
}

/// An offer with nothing but these options behind its kind.
fn offer_with(options: &[u8]) -> Vec<u8> {
    let mut bytes = Message::new(Kind::Offer, XID, MAC).emit();
    bytes.truncate(243);
    bytes.extend_from_slice(options);
    bytes
}

fn parse_options(options: &[u8]) -> Result<Message, Malformed> {
    Message::parse(&offer_with(options))
}

#[test]
fn a_message_is_as_long_as_bootp_asks_and_its_fixed_part_is_where_the_figure_has_it() {
    let mut message = Message::new(Kind::Discover, XID, MAC);
    message.secs = 0x0102;
    message.broadcast = true;
    message.giaddr = Ipv4Addr::new(10, 0, 0, 9);
    let bytes = message.emit();
    assert_eq!(bytes.len(), 300);
    assert_eq!(bytes[..12], [1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78, 1, 2, 0x80, 0]);
    assert_eq!(bytes[24..34], [10, 0, 0, 9, 2, 0, 0, 0, 0, 1]);
    assert_eq!(bytes[236..245], [0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255, 0]);
}

#[test]
fn a_message_of_another_medium_without_cookie_kind_or_end_of_an_option_is_malformed() {
    let good = Message::new(Kind::Offer, XID, MAC).emit();
    assert!(Message::parse(&good).is_ok());
    // op, htype, hlen, cookie, message type
    for (index, value) in [(0, 1), (0, 3), (1, 6), (2, 16), (239, 0), (240, 0), (242, 0), (242, 9)]
    {
        let mut bad = good.clone();
        bad[index] = value;
        assert_eq!(Message::parse(&bad), Err(Malformed), "{value} at {index}");
    }
    for len in 0..243 {
        assert_eq!(Message::parse(&good[..len]), Err(Malformed), "{len}");
    }
    assert!(Message::parse(&good[..243]).is_ok(), "an end option is not missed");
}

#[test]
fn an_option_of_the_wrong_length_is_malformed() {
    let lengths: [(u8, &[usize]); 17] = [
        (options::SUBNET_MASK, &[4]),
        (options::ROUTERS, &[0, 4, 8]),
        (options::DNS_SERVERS, &[0, 4, 8]),
        (options::MTU, &[2]),
        (options::NTP_SERVERS, &[0, 4, 8]),
        (options::REQUESTED_ADDRESS, &[4]),
        (options::LEASE_TIME, &[4]),
        (options::SERVER_ID, &[4]),
        (options::MAX_MESSAGE_SIZE, &[2]),
        (options::RENEWAL_TIME, &[4]),
        (options::REBINDING_TIME, &[4]),
        (options::CLIENT_ID, &[0, 2, 3, 4, 5, 6, 7, 8]),
        // Zeros are default routes, of five bytes each.
        (options::CLASSLESS_ROUTES, &[0, 5]),
        (options::HOST_NAME, &[0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (options::DOMAIN_NAME, &[0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (options::TEXT, &[0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (options::PARAMETER_LIST, &[0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ];
    for (code, good) in lengths {
        for len in 0..=8 {
            let mut option = vec![code, len as u8];
            option.resize(2 + len, 0);
            assert_eq!(parse_options(&option).is_ok(), good.contains(&len), "{code} of {len}");
            if len > 0 {
                option.pop();
                assert_eq!(parse_options(&option), Err(Malformed), "{code} of {len} is cut short");
            }
        }
    }
}

#[test]
fn options_are_taken_from_file_and_sname_if_overloaded_and_only_then() {
    for (overload, expected) in [(0, "a"), (1, "af"), (2, "as"), (3, "afs")] {
        let options = [12, 1, b'a', options::OVERLOAD, 1, overload, 255];
        let mut bytes = offer_with(if overload == 0 { &options[..3] } else { &options });
        bytes[108..112].copy_from_slice(&[12, 1, b'f', 255]);
        bytes[44..47].copy_from_slice(&[12, 1, b's']);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.host_name.as_deref(), Some(expected), "{overload}");
    }
    assert_eq!(parse_options(&[options::OVERLOAD, 1, 4]), Err(Malformed));
    assert_eq!(parse_options(&[options::OVERLOAD, 1, 0]), Err(Malformed));
    // An option does not go on from one field to the next.
    let mut bytes = offer_with(&[options::OVERLOAD, 1, 1]);
    bytes[234..236].copy_from_slice(&[12, 10]);
    assert_eq!(Message::parse(&bytes), Err(Malformed));
}

#[test]
fn parts_of_an_option_are_joined_and_of_a_fixed_one_the_first_counts() {
    // The first server's address is cut in two (RFC 3396).
    let message = parse_options(&[6, 3, 1, 2, 3, 0, 12, 1, b'h', 6, 5, 4, 5, 6, 7, 8]).unwrap();
    assert_eq!(message.dns_servers, [Ipv4Addr::new(1, 2, 3, 4), Ipv4Addr::new(5, 6, 7, 8)]);
    let message = parse_options(&[51, 4, 0, 0, 0, 1, 51, 4, 0, 0, 0, 2]).unwrap();
    assert_eq!(message.lease_time, Some(1));
    assert_eq!(parse_options(&[6, 3, 1, 2, 3]), Err(Malformed));
}

#[test]
fn of_long_lists_the_first_are_kept() {
    let mut message = Message::new(Kind::Ack, XID, MAC);
    message.dns_servers = (1..=200).map(Ipv4Addr::from_bits).collect();
    let default = Ipv4Cidr::new(Ipv4Addr::UNSPECIFIED, 0).unwrap();
    message.classless_routes =
        message.dns_servers.iter().map(|&router| (default, router)).collect();
    let parsed = Message::parse(&message.emit()).unwrap();
    assert_eq!(parsed.dns_servers, message.dns_servers[..MAX_ADDRESSES]);
    assert_eq!(parsed.classless_routes, message.classless_routes[..MAX_ROUTES]);
}

#[test]
fn the_example_of_rfc_3442_reads_as_there_and_stray_bits_are_cleared() {
    // 10.17.0.0/16 and 10.27.129.0/24 by 10.0.0.1, 10.229.0.128/25, 10.198.122.47/32, everything.
    let value = [
        16, 10, 17, 10, 0, 0, 1, 24, 10, 27, 129, 10, 0, 0, 1, 25, 10, 229, 0, 129, 0, 0, 0, 0, 32,
        10, 198, 122, 47, 10, 0, 0, 2, 0, 10, 0, 0, 3,
    ];
    let mut option = vec![121, value.len() as u8];
    option.extend_from_slice(&value);
    let routes: Vec<_> = parse_options(&option)
        .unwrap()
        .classless_routes
        .iter()
        .map(|(destination, router)| format!("{destination} {router}"))
        .collect();
    let expected = [
        "10.17.0.0/16 10.0.0.1",
        "10.27.129.0/24 10.0.0.1",
        "10.229.0.128/25 0.0.0.0",
        "10.198.122.47/32 10.0.0.2",
        "0.0.0.0/0 10.0.0.3",
    ];
    assert_eq!(routes, expected);
    assert_eq!(parse_options(&[121, 10, 33, 1, 2, 3, 4, 5, 10, 0, 0, 1]), Err(Malformed));
}

#[test]
fn text_is_what_can_be_printed_without_zeros_at_its_end() {
    let name = |value: &[u8]| {
        let mut option = vec![15, value.len() as u8];
        option.extend_from_slice(value);
        parse_options(&option).unwrap().domain_name
    };
    assert_eq!(name(b"example.org\0\0").as_deref(), Some("example.org"));
    for nothing in [&b""[..], b"\0", b"a\0b", b"a\x1b[2J", b"a\n", b"\xff\xfe", "ö".as_bytes()] {
        assert_eq!(name(nothing), None, "{nothing:?}");
    }
}

#[test]
fn a_reply_repeats_what_the_client_goes_by() {
    let server = Ipv4Addr::new(10, 0, 0, 1);
    let mut request = Message::new(Kind::Request, XID, MAC);
    request.broadcast = true;
    request.secs = 7;
    request.ciaddr = Ipv4Addr::new(10, 0, 0, 5);
    request.giaddr = Ipv4Addr::new(10, 0, 0, 2);
    request.client_id = vec![1, 2, 3];
    request.requested_address = Some(request.ciaddr);
    let reply = request.reply(Kind::Ack, server);
    let mut expected = Message::new(Kind::Ack, XID, MAC);
    expected.broadcast = true;
    expected.ciaddr = request.ciaddr;
    expected.giaddr = request.giaddr;
    expected.client_id = vec![1, 2, 3];
    expected.server_id = Some(server);
    assert_eq!(reply, expected);
    assert_eq!(request.reply(Kind::Nak, server).ciaddr, Ipv4Addr::UNSPECIFIED);
}

/// What smoltcp keeps of a message, when there is at most one router, and three name servers.
fn as_smoltcp(message: &Message) -> DhcpRepr<'_> {
    DhcpRepr {
        message_type: DhcpMessageType::from(message.kind as u8),
        transaction_id: message.xid,
        secs: message.secs,
        client_hardware_address: smoltcp::wire::EthernetAddress(message.chaddr.0),
        client_ip: message.ciaddr,
        your_ip: message.yiaddr,
        server_ip: message.siaddr,
        router: message.routers.first().copied(),
        subnet_mask: message.subnet_mask,
        relay_agent_ip: message.giaddr,
        broadcast: message.broadcast,
        requested_ip: message.requested_address,
        client_identifier: message
            .client_id
            .get(1..7)
            .map(smoltcp::wire::EthernetAddress::from_bytes),
        server_identifier: message.server_id,
        parameter_request_list: Some(&message.parameter_list[..]).filter(|list| !list.is_empty()),
        dns_servers: (!message.dns_servers.is_empty())
            .then(|| message.dns_servers.iter().copied().collect()),
        max_size: message.max_message_size,
        lease_duration: message.lease_time,
        renew_duration: message.renewal_time,
        rebind_duration: message.rebinding_time,
        additional_options: &[],
    }
}

/// `message` with nothing in it that smoltcp does not know, or knows otherwise.
fn within_smoltcp(mut message: Message, id: [u8; 6]) -> Message {
    message.routers.truncate(1);
    message.dns_servers.truncate(3);
    message.parameter_list.truncate(255);
    message.client_id = [&[1][..], &id].concat();
    message
}

proptest! {
    #[test]
    fn what_is_emitted_is_what_is_parsed(message in message()) {
        prop_assert_eq!(Message::parse(&message.emit()), Ok(message));
    }

    #[test]
    fn smoltcp_reads_what_is_emitted(message in message(), id: [u8; 6]) {
        let message = within_smoltcp(message, id);
        let bytes = message.emit();
        let packet = DhcpPacket::new_checked(&bytes[..]).unwrap();
        prop_assert_eq!(DhcpRepr::parse(&packet), Ok(as_smoltcp(&message)));
    }

    #[test]
    fn what_smoltcp_emits_is_parsed(message in message(), id: [u8; 6]) {
        let message = within_smoltcp(message, id);
        // It does not emit these two.
        let message = Message { renewal_time: None, rebinding_time: None, ..message };
        let repr = as_smoltcp(&message);
        let mut bytes = vec![0; repr.buffer_len()];
        repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])).unwrap();
        let parsed = Message::parse(&bytes).unwrap();
        prop_assert_eq!(as_smoltcp(&parsed), repr);
    }

    #[test]
    fn any_bytes_parse_or_do_not_and_what_is_kept_is_bounded(
        options in vec(any::<u8>(), 0..2_000), file: [u8; 32], overload in 0u8..4,
    ) {
        let mut bytes = offer_with(&[]);
        bytes.extend_from_slice(&[options::OVERLOAD, 1, overload]);
        bytes[108..140].copy_from_slice(&file);
        bytes.extend_from_slice(&options);
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert!(message.routers.len() <= MAX_ADDRESSES);
            prop_assert!(message.dns_servers.len() <= MAX_ADDRESSES);
            prop_assert!(message.ntp_servers.len() <= MAX_ADDRESSES);
            prop_assert!(message.classless_routes.len() <= MAX_ROUTES);
            prop_assert_eq!(Message::parse(&message.emit()), Ok(message));
        }
        let _ = Message::parse(&options);
    }

    /// Options that are whole, so that more of them get through.
    #[test]
    fn whole_options_of_any_content_parse_or_do_not(
        options in vec((any::<u8>(), vec(any::<u8>(), 0..40)), 0..40),
    ) {
        let mut bytes = offer_with(&[]);
        for (code, value) in options {
            bytes.extend_from_slice(&[code, value.len() as u8]);
            bytes.extend_from_slice(&value);
        }
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert_eq!(Message::parse(&message.emit()), Ok(message));
        }
    }
}
