//! What a driver answers when it cannot do its work.

use std::io;
use std::path::{Path, PathBuf};

use flexvolume_os::filesystem::FilesystemError;
use flexvolume_os::lock::LockError;
use flexvolume_os::loop_device::LoopError;
use flexvolume_os::mount::MountError;
use thiserror::Error;

/// Options that describe no volume. Nothing has been touched.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// A required option is absent or empty.
    #[error("option {key:?} is required: {meaning}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What it says, with an example.
        meaning: &'static str,
    },
    /// An option that this driver does not have.
    #[error("unknown option {key:?}: {remedy}")]
    Unknown {
        /// The key.
        key: String,
        /// The nearest known key, or all of them.
        remedy: String,
    },
    /// A value that makes no sense.
    #[error("option {key:?} is {value:?}: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What is wrong, and what is right.
        why: String,
    },
    /// A key of the Secret that cannot be used, told without its value.
    #[error("the key {key:?} of the Secret {why}")]
    Secret {
        /// The key.
        key: String,
        /// What is wrong, and what is right.
        why: &'static str,
    },
    /// The file system does not fit.
    #[error("a size of {size} bytes is too small for {fs_type}: it needs at least {minimum} bytes")]
    TooSmall {
        /// Bytes asked for.
        size: u64,
        /// The file system.
        fs_type: &'static str,
        /// Bytes needed.
        minimum: u64,
    },
    /// The volume id makes no file name.
    #[error("volume id {id:?} {why}; set the option \"volume\" to another one")]
    Id {
        /// The id.
        id: String,
        /// The offence.
        why: &'static str,
    },
    /// The call-out lacks what only a host's `mount` carries.
    #[error("the options name no pod ({key:?}): this driver's volumes belong to one")]
    NoPod {
        /// The key that was expected.
        key: &'static str,
    },
}

/// A step that failed on a volume.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// The options describe no volume.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A call on a file or directory failed.
    #[error("{step} {}", .path.display())]
    File {
        /// The step, such as `open image`.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The pool directory cannot be trusted with volumes.
    #[error("pool directory {} {why}", .path.display())]
    Pool {
        /// The directory.
        path: PathBuf,
        /// The offence, and the remedy.
        why: &'static str,
    },
    /// There is no room for a volume whose space is reserved.
    #[error("{} has no room: {needed} bytes are needed and {free} are free", .directory.display())]
    Full {
        /// The pool directory.
        directory: PathBuf,
        /// Bytes that the volume needs on top of what it has.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Another call works on the volume.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Something of the volume's name is not this driver's, or not this volume's.
    #[error("not ours: {} {why}; nothing was changed", .path.display())]
    NotOurs {
        /// The file or directory.
        path: PathBuf,
        /// How we can tell.
        why: String,
    },
    /// What is there can be neither used nor called absent.
    #[error("cannot know the state of the volume: {} {why}; nothing was changed", .path.display())]
    CannotKnow {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The volume exists and is another one than the options describe.
    #[error("volume {id:?} exists with {property} {actual}, but {wanted} is asked for; {remedy}")]
    Differs {
        /// The volume.
        id: String,
        /// What differs.
        property: &'static str,
        /// The value on disk.
        actual: String,
        /// The value of the options.
        wanted: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The volume has not been made yet.
    #[error("volume {id:?} does not exist in {}: `waitforattach` makes it", .directory.display())]
    Absent {
        /// The volume.
        id: String,
        /// The pool directory.
        directory: PathBuf,
    },
    /// A file system tool failed.
    #[error(transparent)]
    Filesystem(#[from] FilesystemError),
    /// A loop device call failed.
    #[error(transparent)]
    Loop(#[from] LoopError),
    /// A mount or unmount failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A mount failed, and there is something to say about why.
    #[error("{hint}")]
    MountHint {
        /// What to do.
        hint: String,
        /// The cause.
        source: MountError,
    },
    /// Something else is mounted where the volume should be.
    #[error("{} is the mount point of {actual}, not of {wanted}: unmount it first", .path.display())]
    MountedOther {
        /// The mount point.
        path: PathBuf,
        /// What is mounted there.
        actual: String,
        /// What should be.
        wanted: String,
    },
    /// The device that the host passed is not the volume's.
    #[error("the device is {actual:?}, but the options describe {}: are options and device of one volume?", .image.display())]
    OtherDevice {
        /// What the host passed.
        actual: String,
        /// What belongs to the options.
        image: PathBuf,
    },
    /// The volume is not mounted.
    #[error("{} is not mounted here: mount the volume, then grow its file system", .image.display())]
    NotMounted {
        /// The image.
        image: PathBuf,
    },
    /// The data of a removed volume is still being overwritten.
    #[error("{} is being overwritten: {left} bytes are left; call again to go on", .path.display())]
    Erasing {
        /// What was the image.
        path: PathBuf,
        /// Bytes to go.
        left: u64,
    },
    /// The volume cannot be deleted for the reason that was given.
    #[error("the volume {id:?} is no orphan of the kind {wanted:?}: {actual}; nothing was changed")]
    NotAnOrphan {
        /// The volume.
        id: String,
        /// The reason.
        wanted: &'static str,
        /// What it is.
        actual: String,
    },
    /// The volume is in use.
    #[error("{} is still in use: {remedy}", .path.display())]
    Busy {
        /// The mount point or image.
        path: PathBuf,
        /// What to do.
        remedy: String,
    },
}

/// Attaches step and path to a system error.
pub(crate) fn at<'a, E: Into<io::Error>>(
    step: &'static str,
    path: &'a Path,
) -> impl FnOnce(E) -> VolumeError + 'a {
    move |source| VolumeError::File { step, path: path.to_owned(), source: source.into() }
}

/// The result of a step on a volume.
pub(crate) type Result<T> = std::result::Result<T, VolumeError>;
