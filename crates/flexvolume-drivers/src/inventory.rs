//! The volumes of a pool as they are found: records, images, and what interrupted calls have left.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flexvolume::{Bytes, Orphan, VolumeDescription, VolumeState};
use flexvolume_os::System;
use flexvolume_os::loop_device::{self, Attached};
use flexvolume_os::mountinfo::MountTable;

use crate::acquaintance;
use crate::error::{Result, at};
use crate::pool::{Pool, Volume, VolumeId, decode};
use crate::record::{self, Record, State};
use crate::request::Allocation;

/// Who looks, and what the machine looks like.
pub(crate) struct View<'a> {
    /// The driver, as it stands in records.
    pub(crate) owner: &'a str,
    /// The driver's own pool, which has no mark.
    pub(crate) own_pool: &'a Path,
    /// Whether the one who looks holds the lock of the volume that is looked at.
    pub(crate) lock: Held,
    attached: Vec<Attached>,
    table: MountTable,
}

/// Whose the lock of a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// That of whoever looks.
    ByUs,
    /// Perhaps another call's, which is then at work on the volume.
    PerhapsByOthers,
}

impl<'a> View<'a> {
    /// Looks at loop devices and mounts once, for any number of volumes.
    pub(crate) fn new((owner, own_pool): (&'a str, &'a Path), lock: Held, system: &System) -> Result<Self> {
        let (attached, table) = (loop_device::list()?, system.mounter.table()?);
        Ok(Self { owner, own_pool, lock, attached, table })
    }

    fn is_idle(&self, volume: &Volume) -> bool {
        self.lock == Held::ByUs || !volume.is_locked()
    }

    /// The loop devices on a file.
    pub(crate) fn attached_to(&self, file: &Metadata) -> impl Iterator<Item = &Attached> {
        let file = (file.dev(), file.ino());
        self.attached.iter().filter(move |attached| attached.file == file)
    }

    fn mounts_of(&self, device: &Path) -> impl Iterator<Item = &Path> {
        let mounts = self.table.mounts().iter().filter(move |mount| mount.source == device);
        mounts.map(|mount| mount.mount_point.as_path())
    }
}

/// The files of one volume, by their names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Files {
    record: Presence,
    image: Presence,
    trash: Presence,
    attempts: BTreeSet<PathBuf>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Presence {
    #[default]
    Absent,
    Present,
}

/// The volumes of a pool, in the order of their names.
pub(crate) fn of_pool(pool: &Pool, view: &View<'_>) -> Result<Vec<VolumeDescription>> {
    let found = files(pool.directory())?;
    let volumes = found.into_iter().flat_map(|(name, files)| match VolumeId::of_file_name(&name) {
        Some(id) => describe(&pool.volume(id), &files, view),
        None => Vec::new(),
    });
    Ok(volumes.collect())
}

/// What there is of one volume: nothing, itself, and what has been left of it.
pub(crate) fn of_volume(volume: &Volume, view: &View<'_>) -> Result<Vec<VolumeDescription>> {
    let mut found = files(volume.pool.directory())?;
    let files = found.remove(volume.id.file_name());
    Ok(files.map(|files| describe(volume, &files, view)).unwrap_or_default())
}

fn files(directory: &Path) -> Result<BTreeMap<String, Files>> {
    let mut found: BTreeMap<String, Files> = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(at("list", directory))? {
        let entry = entry.map_err(at("list", directory))?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if let Some(name) = name.strip_prefix('.') {
            if let Some(name) = name.strip_suffix(".trash") {
                found.entry(name.to_owned()).or_default().trash = Presence::Present;
            } else if let Some(name) = attempt_of(name) {
                found.entry(name.to_owned()).or_default().attempts.insert(entry.path());
            }
        } else if let Some(name) = name.strip_suffix(".json") {
            found.entry(name.to_owned()).or_default().record = Presence::Present;
        } else if let Some(name) = name.strip_suffix(".img") {
            found.entry(name.to_owned()).or_default().image = Presence::Present;
        }
    }
    Ok(found)
}

/// The volume's name in `NAME.img.0a1b2c3d`.
fn attempt_of(name: &str) -> Option<&str> {
    let (name, attempt) = name.rsplit_once('.')?;
    let is_attempt = attempt.len() == 8 && attempt.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.strip_suffix(".img").filter(|_| is_attempt)
}

fn describe(volume: &Volume, files: &Files, view: &View<'_>) -> Vec<VolumeDescription> {
    let mut found = Vec::new();
    let mut claimed = Vec::new();
    if files.record == Presence::Present || files.image == Presence::Present {
        match record::load::<Record>(&volume.record()) {
            Ok(Some(record)) => {
                // These belong to what the record says, and are nothing besides.
                claimed.extend([volume.attempt(&record.uuid), volume.trash()]);
                found.push(recorded(volume, &record, view));
            }
            Ok(None) => found.extend(unrecorded(volume, view)),
            Err(error) => {
                let note = error.to_string();
                found.push(VolumeDescription { note, ..file(volume, &volume.image(), view) });
            }
        }
    }
    let trash = (files.trash == Presence::Present).then(|| volume.trash());
    let left = files.attempts.iter().map(|path| (path.clone(), Orphan::HalfMade));
    let left = left.chain(trash.map(|path| (path, Orphan::HalfRemoved)));
    for (path, reason) in left.filter(|(path, _)| !claimed.contains(path)) {
        let orphan = view.is_idle(volume).then_some(reason);
        found.push(VolumeDescription { orphan, ..file(volume, &path, view) });
    }
    found
}

/// An image that no record tells of; nothing outside of pools, where it can be anybody's.
fn unrecorded(volume: &Volume, view: &View<'_>) -> Option<VolumeDescription> {
    let directory = volume.pool.directory();
    if directory != view.own_pool && !acquaintance::is_marked(directory) {
        return None;
    }
    let note = "has no record beside it".to_owned();
    let orphan = view.is_idle(volume).then_some(Orphan::NoRecord);
    Some(VolumeDescription { orphan, note, ..file(volume, &volume.image(), view) })
}

/// A file of the volume, of which nothing is known but what the file itself says.
fn file(volume: &Volume, path: &Path, view: &View<'_>) -> VolumeDescription {
    let mut description = VolumeDescription {
        id: volume.id.as_str().to_owned(),
        pool: volume.pool.directory().display().to_string(),
        device: path.display().to_string(),
        ..VolumeDescription::default()
    };
    let Ok(metadata) = fs::symlink_metadata(path) else { return description };
    description.size = Some(metadata.len());
    description.used = Some(metadata.blocks().saturating_mul(512));
    description.created = u64::try_from(metadata.mtime()).ok();
    for attached in view.attached_to(&metadata) {
        let device = &attached.device.path;
        description.in_use_by.push(format!("attached as {}", device.display()));
        for mount_point in view.mounts_of(device) {
            description.in_use_by.push(format!("mounted at {}", mount_point.display()));
            description.mounts.push(mount_point.display().to_string());
        }
    }
    description
}

fn recorded(volume: &Volume, record: &Record, view: &View<'_>) -> VolumeDescription {
    let image = volume.image();
    let places = [image.clone(), volume.trash(), volume.attempt(&record.uuid)];
    let place = places.iter().find(|path| path.exists());
    let found = file(volume, place.unwrap_or(&image), view);
    let (state, note, orphan) = standing(volume, record, view);
    let mut notes: Vec<String> = note.into_iter().collect();
    if let Some(filled) = record.filled {
        let filled = Bytes::new(filled).unwrap_or_default();
        notes.push(format!(
            "its file system still has {filled}: the next mount, or `expandfs`, makes it larger"
        ));
    }
    VolumeDescription {
        state,
        kind: record.allocation.as_str().to_owned(),
        size: Some(record.size),
        fs_type: record.fs_type.as_str().to_owned(),
        uuid: record.uuid.clone(),
        owner: record.owner.clone(),
        created: Some(record.created),
        source: record.source.clone().unwrap_or_default(),
        orphan: orphan.filter(|_| record.owner == view.owner),
        note: notes.join("; "),
        options: options(volume, record, view),
        ..found
    }
}

/// Where the volume of a record stands, what there is to say about it, and why it is an orphan.
fn standing(
    volume: &Volume,
    record: &Record,
    view: &View<'_>,
) -> (VolumeState, Option<String>, Option<Orphan>) {
    let note = |text: &str| Some(text.to_owned());
    let idle = |reason| view.is_idle(volume).then_some(reason);
    if record.owner != view.owner {
        return (state(record.state), note("belongs to another driver"), None);
    }
    if record.id != volume.id.as_str() {
        let text = format!("its record describes the volume {:?}", record.id);
        return (VolumeState::Unknown, Some(text), None);
    }
    match record.state {
        State::Creating => (VolumeState::Creating, None, idle(Orphan::HalfMade)),
        State::Removing => (VolumeState::Removing, None, idle(Orphan::HalfRemoved)),
        State::Ready if !volume.image().exists() => {
            (VolumeState::Unknown, note("its image is missing"), Some(Orphan::NoData))
        }
        State::Ready => match record.mount_dir.as_deref().and_then(mount_dir) {
            None => (VolumeState::Ready, None, None),
            Some(mount_dir) => {
                let orphan = is_pod_gone(&mount_dir).then_some(Orphan::PodGone);
                (VolumeState::Ready, Some(format!("made for {}", mount_dir.display())), orphan)
            }
        },
    }
}

fn state(state: State) -> VolumeState {
    match state {
        State::Creating => VolumeState::Creating,
        State::Ready => VolumeState::Ready,
        State::Removing => VolumeState::Removing,
    }
}

/// The mount dir of an ephemeral volume, as its record names it.
pub(crate) fn mount_dir(encoded: &str) -> Option<PathBuf> {
    Some(PathBuf::from(OsString::from_vec(decode(encoded)?)))
}

/// Whether the pod's directory `…/pods/<uid>` is gone, while the one of all pods is there: it might be on a disk that is
/// not mounted.
pub(crate) fn is_pod_gone(mount_dir: &Path) -> bool {
    let Some(pod) = mount_dir.ancestors().nth(3) else { return false };
    let Some(pods) = pod.parent().filter(|pods| pods.file_name().is_some_and(|name| name == "pods")) else {
        return false;
    };
    let gone = |path: &Path| {
        fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    pods.is_dir() && gone(pod) && gone(mount_dir)
}

/// What a manifest says to use the volume.
fn options(volume: &Volume, record: &Record, view: &View<'_>) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut say = |key: &str, value: String| options.insert(key.to_owned(), value);
    say("size", Bytes::new(record.size).unwrap_or_default().to_string());
    if record.allocation != Allocation::Reserved {
        say("allocation", record.allocation.as_str().to_owned());
    }
    if record.mount_dir.is_none() {
        say("volume", record.id.clone());
    }
    if volume.pool.directory() != view.own_pool {
        say("directory", volume.pool.directory().display().to_string());
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_names() {
        let root = tempfile::tempdir().unwrap();
        let names = [
            "a.json",
            "a.img",
            ".a.lock",
            ".a.json.tmp",
            ".a.img.0a1b2c3d",
            ".a.img.0a1b2c3",
            ".b.trash",
            "c.img.img",
            ".flexvol-pool.json",
            "notes",
            ".hidden",
        ];
        for name in names {
            fs::write(root.path().join(name), "").unwrap();
        }
        let found = files(root.path()).unwrap();
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "b", "c.img"]);
        let a = &found["a"];
        assert_eq!((a.record, a.image, a.trash), (Presence::Present, Presence::Present, Presence::Absent));
        assert_eq!(a.attempts.len(), 1);
        assert_eq!(found["b"].trash, Presence::Present);
    }

    #[test]
    fn a_pod_is_gone_only_where_other_pods_could_be() {
        let root = tempfile::tempdir().unwrap();
        let pods = root.path().join("pods");
        let mount_dir = pods.join("uid/volumes/flexvol~loop-ephemeral/data");
        assert!(!is_pod_gone(&mount_dir), "the disk of all pods may be away");
        fs::create_dir(&pods).unwrap();
        assert!(is_pod_gone(&mount_dir));
        fs::create_dir(pods.join("uid")).unwrap();
        assert!(!is_pod_gone(&mount_dir));
        assert!(!is_pod_gone(Path::new("/mnt")));
        assert!(!is_pod_gone(&root.path().join("not-pods/uid/volumes/x/data")));
    }
}
