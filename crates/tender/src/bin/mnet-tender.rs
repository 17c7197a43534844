//! `mnet-tender`: the tender alone, with the spellings of `solo5-spt` and `solo5-hvt`.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr;

use lexopt::{Arg, Parser};
use tender::{Config, Tender};

const HELP: &str = "\
Runs a Solo5 spt or hvt image: loads it, confines it, and gives it a network.

usage: mnet-tender [OPTIONS] [--] IMAGE [ARGUMENTS]

  --net:NAME=user            attach the image's network NAME to a network inside the
                             tender: gateway 10.0.2.2 and fd00:10:2::2, image 10.0.2.15
                             by DHCP, IPv6 by SLAAC; no root needed
  --net:NAME=IF or tap:IF    attach it to the TAP interface IF
  --net:NAME=@FD             attach it to the TAP that is open as descriptor FD
  --net-mac:NAME=MAC         its MAC address (random)
  --publish=[ADDR:]HOST:GUEST/udp
                             reach port GUEST of the image, on its first user network,
                             at port HOST of ADDR (127.0.0.1); may be repeated
  --pcap:NAME=FILE           write what passes on its user network NAME to a file that
                             tcpdump and Wireshark read
  --block:NAME=FILE          attach the image's block device NAME to a file
  --block-sector-size:NAME=SIZE
                             its block size in bytes (512)
  --mem=MIB                  memory of the image (512)
  --no-net-ring              let an hvt image make a call for each frame
  --stats                    say in the end how the ring of an hvt image was used
  --quiet                    do not say which ports are published, nor what was dropped
  --help, --version

The image's exit status is passed on. It is 255 if the image did what it may not, 1 if it
could not be started, and 128 and the signal's number if the tender was interrupted.
";

fn main() -> ExitCode {
    match parse(Parser::from_env()).and_then(|command| match command {
        Command::Help => print(HELP),
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            print(&format!(
                "mnet-tender {version}\nSolo5 spt ABI version {}\nSolo5 hvt ABI version {}\n",
                tender::SPT_ABI_VERSION,
                tender::HVT_ABI_VERSION
            ))
        }
        Command::Run { config, says } => run(&config, says),
    }) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            say(error);
            ExitCode::FAILURE
        }
    }
}

fn run(config: &Config, Says { quiet, stats }: Says) -> Result<u8, String> {
    let tender = Tender::new(config).map_err(text)?;
    if !quiet {
        tender.published().for_each(say);
    }
    let ended = tender.run().map_err(text)?;
    ended.ending.message().into_iter().for_each(say);
    ended.not_captured.iter().for_each(say);
    if !quiet {
        ended.dropped.iter().for_each(say);
    }
    if stats {
        ended.ring.iter().for_each(say);
    }
    Ok(ended.ending.status())
}

/// What is said besides what went wrong.
#[derive(Clone, Copy, Default)]
struct Says {
    quiet: bool,
    stats: bool,
}

enum Command {
    Help,
    Version,
    Run { config: Box<Config>, says: Says },
}

fn parse(mut parser: Parser) -> Result<Command, String> {
    let mut config = Config::new("");
    let mut says = Says::default();
    while let Some(arg) = parser.next().map_err(text)? {
        let option = match arg {
            Arg::Value(image) => {
                config.image = image.into();
                let args = parser.raw_args().map_err(text)?;
                config.args = args.map(utf8).collect::<Result<_, _>>()?;
                return Ok(Command::Run { config: Box::new(config), says });
            }
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("version") => return Ok(Command::Version),
            Arg::Long("quiet") => {
                says.quiet = true;
                continue;
            }
            Arg::Long("stats") => {
                says.stats = true;
                continue;
            }
            Arg::Long("no-net-ring") => {
                config.net_ring = false;
                continue;
            }
            Arg::Long(option) => option.to_owned(),
            Arg::Short(option) => return Err(unknown(&format!("-{option}"))),
        };
        let mut value = || parser.value().map_err(text);
        match option.split_once(':') {
            None if option == "mem" => config.mem = read(&option, value()?)?,
            None if option == "publish" => config.publish.push(read(&option, value()?)?),
            Some(("net", name)) => config.networks.push((device(name)?, read(&option, value()?)?)),
            Some(("net-mac", name)) => config.macs.push((device(name)?, read(&option, value()?)?)),
            Some(("pcap", name)) => config.captures.push((device(name)?, value()?.into())),
            Some(("block", name)) => config.blocks.push((device(name)?, value()?.into())),
            Some(("block-sector-size", name)) => {
                let size = value()?;
                let size = size.to_str().and_then(|size| size.parse().ok()).ok_or_else(|| {
                    format!("--{option}: {size:?} is no block size; give a number, such as 512")
                })?;
                config.block_sizes.push((device(name)?, size));
            }
            _ => return Err(unknown(&format!("--{option}"))),
        }
    }
    Err("there is no image to run; give one (see --help)".to_owned())
}

/// The value of an option.
fn read<T: FromStr<Err: Display>>(option: &str, value: OsString) -> Result<T, String> {
    utf8(value)?.parse().map_err(|error| format!("--{option}: {error}"))
}

/// The name of a device in an option.
fn device(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("a device option needs the device's name, as in --net:service=user".to_owned());
    }
    Ok(name.to_owned())
}

fn utf8(argument: OsString) -> Result<String, String> {
    argument.into_string().map_err(|argument| format!("{argument:?} is not UTF-8; give text"))
}

fn unknown(option: &str) -> String {
    format!("there is no option {option}; see --help")
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn print(text: &str) -> Result<u8, String> {
    std::io::stdout().write_all(text.as_bytes()).map(|()| 0).map_err(self::text)
}

fn say(line: impl Display) {
    // When nobody listens, the status must do.
    let _ = writeln!(std::io::stderr(), "mnet-tender: {line}");
}
