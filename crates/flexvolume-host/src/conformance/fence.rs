//! A fence around calls that make no sense: a driver that runs `rm -rf "$2"/*` without looking at `$2` must find
//! nothing that it can delete.

use std::path::Path;

use flexvolume_os::System;
use flexvolume_os::mount::MountPoint;
use flexvolume_os::mountinfo::Mount;
use flexvolume_os::namespace;

use super::place::PlaceError;

/// File systems that hold no data. They are made read-only too where that works.
const WITHOUT_DATA: [&str; 18] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// Moves this process, which must have a single thread, into a mount namespace in which every directory but those below
/// `root` is read-only.
///
/// # Errors
/// [`PlaceError`] if a file system that may hold data cannot be made read-only: then nothing may be tried.
pub fn enter_fence(system: &System, root: &Path) -> Result<(), PlaceError> {
    namespace::enter_private_mounts().map_err(PlaceError::Namespace)?;
    let mounter = &system.mounter;
    let table = mounter.table()?;
    for mount in table.mounts().iter().filter(|mount| !mount.mount_point.starts_with(root)) {
        let path = &mount.mount_point;
        let on_top = table.top(path).is_some_and(|top| top.id == mount.id);
        // What is covered cannot be reached, and a file that is mounted upon cannot be deleted.
        if !on_top || read_only(mount) || !path.is_dir() || mounter.mount_point(path)? != MountPoint::Yes {
            continue;
        }
        match mounter.make_read_only(path) {
            Err(_) if WITHOUT_DATA.contains(&mount.fs_type.as_str()) => {}
            other => other?,
        }
    }
    Ok(())
}

fn read_only(mount: &Mount) -> bool {
    mount.options.iter().any(|option| option == "ro")
}
