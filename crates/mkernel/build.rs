//! Puts the platforms' linker scripts where the linker looks for them.

use std::{env, fs, path::Path};

fn main() {
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let script = "src/spt/mkernel-spt.ld";
    println!("cargo::rerun-if-changed={script}");
    fs::copy(script, Path::new(&out).join("mkernel-spt.ld")).expect("the linker script is there");
    println!("cargo::rustc-link-search=native={out}");
}
