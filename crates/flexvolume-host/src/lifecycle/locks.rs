//! Who may change what: one process at a time for a pod, and for a device.
//!
//! Order: the pod first, then one device, then its driver. A process holds at most one of each, so none can wait in
//! a circle.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use flexvolume::{DriverName, PodUid, VolumeName};
use flexvolume_os::lock::{Lock, LockError};

use super::file_name;
use super::shelf::make_directory;
use crate::{VolumeHost, paths};

/// One process at a time mounts or unmounts for a pod.
pub(super) fn pod(host: &VolumeHost, pod: &PodUid) -> Result<Lock, LockError> {
    exclusive(host, "pods", &file_name::of_pod(pod))
}

/// The pod's lock, if nobody has it.
pub(super) fn pod_if_free(host: &VolumeHost, pod: &PodUid) -> Option<Lock> {
    let file = file_of(host, "pods", &file_name::of_pod(pod));
    in_its_directory(host, &file, || Lock::acquire(&file, std::time::Duration::ZERO)).ok()
}

/// One process at a time works on the device of an attachable volume.
pub(super) fn device(host: &VolumeHost, driver: &DriverName, volume: &VolumeName) -> Result<Lock, LockError> {
    exclusive(host, "volumes", &file_name::of_volume(driver, volume))
}

/// One `attach` or `detach` of a driver at a time: real drivers pick device letters without a lock of their own.
pub(super) fn driver(host: &VolumeHost, driver: &DriverName) -> Result<Lock, LockError> {
    exclusive(host, "drivers", &file_name::of_driver(driver))
}

/// The lock that every user of a pod shares.
pub(super) fn users(host: &VolumeHost, pod: &PodUid) -> Result<Lock, LockError> {
    let file = file_of(host, "users", &file_name::of_pod(pod));
    in_its_directory(host, &file, || Lock::acquire_shared(&file, host.deadlines.lock))
}

/// The lock of a pod's users, if it has none.
pub(super) fn users_if_none(host: &VolumeHost, pod: &PodUid) -> Option<Lock> {
    let file = file_of(host, "users", &file_name::of_pod(pod));
    in_its_directory(host, &file, || Lock::acquire(&file, std::time::Duration::ZERO)).ok()
}

/// The lock of a pod's users, if there has been one and nobody has it.
pub(super) fn users_left(host: &VolumeHost, pod: &PodUid) -> Option<Lock> {
    Lock::acquire_existing(&file_of(host, "users", &file_name::of_pod(pod)))
}

/// Gives a lock up of which nothing is left to guard: its file goes too, if it can.
pub(super) fn discard(lock: Lock) {
    if let Err(error) = lock.discard() {
        tracing::debug!(%error, "a lock file was left");
    }
}

fn exclusive(host: &VolumeHost, kind: &str, name: &str) -> Result<Lock, LockError> {
    let file = file_of(host, kind, name);
    in_its_directory(host, &file, || Lock::acquire(&file, host.deadlines.lock))
}

fn file_of(host: &VolumeHost, kind: &str, name: &str) -> PathBuf {
    directory(&host.root).join(kind).join(name)
}

/// Takes a lock, whose directory is made only when it is found missing.
fn in_its_directory(
    host: &VolumeHost,
    file: &Path,
    take: impl Fn() -> Result<Lock, LockError>,
) -> Result<Lock, LockError> {
    match take() {
        Err(LockError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
            let directory = file.parent().unwrap_or(file);
            make_directory(&host.root, directory)
                .map_err(|source| LockError::File { path: directory.to_owned(), source })?;
            take()
        }
        taken => taken,
    }
}

fn directory(root: &Path) -> PathBuf {
    paths::state_dir(root).join("locks")
}
