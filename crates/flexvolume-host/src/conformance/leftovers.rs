//! What is left when a volume's life is over.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume_os::System;
use flexvolume_os::loop_device;
use flexvolume_os::mount::MountError;
use flexvolume_os::mountinfo::Mount;

use super::life::is_held;
use super::processes;
use super::stage::{Outcome, Stop, TEMPORARY, Trial, WORKING_DIRECTORY};

/// How long what is on its way out may take: a FUSE program ends a moment after its mount.
const PATIENCE: Duration = Duration::from_secs(2);

/// The machine before a check.
#[derive(Debug)]
pub(super) struct Before {
    mounts: BTreeSet<u32>,
    loop_devices: BTreeSet<(PathBuf, PathBuf)>,
}

impl Before {
    /// Looks at the machine.
    pub(super) fn look(system: &System) -> Result<Self, MountError> {
        let mounts = system.mounter.table()?.mounts().iter().map(|mount| mount.id).collect();
        Ok(Self { mounts, loop_devices: loop_devices_now() })
    }

    fn new_mounts(&self, system: &System) -> Result<Vec<Mount>, MountError> {
        let table = system.mounter.table()?;
        Ok(table.mounts().iter().filter(|mount| !self.mounts.contains(&mount.id)).cloned().collect())
    }

    fn new_loop_devices(&self, root: &Path) -> Vec<(PathBuf, PathBuf)> {
        loop_devices_now()
            .difference(&self.loop_devices)
            .filter(|(device, backing)| {
                backing.starts_with(root) || is_behind_the_fence(device, backing, root)
            })
            .cloned()
            .collect()
    }

    /// Takes away, as well as it can be done, what a check left: processes, mounts of this namespace, loop devices
    /// over files of its world.
    pub(super) fn restore(&self, system: &System, root: &Path) {
        processes::end_strays();
        for mount in self.new_mounts(system).unwrap_or_default().iter().rev() {
            // Whatever fails here goes with the namespace.
            let _ = system
                .mounter
                .unmount(&mount.mount_point)
                .or_else(|_| system.mounter.unmount_lazy(&mount.mount_point));
        }
        for (device, _) in self.new_loop_devices(root) {
            let _ = loop_device::detach(&device);
        }
    }
}

/// A file of the world at `root` whose loop device was made behind the fence: the kernel names it as it was seen there,
/// from the top of the world.
fn is_behind_the_fence(device: &Path, backing: &Path, root: &Path) -> bool {
    let file = root.join(backing.strip_prefix("/").unwrap_or(backing));
    loop_device::find(&file).is_ok_and(|found| found.iter().any(|status| status.path == device))
}

/// Every loop device in use, with its backing file.
pub(super) fn loop_devices_now() -> BTreeSet<(PathBuf, PathBuf)> {
    let Ok(entries) = fs::read_dir("/sys/block") else { return BTreeSet::new() };
    let in_use = |entry: fs::DirEntry| {
        let mut backing = fs::read(entry.path().join("loop/backing_file")).ok()?;
        if backing.ends_with(b"\n") {
            backing.pop();
        }
        let backing = PathBuf::from(std::ffi::OsString::from_vec(backing));
        Some((Path::new("/dev").join(entry.file_name()), backing))
    };
    entries.flatten().filter_map(in_use).collect()
}

fn live(trial: &mut Trial<'_>, suffix: &str) -> Outcome {
    let volume = trial.volume(suffix)?;
    trial.up(&volume)?;
    trial.use_volume(&volume)?;
    trial.down(&volume)?;
    Ok(())
}

pub(super) fn output_held(trial: &mut Trial<'_>) -> Outcome {
    live(trial, "held")?;
    for answer in std::mem::take(&mut trial.answers) {
        let fix = "start what stays with `>/dev/null 2>&1 </dev/null`";
        let happened = "a process that it left holds them";
        trial.expect(!is_held(&answer), [&answer.call, "its output is closed when it exits", happened, fix]);
    }
    Ok(())
}

pub(super) fn processes(trial: &mut Trial<'_>) -> Outcome {
    if !processes::can_look() {
        return Err(Stop::Undecided("the kernel keeps no lists of children in /proc".to_owned()));
    }
    live(trial, "processes")?;
    for stray in processes::strays(PATIENCE) {
        let happened = format!("{:?} still runs, as process {}", stray.name, stray.pid);
        let fix = "end at `unmount` or `detach` what was started for the volume, and wait for it";
        trial.found(["a volume's whole life", "no process of the driver", &happened, fix]);
    }
    Ok(())
}

pub(super) fn mounts(trial: &mut Trial<'_>) -> Outcome {
    live(trial, "mounts")?;
    for mount in trial.before.new_mounts(trial.system)? {
        let happened = format!("{} ({}) is mounted", mount.mount_point.display(), mount.fs_type);
        let fix = "undo in `unmount`, `unmountdevice` and `detach` all that their counterparts mounted";
        trial.found(["a volume's whole life", "no new mount", &happened, fix]);
    }
    Ok(())
}

pub(super) fn loop_devices(trial: &mut Trial<'_>) -> Outcome {
    live(trial, "loop-devices")?;
    for (device, backing) in trial.before.new_loop_devices(&trial.root) {
        let happened = format!("{} is still attached to {}", device.display(), backing.display());
        let fix = "detach it in `unmountdevice` or `unmount`, or let the kernel do it (`losetup` with autoclear, `mount -o loop`)";
        trial.found(["a volume's whole life", "no loop device", &happened, fix]);
    }
    Ok(())
}

pub(super) fn files(trial: &mut Trial<'_>) -> Outcome {
    let volume = trial.volume("files")?;
    live(trial, "files")?;
    let mut places = vec![trial.root.join(WORKING_DIRECTORY), trial.root.join(TEMPORARY)];
    places.extend(
        [&volume.mount_dir, &volume.device_mount_path]
            .iter()
            .filter_map(|path| path.parent())
            .map(PathBuf::from),
    );
    for place in places {
        let Ok(entries) = fs::read_dir(&place) else { continue };
        for entry in entries.flatten().filter(|entry| entry.path() != volume.mount_dir) {
            let happened = format!("{} is left", entry.path().display());
            let fix = "remove temporary files, and keep what must stay in a directory of your own";
            trial.found(["a volume's whole life", "nothing left there", &happened, fix]);
        }
    }
    Ok(())
}
