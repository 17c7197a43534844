//! The console: standard output.

use std::io::{self, Write};

/// Writes bytes to the console. What the host does not take is lost.
pub(crate) fn write(bytes: &[u8]) {
    let _ = io::stdout().write_all(bytes);
}
