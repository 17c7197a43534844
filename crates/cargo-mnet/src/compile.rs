//! From a package to an image.

use std::env;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cargo_metadata::{Message, Package};
use clap::ValueEnum;

/// What a unikernel is built for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Platform {
    /// An image for a Solo5 sandboxed-process tender.
    #[default]
    Spt,
    /// An image for a Solo5 hardware virtualized tender, under KVM.
    Hvt,
    /// A plain Linux process.
    Hosted,
}

impl Platform {
    /// The name of the profile of its images, and so of the folder that they are in.
    const fn profile(self) -> &'static str {
        match self {
            Self::Spt => "image",
            Self::Hvt => "image-hvt",
            Self::Hosted => "release",
        }
    }

    /// What tells mkernel that it is meant.
    const fn flag(self) -> Option<&'static str> {
        match self {
            Self::Hvt => Some(r#"--cfg=mkernel_platform="hvt""#),
            Self::Spt | Self::Hosted => None,
        }
    }
}

const TARGET: &str = "x86_64-unknown-none";

/// How an image is compiled: for size, but for speed where every datagram passes, and without what
/// nobody reads.
const PROFILE: [&str; 10] = [
    r#"inherits="release""#,
    r#"opt-level="z""#,
    "package.mnet.opt-level=2",
    r#"package.netdev.opt-level="s""#,
    r#"package.mkernel.opt-level="s""#,
    "lto=true",
    "codegen-units=1",
    r#"panic="abort""#,
    "strip=true",
    "debug=false",
];

/// An image lies at a fixed address, as the linker script in mkernel says, and uses no vector
/// registers, not even where a library would. Functions of the same code are one.
const FLAGS: [&str; 4] = [
    "-Crelocation-model=static",
    "-Clink-arg=-Tmkernel-solo5.ld",
    "-Clink-arg=--icf=all",
    r#"--cfg=chacha20_backend="soft""#,
];

/// Builds a unikernel and gives the path of its image.
pub(crate) fn build(package: &Package, platform: Platform) -> Result<PathBuf, Error> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--message-format=json-render-diagnostics"]);
    cargo.args(["--manifest-path", package.manifest_path.as_str()]);
    let profile = platform.profile();
    cargo.args(["--profile", profile]);
    match platform {
        Platform::Hosted => {}
        Platform::Spt | Platform::Hvt => {
            cargo.args(["--target", TARGET]);
            for setting in PROFILE {
                cargo.args(["--config", &format!("profile.{profile}.{setting}")]);
            }
            // These go before what the user's environment adds, and before any configuration.
            let more = env::var("RUSTFLAGS").unwrap_or_default();
            let paths = paths()?;
            let flags: Vec<_> = FLAGS
                .into_iter()
                .chain(platform.flag())
                .chain(paths.iter().map(String::as_str))
                .chain(more.split_whitespace())
                .collect();
            cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        }
    }
    let mut cargo = cargo.stdout(Stdio::piped()).spawn().map_err(Error::Cargo)?;
    let output = cargo.stdout.take().map(BufReader::new);
    let mut image = None;
    for message in output.into_iter().flat_map(Message::parse_stream) {
        if let Message::CompilerArtifact(artifact) = message.map_err(Error::Cargo)?
            && artifact.package_id == package.id
        {
            image = artifact.executable.or(image);
        }
    }
    let status = cargo.wait().map_err(Error::Cargo)?;
    match image {
        Some(image) if status.success() => Ok(image.into()),
        _ => Err(Error::Failed { name: package.name.to_string() }),
    }
}

/// Names sources in panics as they are called everywhere, so that an image does not depend on where
/// its builder keeps them: the standard library's as without its sources, other crates' by name.
fn paths() -> Result<[String; 2], Error> {
    let version = rustc(&["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    let sysroot = rustc(&["--print", "sysroot"])?;
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok([
        remap(
            &Path::new(sysroot.trim_end()).join("lib/rustlib/src/rust"),
            &format!("/rustc/{}", commit.unwrap_or_default()),
        ),
        remap(&cargo_home.unwrap_or_default().join("registry/src"), "registry"),
    ])
}

fn rustc(arguments: &[&str]) -> Result<String, Error> {
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let output = rustc.args(arguments).stderr(Stdio::inherit()).output().map_err(Error::Rustc)?;
    String::from_utf8(output.stdout).map_err(|error| Error::Rustc(io::Error::other(error)))
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cargo cannot be run: {0}")]
    Cargo(io::Error),
    #[error("rustc cannot be run: {0}")]
    Rustc(io::Error),
    #[error("{name} was not built; the reason is above")]
    Failed { name: String },
}
