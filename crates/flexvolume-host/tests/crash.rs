//! A process that is killed at any point of mount or unmount: the next one comes to the same end.
//!
//! The points are learnt from a run that is not killed, so that none can be forgotten here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod stage;

use std::os::unix::process::ExitStatusExt;

use stage::worker::{Volumes, Work, Worker, points, work_if_asked};
use stage::{Stage, drivers, in_mount_namespace};

const SIGKILL: i32 = 9;

#[test]
fn worker() {
    work_if_asked();
}

fn new_stage() -> Stage {
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    stage.install("device", drivers::DEVICE);
    // Repeated, a detach has nothing to do.
    stage.install("v1", &drivers::V1.replace("rmdir \"$2\" && ok", "rmdir \"$2\" 2>/dev/null; ok"));
    stage.set("v1", "protocol = \"v1\"\n");
    let failing = drivers::PLAIN.replace("mount)\n", "mount) mount -t tmpfs x \"$2\"; fail 'no space'; \n");
    stage.install("failing", &failing);
    for name in ["loop", "loop-ephemeral"] {
        if own_driver(name).exists() {
            stage.install(name, &without_failpoints(&own_driver(name)));
        }
    }
    stage
}

/// Built with the whole workspace, drivers have fail points as well: here the host is to die, not they.
fn without_failpoints(driver: &std::path::Path) -> String {
    let driver = driver.display();
    format!("#!/bin/sh\nexec env -u FLEXVOL_FAILPOINT -u FLEXVOL_FAILPOINT_LOG '{driver}' \"$@\"\n")
}

/// A driver of the workspace, if it has been built: the host does not depend on it.
fn own_driver(name: &str) -> std::path::PathBuf {
    let this = std::env::current_exe().unwrap();
    this.parent().and_then(std::path::Path::parent).unwrap().join(name)
}

/// Directories, mounts, records and what the drivers remember; and what `status` says.
fn state_of(stage: &Stage) -> Vec<String> {
    let overview = stage.manager().status().unwrap();
    let mut state: Vec<_> = stage.picture().into_iter().filter_map(comparable).collect();
    let line = |volume: &flexvolume_host::lifecycle::VolumeStatus| {
        format!("{:?} {} {:?} {} {:?}", volume.pod, volume.volume, volume.phase, volume.mounted, volume.error)
    };
    state.extend(overview.volumes.iter().map(line));
    state.extend(stage.loop_devices());
    assert_eq!(overview.unreadable, []);
    state
}

/// A persistent volume stays when it is unmounted, and is made when it is first used; the directories that its driver makes
/// for all volumes stay as well. A claim is named by the place of the stage.
fn comparable(line: String) -> Option<String> {
    let stays =
        line.starts_with("state/images/loop/") || (line.starts_with("state/images/") && line.ends_with('/'));
    let claim = line.split_once("/claims/").map(|(before, _)| format!("{before}/claims/one"));
    (!stays).then(|| claim.unwrap_or(line))
}

fn learn(stage: &Stage, volumes: Volumes, work: Work) -> Vec<String> {
    let log = stage.top().join("points");
    let _ = std::fs::remove_file(&log);
    Worker { log: Some(log.clone()), ..Worker::new(stage, volumes, work) }.run();
    points(&log)
}

fn kill_at(stage: &Stage, volumes: Volumes, (work, point): (Work, &str)) {
    let killed = Worker { failpoint: Some(format!("{point}=abort")), ..Worker::new(stage, volumes, work) };
    let output = killed.run();
    assert_eq!(output.status.signal(), Some(SIGKILL), "{point} was not passed: {output:?}");
    let mut places: Vec<_> = stage.mounts().into_iter().map(|(place, _)| place).collect();
    let all = places.len();
    places.dedup();
    assert_eq!(places.len(), all, "mounted twice at {point}");
}

/// For every point of both ways: killed there, then the same again, or the opposite.
fn every_crash_converges(volumes: Volumes, at_least: usize) {
    let stage = new_stage();
    let there = learn(&stage, volumes, Work::Mount);
    let mounted = state_of(&stage);
    let back = learn(&stage, volumes, Work::Unmount);
    let unmounted = state_of(&stage);
    assert!(there.len() + back.len() >= at_least, "{there:?} {back:?}");
    assert_ne!(mounted, unmounted);
    for point in &there {
        for next in [Work::Mount, Work::Unmount] {
            let stage = new_stage();
            kill_at(&stage, volumes, (Work::Mount, point));
            converge(&stage, volumes, (next, point), (&mounted, &unmounted));
        }
    }
    for point in &back {
        for next in [Work::Mount, Work::Unmount] {
            let stage = new_stage();
            Worker::new(&stage, volumes, Work::Mount).succeed();
            kill_at(&stage, volumes, (Work::Unmount, point));
            converge(&stage, volumes, (next, point), (&mounted, &unmounted));
        }
    }
}

fn converge(
    stage: &Stage,
    volumes: Volumes,
    (next, point): (Work, &str),
    (mounted, unmounted): (&[String], &[String]),
) {
    Worker::new(stage, volumes, next).succeed();
    if next == Work::Mount {
        let mut state = state_of(stage);
        // What was about to be written when the process was killed; it goes with the record.
        state.retain(|line| !line.ends_with(".json.tmp"));
        assert_eq!(state, mounted, "killed at {point}, then mounted");
        Worker::new(stage, volumes, Work::Unmount).succeed();
    }
    assert_eq!(state_of(stage), unmounted, "killed at {point}, then {next:?}");
}

#[test]
fn a_plain_volume_survives_a_crash_anywhere() {
    if in_mount_namespace("a_plain_volume_survives_a_crash_anywhere") {
        every_crash_converges(Volumes::Plain, 6);
    }
}

#[test]
fn an_attachable_volume_survives_a_crash_anywhere() {
    if in_mount_namespace("an_attachable_volume_survives_a_crash_anywhere") {
        every_crash_converges(Volumes::Attachable, 18);
    }
}

/// Its `detach` gets the device and nothing else, also when the answer of `attach` was lost.
#[test]
fn a_volume_of_protocol_v1_survives_a_crash_anywhere() {
    if in_mount_namespace("a_volume_of_protocol_v1_survives_a_crash_anywhere") {
        every_crash_converges(Volumes::OldAttachable, 12);
    }
}

#[test]
fn volumes_in_image_files_survive_a_crash_anywhere() {
    const TEST: &str = "volumes_in_image_files_survive_a_crash_anywhere";
    if !in_mount_namespace(TEST) {
        return;
    }
    let available = flexvolume_host::os::loop_device::availability();
    if !own_driver("loop").exists() || !own_driver("loop-ephemeral").exists() {
        eprintln!("skipped: {TEST}: needs the drivers (cargo build -p flexvolume-drivers)");
    } else if available != flexvolume_host::os::loop_device::Availability::Available {
        eprintln!("skipped: {TEST}: needs loop devices: {available:?}");
    } else {
        every_crash_converges(Volumes::Loop, 20);
    }
}

#[test]
fn undoing_a_failed_mount_survives_a_crash_anywhere() {
    if !in_mount_namespace("undoing_a_failed_mount_survives_a_crash_anywhere") {
        return;
    }
    let volumes = Volumes::AttachableThenFailing;
    let stage = new_stage();
    let passed = learn(&stage, volumes, Work::Mount);
    assert!(passed.iter().any(|point| point == "lifecycle.detach.called"), "{passed:?}");
    let undone = state_of(&stage);
    assert_eq!(stage.mounts(), []);
    for point in &passed {
        for next in [Work::Mount, Work::Unmount] {
            let stage = new_stage();
            kill_at(&stage, volumes, (Work::Mount, point));
            let output = Worker::new(&stage, volumes, next).run();
            assert_eq!(output.status.success(), next == Work::Unmount, "{point}: {output:?}");
            if next == Work::Mount {
                // A volume that the killed call had mounted counts as mounted before, and stays until this.
                Worker::new(&stage, volumes, Work::Unmount).succeed();
            }
            assert_eq!(state_of(&stage), undone, "killed at {point}, then {next:?}");
        }
    }
}

/// A driver can mount and then fail: what a call that never came back has mounted is not passed off as a volume.
#[test]
fn what_a_killed_process_has_mounted_is_unmounted_and_mounted_again() {
    if !in_mount_namespace("what_a_killed_process_has_mounted_is_unmounted_and_mounted_again") {
        return;
    }
    let cases = [
        (Volumes::Plain, "plain", "lifecycle.mount.called", ["mount", "unmount", "mount"].as_slice()),
        (
            Volumes::Attachable,
            "device",
            "lifecycle.mountdevice.called",
            &[
                "attach",
                "waitforattach",
                "mountdevice",
                "waitforattach",
                "unmountdevice",
                "mountdevice",
                "mount",
            ],
        ),
        // What did come back is not done again.
        (
            Volumes::Attachable,
            "device",
            "lifecycle.attach.done",
            &["attach", "waitforattach", "mountdevice", "mount"],
        ),
    ];
    for (volumes, driver, point, calls) in cases {
        let stage = new_stage();
        kill_at(&stage, volumes, (Work::Mount, point));
        Worker::new(&stage, volumes, Work::Mount).succeed();
        assert_eq!(stage.calls(driver), calls, "{point}");
    }
}
