//! Which device of an image is attached to what.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use netdev::Mac;
use solo5_abi::{Entry, Kind};

use crate::block;
use crate::config::Config;
use crate::device::{Backing, Device};
use crate::error::Error;
use crate::net::user::{self, UserNetwork};
use crate::net::{self, Network, NetworkError, Publish, PublishError};

/// The devices of an image, opened.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) devices: Vec<Device>,
    /// Each with its name.
    pub(crate) users: Vec<(String, UserNetwork)>,
}

/// Opens a device for each entry of the manifest.
pub(crate) fn image(config: &Config, manifest: &[Entry]) -> Result<Attached, Error> {
    check_names("net", &config.networks, manifest, Kind::Net)?;
    check_names("net-mac", &config.macs, manifest, Kind::Net)?;
    check_names("pcap", &config.captures, manifest, Kind::Net)?;
    check_names("block", &config.blocks, manifest, Kind::Block)?;
    check_names("block-sector-size", &config.block_sizes, manifest, Kind::Block)?;

    let unattached = |entry: &Entry, what, give| Error::Unattached {
        what,
        name: entry.name().to_owned(),
        give: format!("--{give}"),
    };
    for entry in manifest {
        let name = entry.name();
        match entry.kind() {
            Some(Kind::Net) if find(&config.networks, name).is_none() => {
                return Err(unattached(entry, "network", format!("net:{name}=user")));
            }
            Some(Kind::Block) if find(&config.blocks, name).is_none() => {
                return Err(unattached(entry, "block device", format!("block:{name}=FILE")));
            }
            _ => {}
        }
    }

    let mut opener = Opener::new(config)?;
    let mut devices = Vec::new();
    for (index, entry) in manifest.iter().enumerate() {
        let name = entry.name();
        let (file, backing) = if let Some(network) = find(&config.networks, name) {
            opener.network(name, network)?
        } else if let Some(path) = find(&config.blocks, name) {
            let size = find(&config.block_sizes, name).copied().unwrap_or(block::DEFAULT_SIZE);
            block::open(path, size)
                .map_err(|source| Error::Block { name: name.to_owned(), source })?
        } else {
            continue;
        };
        devices.push(Device { index, file, backing });
    }
    Ok(Attached { devices, users: opener.users })
}

/// Opens each network of the configuration: a hosted unikernel has no manifest to be read.
pub(crate) fn hosted(config: &Config) -> Result<Attached, Error> {
    check_twice("net", &config.networks)?;
    check_twice("net-mac", &config.macs)?;
    check_twice("pcap", &config.captures)?;
    if let Some((name, _)) = config.blocks.first() {
        return Err(Error::HostedBlock(name.clone()));
    }
    let mut opener = Opener::new(config)?;
    let mut devices = Vec::new();
    for (index, (name, network)) in config.networks.iter().enumerate() {
        let (file, backing) = opener.network(name, network)?;
        devices.push(Device { index, file, backing });
    }
    Ok(Attached { devices, users: opener.users })
}

struct Opener<'c> {
    config: &'c Config,
    /// What the first `user` network publishes.
    publish: &'c [Publish],
    users: Vec<(String, UserNetwork)>,
}

impl<'c> Opener<'c> {
    fn new(config: &'c Config) -> Result<Self, Error> {
        let users = config.networks.iter().any(|(_, network)| *network == Network::User);
        match config.publish.first() {
            Some(&publish) if !users => {
                Err(Error::Publish { publish, source: PublishError::NoUserNetwork })
            }
            _ => Ok(Self { config, publish: &config.publish, users: Vec::new() }),
        }
    }

    fn network(&mut self, name: &str, network: &Network) -> Result<(OwnedFd, Backing), Error> {
        let error = |source| Error::Network { name: name.to_owned(), source };
        let mac = match find(&self.config.macs, name) {
            Some(&mac) if mac.is_unicast() => mac,
            Some(&mac) => return Err(error(NetworkError::Mac(mac))),
            None => net::random_mac()
                .map_err(|source| Error::System { what: "make a random MAC address", source })?,
        };
        let capture = find(&self.config.captures, name).map(PathBuf::as_path);
        if let Some(path) = capture.filter(|_| *network != Network::User) {
            return Err(error(NetworkError::NoCapture(net::how_to_capture(network, path))));
        }
        let (file, mtu) = match network {
            Network::User => (self.user(name, mac, capture)?, user::MTU),
            Network::Tap(interface) => net::open_tap(interface).map_err(error)?,
            Network::Descriptor(descriptor) => net::open_descriptor(*descriptor).map_err(error)?,
        };
        Ok((file, Backing::Net { mac, mtu }))
    }

    fn user(&mut self, name: &str, mac: Mac, capture: Option<&Path>) -> Result<OwnedFd, Error> {
        let publish = std::mem::take(&mut self.publish);
        let (network, file) = UserNetwork::open(name, mac, publish, capture)?;
        self.users.push((name.to_owned(), network));
        Ok(file)
    }
}

fn find<'c, T>(named: &'c [(String, T)], name: &str) -> Option<&'c T> {
    named.iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

/// Checks that the options of this kind speak of devices that there are, once of each.
fn check_names<T>(
    option: &'static str,
    named: &[(String, T)],
    manifest: &[Entry],
    kind: Kind,
) -> Result<(), Error> {
    let names = || manifest.iter().filter(|entry| entry.kind() == Some(kind)).map(Entry::name);
    if let Some((name, _)) = named.iter().find(|(name, _)| !names().any(|other| other == name)) {
        let what = if kind == Kind::Net { "network" } else { "block device" };
        let has = match names().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => format!("no {what}"),
            names => format!("the {what} {names}"),
        };
        return Err(Error::NoDevice { option, name: name.clone(), has });
    }
    check_twice(option, named)
}

fn check_twice<T>(option: &'static str, named: &[(String, T)]) -> Result<(), Error> {
    let twice = named
        .iter()
        .enumerate()
        .find(|&(index, (name, _))| named[..index].iter().any(|(other, _)| other == name));
    match twice {
        Some((_, (name, _))) => Err(Error::Twice { option, name: name.clone() }),
        None => Ok(()),
    }
}
