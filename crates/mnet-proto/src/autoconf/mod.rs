//! How a host comes by its addresses and all that goes with them, and makes sure that nobody else has
//! them.

mod claim;
pub(crate) mod dhcpv4;
pub(crate) mod slaac;

pub(crate) use self::claim::{Claim, Conflict, Step};
pub use self::dhcpv4::Lease;
