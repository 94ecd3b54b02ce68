//! What there is of all pods: records, directories without a record, devices that name a pod. For a host that has just
//! started and remembers nothing. No driver is called, nothing is changed, and no file system that could hang is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use flexvolume::{DriverName, PodUid, VolumeName};
use serde::Serialize;

use super::look;
use super::reconstruct::directories;
use super::record::{Device, Found, Publish, Spec};
use super::shelf;
use super::status::{MountPoints, pod_name};
use super::users::{self, Keeper};
use super::{LifecycleError, Phase, UnreadableRecord, VolumeManager};
use crate::paths;
use crate::spec::VolumeSpec;

/// A volume of one pod, by what names its mount dir.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct VolumeKey {
    /// The pod.
    pub pod: PodUid,
    /// The driver.
    pub driver: DriverName,
    /// The volume.
    pub volume: VolumeName,
}

/// How far a volume is, by its record and the mount table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The pod has it: a mount, since this boot.
    Mounted,
    /// The pod has it; its driver mounts nothing but fills the directory, or leaves a link.
    Filled,
    /// Something was begun, or was lost: it must be mounted again or unmounted.
    Unclear,
}

/// A volume that there is something of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Which one.
    pub key: VolumeKey,
    /// `namespace/name` of the pod, when a record knows it.
    pub pod_name: Option<String>,
    /// How far it is.
    pub standing: Standing,
    /// The volume as it was described when it was mounted.
    pub spec: Option<VolumeSpec>,
    /// The size in bytes of the last resize that came to its end.
    pub resized: Option<u64>,
    /// Who asked for the pod's volumes to stay.
    pub keeper: Option<Keeper>,
    /// Why the last call failed, if it did.
    pub error: Option<String>,
}

/// What there is.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The volumes of all pods.
    pub volumes: Vec<Known>,
    /// Records that cannot be used. They are never deleted.
    pub unreadable: Vec<UnreadableRecord>,
}

/// What was found so far.
struct Finds<'a> {
    root: &'a Path,
    boot: &'a str,
    points: MountPoints<'a>,
    inventory: Inventory,
    keepers: BTreeMap<PodUid, Option<Keeper>>,
}

impl VolumeManager {
    /// All volumes that there is something of.
    ///
    /// # Errors
    /// [`LifecycleError`] when records or mount table cannot be read: then nothing is known, and nothing may be undone.
    pub fn inventory(&self) -> Result<Inventory, LifecycleError> {
        let root = &self.host.root;
        let table = self.host.system.mounter.table()?;
        let points = MountPoints::new(root, &table);
        let (inventory, keepers) = (Inventory::default(), BTreeMap::new());
        let mut finds = Finds { root, boot: &self.boot, points, inventory, keepers };
        finds.add_records()?;
        finds.add_directories();
        finds.add_devices()?;
        Ok(finds.inventory)
    }

    /// The volumes at whose mount dirs something is mounted, from one look at the mount table, whoever mounted it.
    ///
    /// # Errors
    /// [`LifecycleError`] when the mount table cannot be read.
    pub fn mounted_volumes(&self) -> Result<BTreeSet<VolumeKey>, LifecycleError> {
        let table = self.host.system.mounter.table()?;
        let pods = look::in_table(&self.host.root, &self.host.root.join("pods"));
        let points = table.mounts().iter().filter_map(|mount| mount.mount_point.strip_prefix(&pods).ok());
        Ok(points.filter_map(key_of).collect())
    }

    /// Whether something is mounted at the mount dir of the volume, without a look at the whole table.
    #[must_use]
    pub fn is_mounted_now(&self, key: &VolumeKey) -> bool {
        self.is_mounted(&key.pod, &key.driver, &key.volume)
    }
}

/// The volume whose mount dir this is, below `pods/`.
fn key_of(below: &Path) -> Option<VolumeKey> {
    let mut parts = below.iter().map(OsStr::to_str);
    let (pod, volumes, driver, volume) = (parts.next()??, parts.next()??, parts.next()??, parts.next()??);
    if volumes != "volumes" || parts.next().is_some() {
        return None;
    }
    Some(VolumeKey {
        pod: PodUid::parse(pod).ok()?,
        driver: DriverName::from_directory(driver).ok()?,
        volume: VolumeName::parse(volume).ok()?,
    })
}

impl Finds<'_> {
    fn add_records(&mut self) -> Result<(), LifecycleError> {
        for of_pod in shelf::all_publishes(self.root)? {
            let shelf::Inventory { records, unreadable } = of_pod?;
            self.inventory.unreadable.extend(unreadable);
            for kept in records {
                let known = self.of_record(kept.record);
                self.inventory.volumes.push(known);
            }
        }
        Ok(())
    }

    fn of_record(&mut self, record: Publish) -> Known {
        let Publish { pod, driver, volume, .. } = &record;
        let key = VolumeKey { pod: pod.uid.clone(), driver: driver.clone(), volume: volume.clone() };
        Known {
            pod_name: pod_name(&record),
            standing: self.standing(&record, &key),
            spec: record.spec.as_ref().map(Spec::to_volume),
            resized: record.growth.done,
            keeper: self.keeper(&key.pod),
            error: record.error,
            key,
        }
    }

    fn standing(&self, record: &Publish, key: &VolumeKey) -> Standing {
        if record.phase != Phase::Mounted || record.boot != self.boot {
            return Standing::Unclear;
        }
        let place = paths::mount_dir(self.root, &key.pod, &key.driver, &key.volume);
        match record.found {
            Found::Mount if self.points.holds(&place) => Standing::Mounted,
            Found::Directory | Found::Symlink if fs::symlink_metadata(&place).is_ok() => Standing::Filled,
            _ => Standing::Unclear,
        }
    }

    /// `<root>/pods/*/volumes/*/*` of which there is no record.
    fn add_directories(&mut self) {
        let known: BTreeSet<_> = self.inventory.volumes.iter().map(|known| known.key.clone()).collect();
        let listing = fs::read_dir(self.root.join("pods")).into_iter().flatten().flatten();
        let uids = listing.filter_map(|entry| PodUid::parse(entry.file_name().into_string().ok()?).ok());
        for pod in uids.collect::<BTreeSet<_>>() {
            for (driver, volume) in directories(self.root, &pod) {
                let key = VolumeKey { pod: pod.clone(), driver, volume };
                if !known.contains(&key) {
                    self.add_unclear(key, None);
                }
            }
        }
    }

    /// Devices that name a pod of which nothing else is left.
    fn add_devices(&mut self) -> Result<(), LifecycleError> {
        let pods: BTreeSet<_> = self.inventory.volumes.iter().map(|known| known.key.pod.clone()).collect();
        for kept in shelf::devices(self.root).inventory()?.records {
            let Device { driver, volume, pods: users, error, .. } = kept.record;
            for pod in users.into_iter().filter(|pod| !pods.contains(pod)) {
                let key = VolumeKey { pod, driver: driver.clone(), volume: volume.clone() };
                self.add_unclear(key, error.clone());
            }
        }
        Ok(())
    }

    fn add_unclear(&mut self, key: VolumeKey, error: Option<String>) {
        let keeper = self.keeper(&key.pod);
        let (pod_name, spec, resized) = (None, None, None);
        self.inventory.volumes.push(Known {
            key,
            pod_name,
            standing: Standing::Unclear,
            spec,
            resized,
            keeper,
            error,
        });
    }

    fn keeper(&mut self, pod: &PodUid) -> Option<Keeper> {
        if let Some(known) = self.keepers.get(pod) {
            return *known;
        }
        let keeper = users::keeper(self.root, pod);
        self.keepers.insert(pod.clone(), keeper);
        keeper
    }
}
