//! The driver `lvm`: persistent volumes in a volume group.

use std::path::Path;

use flexvolume::{
    Attachment, Capabilities, Capacity, DeviceMount, Driver, Error, Expansion, Finding, Options,
    VolumeDescription,
};
use flexvolume_os::System;

use super::administration::Administration;
use super::create::{self, Wanted};
use super::diagnosis;
use super::error::{LvmError, Result};
use super::grow;
use super::lookup::{Known, look_up};
use super::mount::{self, Mounted, already_mounted, mounted_at};
use super::name::{self, Place};
use super::note;
use super::request::LvmRequest;
use super::tags::{Owner, State};
use super::tool::Machine;
use crate::device::{self, Already, Target};
use crate::error::VolumeError;

use super::locks::Locks;

/// More mounts than this at one path are not ours.
const MOST_STACKED: usize = 16;

/// Logical volumes with a file system, made in a volume group of the node.
///
/// `attach`, `isattached` and `detach` are formalities, since under Kubernetes they run on the controller's machine: the
/// volume is made on the node, in `waitforattach`. It stays active until the node restarts, and is activated again by
/// the next `waitforattach`.
#[derive(Debug)]
pub struct LvmDriver {
    system: System,
    locks: Locks,
}

impl LvmDriver {
    /// The driver, with its locks in the directory `lvm` of `state`.
    #[must_use]
    pub fn new(system: System, state: &Path) -> Self {
        Self { system, locks: Locks::new(state) }
    }

    fn machine(&self) -> Machine<'_> {
        Machine::new(&self.system, Owner::Lvm)
    }

    fn make(&self, options: &Options) -> Result<Place> {
        let request = LvmRequest::persistent(options)?;
        let lock = self.locks.lock(&request.place.mapped())?;
        let outcome = self.make_alone(&request);
        if outcome.is_err() {
            // A volume that could not be made leaves nothing, not even the file of its lock.
            let _ = lock.discard();
        }
        outcome.map(|()| request.place)
    }

    fn make_alone(&self, request: &LvmRequest) -> Result<()> {
        let _source_lock =
            request.source.as_ref().map(|source| self.locks.lock(&source.mapped())).transpose()?;
        let (lvm, place, wanted) = (self.machine().lvm, &request.place, Wanted { request, mount_dir: None });
        let notes = self.locks.directory();
        if note::read(notes, place).is_some_and(|found| create::agrees(&found, wanted).is_ok()) {
            return Ok(());
        }
        let known = look_up(lvm, place).known()?;
        let (found, group) = match &known {
            Known::Present(found) if matches!(found.record.state, State::Ready(_)) => {
                (Some(found.clone()), found.group.clone())
            }
            Known::Present(found) => (None, found.group.clone()),
            Known::Absent(vacancy) => (None, vacancy.group.clone()),
        };
        let ready = create::ensure(lvm, known, wanted)?;
        let found = found.map_or_else(|| note::of_new(group, request, &ready), |found| *found);
        note::write(notes, place, &found);
        Ok(())
    }

    fn mount_volume(&self, mount: DeviceMount<'_>, options: &Options) -> Result<()> {
        let request = LvmRequest::persistent(options)?;
        let place = &request.place;
        if let Some(device) = mount.device.filter(|device| Path::new(device) != place.device()) {
            return Err(VolumeError::OtherDevice { actual: device.to_owned(), image: place.device() }.into());
        }
        let target = Target { path: mount.path, access: device::access(request.access) };
        let mounter = &*self.system.mounter;
        if already_mounted(place, target, mounter)? == Already::Mounted {
            return Ok(());
        }
        let _lock = self.locks.lock(&place.mapped())?;
        if already_mounted(place, target, mounter)? == Already::Mounted {
            return Ok(());
        }
        let lvm = self.machine().lvm;
        let ready = match note::take_fresh(self.locks.directory(), place) {
            Some(found) => create::found_ready(lvm, place, &found)?,
            None => create::ready(lvm, place)?,
        };
        mount::mount(self.machine(), &request, &ready, target)
    }

    fn administration(&self) -> Administration<'_> {
        Administration { owner: Owner::Lvm, locks: &self.locks, claims: None, system: &self.system }
    }

    fn grow_volume(&self, options: &Options, new_size: u64, which: Grow) -> Result<u64> {
        let request = LvmRequest::persistent(options)?;
        let place = &request.place;
        let _lock = self.locks.lock(&place.mapped())?;
        let grown = grow::grow(self.machine().lvm, place, new_size)?;
        let size = grown.size();
        match which {
            Grow::Volume => {}
            Grow::Both => grow::grow_filesystem(self.machine(), place, grown)?,
        }
        Ok(size)
    }

    fn unmount_volume(&self, path: &Path) -> Result<()> {
        let mounter = &*self.system.mounter;
        for _ in 0..MOST_STACKED {
            let _lock = match mounted_at(path, mounter)? {
                Mounted::Nothing => return Ok(()),
                Mounted::Dead(_) => None,
                Mounted::Mapped(mapped) if name::of_mapped(&mapped).is_some() => {
                    Some(self.locks.lock(&mapped)?)
                }
                Mounted::Mapped(mapped) => {
                    return Err(mount::foreign(path, &format!("/dev/mapper/{mapped}")));
                }
                Mounted::Other(source) => return Err(mount::foreign(path, &source)),
            };
            // Somebody may have been faster while we waited.
            if mounted_at(path, mounter)? != Mounted::Nothing {
                mount::unmount(path, mounter)?;
            }
        }
        let remedy = "more is mounted on it than this driver ever does; unmount it by hand".to_owned();
        Err(LvmError::Busy { subject: path.display().to_string(), remedy })
    }
}

/// What shall grow.
#[derive(Debug, Clone, Copy)]
enum Grow {
    Volume,
    /// The volume and its file system.
    Both,
}

impl Driver for LvmDriver {
    fn init(&self) -> std::result::Result<Capabilities, Error> {
        Ok(Capabilities { supports_metrics: true, ..Capabilities::default() })
    }

    fn attach(&self, options: &Options, _node: &str) -> std::result::Result<Option<String>, Error> {
        LvmRequest::persistent(options)?;
        Ok(None)
    }

    fn is_attached(&self, _options: &Options, _node: &str) -> std::result::Result<Attachment, Error> {
        Ok(Attachment::Attached)
    }

    fn wait_for_attach(
        &self,
        _device: Option<&str>,
        options: &Options,
    ) -> std::result::Result<String, Error> {
        Ok(self.make(options)?.device().display().to_string())
    }

    fn mount_device(&self, mount: DeviceMount<'_>, options: &Options) -> std::result::Result<(), Error> {
        Ok(self.mount_volume(mount, options)?)
    }

    fn unmount_device(&self, device_mount_path: &Path) -> std::result::Result<(), Error> {
        Ok(self.unmount_volume(device_mount_path)?)
    }

    fn detach(&self, _volume: &str, _node: &str) -> std::result::Result<(), Error> {
        Ok(())
    }

    fn expand_volume(&self, options: &Options, expansion: Expansion<'_>) -> std::result::Result<u64, Error> {
        Ok(self.grow_volume(options, expansion.new_size, Grow::Volume)?)
    }

    /// Grows the volume first: stock Kubernetes never calls `expandvolume`
    /// (v1.37 `pkg/controller/volume/expand/expand_controller.go` knows no FlexVolume plugin).
    fn expand_fs(&self, options: &Options, expansion: Expansion<'_>) -> std::result::Result<(), Error> {
        self.grow_volume(options, expansion.new_size, Grow::Both)?;
        Ok(())
    }

    fn create_volume(&self, options: &Options) -> std::result::Result<VolumeDescription, Error> {
        let place = self.make(options)?;
        Ok(self.administration().describe(&place)?)
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
