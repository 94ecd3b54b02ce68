//! The mount dir in all its states.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use flexvolume::Call;

use super::answer::Meaning;
use super::stage::{Outcome, Stop, Trial};
use super::volume::{Volume, make_dir};

pub(super) fn dir_emptied(trial: &mut Trial<'_>) -> Outcome {
    let volume = trial.volume("emptied")?;
    trial.up(&volume)?;
    trial.use_volume(&volume)?;
    trial.call(&volume.unmount());
    if trial.is_mounted(&volume.mount_dir)? {
        // The host's own default, or the driver's failure, which is for another check.
        trial.down(&volume)?;
        return Ok(());
    }
    let left = match fs::read_dir(&volume.mount_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
        Ok(entries) => entries.count(),
    };
    let happened = format!("{left} entries are left in it");
    let fix =
        "unmount with `unmount`, or remove at `unmount` what the volume holds if it is for one pod only";
    trial.expect(left == 0, ["mount, write a file, unmount", "an empty mount dir, or none", &happened, fix]);
    // What it says to an unmount of nothing is for another check.
    let _ = trial.down(&volume);
    Ok(())
}

pub(super) fn unmount_of_nothing(trial: &mut Trial<'_>) -> Outcome {
    let volume = trial.volume("nothing")?;
    make_dir(&volume.mount_dir)?;
    let mut calls = vec![volume.unmount()];
    if trial.capabilities().attach {
        make_dir(&volume.device_mount_path)?;
        calls.extend([volume.unmount_device(), volume.detach()]);
    }
    for call in &calls {
        succeeds(trial, call, "without anything there");
    }
    Ok(())
}

fn succeeds(trial: &mut Trial<'_>, call: &Call, when: &str) {
    let answer = trial.call(call);
    if let Meaning::Failed { why, .. } = trial.meaning(&answer) {
        let done = format!("{} {when}", answer.call);
        let fix = "take it for done when there is nothing to undo (`mountpoint -q \"$1\" || success`)";
        trial.found([&done, "Success, or Not supported", &why, fix]);
    }
}

pub(super) fn dir_missing(trial: &mut Trial<'_>) -> Outcome {
    let volume = trial.volume("missing")?;
    trial.up(&volume)?;
    trial.down(&volume)?;
    trial.up(&volume)?;
    trial.call(&volume.unmount());
    while trial.is_mounted(&volume.mount_dir)? {
        trial.system.mounter.unmount(&volume.mount_dir)?;
    }
    // Only if it is empty; what a driver leaves there is for another check.
    let _ = fs::remove_dir(&volume.mount_dir);
    if !volume.mount_dir.exists() {
        succeeds(trial, &volume.unmount(), "of a directory that is gone");
        mount_into_nothing(trial, &volume)?;
    }
    let _ = trial.down(&volume);
    Ok(())
}

fn mount_into_nothing(trial: &mut Trial<'_>, volume: &Volume) -> Outcome {
    let answer = trial.call(&volume.mount());
    let there = volume.mount_dir.is_dir();
    if trial.meaning(&answer).is_success() && !there {
        let done = format!("{} while the directory is missing", answer.call);
        let fix = "make the directory, or fail";
        trial.found([&done, "a mount, or Failure", "Success, and no directory", fix]);
    }
    Ok(())
}

pub(super) fn dir_symlink(trial: &mut Trial<'_>) -> Outcome {
    let volume = trial.volume("symlink")?;
    // What comes before is made as usual, and shows the calls with the devices in them.
    trial.up(&volume)?;
    trial.down(&volume)?;
    behind_a_symlink(trial, &volume.mount_dir, [volume.mount(), volume.unmount()])?;
    if let Some(mount_device) = trial.mount_device_call() {
        behind_a_symlink(trial, &volume.device_mount_path, [mount_device, volume.unmount_device()])?;
    }
    // Only to leave things in order.
    let _ = trial.down(&volume);
    Ok(())
}

fn behind_a_symlink(trial: &mut Trial<'_>, link: &Path, calls: [Call; 2]) -> Outcome {
    let victim = trial.root.join("victim");
    let precious = victim.join("precious");
    make_dir(&victim)?;
    fs::write(&precious, "precious")?;
    if let Some(parent) = link.parent() {
        make_dir(parent)?;
    }
    let _ = fs::remove_dir(link);
    symlink(&victim, link)?;
    for call in calls {
        let answer = trial.call(&call);
        let kept = fs::read_to_string(&precious).is_ok_and(|text| text == "precious");
        let mounted = trial.is_mounted(&victim)?;
        let done = format!("{}, which is a symlink to a directory", answer.call);
        let happened =
            format!("mounted there: {mounted}; its file still there: {kept}; {}", answer.printed());
        let fix = "refuse a mount dir that is a symlink (`[ -L \"$2\" ]`), and unmount with `umount --no-canonicalize`";
        trial.expect(kept && !mounted, [&done, "nothing done to that directory", &happened, fix]);
        while trial.is_mounted(&victim)? {
            trial.system.mounter.unmount(&victim)?;
        }
    }
    // A driver may have replaced it; whatever is there goes with the world.
    let _ = fs::remove_file(link);
    Ok(())
}

pub(super) fn read_only(trial: &mut Trial<'_>) -> Outcome {
    let mut volume = trial.volume("read-only")?;
    // A volume that is made by its first use cannot always be made read-only.
    trial.up(&volume)?;
    let mounts = trial.look(&volume)?.mounted;
    trial.down(&volume)?;
    if !mounts {
        return Err(Stop::NotApplicable(
            "the driver mounts nothing, so the host makes it read-only".to_owned(),
        ));
    }
    volume.make_read_only();
    let came_up = trial.up(&volume);
    trial.must("read-only", came_up)?;
    let file = volume.mount_dir.join("flexvol-conformance-read-only");
    let written = fs::write(&file, "x");
    let refused = matches!(&written, Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem);
    let happened = match written {
        Ok(()) => "it was written".to_owned(),
        Err(error) => error.to_string(),
    };
    let fix = "mount with `ro` when `kubernetes.io/readwrite` is `ro`";
    trial.expect(refused, ["mount with readwrite=ro, write a file", "read-only file system", &happened, fix]);
    let _ = fs::remove_file(&file);
    trial.down(&volume)?;
    Ok(())
}
