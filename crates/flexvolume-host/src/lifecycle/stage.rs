//! A device made ready before any pod uses it, and one volume of a pod at a time: what a container storage interface
//! asks for, where kubelet's own plugins go from nothing to mounted in one go.

use std::path::PathBuf;

use flexvolume::{DriverName, PodUid, VolumeName};

use super::failure::{Failure, at};
use super::{LifecycleError, VolumeManager, locks, shelf, step_error};
use crate::paths;
use crate::spec::{Pod, VolumeSpec};

/// Who attaches a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment<'a> {
    /// This node: `attach` and `detach` are called here.
    Here,
    /// A controller, whose `attach` answered this device (which may be empty).
    ByController {
        /// The device.
        device: &'a str,
    },
}

/// A device that shall be ready.
#[derive(Debug, Clone, Copy)]
pub struct Stage<'a> {
    /// Who holds it: not a pod, but as good as one. The device stays until its last holder has let it go.
    pub holder: &'a Pod,
    /// The volume.
    pub spec: &'a VolumeSpec,
    /// Who attaches it.
    pub attachment: Attachment<'a>,
}

/// A device that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// The device as `waitforattach` answered it; may be empty.
    pub device: String,
    /// Where it is mounted, if the driver mounts devices.
    pub device_mount_path: PathBuf,
}

impl VolumeManager {
    /// Makes the device of an attachable volume ready: `attach` unless a controller does it, `waitforattach`,
    /// `mountdevice`. Calling it again changes nothing; pods that mount the volume later find it ready.
    ///
    /// # Errors
    /// [`LifecycleError`]: what this holder had begun is undone; what cannot be undone now stays on record.
    pub fn stage(&self, wanted: &Stage<'_>) -> Result<Staged, LifecycleError> {
        let spec = wanted.spec;
        let failed = |failure| step_error(&spec.name, failure, Vec::new());
        let plugin = self.registry.find_by_spec(spec).map_err(at("find the driver")).map_err(failed)?;
        let device =
            spec.device_name(&wanted.holder.uid, self.host.reading).map_err(at("attach")).map_err(failed)?;
        let _lock = locks::device(&self.host, plugin.name(), &device)?;
        let mut work = self.device_work(&plugin, &device).map_err(failed)?;
        if let Attachment::ByController { device } = wanted.attachment {
            work.attached = Some(device);
        }
        let named = VolumeSpec { name: device.clone(), ..spec.clone() };
        match work.bring_up(&named, wanted.holder) {
            Ok(ready) => Ok(Staged {
                device: ready,
                device_mount_path: paths::device_mount_path(&self.host.root, plugin.name(), &device),
            }),
            Err(failure) => {
                let undone = work.release(&wanted.holder.uid).err();
                Err(step_error(
                    &spec.name,
                    failure,
                    undone.iter().map(|failure: &Failure| failure.to_string()).collect(),
                ))
            }
        }
    }

    /// Lets a device go: `unmountdevice`, and `detach` if this node had attached it, unless others hold it. From the
    /// record alone; a device that is not there is gone already.
    ///
    /// # Errors
    /// [`LifecycleError`]; the next call goes on.
    pub fn unstage(
        &self,
        driver: &DriverName,
        device: &VolumeName,
        holder: &PodUid,
    ) -> Result<(), LifecycleError> {
        let failed = |failure| step_error(device, failure, Vec::new());
        let stored = shelf::devices(&self.host.root).read(driver, device)?;
        let place = paths::device_mount_path(&self.host.root, driver, device);
        if stored.is_none() && std::fs::symlink_metadata(&place).is_err() {
            return Ok(());
        }
        let plugin = self.registry.find_by_name(driver).map_err(at("find the driver")).map_err(failed)?;
        let lock = locks::device(&self.host, driver, device)?;
        self.device_work(&plugin, device).and_then(|work| work.release(holder)).map_err(failed)?;
        self.discard_device_lock(lock, (driver, device));
        Ok(())
    }
}
