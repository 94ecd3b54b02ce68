//! The device of an attachable volume: attach, waitforattach, mountdevice; and back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use flexvolume::{DriverName, PodUid, VolumeName};
use flexvolume_os::failpoint::hit;
use flexvolume_os::lock::{Lock, LockError};

use super::failure::{Failure, at};
use super::look::{self, Seen, look};
use super::plan::{self, DevicePlan, DeviceStep, Leftover};
use super::record::{Attacher, Device, Found, Growth, Spec};
use super::shelf::{self, Kept, RecordError, Shelf};
use super::{Phase, locks, unfinished};
use crate::hand_over::HandOver;
use crate::plugin::{AttachablePlugin, Attachments};
use crate::settings::Serialisation;
use crate::spec::{Pod, VolumeSpec};
use crate::{VolumeHost, paths};

/// A device that is being worked on; its lock is held by the caller.
pub(super) struct DeviceWork<'a> {
    pub(super) host: &'a VolumeHost,
    pub(super) boot: &'a str,
    pub(super) plugin: AttachablePlugin,
    pub(super) driver: DriverName,
    pub(super) volume: VolumeName,
    /// The device that a controller's `attach` answered, if a controller has attached the volume.
    pub(super) attached: Option<&'a str>,
    /// How a controller is asked that attaches for this node.
    pub(super) hand_over: Option<&'a HandOver>,
}

impl DeviceWork<'_> {
    /// Makes the device ready for `pod` and puts the pod on its record. `spec` is named as the driver knows it. Returns the device.
    pub(super) fn bring_up(&self, spec: &VolumeSpec, pod: &Pod) -> Result<String, Failure> {
        let shelf = self.shelf();
        let stored = shelf.read(&self.driver, &self.volume).map_err(at("read the record"))?;
        if let Some(kept) = &stored {
            refuse_other_volume(&kept.record, spec, &pod.uid)?;
            unfinished::settle_device(self.host, self.plugin.plugin(), (&self.volume, kept.record.phase))?;
        }
        let path = self.path();
        look::refuse_symlinked_parents(&self.host.root, &path)
            .map_err(|why| Failure::new("mountdevice", why))?;
        let seen = self.look()?;
        let plan = plan::device(stored.as_ref().map(|kept| &kept.record), seen, self.boot);
        let mut kept = match stored {
            Some(kept) => kept,
            None => shelf.new_record(self.unrecorded(Spec::from(spec), seen)?),
        };
        let newcomer = kept.record.pods.insert(pod.uid.clone());
        match plan {
            DevicePlan::Ready if newcomer => kept.save().map_err(at("write the record"))?,
            DevicePlan::Ready => {}
            DevicePlan::From(step, leftover) => {
                let brought = self.bring_up_from((step, leftover), &mut kept, (spec, pod));
                kept.note(brought)?;
            }
        }
        Ok(kept.record.device)
    }

    fn bring_up_from(
        &self,
        (step, leftover): (DeviceStep, Leftover),
        kept: &mut Kept<Device>,
        (spec, pod): (&VolumeSpec, &Pod),
    ) -> Result<(), Failure> {
        kept.record.boot = self.boot.to_owned();
        kept.record.error = None;
        if let Some(device) = self.attached {
            kept.record.attacher = Attacher::Controller;
            kept.record.attached = device.to_owned();
        }
        if step == DeviceStep::Attach || kept.record.attacher == Attacher::Controller {
            self.have_attached(kept, spec)?;
        }
        match (step, kept.record.attacher) {
            (DeviceStep::Attach, Attacher::ThisNode) => self.attach(kept, spec, pod)?,
            (DeviceStep::Attach, Attacher::Controller) => kept.advance(Phase::Attached)?,
            (DeviceStep::WaitForAttach, _) => {}
        }
        let device = self.plugin.wait_for_attach(spec, &kept.record.attached).map_err(at("waitforattach"))?;
        hit("lifecycle.waitforattach.called");
        kept.record.device = device;
        kept.advance(Phase::MountingDevice)?;
        hit("lifecycle.mountdevice.recorded");
        let path = self.plugin.device_mount_path(spec).map_err(at("getvolumename"))?;
        if leftover == Leftover::TakeDown
            && look::refuse_references(&*self.host.system.mounter, &self.host.root, &path).is_ok()
        {
            self.plugin.unmount_device_of(&path, &kept.record.device).map_err(at("unmountdevice"))?;
            hit("lifecycle.mountdevice.cleared");
        }
        self.plugin.mount_device(spec, &kept.record.device, &path).map_err(at("mountdevice"))?;
        hit("lifecycle.mountdevice.called");
        kept.record.found =
            something(self.look()?, &path).map_err(|cause| Failure::new("mountdevice", cause))?;
        kept.advance(Phase::DeviceMounted)?;
        hit("lifecycle.mountdevice.done");
        Ok(())
    }

    fn attach(&self, kept: &mut Kept<Device>, spec: &VolumeSpec, pod: &Pod) -> Result<(), Failure> {
        kept.record.node.clone_from(&self.host.node);
        kept.advance(Phase::Attaching)?;
        hit("lifecycle.attach.recorded");
        {
            let _one_at_a_time = self.driver_lock().map_err(at("attach"))?;
            kept.record.attached =
                self.plugin.attach_for(spec, pod, &self.host.node).map_err(at("attach"))?;
        }
        hit("lifecycle.attach.called");
        kept.advance(Phase::Attached)?;
        hit("lifecycle.attach.done");
        Ok(())
    }

    /// Asks a driver of protocol v1 again for the device of an `attach` that nobody has seen the end of: its `detach` is
    /// called with nothing else. One that then refuses has, for all that can be known, not attached.
    pub(super) fn find_lost_device(&self, pod: &Pod) -> Result<(), Failure> {
        let stored = self.shelf().read(&self.driver, &self.volume).map_err(at("read the record"))?;
        let Some(mut kept) = stored.filter(|kept| self.is_device_lost(&kept.record)) else { return Ok(()) };
        let spec = kept.record.spec.to_volume();
        if let Err(failure) = self.attach(&mut kept, &spec, pod) {
            tracing::warn!(volume = %self.volume, %failure, "the device of a lost attach is not found out");
        }
        Ok(())
    }

    fn is_device_lost(&self, record: &Device) -> bool {
        let Device { phase, attacher, attached, error, .. } = record;
        let unanswered = *phase == Phase::Attaching && *attacher == Attacher::ThisNode;
        // An attach that failed has left its error.
        self.plugin.plugin().speaks_v1() && unanswered && attached.is_empty() && error.is_none()
    }

    /// Takes `pod` off the device, and the device away if the pod was the last one.
    pub(super) fn release(&self, pod: &PodUid) -> Result<(), Failure> {
        let shelf = self.shelf();
        let stored = shelf.read(&self.driver, &self.volume).map_err(at("read the record"))?;
        let mut kept = match stored {
            Some(kept) => kept,
            // The record goes after everything else: without one and without a directory there is nothing to undo.
            None => match self.look()? {
                Seen::Absent => {
                    return shelf.forget(&self.driver, &self.volume).map_err(at("remove the record"));
                }
                seen => shelf.new_record(self.unrecorded(Spec::bare(&self.driver, &self.volume), seen)?),
            },
        };
        let others = kept.record.pods.iter().any(|user| user != pod);
        if others {
            kept.record.pods.remove(pod);
            kept.save().map_err(at("write the record"))?;
            hit("lifecycle.unmountdevice.shared");
            return Ok(());
        }
        let taken_away = self.take_away(&mut kept);
        kept.note(taken_away)?;
        kept.forget()?;
        hit("lifecycle.detach.forgotten");
        Ok(())
    }

    fn take_away(&self, kept: &mut Kept<Device>) -> Result<(), Failure> {
        if kept.record.phase != Phase::Detaching {
            self.unmount_device(kept)?;
        }
        if kept.record.attacher == Attacher::Controller {
            hit("lifecycle.give-back");
            return self.give_back(&kept.record);
        }
        kept.retreat(Phase::Detaching);
        hit("lifecycle.detach.recorded");
        let _one_at_a_time = self.driver_lock().map_err(at("detach"))?;
        let Device { attached, node, .. } = &kept.record;
        match self.plugin.detach_device(self.volume.as_str(), attached, node) {
            Err(_) if self.is_known_detached(&kept.record) => {}
            said => said.map_err(at("detach"))?,
        }
        hit("lifecycle.detach.called");
        Ok(())
    }

    /// Many drivers fail to detach what is not attached. Only the driver's own word that it is not counts: a detach that
    /// is wrongly taken for done leaves the volume attached for ever.
    fn is_known_detached(&self, record: &Device) -> bool {
        let spec = record.spec.to_volume();
        let answer = self.plugin.volumes_are_attached(&[&spec], &record.node);
        matches!(answer, Ok(Attachments::Known(attached)) if attached == [false])
    }

    fn unmount_device(&self, kept: &mut Kept<Device>) -> Result<(), Failure> {
        const STEP: &str = "unmountdevice";
        kept.retreat(Phase::UnmountingDevice);
        hit("lifecycle.unmountdevice.recorded");
        let path = self.path();
        look::refuse_symlinked_parents(&self.host.root, &path).map_err(|why| Failure::new(STEP, why))?;
        match self.look()? {
            Seen::Mounted => look::refuse_references(&*self.host.system.mounter, &self.host.root, &path)?,
            Seen::Symlink if !matches!(kept.record.found, Found::Symlink | Found::Unknown) => {
                return Err(Failure::new(STEP, look::symlink_refusal(&path)));
            }
            _ => {}
        }
        self.plugin.unmount_device_of(&path, &kept.record.device).map_err(at(STEP))?;
        hit("lifecycle.unmountdevice.called");
        match self.look()? {
            Seen::Mounted | Seen::Dead => Err(Failure::new(STEP, still_mounted(&path))),
            _ => Ok(()),
        }
    }

    /// One `attach` or `detach` of the driver at a time, unless its settings say that it can do more.
    fn driver_lock(&self) -> Result<Option<Lock>, LockError> {
        if self.plugin.plugin().settings().serialisation.value == Serialisation::None {
            return Ok(None);
        }
        locks::driver(self.host, &self.driver).map(Some)
    }

    fn look(&self) -> Result<Seen, Failure> {
        look(&*self.host.system.mounter, &self.path()).map_err(at("look at the device mount path"))
    }

    fn path(&self) -> PathBuf {
        paths::device_mount_path(&self.host.root, &self.driver, &self.volume)
    }

    fn shelf(&self) -> Shelf<Device> {
        shelf::devices(&self.host.root)
    }

    /// The record of a device that has none. Where something is in its place, its record was lost, and other pods may
    /// hold it.
    fn unrecorded(&self, spec: Spec, seen: Seen) -> Result<Device, Failure> {
        let pods = match seen {
            Seen::Absent => BTreeSet::new(),
            _ => self.holders().map_err(at("look for the pods that hold the volume"))?,
        };
        Ok(Device {
            driver: self.driver.clone(),
            volume: self.volume.clone(),
            spec,
            phase: Phase::Attaching,
            node: self.host.node.clone(),
            attached: String::new(),
            device: String::new(),
            found: Found::Unknown,
            pods,
            boot: self.boot.to_owned(),
            error: None,
            growth: Growth::default(),
            attacher: Attacher::ThisNode,
        })
    }

    /// The pods whose records say that they stand on this device.
    fn holders(&self) -> Result<BTreeSet<PodUid>, RecordError> {
        let mut pods = BTreeSet::new();
        for of_pod in shelf::all_publishes(&self.host.root)? {
            let ours = of_pod?.records.into_iter().map(|kept| kept.record).filter(|record| {
                record.driver == self.driver && record.device.as_ref() == Some(&self.volume)
            });
            pods.extend(ours.map(|record| record.pod.uid));
        }
        Ok(pods)
    }
}

/// What a driver has made of a directory, for the record; nothing and a file are no volume.
pub(super) fn something(seen: Seen, place: &Path) -> Result<Found, String> {
    match seen {
        Seen::Absent => {
            Err(format!("the driver answered Success, but {} does not exist any more", place.display()))
        }
        Seen::File => Err(format!("the driver answered Success, but {} is a file now", place.display())),
        seen => Ok(seen.found()),
    }
}

/// Why a directory cannot be given up.
pub(super) fn still_mounted(place: &Path) -> String {
    format!(
        "the driver answered Success, but {} is still mounted; find out who uses it (fuser -vm) and unmount again",
        place.display()
    )
}

/// Two pods' inline volumes of one name, or an inline volume and a persistent one, would be one device.
fn refuse_other_volume(record: &Device, spec: &VolumeSpec, pod: &PodUid) -> Result<(), Failure> {
    let wanted = Spec::from(spec);
    let Some(other) = record.pods.iter().find(|user| *user != pod) else { return Ok(()) };
    if wanted.is_persistent() && record.spec.is_persistent() {
        if !wanted.asks_for_the_same(&record.spec) {
            tracing::warn!(volume = %record.volume, pod = %other, "this pod has the volume mounted with other options or another \
                 file system type; they hold until its last pod has unmounted it");
        }
        return Ok(());
    }
    let cause = format!(
        "pod {other} has an inline volume of this name and driver, which would be the same device; \
         name the volume differently, or use a persistent volume to share it"
    );
    Err(Failure::new("attach", cause))
}
