//! A volume as a mount, and back.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use flexvolume::DeviceMount;
use flexvolume_os::failpoint::hit;
use flexvolume_os::filesystem::{self, FsType, GrowTarget};
use flexvolume_os::mount::{Access, FileSystemMount, MountError};
use flexvolume_os::mountinfo::Mount;
use flexvolume_os::nbd;
use flexvolume_os::network_mount::{NetworkMounter, Server, Unmounting};
use rustix::io::Errno;

use super::address::Target;
use super::contents::Work;
use super::error::{NbdError, Result, at};
use super::link::{Connected, Node, device_of};
use super::record::Record;
use super::request::{NbdRequest, Protection};
use crate::device::{self, Already};
use crate::error::VolumeError;
use crate::superblock;

/// How long growing a file system may take.
const GROW_DEADLINE: Duration = Duration::from_secs(240);

/// Mounts the volume, unless it is mounted there.
pub(crate) fn mount(node: Node<'_>, request: &NbdRequest, mount: DeviceMount<'_>) -> Result<()> {
    let target = &request.target;
    let _lock = node.shelf.lock(target)?;
    let mut connected = node.connected(target)?;
    let path = nbd::device(connected.index);
    if let Some(actual) = mount.device.filter(|device| Path::new(device) != path) {
        let wanted = path.display().to_string();
        return Err(NbdError::OtherDevice { actual: actual.to_owned(), subject: target.to_string(), wanted });
    }
    let access = device::access(request.access);
    if already_mounted(node, (mount.path, access), &path, target)? == Already::Mounted {
        return Ok(());
    }
    node.keep(target, &mut connected.record, Duration::from_secs(10))?;
    connected.record.mount_at(mount.path);
    node.shelf.store(target, &connected.record)?;
    let outcome = mount_anew(node, request, &mut connected, (mount.path, access));
    if outcome.is_err() && top(node, mount.path)?.is_none() {
        // Kubernetes calls `waitforattach` before it tries again, and nothing at all if the pod is deleted meanwhile.
        let _ = node.disconnect(target, connected.record);
    }
    outcome
}

fn mount_anew(
    node: Node<'_>,
    request: &NbdRequest,
    connected: &mut Connected,
    (path, access): (&Path, Access),
) -> Result<()> {
    let device = nbd::device(connected.index);
    let work = Work { node, request, device: &device };
    work.ensure(connected)?;
    if any_mount(node, &device)?.is_none() {
        if access == Access::ReadWrite && !is_clean(request.fs_type, &device)? {
            device::check(request.fs_type, &device, node.system)?;
            hit("nbd.checked");
        }
        work.protect()?;
        device::wait_until_nobody_claims(&device);
    }
    let wanted = FileSystemMount {
        source: device.clone(),
        fs_type: request.fs_type.as_str().to_owned(),
        access,
        data: mount_options(request),
    };
    node.system.mounter.mount(&wanted, path).map_err(|error| explain(error, request, (path, access)))?;
    hit("nbd.mounted");
    if connected.record.grow && access == Access::ReadWrite {
        // A volume that did not grow is of use as it is; `expandfs` tries again, and says why.
        let _ = fill(node, request.fs_type, &device, path)
            .and_then(|()| note_growth(node, &request.target, &mut connected.record, false));
    }
    Ok(())
}

fn mount_options(request: &NbdRequest) -> Vec<String> {
    let flags = request.mount_flags.iter().map(|flag| flag.as_str().to_owned());
    // Its default is to go on writing after it has found itself damaged.
    let careful = (request.fs_type == FsType::Ext4).then(|| "errors=remount-ro".to_owned());
    flags.chain(careful).collect()
}

fn is_clean(fs_type: FsType, device: &Path) -> Result<bool> {
    if fs_type != FsType::Ext4 {
        return Ok(true);
    }
    let file = File::open(device).map_err(at("open", device))?;
    superblock::is_clean_ext4(&file).map_err(at("read the superblock of", device))
}

/// Says what a machine that already has the file system looks like from here.
fn explain(error: MountError, request: &NbdRequest, (path, access): (&Path, Access)) -> NbdError {
    let MountError::Call { source, .. } = &error else { return error.into() };
    if Errno::from_io_error(source) == Some(Errno::BUSY) && request.protection == Protection::Required {
        return NbdError::Taken {
            subject: request.target.to_string(),
            holder: "another machine that has it mounted (ext4's multi-mount protection says so)".to_owned(),
            remedy: "unmount it there; after a crash of that machine it takes a minute until this is noticed",
        };
    }
    let target = device::Target { path, access };
    let device = Path::new("the network block device");
    device::explain(error, target, device).into()
}

/// Is this very device mounted at the path, writable if it must be?
fn already_mounted(
    node: Node<'_>,
    (path, access): (&Path, Access),
    device: &Path,
    target: &Target,
) -> Result<Already> {
    let Some(found) = top(node, path)? else { return Ok(Already::NotMounted) };
    let other = |actual: String| {
        let (path, wanted) = (path.to_owned(), target.to_string());
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
pub(crate) fn top(node: Node<'_>, path: &Path) -> Result<Option<Mount>> {
    Ok(NetworkMounter::new(node.system).stack(path)?.pop())
}

/// A mount of the device, whichever.
pub(crate) fn any_mount(node: Node<'_>, device: &Path) -> Result<Option<Mount>> {
    let table = node.system.mounter.table()?;
    Ok(table.mounts().iter().find(|mount| mount.source == device).cloned())
}

/// Unmounts what of this driver is mounted at the path, and ends the connection, whatever came in between before.
pub(crate) fn unmount(node: Node<'_>, path: &Path) -> Result<()> {
    let Some((target, _)) = find(node, path)? else { return Ok(()) };
    let _lock = node.shelf.lock(&target)?;
    let Some(mut record) = node.shelf.load(&target)? else { return Ok(()) };
    if let Some(mount) = top(node, path)? {
        // Somebody may have been faster while we waited.
        if find(node, path)?.is_none_or(|(found, _)| found != target) {
            return Err(foreign(path, &mount));
        }
        take_off(node, (&target, &mut record), path, &mount)?;
        hit("nbd.unmounted");
    }
    node.disconnect(&target, record)
}

/// The volume that is mounted at the path; or, when nothing is, that was to be.
fn find(node: Node<'_>, path: &Path) -> Result<Option<(Target, Record)>> {
    let Some(mount) = top(node, path)? else {
        return Ok(node.shelf.all().into_iter().find(|(_, record)| record.is_mounted_at(path)));
    };
    let index = nbd::index_of(&mount.source).ok_or_else(|| foreign(path, &mount))?;
    for (target, record) in node.shelf.all() {
        if device_of(&record)? == Some(index) {
            return Ok(Some((target, record)));
        }
    }
    Err(foreign(path, &mount))
}

fn foreign(path: &Path, mount: &Mount) -> NbdError {
    let why = format!(
        "is the mount point of {}, which is no volume of this driver: unmount it by hand",
        mount.source.display()
    );
    VolumeError::NotOurs { path: path.to_owned(), why }.into()
}

/// Unmounts, if nothing gets lost; or if the server is gone for longer than data is to wait for it.
fn take_off(
    node: Node<'_>,
    (target, record): (&Target, &mut Record),
    path: &Path,
    mount: &Mount,
) -> Result<()> {
    if let Err(why) = node.is_served(target, record) {
        let gone = node.lost(target, record)?;
        let left = record.reconnect_timeout.saturating_sub(gone);
        if left > 0 && !mount.is_read_only() {
            let subject = target.to_string();
            return Err(NbdError::Waiting { subject, why: text(&why), left });
        }
        node.give_up(record)?;
    }
    let source = mount.source.clone();
    let unmounting =
        Unmounting { is_ours: &|found: &Mount| found.source == source, server: &|_| Server::Answers };
    NetworkMounter::new(node.system).unmount(path, &unmounting)?;
    Ok(())
}

/// The error and its causes.
fn text(error: &NbdError) -> String {
    let mut text = error.to_string();
    if let Some(cause) =
        std::error::Error::source(error).map(ToString::to_string).filter(|cause| !text.ends_with(cause))
    {
        text = format!("{text}: {cause}");
    }
    text
}

/// Makes the mounted file system as large as its device.
pub(crate) fn fill(node: Node<'_>, fs_type: FsType, device: &Path, mount_point: &Path) -> Result<()> {
    let target = GrowTarget { fs_type, device, mount_point, deadline: GROW_DEADLINE };
    filesystem::grow(&*node.system.runner, &target)?;
    hit("nbd.grown");
    Ok(())
}

/// Remembers whether the file system has to grow at the next mount.
pub(crate) fn note_growth(node: Node<'_>, target: &Target, record: &mut Record, owed: bool) -> Result<()> {
    if record.grow != owed {
        record.grow = owed;
        node.shelf.store(target, record)?;
    }
    Ok(())
}
