//! One lock for each volume, across processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume_os::atomic;
use flexvolume_os::lock::{Lock, LockError};

use super::error::Result;
use crate::error::at;
use crate::pool::PATIENCE;

/// A directory of lock files. LVM locks a group for each of its commands; these keep two calls of ours from working on
/// one volume at once.
#[derive(Debug, Clone)]
pub(crate) struct Locks {
    directory: PathBuf,
}

impl Locks {
    /// In the directory `lvm` of `state`. Both drivers share it.
    pub(crate) fn new(state: &Path) -> Self {
        Self { directory: state.join("lvm") }
    }

    /// Where they are; notes lie beside them.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether somebody holds the lock of this volume at the moment.
    pub(crate) fn is_held(&self, mapped: &str) -> bool {
        let path = self.directory.join(format!("{mapped}.lock"));
        path.exists() && matches!(Lock::acquire(&path, Duration::ZERO), Err(LockError::Held { .. }))
    }

    /// Keeps other calls away from the volume that device-mapper would call `mapped`, in whatever process, until dropped.
    pub(crate) fn lock(&self, mapped: &str) -> Result<Lock> {
        atomic::create_directories(&self.directory, 0o700).map_err(at("make directory", &self.directory))?;
        Ok(Lock::acquire(&self.directory.join(format!("{mapped}.lock")), PATIENCE)?)
    }
}
