//! The place where a suite runs: mounts that nobody else sees, and a directory that goes away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flexvolume_os::System;
use flexvolume_os::mount::{Access, FileSystemMount, MountError};
use flexvolume_os::namespace;
use rustix::io::Errno;
use thiserror::Error;

/// Why there is no place to run a suite.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// Without a mount namespace of its own the suite's mounts would be everybody's.
    #[error(
        "cannot enter a private mount namespace (needs root, or user namespaces for ordinary users): {0}"
    )]
    Namespace(#[source] io::Error),
    /// Processes that a driver leaves behind could not be found.
    #[error("cannot become the parent of what drivers leave behind: {0}")]
    Subreaper(#[source] io::Error),
    /// The temporary directory.
    #[error("temporary directory {}: {source}", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The temporary file system.
    #[error("temporary file system: {0}")]
    Mount(#[from] MountError),
}

/// Proof that this process is in a private mount namespace, and a directory of its own there. Whatever happens to the
/// process, its mounts vanish with it and one empty directory is all that can stay.
#[derive(Debug)]
pub struct PrivatePlace {
    directory: PathBuf,
}

impl PrivatePlace {
    /// Moves this process, which must have a single thread, into a private mount namespace (and, where it is not root,
    /// a user namespace in which it is), makes it the parent of all that drivers leave behind, and makes a directory
    /// below `parent`.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn enter(parent: &Path) -> Result<Self, PlaceError> {
        namespace::enter_private_mounts()
            .or_else(|error| match Errno::from_io_error(&error) {
                Some(Errno::PERM) => namespace::enter_user_namespace(),
                _ => Err(error),
            })
            .map_err(PlaceError::Namespace)?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| PlaceError::Subreaper(error.into()))?;
        let directory = parent.join(format!("flexvol-conformance-{}", std::process::id()));
        // The kernel's tables name no symlinks.
        match fs::create_dir(&directory).and_then(|()| fs::canonicalize(&directory)) {
            Ok(directory) => Ok(Self { directory }),
            Err(source) => Err(PlaceError::Directory { directory, source }),
        }
    }

    /// Puts an empty temporary file system there.
    pub(super) fn set_up(&self, system: &System) -> Result<&Path, PlaceError> {
        let mount = FileSystemMount {
            source: "flexvol-conformance".into(),
            fs_type: "tmpfs".to_owned(),
            access: Access::ReadWrite,
            data: vec!["mode=755".to_owned()],
        };
        system.mounter.mount(&mount, &self.directory)?;
        Ok(&self.directory)
    }

    /// Takes it away again, with all that is in it, at the latest when the last user of it is gone.
    pub(super) fn tear_down(&self, system: &System) -> Result<(), PlaceError> {
        Ok(system
            .mounter
            .unmount(&self.directory)
            .or_else(|_| system.mounter.unmount_lazy(&self.directory))?)
    }

    /// Removes the directory.
    ///
    /// # Errors
    /// [`PlaceError`] if it cannot be removed, for instance because it is not empty.
    pub fn leave(self) -> Result<(), PlaceError> {
        let directory = self.directory;
        fs::remove_dir(&directory).map_err(|source| PlaceError::Directory { directory, source })
    }
}
