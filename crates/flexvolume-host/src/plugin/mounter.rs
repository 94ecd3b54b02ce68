//! Setting a volume up for a pod.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flexvolume::{Access, Call, VolumeName};
use flexvolume_os::mount::MountPoint;

use super::directory::{self, Found};
use super::driver_call::Answer;
use super::unmounter::Undo;
use super::{Effect, PluginError, VolumePlugin, options};
use crate::spec::{MounterArguments, Pod, VolumeSpec};
use crate::{Reading, paths};

/// Sets a volume up for a pod (the seed's `Mounter`).
#[derive(Debug)]
pub struct Mounter {
    pub(super) plugin: Arc<VolumePlugin>,
    pub(super) spec: VolumeSpec,
    pub(super) pod: Pod,
    pub(super) mount_dir: PathBuf,
    device: String,
}

impl Mounter {
    pub(super) fn new(plugin: Arc<VolumePlugin>, spec: VolumeSpec, pod: Pod) -> Self {
        let mount_dir = paths::mount_dir(&plugin.host().root, &pod.uid, plugin.name(), &spec.name);
        Self { plugin, spec, pod, mount_dir, device: String::new() }
    }

    /// With the device that `attach` answered, which drivers of protocol v1 get at `mount`.
    #[must_use]
    pub fn on_device(mut self, device: impl Into<String>) -> Self {
        self.device = device.into();
        self
    }

    /// The mount dir.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount_dir
    }

    /// `mount`, unless something is mounted there, then ownership.
    ///
    /// # Errors
    /// [`PluginError`]; the mount dir is then removed if it is empty.
    pub fn set_up(&self, arguments: MounterArguments) -> Result<Effect, PluginError> {
        if self.plugin.host().reading == Reading::Strict {
            return self.set_up_strictly(arguments);
        }
        match directory::look(&*self.plugin.host().system.mounter, &self.mount_dir)? {
            Found::Mounted => return Ok(Effect::Unchanged),
            Found::Dead(errno) => return Err(PluginError::Dead { path: self.mount_dir.clone(), errno }),
            Found::Symlink | Found::Other => return Err(self.refuse(NOT_A_DIRECTORY)),
            Found::Absent => directory::make(&self.mount_dir)?,
            Found::Directory => {}
        }
        if let Err(error) = self.mount(arguments).and_then(|()| self.enforce_access()) {
            self.undo();
            return Err(error);
        }
        self.give_to_group(arguments);
        Ok(Effect::Changed)
    }

    /// Has the driver make a mount work again (`heal`), with the options of `mount`. [`Effect::Unchanged`] if the driver
    /// has no such call-out.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn heal(&self, arguments: MounterArguments) -> Result<Effect, PluginError> {
        let volume = self.volume()?;
        let options = options::of_mount(self.plugin.host(), &volume, &self.pod, arguments.fs_group)?;
        match self.plugin.heal(&self.mount_dir, options) {
            Err(PluginError::NoAdministration { .. }) => Ok(Effect::Unchanged),
            healed => healed.map(|()| Effect::Changed),
        }
    }

    /// A file system that has no groups, or a server that keeps its own, must not stop the pod, as it does not in
    /// Kubernetes; but it must be known.
    fn give_to_group(&self, arguments: MounterArguments) {
        if self.spec.access == Access::ReadWrite
            && self.plugin.capabilities().fs_group
            && let Err(error) = self.change_ownership(arguments)
        {
            tracing::warn!(driver = %self.plugin.name(), volume = %self.spec.name, %error, "the pod may lack access");
        }
    }

    /// The volume as the driver knows it.
    fn volume(&self) -> Result<VolumeSpec, PluginError> {
        let mut volume = self.spec.clone();
        if self.plugin.capabilities().attach {
            volume.name = self.spec.device_name(&self.pod.uid, self.plugin.host().reading)?;
        }
        Ok(volume)
    }

    /// The name under which calls for the volume take turns: inline volumes of one name are different volumes.
    fn own_name(&self) -> VolumeName {
        let name = self.spec.device_name(&self.pod.uid, self.plugin.host().reading);
        name.unwrap_or_else(|_| self.spec.name.clone())
    }

    fn mount(&self, arguments: MounterArguments) -> Result<(), PluginError> {
        let volume = self.volume()?;
        let options = options::of_mount(self.plugin.host(), &volume, &self.pod, arguments.fs_group)?;
        let call = Call::Mount { path: self.mount_dir.clone(), options };
        match self.plugin.call_for(Some(OsStr::new(self.own_name().as_str())), &call, &self.device)? {
            Answer::Done(_) => self.check(),
            Answer::Claimed(_) => self.check_claim(),
            Answer::NotSupported => self.bind_by_default(&volume),
        }
    }

    /// Binds the device mount path to the mount dir.
    fn bind_by_default(&self, volume: &VolumeSpec) -> Result<(), PluginError> {
        self.plugin.using_default("mount");
        let mounter = &*self.plugin.host().system.mounter;
        let source = self.plugin.device_mount_path(volume)?;
        if mounter.mount_point(&source)? != MountPoint::Yes {
            let why = "the driver leaves mount to the host, but nothing is mounted here that could be bound";
            return Err(PluginError::Refused { path: source, why });
        }
        Ok(mounter.bind(&source, &self.mount_dir)?)
    }

    /// A read-only volume is read-only whatever the driver did.
    fn enforce_access(&self) -> Result<(), PluginError> {
        let mounter = &*self.plugin.host().system.mounter;
        if self.spec.access == Access::ReadOnly && mounter.mount_point(&self.mount_dir)? == MountPoint::Yes {
            mounter.make_read_only(&self.mount_dir)?;
        }
        Ok(())
    }

    /// After a failure nothing may look like a mounted volume at the next call.
    fn undo(&self) {
        if let Err(error) = self.try_to_undo() {
            tracing::warn!(driver = %self.plugin.name(), %error, "after a failed mount something is left");
        }
    }

    fn try_to_undo(&self) -> Result<(), PluginError> {
        let (path, mounter) = (&self.mount_dir, &*self.plugin.host().system.mounter);
        match directory::look(mounter, path)? {
            before @ (Found::Mounted | Found::Symlink) => {
                let call = Call::Unmount { path: path.clone() };
                let name = self.own_name();
                let volume = Some(OsStr::new(name.as_str()));
                let undone = self.plugin.take_away(Undo { call: &call, path, device: "", volume }, before);
                if undone.is_err() && directory::look(mounter, path)? == Found::Mounted {
                    mounter.unmount(path)?;
                    return directory::remove_empty(path);
                }
                undone
            }
            Found::Directory => directory::remove_empty(path),
            _ => Ok(()),
        }
    }

    fn refuse(&self, why: &'static str) -> PluginError {
        PluginError::Refused { path: self.mount_dir.clone(), why }
    }
}

const NOT_A_DIRECTORY: &str = "a directory was expected here; unmount the volume or remove what is there";
