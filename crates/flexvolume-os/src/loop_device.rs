//! Loop devices: block devices backed by a file.

use std::fs::File;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::mount::Access;

/// What happens to the device after its last user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It vanishes with the last holder: mount it while the [`LoopDevice`] lives and it goes with the mount.
    UntilUnused,
    /// It stays until detached.
    UntilDetached,
}

/// How to attach.
#[derive(Debug, Clone, Copy)]
pub struct LoopOptions {
    /// Read-only or not.
    pub access: Access,
    /// What happens after the last user.
    pub lifetime: Lifetime,
}

/// An attached loop device, held open.
#[derive(Debug)]
pub struct LoopDevice {
    /// `/dev/loopN`.
    pub path: PathBuf,
    /// Keeps the device from vanishing.
    pub file: File,
}

/// A loop device as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopStatus {
    /// `/dev/loopN`.
    pub path: PathBuf,
    /// Major and minor number.
    pub device: (u32, u32),
}

/// A loop call that failed.
#[derive(Debug, Error)]
#[error("{step} {}: {source}", .path.display())]
pub struct LoopError {
    /// The step, such as `attach a loop device to`.
    pub step: &'static str,
    /// The backing file or the device.
    pub path: PathBuf,
    /// The cause.
    pub source: std::io::Error,
}

/// Attaches a free loop device to `backing` (`LOOP_CONFIGURE`, direct I/O where the file system allows it), with
/// bounded retries while others do the same. Does not look whether the file is attached already: see [`find`].
///
/// # Errors
/// [`LoopError`].
pub fn attach(backing: &Path, options: LoopOptions) -> Result<LoopDevice, LoopError> {
    todo!("{backing:?} {options:?}")
}

/// The loop devices that are attached to `backing`, found by its device and inode number.
///
/// # Errors
/// [`LoopError`] when the list cannot be read: then nobody knows, and nothing may be deleted.
pub fn find(backing: &Path) -> Result<Vec<LoopStatus>, LoopError> {
    todo!("{backing:?}")
}

/// Detaches. A device in use stays until its last user (the kernel then only marks it).
///
/// # Errors
/// [`LoopError`].
pub fn detach(device: &Path) -> Result<(), LoopError> {
    todo!("{device:?}")
}

/// Makes the device notice that its backing file has grown.
///
/// # Errors
/// [`LoopError`].
pub fn refresh_size(device: &Path) -> Result<(), LoopError> {
    todo!("{device:?}")
}

/// Whether this process can attach loop devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// Yes.
    Available,
    /// No, and why.
    Unavailable(String),
}

/// Can loop devices be attached here?
#[must_use]
pub fn availability() -> Availability {
    todo!()
}
