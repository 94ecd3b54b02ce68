//! The only file that mounts.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::mountinfo::MountTable;

/// Whether writing is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Reads and writes.
    #[default]
    ReadWrite,
    /// Reads only.
    ReadOnly,
}

/// A new mount of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystemMount {
    /// Device, or a name such as `tmpfs`.
    pub source: PathBuf,
    /// `ext4`, `xfs`, `btrfs`, `tmpfs`.
    pub fs_type: String,
    /// Read-only or not.
    pub access: Access,
    /// Options of the file system itself, such as `size=64m`.
    pub data: Vec<String>,
}

/// Whether a path is where something is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountPoint {
    /// The root of a mount.
    Yes,
    /// An ordinary file or directory.
    No,
    /// Nothing is there.
    Absent,
    /// Something is mounted but does not answer (ENOTCONN, ESTALE, EIO, EACCES, EHOSTDOWN, ENODEV): a dead mount.
    Dead(i32),
}

/// A mount, unmount or look at the mount table that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MountError {
    /// The system call failed.
    #[error("{step} {}: {source}", .target.display())]
    Call {
        /// `bind mount at`, `unmount` …
        step: &'static str,
        /// The target.
        target: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The target is a symlink, or not a directory.
    #[error("{}: {why}", .target.display())]
    Target {
        /// The target.
        target: PathBuf,
        /// The offence.
        why: &'static str,
    },
}

/// Mounts.
pub trait Mounter: Send + Sync {
    /// Bind-mounts the directory `source` at `target`. The target must be a real directory, not a symlink.
    ///
    /// # Errors
    /// [`MountError`]; nothing is mounted then.
    fn bind(&self, source: &Path, target: &Path) -> Result<(), MountError>;

    /// Makes the mount at `target` read-only (the mount, not the file system below it).
    ///
    /// # Errors
    /// [`MountError`]; the mount is as it was.
    fn make_read_only(&self, target: &Path) -> Result<(), MountError>;

    /// Mounts a file system at `target`.
    ///
    /// # Errors
    /// [`MountError`]; nothing is mounted then.
    fn mount(&self, mount: &FileSystemMount, target: &Path) -> Result<(), MountError>;

    /// Unmounts what is on top at `target`; never follows a symlink there. Nothing mounted is an error (EINVAL).
    ///
    /// # Errors
    /// [`MountError`], EBUSY when it is in use.
    fn unmount(&self, target: &Path) -> Result<(), MountError>;

    /// Unmounts with `MNT_FORCE`: aborts requests of a network or FUSE file system, so data can be lost.
    ///
    /// # Errors
    /// [`MountError`].
    fn unmount_forced(&self, target: &Path) -> Result<(), MountError>;

    /// Detaches the mount from the tree now and unmounts it when the last user is gone (`MNT_DETACH`).
    ///
    /// # Errors
    /// [`MountError`].
    fn unmount_lazy(&self, target: &Path) -> Result<(), MountError>;

    /// Is `path` the root of a mount? Asks the kernel without touching a network file system.
    ///
    /// # Errors
    /// [`MountError`] when the kernel gives no answer.
    fn mount_point(&self, path: &Path) -> Result<MountPoint, MountError>;

    /// The mount table of this process.
    ///
    /// # Errors
    /// [`MountError`] when it cannot be read.
    fn table(&self) -> Result<MountTable, MountError>;
}

/// The mounter of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemMounter;

impl Mounter for SystemMounter {
    fn bind(&self, source: &Path, target: &Path) -> Result<(), MountError> {
        todo!("{source:?} {target:?}")
    }
    fn make_read_only(&self, target: &Path) -> Result<(), MountError> {
        todo!("{target:?}")
    }
    fn mount(&self, mount: &FileSystemMount, target: &Path) -> Result<(), MountError> {
        todo!("{mount:?} {target:?}")
    }
    fn unmount(&self, target: &Path) -> Result<(), MountError> {
        todo!("{target:?}")
    }
    fn unmount_forced(&self, target: &Path) -> Result<(), MountError> {
        todo!("{target:?}")
    }
    fn unmount_lazy(&self, target: &Path) -> Result<(), MountError> {
        todo!("{target:?}")
    }
    fn mount_point(&self, path: &Path) -> Result<MountPoint, MountError> {
        todo!("{path:?}")
    }
    fn table(&self) -> Result<MountTable, MountError> {
        todo!()
    }
}
