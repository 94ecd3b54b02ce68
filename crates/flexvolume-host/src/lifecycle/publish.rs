//! A volume of one pod: `mount` on top of its device, if it has one; and back.

use std::path::Path;
use std::sync::Arc;

use flexvolume::{DriverName, VolumeName};
use flexvolume_os::failpoint::hit;
use flexvolume_os::lock::Lock;

use super::attached_elsewhere::AWAITING;
use super::device::{DeviceWork, something, still_mounted};
use super::failure::{Failure, at};
use super::look::{self, Seen, look};
use super::plan::{self, Leftover, PublishPlan};
use super::record::{Found, Growth, PodRecord, Publish, Spec};
use super::shelf::{self, Kept};
use super::{Mounted, Phase, VolumeManager, WantedVolume, locks, unfinished};
use crate::paths;
use crate::plugin::{Effect, PluginError, VolumePlugin};
use crate::spec::VolumeSpec;

/// More mounts than this are not taken off one directory.
const MOST_STACKED: usize = 16;

/// A set-up that failed.
pub(super) struct SetUpFailure {
    pub(super) failure: Failure,
    /// What is on record of it and wants to be undone.
    pub(super) begun: Option<Box<Kept<Publish>>>,
}

impl From<Failure> for SetUpFailure {
    fn from(failure: Failure) -> Self {
        Self { failure, begun: None }
    }
}

/// A set-up that succeeded.
pub(super) struct SetUp {
    pub(super) mounted: Mounted,
    /// What is to be undone if another volume of the pod fails.
    pub(super) begun: Option<Kept<Publish>>,
}

impl VolumeManager {
    /// Sets one volume up. The pod's lock is held.
    pub(super) fn set_up(&self, wanted: &WantedVolume<'_>) -> Result<SetUp, SetUpFailure> {
        let spec = &wanted.volume.spec;
        let plugin = self.registry.find_by_spec(spec).map_err(at("find the driver"))?;
        let shelf = shelf::publishes(&self.host.root, &wanted.pod.uid);
        let stored = shelf.read(plugin.name(), &spec.name).map_err(at("read the record"))?;
        if let Some(kept) = &stored {
            unfinished::settle_volume(&self.host, &plugin, &kept.record)?;
        }
        let mount_dir = plugin.mounter(spec, wanted.pod).path().to_owned();
        look::refuse_symlinked_parents(&self.host.root, &mount_dir)
            .map_err(|why| Failure::new("mount", why))?;
        let seen = self.look(&mount_dir)?;
        if stored.is_none() && seen == Seen::Symlink {
            return Err(Failure::new("mount", look::symlink_refusal(&mount_dir)).into());
        }
        let plan = plan::publish(stored.as_ref().map(|kept| &kept.record), seen, &self.boot);
        let (leftover, mut kept) = match (plan, stored) {
            (PublishPlan::Ready, Some(kept)) => {
                warn_of_changes(&kept.record, spec);
                return Ok(SetUp { mounted: self.mounted(&kept.record, Effect::Unchanged), begun: None });
            }
            (PublishPlan::Mount(leftover), Some(kept)) => (leftover, kept),
            (PublishPlan::Mount(leftover), None) => {
                (leftover, shelf.new_record(self.new_record(&plugin, wanted)))
            }
            (PublishPlan::Ready, None) => {
                (Leftover::None, shelf.new_record(self.new_record(&plugin, wanted)))
            }
        };
        self.renew(&mut kept.record, &plugin, wanted)?;
        self.set_up_kept(&plugin, wanted, (kept, leftover))
    }

    /// A failure takes down what was begun, but not a volume that the pod had before, as after a reboot: `unmount` may
    /// remove what the pod has written. It stays on record instead.
    fn set_up_kept(
        &self,
        plugin: &Arc<VolumePlugin>,
        wanted: &WantedVolume<'_>,
        (mut kept, leftover): (Kept<Publish>, Leftover),
    ) -> Result<SetUp, SetUpFailure> {
        let (before, found) = (kept.generation(), kept.record.found);
        let is_new = leftover == Leftover::TakeDown || found == Found::Unknown;
        match self.set_up_recorded(plugin, wanted, (&mut kept, leftover)) {
            Ok(effect) => {
                let mounted = self.mounted(&kept.record, effect);
                let begun = (is_new && effect == Effect::Changed).then_some(kept);
                Ok(SetUp { mounted, begun })
            }
            Err(failure) if kept.generation() == before => Err(failure.into()),
            Err(failure) if failure.step == AWAITING => kept.note(Err(failure)).map_err(SetUpFailure::from),
            Err(failure) if is_new => Err(SetUpFailure { failure, begun: Some(Box::new(kept)) }),
            Err(failure) => kept.note(Err(failure)).map_err(SetUpFailure::from),
        }
    }

    fn set_up_recorded(
        &self,
        plugin: &Arc<VolumePlugin>,
        wanted: &WantedVolume<'_>,
        (kept, leftover): (&mut Kept<Publish>, Leftover),
    ) -> Result<Effect, Failure> {
        let device = kept.record.device.clone();
        let _device_lock = device.as_ref().map(|device| self.lock_recorded(kept, device)).transpose()?;
        self.clear_away(plugin, kept, leftover)?;
        let mut attached = String::new();
        if let Some(device) = &device {
            // A new record says so already.
            if kept.record.phase != Phase::Attaching {
                kept.advance(Phase::Attaching)?;
            }
            hit("lifecycle.volume.recorded");
            let spec = VolumeSpec { name: device.clone(), ..wanted.volume.spec.clone() };
            attached = self.device_work(plugin, device)?.bring_up(&spec, wanted.pod)?;
        }
        kept.advance(Phase::Mounting)?;
        hit("lifecycle.mount.recorded");
        let mounter = plugin.mounter(&wanted.volume.spec, wanted.pod).on_device(attached);
        let effect = mounter.set_up(wanted.arguments).map_err(at("mount"))?;
        hit("lifecycle.mount.called");
        kept.record.found = something(self.look(mounter.path())?, mounter.path())
            .map_err(|cause| Failure::new("mount", cause))?;
        kept.record.error = None;
        kept.advance(Phase::Mounted)?;
        hit("lifecycle.mount.done");
        Ok(effect)
    }

    fn clear_away(
        &self,
        plugin: &Arc<VolumePlugin>,
        kept: &mut Kept<Publish>,
        left: Leftover,
    ) -> Result<(), Failure> {
        match left {
            Leftover::None => Ok(()),
            Leftover::TakeDown => self.take_down(plugin, kept).map(|_| kept.record.found = Found::Unknown),
            Leftover::UnmountDead => {
                let dead = plugin.unmounter(&kept.record.volume, &kept.record.pod.uid).path().to_owned();
                self.host.system.mounter.unmount(&dead).map_err(at("unmount the dead mount"))
            }
        }
    }

    /// Waits for what an earlier process may have left running for the volume.
    pub(super) fn settle(&self, record: &Publish) -> Result<(), Failure> {
        match self.registry.find_by_name(&record.driver) {
            Ok(plugin) => unfinished::settle_volume(&self.host, &plugin, record),
            // Whoever needs the driver says so.
            Err(_) => Ok(()),
        }
    }

    /// Takes one volume down, from its record alone. The pod's lock is held.
    pub(super) fn release(&self, mut kept: Kept<Publish>) -> Result<Mounted, Failure> {
        let released = self.release_steps(&mut kept);
        let effect = kept.note(released)?;
        Ok(self.mounted(&kept.record, effect))
    }

    fn release_steps(&self, kept: &mut Kept<Publish>) -> Result<Effect, Failure> {
        let plugin = self.registry.find_by_name(&kept.record.driver).map_err(|error| {
            let Failure { step, cause } = at("find the driver")(error);
            Failure::new(
                step,
                format!("{cause}; the volume stays on record: install the driver and unmount again"),
            )
        })?;
        let device = kept.record.device.clone();
        let device_lock = device.as_ref().map(|device| self.lock_device(kept, device)).transpose()?;
        let mut effect = Effect::Unchanged;
        if kept.record.phase != Phase::UnmountingDevice {
            effect = self.take_down(&plugin, kept)?;
        }
        if let Some(device) = &device {
            kept.retreat(Phase::UnmountingDevice);
            hit("lifecycle.unmount.done");
            let work = self.device_work(&plugin, device)?;
            work.find_lost_device(&kept.record.pod.to_pod())?;
            work.release(&kept.record.pod.uid)?;
        }
        if let (Some(lock), Some(device)) = (device_lock, &device) {
            self.discard_device_lock(lock, (&kept.record.driver, device));
        }
        kept.forget()?;
        hit("lifecycle.unmount.forgotten");
        Ok(effect)
    }

    /// `unmount`, until nothing is mounted at the mount dir.
    fn take_down(&self, plugin: &Arc<VolumePlugin>, kept: &mut Kept<Publish>) -> Result<Effect, Failure> {
        const STEP: &str = "unmount";
        let unmounter = plugin.unmounter(&kept.record.volume, &kept.record.pod.uid);
        let unmounter = unmounter.known_as(kept.record.own_name(self.host.reading));
        let mount_dir = unmounter.path();
        look::refuse_symlinked_parents(&self.host.root, mount_dir).map_err(|why| Failure::new(STEP, why))?;
        let before = self.look(mount_dir)?;
        if before == Seen::Symlink && !matches!(kept.record.found, Found::Symlink | Found::Unknown) {
            return Err(Failure::new(STEP, look::symlink_refusal(mount_dir)));
        }
        let unseen = before == Seen::Absent && matches!(kept.record.phase, Phase::Mounting | Phase::Mounted);
        kept.retreat(Phase::Unmounting);
        hit("lifecycle.unmount.recorded");
        let mut said = if unseen { unmounter.tear_down_unseen() } else { unmounter.tear_down() };
        let mut after = self.look(mount_dir)?;
        let mut stacked = self.stacked(after, mount_dir);
        // Some drivers mount once more at each call: one unmount each.
        while stacked > 1 || (stacked == 1 && matches!(said, Ok(_) | Err(PluginError::NotDone { .. }))) {
            said = unmounter.tear_down();
            after = self.look(mount_dir)?;
            let left = self.stacked(after, mount_dir);
            if left >= stacked {
                break;
            }
            stacked = left;
        }
        hit("lifecycle.unmount.called");
        judge_unmount(mount_dir, (before, after), said)
    }

    fn stacked(&self, seen: Seen, mount_dir: &Path) -> usize {
        if seen != Seen::Mounted {
            return 0;
        }
        let place = look::in_table(&self.host.root, mount_dir);
        let count = self.host.system.mounter.table().map_or(1, |table| table.at(&place).count());
        count.min(MOST_STACKED)
    }

    pub(super) fn device_work(
        &self,
        plugin: &Arc<VolumePlugin>,
        device: &VolumeName,
    ) -> Result<DeviceWork<'_>, Failure> {
        let Some(attachable) = plugin.attachable() else {
            let cause = format!(
                "driver {} does not declare `attach` any more; put the driver back that attached volume {device}",
                plugin.name()
            );
            return Err(Failure::new("unmountdevice", cause));
        };
        Ok(DeviceWork {
            host: &self.host,
            boot: &self.boot,
            plugin: attachable,
            driver: plugin.name().clone(),
            volume: device.clone(),
            attached: None,
            hand_over: self.hand_over.as_deref(),
        })
    }

    /// Locks the device; a new record is written before, so that even the lock file has a trace that leads to it.
    fn lock_recorded(&self, kept: &mut Kept<Publish>, device: &VolumeName) -> Result<Lock, Failure> {
        let is_new = kept.generation() == 0;
        if is_new {
            kept.advance(Phase::Attaching)?;
        }
        let locked = self.lock_device(kept, device);
        if is_new && locked.is_err() {
            kept.forget()?;
        }
        locked
    }

    pub(super) fn lock_device(&self, kept: &Kept<Publish>, device: &VolumeName) -> Result<Lock, Failure> {
        locks::device(&self.host, &kept.record.driver, device).map_err(at("lock the volume"))
    }

    /// The lock's file goes when the device is gone.
    pub(super) fn discard_device_lock(&self, lock: Lock, (driver, device): (&DriverName, &VolumeName)) {
        if shelf::devices(&self.host.root).read(driver, device).is_ok_and(|kept| kept.is_none()) {
            locks::discard(lock);
        }
    }

    pub(super) fn look(&self, place: &Path) -> Result<Seen, Failure> {
        look(&*self.host.system.mounter, place).map_err(at("look at the mount dir"))
    }

    fn new_record(&self, plugin: &Arc<VolumePlugin>, wanted: &WantedVolume<'_>) -> Publish {
        Publish {
            driver: plugin.name().clone(),
            volume: wanted.volume.spec.name.clone(),
            spec: None,
            pod: PodRecord::from(wanted.pod),
            pod_volume: wanted.volume.pod_volume.clone(),
            position: wanted.position,
            fs_group: None,
            fs_group_change_policy: wanted.arguments.fs_group_change_policy,
            device: None,
            phase: Phase::Mounting,
            found: Found::Unknown,
            boot: self.boot.clone(),
            error: None,
            growth: Growth::default(),
        }
    }

    /// Brings the record up to date with what is asked for now.
    fn renew(
        &self,
        record: &mut Publish,
        plugin: &Arc<VolumePlugin>,
        wanted: &WantedVolume<'_>,
    ) -> Result<(), Failure> {
        let spec = &wanted.volume.spec;
        let device = match plugin.attachable() {
            Some(_) => Some(spec.device_name(&wanted.pod.uid, self.host.reading).map_err(at("attach"))?),
            None => None,
        };
        if let (Some(recorded), true) = (&record.device, record.device != device) {
            let cause =
                format!("it is on record as standing on device {recorded}; unmount the pod's volumes first");
            return Err(Failure::new("attach", cause));
        }
        record.spec = Some(Spec::from(spec));
        record.pod = PodRecord::from(wanted.pod);
        record.pod_volume.clone_from(&wanted.volume.pod_volume);
        record.position = wanted.position;
        record.set_arguments(wanted.arguments);
        record.device = device;
        record.boot.clone_from(&self.boot);
        Ok(())
    }

    fn mounted(&self, record: &Publish, effect: Effect) -> Mounted {
        Mounted {
            pod_volume: record.pod_volume.clone(),
            volume: record.volume.clone(),
            driver: record.driver.as_str().to_owned(),
            mount_dir: paths::mount_dir(&self.host.root, &record.pod.uid, &record.driver, &record.volume),
            effect: Some(effect),
        }
    }
}

/// A volume that is mounted stays as it was described then.
fn warn_of_changes(record: &Publish, spec: &VolumeSpec) {
    if record.spec.as_ref().is_some_and(|known| *known != Spec::from(spec)) {
        let (pod, volume) = (&record.pod.uid, &record.volume);
        tracing::warn!(%pod, %volume, "the volume is mounted as it was described before; unmount it to apply what has changed");
    }
}

/// Whether a volume counts as unmounted. The directory decides where the driver's word cannot be right: many drivers
/// fail when nothing is mounted any more, and some answer Success without having unmounted.
fn judge_unmount(
    mount_dir: &Path,
    (before, after): (Seen, Seen),
    said: Result<Effect, PluginError>,
) -> Result<Effect, Failure> {
    const STEP: &str = "unmount";
    match (after, said) {
        (Seen::Absent, said) => Ok(said.unwrap_or_else(|error| {
            tracing::info!(%error, mount_dir = %mount_dir.display(), "the mount dir is gone, so the volume counts as unmounted");
            Effect::Changed
        })),
        (Seen::Mounted | Seen::Dead, Ok(_)) => Err(Failure::new(STEP, still_mounted(mount_dir))),
        (Seen::File, Ok(_)) => Err(Failure::new(STEP, left_file(mount_dir))),
        (Seen::Symlink, Ok(_)) => Err(Failure::new(STEP, left_symlink(mount_dir))),
        (Seen::Directory, Ok(_)) => remove_empty(mount_dir).map_err(|cause| Failure::new(STEP, cause)),
        (Seen::Directory, Err(_)) if before == Seen::Directory && remove_empty(mount_dir).is_ok() => {
            Ok(Effect::Changed)
        }
        (_, Err(error)) => Err(at(STEP)(error)),
    }
}

fn remove_empty(mount_dir: &Path) -> Result<Effect, String> {
    match std::fs::remove_dir(mount_dir) {
        Ok(()) => Ok(Effect::Changed),
        Err(error) => Err(format!(
            "the driver answered Success, but {} cannot be removed ({error}); look at what it left there",
            mount_dir.display()
        )),
    }
}

fn left_file(mount_dir: &Path) -> String {
    format!(
        "the driver answered Success, but left a file at {}; look at it and remove it",
        mount_dir.display()
    )
}

fn left_symlink(mount_dir: &Path) -> String {
    format!("the driver answered Success, but left a symlink at {}; remove it", mount_dir.display())
}
