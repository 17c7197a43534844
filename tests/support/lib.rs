//! What the tests of whole images have in common: the commands, built once, and a running image.

#![allow(clippy::unwrap_used, reason = "it is for tests")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, fs};

pub use self::capture::Capture;
pub use self::dhcp::{DhcpRequest, DhcpServer};
pub use self::namespace::{Namespace, TAP};
pub use self::running::Running;
pub use self::udp::{burst, client, on_link, ping_pong, recovers};

mod capture;
mod dhcp;
mod namespace;
mod running;
mod udp;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The workspace's folder.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The programs `cargo-mnet` and `mnet-tender`, as a user gets them, and echo's image.
pub struct Built {
    /// `cargo-mnet`.
    pub command: PathBuf,
    /// `mnet-tender`.
    pub tender: PathBuf,
    /// The image of echo for spt.
    pub echo: PathBuf,
}

/// Builds them, once for all tests of a program.
pub fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--release", "--package=cargo-mnet", "--package=tender"]);
        assert!(cargo.current_dir(workspace()).status().unwrap().success());
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| workspace().join("target"), |target| workspace().join(target));
        let release = target.join("release");
        let command = release.join("cargo-mnet");
        let echo = image(&command, "echo", "spt");
        Built { command, tender: release.join("mnet-tender"), echo }
    })
}

/// Builds a unikernel for a platform, as [`built`] does with echo.
#[must_use]
pub fn build(unikernel: &str, platform: &str) -> PathBuf {
    image(&built().command, unikernel, platform)
}

/// The last line that the command prints is the image's path.
fn image(command: &Path, unikernel: &str, platform: &str) -> PathBuf {
    let mut build = Command::new(command);
    build.args(["build", unikernel, "--platform", platform]).current_dir(workspace());
    let output = build.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap().into()
}

/// Runs a service as its README says, with a line that begins `cargo mnet run NAME`: on the user
/// network, with these arguments. Gives where its port is published, once it is ready.
#[must_use]
pub fn serve(unikernel: &str, port: u16, arguments: &[&str]) -> (Running, SocketAddr) {
    let (running, addresses) = serve_ports(unikernel, &[port], arguments);
    (running, addresses[0])
}

/// Runs a service as [`serve`] does, and gives where each of its ports is published.
#[must_use]
pub fn serve_ports(
    unikernel: &str,
    ports: &[u16],
    arguments: &[&str],
) -> (Running, Vec<SocketAddr>) {
    let readme = workspace().join("unikernels").join(unikernel).join("README.md");
    let line = format!("\ncargo mnet run {unikernel}");
    assert!(fs::read_to_string(&readme).unwrap().contains(&line), "{readme:?}");
    // How long that takes is nothing to wait for.
    succeed(Command::new(&built().command).args(["build", unikernel]).current_dir(workspace()));
    let mut command = Command::new(&built().command);
    // Other ports than by default, lest two runs of the tests meet.
    command.args(["run", unikernel]);
    command.args(ports.iter().map(|port| format!("--publish=127.0.0.1:0:{port}/udp")));
    let running = Running::start(command.arg("--").args(arguments).current_dir(workspace()));
    let addresses = ports.iter().map(|&port| running.published(port)).collect();
    (running.ready(), addresses)
}

/// Runs a command that is to succeed, and gives what it prints.
pub fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}
