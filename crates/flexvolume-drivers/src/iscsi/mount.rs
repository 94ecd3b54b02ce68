//! A volume as a mount, and back.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use flexvolume::DeviceMount;
use flexvolume_os::failpoint::hit;
use flexvolume_os::iscsi::{Session, State};
use flexvolume_os::mountinfo::Mount;

use super::error::{Result, of_network};
use super::link::{Connected, Node, device_of};
use super::record::Record;
use super::request::IscsiRequest;
use super::session::{Sessions, reach};
use super::target::Target;
use crate::device::{self, Already};
use crate::remote_disk::{
    self, DiskError, Work, already_mounted, any_mount, expect_device, foreign, now, top,
};

/// How long a server is waited for where somebody waits for an unmount.
const BRIEF: Duration = Duration::from_secs(3);
/// How long a session is waited for whose server is back.
const RETURN: Duration = Duration::from_secs(4);
/// By then the kernel has noticed that a server is gone: two questions of five seconds, and what a loaded node adds.
const NOTICE: u64 = 20;

/// Mounts a connected volume, unless it is mounted there.
pub(crate) fn mount(node: Node<'_>, request: &IscsiRequest, mount: DeviceMount<'_>) -> Result<()> {
    let target = &request.target;
    let _lock = node.shelf.lock(target)?;
    let connected = node.connected(target)?;
    expect_device(mount.device, &connected.device, target)?;
    mount_connected(node, request, connected, mount.path)
}

/// The same, by the one who has the lock and the device.
pub(crate) fn mount_connected(
    node: Node<'_>,
    request: &IscsiRequest,
    mut connected: Connected,
    path: &Path,
) -> Result<()> {
    let target = &request.target;
    let access = device::access(request.file_system.access);
    if already_mounted(node.system, (path, access), &connected.device, target)? == Already::Mounted {
        return be_patient(node, request, &connected.record);
    }
    reach(&request.portals, BRIEF).map_err(of_network(target))?;
    let outcome = mount_anew(node, request, &mut connected, path);
    if outcome.is_err() && top(node.system, path)?.is_none() {
        // Kubernetes calls `waitforattach` before it tries again, and nothing at all if the pod is deleted meanwhile.
        let _ = node.disconnect(target, connected.record);
    }
    outcome
}

fn mount_anew(node: Node<'_>, request: &IscsiRequest, connected: &mut Connected, path: &Path) -> Result<()> {
    let (target, device) = (&request.target, connected.device.clone());
    if any_mount(node.system, &device)?.is_none() {
        // The kernel remembers who a disk was; asked anew, it knows who it is.
        node.ask_anew(target, &connected.disk, &device)?;
    }
    node.identify(request, &mut connected.record, &connected.disk)?;
    connected.record.mount_at(path);
    node.shelf.store(target, &connected.record)?;
    hit("iscsi.mounting");
    let work = Work {
        system: node.system,
        shelf: node.shelf,
        disk: target,
        request: &request.file_system,
        device: &device,
        size: connected.disk.size().unwrap_or_default(),
    };
    work.mount(&mut connected.record, path)?;
    hit("iscsi.mounted");
    be_patient(node, request, &connected.record)
}

/// From now on reads and writes wait for the server as long as the volume says.
fn be_patient(node: Node<'_>, request: &IscsiRequest, record: &Record) -> Result<()> {
    match node.disk_of(&request.target, record)? {
        Some((session, _)) => Sessions::be_patient(&session, request.reconnect_timeout.as_secs()),
        None => Ok(()),
    }
}

/// Unmounts what of this driver is mounted at the path, and gives the disk back, whatever came in between before.
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
        hit("iscsi.unmounted");
    }
    node.disconnect(&target, record)
}

/// The volume that is mounted at the path; or, when nothing is, that was to be.
fn find(node: Node<'_>, path: &Path) -> Result<Option<(Target, Record)>> {
    let Some(mount) = top(node.system, path)? else {
        return Ok(node.shelf.all().into_iter().find(|(_, record)| record.is_mounted_at(path)));
    };
    let mut found = None;
    for (target, record) in node.shelf.all() {
        let device = match node.disk_of(&target, &record)? {
            Some((_, disk)) => device_of(&disk)?,
            None => None,
        };
        // Somebody may have ended the session under the mount, and another disk may have the name of its device now.
        let is_gone = device.is_none() && mount.source.as_os_str().as_bytes().starts_with(b"/dev/sd");
        if record.is_mounted_at(path) && (is_gone || device.as_ref() == Some(&mount.source)) {
            return Ok(Some((target, record)));
        }
        if device.as_ref() == Some(&mount.source) {
            found = Some((target, record));
        }
    }
    found.map(Some).ok_or_else(|| foreign(path, &mount).into())
}

/// Unmounts, if nothing gets lost; or if the server is gone for longer than data is to wait for it.
fn take_off(
    node: Node<'_>,
    (target, record): (&Target, &mut Record),
    path: &Path,
    mount: &Mount,
) -> Result<()> {
    // A read-only volume has nothing to lose.
    let session = node.disk_of(target, record)?.map(|(session, _)| session);
    if let Some(session) = session.filter(|_| !mount.is_read_only()) {
        wait_for_server(node, (target, record), &session)?;
    }
    Ok(remote_disk::take_off(node.system, path, mount)?)
}

/// A server that is gone holds an unmount up until the kernel gives its requests up: until then we say so, and nothing is
/// done that would lose what was written.
fn wait_for_server(
    node: Node<'_>,
    (target, record): (&Target, &mut Record),
    session: &Session,
) -> Result<()> {
    if session.state == State::GivenUp {
        return Ok(());
    }
    let reached = reach(&record.link.portals(), BRIEF);
    if reached.is_ok() && node.sessions.wait(&target.name, &record.link.interface, RETURN)?.is_some() {
        // Should this unmount fail, the next absence is counted anew.
        record.link.lost_since = None;
        return Ok(node.shelf.store(target, record)?);
    }
    let why = match reached {
        Ok(_) => "its session is not back yet".to_owned(),
        Err(error) => error.to_string(),
    };
    let since = *record.link.lost_since.get_or_insert_with(now);
    node.shelf.store(target, record)?;
    let gone = now().saturating_sub(since);
    if session.state == State::LoggedIn && gone > NOTICE {
        // It answers the kernel, if not us.
        return Ok(());
    }
    let left = (record.link.reconnect_timeout + NOTICE).saturating_sub(gone).max(1);
    Err(DiskError::Waiting { subject: target.to_string(), why, left }.into())
}
