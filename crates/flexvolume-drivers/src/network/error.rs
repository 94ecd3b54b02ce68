//! What the drivers of network file systems answer when they cannot do their work.

use flexvolume_os::network_mount::{NetworkMountError, SettingError};
use flexvolume_os::reach::Unreachable;
use thiserror::Error;

use crate::error::{RequestError, VolumeError};

/// A step that failed on a network file system.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The options describe no volume.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A step that is the same for every driver.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A value that the kernel would not take.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The server cannot be reached.
    #[error("cannot reach the server of {source_name}: {cause}")]
    Unreachable {
        /// `server:/export`.
        source_name: String,
        /// Why.
        cause: Unreachable,
    },
    /// The server or the kernel said no, and there is something to say about why.
    #[error("cannot mount {source_name}: {cause}; {remedy}")]
    Refused {
        /// `server:/export`.
        source_name: String,
        /// What it means.
        cause: String,
        /// What to do next.
        remedy: String,
    },
    /// A mount or unmount failed.
    #[error(transparent)]
    Mount(#[from] NetworkMountError),
    /// Something else is mounted there, or the same with other options.
    #[error("{mount_dir} is the mount point of {actual}, and {wanted} is asked for: unmount it first")]
    Differs {
        /// The mount dir.
        mount_dir: String,
        /// What is mounted.
        actual: String,
        /// What is asked for.
        wanted: String,
    },
    /// A sick mount cannot be helped now.
    #[error("{mount_dir} is not well ({sickness}) and stays as it is: {why}")]
    NotHealed {
        /// The mount dir.
        mount_dir: String,
        /// What is wrong with it.
        sickness: String,
        /// Why nothing can be done, and what must happen first.
        why: String,
    },
}

/// The result of a step on a network file system.
pub(crate) type Result<T> = std::result::Result<T, NetworkError>;
