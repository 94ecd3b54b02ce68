//! A registered driver and what a host does with it, under the names of Kubernetes' volume interfaces.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flexvolume::{Capabilities, DriverName, PodUid, VolumeName};
use flexvolume_os::mount::MountError;
use thiserror::Error;

use crate::spec::{MounterArguments, Pod, VolumeSpec};

/// Whether an idempotent step did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It did.
    Changed,
    /// It was so already.
    Unchanged,
}

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
    /// A mount of our own failed.
    #[error(transparent)]
    Mount(#[from] MountError),
}

/// A registered driver (the seed's `VolumePlugin`).
#[derive(Debug)]
pub struct VolumePlugin {}

impl VolumePlugin {
    /// `vendor/driver`.
    #[must_use]
    pub fn name(&self) -> &DriverName {
        todo!()
    }
    /// The executable.
    #[must_use]
    pub fn executable(&self) -> &Path {
        todo!()
    }
    /// What `init` declared.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        todo!()
    }
    /// The attachable side, when the driver has one (the seed's `AttachableVolumePlugin`).
    #[must_use]
    pub fn attachable(self: &Arc<Self>) -> Option<AttachablePlugin> {
        todo!()
    }
    /// For mounting a volume for a pod.
    #[must_use]
    pub fn mounter(self: &Arc<Self>, spec: &VolumeSpec, pod: &Pod) -> Mounter {
        todo!("{spec:?} {pod:?}")
    }
    /// For unmounting it, which needs no spec.
    #[must_use]
    pub fn unmounter(self: &Arc<Self>, volume: &VolumeName, pod: &PodUid) -> Unmounter {
        todo!("{volume} {pod}")
    }
}

/// The attachable side of a plugin.
#[derive(Debug)]
pub struct AttachablePlugin {}

impl AttachablePlugin {
    /// `attach`; the default answers no device.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn attach(&self, spec: &VolumeSpec, node: &str) -> Result<String, PluginError> {
        todo!("{spec:?} {node}")
    }
    /// `waitforattach`; the default answers `device`.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn wait_for_attach(&self, spec: &VolumeSpec, device: &str) -> Result<String, PluginError> {
        todo!("{spec:?} {device}")
    }
    /// The device mount path.
    ///
    /// # Errors
    /// [`PluginError`] when `getvolumename` fails.
    pub fn device_mount_path(&self, spec: &VolumeSpec) -> Result<PathBuf, PluginError> {
        todo!("{spec:?}")
    }
    /// `mountdevice`, unless something is mounted there.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn mount_device(&self, spec: &VolumeSpec, device: &str, path: &Path) -> Result<Effect, PluginError> {
        todo!("{spec:?} {device} {path:?}")
    }
    /// `unmountdevice`, and removes the directory.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn unmount_device(&self, path: &Path) -> Result<Effect, PluginError> {
        todo!("{path:?}")
    }
    /// `detach`.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn detach(&self, volume: &str, node: &str) -> Result<(), PluginError> {
        todo!("{volume} {node}")
    }
}

/// Sets a volume up for a pod (the seed's `Mounter`).
#[derive(Debug)]
pub struct Mounter {}

impl Mounter {
    /// The mount dir.
    #[must_use]
    pub fn path(&self) -> &Path {
        todo!()
    }
    /// `mount`, unless something is mounted there, then ownership.
    ///
    /// # Errors
    /// [`PluginError`]; the mount dir is then removed if it is empty.
    pub fn set_up(&self, arguments: MounterArguments) -> Result<Effect, PluginError> {
        todo!("{arguments:?}")
    }
}

/// Takes a volume away from a pod (the seed's `Unmounter`).
#[derive(Debug)]
pub struct Unmounter {}

impl Unmounter {
    /// The mount dir.
    #[must_use]
    pub fn path(&self) -> &Path {
        todo!()
    }
    /// `unmount`, and removes the mount dir.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn tear_down(&self) -> Result<Effect, PluginError> {
        todo!()
    }
}
