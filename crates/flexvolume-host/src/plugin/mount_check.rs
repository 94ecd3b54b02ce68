//! Whether a `mount` that succeeded has left something.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use flexvolume_os::mount as os;

use super::directory::{self, Found};
use super::{Mounter, PluginError};
use crate::settings::{DriverSettings, MountCheck};

/// What a `mount` has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Mount,
    Symlink,
    /// A directory with something in it.
    Filled,
    Nothing,
}

impl Mounter {
    /// Looks at what a driver has left that answered Success, as its settings want it.
    pub(super) fn check(&self) -> Result<(), PluginError> {
        let settings = self.plugin.settings();
        if settings.mount_check.value == MountCheck::Off {
            return Ok(());
        }
        // A symlink does not become a mount.
        let enough = |left| left == Left::Symlink || judge(settings, left).is_ok();
        let Err(why) = judge(settings, look_for(self.mounter(), &self.mount_dir, enough)?) else {
            return Ok(());
        };
        if settings.mount_check.value == MountCheck::Strict {
            return Err(self.not_done(why));
        }
        tracing::warn!(
            driver = %self.plugin.name(), mount_dir = %self.mount_dir.display(),
            "the driver answered Success to mount, but {why}; if that is right, its settings should say so"
        );
        Ok(())
    }

    /// Looks at what a driver has left whose Success is in doubt: there must be something, whatever its settings.
    pub(super) fn check_claim(&self) -> Result<(), PluginError> {
        match look_for(self.mounter(), &self.mount_dir, |left| left != Left::Nothing)? {
            Left::Nothing => Err(self.not_done(NOTHING)),
            left if self.plugin.settings().mount_check.value == MountCheck::Strict => {
                judge(self.plugin.settings(), left).map_err(|why| self.not_done(why))
            }
            _ => Ok(()),
        }
    }

    fn mounter(&self) -> &dyn os::Mounter {
        &*self.plugin.host().system.mounter
    }

    fn not_done(&self, why: &'static str) -> PluginError {
        PluginError::NotDone { verb: "mount", path: self.mount_dir.clone(), why }
    }
}

/// Why a host with these settings does not accept what a driver has left that answered Success, if it does not.
pub(crate) fn refusal(
    settings: &DriverSettings,
    mounter: &dyn os::Mounter,
    mount_dir: &Path,
) -> Result<Option<&'static str>, PluginError> {
    if settings.mount_check.value != MountCheck::Strict {
        return Ok(None);
    }
    Ok(judge(settings, look_for(mounter, mount_dir, |left| judge(settings, left).is_ok())?).err())
}

/// What is there, as soon as it is enough: a FUSE program may need a moment after its driver has answered.
fn look_for(
    mounter: &dyn os::Mounter,
    mount_dir: &Path,
    enough: impl Fn(Left) -> bool,
) -> Result<Left, PluginError> {
    let begun = Instant::now();
    loop {
        let left = look_at(mounter, mount_dir)?;
        if enough(left) || begun.elapsed() >= PATIENCE {
            return Ok(left);
        }
        thread::sleep(PATIENCE / 20);
    }
}

fn look_at(mounter: &dyn os::Mounter, mount_dir: &Path) -> Result<Left, PluginError> {
    Ok(match directory::look(mounter, mount_dir)? {
        Found::Mounted => Left::Mount,
        Found::Symlink => Left::Symlink,
        Found::Directory if matches!(directory::is_empty(mount_dir), Ok(false)) => Left::Filled,
        _ => Left::Nothing,
    })
}

/// Whether a driver with these settings may leave that.
fn judge(settings: &DriverSettings, left: Left) -> Result<(), &'static str> {
    let strict = settings.mount_check.value == MountCheck::Strict;
    match left {
        Left::Mount => Ok(()),
        Left::Symlink if settings.may_leave_symlink.value => Ok(()),
        Left::Symlink => Err("a symlink is there now (may-leave-symlink)"),
        Left::Filled | Left::Nothing if settings.may_mount_nothing.value => Ok(()),
        Left::Filled if !strict => Ok(()),
        Left::Filled => Err("nothing is mounted there (may-mount-nothing)"),
        Left::Nothing => Err(NOTHING),
    }
}

const NOTHING: &str = "nothing is mounted there and it is empty";

/// How long a mount may take to show up after the driver's answer.
const PATIENCE: Duration = Duration::from_millis(500);
