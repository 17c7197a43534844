//! spt: an image in Solo5's sandboxed-process tender, which has nine system calls.

mod call;

pub(crate) mod arguments;
pub(crate) mod clock;
pub(crate) mod console;
mod critical_section;
pub(crate) mod entropy;
pub(crate) mod local;
pub(crate) mod memory;
pub(crate) mod net;
pub(crate) mod run_queue;
mod start;
pub(crate) mod wait;

pub(crate) use start::exit;
