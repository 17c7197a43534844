//! The calls of a guest.

use std::io::stdout;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, pread, pwrite};
use rustix::time::{ClockId, clock_gettime};
use solo5_abi::hvt::{
    BlockRead, BlockWrite, Call, Halt, NetRead, NetWrite, PORT, Poll, Puts, Walltime, result,
};
use vm_memory::{VolatileSlice, WriteVolatile};

use super::frames;
use super::memory::{Alleged, Memory};
use super::refusal::Fault;
use crate::device::{Backing, Device};

const NANOSECONDS: u64 = 1_000_000_000;

/// What a guest calls.
pub(crate) struct Calls<'g> {
    memory: &'g Memory,
    devices: &'g [Device],
    /// What to wait for, and which bits these are.
    polled: Vec<PollFd<'g>>,
    bits: Vec<u64>,
    block: Vec<u8>,
}

impl<'g> Calls<'g> {
    /// To be made before the process is confined.
    pub(crate) fn new(memory: &'g Memory, devices: &'g [Device]) -> Self {
        // Where the kernel's code for it lies is found out the first time, by what is not allowed
        // any more when the guest asks.
        let _ = clock_gettime(ClockId::Realtime);
        let is_net = |device: &&Device| matches!(device.backing, Backing::Net { .. });
        let networks = || devices.iter().filter(is_net);
        let largest = devices.iter().map(|device| match device.backing {
            Backing::Block { block_size, .. } => usize::from(block_size),
            Backing::Net { .. } => 0,
        });
        Self {
            memory,
            devices,
            polled: networks().map(|net| PollFd::new(&net.file, PollFlags::IN)).collect(),
            bits: networks().map(|net| 1 << net.index).collect(),
            block: vec![0; largest.max().unwrap_or(0)],
        }
    }

    /// Does what the guest asks for at this port, by the arguments at this address. Gives the exit
    /// status if that is all.
    pub(crate) fn call(&mut self, port: u16, address: u32) -> Result<Option<i32>, Fault> {
        match port.checked_sub(PORT) {
            Some(Walltime::NUMBER) => self.answer(address, Self::walltime),
            Some(Puts::NUMBER) => self.answer(address, Self::puts),
            Some(Poll::NUMBER) => self.answer(address, Self::poll),
            Some(BlockWrite::NUMBER) => self.answer(address, Self::block_write),
            Some(BlockRead::NUMBER) => self.answer(address, Self::block_read),
            Some(NetWrite::NUMBER) => self.answer(address, Self::net_write),
            Some(NetRead::NUMBER) => self.answer(address, Self::net_read),
            Some(Halt::NUMBER) => {
                let (halt, _) = self.arguments::<Halt>(address)?;
                return Ok(Some(halt.status));
            }
            _ => return Err(Fault::Port(port)),
        }?;
        Ok(None)
    }

    fn answer<C: Call>(
        &mut self,
        address: u32,
        call: impl FnOnce(&mut Self, &mut C) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (mut arguments, slice) = self.arguments::<C>(address)?;
        call(self, &mut arguments)?;
        slice.copy_from(arguments.as_mut_bytes());
        Ok(())
    }

    /// A copy of the arguments at this address, which the guest cannot change any more, and where
    /// they are.
    fn arguments<C: Call>(&self, address: u32) -> Result<(C, VolatileSlice<'g>), Fault> {
        let slice = self.slice::<C>(address.into(), size_of::<C>() as u64)?;
        let mut arguments = C::new_zeroed();
        slice.copy_to(arguments.as_mut_bytes());
        Ok((arguments, slice))
    }

    fn slice<C: Call>(&self, address: u64, length: u64) -> Result<VolatileSlice<'g>, Fault> {
        let slice = self.memory.slice(Alleged { address, length });
        slice.ok_or(Fault::Pointer { call: C::NUMBER, address, length })
    }

    /// The device and its block size, if whole blocks of it lie there.
    fn blocks(&self, handle: u64, offset: u64, length: u64) -> Option<(&'g Device, usize)> {
        self.devices.iter().find_map(|device| match device.backing {
            Backing::Block { capacity, block_size } => {
                let are_there = device.index as u64 == handle
                    && length > 0
                    && length.is_multiple_of(block_size.into())
                    && offset.is_multiple_of(block_size.into())
                    && offset.checked_add(length).is_some_and(|end| end <= capacity);
                are_there.then_some((device, block_size.into()))
            }
            Backing::Net { .. } => None,
        })
    }

    /// Does with each block of the slice, and its offset, what must do all of it; gives the call's
    /// result.
    fn each_block(
        &mut self,
        size: usize,
        mut offset: u64,
        slice: VolatileSlice<'_>,
        mut access: impl FnMut(VolatileSlice<'_>, &mut [u8], u64) -> Result<usize, Errno>,
    ) -> i32 {
        let mut left = Ok(slice);
        while let Ok(slice) = left
            && !slice.is_empty()
        {
            if access(slice, &mut self.block[..size], offset) != Ok(size) {
                return result::UNSPECIFIED;
            }
            offset += size as u64;
            left = slice.offset(size);
        }
        result::OK
    }

    fn walltime(&mut self, call: &mut Walltime) -> Result<(), Fault> {
        let now = clock_gettime(ClockId::Realtime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        call.nanoseconds = seconds.saturating_mul(NANOSECONDS).saturating_add(now.tv_nsec as u64);
        Ok(())
    }

    fn puts(&mut self, call: &mut Puts) -> Result<(), Fault> {
        let mut left = self.slice::<Puts>(call.data, call.length)?;
        let console = stdout();
        // What the host does not take is lost.
        while !left.is_empty()
            && let Ok(written @ 1..) = console.as_fd().write_volatile(&left)
            && let Ok(rest) = left.offset(written)
        {
            left = rest;
        }
        Ok(())
    }

    fn poll(&mut self, call: &mut Poll) -> Result<(), Fault> {
        let timeout = Timespec {
            tv_sec: (call.timeout / NANOSECONDS) as i64,
            tv_nsec: (call.timeout % NANOSECONDS) as i64,
        };
        // Interrupted, it has nothing to tell.
        let count = poll(&mut self.polled, Some(&timeout)).unwrap_or(0);
        let ready = self.polled.iter().zip(&self.bits);
        let ready = ready.filter(|(fd, _)| count > 0 && !fd.revents().is_empty());
        call.ready = ready.fold(0, |ready, (_, bit)| ready | bit);
        call.result = count as i32;
        Ok(())
    }

    fn net_write(&mut self, call: &mut NetWrite) -> Result<(), Fault> {
        let alleged = Alleged { address: call.data, length: call.length };
        let frame = frames::frame(self.memory, NetWrite::NUMBER, alleged)?;
        let network = frames::network(self.devices, call.handle);
        call.result = network.map_or(result::INVALID, |network| frames::send(network, &frame));
        Ok(())
    }

    fn net_read(&mut self, call: &mut NetRead) -> Result<(), Fault> {
        let alleged = Alleged { address: call.data, length: call.length };
        let room = frames::room(self.memory, NetRead::NUMBER, alleged)?;
        let network = frames::network(self.devices, call.handle).ok_or(result::INVALID);
        match network.and_then(|network| frames::receive(network, room)) {
            Ok(length) => (call.length, call.result) = (length, result::OK),
            Err(result) => call.result = result,
        }
        Ok(())
    }

    fn block_write(&mut self, call: &mut BlockWrite) -> Result<(), Fault> {
        let slice = self.slice::<BlockWrite>(call.data, call.length)?;
        let Some((device, size)) = self.blocks(call.handle, call.offset, call.length) else {
            call.result = result::INVALID;
            return Ok(());
        };
        call.result = self.each_block(size, call.offset, slice, |slice, block, offset| {
            slice.copy_to(block);
            pwrite(&device.file, block, offset)
        });
        Ok(())
    }

    fn block_read(&mut self, call: &mut BlockRead) -> Result<(), Fault> {
        let slice = self.slice::<BlockRead>(call.data, call.length)?;
        let Some((device, size)) = self.blocks(call.handle, call.offset, call.length) else {
            call.result = result::INVALID;
            return Ok(());
        };
        call.result = self.each_block(size, call.offset, slice, |slice, block, offset| {
            let read = pread(&device.file, &mut *block, offset);
            slice.copy_from(block);
            read
        });
        Ok(())
    }
}
