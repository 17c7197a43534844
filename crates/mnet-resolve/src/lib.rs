#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod answer;
mod cache;
mod error;
mod message;
mod resolver;

pub use answer::Answer;
pub use cache::Cache;
pub use error::ResolveError;
pub use hickory_proto::op::{Query, ResponseCode};
pub use hickory_proto::rr::{Name, RData, Record, RecordType};
pub use message::MAX_MESSAGE;
pub use resolver::{PORT, Resolver};

/// The wire format, for those who read or write messages of their own.
pub use hickory_proto as wire;
