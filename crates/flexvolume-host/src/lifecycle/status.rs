//! What is mounted, by whom, and what is left to undo: records and one look at the mount table.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use flexvolume_os::mountinfo::MountTable;

use super::record::{Device, Publish};
use super::shelf::{self, Inventory};
use super::{LifecycleError, Overview, Phase, VolumeManager, VolumeStatus, look};
use crate::paths;

/// The mount points of one reading of the mount table.
pub(super) struct MountPoints<'a> {
    root: &'a Path,
    real_root: PathBuf,
    points: HashSet<&'a Path>,
}

impl<'a> MountPoints<'a> {
    pub(super) fn new(root: &'a Path, table: &'a MountTable) -> Self {
        let points = table.mounts().iter().map(|mount| mount.mount_point.as_path()).collect();
        Self { root, real_root: look::in_table(root, root), points }
    }

    pub(super) fn holds(&self, place: &Path) -> bool {
        let below = place.strip_prefix(self.root).unwrap_or(place);
        self.points.contains(self.real_root.join(below).as_path())
    }
}

impl VolumeManager {
    pub(super) fn overview(&self) -> Result<Overview, LifecycleError> {
        let root = &self.host.root;
        let table = self.host.system.mounter.table()?;
        let points = MountPoints::new(root, &table);
        let mut overview = Overview::default();
        let Inventory { records, unreadable } = shelf::devices(root).inventory()?;
        overview.volumes.extend(records.into_iter().map(|kept| device_line(kept.record, &points)));
        overview.unreadable.extend(unreadable);
        for of_pod in shelf::all_publishes(root)? {
            let Inventory { records, unreadable } = of_pod?;
            overview.volumes.extend(records.into_iter().map(|kept| publish_line(kept.record, &points)));
            overview.unreadable.extend(unreadable);
        }
        Ok(overview)
    }
}

fn device_line(record: Device, points: &MountPoints<'_>) -> VolumeStatus {
    let path = paths::device_mount_path(points.root, &record.driver, &record.volume);
    VolumeStatus {
        pod: None,
        pod_name: None,
        volume: record.volume,
        driver: record.driver,
        phase: record.phase,
        mounted: points.holds(&path),
        path,
        error: record.error,
        resizing_to: record.growth.wanted,
        to_undo: match record.phase {
            Phase::Attaching | Phase::Attached | Phase::Detaching => vec!["detach"],
            _ => vec!["unmountdevice", "detach"],
        },
    }
}

fn publish_line(record: Publish, points: &MountPoints<'_>) -> VolumeStatus {
    let path = paths::mount_dir(points.root, &record.pod.uid, &record.driver, &record.volume);
    VolumeStatus {
        pod_name: pod_name(&record),
        pod: Some(record.pod.uid),
        volume: record.volume,
        driver: record.driver,
        phase: record.phase,
        mounted: points.holds(&path),
        path,
        error: record.error,
        resizing_to: record.growth.wanted,
        // What the device needs stands in the device's own line.
        to_undo: match record.phase {
            Phase::Attaching | Phase::UnmountingDevice => Vec::new(),
            _ => vec!["unmount"],
        },
    }
}

/// `namespace/name`, unless the record was made from a directory, which knows only the uid.
pub(super) fn pod_name(record: &Publish) -> Option<String> {
    (!record.pod.name.is_empty()).then(|| format!("{}/{}", record.pod.namespace, record.pod.name))
}
