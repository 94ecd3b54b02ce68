//! What the driver `nbd` answers when it cannot do its work.

use std::io;
use std::path::{Path, PathBuf};

use flexvolume_os::lock::LockError;
use flexvolume_os::mount::MountError;
use flexvolume_os::nbd;
use flexvolume_os::network_mount::NetworkMountError;
use flexvolume_os::reach::Unreachable;
use thiserror::Error;

use super::address::{Address, Target};
use super::protocol::ProtocolError;
use crate::error::{RequestError, VolumeError};
use crate::remote_disk::{self, DiskError};

/// A step that failed on a network block device.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NbdError {
    /// The options describe no volume.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A step that is the same for every disk of a server.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The kernel said no.
    #[error(transparent)]
    Kernel(#[from] nbd::NbdError),
    /// No way to the server.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The unix socket of a server on this node cannot be used.
    #[error("no server listens on the socket {}: {source}", .socket.display())]
    NoSocket {
        /// The socket.
        socket: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The server answers, and does not give the export.
    #[error("{subject}: {source}")]
    Server {
        /// The export and its server.
        subject: String,
        /// The cause.
        source: ProtocolError,
    },
    /// The server did not answer in time, or hung up.
    #[error(
        "{subject}: the server took the connection and then {what}: is the port right, and is the server well?"
    )]
    Mute {
        /// The export and its server.
        subject: String,
        /// What it did.
        what: &'static str,
    },
    /// The kernel's client cannot use such an export.
    #[error("{subject} {why}")]
    Unfit {
        /// The export and its server.
        subject: String,
        /// What is wrong, and what would be right.
        why: String,
    },
}

/// The result of a step.
pub(crate) type Result<T> = std::result::Result<T, NbdError>;

impl From<VolumeError> for NbdError {
    fn from(error: VolumeError) -> Self {
        Self::Disk(error.into())
    }
}

impl From<LockError> for NbdError {
    fn from(error: LockError) -> Self {
        Self::Disk(error.into())
    }
}

impl From<MountError> for NbdError {
    fn from(error: MountError) -> Self {
        Self::Disk(error.into())
    }
}

impl From<NetworkMountError> for NbdError {
    fn from(error: NetworkMountError) -> Self {
        Self::Disk(error.into())
    }
}

/// Attaches step and path to a system error.
pub(crate) fn at<'a, E: Into<io::Error>>(
    step: &'static str,
    path: &'a Path,
) -> impl FnOnce(E) -> NbdError + 'a {
    move |source| remote_disk::at(step, path)(source).into()
}

/// Says of which export a server speaks, and tells silence from words.
pub(crate) fn of_server(target: &Target) -> impl Fn(ProtocolError) -> NbdError + '_ {
    move |source| protocol(target.to_string(), source)
}

/// The same, before an export is named.
pub(crate) fn of_address(address: &Address) -> impl Fn(ProtocolError) -> NbdError + '_ {
    move |source| protocol(format!("the server {address}"), source)
}

fn protocol(subject: String, source: ProtocolError) -> NbdError {
    let ProtocolError::Io(error) = &source else { return NbdError::Server { subject, source } };
    let what = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "said nothing",
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "hung up"
        }
        _ => return NbdError::Server { subject, source },
    };
    NbdError::Mute { subject, what }
}
