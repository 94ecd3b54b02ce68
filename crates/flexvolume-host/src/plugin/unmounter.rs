//! Taking a volume away from a pod.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flexvolume::{Call, VolumeName};

use super::directory::{self, Found};
use super::driver_call::Answer;
use super::{Effect, PluginError, VolumePlugin};
use crate::Reading;

/// Takes a volume away from a pod (the seed's `Unmounter`).
#[derive(Debug)]
pub struct Unmounter {
    pub(super) plugin: Arc<VolumePlugin>,
    pub(super) mount_dir: PathBuf,
    volume: VolumeName,
}

impl Unmounter {
    pub(super) fn new(plugin: Arc<VolumePlugin>, mount_dir: PathBuf, volume: VolumeName) -> Self {
        Self { plugin, mount_dir, volume }
    }

    /// With the name that no other volume of the driver has ([`VolumeSpec::device_name`](crate::spec::VolumeSpec::device_name)):
    /// only calls for that volume take turns then. Otherwise all inline volumes of one name do.
    #[must_use]
    pub fn known_as(self, volume: VolumeName) -> Self {
        Self { volume, ..self }
    }

    /// The mount dir.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount_dir
    }

    /// `unmount`, and removes the mount dir. A mount dir that is gone is a volume that is gone.
    ///
    /// # Errors
    /// [`PluginError`]; what is still there stays.
    pub fn tear_down(&self) -> Result<Effect, PluginError> {
        if self.plugin.host().reading == Reading::Strict {
            return self.tear_down_strictly();
        }
        let before = directory::look(&*self.plugin.host().system.mounter, &self.mount_dir)?;
        if before == Found::Absent {
            return Ok(Effect::Unchanged);
        }
        let call = Call::Unmount { path: self.mount_dir.clone() };
        self.plugin.take_away(self.undo(&call), before)?;
        Ok(Effect::Changed)
    }

    fn undo<'a>(&'a self, call: &'a Call) -> Undo<'a> {
        Undo { call, path: &self.mount_dir, device: "", volume: Some(OsStr::new(self.volume.as_str())) }
    }
}

impl Unmounter {
    /// `unmount` although the mount dir is gone, for a volume that is known to have been begun: what a driver has made
    /// elsewhere and could not take back (it was ended at its deadline) goes no other way. Kubernetes leaves this call
    /// out, and so does the strict reading.
    ///
    /// # Errors
    /// [`PluginError`]; many drivers fail here because the mount dir is gone.
    pub fn tear_down_unseen(&self) -> Result<Effect, PluginError> {
        if self.plugin.host().reading == Reading::Strict {
            return self.tear_down_strictly();
        }
        let call = Call::Unmount { path: self.mount_dir.clone() };
        self.plugin.take_away(self.undo(&call), Found::Absent).map(|()| Effect::Changed)
    }
}

/// A call that undoes a mount.
#[derive(Clone, Copy)]
pub(super) struct Undo<'a> {
    pub(super) call: &'a Call,
    /// Where the mount is.
    pub(super) path: &'a Path,
    /// The device, if it is known.
    pub(super) device: &'a str,
    /// The volume, by the name under which its calls take turns.
    pub(super) volume: Option<&'a OsStr>,
}

impl VolumePlugin {
    /// Makes the call that undoes a mount, does it itself if the driver does not, and removes the directory.
    ///
    /// A driver's failure to unmount what is not mounted counts as done, if the directory is empty. What is dead is
    /// unmounted even if the driver fails.
    pub(super) fn take_away(&self, undo: Undo<'_>, before: Found) -> Result<(), PluginError> {
        let mounter = &*self.host().system.mounter;
        let Undo { call, path, device, volume } = undo;
        match self.call_for(volume, call, device) {
            Ok(Answer::Done(_) | Answer::Claimed(_)) => {}
            Ok(Answer::NotSupported) => self.unmount_by_default(call, path, before)?,
            Err(error) if before == Found::Directory => {
                tracing::warn!(driver = %self.name(), %error, "nothing was mounted, so the failure to unmount it does not matter");
            }
            Err(error) if matches!(before, Found::Dead(_)) => {
                // Nothing answers there any more: no data is left that the driver could save.
                tracing::warn!(driver = %self.name(), %error, "the mount is dead: unmounting it without the driver");
                mounter.unmount(path)?;
            }
            Err(error) => return Err(error),
        }
        let not_done = |why| PluginError::NotDone { verb: call.verb().as_str(), path: path.to_owned(), why };
        match directory::look(mounter, path)? {
            Found::Absent => Ok(()),
            Found::Directory => directory::remove_empty(path),
            Found::Symlink => Err(not_done("a symlink is still there")),
            Found::Other => Err(not_done("a file is there")),
            Found::Mounted | Found::Dead(_) => Err(not_done("something is still mounted there")),
        }
    }

    fn unmount_by_default(&self, call: &Call, path: &Path, before: Found) -> Result<(), PluginError> {
        self.using_default(call.verb().as_str());
        match before {
            Found::Mounted | Found::Dead(_) => Ok(self.host().system.mounter.unmount(path)?),
            _ => Ok(()),
        }
    }
}
