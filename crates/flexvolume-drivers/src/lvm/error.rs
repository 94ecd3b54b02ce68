//! What the LVM drivers answer when they cannot do their work.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use flexvolume_os::filesystem::FilesystemError;
use flexvolume_os::lock::LockError;
use flexvolume_os::mount::MountError;
use flexvolume_os::runner::StartError;
use thiserror::Error;

use crate::error::{RequestError, VolumeError};

/// A step that failed on a logical volume.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LvmError {
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
    /// LVM is not installed.
    #[error("{program} is not installed on this node: install the package {package}")]
    ToolMissing {
        /// The program.
        program: &'static str,
        /// The package that has it on Debian.
        package: &'static str,
    },
    /// LVM could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A command of LVM said no.
    #[error("{command} {subject}: {ended}: {text}")]
    Command {
        /// `lvcreate`, `lvchange` …
        command: &'static str,
        /// What it worked on.
        subject: String,
        /// `exit code 5`, `signal 9`.
        ended: String,
        /// The end of what it printed.
        text: String,
    },
    /// A command of LVM takes long; it was not ended, since half of a change would be worse.
    #[error(
        "{command} {subject} is not done after {}s and goes on by itself; the next call takes up what it leaves",
        .waited.as_secs()
    )]
    Unfinished {
        /// `lvcreate`, `lvchange` …
        command: &'static str,
        /// What it works on.
        subject: String,
        /// How long we waited.
        waited: Duration,
    },
    /// Something of the volume's name is not this driver's, or not this volume's.
    #[error("not ours: {subject} {why}; nothing was changed")]
    NotOurs {
        /// The logical volume or mount point.
        subject: String,
        /// How we can tell.
        why: String,
    },
    /// There is no telling whether the volume is there, or what it is.
    #[error("cannot know the state of {subject}: {why}; nothing was changed")]
    CannotKnow {
        /// The logical volume.
        subject: String,
        /// What is in the way, and what to do.
        why: String,
    },
    /// The volume exists and is another one than the options describe.
    #[error("{subject} exists with {property} {actual}, but {wanted} is asked for; {remedy}")]
    Differs {
        /// The logical volume.
        subject: String,
        /// What differs.
        property: &'static str,
        /// The value on disk.
        actual: String,
        /// The value of the options.
        wanted: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The volume group has no room.
    #[error("volume group {vg} has no room for {subject}: {needed} bytes are needed and {free} are free")]
    Full {
        /// The volume group.
        vg: String,
        /// The logical volume.
        subject: String,
        /// Bytes needed, in whole extents.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The volume has not been made yet.
    #[error("{subject} does not exist: `waitforattach` makes it")]
    Absent {
        /// The logical volume.
        subject: String,
    },
    /// The volume's device does not appear, or is not the volume's.
    #[error("{subject} {why}")]
    Device {
        /// The logical volume.
        subject: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A read or write of a device or of a file in `/sys` failed.
    #[error("{step} {}", .path.display())]
    File {
        /// The step.
        step: &'static str,
        /// The device or file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The volume is not mounted.
    #[error("{subject} is not mounted here: mount the volume, then grow its file system")]
    NotMounted {
        /// The logical volume.
        subject: String,
    },
    /// Erasing takes more than one call.
    #[error("{subject} is being erased: {done} of {total} bytes are done; call again to go on")]
    Erasing {
        /// The logical volume.
        subject: String,
        /// Bytes erased.
        done: u64,
        /// Bytes of the volume.
        total: u64,
    },
    /// The volume cannot be deleted for the reason that was given.
    #[error("{subject} is no orphan of the kind {wanted:?}: it is {actual}; nothing was changed")]
    NotAnOrphan {
        /// The logical volume.
        subject: String,
        /// The reason.
        wanted: &'static str,
        /// What it is.
        actual: String,
    },
    /// Others would lose their data with the volume.
    #[error("{subject} is needed by {dependents}: remove those first; nothing was changed")]
    Needed {
        /// The logical volume.
        subject: String,
        /// The names of what depends on it.
        dependents: String,
    },
    /// The volume is in use.
    #[error("{subject} is still in use: {remedy}")]
    Busy {
        /// The logical volume or mount point.
        subject: String,
        /// What to do.
        remedy: String,
    },
}

/// The result of a step on a logical volume.
pub(crate) type Result<T> = std::result::Result<T, LvmError>;
