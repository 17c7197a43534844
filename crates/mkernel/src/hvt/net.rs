//! Frames: by the ring, or by a call each where there is none or they do not fit.

use netdev::Gone;
use solo5_abi::hvt::{NetRead, NetWrite, result};

use super::{call::call, ring};
pub(crate) use crate::solo5::net::{Port, discard, names, open};

/// See [`Port::read`].
pub(crate) fn read(port: &Port, room: &mut [u8]) -> Result<Option<usize>, Gone> {
    if let Some(received) = ring::receive(port.handle(), room) {
        return received;
    }
    let mut read = NetRead {
        handle: port.handle() as u64,
        data: room.as_mut_ptr() as u64,
        length: room.len() as u64,
        ..NetRead::default()
    };
    // SAFETY: The host writes at most `length` bytes to `room`, which is borrowed meanwhile.
    unsafe { call(&mut read) };
    match read.result {
        result::OK => Ok(Some((read.length as usize).min(room.len()))),
        result::AGAIN => Ok(None),
        _ => Err(Gone),
    }
}

/// See [`Port::write`].
pub(crate) fn write(port: &Port, frame: &[u8]) -> Result<bool, Gone> {
    if frame.len() <= ring::BUFFER
        && let Some(sent) = ring::send(port.handle(), frame)
    {
        return Ok(sent);
    }
    let mut write = NetWrite {
        handle: port.handle() as u64,
        data: frame.as_ptr() as u64,
        length: frame.len() as u64,
        ..NetWrite::default()
    };
    // SAFETY: The host reads `length` bytes of `frame`, which is borrowed meanwhile.
    unsafe { call(&mut write) };
    match write.result {
        result::OK => Ok(true),
        result::AGAIN => Ok(false),
        _ => Err(Gone),
    }
}

/// See [`Port::flush`].
pub(crate) fn flush() {
    ring::flush();
}
