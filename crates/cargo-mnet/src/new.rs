//! A service to begin with.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::project::Project;

/// Where a workspace has its unikernels.
const FOLDER: &str = "unikernels";
const MANIFEST: &str = include_str!("../template/manifest.toml");
const MAIN: &str = include_str!("../template/main.rs");

/// Makes a unikernel of this name in a workspace, and gives its folder.
pub(crate) fn new(project: &Project, name: &str) -> Result<PathBuf, Error> {
    if !is_name(name) {
        return Err(Error::Name { name: name.to_owned() });
    }
    let folder = project.folder().join(FOLDER).join(name);
    // With two of one name, cargo could read none of them any more.
    if project.has(name) && !folder.exists() {
        return Err(Error::Taken { name: name.to_owned() });
    }
    let path = || folder.clone();
    fs::create_dir_all(project.folder().join(FOLDER))
        .and_then(|()| fs::create_dir(&folder))
        .and_then(|()| fs::create_dir(folder.join("src")))
        .and_then(|()| fs::write(folder.join("Cargo.toml"), MANIFEST.replace("NAME", name)))
        .and_then(|()| fs::write(folder.join("src/main.rs"), MAIN))
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: path() },
            _ => Error::Write { path: path(), error },
        })?;
    Ok(folder)
}

/// Whether a package can have this name, and a folder.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '-' || it == '_')
}

/// Why there is no new unikernel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{name:?} is no name for a unikernel; give a letter, then letters, digits, - and _")]
    Name { name: String },
    #[error("this workspace has another package of the name {name}; give another name")]
    Taken { name: String },
    #[error("{} is there already; give another name", path.display())]
    Exists { path: PathBuf },
    #[error("{} cannot be made: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_package_and_a_folder_can_have() {
        for name in ["hello", "a", "dns-server_2"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-x", "2x", "a b", "../x", "a/b", "ä", "."] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_name_that_the_workspace_has_already_is_refused_and_nothing_is_made() {
        let project = Project::read().unwrap();
        let refused = |name| new(&project, name).unwrap_err().to_string();
        assert!(refused("mnet-proto").contains("another package of the name mnet-proto"));
        assert!(!project.folder().join(FOLDER).join("mnet-proto").exists());
        assert!(refused("echo").contains("echo is there already"));
    }
}
