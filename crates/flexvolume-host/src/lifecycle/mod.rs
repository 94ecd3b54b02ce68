//! A pod's volumes from nothing to mounted and back: the order of calls, records, locks, undo.

mod users;

use std::path::PathBuf;
use std::sync::Arc;

use flexvolume::{DriverName, PodUid, VolumeName};
use serde::Serialize;
use thiserror::Error;

use crate::VolumeHost;
use crate::plugin::Effect;
use crate::registry::Registry;
use crate::spec::{MounterArguments, Pod, VolumeSpec};

pub use users::{LastUse, Leaving, PodUse};

/// Mounts and unmounts the volumes of pods on this node.
#[derive(Debug)]
pub struct VolumeManager {}

/// A volume that is mounted for a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mounted {
    /// The pod's name for the volume (`volumes[].name`), which containers refer to.
    pub pod_volume: String,
    /// The volume's name.
    pub volume: VolumeName,
    /// The driver.
    pub driver: String,
    /// The mount dir.
    pub mount_dir: PathBuf,
    /// `changed` if this call mounted it.
    #[serde(skip)]
    pub effect: Option<Effect>,
}

/// One volume of a pod.
#[derive(Debug, Clone)]
pub struct PodVolume {
    /// `volumes[].name`.
    pub pod_volume: String,
    /// The volume.
    pub spec: VolumeSpec,
}

/// How far a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// `attach` was begun.
    Attaching,
    /// `attach` was done; `waitforattach` was begun.
    Attached,
    /// `mountdevice` was begun.
    MountingDevice,
    /// `mountdevice` was done.
    DeviceMounted,
    /// `mount` was begun.
    Mounting,
    /// `mount` was done.
    Mounted,
    /// `unmount` was begun.
    Unmounting,
    /// `unmountdevice` was begun.
    UnmountingDevice,
    /// `detach` was begun.
    Detaching,
}

/// A line of `flexvol status`: from records and mount table alone, no driver is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeStatus {
    /// The pod, `None` for the device of an attachable volume.
    pub pod: Option<PodUid>,
    /// Namespace and name of the pod.
    pub pod_name: Option<String>,
    /// The volume.
    pub volume: VolumeName,
    /// The driver.
    pub driver: DriverName,
    /// The phase of the record.
    pub phase: Phase,
    /// What the mount table says about the directory.
    pub mounted: bool,
    /// Mount dir or device mount path.
    pub path: PathBuf,
    /// The last error, if the last call failed.
    pub error: Option<String>,
    /// The calls that remain to undo it, in order.
    pub to_undo: Vec<&'static str>,
}

/// What `flexvol status` shows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Overview {
    /// The volumes on record.
    pub volumes: Vec<VolumeStatus>,
    /// Records that cannot be used. They are never deleted.
    pub unreadable: Vec<UnreadableRecord>,
}

/// A record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadableRecord {
    /// Its file.
    pub file: PathBuf,
    /// Why, and what to do.
    pub why: String,
}

/// A pod's volumes could not be set up or taken down.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LifecycleError {
    /// A step of one volume failed.
    #[error("volume {volume}: {step}: {cause}")]
    Step {
        /// The volume.
        volume: String,
        /// The step, such as `mountdevice`.
        step: &'static str,
        /// The cause, with the driver's message.
        cause: String,
        /// What went wrong while undoing.
        cleanup: Vec<String>,
    },
}

impl VolumeManager {
    /// A manager over the drivers of `registry`.
    #[must_use]
    pub fn new(host: Arc<VolumeHost>, registry: Arc<Registry>) -> Self {
        todo!("{host:?} {registry:?}")
    }

    /// Mounts the volumes of a pod, all or none. Calling it again changes nothing.
    ///
    /// # Errors
    /// [`LifecycleError`]: what this call had begun is undone in reverse order; what cannot be undone now stays on
    /// record.
    pub fn mount(
        &self,
        pod: &Pod,
        volumes: &[PodVolume],
        arguments: MounterArguments,
    ) -> Result<Vec<Mounted>, LifecycleError> {
        todo!("{pod:?} {volumes:?} {arguments:?}")
    }

    /// Unmounts all volumes of a pod, from the records alone. Goes on after an error and reports all of them.
    ///
    /// # Errors
    /// The errors, one for each volume that is left.
    pub fn unmount(&self, pod: &PodUid) -> Result<Vec<Mounted>, Vec<LifecycleError>> {
        todo!("{pod}")
    }

    /// What is mounted, by whom, and what is left to undo.
    ///
    /// # Errors
    /// [`LifecycleError`] when the records cannot be read.
    pub fn status(&self) -> Result<Overview, LifecycleError> {
        todo!()
    }

    /// Begins to use a pod's volumes: call it before [`VolumeManager::mount`]. Waits while the last use before is
    /// being cleaned up.
    ///
    /// # Errors
    /// [`LifecycleError`] when that takes too long.
    pub fn enter(&self, pod: &PodUid) -> Result<PodUse, LifecycleError> {
        todo!("{pod}")
    }

    /// Asks to keep the pod's volumes mounted when their last use ends: call it before [`VolumeManager::mount`].
    /// [`VolumeManager::unmount`] takes the wish back. Asking again is fine.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn keep(&self, pod: &PodUid) -> Result<(), LifecycleError> {
        todo!("{pod}")
    }
}
