//! Frames, by the descriptors that the tender has opened.

use netdev::Gone;
use solo5_abi::spt::call;

use super::call::call;
pub(crate) use crate::solo5::net::{Port, discard, names, open};

const EINTR: i64 = -4;
const EIO: i64 = -5;
const EAGAIN: i64 = -11;
const ENOMEM: i64 = -12;
const ENOBUFS: i64 = -105;

/// See [`Port::read`].
pub(crate) fn read(port: &Port, room: &mut [u8]) -> Result<Option<usize>, Gone> {
    let descriptor = port.entry.host_descriptor() as u64;
    let (address, length) = (room.as_mut_ptr() as u64, room.len() as u64);
    // SAFETY: The kernel writes at most `length` bytes to `room`, which is borrowed meanwhile.
    match unsafe { call(call::READ, [descriptor, address, length]) } {
        EAGAIN | EINTR => Ok(None),
        length @ 1.. => Ok(Some(length as usize)),
        _ => Err(Gone),
    }
}

/// See [`Port::write`].
pub(crate) fn write(port: &Port, frame: &[u8]) -> Result<bool, Gone> {
    let descriptor = port.entry.host_descriptor() as u64;
    let (address, length) = (frame.as_ptr() as u64, frame.len() as u64);
    // SAFETY: The kernel reads `length` bytes of `frame`, which is borrowed meanwhile.
    match unsafe { call(call::WRITE, [descriptor, address, length]) } {
        EAGAIN | EINTR | ENOBUFS | ENOMEM => Ok(false),
        // The host has set its interface down, and may set it up again. Until then frames are
        // lost, as on a cable that is unplugged.
        EIO => Ok(true),
        0.. => Ok(true),
        _ => Err(Gone),
    }
}

/// See [`Port::flush`]: each frame has gone out by itself.
pub(crate) fn flush() {}
