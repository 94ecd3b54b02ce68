//! One driver: `init` when it is wanted, and again when its program has changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flexvolume::DriverName;

use crate::VolumeHost;
use crate::plugin::VolumePlugin;
use crate::settings::DriverSettings;

/// What tells two versions of a program apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    mode: u32,
}

impl Stamp {
    /// The directory that holds the program.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// The stamp of what is at `path` now, links followed.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            mode: metadata.mode(),
        })
    }
}

/// The place of one driver. Its lock is held during `init`, so that a driver that hangs stops only itself.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    New,
    Loaded {
        stamp: Stamp,
        plugin: Arc<VolumePlugin>,
    },
    Failed {
        stamp: Stamp,
        settings: Arc<DriverSettings>,
        why: String,
        again: Instant,
        pause: Duration,
    },
}

/// After a failed `init` the same program is not asked again before this time, and then twice as long.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

impl Slot {
    /// When a driver that failed may be asked again; `None` if it did not fail. Does not wait for an `init` that runs.
    pub(super) fn again(&self) -> Option<Instant> {
        match &*self.0.try_lock().ok()? {
            State::Failed { again, .. } => Some(*again),
            State::New | State::Loaded { .. } => None,
        }
    }

    /// The plugin, made now if there is none, or the program or its settings are others.
    pub(super) fn plugin(
        &self,
        host: &Arc<VolumeHost>,
        name: &DriverName,
        stamp: Stamp,
    ) -> Result<Arc<VolumePlugin>, String> {
        let settings = Arc::new(host.settings.of(name).map_err(|error| error.to_string())?);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = match &*state {
            State::Loaded { stamp: known, plugin } if *known == stamp && *plugin.settings() == settings => {
                return Ok(Arc::clone(plugin));
            }
            State::Failed { stamp: known, settings: with, why, again, pause }
                if (known, with) == (&stamp, &settings) =>
            {
                if Instant::now() < *again {
                    return Err(why.clone());
                }
                (*pause * 2).min(LONGEST_PAUSE)
            }
            _ => FIRST_PAUSE,
        };
        match VolumePlugin::load(Arc::clone(host), name.clone(), stamp.path.clone(), Arc::clone(&settings)) {
            Ok(plugin) => {
                let plugin = Arc::new(plugin);
                *state = State::Loaded { stamp, plugin: Arc::clone(&plugin) };
                Ok(plugin)
            }
            Err(error) => {
                let why = error.to_string();
                let again = Instant::now() + pause;
                *state = State::Failed { stamp, settings, why: why.clone(), again, pause };
                Err(why)
            }
        }
    }
}
