//! Mounting a device once per node.

use std::path::{Path, PathBuf};

use flexvolume::Call;
use flexvolume_os::mountinfo::Mount;

use super::directory::{self, Found};
use super::driver_call::Answer;
use super::unmounter::Undo;
use super::{AttachablePlugin, Effect, PluginError, options};
use crate::Reading;
use crate::spec::VolumeSpec;

impl AttachablePlugin {
    /// The device mount path. A driver that answers `getvolumename` has no say in it.
    ///
    /// # Errors
    /// [`PluginError`] when `getvolumename` fails.
    pub fn device_mount_path(&self, spec: &VolumeSpec) -> Result<PathBuf, PluginError> {
        self.plugin.device_mount_path(spec)
    }

    /// `mountdevice`, unless something is mounted there. The default makes or checks the file system and mounts it;
    /// without a device it does nothing.
    ///
    /// # Errors
    /// [`PluginError`]; the directory stays.
    pub fn mount_device(&self, spec: &VolumeSpec, device: &str, path: &Path) -> Result<Effect, PluginError> {
        if self.plugin.host().reading == Reading::Strict {
            return self.mount_device_strictly(spec, device, path);
        }
        match directory::look(&*self.plugin.host().system.mounter, path)? {
            Found::Mounted => return Ok(Effect::Unchanged),
            Found::Dead(errno) => return Err(PluginError::Dead { path: path.to_owned(), errno }),
            Found::Symlink | Found::Other => {
                return Err(PluginError::Refused { path: path.to_owned(), why: NOT_A_DIRECTORY });
            }
            Found::Absent => directory::make(path)?,
            Found::Directory => {}
        }
        let call = Call::MountDevice {
            path: path.to_owned(),
            device: device.to_owned(),
            options: options::of_volume(spec),
        };
        match self.plugin.call(&call)? {
            Answer::Done(_) => Ok(Effect::Changed),
            Answer::Claimed(_) => self.confirm_device(path),
            // In protocol v1 the device goes to `mount` as it is.
            Answer::NotSupported if device.is_empty() || self.plugin.speaks_v1() => Ok(Effect::Changed),
            Answer::NotSupported => self.mount_device_by_default(spec, device, path),
        }
    }

    fn confirm_device(&self, path: &Path) -> Result<Effect, PluginError> {
        match directory::look(&*self.plugin.host().system.mounter, path)? {
            Found::Mounted => Ok(Effect::Changed),
            _ => Err(PluginError::NotDone {
                verb: "mountdevice",
                path: path.to_owned(),
                why: "nothing is mounted there",
            }),
        }
    }

    /// Where else the directory is mounted that is at the device mount path, be it a mount point or not (Kubernetes v1.37
    /// `k8s.io/mount-utils`, `SearchMountPoints`). While it is anywhere, the device must stay.
    ///
    /// # Errors
    /// [`PluginError::Mount`] when the mount table cannot be read.
    pub fn device_mount_references(&self, path: &Path) -> Result<Vec<PathBuf>, PluginError> {
        let table = self.plugin.host().system.mounter.table()?;
        // The kernel's table names no symlinks.
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let Some(own) = table.mounts().iter().rev().find(|mount| real.starts_with(&mount.mount_point)) else {
            return Ok(Vec::new());
        };
        let below = real.strip_prefix(&own.mount_point).unwrap_or(Path::new(""));
        let root = if below.as_os_str().is_empty() { own.root.clone() } else { own.root.join(below) };
        let is_reference =
            |mount: &&Mount| mount.id != own.id && mount.device == own.device && mount.root == root;
        Ok(table.mounts().iter().filter(is_reference).map(|mount| mount.mount_point.clone()).collect())
    }

    /// `unmountdevice`, and removes the directory.
    ///
    /// # Errors
    /// [`PluginError`]; the directory stays.
    pub fn unmount_device(&self, path: &Path) -> Result<Effect, PluginError> {
        self.unmount_device_of(path, "")
    }

    /// [`AttachablePlugin::unmount_device`] of a known device, which some drivers want to be told.
    ///
    /// # Errors
    /// [`PluginError`]; the directory stays.
    pub fn unmount_device_of(&self, path: &Path, device: &str) -> Result<Effect, PluginError> {
        if self.plugin.host().reading == Reading::Strict {
            return self.unmount_device_strictly(path);
        }
        let before = directory::look(&*self.plugin.host().system.mounter, path)?;
        if before == Found::Absent {
            return Ok(Effect::Unchanged);
        }
        let call = Call::UnmountDevice { path: path.to_owned() };
        self.plugin.take_away(Undo { call: &call, path, device, volume: path.file_name() }, before)?;
        Ok(Effect::Changed)
    }
}

const NOT_A_DIRECTORY: &str = "a directory was expected here; look at what it is and remove it";
