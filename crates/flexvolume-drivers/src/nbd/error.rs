//! What the driver `nbd` answers when it cannot do its work.

use std::io;
use std::path::{Path, PathBuf};

use flexvolume_os::filesystem::FilesystemError;
use flexvolume_os::lock::LockError;
use flexvolume_os::mount::MountError;
use flexvolume_os::nbd;
use flexvolume_os::network_mount::NetworkMountError;
use flexvolume_os::reach::Unreachable;
use thiserror::Error;

use super::address::{Address, Target};
use super::protocol::ProtocolError;
use crate::error::{RequestError, VolumeError};

/// A step that failed on a network block device.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NbdError {
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
    /// Another node or another volume has the export.
    #[error("{subject} is attached to {holder}; {remedy}")]
    Taken {
        /// The export and its server.
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
        /// The export and its server.
        subject: String,
        /// What belongs to the options.
        wanted: String,
    },
    /// The volume has no device on this node.
    #[error("{subject} is not connected on this node: `waitforattach` connects it")]
    NotConnected {
        /// The export and its server.
        subject: String,
    },
    /// What is on the export must not be touched.
    #[error("{subject} {found}: {remedy}; nothing was changed")]
    Contents {
        /// The export and its server.
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
        /// The export and its server.
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
        /// The export and its server.
        subject: String,
    },
    /// The export has not grown.
    #[error("{subject} {why}")]
    NotGrown {
        /// The export and its server.
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
pub(crate) type Result<T> = std::result::Result<T, NbdError>;

/// Attaches step and path to a system error.
pub(crate) fn at<'a, E: Into<io::Error>>(
    step: &'static str,
    path: &'a Path,
) -> impl FnOnce(E) -> NbdError + 'a {
    move |source| NbdError::File { step, path: path.to_owned(), source: source.into() }
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
