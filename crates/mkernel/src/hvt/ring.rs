//! The ring: a thread of the host's sends and receives frames meanwhile.
//!
//! What is sent is copied into a buffer of the ring, and goes out with the others of its batch by
//! one kick at most. Frames are received several at a time, as many as came the last times, so that
//! under load one kick or none is made for many.

use alloc::boxed::Box;
use core::cell::{Cell, RefCell};
use core::hint;
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU32, fence};

use netdev::Gone;
use solo5_abi::hvt::{
    BootInfo, Completion, Entry, FEATURE_RING, Poll, RING_SIZE, Ring, operation, result,
};

use super::call::{call, kick};
use crate::solo5::local::local;

/// Bytes of a frame that goes by the ring; a longer one goes by a call.
pub(super) const BUFFER: usize = 2048;
/// Frames that can be on their way to the host.
const SENT: usize = 128;
/// Most frames that are asked for at once.
const RECEIVED: usize = 32;
/// Fewest frames that are asked for at once: the one that the host has told of, and whether that
/// was all.
const FEWEST: usize = 2;
/// How often to look for what was asked for before the host's other threads are let run.
const SPINS: u32 = 1 << 12;
/// How long these have, in nanoseconds.
const TURN: u64 = 20_000;

const _: () = assert!(SENT + RECEIVED <= RING_SIZE as usize);

local! {
    static RING: Cell<Option<&'static Guest>> = Cell::new(None);
}

local! {
    static SHARED: Cell<*mut Ring> = Cell::new(ptr::null_mut());
}

/// The image's side of the ring.
struct Guest {
    shared: *mut Ring,
    buffers: *mut Buffers,
    /// Behind the last entry, of which the host may not know yet, and behind the last of which it
    /// does.
    tail: Cell<u32>,
    told: Cell<u32>,
    /// The next completion.
    completed: Cell<u32>,
    /// How many frames were put in to be sent, the entry of the last one in each buffer, and how
    /// many of them are known to be gone.
    sends: Cell<u64>,
    sent: RefCell<[u32; SENT]>,
    gone: Cell<u64>,
    received: RefCell<Received>,
}

/// Frames of a device that the host has delivered, and nobody has taken yet.
struct Received {
    handle: usize,
    lengths: [u32; RECEIVED],
    count: usize,
    taken: usize,
    /// How many to ask for the next time.
    batch: usize,
}

struct Buffers {
    send: [[u8; BUFFER]; SENT],
    receive: [[u8; BUFFER]; RECEIVED],
}

/// Finds the ring, if the tender has one.
pub(super) fn init(boot_info: &BootInfo) {
    if boot_info.host_features & FEATURE_RING != 0 {
        SHARED.with(|shared| shared.set(boot_info.net_ring as *mut Ring));
    }
}

/// Sends a frame of at most [`BUFFER`] bytes, once [`flush`] is called; `None` if there is no ring,
/// `false` if it has no room now.
pub(super) fn send(handle: usize, frame: &[u8]) -> Option<bool> {
    let guest = guest()?;
    let (sends, mut sent) = (guest.sends.get(), guest.sent.borrow_mut());
    let sending = (sends % SENT as u64) as usize;
    let before = sends.checked_sub(SENT as u64).filter(|&before| before >= guest.gone.get());
    if before.is_some() && !guest.is_seen_to(sent[sending]) {
        guest.flush();
        return Some(false);
    }
    let length = frame.len().min(BUFFER);
    // SAFETY: The buffer is ours: what was in it has been sent, and it is no part of a Rust value.
    let data = unsafe {
        let buffer = (&raw mut (*guest.buffers).send[sending]).cast::<u8>();
        ptr::copy_nonoverlapping(frame.as_ptr(), buffer, length);
        buffer as u64
    };
    sent[sending] = guest.tail.get();
    guest.push(operation::NET_WRITE, handle, data, length);
    guest.sends.set(sends + 1);
    Some(true)
}

/// Lets the host know of what was sent.
pub(super) fn flush() {
    if let Some(guest) = RING.with(Cell::get) {
        guest.flush();
    }
}

/// Receives a frame and says how much of it is in `room`; `Ok(None)` if there is none. `None` if
/// there is no ring, or another device has frames in it.
pub(super) fn receive(handle: usize, room: &mut [u8]) -> Option<Result<Option<usize>, Gone>> {
    let guest = guest()?;
    let mut received = guest.received.borrow_mut();
    if received.taken == received.count {
        received.handle = handle;
        if let Err(gone) = guest.refill(&mut received) {
            return Some(Err(gone));
        }
        if received.count == 0 {
            return Some(Ok(None));
        }
    } else if received.handle != handle {
        return None;
    }
    let index = received.taken;
    let length = (received.lengths[index] as usize).min(BUFFER).min(room.len());
    received.taken += 1;
    // SAFETY: The host has filled the buffer, and has it no more.
    unsafe {
        let buffer = (&raw const (*guest.buffers).receive[index]).cast::<u8>();
        ptr::copy_nonoverlapping(buffer, room.as_mut_ptr(), length);
    }
    Some(Ok(Some(length)))
}

/// The ring, with its buffers made when it is first used.
fn guest() -> Option<&'static Guest> {
    if let Some(guest) = RING.with(Cell::get) {
        return Some(guest);
    }
    let shared = SHARED.with(Cell::get);
    if shared.is_null() {
        return None;
    }
    let guest: &'static Guest = Box::leak(Box::new(Guest {
        shared,
        // SAFETY: They are bytes, of which zeros are some.
        buffers: Box::into_raw(unsafe { Box::<Buffers>::new_zeroed().assume_init() }),
        tail: Cell::new(0),
        told: Cell::new(0),
        completed: Cell::new(0),
        sends: Cell::new(0),
        sent: RefCell::new([0; SENT]),
        gone: Cell::new(0),
        received: RefCell::new(Received {
            handle: 0,
            lengths: [0; RECEIVED],
            count: 0,
            taken: 0,
            batch: FEWEST,
        }),
    }));
    RING.with(|ring| ring.set(Some(guest)));
    Some(guest)
}

impl Guest {
    /// Puts an entry into the ring, which always has room: there are more entries than buffers.
    fn push(&self, operation: u32, handle: usize, data: u64, length: usize) {
        let tail = self.tail.get();
        let (handle, length) = (handle as u32, length as u32);
        let entry = Entry { operation, handle, data, length, id: tail, reserved: 0 };
        // SAFETY: Solo5's ABI: the ring lies there, and an entry that the host has not been told
        // of is ours.
        unsafe {
            let place = &raw mut (*self.shared).entries[(tail % RING_SIZE) as usize];
            place.write_volatile(entry);
        }
        self.tail.set(tail.wrapping_add(1));
    }

    /// Tells the host of the entries, and kicks it if it sleeps.
    fn flush(&self) {
        let tail = self.tail.get();
        if tail == self.told.replace(tail) {
            return;
        }
        let [entry_tail, .., needs_kick] = self.indices();
        entry_tail.store(tail, Release);
        // The host must see that, or we must see that it sleeps.
        fence(SeqCst);
        if needs_kick.load(Relaxed) != 0 {
            kick();
        }
    }

    /// Whether the host has done what the entry asks for: one of the last that were put in.
    fn is_seen_to(&self, entry: u32) -> bool {
        let [_, _, entry_head, ..] = self.indices();
        // The host is behind it, or at most a ring ahead.
        entry_head.load(Acquire).wrapping_sub(entry).wrapping_sub(1) < u32::MAX / 2
    }

    /// Receives as many frames as are likely to be there.
    fn refill(&self, received: &mut Received) -> Result<(), Gone> {
        let asked = received.batch;
        for index in 0..asked {
            // SAFETY: Only the address is taken.
            let buffer = unsafe { &raw mut (*self.buffers).receive[index] } as u64;
            self.push(operation::NET_READ, received.handle, buffer, BUFFER);
        }
        self.flush();
        self.wait(asked as u32);
        // The host sees to entries in order.
        self.gone.set(self.sends.get());

        (received.count, received.taken) = (0, 0);
        let mut gone = false;
        for index in 0..asked {
            let completion = self.completion();
            match completion.result {
                // What came after there was nothing is behind in the buffers, too.
                result::OK => {
                    received.keep(index, completion.length, self.buffers);
                }
                result::AGAIN => {}
                _ => gone = true,
            }
        }
        received.batch = (received.count * 2).clamp(FEWEST, RECEIVED);
        if gone && received.count == 0 { Err(Gone) } else { Ok(()) }
    }

    /// Waits for so many completions.
    fn wait(&self, count: u32) {
        let [_, _, _, completion_tail, _] = self.indices();
        let mut spins = 0;
        while completion_tail.load(Acquire).wrapping_sub(self.completed.get()) < count {
            spins += 1;
            if spins % SPINS == 0 {
                // There may be only one processor for the host's thread and us.
                let mut poll = Poll { timeout: TURN, ..Poll::default() };
                // SAFETY: It holds no address.
                unsafe { call(&mut poll) };
            }
            hint::spin_loop();
        }
    }

    /// Takes the next completion, which is there.
    fn completion(&self) -> Completion {
        let completed = self.completed.get();
        // SAFETY: Solo5's ABI: the ring lies there, and the host does not touch a completion until
        // it is told that it was taken.
        let completion = unsafe {
            let place = &raw const (*self.shared).completions[(completed % RING_SIZE) as usize];
            place.read_volatile()
        };
        self.completed.set(completed.wrapping_add(1));
        let [_, completion_head, ..] = self.indices();
        completion_head.store(completed.wrapping_add(1), Release);
        completion
    }

    /// Those that both sides look at: `entry_tail`, `completion_head`, `entry_head`,
    /// `completion_tail` and `needs_kick`.
    fn indices(&self) -> [&'static AtomicU32; 5] {
        let ring = self.shared;
        // SAFETY: Solo5's ABI: the ring lies there for ever, and both sides take its indices for
        // atomic.
        unsafe {
            [
                &(*ring).entry_tail,
                &(*ring).completion_head,
                &(*ring).entry_head,
                &(*ring).completion_tail,
                &(*ring).needs_kick,
            ]
        }
    }
}

impl Received {
    /// Keeps the frame that is in this buffer, behind those that are kept already.
    fn keep(&mut self, buffer: usize, length: u32, buffers: *mut Buffers) {
        let place = self.count;
        if place != buffer {
            // SAFETY: Both buffers are ours by now, and not the same.
            unsafe {
                let [from, to] = [buffer, place].map(|i| &raw mut (*buffers).receive[i]);
                ptr::copy_nonoverlapping(from, to, 1);
            }
        }
        self.lengths[place] = length;
        self.count += 1;
    }
}
