//! What this node's administrator allows that a manifest may not ask for by itself.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

use crate::error::VolumeError;

/// No file of an administrator is longer.
const LIMIT: u64 = 64 << 10;

/// The mount options that the file `<driver>.json` allows: `{"mountOptions": ["suid", "dev"]}`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Grants {
    #[serde(default)]
    mount_options: Vec<String>,
}

/// Where the files are: `FLEXVOL_CONFIG_DIR`, or `/etc/flexvol`.
fn directory() -> PathBuf {
    std::env::var_os("FLEXVOL_CONFIG_DIR")
        .filter(|directory| !directory.is_empty())
        .map_or_else(|| PathBuf::from("/etc/flexvol"), PathBuf::from)
}

impl Grants {
    /// Reads the file of a driver; without one nothing is granted.
    ///
    /// # Errors
    /// A file that others could have written, or that is not what it should be, grants nothing and stops the call.
    pub(crate) fn load(driver: &str) -> Result<Self, VolumeError> {
        let path = directory().join(format!("{driver}.json"));
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(Self::default()),
            Err(errno) => Err(unusable(&path, &format!("cannot be opened: {errno}"))),
            Ok(file) => Self::read(File::from(file), &path),
        }
    }

    fn read(file: File, path: &Path) -> Result<Self, VolumeError> {
        let why = |error: &dyn std::fmt::Display| unusable(path, &format!("cannot be read: {error}"));
        let about = file.metadata().map_err(|error| why(&error))?;
        let trusted = [0, rustix::process::geteuid().as_raw()].contains(&about.uid());
        if !about.is_file() || !trusted || about.mode() & 0o022 != 0 {
            return Err(unusable(path, "must be a file of root that nobody else can write"));
        }
        let mut text = String::new();
        file.take(LIMIT).read_to_string(&mut text).map_err(|error| why(&error))?;
        serde_json::from_str(&text).map_err(|error| why(&error))
    }

    /// Whether a mount option may be used that gives a server power over this node.
    pub(crate) fn allows(&self, option: &str) -> bool {
        self.mount_options.iter().any(|granted| granted == option)
    }

    /// Grants for a test.
    #[cfg(test)]
    pub(crate) fn of(options: &[&str]) -> Self {
        Self { mount_options: options.iter().map(|&option| option.to_owned()).collect() }
    }
}

fn unusable(path: &Path, why: &str) -> VolumeError {
    VolumeError::CannotKnow { path: path.to_owned(), why: format!("{why}; correct it or move it away") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    fn read(text: &str, mode: u32) -> Result<Grants, VolumeError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nfs.json");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        Grants::read(File::open(&path).unwrap(), &path)
    }

    #[test]
    fn only_a_file_that_others_cannot_write_grants_anything() {
        let grants = read(r#"{"mountOptions": ["suid"]}"#, 0o644).unwrap();
        assert!(grants.allows("suid") && !grants.allows("dev"));
        assert!(
            read(r#"{"mountOptions": ["suid"]}"#, 0o664).unwrap_err().to_string().contains("nobody else")
        );
        for bad in ["", "7", r#"{"mountOption": []}"#, r#"{"mountOptions": "suid"}"#] {
            assert!(read(bad, 0o600).is_err(), "{bad}");
        }
    }
}
