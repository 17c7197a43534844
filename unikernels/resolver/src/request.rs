//! What clients ask, and the messages that answer them.

use alloc::vec::Vec;

use mnet_resolve::wire::op::{Edns, Message, MessageType, Metadata, OpCode};
use mnet_resolve::wire::rr::DNSClass;
use mnet_resolve::{Answer, MAX_MESSAGE, Query, RecordType, ResolveError, ResponseCode};

/// Most bytes that a client takes who does not say more (RFC 1035 §4.2.1).
const LEAST: u16 = 512;

/// A question of a client.
pub(crate) struct Request {
    metadata: Metadata,
    query: Query,
    // How many bytes the client takes, if it speaks EDNS(0).
    edns: Option<u16>,
}

/// What becomes of what is no question that can be answered.
pub(crate) enum Refusal {
    /// It is no question at all. An answer could be answered again, without an end.
    Silence,
    /// It is answered with this.
    Reply(Vec<u8>),
}

impl Request {
    /// Reads what a client has sent.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, Refusal> {
        let &[id_high, id_low, flags, _, questions_high, questions_low, ..] = payload else {
            return Err(Refusal::Silence);
        };
        if payload.len() < 12 || flags & 0x80 != 0 {
            return Err(Refusal::Silence);
        }
        let op_code = OpCode::from_u8(flags >> 3 & 0xf);
        let refuse = |code| {
            let id = u16::from_be_bytes([id_high, id_low]);
            encode(&Message::error_msg(id, op_code, code)).map_or(Refusal::Silence, Refusal::Reply)
        };
        if op_code != OpCode::Query {
            return Err(refuse(ResponseCode::NotImp));
        }
        // Before all of it is read: how many questions there are is how much memory is set aside.
        if [questions_high, questions_low] != [0, 1] {
            return Err(refuse(ResponseCode::FormErr));
        }
        let mut message = Message::from_vec(payload).map_err(|_| refuse(ResponseCode::FormErr))?;
        let edns = message.edns.as_ref().map(Edns::max_payload);
        let unknown_edns = message.edns.as_ref().is_some_and(|edns| edns.version() != 0);
        let query = message.queries.pop().ok_or(Refusal::Silence)?;
        let request = Self { metadata: message.metadata, query, edns };
        let code = if unknown_edns {
            ResponseCode::BADVERS
        } else if request.query.query_class != DNSClass::IN || !request.metadata.recursion_desired {
            // What others have asked for is nobody's business.
            ResponseCode::Refused
        } else if is_answerable(request.query.query_type) {
            return Ok(request);
        } else {
            ResponseCode::NotImp
        };
        Err(request.reply(code).map_or(Refusal::Silence, Refusal::Reply))
    }

    /// What it asks.
    pub(crate) fn query(&self) -> &Query {
        &self.query
    }

    /// The message that answers it; what does not fit is only said to be there (TC).
    pub(crate) fn answer(&self, answer: &Result<Answer, ResolveError>) -> Option<Vec<u8>> {
        let mut message = self.message(ResponseCode::NoError);
        match answer {
            Ok(answer) => {
                message.metadata.response_code = answer.code();
                message.answers = answer.records().to_vec();
                message.authorities.extend(answer.authority().cloned());
            }
            Err(ResolveError::Truncated) => message.metadata.truncation = true,
            Err(_) => message.metadata.response_code = ResponseCode::ServFail,
        }
        let limit = self.edns.unwrap_or(LEAST).max(LEAST).into();
        let encoded = encode(&message)?;
        if encoded.len() <= MAX_MESSAGE.min(limit) {
            return Some(encoded);
        }
        message.answers.clear();
        message.authorities.clear();
        message.metadata.truncation = true;
        encode(&message)
    }

    /// The message that answers it with a code alone.
    pub(crate) fn reply(&self, code: ResponseCode) -> Option<Vec<u8>> {
        encode(&self.message(code))
    }

    fn message(&self, code: ResponseCode) -> Message {
        let mut message =
            Message::new(self.metadata.id, MessageType::Response, self.metadata.op_code);
        message.metadata = Metadata::response_from_request(&self.metadata);
        message.metadata.recursion_available = true;
        message.metadata.response_code = code;
        message.add_query(self.query.clone());
        if self.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_MESSAGE as u16);
            message.set_edns(edns);
        }
        message
    }
}

fn encode(message: &Message) -> Option<Vec<u8>> {
    message.to_vec().ok()
}

/// Whether a type can be asked for in a datagram and handed on. Those from 128 to 254 mean other
/// things than records, and the records of 3, 4, 7 to 9 and 14, which nobody uses, may have names in
/// them that mean nothing outside of their message.
fn is_answerable(kind: RecordType) -> bool {
    let other = matches!(u16::from(kind), 0 | 3 | 4 | 7..=9 | 14 | 41 | 128..=254);
    !other
}
