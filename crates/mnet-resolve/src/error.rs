use core::time::Duration;

use hickory_proto::op::ResponseCode;
use mnet::{BindError, RecvError, SendError};
use thiserror::Error;

/// Why a name was not looked up, or what there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// It is no domain name: a label has more than 63 bytes, or the name more than 255, or there is
    /// a character that is not ASCII.
    #[error("Not a domain name")]
    NotAName,
    /// Nobody has said which servers to ask.
    #[error("No DNS server is known")]
    NoServers,
    /// There is no such name (NXDOMAIN).
    #[error("No such name")]
    NotFound {
        /// How long that may be believed (RFC 2308 §5).
        lifetime: Duration,
    },
    /// The name has no record of that type.
    #[error("The name has no such record")]
    NoRecords {
        /// How long that may be believed (RFC 2308 §5).
        lifetime: Duration,
    },
    /// The answer does not fit into a datagram, and there is no other way to get it. What part of it
    /// came is not given out: nobody could tell what is missing (RFC 2181 §9).
    #[error("The answer does not fit into a datagram")]
    Truncated,
    /// The name is an alias of an alias, and so on, for too long or without an end.
    #[error("The name is an alias without an end")]
    Loop,
    /// No server knows: the last said this.
    #[error("No DNS server knows: {0}")]
    Failed(ResponseCode),
    /// No server has answered in time.
    #[error("No DNS server answers")]
    Timeout,
    /// No server can be reached.
    #[error("No DNS server can be reached: {0}")]
    Send(#[from] SendError),
    /// There is no port to ask from.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The device is gone.
    #[error(transparent)]
    Recv(#[from] RecvError),
}
