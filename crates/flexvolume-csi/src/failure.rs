//! Why the bridge cannot start or go on.

use std::io;
use std::path::PathBuf;

use flexvolume_host::contract::NameError;
use flexvolume_host::os::lock::LockError;
use flexvolume_host::registry::WatchError;
use thiserror::Error;

use crate::book::BookError;
use crate::name::CsiNameError;

/// Why the bridge cannot start or go on.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// A driver or node has no good name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A driver's usual name is no name for CSI.
    #[error(transparent)]
    CsiName(#[from] CsiNameError),
    /// A flag has no sensible value.
    #[error("{flag}: {why}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Something of the system's failed.
    #[error("{step} {}: {source}", .path.display())]
    System {
        /// What was being done.
        step: &'static str,
        /// To what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The records cannot be used.
    #[error(transparent)]
    Book(#[from] BookError),
    /// Another bridge serves the driver.
    #[error("another bridge serves this driver already: {0}")]
    Lock(#[from] LockError),
    /// The driver is missing or fails.
    #[error("{0}")]
    Driver(String),
    /// The plugin directories cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
}

impl Failure {
    /// An error of the system, for `map_err`.
    pub(crate) fn system(step: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::System { step, path, source }
    }
}
