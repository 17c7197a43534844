//! How large echo's image is on each platform, and whether that is more than it was: it must not
//! exceed what `image-size.txt` says by 3 %.
//!
//! With `--bless`, the sizes are written there.

use std::process::ExitCode;
use std::{env, fs};

use mnet_bench::Committed;

fn main() -> ExitCode {
    let bless = env::args().any(|argument| argument == "--bless");
    let mut committed = Committed::read("image-size.txt", bless);
    for platform in ["spt", "hvt"] {
        let image = mnet_tests::build("echo", platform);
        let size = fs::metadata(image).expect("the image is there").len();
        committed.compare(&format!("echo/{platform}"), size, true);
    }
    committed.finish()
}
