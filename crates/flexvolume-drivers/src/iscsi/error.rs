//! What the drivers of iSCSI answer when they cannot do their work.

use std::io;
use std::path::{Path, PathBuf};

use flexvolume_os::lock::LockError;
use flexvolume_os::network_mount::NetworkMountError;
use flexvolume_os::reach::Unreachable;
use flexvolume_os::reservation::ReservationError;
use flexvolume_os::runner::StartError;
use thiserror::Error;

use super::target::Target;
use super::tool::ToolError;
use crate::error::{RequestError, VolumeError};
use crate::remote_disk::{self, DiskError};

/// A step that failed on a disk of a target.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IscsiError {
    /// The options describe no volume.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A step that is the same for every disk of a server.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// No way to the server.
    #[error("{subject}: {source}")]
    Unreachable {
        /// The disk and its target.
        subject: String,
        /// Why.
        source: Unreachable,
    },
    /// open-iscsi could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// open-iscsi said no.
    #[error("{subject}: {source}")]
    Tool {
        /// The disk and its target.
        subject: String,
        /// What it said.
        source: ToolError,
    },
    /// The folder of open-iscsi is nowhere.
    #[error(
        "open-iscsi is not set up on this node: neither /var/lib/iscsi nor /etc/iscsi is there; install the package open-iscsi"
    )]
    NoDatabase,
    /// A credential that would not arrive as it is.
    #[error("{place}: {why}")]
    Credential {
        /// The key of the Secret, or the administrator's file.
        place: String,
        /// What is wrong, never with a value.
        why: &'static str,
    },
    /// The session came to nothing.
    #[error("{subject}: the target {what}: {remedy}")]
    Session {
        /// The disk and its target.
        subject: String,
        /// What happened.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The target does not show the disk.
    #[error(
        "{subject}: the target shows no such disk to this node: is the number right, and is the initiator {initiator} on the target's list?"
    )]
    NoDisk {
        /// The disk and its target.
        subject: String,
        /// By what name the target knows us.
        initiator: String,
    },
    /// It is another disk than it was.
    #[error("{subject} is the disk {found} now and was {wanted}: {remedy}; nothing was changed")]
    OtherDisk {
        /// The disk and its target.
        subject: String,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
        /// What to do.
        remedy: String,
    },
    /// The disk says no name of its own.
    #[error(
        "{subject} shows no identity (VPD page 0x83), so nobody could tell it from another disk: have the target give it one"
    )]
    Anonymous {
        /// The disk and its target.
        subject: String,
    },
    /// The disk's reservations could not be read or changed.
    #[error("{subject}: {source}")]
    Reservation {
        /// The disk and its target.
        subject: String,
        /// The cause.
        source: ReservationError,
    },
    /// Somebody else may write to the disk.
    #[error("{subject} is reserved by the key {key}{whose}: {remedy}")]
    Reserved {
        /// The disk and its target.
        subject: String,
        /// The key.
        key: String,
        /// Whose it is, if that is known.
        whose: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// The result of a step.
pub(crate) type Result<T> = std::result::Result<T, IscsiError>;

impl From<VolumeError> for IscsiError {
    fn from(error: VolumeError) -> Self {
        Self::Disk(error.into())
    }
}

impl From<LockError> for IscsiError {
    fn from(error: LockError) -> Self {
        Self::Disk(error.into())
    }
}

impl From<NetworkMountError> for IscsiError {
    fn from(error: NetworkMountError) -> Self {
        Self::Disk(error.into())
    }
}

/// Attaches step and path to a system error.
pub(crate) fn at<'a, E: Into<io::Error>>(
    step: &'static str,
    path: &'a Path,
) -> impl FnOnce(E) -> IscsiError + 'a {
    move |source| remote_disk::at(step, path)(source).into()
}

/// Says for which disk a server was looked for.
pub(crate) fn of_network(target: &Target) -> impl FnOnce(Unreachable) -> IscsiError + '_ {
    move |source| IscsiError::Unreachable { subject: target.to_string(), source }
}

/// `/sys` could not be read.
pub(crate) fn of_sysfs(source: io::Error) -> IscsiError {
    let path = PathBuf::from("/sys/class/iscsi_session");
    DiskError::File { step: "look at", path, source }.into()
}
