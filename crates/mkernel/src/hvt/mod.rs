//! hvt: an image in Solo5's hardware virtualized tender, a guest with one processor, no interrupts,
//! eight calls, and a ring for frames.

mod call;
mod exception;

pub(crate) mod clock;
pub(crate) mod console;
pub(crate) mod net;
mod ring;
mod start;
pub(crate) mod wait;

pub(crate) use start::exit;

pub(crate) use crate::solo5::{arguments, entropy, inbox, local, memory};
