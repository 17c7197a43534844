//! Devices in memory, and devices that wrap devices: to make things go wrong, or to see them.

mod cable;
mod faulty;
mod pcap;
mod summary;
mod trace;

pub use self::cable::{Cable, Plug, pair};
pub use self::faulty::Faulty;
pub use self::pcap::Pcap;
pub use self::summary::Summary;
pub use self::trace::{Direction, Trace};
