//! The ring of a guest: a thread of its own sends and receives frames, while the guest goes on.

use std::hint;
use std::mem::offset_of;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::fence;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use solo5_abi::hvt::{self, Completion, Entry, RING_SIZE, operation, result};
use vm_memory::{Bytes, VolatileSlice};
use vmm_sys_util::eventfd::EventFd;
use zerocopy::{FromZeros, IntoBytes};

use super::counters::{Counter, Counters};
use super::frames;
use super::memory::{Alleged, Memory};
use super::refusal::{Fault, Refusal};
use crate::device::Device;
use crate::image::PAGE;

/// Bytes that a ring takes at the end of memory: whole pages.
pub(crate) const SIZE: u64 = (size_of::<hvt::Ring>() as u64).next_multiple_of(PAGE);

/// What a refusal calls the ring: no call has this number.
const RING: u16 = 0;

/// How often to look for entries before the thread sleeps.
const SPINS: u32 = 4096;

/// How long to wait for a device to take a frame of a guest that has ended.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The exit status of a guest that has halted: nothing comes into its ring any more.
pub(crate) type Ended = OnceLock<i32>;

/// The host's side of a ring. The guest may change any of it at any time: each entry is copied
/// before it is looked at, and no index of the host's is read back.
pub(crate) struct Ring<'g> {
    memory: &'g Memory,
    shared: VolatileSlice<'g>,
    devices: &'g [Device],
    kick: &'g EventFd,
    ended: &'g Ended,
    counters: &'g Counters,
    /// The next entry to be seen to, and the next completion to be written. They run on.
    head: u32,
    completed: u32,
    /// Whether a device took nothing for long after the guest's end.
    is_stuck: bool,
}

impl<'g> Ring<'g> {
    /// The ring at this address; `None` if it is not all in the memory.
    pub(crate) fn new(
        memory: &'g Memory,
        base: u64,
        devices: &'g [Device],
        kick: &'g EventFd,
        ended: &'g Ended,
        counters: &'g Counters,
    ) -> Option<Self> {
        let shared = memory.slice(Alleged { address: base, length: SIZE })?;
        Some(Self {
            memory,
            shared,
            devices,
            kick,
            ended,
            counters,
            head: 0,
            completed: 0,
            is_stuck: false,
        })
    }

    /// Does what the guest asks for until the guest has ended, and gives its exit status; or until
    /// it asks for what it may not.
    pub(crate) fn run(mut self) -> Result<i32, Refusal> {
        loop {
            match self.wait() {
                Wake::Entries(tail) => self.take(tail).map_err(Refusal::in_ring)?,
                Wake::Ended(status) => return Ok(status),
            }
        }
    }

    /// Waits for entries, or the end of the guest when all its entries have been seen to.
    fn wait(&self) -> Wake {
        let mut needs_kick = false;
        loop {
            for _ in 0..SPINS {
                // Looked at first: what the guest has put in before its end is there then.
                let ended = self.ended.get();
                let tail = self.load(offset_of!(hvt::Ring, entry_tail));
                if tail != self.head {
                    if needs_kick {
                        self.store(offset_of!(hvt::Ring, needs_kick), 0);
                    }
                    return Wake::Entries(tail);
                }
                if let Some(&status) = ended {
                    return Wake::Ended(status);
                }
                if needs_kick {
                    break;
                }
                hint::spin_loop();
            }
            if needs_kick && self.kick.read().is_ok() {
                self.counters.count(Counter::Kicks);
            }
            self.store(offset_of!(hvt::Ring, needs_kick), 1);
            // The guest must see that, or we must see its entries.
            fence(SeqCst);
            needs_kick = true;
        }
    }

    /// Sees to the entries before `tail`.
    fn take(&mut self, tail: u32) -> Result<(), Fault> {
        let count = tail.wrapping_sub(self.head);
        if count > RING_SIZE {
            return Err(Fault::Entries(count));
        }
        while self.head != tail {
            let entry = self.entry(self.head);
            match entry.operation {
                operation::NET_WRITE => self.send(entry)?,
                operation::NET_READ => {
                    let completion = self.receive(entry)?;
                    self.complete(completion);
                }
                other => return Err(Fault::Operation(other)),
            }
            self.head = self.head.wrapping_add(1);
            // Whoever waits for a completion wants no more than that.
            if entry.operation == operation::NET_READ || self.head == tail {
                self.store(offset_of!(hvt::Ring, entry_head), self.head);
            }
        }
        Ok(())
    }

    fn send(&mut self, entry: Entry) -> Result<(), Fault> {
        let frame = frames::frame(self.memory, RING, alleged(entry))?;
        let Some(device) = frames::network(self.devices, entry.handle.into()) else {
            return Ok(());
        };
        // Nobody is told what becomes of it: it has to wait while the device has no room, but not
        // for ever when the guest has ended.
        while frames::send(device, &frame) == result::AGAIN {
            if self.is_stuck {
                return Ok(());
            }
            let waited = poll(&mut [PollFd::new(&device.file, PollFlags::OUT)], Some(&PATIENCE));
            self.is_stuck = waited == Ok(0) && self.ended.get().is_some();
        }
        self.counters.count(Counter::Sent);
        Ok(())
    }

    fn receive(&self, entry: Entry) -> Result<Completion, Fault> {
        let room = frames::room(self.memory, RING, alleged(entry))?;
        let network = frames::network(self.devices, entry.handle.into()).ok_or(result::INVALID);
        let (result, length) = match network.and_then(|network| frames::receive(network, room)) {
            Ok(length) => {
                self.counters.count(Counter::Received);
                (result::OK, length as u32)
            }
            Err(result) => {
                self.counters.count(Counter::Empty);
                (result, 0)
            }
        };
        Ok(Completion { id: entry.id, result, length, reserved: 0 })
    }

    fn complete(&mut self, completion: Completion) {
        let index = (self.completed % RING_SIZE) as usize;
        let place = offset_of!(hvt::Ring, completions) + index * size_of::<Completion>();
        // It cannot fail: the place is in the ring.
        let _ = self.shared.write_slice(completion.as_bytes(), place);
        self.completed = self.completed.wrapping_add(1);
        self.store(offset_of!(hvt::Ring, completion_tail), self.completed);
    }

    /// A copy of the entry.
    fn entry(&self, index: u32) -> Entry {
        let index = (index % RING_SIZE) as usize;
        let place = offset_of!(hvt::Ring, entries) + index * size_of::<Entry>();
        let mut entry = Entry::new_zeroed();
        // It cannot fail: the place is in the ring.
        let _ = self.shared.read_slice(entry.as_mut_bytes(), place);
        entry
    }

    fn load(&self, index: usize) -> u32 {
        // It cannot fail: the index is in the ring, and aligned.
        self.shared.load(index, Acquire).unwrap_or(self.head)
    }

    fn store(&self, index: usize, value: u32) {
        // As above.
        let _ = self.shared.store(value, index, Release);
    }
}

/// What there is to do.
enum Wake {
    /// To see to the entries before this index.
    Entries(u32),
    /// To end with this status.
    Ended(i32),
}

fn alleged(entry: Entry) -> Alleged {
    Alleged { address: entry.data, length: entry.length.into() }
}
