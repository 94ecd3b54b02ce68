//! What a look at an active volume found, noted on this node.
//!
//! The host calls `waitforattach` again in every retry. While the very same logical volume is active, with the same size, its
//! answer is known: a UUID of LVM is never given twice. `mountdevice` ends the note and asks LVM itself, so one that is out of
//! date mounts nothing and harms nothing. Only where it follows at once on the `waitforattach` that asked, it takes that
//! answer: it is as true as one that LVM gave a moment before the mount.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flexvolume_os::block;
use serde::{Deserialize, Serialize};

use super::create::Ready;
use super::lookup::Found;
use super::name::Place;
use super::node::{MappedUuid, by_uuid};
use super::report::{Group, LogicalVolume};
use super::request::{Layout, LvmRequest};
use super::tags::{Reading, Record, State};

/// No note of ours is longer.
const LIMIT: u64 = 16 << 10;

/// The host calls `mountdevice` as soon as `waitforattach` has answered.
const MOMENT: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
struct Note {
    group: Group,
    volume: LogicalVolume,
}

/// The file that has the note.
fn file(directory: &Path, place: &Place) -> PathBuf {
    directory.join(format!("{}.note", place.mapped()))
}

/// Notes what was found. It is no loss if that fails.
pub(crate) fn write(directory: &Path, place: &Place, found: &Found) {
    let note = Note { group: found.group.clone(), volume: found.volume.clone() };
    let Ok(text) = serde_json::to_vec(&note) else { return };
    let (path, new) = (file(directory, place), file(directory, place).with_extension("new"));
    let _ = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
}

/// What LVM would say about a volume that has just been made in this group.
pub(crate) fn of_new(group: Group, request: &LvmRequest, ready: &Ready) -> Found {
    let (layout, pool) = match &request.layout {
        Layout::Linear => ("linear", ""),
        Layout::Striped(_) => ("striped", ""),
        Layout::Raid1(_) => ("raid1", ""),
        Layout::Thin { pool, .. } => ("thin", pool.as_str()),
    };
    let volume = LogicalVolume {
        name: request.place.lv().to_owned(),
        uuid: ready.node.uuid.of_volume(),
        size: ready.size,
        tags: ready.record.tags().join(","),
        layout: layout.to_owned(),
        pool: pool.to_owned(),
        ..LogicalVolume::default()
    };
    Found { group, volume, record: ready.record.clone() }
}

/// Removes the note, if there is one.
pub(crate) fn forget(directory: &Path, place: &Place) {
    let _ = fs::remove_file(file(directory, place));
}

/// What was noted of a ready volume, if that volume is active now and has the size that it had.
pub(crate) fn read(directory: &Path, place: &Place) -> Option<Found> {
    let path = file(directory, place);
    if fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?.len() > LIMIT {
        return None;
    }
    let Note { group, volume } = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    if volume.name != place.lv() || group.name != place.vg.as_str() {
        return None;
    }
    let Reading::Record(record) = Record::read(&volume.tags) else { return None };
    let node = by_uuid(place, &MappedUuid::of(&group.uuid, &volume.uuid))?;
    let is_usual = node.path == place.device() && !node.is_suspended();
    let same_size = is_usual && block::size(&node.path).is_ok_and(|size| size == volume.size);
    (same_size && matches!(record.state, State::Ready(_))).then_some(Found { group, volume, record: *record })
}

/// What LVM itself has said a moment ago, once. The note is gone then: the next look is one at the group.
pub(crate) fn take_fresh(directory: &Path, place: &Place) -> Option<Found> {
    let written = fs::metadata(file(directory, place)).ok()?.modified().ok()?;
    // A clock that was set back makes it an error, and the note an old one.
    let is_fresh = SystemTime::now().duration_since(written).is_ok_and(|age| age < MOMENT);
    let found = read(directory, place);
    forget(directory, place);
    found.filter(|_| is_fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::name::VgName;
    use crate::lvm::report;

    #[test]
    fn a_note_is_worth_nothing_while_the_volume_is_not_active() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::of(VgName::parse("volumegroup", "vg0").unwrap(), "a").unwrap();
        assert!(read(directory.path(), &place).is_none());
        let text = report::tests::REPORT
            .replace("flexvol.owner=lvm", "flexvol.owner=lvm,flexvol.state=creating,flexvol.made=1:2");
        let report = report::groups(text.as_bytes()).unwrap().remove(0);
        let volume = report.volumes.into_iter().next().unwrap();
        let Reading::Record(record) = Record::read(&volume.tags) else { panic!("{volume:?}") };
        let found = Found { group: report.group, volume, record: *record };
        write(directory.path(), &place, &found);
        let note: Note = serde_json::from_slice(&fs::read(file(directory.path(), &place)).unwrap()).unwrap();
        assert_eq!((note.group, note.volume), (found.group, found.volume));
        assert!(read(directory.path(), &place).is_none());
        assert!(take_fresh(directory.path(), &place).is_none());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        for damaged in ["", "{", "{}", "null"] {
            fs::write(file(directory.path(), &place), damaged).unwrap();
            assert!(read(directory.path(), &place).is_none());
        }
        forget(directory.path(), &place);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
