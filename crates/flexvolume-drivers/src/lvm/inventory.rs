//! The volumes of a group as they are found.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flexvolume::{Orphan, VolumeDescription, VolumeState};
use flexvolume_os::System;

use super::error::Result;
use super::locks::Locks;
use super::mount::mapped_sources;
use super::name::{Place, VgName};
use super::node::{self, MappedUuid, Node};
use super::pool::hundredths;
use super::report::{Group, LogicalVolume};
use super::tags::{Owner, Reading, Record, State};
use crate::device;
use crate::inventory::{Held, is_pod_gone};
use crate::pool::short_name;

/// Who looks, and what the machine looks like.
pub(crate) struct View<'a> {
    owner: Owner,
    /// Whose the lock of a volume is that is looked at.
    lock: Held,
    locks: &'a Locks,
    /// The active devices.
    nodes: Vec<Node>,
    /// Where device numbers are mounted.
    mounts: Vec<(u64, PathBuf)>,
    /// The mount dirs of ephemeral volumes.
    mount_dirs: Vec<PathBuf>,
}

impl<'a> View<'a> {
    /// Looks at devices and mounts once, for any number of volumes.
    pub(crate) fn new(
        (owner, lock): (Owner, Held),
        locks: &'a Locks,
        mount_dirs: Vec<PathBuf>,
        system: &System,
    ) -> Result<Self> {
        let mounts = mapped_sources(&*system.mounter)?;
        Ok(Self { owner, lock, locks, nodes: node::all(), mounts, mount_dirs })
    }

    fn node(&self, group: &Group, volume: &LogicalVolume) -> Option<&Node> {
        let uuid = MappedUuid::of(&group.uuid, &volume.uuid);
        self.nodes.iter().find(|node| node.uuid == uuid)
    }

    fn mounts_of(&self, node: &Node) -> Vec<String> {
        let Ok(number) = fs::metadata(&node.path).map(|metadata| metadata.rdev()) else { return Vec::new() };
        let here = self.mounts.iter().filter(|(source, _)| *source == number);
        here.map(|(_, point)| point.display().to_string()).collect()
    }

    /// Whether no other call is at work on the volume.
    fn is_idle(&self, place: &Place) -> bool {
        self.lock == Held::ByUs || !self.locks.is_held(&place.mapped())
    }

    /// The mount dir of an ephemeral volume, as the claim of it has it.
    pub(crate) fn mount_dir(&self, record: &Record) -> Option<&Path> {
        let short = record.mount_dir.as_deref()?;
        self.mount_dirs.iter().find(|mount_dir| short_name(mount_dir) == short).map(PathBuf::as_path)
    }
}

/// What is known of one volume.
pub(crate) fn describe(group: &Group, volume: &LogicalVolume, view: &View<'_>) -> VolumeDescription {
    let node = view.node(group, volume);
    let mounts = node.map(|node| view.mounts_of(node)).unwrap_or_default();
    let pool =
        if volume.pool.is_empty() { group.name.clone() } else { format!("{}/{}", group.name, volume.pool) };
    let description = VolumeDescription {
        id: volume.name.clone(),
        pool,
        kind: kind(volume),
        size: Some(volume.size),
        used: used(volume),
        in_use_by: in_use_by(node, &mounts),
        device: node.map(|node| node.path.display().to_string()).unwrap_or_default(),
        mounts,
        ..VolumeDescription::default()
    };
    match Record::read(&volume.tags) {
        Reading::Record(record) => recorded(description, (group, volume), &record, view),
        Reading::Foreign => VolumeDescription { note: "has no tag of ours".to_owned(), ..description },
        Reading::Damaged(why) => {
            VolumeDescription { note: format!("its tags make no sense: {why}"), ..description }
        }
    }
}

fn recorded(
    found: VolumeDescription,
    (group, volume): (&Group, &LogicalVolume),
    record: &Record,
    view: &View<'_>,
) -> VolumeDescription {
    let (state, mut notes, orphan) = standing(group, record, view);
    let (fs_type, uuid) = match &record.state {
        State::Ready(contents) => (contents.fs_type.as_str().to_owned(), contents.uuid.clone()),
        State::Creating | State::Removing => Default::default(),
    };
    if let Some(size) = record.grow {
        notes.push(format!(
            "its file system shall grow to {size} bytes: the next mount, or `expandfs`, does it"
        ));
    }
    if let Some(done) = record.erased {
        notes.push(format!("{done} bytes are erased"));
    }
    if !volume.health.is_empty() {
        notes.push(format!("LVM says that it is {}", volume.health));
    }
    VolumeDescription {
        id: record.id.clone(),
        state,
        fs_type,
        uuid,
        owner: record.owner.clone(),
        created: Some(record.made),
        source: record.source.clone().unwrap_or_default(),
        orphan: orphan.filter(|_| record.owner == view.owner.as_str()),
        note: notes.join("; "),
        options: options(group, volume, record),
        ..found
    }
}

/// Where the volume of a record stands, what there is to say about it, and why it is an orphan.
fn standing(group: &Group, record: &Record, view: &View<'_>) -> (VolumeState, Vec<String>, Option<Orphan>) {
    let idle = || {
        let place = VgName::parse("volumegroup", &group.name).and_then(|vg| Place::of(vg, &record.id));
        place.is_ok_and(|place| view.is_idle(&place))
    };
    match &record.state {
        State::Creating => (VolumeState::Creating, Vec::new(), idle().then_some(Orphan::HalfMade)),
        State::Removing => (VolumeState::Removing, Vec::new(), idle().then_some(Orphan::HalfRemoved)),
        State::Ready(_) => match (view.mount_dir(record), &record.mount_dir) {
            (Some(mount_dir), _) => {
                let orphan = is_pod_gone(mount_dir).then_some(Orphan::PodGone);
                (VolumeState::Ready, vec![format!("made for {}", mount_dir.display())], orphan)
            }
            (None, Some(_)) => {
                (VolumeState::Ready, vec!["its mount dir is not known any more".to_owned()], None)
            }
            (None, None) => (VolumeState::Ready, Vec::new(), None),
        },
    }
}

/// The layout in the word of the options.
fn kind(volume: &LogicalVolume) -> String {
    let words: Vec<_> = volume.layout.split(',').collect();
    let known = ["raid1", "striped", "thin", "linear"].into_iter().find(|word| words.contains(word));
    known.map_or_else(|| volume.layout.clone(), str::to_owned)
}

/// Bytes that it takes in its pool.
fn used(volume: &LogicalVolume) -> Option<u64> {
    if volume.pool.is_empty() {
        return Some(volume.size);
    }
    let share = hundredths(&volume.data_percent)?;
    u64::try_from(u128::from(volume.size) * u128::from(share) / 10_000).ok()
}

fn in_use_by(node: Option<&Node>, mounts: &[String]) -> Vec<String> {
    let Some(node) = node else { return Vec::new() };
    let mut users: Vec<_> = mounts.iter().map(|point| format!("mounted at {point}")).collect();
    let claimed = || {
        device::claim(&node.path).err().and_then(|error| rustix::io::Errno::from_io_error(&error))
            == Some(rustix::io::Errno::BUSY)
    };
    if users.is_empty() && !node.is_suspended() && claimed() {
        users.push("in use elsewhere (another mount namespace, or a device on top of it)".to_owned());
    }
    users
}

/// What a manifest says to mean this volume.
fn options(group: &Group, volume: &LogicalVolume, record: &Record) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut say = |key: &str, value: String| options.insert(key.to_owned(), value);
    say("volumegroup", group.name.clone());
    say("size", volume.size.to_string());
    if record.owner == Owner::Lvm.as_str() {
        say("volumeID", record.id.clone());
    }
    match kind(volume).as_str() {
        "linear" => {}
        "thin" => {
            say("pool", volume.pool.clone());
        }
        other => {
            say("layout", other.to_owned());
        }
    }
    options
}
