//! The driver `loop-ephemeral`: volumes that live as long as their pod.

use std::path::{Path, PathBuf};

use flexvolume::{Capabilities, Driver, Error, Options};
use flexvolume_os::failpoint::hit;
use flexvolume_os::lock::Lock;
use flexvolume_os::{System, atomic};
use serde::{Deserialize, Serialize};

use crate::claim::{self, Claims};
use crate::device::{self, Already, Mounted, Target};
use crate::error::{Result, VolumeError, at};
use crate::image::{self, Lookup};
use crate::pool::{Pool, Volume, VolumeId, WhenMissing};
use crate::record::{Record, State};
use crate::request::ImageRequest;

/// As it stands in the records.
const OWNER: &str = "flexvol/loop-ephemeral";

/// A file system of a given size, made at `mount` for one pod and removed at `unmount`.
///
/// The volume is named by the pod's uid and the volume's name. Since `unmount` is told the mount dir only, a claim in
/// the driver's state directory says which volume a mount dir has; it is written first and removed last. The data
/// survives a reboot of the node: `mount` for the same pod finds it again.
#[derive(Debug)]
pub struct LoopEphemeral {
    system: System,
    pool: PathBuf,
    claims: Claims,
}

/// What a mount dir is used for.
#[derive(Debug, Serialize, Deserialize)]
struct Holds {
    directory: PathBuf,
    id: String,
}

impl LoopEphemeral {
    /// The driver, with its own pool and its claims in the directory `loop-ephemeral` of `state`.
    #[must_use]
    pub fn new(system: System, state: &Path) -> Self {
        let pool = state.join("loop-ephemeral");
        let claims = Claims { directory: pool.join("claims") };
        Self { system, pool, claims }
    }

    fn when_missing(&self, directory: &Path) -> WhenMissing {
        if directory == self.pool { WhenMissing::Make } else { WhenMissing::Refuse }
    }

    fn set_up(&self, mount_dir: &Path, options: &Options) -> Result<()> {
        let request = ImageRequest::ephemeral(options, &self.pool)?;
        let volume = Pool::at(request.directory.clone()).volume(request.id.clone());
        let target = Target { path: mount_dir, access: device::access(request.access) };
        if device::already_mounted(&volume, target, &*self.system.mounter)? == Already::Mounted {
            return Ok(());
        }
        volume.pool.prepare(self.when_missing(&request.directory))?;
        let claims = &self.claims.directory;
        atomic::create_directories(claims, 0o700).map_err(at("make directory", claims))?;
        let lock = volume.lock()?;
        if device::already_mounted(&volume, target, &*self.system.mounter)? == Already::Mounted {
            return Ok(());
        }
        let existed =
            matches!(image::look_up(&volume, OWNER), Lookup::Present(record) if record.state == State::Ready);
        let outcome = self.make_and_mount(&volume, &request, target);
        if outcome.is_err() && !existed {
            // The host does not call `unmount` after a failed `mount`: nothing of the attempt may stay. Should this
            // fail too, the claim and the record say what is left, and the next call of either kind removes it.
            let _ = self.take_down_volume(&volume, mount_dir, lock);
        }
        outcome
    }

    fn make_and_mount(&self, volume: &Volume, request: &ImageRequest, target: Target<'_>) -> Result<()> {
        let fresh = Record::creating(OWNER, request, Some(claim::name(target.path)))?;
        image::refuse_others(volume, &fresh)?;
        let id = request.id.as_str().to_owned();
        self.claims.store(target.path, Holds { directory: request.directory.clone(), id })?;
        hit("ephemeral.claimed");
        let record = image::ensure(volume, fresh, &*self.system.runner)?;
        device::mount(volume, &record, target, &self.system)
    }

    fn take_down(&self, mount_dir: &Path) -> Result<()> {
        let mounter = &*self.system.mounter;
        let Some(volume) = self.volume_at(mount_dir)? else { return Ok(()) };
        volume.pool.prepare(WhenMissing::Refuse)?;
        let lock = volume.lock()?;
        match device::mounted_at(mount_dir, mounter)? {
            Mounted::Nothing => {}
            Mounted::Dead(_) => device::unmount(mount_dir, mounter)?,
            Mounted::Other(source) => {
                let why = format!("is the mount point of {source}, not of {}", volume.image().display());
                return Err(VolumeError::NotOurs { path: mount_dir.to_owned(), why });
            }
            Mounted::Image { .. } => {
                let target = Target { path: mount_dir, access: flexvolume_os::mount::Access::ReadOnly };
                device::already_mounted(&volume, target, mounter)?;
                device::unmount(mount_dir, mounter)?;
            }
        }
        self.take_down_volume(&volume, mount_dir, lock)
    }

    /// The volume of this mount dir: by its claim, or, should that be lost, by what is mounted there.
    fn volume_at(&self, mount_dir: &Path) -> Result<Option<Volume>> {
        if let Some(holds) = self.claims.load::<Holds>(mount_dir)? {
            return Ok(Some(Pool::at(holds.directory).volume(VolumeId::parse(&holds.id)?)));
        }
        match device::mounted_at(mount_dir, &*self.system.mounter)? {
            Mounted::Nothing => Ok(None),
            Mounted::Image { backing, .. } => match Volume::of_image(&backing) {
                Some(volume) => Ok(Some(volume)),
                None => Err(unclaimed(mount_dir, &backing.display().to_string())),
            },
            Mounted::Other(source) => Err(unclaimed(mount_dir, &source)),
            Mounted::Dead(_) => Err(unclaimed(mount_dir, "something that does not answer")),
        }
    }

    /// Removes the unmounted volume, then the claim, then the lock's file.
    fn take_down_volume(&self, volume: &Volume, mount_dir: &Path, lock: Lock) -> Result<()> {
        if let Some(record) = image::look_up(volume, OWNER).known()? {
            let name = claim::name(mount_dir);
            if record.mount_dir.as_ref() != Some(&name) {
                let why = format!("belongs to the mount dir {:?}", record.mount_dir.unwrap_or_default());
                return Err(VolumeError::NotOurs { path: volume.record(), why });
            }
            image::remove(volume, record)?;
        }
        hit("ephemeral.removed");
        self.claims.remove(mount_dir)?;
        hit("ephemeral.released");
        Ok(lock.discard()?)
    }
}

fn unclaimed(mount_dir: &Path, source: &str) -> VolumeError {
    let why = format!("is the mount point of {source}, and no record says that this driver mounted it");
    VolumeError::NotOurs { path: mount_dir.to_owned(), why }
}

impl Driver for LoopEphemeral {
    fn init(&self) -> std::result::Result<Capabilities, Error> {
        Ok(Capabilities {
            attach: false,
            supports_metrics: true,
            requires_fs_resize: false,
            ..Capabilities::default()
        })
    }

    fn mount(&self, mount_dir: &Path, options: &Options) -> std::result::Result<(), Error> {
        Ok(self.set_up(mount_dir, options)?)
    }

    fn unmount(&self, mount_dir: &Path) -> std::result::Result<(), Error> {
        Ok(self.take_down(mount_dir)?)
    }
}
