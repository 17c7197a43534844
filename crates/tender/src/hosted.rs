//! The hosted target: the unikernel is an ordinary Linux program, on the same networks.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use crate::config::Config;
use crate::device::{Backing, Device};
use crate::error::Error;
use crate::image::ImageError;
use crate::supervisor::Child;

/// Starts the program with its networks: open descriptors, of which its first arguments tell.
pub(crate) fn start(config: &Config, devices: &[Device]) -> Result<Child, Error> {
    let path = &config.image;
    let exec = |source| Error::Exec { path: path.clone(), source };
    // A name without a slash would be looked for elsewhere.
    let program = fs::canonicalize(path).map_err(exec)?;

    let mut command = Command::new(program);
    for (device, (name, _)) in devices.iter().zip(&config.networks) {
        let Backing::Net { mac, mtu } = device.backing else { continue };
        command.arg(format!("--net:{name}=@{}", device.descriptor()));
        command.arg(format!("--net-mac:{name}={mac}"));
        command.arg(format!("--net-mtu:{name}={mtu}"));
    }
    command.args(&config.args);
    let parent = getpid();
    let inherited: Vec<RawFd> = devices.iter().map(|device| device.file.as_raw_fd()).collect();
    // SAFETY: between fork and exec it makes system calls only, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != Some(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            inherited.iter().try_for_each(|&descriptor| inherit(descriptor))
        });
    }
    let child = command.spawn().map_err(exec)?;
    let pid = Pid::from_raw(child.id() as i32).ok_or_else(|| exec(io::ErrorKind::Other.into()))?;
    Child::adopt(pid)
}

/// Checks that there is a program to start, before anything is opened for it.
pub(crate) fn check(path: &Path) -> Result<(), Error> {
    check_file(path).map_err(|source| Error::Image { path: path.to_owned(), source })
}

fn check_file(path: &Path) -> Result<(), ImageError> {
    if !fs::metadata(path).map_err(ImageError::Open)?.is_file() {
        return Err(ImageError::NoFile);
    }
    let mut start = Vec::new();
    let mut file = fs::File::open(path).map_err(ImageError::Open)?.take(4);
    file.read_to_end(&mut start).map_err(ImageError::Open)?;
    // Anything else would be given to a shell.
    if start.starts_with(b"\x7fELF") || start.starts_with(b"#!") {
        Ok(())
    } else {
        Err(ImageError::NoProgram)
    }
}

/// Leaves a descriptor open for the program that this process is about to become.
fn inherit(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: it only changes a flag of a descriptor that the caller has open.
    match unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
