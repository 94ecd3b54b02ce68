//! The driver `loop`: persistent volumes in image files.

use std::path::{Path, PathBuf};

use flexvolume::{
    Attachment, Capabilities, Capacity, DeviceMount, Driver, Error, Expansion, Finding, Options,
    VolumeDescription,
};
use flexvolume_os::System;
use flexvolume_os::lock::Lock;

use crate::acquaintance::Acquaintances;
use crate::administration::{Administration, finish};
use crate::device::{self, Already, Mounted, Target};
use crate::diagnosis;
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
    state: PathBuf,
    pool: PathBuf,
    pools: Acquaintances,
}

impl LoopFile {
    /// The driver, with its own pool in the directory `loop` of `state`.
    #[must_use]
    pub fn new(system: System, state: &Path) -> Self {
        let (pool, pools) = (state.join("loop"), Acquaintances::new(state));
        Self { system, state: state.to_owned(), pool, pools }
    }

    fn administration(&self) -> Administration<'_> {
        Administration { owner: OWNER, own_pool: &self.pool, state: &self.state, system: &self.system }
    }

    fn request(&self, options: &Options) -> std::result::Result<ImageRequest, RequestError> {
        ImageRequest::persistent(options, &self.pool)
    }

    /// The volume's files, in a pool that is fit for use.
    fn volume(&self, request: &ImageRequest) -> Result<Volume> {
        let pool = Pool::at(request.directory.clone()).on_node(&self.state);
        let own = request.directory == self.pool;
        pool.prepare(if own { WhenMissing::Make } else { WhenMissing::Refuse })?;
        Ok(pool.volume(request.id.clone()))
    }

    fn make(&self, options: &Options) -> Result<Volume> {
        let request = self.request(options)?;
        let volume = self.volume(&request)?;
        let lock = volume.lock()?;
        let request = as_its_source(request, &volume, options);
        let outcome = self.make_alone(&request, &volume);
        if outcome.is_err() && matches!(image::look_up(&volume, OWNER), Lookup::Absent) {
            // A volume that could not be made leaves nothing, not even the file of its lock.
            let _ = lock.discard();
        }
        outcome.map(|()| volume)
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
            let not_ours = |why| VolumeError::NotOurs { path: path.to_owned(), why };
            let _lock = match device::mounted_at(path, mounter)? {
                Mounted::Nothing => return Ok(()),
                Mounted::Dead(_) => None,
                Mounted::Image { backing, .. } => match image::behind(&backing, OWNER, &self.pool) {
                    Some(volume) => Some(volume.lock()?),
                    None => {
                        let backing = backing.display();
                        let why = format!(
                            "is the mount point of {backing}, which is no volume of this driver: unmount it by hand, or, if its image was moved, bring that back"
                        );
                        return Err(not_ours(why));
                    }
                },
                Mounted::Other(source) => {
                    let why = format!("is the mount point of {source}, which is no loop device");
                    return Err(not_ours(why));
                }
            };
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

/// A copy for which the options name no file system has that of its source, also when the source is gone.
fn as_its_source(request: ImageRequest, copy: &Volume, options: &Options) -> ImageRequest {
    let Some(source) = request.source.as_ref().filter(|_| options.fs_type.is_empty()) else { return request };
    let fs_type = |volume: &Volume| match image::look_up(volume, OWNER) {
        Lookup::Present(record) => Some(record.fs_type),
        _ => None,
    };
    let fs_type =
        fs_type(copy).or_else(|| fs_type(&copy.pool.volume(source.clone()))).unwrap_or(request.fs_type);
    ImageRequest { fs_type, ..request }
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
        Ok(self.make(options)?.image().display().to_string())
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

    fn create_volume(&self, options: &Options) -> std::result::Result<VolumeDescription, Error> {
        let volume = self.make(options)?;
        Ok(self.administration().describe(&volume)?)
    }

    fn delete_volume(&self, options: &Options) -> std::result::Result<Option<VolumeDescription>, Error> {
        Ok(self.administration().delete(options, &finish)?)
    }

    fn list_volumes(&self, options: &Options) -> std::result::Result<Vec<VolumeDescription>, Error> {
        Ok(self.administration().list(options)?)
    }

    fn capacity(&self, options: &Options) -> std::result::Result<Capacity, Error> {
        Ok(self.administration().capacity(options)?)
    }

    fn diagnose(&self, options: &Options) -> std::result::Result<Vec<Finding>, Error> {
        Ok(diagnosis::diagnose(&self.administration(), options)?)
    }
}
