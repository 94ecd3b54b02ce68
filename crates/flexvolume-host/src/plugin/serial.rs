//! Calls of a driver that must not overlap, also not with those of other processes.
//!
//! That `attach` and `detach` of a driver take turns is the life cycle's matter, because more than the call is done
//! under that lock.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use flexvolume::Call;
use flexvolume_os::lock::{Lock, LockError};

use super::{PluginError, VolumePlugin};
use crate::settings::Serialisation;
use crate::{Reading, paths};

/// The right to make a call now.
pub(super) struct Turn(Option<Lock>);

impl Turn {
    /// Lets the next one go on.
    pub(super) fn end(self) {
        if let Some(Err(error)) = self.0.map(Lock::discard) {
            tracing::debug!(%error, "a lock file was left");
        }
    }
}

impl VolumePlugin {
    /// Waits until no call is running that this one must not overlap. Kubernetes lets all overlap.
    pub(super) fn wait_for_turn(&self, call: &Call) -> Result<Turn, PluginError> {
        self.wait_for_turn_on(volume_of(call))
    }

    /// The same, for a call that changes the volume of this name, or none.
    pub(super) fn wait_for_turn_on(&self, volume: Option<&OsStr>) -> Result<Turn, PluginError> {
        let host = self.host();
        // A controller has no directory to keep locks in.
        if host.reading == Reading::Strict || host.root.as_os_str().is_empty() {
            return Ok(Turn(None));
        }
        let locks = paths::state_dir(&host.root).join("locks/calls");
        let file = match self.settings().serialisation.value {
            Serialisation::None => None,
            Serialisation::Driver => Some(locks.join("driver").join(self.name.directory())),
            Serialisation::Volume => {
                volume.map(|volume| locks.join("volume").join(self.name.directory()).join(volume))
            }
        };
        let lock = file.map(|file| lock(&file, host.deadlines.lock)).transpose();
        Ok(Turn(lock.map_err(PluginError::Turn)?))
    }
}

/// The volume that a call changes, by the last part of the path that stands for it.
pub(super) fn volume_of(call: &Call) -> Option<&OsStr> {
    match call {
        Call::Mount { path, .. }
        | Call::Unmount { path }
        | Call::MountDevice { path, .. }
        | Call::UnmountDevice { path }
        | Call::ExpandVolume { path, .. }
        | Call::ExpandFs { path, .. } => path.file_name(),
        _ => None,
    }
}

fn lock(file: &Path, patience: std::time::Duration) -> Result<Lock, LockError> {
    match Lock::acquire(file, patience) {
        Err(LockError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
            let directory = file.parent().map(PathBuf::from).unwrap_or_default();
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(|source| LockError::File { path: directory, source })?;
            Lock::acquire(file, patience)
        }
        taken => taken,
    }
}
