//! Who uses a mount dir: `unmount` is told the mount dir and nothing else.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Result, VolumeError};
use crate::pool::{encode, short_name};
use crate::record;
use std::os::unix::ffi::OsStrExt;

/// A directory of claims, one file per mount dir.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    pub(crate) directory: PathBuf,
}

/// One claim.
#[derive(Debug, Serialize, Deserialize)]
struct Claim<T> {
    version: u32,
    mount_dir: String,
    holds: T,
}

impl Claims {
    fn file(&self, mount_dir: &Path) -> PathBuf {
        self.directory.join(format!("{}.claim", short_name(mount_dir)))
    }

    /// What is recorded for this mount dir, `None` for nothing.
    pub(crate) fn load<T: DeserializeOwned>(&self, mount_dir: &Path) -> Result<Option<T>> {
        let path = self.file(mount_dir);
        let Some(claim) = record::load::<Claim<T>>(&path)? else { return Ok(None) };
        if claim.mount_dir == name(mount_dir) {
            return Ok(Some(claim.holds));
        }
        let why =
            format!("is the claim of the mount dir {:?}, whose short name is the same", claim.mount_dir);
        Err(VolumeError::CannotKnow { path, why })
    }

    /// Records what the mount dir is used for.
    pub(crate) fn store<T: Serialize>(&self, mount_dir: &Path, holds: T) -> Result<()> {
        let claim = Claim { version: record::VERSION, mount_dir: name(mount_dir), holds };
        record::store(&self.file(mount_dir), &claim)
    }

    /// Forgets the mount dir; nothing recorded is fine.
    pub(crate) fn remove(&self, mount_dir: &Path) -> Result<()> {
        record::remove(&self.file(mount_dir))
    }
}

/// A mount dir as text, whatever bytes it has.
pub(crate) fn name(mount_dir: &Path) -> String {
    encode(mount_dir.as_os_str().as_bytes())
}
