//! The driver `lvm-ephemeral`: logical volumes that live as long as their pod.

use std::path::Path;

use flexvolume::{Capabilities, Capacity, Driver, Error, Finding, Options, VolumeDescription};
use flexvolume_os::System;
use flexvolume_os::failpoint::hit;
use flexvolume_os::lock::Lock;
use flexvolume_os::mount::Access;
use serde::{Deserialize, Serialize};

use super::administration::Administration;
use super::create::{self, Wanted};
use super::diagnosis;
use super::error::{LvmError, Result};
use super::locks::Locks;
use super::lookup::{self, Known, Lookup, look_up};
use super::mount::{self, Mounted, already_mounted, mounted_at};
use super::name::{self, Place, VgName};
use super::remove;
use super::request::LvmRequest;
use super::tags::{Owner, Reading, Record, State};
use super::tool::{Lvm, Machine};
use crate::claim::Claims;
use crate::device::{self, Already, Target};
use crate::pool::short_name;

/// A logical volume of a given size, made at `mount` for one pod and removed at `unmount`.
///
/// The volume is named by the pod's uid and the volume's name. Since `unmount` is told the mount dir only, a claim in
/// the driver's state directory says which volume a mount dir has; it is written first and removed last. The data
/// survives a reboot of the node: `mount` for the same pod finds it again.
#[derive(Debug)]
pub struct LvmEphemeral {
    system: System,
    claims: Claims,
    locks: Locks,
}

/// What a mount dir is used for.
#[derive(Debug, Serialize, Deserialize)]
struct Holds {
    volume_group: String,
    id: String,
}

impl LvmEphemeral {
    /// The driver, with its claims in the directory `lvm-ephemeral` of `state`.
    #[must_use]
    pub fn new(system: System, state: &Path) -> Self {
        let claims = Claims { directory: state.join("lvm-ephemeral/claims") };
        Self { system, claims, locks: Locks::new(state) }
    }

    fn machine(&self) -> Machine<'_> {
        Machine::new(&self.system, Owner::LvmEphemeral)
    }

    fn lvm(&self) -> Lvm<'_> {
        self.machine().lvm
    }

    fn administration(&self) -> Administration<'_> {
        let claims = Some(&self.claims);
        Administration { owner: Owner::LvmEphemeral, locks: &self.locks, claims, system: &self.system }
    }

    fn set_up(&self, mount_dir: &Path, options: &Options) -> Result<()> {
        let request = LvmRequest::ephemeral(options)?;
        let target = Target { path: mount_dir, access: device::access(request.access) };
        if already_mounted(&request.place, target, &*self.system.mounter)? == Already::Mounted {
            return Ok(());
        }
        let mount_dir_lock = self.claims.lock(mount_dir)?;
        let outcome = self.set_up_alone(&request, target);
        mount_dir_lock.discard()?;
        outcome
    }

    fn set_up_alone(&self, request: &LvmRequest, target: Target<'_>) -> Result<()> {
        let place = &request.place;
        let lock = self.locks.lock(&place.mapped())?;
        if already_mounted(place, target, &*self.system.mounter)? == Already::Mounted {
            return Ok(());
        }
        let known = look_up(self.lvm(), place).known()?;
        let before = Before::of(&known);
        self.claim(target.path, place)?;
        let outcome = self.make_and_mount(request, known, target);
        if outcome.is_err() && before == Before::NoData {
            // The host does not call `unmount` after a failed `mount`: nothing of the attempt may stay. Should this
            // fail too, the claim and the tags say what is left, and the next call of either kind removes it.
            let _ = self.remove(place, target.path, lock);
        }
        outcome
    }

    /// Records that the mount dir is for this volume, before anything of it exists.
    fn claim(&self, mount_dir: &Path, place: &Place) -> Result<()> {
        if let Some(held) = self.claims.load::<Holds>(mount_dir)?.filter(|held| held.id != place.id) {
            let remedy = format!("it is the mount dir of the volume {:?}; unmount that first", held.id);
            return Err(LvmError::Busy { subject: mount_dir.display().to_string(), remedy });
        }
        let volume_group = place.vg.as_str().to_owned();
        self.claims.store(mount_dir, Holds { volume_group, id: place.id.clone() })?;
        hit("lvm-ephemeral.claimed");
        Ok(())
    }

    fn make_and_mount(&self, request: &LvmRequest, known: Known, target: Target<'_>) -> Result<()> {
        let mount_dir = short_name(target.path);
        let ready = create::ensure(self.lvm(), known, Wanted { request, mount_dir: Some(&mount_dir) })?;
        mount::mount(self.machine(), request, &ready, target)
    }

    fn take_down(&self, mount_dir: &Path) -> Result<()> {
        let mount_dir_lock = self.claims.lock(mount_dir)?;
        let outcome = self.take_down_alone(mount_dir);
        mount_dir_lock.discard()?;
        outcome
    }

    fn take_down_alone(&self, mount_dir: &Path) -> Result<()> {
        if let Some(place) = self.volume_at(mount_dir)? {
            let lock = self.locks.lock(&place.mapped())?;
            self.unmount_only(&place, mount_dir)?;
            self.remove(&place, mount_dir, lock)?;
        }
        self.claims.remove(mount_dir)?;
        hit("lvm-ephemeral.released");
        Ok(())
    }

    /// Unmounts the volume, and nothing else.
    fn unmount_only(&self, place: &Place, mount_dir: &Path) -> Result<()> {
        let mounter = &*self.system.mounter;
        match mounted_at(mount_dir, mounter)? {
            Mounted::Nothing => Ok(()),
            Mounted::Dead(_) => mount::unmount(mount_dir, mounter),
            Mounted::Other(source) => Err(mount::foreign(mount_dir, &source)),
            Mounted::Mapped(_) => {
                let target = Target { path: mount_dir, access: Access::ReadOnly };
                already_mounted(place, target, mounter)?;
                mount::unmount(mount_dir, mounter)
            }
        }
    }

    /// The volume of this mount dir: by its claim, or, should that be lost, by what is mounted there.
    fn volume_at(&self, mount_dir: &Path) -> Result<Option<Place>> {
        if let Some(holds) = self.claims.load::<Holds>(mount_dir)? {
            let vg = VgName::parse("volumegroup", &holds.volume_group)?;
            return Ok(Some(Place::of(vg, &holds.id)?));
        }
        match mounted_at(mount_dir, &*self.system.mounter)? {
            Mounted::Nothing => Ok(None),
            Mounted::Mapped(mapped) => self.volume_of(&mapped, mount_dir).map(Some),
            Mounted::Other(source) => Err(mount::foreign(mount_dir, &source)),
            Mounted::Dead(_) => Err(mount::foreign(mount_dir, "something that does not answer")),
        }
    }

    /// The volume with this device, if its tags say that it was made for this mount dir.
    fn volume_of(&self, mapped: &str, mount_dir: &Path) -> Result<Place> {
        let foreign = || mount::foreign(mount_dir, &format!("/dev/mapper/{mapped}"));
        let (vg, lv) = name::of_mapped(mapped).ok_or_else(foreign)?;
        let any = Place::of(vg.clone(), "x")?;
        let report = lookup::read(self.lvm(), &any, &format!("lv_name=\"{lv}\""))?;
        let tags = report.volumes.first().map(|volume| Record::read(&volume.tags));
        match tags {
            Some(Reading::Record(record))
                if record.owner == Owner::LvmEphemeral.as_str() && belongs_to(&record, mount_dir) =>
            {
                Ok(Place::of(vg, &record.id)?)
            }
            _ => Err(foreign()),
        }
    }

    /// Removes the unmounted volume, its lock's file, and then the claim.
    fn remove(&self, place: &Place, mount_dir: &Path, lock: Lock) -> Result<()> {
        match look_up(self.lvm(), place) {
            // Only a mount that failed because of it could have claimed another mount dir's volume, or another owner's.
            Lookup::Present(found) if !belongs_to(&found.record, mount_dir) => {}
            Lookup::NotOurs(_) => {}
            Lookup::CannotKnow(error) => return Err(error),
            Lookup::Present(found) => remove::destroy(self.lvm(), place, found, None)?,
            Lookup::Absent(vacancy) => remove::finish_all(self.lvm(), place, &vacancy)?,
        }
        hit("lvm-ephemeral.removed");
        lock.discard()?;
        hit("lvm-ephemeral.unlocked");
        Ok(self.claims.remove(mount_dir)?)
    }
}

/// Whether a pod may have written to the volume before a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Data,
    NoData,
}

impl Before {
    fn of(known: &Known) -> Self {
        match known {
            Known::Present(found) if matches!(found.record.state, State::Ready(_)) => Before::Data,
            Known::Present(_) | Known::Absent(_) => Before::NoData,
        }
    }
}

fn belongs_to(record: &Record, mount_dir: &Path) -> bool {
    record.mount_dir.as_deref() == Some(&*short_name(mount_dir))
}

impl Driver for LvmEphemeral {
    fn init(&self) -> std::result::Result<Capabilities, Error> {
        Ok(Capabilities {
            attach: false,
            supports_metrics: true,
            requires_fs_resize: false,
            ..Capabilities::default()
        })
    }

    fn mount(&self, mount_dir: &Path, options: &Options) -> std::result::Result<(), Error> {
        Ok(self.set_up(mount_dir, options)?)
    }

    fn unmount(&self, mount_dir: &Path) -> std::result::Result<(), Error> {
        Ok(self.take_down(mount_dir)?)
    }

    fn delete_volume(&self, options: &Options) -> std::result::Result<Option<VolumeDescription>, Error> {
        Ok(self.administration().delete(options)?)
    }

    fn list_volumes(&self, options: &Options) -> std::result::Result<Vec<VolumeDescription>, Error> {
        Ok(self.administration().list(options)?)
    }

    fn capacity(&self, options: &Options) -> std::result::Result<Capacity, Error> {
        Ok(self.administration().capacity(options)?)
    }

    fn diagnose(&self, options: &Options) -> std::result::Result<Vec<Finding>, Error> {
        Ok(diagnosis::diagnose(&self.administration(), options)?)
    }
}
