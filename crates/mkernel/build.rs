//! Puts the linker script of images where the linker looks for it, and says what platforms there
//! are besides spt.

use std::{env, fs, path::Path};

fn main() {
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let script = "src/solo5/mkernel-solo5.ld";
    println!("cargo::rerun-if-changed={script}");
    fs::copy(script, Path::new(&out).join("mkernel-solo5.ld")).expect("the linker script is there");
    // Both of these platforms are bare processors: what builds an image says which.
    println!("cargo::rustc-check-cfg=cfg(mkernel_platform, values(\"hvt\"))");
    println!("cargo::rustc-link-search=native={out}");
}
