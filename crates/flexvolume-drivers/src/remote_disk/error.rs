//! What goes wrong with a disk of a server, whatever the protocol.

use std::io;
use std::path::{Path, PathBuf};

use flexvolume_os::filesystem::FilesystemError;
use flexvolume_os::lock::LockError;
use flexvolume_os::mount::MountError;
use flexvolume_os::network_mount::NetworkMountError;
use thiserror::Error;

use crate::error::{RequestError, VolumeError};

/// A step that failed on a disk of a server.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The options describe no volume.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A step that is the same for every driver.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Another call works on the volume.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file system tool failed.
    #[error(transparent)]
    Filesystem(#[from] FilesystemError),
    /// A mount or unmount failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// An unmount failed.
    #[error(transparent)]
    Unmount(#[from] NetworkMountError),
    /// Another node or another volume has the disk.
    #[error("{subject} is attached to {holder}; {remedy}")]
    Taken {
        /// The disk and its server.
        subject: String,
        /// The node, or the volume.
        holder: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The device that was passed is not the volume's.
    #[error("the device is {actual:?}, but {subject} is {wanted}: are options and device of one volume?")]
    OtherDevice {
        /// What the host passed.
        actual: String,
        /// The disk and its server.
        subject: String,
        /// What belongs to the options.
        wanted: String,
    },
    /// The volume has no device on this node.
    #[error("{subject} is not connected on this node: `waitforattach` connects it")]
    NotConnected {
        /// The disk and its server.
        subject: String,
    },
    /// What is on the disk must not be touched.
    #[error("{subject} {found}: {remedy}; nothing was changed")]
    Contents {
        /// The disk and its server.
        subject: String,
        /// What was found.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// The server is gone, and somebody still has data to write.
    #[error(
        "{subject} cannot be unmounted now: {why}. What was written last waits for the server for {left}s more; then it is given up, and the next call succeeds"
    )]
    Waiting {
        /// The disk and its server.
        subject: String,
        /// What is wrong with the server.
        why: String,
        /// Seconds to go.
        left: u64,
    },
    /// The device is in use.
    #[error("{} is still in use ({subject}): unmount it everywhere (`findmnt -S {0}`, `fuser -v {0}`), and call again", .device.display())]
    Busy {
        /// The device.
        device: PathBuf,
        /// The disk and its server.
        subject: String,
    },
    /// The disk has not grown.
    #[error("{subject} {why}")]
    NotGrown {
        /// The disk and its server.
        subject: String,
        /// What to do.
        why: String,
    },
    /// A call on a device or file failed.
    #[error("{step} {}", .path.display())]
    File {
        /// The step.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The result of a step.
pub(crate) type Result<T> = std::result::Result<T, DiskError>;

/// Attaches step and path to a system error.
pub(crate) fn at<'a, E: Into<io::Error>>(
    step: &'static str,
    path: &'a Path,
) -> impl FnOnce(E) -> DiskError + 'a {
    move |source| DiskError::File { step, path: path.to_owned(), source: source.into() }
}
