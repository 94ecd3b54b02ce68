//! One volume of a pod at a time, for a host that stays: a volume that cannot be mounted holds up no other of its pod.

use flexvolume::{DriverName, VolumeName};

use super::failure::at;
use super::publish::SetUp;
use super::users::{self, Keeper};
use super::{LifecycleError, Mounted, PodVolume, VolumeKey, VolumeManager, locks, step_error};
use crate::plugin::Effect;
use crate::spec::{MounterArguments, Pod};

/// A volume that one pod shall have.
#[derive(Debug, Clone, Copy)]
pub struct WantedVolume<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The volume.
    pub volume: &'a PodVolume,
    /// Its place among the pod's volumes.
    pub position: usize,
    /// How it is set up.
    pub arguments: MounterArguments,
}

impl VolumeManager {
    /// Mounts one volume of a pod and keeps it mounted on behalf of the agent, whoever else uses the pod's volumes
    /// meanwhile. Calling it again changes nothing.
    ///
    /// # Errors
    /// [`LifecycleError`]; what this call had begun is undone, and what cannot be undone now stays on record.
    pub fn mount_one(&self, wanted: &WantedVolume<'_>) -> Result<Mounted, LifecycleError> {
        let uid = &wanted.pod.uid;
        users::keep(&self.host, uid, Keeper::Agent)?;
        let lock = locks::pod(&self.host, uid)?;
        match self.set_up(wanted) {
            Ok(SetUp { mounted, .. }) => {
                Ok(Mounted { pod_volume: wanted.volume.pod_volume.clone(), ..mounted })
            }
            Err(failed) => Err(self.give_up(wanted, failed, (Vec::new(), lock))),
        }
    }

    /// Has the driver make a mounted volume work again (`heal`), with what `mount` is told. Whether it has helped is for
    /// the caller to find out; [`Effect::Unchanged`] if the driver cannot do that.
    ///
    /// # Errors
    /// [`LifecycleError`]; the volume is then as it was, or as the driver has left it.
    pub fn heal(&self, wanted: &WantedVolume<'_>) -> Result<Effect, LifecycleError> {
        let spec = &wanted.volume.spec;
        let failed = |failure| step_error(&spec.name, failure, Vec::new());
        let _lock = locks::pod(&self.host, &wanted.pod.uid)?;
        let plugin = self.registry.find_by_spec(spec).map_err(at("find the driver")).map_err(failed)?;
        let mounter = plugin.mounter(spec, wanted.pod);
        mounter.heal(wanted.arguments).map_err(at("heal")).map_err(failed)
    }

    /// Unmounts one volume of a pod, from its record or, without one, from its directory; `None` if there is nothing of
    /// it. What is empty of the pod goes with its last volume.
    ///
    /// # Errors
    /// Why it is left, one error at least.
    pub fn unmount_one(&self, key: &VolumeKey) -> Result<Option<Mounted>, Vec<LifecycleError>> {
        let VolumeKey { pod, driver, volume } = key;
        let lock = locks::pod(&self.host, pod).map_err(|error| vec![error.into()])?;
        let (kept, mut errors) = self.on_record(pod).map_err(|error| vec![error])?;
        let is_meant = |(of, name): (&DriverName, &VolumeName)| (of, name) == (driver, volume);
        let meant = kept.into_iter().find(|kept| is_meant((&kept.record.driver, &kept.record.volume)));
        let unmounted = match meant {
            Some(kept) => {
                errors.clear();
                let released = self.settle(&kept.record).and_then(|()| self.release(kept));
                released.map(Some).map_err(|failure| step_error(volume, failure, Vec::new()))
            }
            None => Ok(None),
        };
        errors.extend(self.tidy(pod, lock));
        match unmounted {
            Ok(unmounted) if errors.is_empty() => Ok(unmounted),
            Ok(_) => Err(errors),
            Err(error) => {
                errors.insert(0, error);
                Err(errors)
            }
        }
    }
}
