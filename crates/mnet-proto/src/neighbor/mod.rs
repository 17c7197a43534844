//! Neighbours: the link-layer addresses of those on the link, how they are learnt, and when they
//! are no longer believed.

pub(crate) mod arp;
mod cache;
mod entry;
pub(crate) mod ndp;

pub(crate) use self::cache::{Action, Cache, Evidence, Heard, Lookup, Resolved, Unresolved, Wait};
