//! A pod's volumes from nothing to mounted and back: the order of calls, records, locks, undo.

mod attached_elsewhere;
mod device;
mod failure;
mod file_name;
mod inventory;
mod locks;
mod look;
mod plan;
mod publish;
mod reconstruct;
mod record;
mod resize;
mod shelf;
mod single;
mod stage;
mod status;
mod sweep;
mod tidy;
mod unfinished;
mod users;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use flexvolume::{DriverName, PodUid, VolumeName};
use flexvolume_os::lock::{Lock, LockError};
use flexvolume_os::mount::MountError;
use serde::Serialize;
use thiserror::Error;

use crate::VolumeHost;
use crate::hand_over::HandOver;
use crate::plugin::Effect;
use crate::registry::Registry;
use crate::spec::{MounterArguments, Pod, VolumeSpec};
use failure::Failure;
use publish::{SetUp, SetUpFailure};
use record::Publish;
use shelf::Kept;

pub(crate) use attached_elsewhere::{lock_driver, node_file_name, volume_file_name, wait_for_earlier_calls};
pub use inventory::{Inventory, Known, Standing, VolumeKey};
pub(crate) use record::Spec;
pub use resize::{Resize, Resized};
pub use shelf::RecordError;
pub use single::WantedVolume;
pub use stage::{Attachment, Stage, Staged};
pub use users::{Keeper, LastUse, Leaving, PodUse};

/// Mounts and unmounts the volumes of pods on this node.
///
/// It keeps nothing in memory: records, directories and the mount table are read at each call, so that several
/// processes can work side by side, and the next call goes on where a killed one has stopped.
#[derive(Debug)]
pub struct VolumeManager {
    host: Arc<VolumeHost>,
    registry: Arc<Registry>,
    boot: String,
    hand_over: Option<Arc<HandOver>>,
}

/// A volume that is mounted for a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodVolume {
    /// `volumes[].name`.
    pub pod_volume: String,
    /// The volume.
    pub spec: VolumeSpec,
}

impl PodVolume {
    /// Refuses another volume of the same pod that would have the same mount dir, unless it is the same volume.
    ///
    /// # Errors
    /// [`LifecycleError::Collision`].
    pub fn refuse_collision(&self, other: &PodVolume) -> Result<(), LifecycleError> {
        let same_dir = self.spec.driver == other.spec.driver && self.spec.name == other.spec.name;
        if !same_dir || self.spec == other.spec {
            return Ok(());
        }
        Err(LifecycleError::Collision {
            first: self.pod_volume.clone(),
            second: other.pod_volume.clone(),
            volume: self.spec.name.to_string(),
            driver: self.spec.driver.clone(),
        })
    }
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
#[serde(rename_all = "camelCase")]
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
    /// The size in bytes of a resize that was begun and has not come to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resizing_to: Option<u64>,
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
    #[error("volume {volume}: {step}: {cause}{}", and_cleanup(.cleanup))]
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
    /// Two volumes of the pod would have one mount dir.
    #[error(
        "volumes {first} and {second} of the pod both mean volume {volume} of driver {driver}, but differ; name one of them differently"
    )]
    Collision {
        /// The pod's name for one of them.
        first: String,
        /// The pod's name for the other.
        second: String,
        /// The volume's name.
        volume: String,
        /// The driver.
        driver: String,
    },
    /// A driver has mounted something where it was not asked to.
    #[error("something that no record knows is mounted at {}; find out what it is and unmount it by hand", .directory.display())]
    Foreign {
        /// The directory.
        directory: PathBuf,
    },
    /// The pod has no such volume on record.
    #[error("pod {pod} has no volume {volume} on record ({}); mount it first", known_volumes(.known))]
    NoVolume {
        /// The pod.
        pod: PodUid,
        /// What was asked for.
        volume: String,
        /// What the pod has.
        known: Vec<String>,
    },
    /// A volume never shrinks.
    #[error(
        "volume {volume} cannot be resized to {wanted} bytes: it has {has} bytes already, or a resize to that size was begun, and a volume never shrinks; give {has} or more"
    )]
    Shrink {
        /// The volume.
        volume: String,
        /// What was asked for, in bytes.
        wanted: u64,
        /// What it has at least, in bytes.
        has: u64,
    },
    /// Another process works on the pod, or the lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The mount table cannot be read.
    #[error(transparent)]
    MountTable(#[from] MountError),
}

fn and_cleanup(cleanup: &[String]) -> String {
    if cleanup.is_empty() {
        String::new()
    } else {
        format!("; undoing it failed too: {}", cleanup.join("; "))
    }
}

fn known_volumes(known: &[String]) -> String {
    if known.is_empty() { "it has none".to_owned() } else { format!("it has: {}", known.join(", ")) }
}

fn step_error(volume: &VolumeName, failure: Failure, cleanup: Vec<String>) -> LifecycleError {
    LifecycleError::Step { volume: volume.to_string(), step: failure.step, cause: failure.cause, cleanup }
}

impl VolumeManager {
    /// A manager over the drivers of `registry`.
    #[must_use]
    pub fn new(host: Arc<VolumeHost>, registry: Arc<Registry>) -> Self {
        Self { host, registry, boot: look::boot_id(), hand_over: None }
    }

    /// Mounts the volumes of a pod, all or none. Calling it again changes nothing.
    ///
    /// # Errors
    /// [`LifecycleError`]: what this call had begun is undone in reverse order; what cannot be undone now stays on
    /// record. Volumes that were mounted before, also by a call that was killed or before a reboot, stay.
    pub fn mount(
        &self,
        pod: &Pod,
        volumes: &[PodVolume],
        arguments: MounterArguments,
    ) -> Result<Vec<Mounted>, LifecycleError> {
        refuse_collisions(volumes)?;
        let lock = locks::pod(&self.host, &pod.uid)?;
        let mut mounted = Vec::with_capacity(volumes.len());
        let mut begun = Vec::new();
        for (position, volume) in volumes.iter().enumerate() {
            let wanted = WantedVolume { pod, volume, position, arguments };
            match self.set_up(&wanted) {
                Ok(SetUp { mounted: done, begun: new }) => {
                    begun.extend(new);
                    mounted.push(Mounted { pod_volume: volume.pod_volume.clone(), ..done });
                }
                Err(failed) => return Err(self.give_up(&wanted, failed, (begun, lock))),
            }
        }
        Ok(mounted)
    }

    /// Undoes what a call had begun that failed at this volume, and says so.
    fn give_up(
        &self,
        wanted: &WantedVolume<'_>,
        failed: SetUpFailure,
        (mut begun, lock): (Vec<Kept<Publish>>, Lock),
    ) -> LifecycleError {
        begun.extend(failed.begun.map(|kept| *kept));
        let mut cleanup = self.undo(begun);
        cleanup.extend(self.tidy(&wanted.pod.uid, lock).map(|foreign| foreign.to_string()));
        step_error(&wanted.volume.spec.name, failed.failure, cleanup)
    }

    /// Takes down what a failed call had begun, the last first.
    fn undo(&self, begun: Vec<Kept<Publish>>) -> Vec<String> {
        let mut cleanup = Vec::new();
        for kept in begun.into_iter().rev() {
            let volume = kept.record.volume.clone();
            if let Err(failure) = self.release(kept) {
                cleanup.push(format!("volume {volume}: {failure}"));
            }
        }
        cleanup
    }

    /// Unmounts all volumes of a pod, from the records alone. Goes on after an error and reports all of them.
    ///
    /// # Errors
    /// The errors, one for each volume that is left.
    pub fn unmount(&self, pod: &PodUid) -> Result<Vec<Mounted>, Vec<LifecycleError>> {
        let lock = locks::pod(&self.host, pod).map_err(|error| vec![error.into()])?;
        users::forget_keep(&self.host, pod).map_err(|error| vec![error])?;
        let (kept, mut errors) = self.on_record(pod).map_err(|error| vec![error])?;
        let mut unmounted = Vec::with_capacity(kept.len());
        for kept in kept {
            let volume = kept.record.volume.clone();
            match self.settle(&kept.record).and_then(|()| self.release(kept)) {
                Ok(done) => unmounted.push(done),
                Err(failure) => errors.push(step_error(&volume, failure, Vec::new())),
            }
        }
        errors.extend(self.tidy(pod, lock));
        if errors.is_empty() { Ok(unmounted) } else { Err(errors) }
    }

    /// What there is of a pod, in the order in which it is taken down, and what cannot be.
    fn on_record(&self, pod: &PodUid) -> Result<(Vec<Kept<Publish>>, Vec<LifecycleError>), LifecycleError> {
        let shelf = shelf::publishes(&self.host.root, pod);
        let shelf::Inventory { mut records, unreadable } = shelf.clean_inventory()?;
        records.sort_by_key(|kept| std::cmp::Reverse(kept.record.position));
        let known: BTreeSet<_> =
            records.iter().map(|kept| (kept.record.driver.clone(), kept.record.volume.clone())).collect();
        let in_the_way = unreadable.into_iter().filter(UnreadableRecord::is_in_the_way);
        let mut errors: Vec<_> = in_the_way
            .map(|record| RecordError::Format { file: record.file, why: record.why }.into())
            .collect();
        // A record that must not be touched could be of any directory: none is taken down without its record then.
        if errors.is_empty() {
            let finds = self.rediscover(pod, &known);
            records.extend(finds.volumes);
            errors.extend(
                finds.failures.into_iter().map(|(volume, failure)| step_error(&volume, failure, Vec::new())),
            );
        }
        Ok((records, errors))
    }

    /// What is mounted, by whom, and what is left to undo.
    ///
    /// # Errors
    /// [`LifecycleError`] when the records cannot be read.
    pub fn status(&self) -> Result<Overview, LifecycleError> {
        self.overview()
    }

    /// Begins to use a pod's volumes: call it before [`VolumeManager::mount`]. Waits while the last use before is
    /// being cleaned up.
    ///
    /// # Errors
    /// [`LifecycleError`] when that takes too long.
    pub fn enter(&self, pod: &PodUid) -> Result<PodUse, LifecycleError> {
        PodUse::begin(&self.host, pod)
    }

    /// Asks to keep the pod's volumes mounted when their last use ends: call it before [`VolumeManager::mount`].
    /// [`VolumeManager::unmount`] takes the wish back. Asking again is fine.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn keep(&self, pod: &PodUid) -> Result<(), LifecycleError> {
        users::keep(&self.host, pod, Keeper::Person)
    }
}

fn refuse_collisions(volumes: &[PodVolume]) -> Result<(), LifecycleError> {
    for (position, second) in volumes.iter().enumerate() {
        volumes[..position].iter().try_for_each(|first| first.refuse_collision(second))?;
    }
    Ok(())
}
