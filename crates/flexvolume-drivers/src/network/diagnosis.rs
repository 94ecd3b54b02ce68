//! What the diagnoses have in common: whether this node's kernel has a file system, found out without loading it, and where
//! a server listens.

use std::fs;
use std::path::{Path, PathBuf};

use flexvolume::{Finding, Options};

use crate::error::RequestError;

/// Where a module of the kernel is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Presence {
    Loaded,
    BuiltIn,
    /// It can be loaded, as the first mount does.
    Loadable,
    /// It was looked for there.
    Missing(PathBuf),
}

/// What can be said of a module; `otherwise` makes a finding of what is wrong.
pub(crate) fn module(subject: &str, name: &str, otherwise: impl FnOnce(String) -> Finding) -> Finding {
    match presence(name) {
        Presence::Loaded => Finding::good(subject, "is loaded"),
        Presence::BuiltIn => Finding::good(subject, "is built in"),
        Presence::Loadable => Finding::good(subject, "is there, and loaded by the first mount"),
        Presence::Missing(modules) => {
            otherwise(format!("the module {name} is neither loaded nor found in {}", modules.display()))
        }
    }
}

/// The option `port`, or else the usual one.
pub(crate) fn port(options: &Options, usual: u16) -> Result<u16, RequestError> {
    let Some(text) = options.get("port") else { return Ok(usual) };
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| RequestError::Value {
        key: "port",
        value: text.to_owned(),
        why: "it is a number from 1 to 65535".to_owned(),
    })
}

fn presence(name: &str) -> Presence {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if Path::new("/sys/module").join(name).exists() {
        return Presence::Loaded;
    }
    let modules = Path::new("/lib/modules").join(release.trim());
    let file = format!("/{name}.ko");
    let listed = |list: &str| {
        fs::read_to_string(modules.join(list)).is_ok_and(|text| text.lines().any(|line| line.contains(&file)))
    };
    if listed("modules.builtin") {
        Presence::BuiltIn
    } else if listed("modules.dep") {
        Presence::Loadable
    } else {
        Presence::Missing(modules)
    }
}
