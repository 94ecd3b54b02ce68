//! What was installed in a plugin directory, by whom: `.flexvol-installed.json` in it, which drivers' hosts do not look
//! at.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Component, Path, PathBuf};

use flexvolume_host::contract::{Capabilities, DriverName};
use flexvolume_host::os::atomic;
use serde::{Deserialize, Serialize};

use super::digest::Facts;
use super::{InstallError, failed};

const FILE: &str = ".flexvol-installed.json";
const LARGEST: u64 = 16 << 20;

/// The drivers that were installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ledger {
    /// The version of this format.
    format: Format,
    pub(crate) drivers: BTreeMap<DriverName, Entry>,
}

/// The one format so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Format {
    #[default]
    #[serde(rename = "flexvol-installed/1")]
    One,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { format: Format::One, drivers: BTreeMap::new() }
    }
}

/// An installed driver.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// What is in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<Release>,
    /// What is being put into place: after a crash either, or some of each, may be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Release>,
}

/// A version of a driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Release {
    /// Who installed it.
    pub(crate) installed_by: String,
    /// What its `init` said of itself, if it was asked and said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// What its `init` declared, if it was asked and answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capabilities: Option<Capabilities>,
    /// Its files, by their places below the driver's directory.
    pub(crate) files: BTreeMap<String, Facts>,
}

impl Ledger {
    /// Reads the ledger of a plugin directory; one that is not there is empty.
    ///
    /// # Errors
    /// [`InstallError::Ledger`] if it cannot be read or was damaged: who owns what is then unknown.
    pub(crate) fn read(plugin_dir: &Path) -> Result<Self, InstallError> {
        let path = path(plugin_dir);
        let mut text = Vec::new();
        match File::open(&path).and_then(|file| file.take(LARGEST).read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed("read", &path)(error)),
        }
        let damaged = |why: String| InstallError::Ledger { path: path.clone(), why };
        let ledger: Self = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if let Some(place) = ledger.places().find(|place| !is_below(place)) {
            return Err(damaged(format!("{place:?} is no place below a driver's directory")));
        }
        Ok(ledger)
    }

    /// Writes it, durably; an empty one is removed.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn write(&self, plugin_dir: &Path) -> Result<(), InstallError> {
        let path = path(plugin_dir);
        let written = if self.drivers.is_empty() {
            atomic::remove(&path)
        } else {
            let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
            text.and_then(|text| atomic::write(&path, &text))
        };
        written.map_err(failed("write", &path))
    }

    fn places(&self) -> impl Iterator<Item = &String> {
        let releases = self.drivers.values().flat_map(|entry| [&entry.current, &entry.next]).flatten();
        releases.flat_map(|release| release.files.keys())
    }
}

impl Entry {
    /// Whether a file with these facts at this place was put there by an installation.
    pub(crate) fn owns(&self, place: &str, facts: &Facts) -> bool {
        let releases = self.current.iter().chain(&self.next);
        releases.filter_map(|release| release.files.get(place)).any(|ours| ours.sha256 == facts.sha256)
    }

    /// All places that an installation may have filled.
    pub(crate) fn places(&self) -> impl Iterator<Item = &String> {
        self.current.iter().chain(&self.next).flat_map(|release| release.files.keys())
    }

    /// Whether a directory below the driver's was made for what it brings.
    pub(crate) fn fills(&self, directory: &str) -> bool {
        self.places().any(|place| place.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
    }

    /// Who installed it.
    pub(crate) fn installed_by(&self) -> Option<&str> {
        self.current.as_ref().or(self.next.as_ref()).map(|release| release.installed_by.as_str())
    }
}

fn path(plugin_dir: &Path) -> PathBuf {
    plugin_dir.join(FILE)
}

/// Whether a path leads to somewhere below the place that it is joined to, and nowhere else.
fn is_below(place: &str) -> bool {
    !place.is_empty() && Path::new(place).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(path(directory.path()), text).unwrap();
        Ledger::read(directory.path()).unwrap_err().to_string()
    }

    #[test]
    fn a_ledger_that_was_tampered_with_is_refused() {
        let release = |place: &str| {
            format!(
                r#"{{"format": "flexvol-installed/1", "drivers": {{"a.b/c": {{"current": {{"installedBy": "x",
                "files": {{"{place}": {{"sha256": "", "size": 1, "mode": 1}}}}}}}}}}}}"#
            )
        };
        for place in ["../x", "/etc/passwd", "", "a/../../b"] {
            assert!(refused(&release(place)).contains("no place below"), "{place}");
        }
        assert!(refused("{").contains("damaged"));
        assert!(
            refused(r#"{"format": "flexvol-installed/2", "drivers": {}}"#).contains("flexvol-installed/2")
        );
        assert!(refused(&release("x").replace("a.b/c", "../c")).contains("driver name"));
    }

    #[test]
    fn an_empty_ledger_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::read(directory.path()).unwrap();
        ledger.drivers.insert(DriverName::parse("a.b/c").unwrap(), Entry::default());
        ledger.write(directory.path()).unwrap();
        assert_eq!(Ledger::read(directory.path()).unwrap(), ledger);
        ledger.drivers.clear();
        ledger.write(directory.path()).unwrap();
        assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none());
    }
}
