//! Hosted unikernels: ordinary programs on the same networks.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tender::{Config, Error, Network};

use crate::guest::temporary;

/// A program that is removed in the end.
struct Program(PathBuf);

impl Program {
    /// A shell script. It is written by another process: were it open for writing here when a
    /// test beside this one forks, it could not be run for a moment.
    fn new(script: &str) -> Self {
        let path = temporary("sh");
        let mut install = Command::new("install")
            .args(["-m", "755", "/dev/stdin"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        install.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(install.wait().unwrap().success());
        Self(path)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn config(program: &Program) -> Config {
    let mut config = Config::new(&program.0);
    config.networks.push(("service".to_owned(), Network::User));
    config.macs.push(("service".to_owned(), "02:00:00:00:00:01".parse().unwrap()));
    config
}

#[test]
fn a_hosted_unikernel_is_told_of_its_networks_before_its_own_arguments() {
    let program = Program::new(
        "#!/bin/sh
        fd=${1#--net:service=@}
        test -S /proc/self/fd/$fd || exit 1
        test $2 = --net-mac:service=02:00:00:00:00:01 || exit 2
        test $3 = --net-mtu:service=1500 || exit 3
        test $4 = --port=7 || exit 4
        test $# = 4 || exit 5
        exit 42",
    );
    let mut config = config(&program);
    config.args.push("--port=7".to_owned());
    assert_eq!(tender::run_hosted(&config).unwrap(), 42);
}

#[test]
fn a_hosted_unikernel_that_cannot_be_started_is_named() {
    let said = |config: &Config| match tender::run_hosted(config) {
        Err(error @ (Error::Exec { .. } | Error::Image { .. } | Error::HostedBlock(_))) => {
            error.to_string()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(said(&Config::new("/")), "the image / is not a file; name the image itself");
    assert!(said(&Config::new("sh")).starts_with("the image sh cannot be read: No such file"));
    let text = Program::new("exit 0");
    let expected = "is not a program; give a unikernel built as hosted";
    assert_eq!(said(&config(&text)), format!("the image {} {expected}", text.0.display()));
    let broken = Program::new("#!/nonexistent");
    let mut config = config(&broken);
    assert!(said(&config).contains("cannot be started: No such file"));
    config.blocks.push(("disk".to_owned(), "/dev/null".into()));
    assert_eq!(
        said(&config),
        "--block:disk: a hosted unikernel has no block devices; run it on spt"
    );
}
