//! Growth: of the volume, and of its file system while it is mounted.

use std::time::Duration;

use flexvolume_os::failpoint::hit;
use flexvolume_os::filesystem::{self, GrowTarget};

use super::create::{self, Ready, retag};
use super::error::{LvmError, Result};
use super::lookup::Found;
use super::mount::mount_points;
use super::name::Place;
use super::request::round_up;
use super::tags::{Contents, Record};
use super::tool::{Lvm, Machine};
use crate::error::RequestError;

/// How long growing a file system may take.
const GROW_DEADLINE: Duration = Duration::from_secs(240);

/// A volume that has the size that was wanted.
pub(crate) struct Grown {
    found: Box<Found>,
    contents: Contents,
}

impl Grown {
    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        self.found.volume.size
    }
}

/// Makes the volume at least `wanted` bytes large; never smaller. The caller holds the lock. Until the file system has
/// grown too, a tag says that it shall.
pub(crate) fn grow(lvm: Lvm<'_>, place: &Place, wanted: u64) -> Result<Grown> {
    let wanted = round_up(wanted).ok_or_else(|| RequestError::Value {
        key: "new size",
        value: wanted.to_string(),
        why: "it is more than a device can have".to_owned(),
    })?;
    let (mut found, contents) = create::find_ready(lvm, place)?;
    let wanted = found.group.in_extents(wanted).max(found.record.grow.unwrap_or(0));
    if wanted <= found.volume.size {
        return Ok(Grown { found, contents });
    }
    room_for(&found, place, wanted)?;
    let record = Record { grow: Some(wanted), ..found.record.clone() };
    retag(lvm, place, &found.record, &record)?;
    hit("lvm.growing");
    let (subject, size) = (place.to_string(), format!("{wanted}b"));
    // Never `lvresize`, which would shrink a volume that is larger meanwhile.
    lvm.change(&subject, "lvextend", &["-L", &size, &subject])?;
    hit("lvm.extended");
    (found.record, found.volume.size) = (record, wanted);
    Ok(Grown { found, contents })
}

fn room_for(found: &Found, place: &Place, wanted: u64) -> Result<()> {
    let copies = if found.volume.layout.contains("raid1") { 2 } else { 1 };
    let needed = (wanted - found.volume.size).saturating_mul(copies);
    let free = found.group.free();
    if needed <= free || !found.volume.pool.is_empty() {
        return Ok(());
    }
    Err(LvmError::Full { vg: found.group.name.clone(), subject: place.to_string(), needed, free })
}

/// Grows the file system of a volume that has grown, and is mounted somewhere, to the size of its device.
pub(crate) fn grow_filesystem(machine: Machine<'_>, place: &Place, grown: Grown) -> Result<()> {
    let ready = create::activated(machine.lvm, place, &grown.found, grown.contents)?;
    // Also when nothing is owed: the file system may be behind all the same.
    grow_mounted(machine, place, &ready)
}

/// The same, for a volume that has been looked at already. First the volume gets the size that it is owed, should a
/// crash have come between the record and the act.
pub(crate) fn grow_mounted(machine: Machine<'_>, place: &Place, ready: &Ready) -> Result<()> {
    let subject = place.to_string();
    let owed = ready.record.grow.unwrap_or_default();
    if owed > ready.size {
        machine.lvm.change(&subject, "lvextend", &["-L", &format!("{owed}b"), &subject])?;
        hit("lvm.extended");
    }
    let points = mount_points(&ready.node, &*machine.system.mounter)?;
    let Some(mount_point) = points.first() else {
        return Err(LvmError::NotMounted { subject });
    };
    let target = GrowTarget {
        fs_type: ready.contents.fs_type,
        device: &ready.node.path,
        mount_point,
        deadline: GROW_DEADLINE,
    };
    filesystem::grow(machine.lvm.runner, &target)?;
    hit("lvm.grown");
    if ready.record.grow.is_some() {
        retag(machine.lvm, place, &ready.record, &Record { grow: None, ..ready.record.clone() })?;
        hit("lvm.grown-recorded");
    }
    Ok(())
}
