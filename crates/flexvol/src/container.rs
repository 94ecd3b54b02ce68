//! What `flexvol run` does in the mount namespace of its command: each volume at its mountPath.
//!
//! The command runs on this machine's own file system. A mountPath that does not exist there must not be made there,
//! since it would stay behind: instead the command gets a new root directory in memory, in which everything of the old
//! one is bound in place and the missing directories are added.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use flexvolume_host::contract::Access;
use flexvolume_host::lifecycle::Mounted;
use flexvolume_host::os::beneath;
use flexvolume_host::os::mount::{MountError, Mounter as _, SystemMounter};
use flexvolume_host::os::namespace::{change_root, enter_following_mounts};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::manifest::{Container, ContainerMount};

mod view;

/// The mounts of a container, ready to be handed to the process that becomes its command.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The shallowest first.
    binds: Vec<Bind>,
    /// An existing directory that the new root may be mounted on.
    staging: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Bind {
    mount_dir: PathBuf,
    sub_path: Option<PathBuf>,
    mount_path: PathBuf,
    read_only: bool,
}

/// A container's mounts cannot be made.
#[derive(Debug, Error)]
pub(crate) enum ContainerError {
    #[error("cannot have a mount namespace (root or a user namespace is needed): {0}")]
    Namespace(#[source] io::Error),
    #[error("mountPath {}: {source}", .mount_path.display())]
    MountPath { mount_path: PathBuf, source: io::Error },
    #[error("mountPath {} is not a directory on this machine", .0.display())]
    NotADirectory(PathBuf),
    #[error(
        "mountPath {}: {} has too many entries to be shown with a new one; create the mountPath on this machine", .mount_path.display(), .directory.display()
    )]
    TooManyEntries { mount_path: PathBuf, directory: PathBuf },
    #[error(
        "subPath {} of the volume at {}: {source} (symlinks are not followed)", .sub_path.display(), .mount_dir.display()
    )]
    SubPath { mount_dir: PathBuf, sub_path: PathBuf, source: io::Error },
    #[error("new root: {step} {}: {source}", .path.display())]
    Root { step: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Mount(#[from] MountError),
}

impl Plan {
    /// The plan for a container whose volumes are mounted. Mounts of volumes that are not among them are left out.
    pub(crate) fn new(container: &Container, mounted: &[Mounted], staging: PathBuf) -> Self {
        let bind = |mount: &ContainerMount| {
            let volume = mounted.iter().find(|volume| volume.pod_volume == mount.pod_volume)?;
            Some(Bind {
                mount_dir: volume.mount_dir.clone(),
                sub_path: mount.sub_path.clone(),
                mount_path: mount.mount_path.clone(),
                read_only: mount.access == Access::ReadOnly,
            })
        };
        let mut binds: Vec<Bind> = container.mounts.iter().filter_map(bind).collect();
        binds.sort_by_key(|bind| bind.mount_path.components().count());
        Self { binds, staging }
    }

    /// Moves this process (which must have a single thread) into a mount namespace of its own and makes the mounts.
    ///
    /// # Errors
    /// [`ContainerError`]; the namespace vanishes with the process.
    pub(crate) fn enter(&self) -> Result<(), ContainerError> {
        let directory = env::current_dir();
        enter_following_mounts().map_err(ContainerError::Namespace)?;
        let targets = self.binds.iter().map(target).collect::<Result<Vec<_>, _>>()?;
        let missing: Vec<&Path> =
            targets.iter().map(PathBuf::as_path).filter(|path| !path.exists()).collect();
        let missing: Vec<&Path> =
            missing.into_iter().filter(|path| within_another(path, &targets).is_none()).collect();
        if !missing.is_empty() {
            view::build(&self.staging, &missing)?;
            let root_error =
                |source| ContainerError::Root { step: "enter", path: self.staging.clone(), source };
            change_root(&self.staging).map_err(root_error)?;
            // The same place in the new root; if it is gone, the root is as good a place as any.
            let _ = directory.and_then(env::set_current_dir);
        }
        self.binds.iter().zip(&targets).try_for_each(|(bind, path)| bind.mount(path, &targets))
    }
}

impl Bind {
    fn mount(&self, target: &Path, targets: &[PathBuf]) -> Result<(), ContainerError> {
        let sub_path = self.sub_path.as_deref().unwrap_or(Path::new(""));
        let source =
            beneath::directory(&self.mount_dir, sub_path).map_err(|source| ContainerError::SubPath {
                mount_dir: self.mount_dir.clone(),
                sub_path: sub_path.to_owned(),
                source,
            })?;
        if let Some((volume, below)) = within_another(target, targets) {
            // A mountPath inside another volume is made in that volume, as container runtimes do.
            beneath::directory(volume, below).map_err(|source| self.path_error(source))?;
        }
        SystemMounter.bind(&beneath::path_of(&source), target)?;
        if self.read_only {
            SystemMounter.make_read_only(target)?;
        }
        Ok(())
    }

    fn path_error(&self, source: io::Error) -> ContainerError {
        ContainerError::MountPath { mount_path: self.mount_path.clone(), source }
    }
}

/// The mountPath without symlinks. What does not exist of it is taken as it is written.
fn target(bind: &Bind) -> Result<PathBuf, ContainerError> {
    let mut rest = Vec::new();
    let mut existing = bind.mount_path.as_path();
    let mut found = loop {
        match existing.canonicalize() {
            Ok(found) => break found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
                    return Err(bind.path_error(error));
                };
                rest.push(name);
                existing = parent;
            }
            Err(error) => return Err(bind.path_error(error)),
        }
    };
    if !found.is_dir() {
        return Err(ContainerError::NotADirectory(bind.mount_path.clone()));
    }
    found.extend(rest.into_iter().rev());
    Ok(found)
}

/// The deepest other target that holds this one, and the way from there.
fn within_another<'a>(path: &'a Path, targets: &'a [PathBuf]) -> Option<(&'a Path, &'a Path)> {
    let holders = targets.iter().filter(|other| other.as_path() != path && path.starts_with(other));
    let holder = holders.max_by_key(|other| other.components().count())?;
    Some((holder, path.strip_prefix(holder).ok()?))
}
