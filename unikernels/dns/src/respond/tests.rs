#![allow(clippy::unwrap_used, reason = "they are tests")]

use hickory_proto::op::Query;
use hickory_proto::rr::Name;
use proptest::prelude::*;

use super::*;

fn zone() -> Zone {
    let mut text = String::from(include_str!("../example.zone"));
    for number in 0..40 {
        text.push_str(&format!("big.example. 300 AAAA 2001:db8::{number:x}\n"));
    }
    Zone::parse(&text).unwrap()
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut query = Message::new(0x1234, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    query
}

fn ask(query: &Message, room: u16) -> Message {
    let bytes = respond(&zone(), &query.to_vec().unwrap(), room).unwrap();
    assert!(bytes.len() <= room.into());
    Message::from_vec(&bytes).unwrap()
}

#[test]
fn a_response_is_the_querys() {
    let response = ask(&query("WwW.example.", RecordType::A), MOST);
    let metadata = response.metadata;
    assert_eq!((metadata.id, metadata.message_type), (0x1234, MessageType::Response));
    assert!(metadata.authoritative && metadata.recursion_desired && !metadata.recursion_available);
    assert_eq!(metadata.response_code, ResponseCode::NoError);
    assert_eq!(response.queries[0].name().to_ascii(), "WwW.example.");
    assert_eq!((response.answers.len(), response.edns), (1, None));
}

#[test]
fn what_is_not_there_or_not_ours_is_told_by_a_code() {
    let code = |name, kind| ask(&query(name, kind), MOST).metadata.response_code;
    assert_eq!(code("nonesuch.example.", RecordType::A), ResponseCode::NXDomain);
    assert_eq!(code("www.example.", RecordType::MX), ResponseCode::NoError);
    assert_eq!(code("www.test.", RecordType::A), ResponseCode::Refused);
    assert_eq!(code("example.", RecordType::AXFR), ResponseCode::Refused);
    let mut update = query("example.", RecordType::SOA);
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(ask(&update, MOST).metadata.response_code, ResponseCode::NotImp);
    let mut chaos = query("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(ask(&chaos, MOST).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn what_is_too_long_is_cut_off_and_says_so() {
    let plain = ask(&query("big.example.", RecordType::AAAA), MOST);
    assert!(plain.metadata.truncation && plain.answers.is_empty());
    let mut larger = query("big.example.", RecordType::AAAA);
    larger.set_edns({
        let mut edns = Edns::new();
        edns.set_max_payload(4_096);
        edns
    });
    let whole = ask(&larger, MOST);
    assert!(!whole.metadata.truncation);
    assert_eq!((whole.answers.len(), whole.edns.unwrap().max_payload()), (40, MOST));
    // Less passes on the way there.
    let narrow = ask(&larger, 1_000);
    assert!(narrow.metadata.truncation && narrow.edns.is_some());
}

#[test]
fn a_later_version_of_edns_is_not_spoken_here() {
    let mut later = query("www.example.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    later.set_edns(edns);
    let response = ask(&later, MOST);
    // The code is that of a bad signature, too.
    assert_eq!(u16::from(response.metadata.response_code), u16::from(ResponseCode::BADVERS));
    assert!(response.answers.is_empty());
}

#[test]
fn what_is_no_query_is_passed_over_or_told_so() {
    let zone = zone();
    let bytes = query("www.example.", RecordType::A).to_vec().unwrap();
    for length in 0..HEADER_LEN {
        assert_eq!(respond(&zone, &bytes[..length], MOST), None);
    }
    for length in HEADER_LEN..bytes.len() {
        let response = Message::from_vec(&respond(&zone, &bytes[..length], MOST).unwrap()).unwrap();
        assert_eq!(response.metadata.response_code, ResponseCode::FormErr);
        assert_eq!((response.metadata.id, response.queries.len()), (0x1234, 0));
    }
    let mut answer = bytes.clone();
    answer[2] |= RESPONSE;
    assert_eq!(respond(&zone, &answer, MOST), None);
    let mut many = bytes.clone();
    many[4] = 0xff;
    let response = Message::from_vec(&respond(&zone, &many, MOST).unwrap()).unwrap();
    assert_eq!(response.metadata.response_code, ResponseCode::FormErr);
    // A name that points to itself.
    let round = [&bytes[..HEADER_LEN], &[0xc0, 12, 0, 1, 0, 1]].concat();
    let response = Message::from_vec(&respond(&zone, &round, MOST).unwrap()).unwrap();
    assert_eq!(response.metadata.response_code, ResponseCode::FormErr);
}

proptest! {
    #[test]
    fn whatever_comes_is_answered_with_little_or_not_at_all(
        mut message: Vec<u8>, change: (usize, u8), random: bool,
    ) {
        if !random {
            message = query("web.example.", RecordType::A).to_vec().unwrap();
            let at = change.0 % message.len();
            message[at] = change.1;
        }
        if let Some(response) = respond(&zone(), &message, MOST) {
            prop_assert!(message.len() >= HEADER_LEN && response.len() <= PLAIN.into());
        }
    }
}
