//! What a process that died behind its last unmount has left of a pod: empty directories, a lock, the agent's mark.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use flexvolume::PodUid;

use super::users::{self, Keeper};
use super::{Inventory, VolumeManager, file_name, locks};
use crate::paths;

impl VolumeManager {
    /// Removes what is left of pods of which `inventory` has no volume, as far as it is empty and nobody uses it. For an
    /// agent that has not begun anything yet.
    pub fn sweep(&self, inventory: &Inventory) {
        let pods: BTreeSet<&PodUid> = inventory.volumes.iter().map(|known| &known.key.pod).collect();
        let names: BTreeSet<String> = pods.into_iter().map(file_name::of_pod).collect();
        for name in self.remnants().difference(&names) {
            // A name that was too long is no uid any more: its pod's next unmount removes it.
            if let Some(pod) = PodUid::parse(name.clone()).ok().filter(|pod| file_name::of_pod(pod) == *name)
            {
                self.sweep_pod(&pod);
            }
        }
    }

    /// The file names of all pods of which there is something.
    fn remnants(&self) -> BTreeSet<String> {
        let state = paths::state_dir(&self.host.root);
        let places: [PathBuf; 3] = ["publishes", "kept", "locks/pods"].map(|place| state.join(place));
        let entries = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn sweep_pod(&self, pod: &PodUid) {
        // Whoever marks the pod now, or uses it, has a part in this lock.
        let Some(users) = locks::users_if_none(&self.host, pod) else { return };
        if users::keeper(&self.host.root, pod) != Some(Keeper::Person)
            && let Some(lock) = locks::pod_if_free(&self.host, pod)
            && let Some(foreign) = self.tidy(pod, lock)
        {
            tracing::warn!(%pod, %foreign, "something is left of a pod that has no volumes");
        }
        locks::discard(users);
    }
}
