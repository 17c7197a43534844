//! Frames between the guest's memory and its devices.

use rustix::io::Errno;
use solo5_abi::hvt::result;
use vm_memory::{ReadVolatile, VolatileMemoryError, VolatileSlice, WriteVolatile};

use super::memory::{Alleged, Memory};
use super::refusal::Fault;
use crate::device::{Backing, Device};

/// Most bytes of a frame, whatever the device: more are no frame.
const MAX: u64 = 1 << 16;

/// The network that the guest knows by this number.
pub(crate) fn network(devices: &[Device], handle: u64) -> Option<&Device> {
    devices.iter().find(|device| {
        device.index as u64 == handle && matches!(device.backing, Backing::Net { .. })
    })
}

/// The frame that a guest sends by the call of this number.
pub(crate) fn frame(
    memory: &Memory,
    call: u16,
    alleged: Alleged,
) -> Result<VolatileSlice<'_>, Fault> {
    if alleged.length > MAX {
        return Err(Fault::Length { call, length: alleged.length });
    }
    room(memory, call, alleged)
}

/// The room that a guest has for a frame: any, that a frame fits in or not.
pub(crate) fn room(
    memory: &Memory,
    call: u16,
    alleged: Alleged,
) -> Result<VolatileSlice<'_>, Fault> {
    let Alleged { address, length } = alleged;
    memory.slice(alleged).ok_or(Fault::Pointer { call, address, length })
}

/// Receives a frame, and gives its length; or the call's result.
pub(crate) fn receive(device: &Device, mut room: VolatileSlice<'_>) -> Result<u64, i32> {
    match (&device.file).read_volatile(&mut room) {
        // On the host, a frame of nothing is no frame.
        Ok(0) => Err(result::AGAIN),
        Ok(length) => Ok(length as u64),
        Err(error) => Err(match errno(&error) {
            Some(Errno::AGAIN | Errno::INTR) => result::AGAIN,
            _ => result::UNSPECIFIED,
        }),
    }
}

/// Sends a frame, and gives the call's result.
pub(crate) fn send(device: &Device, frame: &VolatileSlice<'_>) -> i32 {
    match (&device.file).write_volatile(frame) {
        Ok(_) => result::OK,
        Err(error) => match errno(&error) {
            Some(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => result::AGAIN,
            // The host has set its interface down, and may set it up again. Until then frames are
            // lost, as on a cable that is unplugged.
            Some(Errno::IO) => result::OK,
            Some(Errno::INVAL | Errno::MSGSIZE) => result::INVALID,
            _ => result::UNSPECIFIED,
        },
    }
}

fn errno(error: &VolatileMemoryError) -> Option<Errno> {
    match error {
        VolatileMemoryError::IOError(error) => Errno::from_io_error(error),
        _ => None,
    }
}
