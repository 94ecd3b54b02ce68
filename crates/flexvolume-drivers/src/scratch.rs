//! The driver `scratch`: the mount dir itself as a volume, where nothing may be mounted.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::{fs, io};

use flexvolume::{Capabilities, Driver, Error, Options};
use flexvolume_os::System;
use flexvolume_os::failpoint::hit;
use flexvolume_os::mount::MountPoint;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::claim::Claims;
use crate::error::{Result, VolumeError, at};
use crate::request::refuse_unknown;
use crate::sweep;

/// An empty directory for one pod, emptied at `unmount`. It needs no privilege and enforces no size.
#[derive(Debug)]
pub struct Scratch {
    system: System,
    claims: Claims,
}

/// The directory that was prepared, so that another one of its name is not emptied. The number of its device is left
/// out: it may be another one after a reboot.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Prepared {
    inode: u64,
}

impl Scratch {
    /// The driver, with its claims in the directory `scratch` of `state`.
    #[must_use]
    pub fn new(system: System, state: &Path) -> Self {
        Self { system, claims: Claims { directory: state.join("scratch") } }
    }

    fn prepare(&self, mount_dir: &Path, options: &Options) -> Result<()> {
        refuse_unknown(options, &[])?;
        match fs::create_dir(mount_dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(at("make mount dir", mount_dir))?,
        }
        let directory = self.open(mount_dir)?;
        let prepared = identity(&directory, mount_dir)?;
        if self.claims.load::<Prepared>(mount_dir)?.as_ref() == Some(&prepared) {
            return set_mode(&directory, mount_dir, options);
        }
        if !sweep::is_empty(&directory, mount_dir)? {
            let why = "is not empty, and no record says that this driver prepared it".to_owned();
            return Err(VolumeError::NotOurs { path: mount_dir.to_owned(), why });
        }
        self.claims.store(mount_dir, prepared)?;
        hit("scratch.claimed");
        set_mode(&directory, mount_dir, options)?;
        hit("scratch.prepared");
        Ok(())
    }

    /// Does something to the mount dir while no other call does.
    fn alone(&self, mount_dir: &Path, step: impl FnOnce() -> Result<()>) -> Result<()> {
        let lock = self.claims.lock(mount_dir)?;
        let outcome = step();
        lock.discard()?;
        outcome
    }

    fn take_down(&self, mount_dir: &Path) -> Result<()> {
        self.empty(mount_dir)?;
        self.claims.remove(mount_dir)?;
        hit("scratch.released");
        Ok(())
    }

    fn empty(&self, mount_dir: &Path) -> Result<()> {
        let directory = match self.open(mount_dir) {
            Err(VolumeError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(());
            }
            other => other?,
        };
        let Some(prepared) = self.claims.load::<Prepared>(mount_dir)? else {
            return self.unprepared(&directory, mount_dir);
        };
        if prepared != identity(&directory, mount_dir)? {
            let why = "is not the directory that this driver prepared".to_owned();
            return Err(VolumeError::NotOurs { path: mount_dir.to_owned(), why });
        }
        self.refuse_mounts_below(mount_dir)?;
        sweep::empty(&directory, mount_dir)?;
        hit("scratch.emptied");
        Ok(())
    }

    /// A mount dir without a record: emptied already, or never ours.
    fn unprepared(&self, directory: &File, mount_dir: &Path) -> Result<()> {
        if sweep::is_empty(directory, mount_dir)? {
            return Ok(());
        }
        let why = "holds files, but no record says that this driver prepared it".to_owned();
        Err(VolumeError::CannotKnow { path: mount_dir.to_owned(), why })
    }

    /// Opens the mount dir, which must be a real directory with nothing mounted on it.
    fn open(&self, mount_dir: &Path) -> Result<File> {
        if self.system.mounter.mount_point(mount_dir)? == MountPoint::Yes {
            let why = "is a mount point: unmount it, this driver mounts nothing".to_owned();
            return Err(VolumeError::NotOurs { path: mount_dir.to_owned(), why });
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(mount_dir, flags, Mode::empty());
        directory.map(File::from).map_err(at("open mount dir", mount_dir))
    }

    fn refuse_mounts_below(&self, mount_dir: &Path) -> Result<()> {
        let table = self.system.mounter.table()?;
        // The table has no symlinks in its paths, but the root may lie below one.
        let real = fs::canonicalize(mount_dir).map_err(at("resolve mount dir", mount_dir))?;
        let Some(mount) = table.below(&real).next() else { return Ok(()) };
        let remedy = format!("{} is mounted below it; unmount that first", mount.mount_point.display());
        Err(VolumeError::Busy { path: mount_dir.to_owned(), remedy })
    }
}

fn identity(directory: &File, mount_dir: &Path) -> Result<Prepared> {
    let metadata = directory.metadata().map_err(at("look at mount dir", mount_dir))?;
    Ok(Prepared { inode: metadata.ino() })
}

/// With an fsGroup the host gives the directory to that group, and others need no access; without one any container
/// user may write, as in an `emptyDir`.
fn set_mode(directory: &File, mount_dir: &Path, options: &Options) -> Result<()> {
    let mode = if options.fs_group.is_some() { 0o2770 } else { 0o777 };
    let permissions = fs::Permissions::from_mode(mode);
    directory.set_permissions(permissions).map_err(at("set the mode of mount dir", mount_dir))
}

impl Driver for Scratch {
    fn init(&self) -> std::result::Result<Capabilities, Error> {
        Ok(Capabilities { attach: false, requires_fs_resize: false, ..Capabilities::default() })
    }

    fn mount(&self, mount_dir: &Path, options: &Options) -> std::result::Result<(), Error> {
        Ok(self.alone(mount_dir, || self.prepare(mount_dir, options))?)
    }

    fn unmount(&self, mount_dir: &Path) -> std::result::Result<(), Error> {
        Ok(self.alone(mount_dir, || self.take_down(mount_dir))?)
    }
}
