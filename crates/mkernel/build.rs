//! Puts the linker script of images where the linker looks for it.

use std::{env, fs, path::Path};

fn main() {
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let script = "src/solo5/mkernel-solo5.ld";
    println!("cargo::rerun-if-changed={script}");
    fs::copy(script, Path::new(&out).join("mkernel-solo5.ld")).expect("the linker script is there");
    println!("cargo::rustc-link-search=native={out}");
}
