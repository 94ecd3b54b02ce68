//! Which version of a driver is in place: what its bytes say, what it says itself, and what was written down when it was
//! installed.

use flexvolume_host::plugin::VolumePlugin;
use serde::Serialize;

use crate::installation::digest::{Digest, Facts};
use crate::installation::ledger::Ledger;
use crate::installation::pass::version_in;
use crate::output::{Cell, Tone};

/// The version of a driver's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    /// What its `init` calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// `None` if it cannot be read.
    sha256: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    installed_by: Option<String>,
    /// Whether its files are those that were installed; `None` if nothing was written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_installed: Option<bool>,
}

impl Identity {
    /// Looks at the program, and at what was installed beside it.
    pub(crate) fn of(plugin: &VolumePlugin) -> Self {
        let program = Facts::of_target(plugin.executable()).ok();
        let directory = plugin.executable().parent();
        // A ledger that cannot be read says nothing, but that is no reason not to list drivers.
        let ledger = directory.and_then(|place| Ledger::read(place.parent()?).ok()).unwrap_or_default();
        let release = ledger.drivers.get(plugin.name()).and_then(|entry| entry.current.as_ref());
        let as_installed = release.zip(directory).map(|(release, directory)| {
            let is_there = |place: &str, facts| Facts::of(&directory.join(place)).is_ok_and(|is| is == facts);
            release.files.iter().all(|(place, facts)| is_there(place, facts.clone()))
        });
        Self {
            version: version_in(plugin.init_message()),
            sha256: program.map(|facts| facts.sha256),
            installed_by: release.map(|release| release.installed_by.clone()),
            as_installed,
        }
    }

    /// Its state, of a driver that works.
    pub(crate) fn state(&self) -> Cell {
        match self.as_installed {
            Some(false) => Cell::toned("changed", Tone::Doubtful),
            Some(true) | None => Cell::toned("ok", Tone::Good),
        }
    }

    /// A word for it.
    pub(crate) fn version(&self) -> String {
        let short = self.sha256.as_ref().map(Digest::short);
        self.version.clone().or(short).unwrap_or_else(|| "unreadable".to_owned())
    }

    /// What is worth a line of its own.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let sha256 = self.sha256.as_ref().map(|sha256| ("sha256", sha256.as_str().to_owned()));
        let version = self.version.clone().map(|version| ("version", version));
        let installed = self.installed_by.as_ref().map(|who| {
            let state = if self.as_installed == Some(true) { "" } else { "; changed since" };
            ("installed by", format!("{who}{state}"))
        });
        version.into_iter().chain(sha256).chain(installed).collect()
    }
}
