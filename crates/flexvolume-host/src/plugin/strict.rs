//! Mounting and unmounting exactly as Kubernetes v1.37 does (`pkg/volume/flexvolume/{attacher,detacher,mounter,
//! unmounter}.go`, `k8s.io/mount-utils`): what it does not look at is not looked at here either.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use flexvolume::{Access, Call};
use flexvolume_os::mount::{self, MountPoint, UnmountCheck};
use rustix::io::Errno;

use super::directory;
use super::driver_call::Answer;
use super::{AttachablePlugin, Effect, Mounter, PluginError, Unmounter, VolumePlugin, options};
use crate::spec::{MounterArguments, VolumeSpec};

impl Mounter {
    pub(super) fn set_up_strictly(&self, arguments: MounterArguments) -> Result<Effect, PluginError> {
        let mounter = &*self.plugin.host().system.mounter;
        if prepare(mounter, &self.mount_dir)? == Prepared::Mounted {
            return Ok(Effect::Unchanged);
        }
        if let Err(error) = self.mount_strictly(arguments) {
            // Kubernetes ignores the failure to remove it too.
            let _ = remove(&self.mount_dir);
            return Err(error);
        }
        if self.spec.access == Access::ReadWrite && self.plugin.capabilities().fs_group {
            // Kubernetes drops all errors of the change of ownership.
            let _ = self.change_ownership(arguments);
        }
        Ok(Effect::Changed)
    }

    fn mount_strictly(&self, arguments: MounterArguments) -> Result<(), PluginError> {
        let options = options::of_mount(self.plugin.host(), &self.spec, &self.pod, arguments.fs_group)?;
        let answer = self.plugin.call(&Call::Mount { path: self.mount_dir.clone(), options })?;
        if answer == Answer::NotSupported {
            self.plugin.using_default("mount");
            let source = self.plugin.device_mount_path(&self.spec)?;
            self.plugin.host().system.mounter.bind(&source, &self.mount_dir)?;
        }
        Ok(())
    }
}

impl Unmounter {
    pub(super) fn tear_down_strictly(&self) -> Result<Effect, PluginError> {
        // Any other answer, an error too, is left to the driver.
        if matches!(exists(&self.mount_dir), Ok(false)) {
            return Ok(Effect::Unchanged);
        }
        let call = Call::Unmount { path: self.mount_dir.clone() };
        self.plugin.take_away_strictly(&call, &self.mount_dir)?;
        Ok(Effect::Changed)
    }
}

impl AttachablePlugin {
    pub(super) fn mount_device_strictly(
        &self,
        spec: &VolumeSpec,
        device: &str,
        path: &Path,
    ) -> Result<Effect, PluginError> {
        if prepare(&*self.plugin.host().system.mounter, path)? == Prepared::Mounted {
            return Ok(Effect::Unchanged);
        }
        let call = Call::MountDevice {
            path: path.to_owned(),
            device: device.to_owned(),
            options: options::of_volume(spec),
        };
        if self.plugin.call(&call)? == Answer::NotSupported && !device.is_empty() {
            self.plugin.using_default("mountdevice");
            self.plugin.format_and_mount(spec, device, path)?;
        }
        Ok(Effect::Changed)
    }

    pub(super) fn unmount_device_strictly(&self, path: &Path) -> Result<Effect, PluginError> {
        match exists(path) {
            Ok(true) => {}
            Err(error) if is_corrupted(&error) => {}
            // Kubernetes takes a path that it cannot look at for one that is not there.
            Ok(false) | Err(_) => return Ok(Effect::Unchanged),
        }
        match self.plugin.host().system.mounter.mount_point(path)? {
            MountPoint::Yes | MountPoint::Dead(_) => {
                self.plugin.take_away_strictly(&Call::UnmountDevice { path: path.to_owned() }, path)?;
            }
            MountPoint::No => {
                tracing::warn!(path = %path.display(), "already unmounted: the driver is not called");
                remove_if_there(path)?;
            }
            MountPoint::Absent => {
                return Err(PluginError::directory("error checking path: stat", path)(Errno::NOENT.into()));
            }
        }
        Ok(Effect::Changed)
    }
}

impl VolumePlugin {
    fn take_away_strictly(&self, call: &Call, path: &Path) -> Result<(), PluginError> {
        if self.call(call)? == Answer::NotSupported {
            self.using_default(call.verb().as_str());
            clean_up(&*self.host().system.mounter, path)?;
        }
        remove_if_there(path)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Prepared {
    Mounted,
    NotMounted,
}

/// Is something mounted there? If nothing is there at all, a directory is made.
fn prepare(mounter: &dyn mount::Mounter, path: &Path) -> Result<Prepared, PluginError> {
    match mounter.mount_point(path)? {
        MountPoint::Yes => return Ok(Prepared::Mounted),
        MountPoint::No => {}
        MountPoint::Absent => directory::make(path)?,
        MountPoint::Dead(errno) => return Err(PluginError::Dead { path: path.to_owned(), errno }),
    }
    Ok(Prepared::NotMounted)
}

/// `CleanupMountPoint` of mount-utils: unmount if something is mounted, then remove.
fn clean_up(mounter: &dyn mount::Mounter, path: &Path) -> Result<(), PluginError> {
    let corrupted = match exists(path) {
        Ok(false) => return Ok(()),
        Ok(true) => false,
        Err(error) if is_corrupted(&error) => true,
        Err(error) => return Err(PluginError::directory("error checking path: stat", path)(error)),
    };
    if corrupted || mounter.unmount_check() == UnmountCheck::ByUnmount {
        mounter.unmount(path)?;
        return remove_if_there(path);
    }
    if remove_unless_mounted(mounter, path)? == Prepared::Mounted {
        mounter.unmount(path)?;
        if remove_unless_mounted(mounter, path)? == Prepared::Mounted {
            let why = "failed to unmount path: something is still mounted there";
            return Err(PluginError::Refused { path: path.to_owned(), why });
        }
    }
    Ok(())
}

fn remove_unless_mounted(mounter: &dyn mount::Mounter, path: &Path) -> Result<Prepared, PluginError> {
    match mounter.mount_point(path)? {
        MountPoint::Yes => return Ok(Prepared::Mounted),
        MountPoint::No => remove(path).map_err(PluginError::directory("remove", path))?,
        MountPoint::Absent => {}
        MountPoint::Dead(errno) => return Err(PluginError::Dead { path: path.to_owned(), errno }),
    }
    Ok(Prepared::NotMounted)
}

/// Removes what the driver has not removed itself.
fn remove_if_there(path: &Path) -> Result<(), PluginError> {
    match exists(path) {
        Ok(false) => Ok(()),
        Ok(true) => remove(path).map_err(PluginError::directory("remove", path)),
        Err(error) => Err(PluginError::directory("error checking if path exists: stat", path)(error)),
    }
}

/// Go's `os.Remove`: a file, a symlink or an empty directory.
fn remove(path: &Path) -> io::Result<()> {
    let Err(as_file) = fs::remove_file(path) else { return Ok(()) };
    match fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotADirectory => Err(as_file),
        result => result,
    }
}

/// `PathExists` of mount-utils: follows a symlink.
fn exists(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// `IsCorruptedMnt` of mount-utils.
fn is_corrupted(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| {
        [
            Errno::NOTCONN,
            Errno::STALE,
            Errno::IO,
            Errno::ACCESS,
            Errno::HOSTDOWN,
            Errno::WOULDBLOCK,
            Errno::NODEV,
        ]
        .contains(&errno)
    })
}
