//! Questions to servers, and what comes back.

use alloc::vec::Vec;

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};

use crate::answer::Answer;
use crate::error::ResolveError;

/// Most bytes in an answer: what passes everywhere unfragmented. Servers are told so by EDNS(0)
/// (RFC 6891).
pub const MAX_MESSAGE: usize = 1_232;

const HEADER_LEN: usize = 12;

/// A question, as it is sent to a server.
pub(crate) fn ask(id: u16, query: &Query, with_edns: bool) -> Result<Vec<u8>, ProtoError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    if with_edns {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_MESSAGE as u16);
        message.set_edns(edns);
    }
    message.to_vec()
}

/// What the server that was asked `query` with `id` has said; `None` if this is no answer to that.
pub(crate) fn read(payload: &[u8], id: u16, query: &Query) -> Option<Result<Answer, ResolveError>> {
    // Before all of it is read: how many questions there are is how much memory is set aside.
    let &[id_high, id_low, _, _, 0, 1, ..] = payload else { return None };
    if [id_high, id_low] != id.to_be_bytes() || !(HEADER_LEN..=MAX_MESSAGE).contains(&payload.len())
    {
        return None;
    }
    let message = Message::from_vec(payload).ok()?;
    let expected = message.metadata.message_type == MessageType::Response
        && message.metadata.op_code == OpCode::Query
        && message.queries == [query.clone()];
    if !expected {
        return None;
    }
    Some(match message.metadata.response_code {
        _ if message.metadata.truncation => Err(ResolveError::Truncated),
        ResponseCode::NoError | ResponseCode::NXDomain => Answer::extract(query, message),
        code => Err(ResolveError::Failed(code)),
    })
}

/// Whether a server may answer the same question without EDNS (RFC 6891 §7).
pub(crate) fn is_without_edns(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::FormErr | ResponseCode::NotImp)
}
