//! Growing a volume and the file system on it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flexvolume::Call;
use flexvolume_os::filesystem::{self, FsType, GrowTarget, Probe};

use super::driver_call::Answer;
use super::{PluginError, VolumePlugin, options};
use crate::Reading;
use crate::spec::{Source, VolumeMode, VolumeSpec};

/// A size wanted and the size so far, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Wanted.
    pub new: u64,
    /// So far.
    pub old: u64,
}

/// Where a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystemPlace<'a> {
    /// The device; may be empty for a driver that has none.
    pub device: &'a str,
    /// The mount dir of the pod.
    pub mount_dir: &'a Path,
}

/// Grows volumes (the seed's `ExpandableVolumePlugin` and `NodeExpandableVolumePlugin`).
#[derive(Debug)]
pub struct Expander {
    plugin: Arc<VolumePlugin>,
}

impl VolumePlugin {
    /// For growing volumes.
    #[must_use]
    pub fn expander(self: &Arc<Self>) -> Expander {
        Expander { plugin: Arc::clone(self) }
    }
}

/// How long looking at a device and growing a file system may take.
const PROBE: Duration = Duration::from_secs(60);
const GROW: Duration = Duration::from_secs(600);

impl Expander {
    /// Must the file system be grown after the volume?
    #[must_use]
    pub fn requires_fs_resize(&self) -> bool {
        self.plugin.capabilities().requires_fs_resize
    }

    /// `expandvolume`: grows the volume, and answers its size. The answer is always the size wanted, as in Kubernetes
    /// v1.37, where no controller ever makes this call.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn expand_volume(&self, spec: &VolumeSpec, sizes: Sizes) -> Result<u64, PluginError> {
        let path = self.plugin.device_mount_path(spec)?;
        let call = Call::ExpandVolume {
            options: options::of_volume(spec),
            path,
            new_size: sizes.new,
            old_size: sizes.old,
        };
        if self.plugin.call(&call)? == Answer::NotSupported {
            self.plugin.using_default("expandvolume");
        }
        Ok(sizes.new)
    }

    /// `expandfs`: grows the file system; the default does it with the file system's own tool.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn expand_file_system(
        &self,
        spec: &VolumeSpec,
        place: FileSystemPlace<'_>,
        sizes: Sizes,
    ) -> Result<(), PluginError> {
        let reading = self.plugin.host().reading;
        if reading == Reading::Strict && spec.source == Source::Inline {
            return Err(PluginError::NotPersistent { name: spec.name.to_string() });
        }
        let call = Call::ExpandFs {
            options: options::of_volume(spec),
            device: place.device.to_owned(),
            path: place.mount_dir.to_owned(),
            new_size: sizes.new,
            old_size: sizes.old,
        };
        if self.plugin.call(&call)? != Answer::NotSupported {
            return Ok(());
        }
        self.plugin.using_default("expandfs");
        match (&spec.source, reading) {
            (Source::PersistentVolume { mode: Some(VolumeMode::Block), .. }, _) => Ok(()),
            (Source::PersistentVolume { mode: None, .. }, Reading::Strict) => {
                Err(PluginError::NoVolumeMode { name: spec.name.to_string() })
            }
            (_, Reading::Strict) => self.plugin.resize_as_kubernetes(place.device, place.mount_dir),
            (_, Reading::Tolerant) => self.grow(place),
        }
    }

    fn grow(&self, place: FileSystemPlace<'_>) -> Result<(), PluginError> {
        let runner = &*self.plugin.host().system.runner;
        let device = Path::new(place.device);
        let refuse = |why| PluginError::Refused { path: device.to_owned(), why };
        if place.device.is_empty() {
            let why = "the driver leaves expandfs to the host, but there is no device to grow";
            return Err(PluginError::Refused { path: place.mount_dir.to_owned(), why });
        }
        let Probe::FileSystem { fs_type, .. } = filesystem::probe(runner, device, PROBE)? else {
            return Err(refuse("it holds no single file system that could be grown"));
        };
        let fs_type = FsType::parse(&fs_type)
            .ok_or_else(|| refuse("only ext4, xfs and btrfs can be grown by the host"))?;
        let target = GrowTarget { fs_type, device, mount_point: place.mount_dir, deadline: GROW };
        Ok(filesystem::grow(runner, &target)?)
    }
}
