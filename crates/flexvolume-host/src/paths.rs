//! kubelet's directory layout below a root, as pure functions.
//!
//! Real drivers parse these paths (Kubernetes v1.37 `pkg/kubelet/kubelet_getters.go`, `pkg/volume/flexvolume/util.go`).

use std::path::{Path, PathBuf};

use flexvolume::{DriverName, PodUid, VolumeName};

/// `<root>/pods/<uid>`.
#[must_use]
pub fn pod_dir(root: &Path, pod: &PodUid) -> PathBuf {
    root.join("pods").join(pod.as_str())
}

/// `<root>/pods/<uid>/volumes/<vendor~driver>/<name>`: the mount dir.
#[must_use]
pub fn mount_dir(root: &Path, pod: &PodUid, driver: &DriverName, volume: &VolumeName) -> PathBuf {
    pod_dir(root, pod).join("volumes").join(driver.directory()).join(volume.as_str())
}

/// `<root>/plugins/kubernetes.io/flexvolume/<vendor>/<driver>/mounts/<name>`: the device mount path.
#[must_use]
pub fn device_mount_path(root: &Path, driver: &DriverName, volume: &VolumeName) -> PathBuf {
    root.join("plugins/kubernetes.io/flexvolume").join(driver.as_str()).join("mounts").join(volume.as_str())
}

/// `<root>/flexvol`: our own records and locks.
#[must_use]
pub fn state_dir(root: &Path) -> PathBuf {
    root.join("flexvol")
}
