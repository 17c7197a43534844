//! From `main` of the process to `main` of the image, and out again.

use std::future::Future;
use std::panic;
use std::process::ExitCode;

use solo5_abi::{EXIT_ABORT, EXIT_FAILURE};

use super::{arguments, net};
use crate::executor::run;
use crate::{Termination, console};

/// Runs an image that has these network devices.
pub fn start<F>(devices: &'static [&'static str], main: impl FnOnce() -> F) -> ExitCode
where
    F: Future + 'static,
    F::Output: Termination,
{
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        hook(info);
        exit(EXIT_ABORT);
    }));
    match arguments::init().and_then(|options| net::init(devices, &options)) {
        Ok(()) => ExitCode::from(run(main())),
        Err(reason) => {
            console::print(format_args!("{reason}"));
            ExitCode::from(EXIT_FAILURE as u8)
        }
    }
}

/// Ends the process.
pub(crate) fn exit(status: i32) -> ! {
    std::process::exit(status)
}
