//! The driver `loop`: persistent volumes in image files.

use std::path::{Path, PathBuf};

use flexvolume::{Attachment, Capabilities, DeviceMount, Driver, Error, Expansion, Options};
use flexvolume_os::System;
use flexvolume_os::lock::Lock;

use crate::acquaintance::Acquaintances;
use crate::device::{self, Already, Mounted, Target};
use crate::error::{RequestError, Result, VolumeError};
use crate::image::{self, Lookup};
use crate::pool::{Pool, Volume, WhenMissing};
use crate::record::Record;
use crate::request::{ImageRequest, round_up};

/// As it stands in the records.
const OWNER: &str = "flexvol/loop";

/// More mounts than this at one path are not ours.
const MOST_STACKED: usize = 16;

/// A file system of a given size in an image file.
///
/// `attach`, `isattached` and `detach` are formalities, since under Kubernetes they run on the controller's machine:
/// the volume is made on the node, in `waitforattach`. Loop devices live exactly as long as their mounts.
#[derive(Debug)]
pub struct LoopFile {
    system: System,
    pool: PathBuf,
    pools: Acquaintances,
}

impl LoopFile {
    /// The driver, with its own pool in the directory `loop` of `state`.
    #[must_use]
    pub fn new(system: System, state: &Path) -> Self {
        Self { system, pool: state.join("loop"), pools: Acquaintances::new(state) }
    }

    fn request(&self, options: &Options) -> std::result::Result<ImageRequest, RequestError> {
        ImageRequest::persistent(options, &self.pool)
    }

    /// The volume's files, in a pool that is fit for use.
    fn volume(&self, request: &ImageRequest) -> Result<Volume> {
        let pool = Pool::at(request.directory.clone());
        let own = request.directory == self.pool;
        pool.prepare(if own { WhenMissing::Make } else { WhenMissing::Refuse })?;
        Ok(pool.volume(request.id.clone()))
    }

    fn make(&self, options: &Options) -> Result<PathBuf> {
        let request = self.request(options)?;
        let volume = self.volume(&request)?;
        let lock = volume.lock()?;
        let outcome = self.make_alone(&request, &volume);
        if outcome.is_err() && matches!(image::look_up(&volume, OWNER), Lookup::Absent) {
            // A volume that could not be made leaves nothing, not even the file of its lock.
            let _ = lock.discard();
        }
        outcome.map(|()| volume.image())
    }

    fn make_alone(&self, request: &ImageRequest, volume: &Volume) -> Result<()> {
        let absent = matches!(image::look_up(volume, OWNER), Lookup::Absent);
        if absent && request.directory != self.pool {
            self.pools.recognise(&request.directory)?;
        }
        let fresh = Record::creating(OWNER, request, None)?;
        image::ensure(volume, fresh, &*self.system.runner).map(drop)
    }

    fn mount_image(&self, mount: DeviceMount<'_>, options: &Options) -> Result<()> {
        let request = self.request(options)?;
        let volume = Pool::at(request.directory.clone()).volume(request.id.clone());
        let image = volume.image();
        if let Some(device) = mount.device.filter(|device| Path::new(device) != image) {
            return Err(VolumeError::OtherDevice { actual: device.to_owned(), image });
        }
        let target = Target { path: mount.path, access: device::access(request.access) };
        let mounter = &*self.system.mounter;
        if device::already_mounted(&volume, target, mounter)? == Already::Mounted {
            return Ok(());
        }
        let volume = self.volume(&request)?;
        let _lock = volume.lock()?;
        if device::already_mounted(&volume, target, mounter)? == Already::Mounted {
            return Ok(());
        }
        let record = image::ready(&volume, OWNER)?;
        device::mount(&volume, &record, target, &self.system)
    }

    fn unmount_image(&self, path: &Path) -> Result<()> {
        let mounter = &*self.system.mounter;
        for _ in 0..MOST_STACKED {
            let _lock = match device::mounted_at(path, mounter)? {
                Mounted::Nothing => return Ok(()),
                Mounted::Dead(_) => None,
                Mounted::Image { backing, .. } => Volume::of_image(&backing).map(|volume| volume.lock()),
                Mounted::Other(source) => {
                    let why = format!("is the mount point of {source}, which is no loop device");
                    return Err(VolumeError::NotOurs { path: path.to_owned(), why });
                }
            }
            .transpose()?;
            // Somebody may have been faster while we waited.
            if device::mounted_at(path, mounter)? != Mounted::Nothing {
                device::unmount(path, mounter)?;
            }
        }
        let remedy = "more is mounted on it than this driver ever does; unmount it by hand".to_owned();
        Err(VolumeError::Busy { path: path.to_owned(), remedy })
    }

    fn grow_image(&self, options: &Options, new_size: u64) -> Result<Grown> {
        let request = self.request(options)?;
        let wanted = round_up(new_size).ok_or_else(|| RequestError::Value {
            key: "new size",
            value: new_size.to_string(),
            why: "it is more than a file can have".to_owned(),
        })?;
        let volume = self.volume(&request)?;
        let lock = volume.lock()?;
        let record = image::grow(&volume, image::ready(&volume, OWNER)?, wanted)?;
        Ok(Grown { volume, record, _lock: lock })
    }
}

/// A volume whose image has the size that was wanted, still locked.
struct Grown {
    volume: Volume,
    record: Record,
    _lock: Lock,
}

impl Driver for LoopFile {
    fn init(&self) -> std::result::Result<Capabilities, Error> {
        Ok(Capabilities { supports_metrics: true, ..Capabilities::default() })
    }

    fn attach(&self, options: &Options, _node: &str) -> std::result::Result<Option<String>, Error> {
        self.request(options)?;
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
        Ok(self.make(options)?.display().to_string())
    }

    fn mount_device(&self, mount: DeviceMount<'_>, options: &Options) -> std::result::Result<(), Error> {
        Ok(self.mount_image(mount, options)?)
    }

    fn unmount_device(&self, device_mount_path: &Path) -> std::result::Result<(), Error> {
        Ok(self.unmount_image(device_mount_path)?)
    }

    fn detach(&self, _volume: &str, _node: &str) -> std::result::Result<(), Error> {
        Ok(())
    }

    fn expand_volume(&self, options: &Options, expansion: Expansion<'_>) -> std::result::Result<u64, Error> {
        Ok(self.grow_image(options, expansion.new_size)?.record.size)
    }

    /// Grows the image first: stock Kubernetes never calls `expandvolume`
    /// (v1.37 `pkg/controller/volume/expand/expand_controller.go` knows no FlexVolume plugin).
    fn expand_fs(&self, options: &Options, expansion: Expansion<'_>) -> std::result::Result<(), Error> {
        let grown = self.grow_image(options, expansion.new_size)?;
        Ok(device::grow(&grown.volume, &grown.record, &self.system)?)
    }
}
