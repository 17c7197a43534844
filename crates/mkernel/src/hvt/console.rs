//! The console: the tender's standard output.

use solo5_abi::hvt::Puts;

use super::call::call;

/// Writes bytes to the console. What the host does not take is lost.
pub(crate) fn write(bytes: &[u8]) {
    let mut puts = Puts { data: bytes.as_ptr() as u64, length: bytes.len() as u64 };
    // SAFETY: The host reads `length` bytes of `bytes`, which is borrowed meanwhile.
    unsafe { call(&mut puts) };
}
