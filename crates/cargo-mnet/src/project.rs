//! The workspace that the command is typed in, and its unikernels.

use std::path::Path;

use cargo_metadata::{Metadata, MetadataCommand, Package};
use serde::Deserialize;
use tender::{Publish, Published};

/// A workspace.
pub(crate) struct Project {
    metadata: Metadata,
}

impl Project {
    /// Reads the workspace that the current folder is in.
    pub(crate) fn read() -> Result<Self, Error> {
        let metadata = MetadataCommand::new().no_deps().exec().map_err(|error| match error {
            cargo_metadata::Error::CargoMetadata { stderr } => Error::Cargo(last_line(&stderr)),
            error => Error::Cargo(error.to_string()),
        })?;
        Ok(Self { metadata })
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// Whether it has a package of this name, of whatever kind.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.metadata.packages.iter().any(|package| package.name.as_str() == name)
    }

    /// The unikernel of this name.
    pub(crate) fn unikernel(&self, name: &str) -> Result<&Package, Error> {
        self.unikernels().find(|package| package.name.as_str() == name).ok_or_else(|| {
            // Those in `tests` are for tests.
            let tests = self.folder().join("tests");
            let services = self.unikernels().filter(|it| !it.manifest_path.starts_with(&tests));
            let mut names: Vec<_> = services.map(|package| package.name.as_str()).collect();
            names.sort_unstable();
            match names.join(", ") {
                none if none.is_empty() => Error::NoUnikernels { name: name.to_owned() },
                names => Error::NoSuchUnikernel { name: name.to_owned(), names },
            }
        })
    }

    /// The packages of which an image can be made: a program beside something else, of a name of its
    /// own, is a tool.
    fn unikernels(&self) -> impl Iterator<Item = &Package> {
        self.metadata.packages.iter().filter(|package| {
            let is_main = |name: &str| name == package.name.as_str();
            package.targets.iter().any(|target| target.is_bin() && is_main(&target.name))
                && package.dependencies.iter().any(|dependency| dependency.name == "mkernel")
        })
    }
}

/// What a unikernel asks for where nothing is said: its `[package.metadata.mnet]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Defaults {
    pub(crate) publish: Vec<String>,
    pub(crate) mem: Option<u64>,
    pub(crate) args: Vec<String>,
    // How to speak to the first of `publish`; ADDRESS and PORT stand for where it is on the host.
    #[serde(rename = "try")]
    hint: Option<String>,
}

impl Defaults {
    /// What a person may type to speak to a port of the image, if that can be told: to one of which
    /// nothing is said, lines.
    pub(crate) fn hint(&self, port: &Published) -> Option<String> {
        let text = match &self.hint {
            None => "nc -u ADDRESS PORT",
            Some(hint) => {
                let first = self.publish.first()?.parse::<Publish>().ok()?;
                (first.guest == port.guest).then_some(hint)?
            }
        };
        let (address, number) = (port.host.ip().to_string(), port.host.port().to_string());
        Some(text.replace("ADDRESS", &address).replace("PORT", &number))
    }

    pub(crate) fn of(package: &Package) -> Result<Self, Error> {
        let Some(defaults) = package.metadata.get("mnet") else { return Ok(Self::default()) };
        Self::deserialize(defaults).map_err(|error| Error::Defaults {
            name: package.name.to_string(),
            reason: error.to_string(),
        })
    }
}

fn last_line(text: &str) -> String {
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(text);
    line.trim().to_owned()
}

/// What is wrong with a workspace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cargo cannot read this workspace: {0}")]
    Cargo(String),
    #[error("no unikernel '{name}'; this workspace has {names}")]
    NoSuchUnikernel { name: String, names: String },
    #[error(
        "no unikernel '{name}'; this workspace has none: a package that depends on mkernel, with a \
         program of the same name"
    )]
    NoUnikernels { name: String },
    #[error("[package.metadata.mnet] of {name}: {reason}")]
    Defaults { name: String, reason: String },
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::num::NonZeroU16;

    use super::*;

    #[test]
    fn a_unikernel_is_found_by_its_name_and_others_are_named_if_it_is_not() {
        let project = Project::read().unwrap();
        let echo = project.unikernel("echo").unwrap();
        assert_eq!(Defaults::of(echo).unwrap().publish, ["127.0.0.1:7007:7/udp"]);
        let error = project.unikernel("mnet").unwrap_err().to_string();
        assert!(error.starts_with("no unikernel 'mnet'; this workspace has "), "{error}");
        assert!(error.contains("echo"), "{error}");
    }

    #[test]
    fn a_hint_is_of_the_port_that_is_published_first() {
        let port = |host, guest| Published {
            host: ([127, 0, 0, 1], host).into(),
            guest: NonZeroU16::new(guest).unwrap(),
        };
        let mut defaults = Defaults { publish: vec!["53:53".into()], ..Defaults::default() };
        assert_eq!(defaults.hint(&port(9, 54)).unwrap(), "nc -u 127.0.0.1 9");
        defaults.hint = Some("dig @ADDRESS -p PORT".into());
        assert_eq!(defaults.hint(&port(9, 53)).unwrap(), "dig @127.0.0.1 -p 9");
        assert_eq!(defaults.hint(&port(9, 54)), None);
    }

    #[test]
    fn what_is_named_are_the_services_and_no_other_programs() {
        let project = Project::read().unwrap();
        let services = fs::read_dir(project.folder().join("unikernels")).unwrap();
        let mut services: Vec<_> =
            services.map(|service| service.unwrap().file_name().into_string().unwrap()).collect();
        services.sort_unstable();
        // It has a program, and uses mkernel.
        let error = project.unikernel("mnet-bench").unwrap_err().to_string();
        let names = error.strip_prefix("no unikernel 'mnet-bench'; this workspace has ").unwrap();
        assert_eq!(names.split(", ").collect::<Vec<_>>(), services);
        assert!(project.unikernel("runtime-image").is_ok(), "tests build it");
    }
}
