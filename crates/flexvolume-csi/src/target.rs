//! Paths in requests: directories below kubelet's root, and nothing else.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use flexvolume_host::os::beneath;
use flexvolume_host::os::mount::{MountError, MountPoint, Mounter, bind_tree};
use thiserror::Error;
use tonic::Status;

/// Longer paths are refused by the kernel.
const LONGEST: usize = 4095;
/// More mounts than this are not taken off one directory.
const MOST_STACKED: usize = 16;

/// A path below kubelet's root without a step up or a symlink on the way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    root: PathBuf,
    below: PathBuf,
}

/// What is wrong with a target or what is there.
#[derive(Debug, Error)]
pub(crate) enum TargetError {
    /// It is a path that no request may hold.
    #[error("{field} {path:?}: {why}")]
    Refused { field: &'static str, path: String, why: &'static str },
    /// It cannot be made, looked at or removed.
    #[error("{step} {}: {source}", .path.display())]
    Directory { step: &'static str, path: PathBuf, source: std::io::Error },
    /// It is something else than it should be.
    #[error("{}: {why}", .path.display())]
    Occupied { path: PathBuf, why: &'static str },
    /// It cannot be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
}

impl From<TargetError> for Status {
    fn from(error: TargetError) -> Self {
        match &error {
            TargetError::Refused { .. } => Self::invalid_argument(error.to_string()),
            TargetError::Occupied { .. } => Self::failed_precondition(error.to_string()),
            TargetError::Directory { .. } | TargetError::Mount(_) => Self::internal(error.to_string()),
        }
    }
}

impl Target {
    /// Accepts `path` if it is below `root`, in the words of the request's `field`.
    pub(crate) fn parse(root: &Path, (field, path): (&'static str, &str)) -> Result<Self, TargetError> {
        let refuse = |why| TargetError::Refused { field, path: path.chars().take(200).collect(), why };
        if path.is_empty() {
            return Err(refuse("it is missing"));
        }
        if path.len() > LONGEST || path.contains('\0') {
            return Err(refuse("it is too long, or contains NUL"));
        }
        let below = Path::new(path)
            .strip_prefix(root)
            .map_err(|_| refuse("it is not below kubelet's directory (--kubelet-root)"))?;
        let is_plain = |component: Component<'_>| matches!(component, Component::Normal(_));
        if below.as_os_str().is_empty() || !below.components().all(is_plain) {
            return Err(refuse("it is not a path below kubelet's directory without `..`"));
        }
        Ok(Self { root: root.to_owned(), below: below.to_owned() })
    }

    /// The path.
    pub(crate) fn path(&self) -> PathBuf {
        self.root.join(&self.below)
    }

    /// The parts below kubelet's root.
    pub(crate) fn parts(&self) -> Vec<&str> {
        self.below.iter().filter_map(|part| part.to_str()).collect()
    }

    /// Whether something is mounted there. A symlink on the way is an error.
    pub(crate) fn is_mounted(&self, mounter: &dyn Mounter) -> Result<bool, TargetError> {
        self.refuse_symlinks()?;
        Ok(matches!(mounter.mount_point(&self.path())?, MountPoint::Yes | MountPoint::Dead(_)))
    }

    /// Makes the directory if there is none and binds `source` there, with what is mounted below it.
    pub(crate) fn bind(&self, source: &Path) -> Result<(), TargetError> {
        let handle = self.make()?;
        Ok(bind_tree(source, &beneath::path_of(&handle))?)
    }

    fn make(&self) -> Result<OwnedFd, TargetError> {
        let is_parent_there = self.path().parent().is_some_and(Path::is_dir);
        if !is_parent_there {
            let why = "its parent does not exist: whoever asks for a volume makes that";
            return Err(TargetError::Occupied { path: self.path(), why });
        }
        // It follows no symlink; what is in its way has a better explanation.
        beneath::directory(&self.root, &self.below).map_err(|source| {
            self.refuse_symlinks().err().unwrap_or_else(|| self.failed("make the directory")(source))
        })
    }

    /// Unmounts what is there and removes the directory. Nothing there is fine.
    pub(crate) fn remove(&self, mounter: &dyn Mounter) -> Result<(), TargetError> {
        self.refuse_symlinks()?;
        for _ in 0..MOST_STACKED {
            match self.unmount(mounter) {
                Ok(()) => {}
                Err(TargetError::Mount(error)) if is_not_mounted(&error) => break,
                Err(error) => return Err(error),
            }
        }
        match fs::remove_dir(self.path()) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(self.failed("remove")(source)),
            _ => Ok(()),
        }
    }

    fn unmount(&self, mounter: &dyn Mounter) -> Result<(), TargetError> {
        let Err(error) = mounter.unmount(&self.path()) else { return Ok(()) };
        if is_not_mounted(&error) {
            return Err(error.into());
        }
        // Mounts of the driver's own below the volume came along with it.
        let place = fs::canonicalize(self.path()).unwrap_or_else(|_| self.path());
        let mut below: Vec<PathBuf> = mounter
            .table()?
            .mounts()
            .iter()
            .map(|mount| mount.mount_point.clone())
            .filter(|point| *point != place && point.starts_with(&place))
            .collect();
        if below.is_empty() {
            return Err(error.into());
        }
        below.sort_unstable();
        below.iter().rev().try_for_each(|point| mounter.unmount(point))?;
        Ok(mounter.unmount(&self.path())?)
    }

    fn refuse_symlinks(&self) -> Result<(), TargetError> {
        let mut reached = self.root.clone();
        for part in self.below.iter() {
            reached.push(part);
            match fs::symlink_metadata(&reached) {
                Ok(metadata) if metadata.is_symlink() => {
                    let why = "it is a symlink: nothing is mounted, unmounted or removed through it; remove the link";
                    return Err(TargetError::Occupied { path: reached, why });
                }
                Ok(metadata) if !metadata.is_dir() => {
                    let why = "it is not a directory; look at what it is and remove it";
                    return Err(TargetError::Occupied { path: reached, why });
                }
                Ok(_) => {}
                // A dead mount cannot be looked at, and is no symlink; nothing below it is touched.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Whether the directory exists and holds nothing and is no mount: one that a failed call may have left.
    pub(crate) fn remove_if_empty(&self) {
        if self.refuse_symlinks().is_ok() {
            let _ = fs::remove_dir(self.path());
        }
    }

    fn failed(&self, step: &'static str) -> impl FnOnce(std::io::Error) -> TargetError {
        let path = self.path();
        move |source| TargetError::Directory { step, path, source }
    }
}

/// Whether there was nothing to unmount: asking before would need a thread, since what is mounted may not answer.
fn is_not_mounted(error: &MountError) -> bool {
    let MountError::Call { source, .. } = error else { return false };
    let errno = source.raw_os_error();
    errno == Some(rustix::io::Errno::INVAL.raw_os_error()) || source.kind() == ErrorKind::NotFound
}

/// Whether two paths are one directory.
pub(crate) fn is_same_directory(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}
