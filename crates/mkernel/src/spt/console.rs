//! The console: the tender's standard output.

use solo5_abi::spt::{self, call};

use super::call::call;

/// Writes bytes to the console. What the host does not take is lost.
pub(crate) fn write(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let (address, length) = (bytes.as_ptr() as u64, bytes.len() as u64);
        // SAFETY: The kernel reads `length` bytes of `bytes`, which is borrowed meanwhile.
        let written = unsafe { call(call::WRITE, [spt::CONSOLE as u64, address, length]) };
        let Ok(written @ 1..) = usize::try_from(written) else { break };
        bytes = bytes.get(written..).unwrap_or_default();
    }
}
