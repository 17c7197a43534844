//! hvt: images under KVM, in a Linux of their own, as a machine's own KVM may be none that can run
//! a guest properly.

#![allow(clippy::unwrap_used, reason = "they are tests, helpers and all")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use mnet_tests::{build, built, workspace};

#[test]
#[ignore = "needs QEMU, and Debian's kernel for virtual machines: boots a Linux"]
fn hvt_images_echo_and_are_confined_in_a_small_linux() {
    let folder = env::temp_dir().join(format!("mnet-vm-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (echo, runtime) = (build("echo", "hvt"), build("runtime-image", "hvt"));
    for (file, name) in [
        (&*built().tender, "mnet-tender"),
        (&built().command, "cargo-mnet"),
        (&echo, "echo.hvt"),
        (&runtime, "runtime.hvt"),
        (Path::new(env!("CARGO_BIN_EXE_vm-inside")), "inside"),
    ] {
        fs::copy(file, folder.join(name)).unwrap();
    }
    let mut boot = Command::new(workspace().join("tests/vm/boot"));
    let output = boot.arg(&folder).stdin(Stdio::null()).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("inside ended with 0\r\n"), "{said}");
}
