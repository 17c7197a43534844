//! From a query to the response (RFC 1035 §4, RFC 6891).

use alloc::vec::Vec;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use crate::zone::Zone;

/// Most bytes in a message to who does not say how many it can take (RFC 1035 §4.2.1).
const PLAIN: u16 = 512;
/// Most bytes in any: what passes everywhere unfragmented.
const MOST: u16 = 1_232;
const HEADER_LEN: usize = 12;
const RESPONSE: u8 = 0x80;

/// The response to a message, of at most `room` bytes; `None` if it is not to be answered.
pub(crate) fn respond(zone: &Zone, message: &[u8], room: u16) -> Option<Vec<u8>> {
    let header: &[u8; HEADER_LEN] = message.first_chunk()?;
    if header[2] & RESPONSE != 0 {
        return None;
    }
    let id = u16::from_be_bytes([header[0], header[1]]);
    // Before more of it is read: how many records it claims to have is how much memory is set aside.
    let [questions, answers, authorities, additionals] =
        [4, 6, 8, 10].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
    let plausible = questions == 1 && answers == 0 && authorities == 0 && additionals <= 2;
    let query = Message::from_vec(message).ok().filter(|_| plausible);
    let Some(query) = query else {
        let op_code = OpCode::from_u8(header[2] >> 3 & 0xf);
        let code =
            if op_code == OpCode::Query { ResponseCode::FormErr } else { ResponseCode::NotImp };
        return Message::error_msg(id, op_code, code).to_vec().ok();
    };
    let mut response = Message::new(id, MessageType::Response, query.metadata.op_code);
    response.metadata = Metadata::response_from_request(&query.metadata);
    response.metadata.recursion_available = false;
    response.add_queries(query.queries.iter().cloned());
    let mut most = PLAIN;
    if let Some(theirs) = &query.edns {
        most = theirs.max_payload().clamp(PLAIN, MOST);
        let mut ours = Edns::new();
        ours.set_max_payload(MOST).set_dnssec_ok(theirs.flags().dnssec_ok);
        response.set_edns(ours);
    }
    let version = query.edns.as_ref().map_or(0, Edns::version);
    response.metadata.response_code = match query.metadata.op_code {
        _ if version > 0 => ResponseCode::BADVERS,
        OpCode::Query => answer(zone, &query, &mut response),
        _ => ResponseCode::NotImp,
    };
    encode(response, most.min(room))
}

/// Adds what the zone says.
fn answer(zone: &Zone, query: &Message, response: &mut Message) -> ResponseCode {
    let Some(question) = query.queries.first() else { return ResponseCode::FormErr };
    let transfer = matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR);
    if question.query_class() != DNSClass::IN || transfer {
        return ResponseCode::Refused;
    }
    let answer = zone.answer(question.name(), question.query_type());
    if answer.refused {
        return ResponseCode::Refused;
    }
    response.metadata.authoritative = !answer.referral;
    response.insert_answers(answer.answers);
    response.insert_authorities(answer.authorities);
    response.insert_additionals(answer.additionals);
    if answer.no_such_name { ResponseCode::NXDomain } else { ResponseCode::NoError }
}

/// Encodes a message of at most `most` bytes. What is only added goes first; if that is not enough,
/// all goes, and it is said so (RFC 2181 §9).
fn encode(mut message: Message, most: u16) -> Option<Vec<u8>> {
    let fits = |bytes: &Vec<u8>| bytes.len() <= most.into();
    let bytes = to_vec(&message)?;
    if fits(&bytes) {
        return Some(bytes);
    }
    if message.answers.is_empty() {
        // Of a referral the addresses are what matters.
        return to_vec(&message.truncate()).filter(fits);
    }
    message.additionals.clear();
    to_vec(&message).filter(fits).or_else(|| to_vec(&message.truncate()).filter(fits))
}

fn to_vec(message: &Message) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(PLAIN.into());
    message.emit(&mut BinEncoder::new(&mut bytes)).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests;
