//! A volume as a mount, and back.

use std::path::Path;
use std::time::Duration;

use flexvolume::DeviceMount;
use flexvolume_os::failpoint::hit;
use flexvolume_os::mountinfo::Mount;
use flexvolume_os::nbd;

use super::address::Target;
use super::error::{NbdError, Result};
use super::link::{Node, device_of};
use super::record::Record;
use super::request::NbdRequest;
use crate::device::{self, Already};
use crate::remote_disk::{self, DiskError, Work, already_mounted, expect_device, foreign, top};

/// Mounts the volume, unless it is mounted there.
pub(crate) fn mount(node: Node<'_>, request: &NbdRequest, mount: DeviceMount<'_>) -> Result<()> {
    let target = &request.target;
    let _lock = node.shelf.lock(target)?;
    let mut connected = node.connected(target)?;
    let path = nbd::device(connected.index);
    expect_device(mount.device, &path, target)?;
    let access = device::access(request.file_system.access);
    if already_mounted(node.system, (mount.path, access), &path, target)? == Already::Mounted {
        return Ok(());
    }
    node.keep(target, &mut connected.record, Duration::from_secs(10))?;
    connected.record.mount_at(mount.path);
    node.shelf.store(target, &connected.record)?;
    let work = Work {
        system: node.system,
        shelf: node.shelf,
        disk: target,
        request: &request.file_system,
        device: &path,
        size: connected.record.link.size(),
    };
    let outcome = work.mount(&mut connected.record, mount.path);
    if outcome.is_err() && top(node.system, mount.path)?.is_none() {
        // Kubernetes calls `waitforattach` before it tries again, and nothing at all if the pod is deleted meanwhile.
        let _ = node.disconnect(target, connected.record);
    }
    Ok(outcome?)
}

/// Unmounts what of this driver is mounted at the path, and ends the connection, whatever came in between before.
pub(crate) fn unmount(node: Node<'_>, path: &Path) -> Result<()> {
    let Some((target, _)) = find(node, path)? else { return Ok(()) };
    let _lock = node.shelf.lock(&target)?;
    let Some(mut record) = node.shelf.load(&target)? else { return Ok(()) };
    if let Some(mount) = top(node.system, path)? {
        // Somebody may have been faster while we waited.
        if find(node, path)?.is_none_or(|(found, _)| found != target) {
            return Err(foreign(path, &mount).into());
        }
        take_off(node, (&target, &mut record), path, &mount)?;
        hit("nbd.unmounted");
    }
    node.disconnect(&target, record)
}

/// The volume that is mounted at the path; or, when nothing is, that was to be.
fn find(node: Node<'_>, path: &Path) -> Result<Option<(Target, Record)>> {
    let Some(mount) = top(node.system, path)? else {
        return Ok(node.shelf.all().into_iter().find(|(_, record)| record.is_mounted_at(path)));
    };
    let index = nbd::index_of(&mount.source).ok_or_else(|| foreign(path, &mount))?;
    for (target, record) in node.shelf.all() {
        if device_of(&record)? == Some(index) {
            return Ok(Some((target, record)));
        }
    }
    Err(foreign(path, &mount).into())
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
        let left = record.link.reconnect_timeout.saturating_sub(gone);
        if left > 0 && !mount.is_read_only() {
            let subject = target.to_string();
            return Err(DiskError::Waiting { subject, why: text(&why), left }.into());
        }
        node.give_up(record)?;
    }
    Ok(remote_disk::take_off(node.system, path, mount)?)
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
