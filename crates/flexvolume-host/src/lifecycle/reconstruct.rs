//! Volumes whose records are lost, found again by kubelet's directory layout
//! (Kubernetes v1.37 `pkg/kubelet/volumemanager/reconciler/reconstruct.go`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use flexvolume::{DriverName, PodUid, VolumeName};

use super::failure::{Failure, at};
use super::look::{Seen, look};
use super::record::{Device, Found, Growth, PodRecord, Publish};
use super::shelf::{self, Kept};
use super::{Phase, VolumeManager};
use crate::paths;
use crate::spec::FsGroupChangePolicy;

/// A volume of a pod, by its directory.
pub(super) type Place = (DriverName, VolumeName);

/// What else there is of a pod.
#[derive(Default)]
pub(super) struct Finds {
    /// Records made anew.
    pub(super) volumes: Vec<Kept<Publish>>,
    /// Directories whose driver is missing.
    pub(super) failures: Vec<(VolumeName, Failure)>,
}

impl VolumeManager {
    /// The volumes of `pod` that are not in `known`: directories without a record, and devices that name the pod.
    pub(super) fn rediscover(&self, pod: &PodUid, known: &BTreeSet<Place>) -> Finds {
        let shelf = shelf::publishes(&self.host.root, pod);
        let mut finds = Finds::default();
        for (driver, volume) in directories(&self.host.root, pod) {
            if known.contains(&(driver.clone(), volume.clone())) {
                continue;
            }
            match self.registry.find_by_name(&driver) {
                Ok(plugin) => {
                    let device = plugin.attachable().and_then(|_| self.device_below(pod, &driver, &volume));
                    finds.volumes.push(shelf.new_record(self.made_anew((driver, volume), pod, device)));
                }
                Err(error) if self.is_mounted(pod, &driver, &volume) => {
                    finds.failures.push((volume, at("find the driver")(error)));
                }
                // Nothing is mounted and nobody knows whose it is: it stays as it is.
                Err(_) => {}
            }
        }
        if known.is_empty() && finds.volumes.is_empty() {
            finds.volumes = self.devices_of(pod);
        }
        finds
    }

    /// The device that the volume most likely stands on.
    fn device_below(&self, pod: &PodUid, driver: &DriverName, volume: &VolumeName) -> Option<VolumeName> {
        let keyed = VolumeName::parse(format!("{pod}-{volume}")).ok();
        let candidates: Vec<_> = keyed.into_iter().chain([volume.clone()]).collect();
        let shelf = shelf::devices(&self.host.root);
        let record_of = |name: &VolumeName| shelf.read(driver, name).ok().flatten();
        let holds = |name: &&VolumeName| record_of(name).is_some_and(|kept| kept.record.pods.contains(pod));
        let exists = |name: &&VolumeName| {
            let place = paths::device_mount_path(&self.host.root, driver, name);
            look(&*self.host.system.mounter, &place).is_ok_and(|seen| seen != Seen::Absent)
        };
        candidates.iter().find(holds).or_else(|| candidates.iter().find(exists)).cloned()
    }

    /// Whether something is mounted at the mount dir of a volume, by a look at that place alone.
    pub(super) fn is_mounted(&self, pod: &PodUid, driver: &DriverName, volume: &VolumeName) -> bool {
        let place = paths::mount_dir(&self.host.root, pod, driver, volume);
        matches!(self.look(&place), Ok(Seen::Mounted | Seen::Dead))
    }

    /// Devices that name the pod, although nothing else of it is left.
    fn devices_of(&self, pod: &PodUid) -> Vec<Kept<Publish>> {
        let Ok(inventory) = shelf::devices(&self.host.root).inventory() else { return Vec::new() };
        let shelf = shelf::publishes(&self.host.root, pod);
        let held = inventory.records.into_iter().filter(|kept| kept.record.pods.contains(pod));
        let released = |kept: Kept<Device>| {
            let Device { driver, volume, .. } = kept.record;
            let record = self.made_anew((driver, volume.clone()), pod, Some(volume));
            shelf.new_record(Publish { phase: Phase::UnmountingDevice, ..record })
        };
        held.map(released).collect()
    }

    fn made_anew(&self, (driver, volume): Place, pod: &PodUid, device: Option<VolumeName>) -> Publish {
        Publish {
            pod_volume: volume.as_str().to_owned(),
            driver,
            volume,
            spec: None,
            pod: PodRecord {
                uid: pod.clone(),
                name: String::new(),
                namespace: String::new(),
                service_account: String::new(),
            },
            position: 0,
            fs_group: None,
            fs_group_change_policy: FsGroupChangePolicy::default(),
            device,
            phase: Phase::Mounted,
            found: Found::Directory,
            boot: self.boot.clone(),
            error: None,
            growth: Growth::default(),
        }
    }
}

/// `<root>/pods/<uid>/volumes/*/*`: real directories with possible names that are not Kubernetes' own plugins'.
pub(super) fn directories(root: &Path, pod: &PodUid) -> Vec<Place> {
    let mut places = Vec::new();
    for (parent, drivers_directory) in real_directories(&paths::pod_dir(root, pod).join("volumes")) {
        if drivers_directory.starts_with("kubernetes.io~") {
            continue;
        }
        let Ok(driver) = DriverName::from_directory(&drivers_directory) else { continue };
        for (_, name) in real_directories(&parent) {
            if let Ok(volume) = VolumeName::parse(name) {
                places.push((driver.clone(), volume));
            }
        }
    }
    places
}

/// The entries that the directory itself calls directories: a dead mount cannot be asked.
fn real_directories(directory: &Path) -> Vec<(std::path::PathBuf, String)> {
    let Ok(listing) = fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<_> = listing
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)))
        .collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_directories_with_possible_names_count() {
        let root = tempfile::tempdir().unwrap();
        let volumes = root.path().join("pods/uid/volumes");
        for directory in
            ["example.com~loop/data", "example.com~loop/a b", "kubernetes.io~secret/token", "~/x", "-~-/x"]
        {
            fs::create_dir_all(volumes.join(directory)).unwrap();
        }
        fs::write(volumes.join("example.com~loop/vol.json"), b"{}").unwrap();
        std::os::unix::fs::symlink("/etc", volumes.join("example.com~loop/link")).unwrap();
        std::os::unix::fs::symlink("/etc", volumes.join("example.com~link")).unwrap();
        let found = directories(root.path(), &PodUid::parse("uid").unwrap());
        let found: Vec<_> = found.iter().map(|(driver, volume)| format!("{driver}: {volume}")).collect();
        assert_eq!(found, ["example.com/loop: a b", "example.com/loop: data"]);
    }

    #[test]
    fn a_pod_without_directories_has_none() {
        let root = tempfile::tempdir().unwrap();
        assert!(directories(root.path(), &PodUid::parse("uid").unwrap()).is_empty());
    }
}
