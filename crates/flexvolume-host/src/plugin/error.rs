//! What goes wrong between host and driver.

use std::io;
use std::path::{Path, PathBuf};

use flexvolume::NameError;
use flexvolume_os::filesystem::FilesystemError;
use flexvolume_os::lock::LockError;
use flexvolume_os::mount::MountError;
use thiserror::Error;

use crate::SecretError;

/// A step that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The driver said no, or could not be understood.
    #[error("{text}")]
    Driver {
        /// What a person should read; in the strict reading Kubernetes' own text.
        text: String,
    },
    /// The driver leaves a call-out to the host that no host can do: `init`.
    #[error("Not supported")]
    NotSupported,
    /// The driver has no volumes to administer.
    #[error(
        "the driver {driver} does not support {verb}: it keeps no volumes that could be administered here"
    )]
    NoAdministration {
        /// The driver.
        driver: String,
        /// The call-out.
        verb: &'static str,
    },
    /// A success without what it must hold.
    #[error("the driver answered Success to {verb}, but {why}")]
    Unreadable {
        /// The call-out.
        verb: &'static str,
        /// What is wrong with the answer; fit to be shown.
        why: String,
    },
    /// The driver answered `init` with `"capabilities": null`, on which Kubernetes itself crashes.
    #[error("init answered with null capabilities: leave the key out or give an object")]
    NullCapabilities,
    /// A tool of the default steps failed, in Kubernetes' own words.
    #[error("{text}")]
    Tool {
        /// The words.
        text: String,
    },
    /// The device mount path cannot be had, because `getvolumename` failed.
    #[error("GetVolumeName failed from getDeviceMountPath: {0}")]
    NoDeviceMountPath(#[source] Box<PluginError>),
    /// The unique name cannot be had, because `getvolumename` failed.
    #[error("failed to GetVolumeName from volumePlugin for volumeSpec {volume:?} err={source}")]
    NoUniqueName {
        /// The volume.
        volume: String,
        /// Why.
        source: Box<PluginError>,
    },
    /// Only a persistent volume can be grown (strict reading).
    #[error("PersistentVolume not found for spec: {name}")]
    NotPersistent {
        /// The volume.
        name: String,
    },
    /// The persistent volume does not say whether it holds a file system (strict reading).
    #[error("error checking VolumeMode: cannot get volumeMode for volume: {name}")]
    NoVolumeMode {
        /// The volume.
        name: String,
    },
    /// The volume and its pod together make no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A mount of our own failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A file system could not be looked at, made or checked.
    #[error(transparent)]
    FileSystem(#[from] FilesystemError),
    /// The device holds another file system than the volume asks for.
    #[error("{} holds a {found} file system, but the volume asks for {wanted}: correct the volume's fsType", .device.display())]
    OtherFileSystem {
        /// The device.
        device: PathBuf,
        /// What is there.
        found: String,
        /// What the volume asks for.
        wanted: String,
    },
    /// A directory cannot be made, looked at or removed.
    #[error("{step} {}: {}", .path.display(), plain(.source))]
    Directory {
        /// `make the directory`, `remove` …
        step: &'static str,
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A mount is there that does not answer.
    #[error("{}: the mount does not answer: {}", .path.display(), plain(&io::Error::from_raw_os_error(*.errno)))]
    Dead {
        /// Where.
        path: PathBuf,
        /// The error number of the look at it.
        errno: i32,
    },
    /// The Secret of the volume cannot be had.
    #[error("couldn't get secret {namespace}/{name} err: {source}")]
    Secret {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// Why.
        source: SecretError,
    },
    /// The Secret is for another driver.
    #[error(
        "couldn't get secret {namespace}/{name} err: cannot get secret of type {driver}: its type is {kind:?}, and the type of a volume's Secret must be the name of the driver"
    )]
    SecretKind {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// The driver.
        driver: String,
        /// The type of the Secret.
        kind: String,
    },
    /// The driver claims success, but its effect is not there.
    #[error("the driver answered Success to {verb}, but {}: {why}", .path.display())]
    NotDone {
        /// The call-out.
        verb: &'static str,
        /// The directory.
        path: PathBuf,
        /// What is there instead.
        why: &'static str,
    },
    /// Another call of the driver is running that this one must not overlap.
    #[error("wait for other calls of the driver: {0}")]
    Turn(#[source] LockError),
    /// The host refuses to do something that could lose data or expose the wrong directory.
    #[error("{}: {why}", .path.display())]
    Refused {
        /// The directory or device.
        path: PathBuf,
        /// Why, and what to do next.
        why: &'static str,
    },
}

/// The system's text as other programs print it, for people and scripts that look for it.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_lowercase().chain(characters).collect())
}

impl PluginError {
    /// An error of a directory, for `map_err`.
    pub(crate) fn directory(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Directory { step, path, source }
    }
}
