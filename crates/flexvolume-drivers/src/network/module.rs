//! Whether this node's kernel has a file system, found out without loading it.

use std::fs;
use std::path::{Path, PathBuf};

use flexvolume::Finding;

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
