//! Growing a volume that is mounted: `expandvolume`, then `expandfs`.
//!
//! The size is on record before the first call, so that the next call with it goes on where a killed one has stopped.
//! Drivers are told to grow only: a size below what the volume has, or may have, goes to no driver.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flexvolume::{Access, PodUid, VolumeName};
use flexvolume_os::failpoint::hit;

use super::failure::{Failure, at};
use super::look;
use super::plan::{self, PublishPlan};
use super::record::{Growth, Publish, Record, Spec};
use super::shelf::{self, Inventory, Kept, Shelf};
use super::{LifecycleError, VolumeManager, locks, step_error, unfinished};
use crate::paths;
use crate::plugin::{Effect, FileSystemPlace, Sizes, VolumePlugin};
use crate::spec::{Source, VolumeSpec};

const STEP: &str = "resize";

/// The size that a mounted volume shall have.
#[derive(Clone, Copy)]
pub struct Resize<'a> {
    /// The pod.
    pub pod: &'a PodUid,
    /// The pod's name for the volume, or the volume's own.
    pub volume: &'a str,
    /// The size in bytes.
    pub size: u64,
    /// Asks for the size in bytes of the file system at a directory; `None` if it cannot be had. It must come back
    /// although the file system may not answer.
    pub capacity: &'a dyn Fn(&Path) -> Option<u64>,
}

/// A volume that has the size wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resized {
    /// The pod's name for the volume.
    pub pod_volume: String,
    /// The volume as it was described when it was mounted.
    pub spec: VolumeSpec,
    /// The mount dir.
    pub mount_dir: PathBuf,
    /// The size in bytes before, as the driver was told it; 0 when it was not known.
    pub old_size: u64,
    /// The size in bytes.
    pub size: u64,
    /// The size in bytes of the file system now, if it is the volume's own and answers.
    pub file_system: Option<u64>,
    /// Whether this call did something.
    pub effect: Effect,
}

/// Why a volume was not grown.
enum Trouble {
    Failed(Failure),
    /// It has more already.
    Has(u64),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What is to be grown.
struct Growing<'a> {
    plugin: Arc<VolumePlugin>,
    /// Named as the driver knows it.
    spec: VolumeSpec,
    mount_dir: PathBuf,
    size: u64,
    /// The size of the file system, if it is the volume's own.
    capacity: Option<u64>,
    ask: &'a dyn Fn(&Path) -> Option<u64>,
}

impl VolumeManager {
    /// Grows a mounted volume of a pod and the file system on it. Calling it again changes nothing; after a crash or a
    /// failure it goes on. The description of the volume stays the caller's: nothing in it is changed.
    ///
    /// # Errors
    /// [`LifecycleError::NoVolume`], [`LifecycleError::Shrink`] before anything is done, or the step that failed.
    pub fn resize(&self, wanted: &Resize<'_>) -> Result<Resized, LifecycleError> {
        let shelf = shelf::publishes(&self.host.root, wanted.pod);
        if shelf.is_gone() {
            return Err(no_volume(wanted, Vec::new()));
        }
        let _lock = locks::pod(&self.host, wanted.pod)?;
        let mut kept = find(&shelf, wanted)?;
        let volume = kept.record.volume.clone();
        match self.resize_recorded(&mut kept, wanted) {
            Ok(resized) => Ok(resized),
            Err(Trouble::Has(has)) => {
                Err(LifecycleError::Shrink { volume: volume.to_string(), wanted: wanted.size, has })
            }
            Err(Trouble::Failed(failure)) => {
                let noted = kept.note(Err::<Resized, _>(failure));
                noted.map_err(|failure| step_error(&volume, failure, Vec::new()))
            }
        }
    }

    fn resize_recorded(&self, kept: &mut Kept<Publish>, wanted: &Resize<'_>) -> Result<Resized, Trouble> {
        let plugin = self.registry.find_by_name(&kept.record.driver).map_err(at("find the driver"))?;
        unfinished::settle_volume(&self.host, &plugin, &kept.record)?;
        let spec = self.usable(&kept.record)?;
        let growing = self.growing(&kept.record, (plugin, &spec), wanted);
        let (old_size, effect) = match kept.record.device.clone() {
            None => growing.run(kept, "")?,
            Some(device) => self.resize_device(kept, &device, &growing)?,
        };
        let file_system = growing.capacity_now();
        Ok(Resized {
            pod_volume: kept.record.pod_volume.clone(),
            spec,
            mount_dir: growing.mount_dir,
            old_size,
            size: wanted.size,
            file_system,
            effect,
        })
    }

    /// The volume of a record, if it is mounted and may be written.
    fn usable(&self, record: &Publish) -> Result<VolumeSpec, Failure> {
        let mount_dir = self.mount_dir(record);
        look::refuse_symlinked_parents(&self.host.root, &mount_dir).map_err(|why| Failure::new(STEP, why))?;
        if plan::publish(Some(record), self.look(&mount_dir)?, &self.boot) != PublishPlan::Ready {
            return Err(Failure::new(STEP, "it is not mounted; mount it first (`flexvol mount`)"));
        }
        let spec = record.spec.as_ref().map(Spec::to_volume).ok_or_else(|| {
            Failure::new(STEP, "its record was lost and with it its options; unmount it and mount it again")
        })?;
        if spec.access == Access::ReadOnly {
            return Err(Failure::new(STEP, "it is mounted read-only; resize it where it may be written"));
        }
        Ok(spec)
    }

    fn growing<'a>(
        &self,
        record: &Publish,
        (plugin, spec): (Arc<VolumePlugin>, &VolumeSpec),
        wanted: &Resize<'a>,
    ) -> Growing<'a> {
        let name = record.device.clone().unwrap_or_else(|| spec.name.clone());
        let mut growing = Growing {
            plugin,
            spec: VolumeSpec { name, ..spec.clone() },
            mount_dir: self.mount_dir(record),
            size: wanted.size,
            capacity: None,
            ask: wanted.capacity,
        };
        growing.capacity = growing.capacity_now();
        growing
    }

    /// All pods that use a device see it grow, so the size is on the device's record. This pod's own record tells that
    /// calls may be under way.
    fn resize_device(
        &self,
        kept: &mut Kept<Publish>,
        device: &VolumeName,
        growing: &Growing<'_>,
    ) -> Result<(u64, Effect), Trouble> {
        let _lock = self.lock_device(kept, device)?;
        let stored = shelf::devices(&self.host.root).read(&kept.record.driver, device);
        let mut shared = stored.map_err(at("read the record"))?.ok_or_else(|| {
            Failure::new(STEP, "the record of its device was lost; unmount it and mount it again")
        })?;
        let device = shared.record.device.clone();
        if growing.sizes(*shared.record.growth())?.is_some()
            && kept.record.growth.wanted != Some(growing.size)
        {
            kept.record.growth.wanted = Some(growing.size);
            kept.save().map_err(at("write the record"))?;
        }
        let grown = growing.run(&mut shared, &device);
        if grown.is_err() {
            kept.record.growth.wanted = shared.record.growth.wanted;
        }
        let (old_size, effect) = grown?;
        if kept.record.growth != Growth::default() || kept.record.error.is_some() {
            kept.record.growth = Growth::default();
            kept.record.error = None;
            kept.save().map_err(at("write the record"))?;
        }
        Ok((old_size, effect))
    }

    fn mount_dir(&self, record: &Publish) -> PathBuf {
        paths::mount_dir(&self.host.root, &record.pod.uid, &record.driver, &record.volume)
    }
}

impl Growing<'_> {
    /// The size of the file system, if it is the volume's own: a volume that is a directory of a larger file system
    /// says so by not supporting metrics.
    fn capacity_now(&self) -> Option<u64> {
        let capabilities = self.plugin.capabilities();
        if capabilities.attach || capabilities.supports_metrics { (self.ask)(&self.mount_dir) } else { None }
    }

    fn sizes(&self, growth: Growth) -> Result<Option<Sizes>, Trouble> {
        let declared = match self.spec.source {
            Source::PersistentVolume { capacity, .. } => capacity,
            Source::Inline => None,
        };
        sizes(self.size, growth, (declared, self.capacity)).map_err(Trouble::Has)
    }

    /// Makes the calls that remain; answers the size before.
    fn run<T: Record>(&self, kept: &mut Kept<T>, device: &str) -> Result<(u64, Effect), Trouble> {
        let before = *kept.record.growth();
        let Some(sizes) = self.sizes(before)? else {
            return Ok((self.size, Effect::Unchanged));
        };
        kept.record.growth().wanted = Some(self.size);
        kept.save().map_err(at("write the record"))?;
        hit("lifecycle.resize.recorded");
        let expander = self.plugin.expander();
        let expanded = expander.expand_volume(&self.spec, sizes).map_err(at("expandvolume"));
        if expanded.is_err() {
            // Whoever says that it failed has left the size as it was, so a smaller one may be tried next.
            *kept.record.growth() = before;
        }
        kept.note(expanded)?;
        hit("lifecycle.expandvolume.called");
        if expander.requires_fs_resize() {
            let place = FileSystemPlace { device, mount_dir: &self.mount_dir };
            expander.expand_file_system(&self.spec, place, sizes).map_err(at("expandfs"))?;
            hit("lifecycle.expandfs.called");
            self.doubt(before);
        }
        *kept.record.growth() = Growth { done: Some(self.size), wanted: None };
        kept.record.clear_error();
        kept.save().map_err(at("write the record"))?;
        hit("lifecycle.resize.done");
        Ok((sizes.old, Effect::Changed))
    }

    /// The driver's word is compared with what is there; after an interrupted resize it may all have been there before.
    fn doubt(&self, before: Growth) {
        let now = self.capacity_now();
        if before.wanted.is_none() && now.is_some() && now == self.capacity {
            let (driver, volume) = (self.plugin.name(), &self.spec.name);
            tracing::warn!(%driver, %volume, "the driver says that the file system has grown, but it has the size that it had before");
        }
    }
}

/// The sizes to tell the driver; `None` if there is nothing to do, an error with what the volume has if it would shrink.
///
/// What a persistent volume declares may be the size that it had, or the one that it shall have, or neither; it counts
/// only as long as nothing better is known.
fn sizes(
    wanted: u64,
    growth: Growth,
    (declared, capacity): (Option<u64>, Option<u64>),
) -> Result<Option<Sizes>, u64> {
    match [growth.done, growth.wanted, capacity].into_iter().flatten().max() {
        Some(has) if has > wanted => return Err(has),
        Some(has) if has == wanted && growth.wanted.is_none() => return Ok(None),
        _ => {}
    }
    let declared = declared.filter(|declared| *declared < wanted);
    let old = growth.done.or(declared.max(capacity)).unwrap_or(0);
    Ok(Some(Sizes { new: wanted, old }))
}

/// The volume's record.
fn find(shelf: &Shelf<Publish>, wanted: &Resize<'_>) -> Result<Kept<Publish>, LifecycleError> {
    let Inventory { records, .. } = shelf.inventory()?;
    let mut known: Vec<_> = records.iter().map(|kept| kept.record.pod_volume.clone()).collect();
    known.sort_unstable();
    let (mut by_pod, by_volume): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|kept| kept.record.pod_volume == wanted.volume);
    let mut by_volume = by_volume.into_iter().filter(|kept| kept.record.volume.as_str() == wanted.volume);
    match (by_pod.pop(), by_volume.next(), by_volume.next()) {
        (Some(kept), ..) | (None, Some(kept), None) => Ok(kept),
        _ => Err(no_volume(wanted, known)),
    }
}

fn no_volume(wanted: &Resize<'_>, known: Vec<String>) -> LifecycleError {
    LifecycleError::NoVolume { pod: wanted.pod.clone(), volume: wanted.volume.to_owned(), known }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(done: Option<u64>, wanted: Option<u64>) -> Growth {
        Growth { done, wanted }
    }

    #[test]
    fn a_volume_never_shrinks_whatever_its_size_is_known_from() {
        assert_eq!(sizes(10, growth(Some(11), None), (None, None)), Err(11));
        assert_eq!(sizes(10, growth(None, Some(12)), (None, None)), Err(12));
        assert_eq!(sizes(10, Growth::default(), (None, Some(13))), Err(13));
        assert_eq!(sizes(10, growth(Some(5), None), (None, Some(13))), Err(13));
    }

    #[test]
    fn a_declared_size_is_no_reason_to_refuse() {
        let (new, old) = (10, 0);
        assert_eq!(sizes(10, Growth::default(), (Some(20), None)), Ok(Some(Sizes { new, old })));
        assert_eq!(sizes(10, Growth::default(), (Some(10), None)), Ok(Some(Sizes { new, old })));
    }

    #[test]
    fn the_old_size_is_the_best_that_is_known() {
        let old = |growth, known| sizes(10, growth, known).unwrap().unwrap().old;
        assert_eq!(old(growth(Some(7), None), (Some(4), Some(6))), 7);
        assert_eq!(old(Growth::default(), (Some(8), Some(6))), 8);
        assert_eq!(old(Growth::default(), (Some(10), Some(6))), 6);
        assert_eq!(old(Growth::default(), (None, None)), 0);
    }

    #[test]
    fn what_has_the_size_is_left_alone_unless_a_resize_was_interrupted() {
        assert_eq!(sizes(10, growth(Some(10), None), (None, Some(9))), Ok(None));
        assert_eq!(sizes(10, Growth::default(), (None, Some(10))), Ok(None));
        let interrupted = growth(Some(5), Some(10));
        assert_eq!(sizes(10, interrupted, (None, Some(10))), Ok(Some(Sizes { new: 10, old: 5 })));
        assert_eq!(sizes(11, interrupted, (None, Some(10))), Ok(Some(Sizes { new: 11, old: 5 })));
    }
}
