//! The directories in which volumes appear: made, looked at, removed.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use flexvolume_os::mount::{MountPoint, Mounter};

use super::PluginError;

/// What is at a mount dir or device mount path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Absent,
    /// A directory that is no mount point.
    Directory,
    /// A symlink, as some drivers leave it instead of a mount.
    Symlink,
    /// Something else: a file, a socket.
    Other,
    /// The root of a mount.
    Mounted,
    /// The root of a mount that does not answer.
    Dead(i32),
}

/// Looks without following a symlink. The mounter is asked first: a look at the root of a network file system can hang.
pub(super) fn look(mounter: &dyn Mounter, directory: &Path) -> Result<Found, PluginError> {
    match mounter.mount_point(directory)? {
        MountPoint::Yes => return Ok(Found::Mounted),
        MountPoint::Dead(errno) => return Ok(Found::Dead(errno)),
        MountPoint::Absent => return Ok(Found::Absent),
        MountPoint::No => {}
    }
    match fs::symlink_metadata(directory) {
        Ok(metadata) if metadata.is_symlink() => Ok(Found::Symlink),
        Ok(metadata) if metadata.is_dir() => Ok(Found::Directory),
        Ok(_) => Ok(Found::Other),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Absent),
        Err(error) => Err(PluginError::directory("look at", directory)(error)),
    }
}

/// Makes the directory and its parents as kubelet does: 0750 (Kubernetes v1.37 `pkg/volume/flexvolume/util.go`).
pub(super) fn make(directory: &Path) -> Result<(), PluginError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(directory)
        .map_err(PluginError::directory("make the directory", directory))
}

/// Removes a directory if it is empty; one that is gone is fine. A mount or a file in it is an error, never lost.
pub(super) fn remove_empty(directory: &Path) -> Result<(), PluginError> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.map_err(PluginError::directory("remove", directory)),
    }
}

/// Is there anything in the directory?
pub(super) fn is_empty(directory: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(directory)?.next().is_none())
}
