//! A disk's file system as a mount.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use flexvolume_os::System;
use flexvolume_os::failpoint::hit;
use flexvolume_os::filesystem::{self, FsType, GrowTarget};
use flexvolume_os::mount::{Access, FileSystemMount, MountError};
use flexvolume_os::mountinfo::Mount;
use flexvolume_os::network_mount::{NetworkMounter, Server, Unmounting};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{DiskError, Result, at};
use super::record::Record;
use super::request::Protection;
use super::{RemoteDisk, Work};
use crate::device::{self, Already};
use crate::error::VolumeError;
use crate::superblock;

/// How long growing a file system may take.
const GROW_DEADLINE: Duration = Duration::from_secs(240);

impl<T: RemoteDisk, L: Serialize + DeserializeOwned> Work<'_, T, L> {
    /// Mounts the disk's file system, and makes it first if it shall be made. The caller has looked that nothing is mounted
    /// at the path, and has recorded that it will be.
    pub(crate) fn mount(&self, record: &mut Record<L>, path: &Path) -> Result<()> {
        let (request, device) = (self.request, self.device);
        let access = device::access(request.access);
        self.ensure(record)?;
        if any_mount(self.system, device)?.is_none() {
            if access == Access::ReadWrite && !is_clean(request.fs_type, device)? {
                device::check(request.fs_type, device, self.system)?;
                hit("disk.checked");
            }
            self.protect()?;
            device::wait_until_nobody_claims(device);
        }
        let wanted = FileSystemMount {
            source: device.to_owned(),
            fs_type: request.fs_type.as_str().to_owned(),
            access,
            data: request.mount_options(),
        };
        self.system.mounter.mount(&wanted, path).map_err(|error| self.explain(error, path))?;
        hit("disk.mounted");
        if record.grow && access == Access::ReadWrite {
            // A volume that did not grow is of use as it is; `expandfs` tries again, and says why.
            let _ = fill(self.system, request.fs_type, (device, path)).and_then(|()| {
                record.grow = false;
                self.shelf.store(self.disk, record)
            });
        }
        Ok(())
    }

    /// Says what a machine that already has the file system looks like from here.
    fn explain(&self, error: MountError, path: &Path) -> DiskError {
        let MountError::Call { source, .. } = &error else { return error.into() };
        let is_protected = self.request.protection == Protection::Required;
        if Errno::from_io_error(source) == Some(Errno::BUSY) && is_protected {
            return DiskError::Taken {
                subject: self.disk.to_string(),
                holder: "another machine that has it mounted (ext4's multi-mount protection says so)"
                    .to_owned(),
                remedy: "unmount it there; after a crash of that machine it takes a minute until this is noticed",
            };
        }
        let target = device::Target { path, access: device::access(self.request.access) };
        device::explain(error, target, Path::new("the network block device")).into()
    }
}

fn is_clean(fs_type: FsType, device: &Path) -> Result<bool> {
    if fs_type != FsType::Ext4 {
        return Ok(true);
    }
    let file = File::open(device).map_err(at("open", device))?;
    superblock::is_clean_ext4(&file).map_err(at("read the superblock of", device))
}

/// Is this very device mounted at the path, writable if it must be?
pub(crate) fn already_mounted(
    system: &System,
    (path, access): (&Path, Access),
    device: &Path,
    disk: &impl RemoteDisk,
) -> Result<Already> {
    let Some(found) = top(system, path)? else { return Ok(Already::NotMounted) };
    let other = |actual: String| {
        let (path, wanted) = (path.to_owned(), disk.to_string());
        Err(VolumeError::MountedOther { path, actual, wanted }.into())
    };
    if found.source != device {
        return other(found.source.display().to_string());
    }
    if access == Access::ReadWrite && found.is_read_only() {
        return other("the volume, but read-only".to_owned());
    }
    Ok(Already::Mounted)
}

/// What is on top at the path, by the mount table: the file system is not asked, since its server may be gone.
pub(crate) fn top(system: &System, path: &Path) -> Result<Option<Mount>> {
    Ok(NetworkMounter::new(system).stack(path)?.pop())
}

/// A mount of the device, whichever.
pub(crate) fn any_mount(system: &System, device: &Path) -> Result<Option<Mount>> {
    let table = system.mounter.table()?;
    Ok(table.mounts().iter().find(|mount| mount.source == device).cloned())
}

/// The refusal to unmount what no record of ours describes.
pub(crate) fn foreign(path: &Path, mount: &Mount) -> DiskError {
    let why = format!(
        "is the mount point of {}, which is no volume of this driver: unmount it by hand",
        mount.source.display()
    );
    VolumeError::NotOurs { path: path.to_owned(), why }.into()
}

/// Refuses another device than the volume's; a host may name none.
pub(crate) fn expect_device(named: Option<&str>, device: &Path, disk: &impl RemoteDisk) -> Result<()> {
    match named {
        Some(actual) if Path::new(actual) != device => Err(DiskError::OtherDevice {
            actual: actual.to_owned(),
            subject: disk.to_string(),
            wanted: device.display().to_string(),
        }),
        _ => Ok(()),
    }
}

/// Unmounts what was found at the path. The driver has made sure that nothing gets lost by it.
pub(crate) fn take_off(system: &System, path: &Path, mount: &Mount) -> Result<()> {
    let is_ours = |found: &Mount| found.source == mount.source;
    let unmounting = Unmounting { is_ours: &is_ours, server: &|_| Server::Answers };
    NetworkMounter::new(system).unmount(path, &unmounting)?;
    Ok(())
}

/// What shall grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grow {
    Device,
    /// The device and its file system.
    Both,
}

/// Makes the disk's file system as large as its device, wherever that is mounted.
pub(crate) fn fill_mounted(
    system: &System,
    fs_type: FsType,
    device: &Path,
    disk: &impl RemoteDisk,
) -> Result<()> {
    let found = any_mount(system, device)?.ok_or_else(|| DiskError::NotGrown {
        subject: disk.to_string(),
        why: "is not mounted here: mount the volume, then grow its file system".to_owned(),
    })?;
    fill(system, fs_type, (device, &found.mount_point))
}

/// Makes the mounted file system as large as its device.
fn fill(system: &System, fs_type: FsType, (device, mount_point): (&Path, &Path)) -> Result<()> {
    let target = GrowTarget { fs_type, device, mount_point, deadline: GROW_DEADLINE };
    filesystem::grow(&*system.runner, &target)?;
    hit("disk.grown");
    Ok(())
}
