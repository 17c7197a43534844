//! ICMP: answering echo requests, and telling senders what did not work.

mod rate_limiter;
pub(crate) mod v4;

pub(crate) use self::rate_limiter::RateLimiter;
