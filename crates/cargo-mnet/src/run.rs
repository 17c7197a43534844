//! Running an image in the tender.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;
use tender::{Config, Mac, Memory, Network, Publish, Tender};

use crate::compile::{self, Platform};
use crate::project::{Defaults, Project};
use crate::say;

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// A package of this workspace, or the path of an image.
    unikernel: String,
    /// What it is built for, or was.
    #[arg(long, value_enum, default_value_t)]
    platform: Platform,
    /// What a network of the image is attached to: user, tap:IF or @FD. Those that are not named
    /// are attached to a user network each.
    #[arg(long, value_name = "NAME=NETWORK", value_parser = named::<Network>)]
    net: Vec<(String, Network)>,
    /// The MAC address of a network of the image.
    #[arg(long, value_name = "NAME=MAC", value_parser = named::<Mac>)]
    net_mac: Vec<(String, Mac)>,
    /// A port of the image that is to be reached from the host.
    #[arg(long, value_name = "[ADDR:]HOST:GUEST/udp")]
    publish: Vec<Publish>,
    /// Write what passes on the image's network to a file that tcpdump and Wireshark read. Of
    /// several networks it is the first user network.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Memory of the image in MiB [default: 512].
    #[arg(long, value_name = "MIB")]
    mem: Option<Memory>,
    /// The image's arguments.
    #[arg(last = true)]
    args: Vec<String>,
}

/// Reads `NAME=VALUE`.
fn named<T>(text: &str) -> Result<(String, T), String>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE, such as service=user")?;
    let value = value.parse().map_err(|error: T::Err| error.to_string())?;
    Ok((name.to_owned(), value))
}

impl Run {
    /// Runs the image to its end, and gives its exit status.
    pub(crate) fn run(self) -> Result<u8, Box<dyn Error>> {
        let (image, defaults) = self.image()?;
        let config = self.config(image, &defaults)?;
        let tender = match self.platform {
            Platform::Spt | Platform::Hvt => Tender::new(&config)?,
            Platform::Hosted => Tender::hosted(&config)?,
        };
        let is_user = config.networks.iter().any(|(_, network)| *network == Network::User);
        if is_user && config.publish.is_empty() {
            say(&"no port of the image is published; give one by --publish, such as 7007:7/udp");
        }
        for port in tender.published() {
            match defaults.hint(&port) {
                Some(hint) => say(&format!("{port}; try it: {hint}")),
                None => say(&port),
            }
        }
        let ended = tender.run()?;
        ended.messages().for_each(|line| say(&line));
        Ok(ended.ending.status())
    }

    /// The image, built if need be, and what its package asks for.
    fn image(&self) -> Result<(PathBuf, Defaults), Box<dyn Error>> {
        let path = Path::new(&self.unikernel);
        if path.components().count() > 1 || path.is_file() {
            return Ok((path.to_owned(), Defaults::default()));
        }
        let project = Project::read()?;
        let package = project.unikernel(&self.unikernel)?;
        Ok((compile::build(package, self.platform)?, Defaults::of(package)?))
    }

    fn config(&self, image: PathBuf, defaults: &Defaults) -> Result<Config, Box<dyn Error>> {
        let mut config = Config::new(image);
        config.networks = self.net.clone();
        let names = match self.platform {
            Platform::Spt | Platform::Hvt => tender::networks(&config.image)?,
            // A Linux process has no manifest to look into.
            Platform::Hosted if self.net.is_empty() => vec!["service".to_owned()],
            Platform::Hosted => Vec::new(),
        };
        for name in names {
            if !config.networks.iter().any(|(other, _)| *other == name) {
                config.networks.push((name, Network::User));
            }
        }
        config.macs = self.net_mac.clone();
        let is_user = config.networks.iter().any(|(_, network)| *network == Network::User);

        if let Some(path) = &self.pcap {
            let networks = || config.networks.iter();
            let user = networks().find(|(_, network)| *network == Network::User);
            // On one of another kind, the tender says what to do instead.
            let captured = user.or_else(|| networks().next()).ok_or("--pcap: it has no network")?;
            config.captures.push((captured.0.clone(), path.clone()));
        }
        config.publish = self.publish.clone();
        if is_user && config.publish.is_empty() {
            let parsed = defaults.publish.iter().map(|publish| publish.parse());
            config.publish = parsed.collect::<Result<_, _>>()?;
        }
        config.mem = match (self.mem, defaults.mem) {
            (Some(mem), _) => mem,
            (None, Some(mib)) => mib.to_string().parse()?,
            (None, None) => Memory::default(),
        };
        config.args = if self.args.is_empty() { &defaults.args } else { &self.args }.clone();
        Ok(config)
    }
}
