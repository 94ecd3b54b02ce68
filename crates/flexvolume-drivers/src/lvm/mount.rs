//! A volume as a mount, and back.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flexvolume_os::failpoint::hit;
use flexvolume_os::filesystem::FsType;
use flexvolume_os::mount::{Access, FileSystemMount, MountPoint, Mounter};
use rustix::fs::OFlags;

use super::create::{Blocks, Ready, retag, verify};
use super::error::{LvmError, Result};
use super::grow;
use super::name::Place;
use super::node::{self, Node};
use super::request::LvmRequest;
use super::tool::Machine;
use crate::device::{self, Already, Target};
use crate::superblock;

/// What is mounted at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mounted {
    /// Nothing.
    Nothing,
    /// The device-mapper device of this name.
    Mapped(String),
    /// Something else.
    Other(String),
    /// Something that does not answer.
    Dead(i32),
}

/// Looks what is on top at `path`, without LVM: one `statx`, and a read in `/sys` when something is mounted. Only for a
/// file system that hides its device (btrfs) the mount table is read too.
pub(crate) fn mounted_at(path: &Path, mounter: &dyn Mounter) -> Result<Mounted> {
    match mounter.mount_point(path)? {
        MountPoint::No | MountPoint::Absent => return Ok(Mounted::Nothing),
        MountPoint::Dead(errno) => return Ok(Mounted::Dead(errno)),
        MountPoint::Yes => {}
    }
    let device = fs::metadata(path).map_err(node::step("look at", path))?.dev();
    if let Some(name) = mapped_name(device) {
        return Ok(Mounted::Mapped(name));
    }
    let table = mounter.table()?;
    let Some(mount) = table.top(path) else { return Ok(Mounted::Nothing) };
    let device = fs::metadata(&mount.source).map(|metadata| metadata.rdev()).unwrap_or_default();
    Ok(mapped_name(device)
        .map_or_else(|| Mounted::Other(mount.source.display().to_string()), Mounted::Mapped))
}

/// The name that device-mapper has for a device number.
fn mapped_name(device: u64) -> Option<String> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let name = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/dm/name")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Is this very volume mounted at `target`, writable if it must be? Anything else there is an error.
pub(crate) fn already_mounted(place: &Place, target: Target<'_>, mounter: &dyn Mounter) -> Result<Already> {
    let other = |actual: String| {
        Err(crate::VolumeError::MountedOther {
            path: target.path.to_owned(),
            actual,
            wanted: place.to_string(),
        }
        .into())
    };
    match mounted_at(target.path, mounter)? {
        Mounted::Nothing => Ok(Already::NotMounted),
        Mounted::Mapped(name) if name != place.mapped() => other(format!("/dev/mapper/{name}")),
        Mounted::Other(source) => other(source),
        Mounted::Dead(errno) => other(format!("a dead mount ({})", std::io::Error::from_raw_os_error(errno))),
        Mounted::Mapped(_) if target.access == Access::ReadWrite && device::is_read_only(target.path)? => {
            other("the volume, but read-only".to_owned())
        }
        Mounted::Mapped(_) => Ok(Already::Mounted),
    }
}

/// Mounts a ready volume. The caller holds its lock and knows that nothing is mounted at the target.
pub(crate) fn mount(
    machine: Machine<'_>,
    request: &LvmRequest,
    ready: &Ready,
    target: Target<'_>,
) -> Result<()> {
    let place = &request.place;
    let node = &ready.node;
    node::readable(node, ready.size)?;
    let device = node.open()?;
    verify(place, &device, &ready.contents)?;
    if mount_points(node, &*machine.system.mounter)?.is_empty() {
        check(machine, ready, device, target.access)?;
    }
    let writable = target.access == Access::ReadWrite;
    let mounter = &*machine.system.mounter;
    let mount = FileSystemMount {
        source: node.path.clone(),
        fs_type: ready.contents.fs_type.as_str().to_owned(),
        access: target.access,
        data: mount_options(ready, request),
    };
    mounter.mount(&mount, target.path).map_err(|error| device::explain(error, target, &node.path))?;
    hit("lvm.mounted");
    if !writable {
        return Ok(());
    }
    let outcome = after_mount(machine, place, ready, target);
    if outcome.is_err() {
        // Should this fail too, the next call finds the volume mounted.
        let _ = mounter.unmount(target.path);
    }
    outcome
}

/// Checks a file system that is mounted nowhere here and will be written to; for an ext4 that was unmounted cleanly a
/// look at its superblock is enough.
fn check(machine: Machine<'_>, ready: &Ready, device: File, access: Access) -> Result<()> {
    let (node, fs_type) = (&ready.node, ready.contents.fs_type);
    let clean = fs_type == FsType::Ext4
        && superblock::is_clean_ext4(&device).map_err(node::step("read the superblock of", &node.path))?;
    drop(device);
    if access == Access::ReadWrite && !clean {
        device::check(fs_type, &node.path, machine.system)?;
        hit("lvm.checked");
    }
    device::wait_until_nobody_claims(&node.path);
    Ok(())
}

/// What is owed to a volume once it is mounted: the mode of a new root directory, growth that was recorded.
fn after_mount(machine: Machine<'_>, place: &Place, ready: &Ready, target: Target<'_>) -> Result<()> {
    let mut record = ready.record.clone();
    if let Some(mode) = record.root_mode.take() {
        set_root_mode(target, mode)?;
        retag(machine.lvm, place, &ready.record, &record)?;
    }
    if record.grow.is_some() {
        let opened = Ready { record, node: ready.node.clone(), contents: ready.contents.clone(), ..*ready };
        // A volume that did not grow is of use as it is; `expandfs` tries again, and says why.
        let _ = grow::grow_mounted(machine, place, &opened);
    }
    Ok(())
}

/// Where the device is mounted in this mount namespace.
pub(crate) fn mount_points(node: &Node, mounter: &dyn Mounter) -> Result<Vec<PathBuf>> {
    let device = fs::metadata(&node.path).map_err(node::step("look at", &node.path))?.rdev();
    let table = mounter.table()?;
    let here = table.mounts().iter().filter(|mount| rdev_of(&mount.source) == Some(device));
    Ok(here.map(|mount| mount.mount_point.clone()).collect())
}

/// Gives a new root directory its mode, once: from then on it is its users'.
fn set_root_mode(target: Target<'_>, mode: u32) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(target.path, flags, rustix::fs::Mode::empty())
        .and_then(|root| rustix::fs::fchmod(root, rustix::fs::Mode::from_raw_mode(mode)))
        .map_err(|errno| node::step("set the mode of", target.path)(errno.into()))?;
    hit("lvm.opened");
    Ok(())
}

fn mount_options(ready: &Ready, request: &LvmRequest) -> Vec<String> {
    let mut options: Vec<_> = request.mount_flags.iter().map(|flag| flag.as_str().to_owned()).collect();
    if ready.contents.fs_type == FsType::Ext4 {
        // Its default is to go on writing after it has found itself damaged.
        options.push("errors=remount-ro".to_owned());
    }
    if request.access == flexvolume::Access::ReadWrite {
        // Said both ways: btrfs discards unless it is told not to. A thin pool gets freed blocks back only so.
        let discard = match ready.blocks {
            Blocks::Allocated => "nodiscard",
            Blocks::Thin => "discard",
        };
        options.push(discard.to_owned());
    }
    options
}

/// The device number and the mount point of every mount of a block device.
pub(crate) fn mapped_sources(mounter: &dyn Mounter) -> Result<Vec<(u64, PathBuf)>> {
    let table = mounter.table()?;
    let mounts = table.mounts().iter();
    Ok(mounts.filter_map(|mount| Some((rdev_of(&mount.source)?, mount.mount_point.clone()))).collect())
}

fn rdev_of(source: &Path) -> Option<u64> {
    if !source.starts_with("/dev") {
        return None;
    }
    Some(fs::metadata(source).ok()?.rdev())
}

/// Unmounts what is on top at `path`, which is a volume of this kind.
pub(crate) fn unmount(path: &Path, mounter: &dyn Mounter) -> Result<()> {
    device::unmount(path, mounter)?;
    hit("lvm.unmounted");
    Ok(())
}

/// The error for a mount point that is none of ours.
pub(crate) fn foreign(path: &Path, source: &str) -> LvmError {
    let why = format!("is the mount point of {source}, which is no volume of this driver");
    LvmError::NotOurs { subject: path.display().to_string(), why }
}
