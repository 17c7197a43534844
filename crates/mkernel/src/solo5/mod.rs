//! What an image is under either of Solo5's tenders, however it calls its host.

pub(crate) mod arguments;
pub(crate) mod clock;
mod critical_section;
pub(crate) mod entropy;
pub(crate) mod inbox;
pub(crate) mod local;
pub(crate) mod memory;
pub(crate) mod net;
pub(crate) mod start;
