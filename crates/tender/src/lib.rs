#![doc = include_str!("../README.md")]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the tender runs images on Linux on x86-64");

mod attach;
mod block;
mod boot;
mod config;
mod device;
mod error;
mod hosted;
mod hvt;
mod image;
mod launch;
mod memory;
mod net;
mod seccomp;
mod spt;
mod supervisor;

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::Path;

use image::Image;
use net::user::UserNetwork;
use solo5_abi::{Kind, Target};
use supervisor::Signals;

pub use block::BlockError;
pub use config::{Config, Memory, ParseMemoryError};
pub use error::{Error, KvmError};
pub use hvt::{Fault, Refusal, RingUse};
pub use image::ImageError;
pub use net::{Network, NetworkError, ParseNetworkError, ParsePublishError, Publish, PublishError};
pub use netdev::{Mac, ParseMacError};
pub use solo5_abi::{hvt::ABI_VERSION as HVT_ABI_VERSION, spt::ABI_VERSION as SPT_ABI_VERSION};
pub use supervisor::Ending;

/// Names of the networks that a Solo5 image has.
///
/// # Errors
/// What is wrong with the image.
pub fn networks(image: &Path) -> Result<Vec<String>, Error> {
    let read =
        Image::read(image).map_err(|source| Error::Image { path: image.to_owned(), source })?;
    let networks = read.manifest().iter().filter(|entry| entry.kind() == Some(Kind::Net));
    Ok(networks.map(|entry| entry.name().to_owned()).collect())
}

/// Runs a Solo5 spt or hvt image to its end, and gives its exit status.
///
/// What ended it, if it was not itself, is said in a line on standard error. See [`Tender`] for the
/// steps one by one.
///
/// # Errors
/// Why it was not run.
pub fn run(config: &Config) -> Result<u8, Error> {
    Tender::new(config)?.run().map(report)
}

/// As [`run`], for a unikernel that was built as an ordinary program of this host.
///
/// # Errors
/// Why it was not run.
pub fn run_hosted(config: &Config) -> Result<u8, Error> {
    Tender::hosted(config)?.run().map(report)
}

fn report(ended: Ended) -> u8 {
    for line in ended.messages() {
        // When nobody listens, the status must do.
        let _ = writeln!(std::io::stderr(), "mnet-tender: {line}");
    }
    ended.ending.status()
}

/// An image that has been checked, with its devices open: what remains is to run it.
#[derive(Debug)]
pub struct Tender {
    program: Program,
    users: Vec<(String, UserNetwork)>,
    publish: Vec<Publish>,
}

#[derive(Debug)]
enum Program {
    Spt(spt::Guest, Memory),
    Hvt(Box<hvt::Guest>, Memory),
    Hosted(Config, Vec<device::Device>),
}

impl Tender {
    /// Checks a Solo5 image, opens its devices and publishes its ports. What it is built for, spt
    /// or hvt, it says itself.
    ///
    /// # Errors
    /// What is wrong with the image, a device or an option.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let image = Image::read(&config.image)
            .map_err(|source| Error::Image { path: config.image.clone(), source })?;
        let attached = attach::image(config, image.manifest())?;
        let devices = attached.devices;
        let program = match image.target() {
            Target::Spt => {
                let guest = spt::Guest::new(image, config.mem, &config.args, devices)?;
                Program::Spt(guest, config.mem)
            }
            Target::Hvt => {
                let guest = hvt::Guest::new(image, config, devices)?;
                Program::Hvt(Box::new(guest), config.mem)
            }
        };
        Ok(Self { program, users: attached.users, publish: config.publish.clone() })
    }

    /// As [`Tender::new`], for a unikernel that was built as an ordinary program of this host.
    ///
    /// It is started with `--net:NAME=@FD --net-mac:NAME=MAC --net-mtu:NAME=MTU` for each network,
    /// before its own arguments. It is not confined, and gets all memory that it wants.
    ///
    /// # Errors
    /// What is wrong with a device or an option.
    pub fn hosted(config: &Config) -> Result<Self, Error> {
        hosted::check(&config.image)?;
        let attached = attach::hosted(config)?;
        Ok(Self {
            program: Program::Hosted(config.clone(), attached.devices),
            users: attached.users,
            publish: config.publish.clone(),
        })
    }

    /// The ports that can be reached from now on, in the order of [`Config::publish`].
    pub fn published(&self) -> impl Iterator<Item = Published> {
        let bound = self.users.iter().flat_map(|(_, user)| user.published());
        bound.zip(&self.publish).map(|(host, publish)| Published { host, guest: publish.guest })
    }

    /// Runs the image to its end.
    ///
    /// Until then, SIGINT, SIGTERM and SIGHUP end the image instead of this process; if this
    /// process ends in any other way, so does the image.
    ///
    /// # Errors
    /// Why it could not be started.
    pub fn run(mut self) -> Result<Ended, Error> {
        let signals = Signals::watch()?;
        let mut ring = None;
        let ending = match self.program {
            Program::Spt(guest, mem) => {
                let (child, report) = supervisor::fork(&guest)?;
                // The devices are the image's alone.
                drop(guest);
                let ending = supervisor::supervise(child, &signals, &mut self.users)?;
                if let Some(error) =
                    supervisor::launch_error(&supervisor::read_report(&report), mem)
                {
                    return Err(error);
                }
                ending
            }
            Program::Hvt(mut guest, mem) => {
                let (child, report) = supervisor::fork(&*guest)?;
                guest.close();
                let ending = supervisor::supervise(child, &signals, &mut self.users)?;
                let report = supervisor::read_report(&report);
                if let Some(error) = supervisor::launch_error(&report, mem) {
                    return Err(error);
                }
                ring = guest.ring_use();
                hvt::refusal(&report).map_or(ending, Ending::Refused)
            }
            Program::Hosted(config, devices) => {
                let child = hosted::start(&config, &devices)?;
                drop(devices);
                supervisor::supervise(child, &signals, &mut self.users)?
            }
        };
        let dropped = self.users.iter().flat_map(|(name, user)| {
            user.drops().map(|(count, what)| Dropped { network: name.clone(), count, what })
        });
        let not_captured = self.users.iter().filter_map(|(name, user)| {
            let error = user.capture_error()?;
            Some(format!("what passed last on the network {name} was not captured: {error}"))
        });
        Ok(Ended { ending, ring, dropped: dropped.collect(), not_captured: not_captured.collect() })
    }
}

/// A port that can be reached from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where on the host, with the port that was really taken.
    pub host: SocketAddr,
    /// The port of the image.
    pub guest: NonZeroU16,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/udp -> service port {}", self.host, self.guest)
    }
}

/// What became of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub ending: Ending,
    /// How it used its ring, if it had one.
    pub ring: Option<RingUse>,
    /// What its `user` networks dropped.
    pub dropped: Vec<Dropped>,
    /// What is wrong with the files of what passed, in a line each.
    pub not_captured: Vec<String>,
}

impl Ended {
    /// What a person wants to know of it, line by line: nothing, if the image ended by itself and
    /// nothing was dropped.
    pub fn messages(&self) -> impl Iterator<Item = String> {
        let dropped = self.dropped.iter().map(Dropped::to_string);
        self.ending.message().into_iter().chain(dropped).chain(self.not_captured.iter().cloned())
    }
}

/// What a `user` network dropped, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The network.
    pub network: String,
    /// How often.
    pub count: u64,
    /// What it was.
    pub what: &'static str,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the network {} dropped {} {}", self.network, self.count, self.what)
    }
}
