//! spt: an image in Solo5's sandboxed-process tender, which has nine system calls.

mod call;

pub(crate) mod clock;
pub(crate) mod console;
pub(crate) mod net;
mod start;
pub(crate) mod wait;

pub(crate) use start::exit;

pub(crate) use crate::solo5::{arguments, entropy, inbox, local, memory};
