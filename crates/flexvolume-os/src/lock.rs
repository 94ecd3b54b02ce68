//! A lock between processes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

/// A lock that is held until dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else holds it.
    #[error("{} is held by another process for more than {}; try again when it is done", .path.display(), humantime::format_duration(*.waited))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// The lock file cannot be used.
    #[error("lock file {}: {source}", .path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl Lock {
    /// Takes the lock of this file (made with mode 0600 if missing, never removed), waiting at most `patience`.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(path: &Path, patience: Duration) -> Result<Self, LockError> {
        todo!("{path:?} {patience:?}")
    }
}
