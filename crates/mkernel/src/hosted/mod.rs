//! hosted: a plain Linux process, on devices that whoever starts it has opened.

pub(crate) mod arguments;
pub(crate) mod clock;
pub(crate) mod console;
pub(crate) mod entropy;
pub(crate) mod inbox;
pub(crate) mod local;
pub(crate) mod memory;
pub(crate) mod net;
mod start;
pub(crate) mod wait;

pub(crate) use start::exit;
pub use start::start;
