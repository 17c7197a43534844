use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use seccompiler::BackendError;

use crate::block::BlockError;
use crate::config::Memory;
use crate::image::ImageError;
use crate::net::{NetworkError, Publish, PublishError};

/// Why an image was not run. Each is one line that names the thing, and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image cannot be run.
    #[error("the image {} {source}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        source: ImageError,
    },
    /// An option speaks of a device that the image does not have.
    #[error("--{option}:{name}: the image has no such device; it has {has}")]
    NoDevice {
        /// The option.
        option: &'static str,
        /// The name that was given.
        name: String,
        /// The devices that there are.
        has: String,
    },
    /// An option was given twice for the same device.
    #[error("--{option}:{name} is given twice; give it once")]
    Twice {
        /// The option.
        option: &'static str,
        /// The device.
        name: String,
    },
    /// A device of the image is attached to nothing.
    #[error("the image's {what} {name} is not attached; give it one: {give}")]
    Unattached {
        /// Of which kind it is.
        what: &'static str,
        /// The device.
        name: String,
        /// The option, as an example.
        give: String,
    },
    /// A network cannot be attached.
    #[error("the network {name}: {source}")]
    Network {
        /// The device.
        name: String,
        /// Why.
        source: NetworkError,
    },
    /// A block device cannot be attached.
    #[error("the block device {name}: {source}")]
    Block {
        /// The device.
        name: String,
        /// Why.
        source: BlockError,
    },
    /// A port cannot be published.
    #[error("cannot publish {publish}: {source}")]
    Publish {
        /// The port.
        publish: Publish,
        /// Why.
        source: PublishError,
    },
    /// The image and the least that it needs do not fit into memory.
    #[error("--mem={mem} is too small for this image; give at least {least}")]
    MemoryTooSmall {
        /// What was given.
        mem: Memory,
        /// What it takes, in MiB.
        least: u64,
    },
    /// The host cannot map so much memory.
    #[error("--mem={mem} is too large: {why}; give less")]
    MemoryTooLarge {
        /// What was given.
        mem: Memory,
        /// What is in its way.
        why: &'static str,
    },
    /// The arguments do not fit into the image's command line.
    #[error("the image's arguments are longer than 8191 bytes, or contain a zero; give fewer")]
    CommandLine,
    /// A hosted unikernel has no block devices.
    #[error("--block:{0}: a hosted unikernel has no block devices; run it on spt")]
    HostedBlock(String),
    /// A hosted unikernel cannot be started.
    #[error("the unikernel {} cannot be started: {source}; build it for this host", path.display())]
    Exec {
        /// The executable.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no KVM to run an hvt image.
    #[error("an hvt image needs KVM: {0}")]
    Kvm(#[source] KvmError),
    /// The filter of system calls cannot be put together.
    #[error("cannot make the seccomp filter: {0}")]
    Filter(#[source] BackendError),
    /// The host does not give the tender what it needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: Errno,
    },
}

/// Why KVM cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvmError {
    /// The host has no `/dev/kvm`.
    #[error(
        "there is no /dev/kvm; load it (modprobe kvm_intel, or kvm_amd), turn virtualization on in \
         the firmware, or build the image for spt"
    )]
    Missing,
    /// This user may not open it.
    #[error(
        "/dev/kvm is forbidden to this user; add them to its group (usermod -aG kvm $USER), or \
         build the image for spt"
    )]
    Forbidden,
    /// It is of another version than 12.
    #[error("the host's KVM is of version {0}, not 12; build the image for spt")]
    Version(i32),
    /// It cannot be opened, for another reason.
    #[error("cannot open /dev/kvm: {0}")]
    Open(#[source] Errno),
}

impl KvmError {
    /// Why it cannot be opened, by the error's number.
    pub(crate) fn open(errno: i32) -> Self {
        match Errno::from_raw_os_error(errno) {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => Self::Missing,
            Errno::ACCESS | Errno::PERM => Self::Forbidden,
            errno => Self::Open(errno),
        }
    }
}
