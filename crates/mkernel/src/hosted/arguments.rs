//! The command line: options for the platform, then the image's arguments.

use std::env;
use std::sync::OnceLock;

static ARGUMENTS: OnceLock<Vec<String>> = OnceLock::new();

/// Takes the platform's options, which begin with `--net:` or `--net-`, from the arguments and
/// returns them.
pub(super) fn init() -> Result<Vec<String>, String> {
    let arguments: Vec<String> = env::args_os()
        .skip(1)
        .map(|argument| {
            argument.into_string().map_err(|_| "the arguments are not UTF-8".to_owned())
        })
        .collect::<Result<_, _>>()?;
    let (options, arguments) =
        arguments.into_iter().partition(|a| a.starts_with("--net:") || a.starts_with("--net-"));
    let _ = ARGUMENTS.set(arguments);
    Ok(options)
}

/// The image's arguments.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    ARGUMENTS.get().into_iter().flatten().map(String::as_str)
}
