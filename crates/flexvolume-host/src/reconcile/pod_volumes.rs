//! The volumes of one pod. Most pods have one or two, and there may be thousands of pods: nothing is held in reserve.

use flexvolume::{DriverName, VolumeName};

use super::VolumeKey;
use super::volume::Volume;

/// What names a volume of a pod.
pub(super) type Name = (DriverName, VolumeName);

/// By name.
#[derive(Debug, Default)]
pub(super) struct PodVolumes(Vec<(Name, Volume)>);

impl PodVolumes {
    fn find(&self, key: &VolumeKey) -> Result<usize, usize> {
        self.0.binary_search_by(|((driver, volume), _)| (driver, volume).cmp(&(&key.driver, &key.volume)))
    }

    pub(super) fn get(&self, key: &VolumeKey) -> Option<&Volume> {
        self.find(key).ok().and_then(|at| self.0.get(at)).map(|(_, volume)| volume)
    }

    pub(super) fn get_mut(&mut self, key: &VolumeKey) -> Option<&mut Volume> {
        self.find(key).ok().and_then(|at| self.0.get_mut(at)).map(|(_, volume)| volume)
    }

    /// The volume, made if there is none.
    pub(super) fn entry(&mut self, key: &VolumeKey, make: impl FnOnce() -> Volume) -> &mut Volume {
        let at = self.find(key).unwrap_or_else(|at| {
            self.0.reserve_exact(1);
            self.0.insert(at, ((key.driver.clone(), key.volume.clone()), make()));
            at
        });
        &mut self.0[at].1
    }

    pub(super) fn remove(&mut self, key: &VolumeKey) {
        if let Ok(at) = self.find(key) {
            self.0.remove(at);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &Volume)> {
        self.0.iter().map(|(name, volume)| (name, volume))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use flexvolume::PodUid;

    use super::super::volume::Wish;
    use super::*;

    fn key(driver: &str, volume: &str) -> VolumeKey {
        VolumeKey {
            pod: PodUid::parse("uid").unwrap(),
            driver: DriverName::parse(driver).unwrap(),
            volume: VolumeName::parse(volume).unwrap(),
        }
    }

    #[test]
    fn volumes_are_found_by_driver_and_name_in_order() {
        let mut volumes = PodVolumes::default();
        let keys = [key("b/d", "one"), key("a/d", "two"), key("a/d", "one"), key("b/d", "one")];
        for key in &keys {
            volumes.entry(key, || Volume::new(Wish::Gone, Instant::now()));
        }
        let names: Vec<_> =
            volumes.iter().map(|((driver, volume), _)| format!("{driver} {volume}")).collect();
        assert_eq!(names, ["a/d one", "a/d two", "b/d one"]);
        volumes.remove(&keys[1]);
        volumes.remove(&keys[1]);
        assert!(volumes.get(&keys[1]).is_none() && volumes.get_mut(&keys[2]).is_some());
        volumes.remove(&keys[0]);
        volumes.remove(&keys[2]);
        assert!(volumes.is_empty());
    }
}
