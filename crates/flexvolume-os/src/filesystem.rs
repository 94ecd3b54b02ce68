//! Probe, make, check and grow file systems with their own tools.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::runner::{Runner, StartError};

/// The file systems that we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the file system of its name")]
pub enum FsType {
    Ext4,
    Xfs,
    Btrfs,
}

impl FsType {
    /// `ext4`, `xfs`, `btrfs`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FsType::Ext4 => "ext4",
            FsType::Xfs => "xfs",
            FsType::Btrfs => "btrfs",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [FsType::Ext4, FsType::Xfs, FsType::Btrfs].into_iter().find(|fs| fs.as_str() == name)
    }

    /// The smallest volume on which its tool makes one, in bytes (measured with Debian 12's tools).
    #[must_use]
    pub fn minimum_size(self) -> u64 {
        match self {
            FsType::Ext4 => 256 << 10,
            FsType::Xfs => 300 << 20,
            FsType::Btrfs => 109 << 20,
        }
    }
}

/// What a look at a device found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// One file system.
    FileSystem {
        /// Its type as `blkid` names it.
        fs_type: String,
        /// Its UUID, when it has one.
        uuid: Option<String>,
    },
    /// A partition table.
    Partitions(String),
    /// No signature that `blkid` knows. **Not** a proof that the device is blank.
    NothingKnown,
    /// Several signatures that contradict each other (`blkid` exit 8).
    Ambiguous,
}

/// How the blocks below a new file system are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// Give unused blocks back (thin).
    Allow,
    /// Keep every block allocated (reserved).
    Forbid,
}

/// A file system tool that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FilesystemError {
    /// The tool is not installed.
    #[error("{tool} is not installed: install the package {package}")]
    ToolMissing {
        /// The program.
        tool: &'static str,
        /// The package that has it on Debian.
        package: &'static str,
    },
    /// The tool could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The tool said no.
    #[error("{tool} {}: {ended}: {text}", .device.display())]
    Tool {
        /// The program.
        tool: &'static str,
        /// The device or mount point.
        device: PathBuf,
        /// `exit code 1`, `signal 9`, `no answer within 60s`.
        ended: String,
        /// The end of what it printed.
        text: String,
    },
    /// The file system has errors that its tool could not correct.
    #[error("{} has errors that {tool} could not correct; run it by hand before using the volume: {text}", .device.display())]
    Damaged {
        /// The program.
        tool: &'static str,
        /// The device.
        device: PathBuf,
        /// The end of what it printed.
        text: String,
    },
}

/// Looks for signatures on `device` with `blkid -p`.
///
/// # Errors
/// [`FilesystemError`] when there is no answer; that is never "nothing known".
pub fn probe(runner: &dyn Runner, device: &Path, deadline: Duration) -> Result<Probe, FilesystemError> {
    todo!("{device:?} {deadline:?} {}", std::mem::size_of_val(runner))
}

/// Makes a file system on `device` with the given UUID. The caller has a record that says that the device is new.
///
/// # Errors
/// [`FilesystemError`]; the device's contents are undefined then.
pub fn make(runner: &dyn Runner, request: &MakeFilesystem<'_>) -> Result<(), FilesystemError> {
    todo!("{:?} {}", request, std::mem::size_of_val(runner))
}

/// The arguments of [`make`].
#[derive(Debug, Clone, Copy)]
pub struct MakeFilesystem<'a> {
    /// The type.
    pub fs_type: FsType,
    /// Device or image file.
    pub device: &'a Path,
    /// The UUID to give it, when it must be a certain one.
    pub uuid: Option<&'a str>,
    /// Whether unused blocks may be given back.
    pub discard: Discard,
    /// How long the tool may take.
    pub deadline: Duration,
}

/// Checks (and for ext4 repairs what is safe to repair) before mounting.
///
/// # Errors
/// [`FilesystemError::Damaged`] when it must not be mounted.
pub fn check(
    runner: &dyn Runner,
    fs_type: FsType,
    device: &Path,
    deadline: Duration,
) -> Result<(), FilesystemError> {
    todo!("{fs_type:?} {device:?} {deadline:?} {}", std::mem::size_of_val(runner))
}

/// Grows a mounted file system to the size of its device.
///
/// # Errors
/// [`FilesystemError`]; nothing is lost then.
pub fn grow(runner: &dyn Runner, target: &GrowTarget<'_>) -> Result<(), FilesystemError> {
    todo!("{target:?} {}", std::mem::size_of_val(runner))
}

/// The arguments of [`grow`].
#[derive(Debug, Clone, Copy)]
pub struct GrowTarget<'a> {
    /// The type.
    pub fs_type: FsType,
    /// The device.
    pub device: &'a Path,
    /// Where it is mounted.
    pub mount_point: &'a Path,
    /// How long the tool may take.
    pub deadline: Duration,
}
