//! The driver `loop-ephemeral`: volumes that live as long as their pod.

use std::path::{Path, PathBuf};

use flexvolume::{Capabilities, Capacity, Driver, Error, Finding, Options, Orphan, VolumeDescription};
use flexvolume_os::System;
use flexvolume_os::failpoint::hit;
use flexvolume_os::lock::Lock;
use flexvolume_os::mount::Access;
use serde::{Deserialize, Serialize};

use crate::acquaintance::Acquaintances;
use crate::administration::{Administration, Deletion, Run, finish};
use crate::claim::{self, Claims};
use crate::device::{self, Already, Mounted, Target};
use crate::diagnosis;
use crate::error::{Result, VolumeError};
use crate::image::{self, Lookup};
use crate::inventory;
use crate::pool::{Pool, Volume, VolumeId, WhenMissing};
use crate::record::{self, Record, State};
use crate::removal;
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
    state: PathBuf,
    pool: PathBuf,
    claims: Claims,
    pools: Acquaintances,
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
        Self { system, state: state.to_owned(), pool, claims, pools: Acquaintances::new(state) }
    }

    fn administration(&self) -> Administration<'_> {
        Administration { owner: OWNER, own_pool: &self.pool, state: &self.state, system: &self.system }
    }

    /// Deletes the volume of a pod that is gone, and its claim; any other one goes with its pod.
    fn delete_orphan(&self, volume: &Volume, record: Record, deletion: Deletion) -> Result<()> {
        let mount_dir = record.mount_dir.as_deref().and_then(inventory::mount_dir);
        if deletion.orphan != Some(Orphan::PodGone) {
            let made_for = mount_dir.map(|mount_dir| mount_dir.display().to_string()).unwrap_or_default();
            let remedy = format!(
                "it belongs to {made_for} and goes with the `unmount` of that; with `orphan=podGone` it can be deleted once the pod's directory is gone"
            );
            return Err(VolumeError::Busy { path: volume.image(), remedy });
        }
        finish(volume, record, deletion)?;
        match mount_dir {
            Some(mount_dir) if deletion.run == Run::Real && self.is_claimed_for(&mount_dir, volume)? => {
                self.claims.remove(&mount_dir)
            }
            _ => Ok(()),
        }
    }

    fn is_claimed_for(&self, mount_dir: &Path, volume: &Volume) -> Result<bool> {
        let held = self.claims.load::<Holds>(mount_dir)?;
        Ok(held
            .is_some_and(|held| held.id == volume.id.as_str() && held.directory == volume.pool.directory()))
    }

    fn when_missing(&self, directory: &Path) -> WhenMissing {
        if directory == self.pool { WhenMissing::Make } else { WhenMissing::Refuse }
    }

    /// Errs when a pool of somebody else's directory is not the one that it was.
    fn recognise(&self, directory: &Path) -> Result<()> {
        if directory == self.pool { Ok(()) } else { self.pools.recognise(directory) }
    }

    fn set_up(&self, mount_dir: &Path, options: &Options) -> Result<()> {
        let request = ImageRequest::ephemeral(options, &self.pool)?;
        let volume = Pool::at(request.directory.clone()).on_node(&self.state).volume(request.id.clone());
        let target = Target { path: mount_dir, access: device::access(request.access) };
        if device::already_mounted(&volume, target, &*self.system.mounter)? == Already::Mounted {
            return Ok(());
        }
        volume.pool.prepare(self.when_missing(&request.directory))?;
        self.recognise(&request.directory)?;
        let mount_dir_lock = self.claims.lock(mount_dir)?;
        let outcome = self.set_up_alone(&volume, &request, target);
        mount_dir_lock.discard()?;
        outcome
    }

    fn set_up_alone(&self, volume: &Volume, request: &ImageRequest, target: Target<'_>) -> Result<()> {
        self.claim(target.path, request)?;
        let lock = volume.lock()?;
        if device::already_mounted(volume, target, &*self.system.mounter)? == Already::Mounted {
            return Ok(());
        }
        let existed = self.has_data(volume, target.path);
        let outcome = self.make_and_mount(volume, request, target);
        if outcome.is_err() && !existed {
            // The host does not call `unmount` after a failed `mount`: nothing of the attempt may stay. Should this
            // fail too, the claim and the record say what is left, and the next call of either kind removes it.
            let _ = self.remove(volume, target.path, lock);
        }
        outcome
    }

    /// Records that the mount dir is for this volume, before anything of it exists.
    fn claim(&self, mount_dir: &Path, request: &ImageRequest) -> Result<()> {
        let id = request.id.as_str();
        if let Some(held) = self.claims.load::<Holds>(mount_dir)?.filter(|held| held.id != id) {
            let remedy = format!("it is the mount dir of the volume {:?}; unmount that first", held.id);
            return Err(VolumeError::Busy { path: mount_dir.to_owned(), remedy });
        }
        let directory = request.directory.clone();
        self.claims.store(mount_dir, Holds { directory, id: id.to_owned() })?;
        hit("ephemeral.claimed");
        Ok(())
    }

    /// Whether this mount dir's pod may have written to the volume already. When there is no telling, it may.
    fn has_data(&self, volume: &Volume, mount_dir: &Path) -> bool {
        match image::look_up(volume, OWNER) {
            Lookup::Absent => false,
            Lookup::Present(record) => record.state == State::Ready && belongs_to(&record, mount_dir),
            Lookup::NotOurs(_) | Lookup::CannotKnow(_) => true,
        }
    }

    fn make_and_mount(&self, volume: &Volume, request: &ImageRequest, target: Target<'_>) -> Result<()> {
        let fresh = Record::creating(OWNER, request, Some(claim::name(target.path)))?;
        let record = image::ensure(volume, fresh, &*self.system.runner)?;
        device::mount(volume, &record, target, &self.system)
    }

    fn take_down(&self, mount_dir: &Path) -> Result<()> {
        let mount_dir_lock = self.claims.lock(mount_dir)?;
        let outcome = self.take_down_alone(mount_dir);
        mount_dir_lock.discard()?;
        outcome
    }

    fn take_down_alone(&self, mount_dir: &Path) -> Result<()> {
        if let Some(volume) = self.volume_at(mount_dir)? {
            volume.pool.prepare(WhenMissing::Refuse)?;
            // An empty directory below a disk that is away would make the volume look removed.
            self.recognise(volume.pool.directory())?;
            let lock = volume.lock()?;
            self.unmount_only(&volume, mount_dir)?;
            self.remove(&volume, mount_dir, lock)?;
        }
        self.claims.remove(mount_dir)?;
        hit("ephemeral.released");
        Ok(())
    }

    /// Unmounts the volume, and nothing else.
    fn unmount_only(&self, volume: &Volume, mount_dir: &Path) -> Result<()> {
        let mounter = &*self.system.mounter;
        match device::mounted_at(mount_dir, mounter)? {
            Mounted::Nothing => Ok(()),
            Mounted::Dead(_) => device::unmount(mount_dir, mounter),
            Mounted::Other(source) => {
                let why = format!("is the mount point of {source}, not of {}", volume.image().display());
                Err(VolumeError::NotOurs { path: mount_dir.to_owned(), why })
            }
            Mounted::Image { .. } => {
                let target = Target { path: mount_dir, access: Access::ReadOnly };
                device::already_mounted(volume, target, mounter)?;
                device::unmount(mount_dir, mounter)
            }
        }
    }

    /// The volume of this mount dir: by its claim, or, should that be lost, by what is mounted there.
    fn volume_at(&self, mount_dir: &Path) -> Result<Option<Volume>> {
        if let Some(holds) = self.claims.load::<Holds>(mount_dir)? {
            return Ok(Some(Pool::at(holds.directory).volume(VolumeId::parse(&holds.id)?)));
        }
        match device::mounted_at(mount_dir, &*self.system.mounter)? {
            Mounted::Nothing => Ok(None),
            Mounted::Image { backing, .. } => match image::behind(&backing, OWNER, &self.pool) {
                // Neither claim nor image is seen: their disk is away, and the volume would look removed.
                Some(volume) if !matches!(image::look_up(&volume, OWNER), Lookup::Absent) => Ok(Some(volume)),
                Some(_) | None => Err(unclaimed(mount_dir, &backing.display().to_string())),
            },
            Mounted::Other(source) => Err(unclaimed(mount_dir, &source)),
            Mounted::Dead(_) => Err(unclaimed(mount_dir, "something that does not answer")),
        }
    }

    /// Removes the unmounted volume, its lock's file, and then the claim.
    fn remove(&self, volume: &Volume, mount_dir: &Path, lock: Lock) -> Result<()> {
        match image::look_up(volume, OWNER).known()? {
            Some(record) if belongs_to(&record, mount_dir) => removal::remove(volume, record)?,
            // Only a mount that failed because of it could have claimed another mount dir's volume.
            Some(_) => {}
            // A crash may have left a record that was not complete.
            None => record::remove(&volume.record())?,
        }
        hit("ephemeral.removed");
        lock.discard()?;
        hit("ephemeral.unlocked");
        self.claims.remove(mount_dir)
    }
}

fn belongs_to(record: &Record, mount_dir: &Path) -> bool {
    record.mount_dir.as_ref() == Some(&claim::name(mount_dir))
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

    fn delete_volume(&self, options: &Options) -> std::result::Result<Option<VolumeDescription>, Error> {
        let delete = |volume: &Volume, record, deletion| self.delete_orphan(volume, record, deletion);
        Ok(self.administration().delete(options, &delete)?)
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
