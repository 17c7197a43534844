#![doc = include_str!("../README.md")]

mod compile;
mod new;
mod project;
mod run;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::compile::Platform;
use crate::project::Project;
use crate::run::Run;

/// Builds unikernels and runs them.
#[derive(Debug, Parser)]
#[command(name = "cargo mnet", bin_name = "cargo mnet", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a unikernel; the last line of standard output is the image's path.
    Build {
        /// A package of this workspace.
        unikernel: String,
        /// What it is built for.
        #[arg(long, value_enum, default_value_t)]
        platform: Platform,
    },
    /// Build a unikernel, if it is not an image already, and run it.
    Run(Run),
    /// Make a unikernel that builds and runs: a service to begin with.
    New {
        /// The name of its package, which is to be in unikernels/.
        name: String,
    },
}

fn main() -> ExitCode {
    // `cargo mnet` runs `cargo-mnet mnet` where it is installed.
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|argument| argument == "mnet") {
        arguments.remove(1);
    }
    let result = match Cli::parse_from(arguments).command {
        Command::Build { unikernel, platform } => build(&unikernel, platform),
        Command::Run(run) => run.run(),
        Command::New { name } => new(&name),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

fn build(unikernel: &str, platform: Platform) -> Result<u8, Box<dyn std::error::Error>> {
    let image = compile::build(Project::read()?.unikernel(unikernel)?, platform)?;
    writeln!(io::stdout(), "{}", image.display())?;
    Ok(0)
}

fn new(name: &str) -> Result<u8, Box<dyn std::error::Error>> {
    let folder = new::new(&Project::read()?, name)?;
    say(&format!("{} is there; try it: cargo mnet run {name}", folder.display()));
    Ok(0)
}

/// Says something to the person who typed the command.
fn say(line: &dyn std::fmt::Display) {
    // When nobody listens, the status must do.
    let _ = writeln!(io::stderr(), "cargo mnet: {line}");
}
