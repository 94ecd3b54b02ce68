//! When nothing of a pod is left: its empty directories and its locks go too.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use flexvolume::PodUid;
use flexvolume_os::lock::Lock;

use super::{LifecycleError, VolumeManager, locks, look, shelf, users};
use crate::paths;

impl VolumeManager {
    /// Removes what is empty and gives the pod's lock up. A directory that cannot be removed because something is
    /// mounted on it, although all volumes are gone, is reported.
    pub(super) fn tidy(&self, pod: &PodUid, lock: Lock) -> Option<LifecycleError> {
        let shelf = shelf::publishes(&self.host.root, pod);
        shelf.remove_directory_if_empty();
        let foreign = remove_pod_dir(&self.host.root, pod);
        if shelf.is_gone() {
            // A wish to keep what could not be mounted would keep what another one mounts later.
            if let Err(error) = users::forget_keep(&self.host, pod) {
                tracing::warn!(%error, "the pod's volumes will stay mounted after their last use");
            }
            users::discard(&self.host, pod);
            locks::discard(lock);
        }
        foreign
    }
}

/// `pods/<uid>/volumes/<driver>`, `pods/<uid>/volumes`, `pods/<uid>`: as far as they are empty. kubelet leaves this to
/// its garbage collection of dead pods.
fn remove_pod_dir(root: &Path, pod: &PodUid) -> Option<LifecycleError> {
    let pod_dir = paths::pod_dir(root, pod);
    let volumes = pod_dir.join("volumes");
    // What lies behind a symlink is not ours, even if it is empty.
    look::refuse_symlinked_parents(root, &volumes.join("any")).ok()?;
    let mut busy = None;
    let mut remove = |directory: &Path| {
        let removed = fs::remove_dir(directory);
        if removed.is_err_and(|error: io::Error| error.kind() == ErrorKind::ResourceBusy) {
            busy = Some(LifecycleError::Foreign { directory: directory.to_owned() });
        }
    };
    for entry in fs::read_dir(&volumes).into_iter().flatten().flatten() {
        // Kubernetes' own plugins keep their directories.
        if !entry.file_name().as_encoded_bytes().starts_with(b"kubernetes.io~") {
            remove(&entry.path());
        }
    }
    remove(&volumes);
    remove(&pod_dir);
    busy
}
