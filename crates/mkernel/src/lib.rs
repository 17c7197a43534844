#![doc = include_str!("../README.md")]
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

mod console;
#[cfg(feature = "embassy-time")]
mod embassy_time;
mod entropy;
mod executor;
mod interval;
mod net;
mod stats;
mod task;
mod termination;
mod time;
mod timers;
mod trigger;
mod wait_list;

#[cfg(not(target_os = "none"))]
mod hosted;
#[cfg(all(target_os = "none", mkernel_platform = "hvt"))]
mod hvt;
#[cfg(target_os = "none")]
mod solo5;
#[cfg(all(target_os = "none", not(mkernel_platform = "hvt")))]
mod spt;

#[cfg(not(target_os = "none"))]
use hosted as platform;
#[cfg(all(target_os = "none", mkernel_platform = "hvt"))]
use hvt as platform;
#[cfg(all(target_os = "none", not(mkernel_platform = "hvt")))]
use spt as platform;

pub use entropy::fill_random;
pub use executor::block_on;
pub use interval::{Interval, interval, interval_at};
pub use mkernel_macros::main;
pub use net::{AcquireError, NetDevice, acquire};
pub use stats::{Heap, Stats, stats};
pub use task::{Aborted, JoinHandle, spawn, yield_now};
pub use termination::{ExitStatus, Termination};
pub use time::{
    Elapsed, Instant, Sleep, now, now_coarse, sleep, sleep_until, timeout, timeout_at, wall_clock,
};
pub use trigger::{Fired, Trigger};
pub use wait_list::{WaitKey, WaitList};

/// The arguments that the image was started with, in order.
pub fn args() -> impl Iterator<Item = &'static str> {
    platform::arguments::all()
}

/// Ends the image at once, with this status.
pub fn exit(status: u8) -> ! {
    platform::exit(i32::from(status))
}

/// What [`main`] expands to. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use solo5_abi;

    pub use crate::executor::run;
    #[cfg(not(target_os = "none"))]
    pub use crate::hosted::start;
}

/// The manifest note and the function that [`main`] makes of `main`. Not for use by hand.
#[cfg(target_os = "none")]
#[doc(hidden)]
#[macro_export]
macro_rules! __entry {
    ([$($net:literal),*], $main:block) => {
        const _: () = {
            use $crate::__private::solo5_abi::{Entry, Manifest, ManifestNote};

            const ENTRIES: usize = <[&str]>::len(&[$($net),*]) + 1;

            #[used]
            #[unsafe(link_section = ".note.solo5.manifest")]
            static MANIFEST: ManifestNote<ENTRIES> =
                ManifestNote::new(Manifest::new([Entry::RESERVED, $(Entry::net($net)),*]));

            #[unsafe(no_mangle)]
            fn __mkernel_main() -> u8 {
                let main = $main;
                $crate::__private::run(main())
            }
        };
    };
}

/// The process's `main` that [`main`] makes of `main`. Not for use by hand.
#[cfg(not(target_os = "none"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __entry {
    ([$($net:literal),*], $main:block) => {
        fn main() -> ::std::process::ExitCode {
            let main = $main;
            $crate::__private::start(&[$($net),*], main)
        }
    };
}
