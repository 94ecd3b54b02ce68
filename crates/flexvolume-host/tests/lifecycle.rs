//! The life of volumes through real driver processes and real mounts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod stage;

use std::fs;

use flexvolume_host::lifecycle::{Leaving, LifecycleError, Phase, VolumeManager};
use flexvolume_host::plugin::Effect;
use flexvolume_host::spec::MounterArguments;

use stage::{Stage, drivers, in_mount_namespace, inline, persistent, pod, uid};

const NO_ARGUMENTS: MounterArguments = MounterArguments {
    fs_group: None,
    fs_group_change_policy: flexvolume_host::spec::FsGroupChangePolicy::Always,
};

fn effect_of_mount(
    manager: &VolumeManager,
    uid: &str,
    volume: flexvolume_host::lifecycle::PodVolume,
) -> Effect {
    let mounted = manager.mount(&pod(uid), &[volume], NO_ARGUMENTS).unwrap();
    mounted[0].effect.unwrap()
}

fn nothing_is_left(stage: &Stage) {
    let records: Vec<_> = stage.picture().into_iter().filter(|line| line.ends_with(".json")).collect();
    assert_eq!(records, [""; 0]);
    assert_eq!(stage.mounts(), []);
    assert!(!stage.root().join("pods").read_dir().is_ok_and(|mut entries| entries.next().is_some()));
}

#[test]
fn a_plain_volume_is_mounted_once_and_unmounted_once() {
    if !in_mount_namespace("a_plain_volume_is_mounted_once_and_unmounted_once") {
        return;
    }
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    let manager = stage.manager();
    assert_eq!(effect_of_mount(&manager, "uid-1", inline("plain", "data")), Effect::Changed);
    assert_eq!(stage.mounted("uid-1", "plain", "data"), 1);
    assert_eq!(effect_of_mount(&manager, "uid-1", inline("plain", "data")), Effect::Unchanged);
    assert_eq!(stage.calls("plain"), ["mount"]);
    let unmounted = manager.unmount(&uid("uid-1")).unwrap();
    assert_eq!(unmounted.len(), 1);
    assert_eq!(unmounted[0].effect, Some(Effect::Changed));
    assert!(manager.unmount(&uid("uid-1")).unwrap().is_empty());
    assert_eq!(stage.calls("plain"), ["mount", "unmount"]);
    nothing_is_left(&stage);
}

#[test]
fn an_attachable_volume_goes_through_all_calls_and_back() {
    if !in_mount_namespace("an_attachable_volume_goes_through_all_calls_and_back") {
        return;
    }
    let stage = Stage::new();
    stage.install("device", drivers::DEVICE);
    let manager = stage.manager();
    manager.mount(&pod("uid-1"), &[persistent("device", "pv-1")], NO_ARGUMENTS).unwrap();
    assert_eq!(stage.mounted("uid-1", "device", "pv-1"), 1);
    let overview = manager.status().unwrap();
    let phases: Vec<_> = overview.volumes.iter().map(|line| (line.phase, line.mounted)).collect();
    assert_eq!(phases, [(Phase::DeviceMounted, true), (Phase::Mounted, true)]);
    manager.unmount(&uid("uid-1")).unwrap();
    let there = ["attach", "waitforattach", "mountdevice", "mount"];
    let back = ["unmount", "unmountdevice", "detach"];
    assert_eq!(stage.calls("device"), [&there[..], &back[..]].concat());
    nothing_is_left(&stage);
}

#[test]
fn two_pods_share_the_device_of_a_persistent_volume() {
    if !in_mount_namespace("two_pods_share_the_device_of_a_persistent_volume") {
        return;
    }
    let stage = Stage::new();
    stage.install("device", drivers::DEVICE);
    let manager = stage.manager();
    manager.mount(&pod("uid-1"), &[persistent("device", "pv-1")], NO_ARGUMENTS).unwrap();
    manager.mount(&pod("uid-2"), &[persistent("device", "pv-1")], NO_ARGUMENTS).unwrap();
    fs::write(stage.mount_dir("uid-1", "device", "pv-1").join("file"), "shared").unwrap();
    let seen = fs::read_to_string(stage.mount_dir("uid-2", "device", "pv-1").join("file")).unwrap();
    assert_eq!(seen, "shared");
    manager.unmount(&uid("uid-1")).unwrap();
    assert_eq!(stage.mounted("uid-2", "device", "pv-1"), 1);
    assert!(!stage.calls("device").contains(&"unmountdevice".to_owned()));
    manager.unmount(&uid("uid-2")).unwrap();
    assert_eq!(stage.calls("device").iter().filter(|verb| *verb == "attach").count(), 1);
    assert_eq!(stage.calls("device").last().unwrap(), "detach");
    nothing_is_left(&stage);
}

#[test]
fn inline_volumes_of_one_name_in_two_pods_are_two_volumes() {
    if !in_mount_namespace("inline_volumes_of_one_name_in_two_pods_are_two_volumes") {
        return;
    }
    let stage = Stage::new();
    stage.install("device", drivers::DEVICE);
    let manager = stage.manager();
    manager.mount(&pod("uid-1"), &[inline("device", "data")], NO_ARGUMENTS).unwrap();
    manager.mount(&pod("uid-2"), &[inline("device", "data")], NO_ARGUMENTS).unwrap();
    fs::write(stage.mount_dir("uid-1", "device", "data").join("file"), "mine").unwrap();
    assert!(!stage.mount_dir("uid-2", "device", "data").join("file").exists());
    assert!(stage.device_path("device", "uid-1-data").exists());
    manager.unmount(&uid("uid-1")).unwrap();
    manager.unmount(&uid("uid-2")).unwrap();
    nothing_is_left(&stage);
}

#[test]
fn in_the_strict_reading_the_second_pod_with_an_inline_volume_of_the_name_is_refused() {
    if !in_mount_namespace(
        "in_the_strict_reading_the_second_pod_with_an_inline_volume_of_the_name_is_refused",
    ) {
        return;
    }
    let mut stage = Stage::new();
    stage.reading = flexvolume_host::Reading::Strict;
    stage.install("device", drivers::DEVICE);
    let manager = stage.manager();
    manager.mount(&pod("uid-1"), &[inline("device", "data")], NO_ARGUMENTS).unwrap();
    let error = manager.mount(&pod("uid-2"), &[inline("device", "data")], NO_ARGUMENTS).unwrap_err();
    assert!(error.to_string().contains("pod uid-1 has an inline volume of this name"), "{error}");
    assert_eq!(stage.mounted("uid-1", "device", "data"), 1);
    assert_eq!(manager.status().unwrap().volumes.len(), 2);
    manager.unmount(&uid("uid-1")).unwrap();
    nothing_is_left(&stage);
}

#[test]
fn when_one_volume_fails_all_that_was_begun_is_undone_in_reverse_order() {
    if !in_mount_namespace("when_one_volume_fails_all_that_was_begun_is_undone_in_reverse_order") {
        return;
    }
    let stage = Stage::new();
    stage.install("device", drivers::DEVICE);
    stage.install("plain", drivers::PLAIN);
    let failing =
        drivers::PLAIN.replace("mount)\n", "mount) mount -t tmpfs x \"$2\"; fail 'no space at all'; \n");
    stage.install("failing", &failing);
    let manager = stage.manager();
    manager.mount(&pod("uid-1"), &[inline("plain", "before")], NO_ARGUMENTS).unwrap();
    let volumes = [
        inline("plain", "before"),
        persistent("device", "pv-1"),
        inline("plain", "second"),
        inline("failing", "third"),
        inline("plain", "never"),
    ];
    let error = manager.mount(&pod("uid-1"), &volumes, NO_ARGUMENTS).unwrap_err();
    let LifecycleError::Step { volume, step, cause, cleanup } = &error else { panic!("{error}") };
    assert_eq!((volume.as_str(), *step, cleanup.as_slice()), ("third", "mount", [].as_slice()));
    assert!(cause.contains("no space at all"), "{cause}");
    assert_eq!(stage.mounted("uid-1", "plain", "before"), 1, "what was mounted before stays");
    assert_eq!(stage.calls("plain"), ["mount", "mount", "unmount"]);
    // Once for the mount that is seen, and once for what may be left that is not.
    let undone = [
        "failing unmount",
        "failing unmount",
        "plain unmount",
        "device unmount",
        "device unmountdevice",
        "device detach",
    ];
    assert_eq!(stage.undoing_calls(), undone);
    assert_eq!(manager.status().unwrap().volumes.len(), 1);
    manager.unmount(&uid("uid-1")).unwrap();
    nothing_is_left(&stage);
}

#[test]
fn what_cannot_be_undone_stays_on_record_until_it_can() {
    if !in_mount_namespace("what_cannot_be_undone_stays_on_record_until_it_can") {
        return;
    }
    let stage = Stage::new();
    let broken = drivers::DEVICE
        .replace("mountdevice)\n", "mountdevice) fail 'bad disk'; \n")
        .replace("detach)\n", "detach) fail 'controller away'; \n");
    stage.install("device", &broken);
    let manager = stage.manager();
    let error = manager.mount(&pod("uid-1"), &[persistent("device", "pv-1")], NO_ARGUMENTS).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("mountdevice: bad disk") && text.contains("detach: controller away"), "{text}");
    let overview = manager.status().unwrap();
    assert_eq!(overview.volumes[0].to_undo, ["detach"]);
    assert!(overview.volumes[0].error.as_ref().unwrap().contains("controller away"));
    let errors = manager.unmount(&uid("uid-1")).unwrap_err();
    assert!(errors[0].to_string().contains("controller away"), "{errors:?}");
    stage.install("device", drivers::DEVICE);
    manager.unmount(&uid("uid-1")).unwrap();
    nothing_is_left(&stage);
}

#[test]
fn a_missing_driver_is_named_and_its_volume_waits_for_it() {
    if !in_mount_namespace("a_missing_driver_is_named_and_its_volume_waits_for_it") {
        return;
    }
    let stage = Stage::new();
    stage.install("device", drivers::DEVICE);
    stage.install("plain", drivers::PLAIN);
    let volumes = [inline("plain", "data"), persistent("device", "pv-1")];
    stage.manager().mount(&pod("uid-1"), &volumes, NO_ARGUMENTS).unwrap();
    let away = stage.top().join("away");
    fs::rename(stage.driver_dir("device"), &away).unwrap();
    let manager = stage.manager();
    let errors = manager.unmount(&uid("uid-1")).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].to_string().contains("example.com/device"), "{}", errors[0]);
    assert_eq!(stage.mounted("uid-1", "plain", "data"), 0, "the others are unmounted all the same");
    assert_eq!(manager.status().unwrap().volumes.len(), 2);
    fs::rename(&away, stage.driver_dir("device")).unwrap();
    manager.unmount(&uid("uid-1")).unwrap();
    nothing_is_left(&stage);
}

#[test]
fn a_volume_whose_records_are_lost_is_found_by_its_directory() {
    if !in_mount_namespace("a_volume_whose_records_are_lost_is_found_by_its_directory") {
        return;
    }
    let stage = Stage::new();
    stage.install("device", drivers::DEVICE);
    stage.install("plain", drivers::PLAIN);
    let volumes = [inline("plain", "data"), persistent("device", "pv-1"), inline("device", "mine")];
    stage.manager().mount(&pod("uid-1"), &volumes, NO_ARGUMENTS).unwrap();
    // A plain file and the directory of an unknown driver beside them are nobody's business.
    fs::write(stage.mount_dir("uid-1", "plain", "stray"), "x").unwrap();
    fs::create_dir_all(stage.mount_dir("uid-1", "unknown", "stray")).unwrap();
    for kind in ["publishes", "volumes"] {
        fs::rename(stage.root().join("flexvol").join(kind), stage.top().join(kind)).unwrap();
    }
    stage.manager().unmount(&uid("uid-1")).unwrap();
    assert_eq!(stage.mounts(), []);
    assert!(stage.state("device").join("attached").read_dir().unwrap().next().is_none());
    assert!(stage.mount_dir("uid-1", "plain", "stray").exists());
    assert!(stage.mount_dir("uid-1", "unknown", "stray").exists());
}

#[test]
fn a_shared_device_whose_record_is_damaged_is_kept_for_the_pods_that_hold_it() {
    if !in_mount_namespace("a_shared_device_whose_record_is_damaged_is_kept_for_the_pods_that_hold_it") {
        return;
    }
    let stage = Stage::new();
    stage.install("device", drivers::DEVICE);
    let manager = stage.manager();
    for pod_uid in ["uid-1", "uid-2", "uid-3"] {
        manager.mount(&pod(pod_uid), &[persistent("device", "pv-1")], NO_ARGUMENTS).unwrap();
    }
    let record = stage.root().join("flexvol/volumes/example.com~device,pv-1.json");
    fs::write(&record, "{").unwrap();
    manager.unmount(&uid("uid-1")).unwrap();
    fs::write(&record, "{").unwrap();
    manager.mount(&pod("uid-1"), &[persistent("device", "pv-1")], NO_ARGUMENTS).unwrap();
    for pod_uid in ["uid-1", "uid-2"] {
        manager.unmount(&uid(pod_uid)).unwrap();
        assert!(!stage.calls("device").iter().any(|call| call.starts_with("unmountdevice")), "{pod_uid}");
    }
    manager.unmount(&uid("uid-3")).unwrap();
    assert!(stage.calls("device").iter().any(|call| call.starts_with("unmountdevice")));
    assert_eq!(stage.mounts(), []);
}

#[test]
fn records_that_make_no_sense_are_set_aside_and_those_of_a_newer_version_refused() {
    if !in_mount_namespace("records_that_make_no_sense_are_set_aside_and_those_of_a_newer_version_refused") {
        return;
    }
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    let manager = stage.manager();
    manager.mount(&pod("uid-1"), &[inline("plain", "data")], NO_ARGUMENTS).unwrap();
    let record = stage.root().join("flexvol/publishes/uid-1/example.com~plain,data.json");
    let bytes = fs::read(&record).unwrap();
    fs::write(&record, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(manager.status().unwrap().unreadable.len(), 1);
    manager.unmount(&uid("uid-1")).unwrap();
    assert_eq!(stage.mounts(), []);
    let aside = record.with_extension("json.corrupt");
    assert!(aside.exists());
    assert_eq!(manager.status().unwrap().unreadable[0].file, aside);
    fs::remove_file(aside).unwrap();

    manager.mount(&pod("uid-1"), &[inline("plain", "data")], NO_ARGUMENTS).unwrap();
    fs::write(&record, br#"{"format":2}"#).unwrap();
    let error = manager.mount(&pod("uid-1"), &[inline("plain", "data")], NO_ARGUMENTS).unwrap_err();
    assert!(error.to_string().contains("format 2"), "{error}");
    let errors = manager.unmount(&uid("uid-1")).unwrap_err();
    assert!(errors[0].to_string().contains("format 2"), "{errors:?}");
    assert_eq!(
        stage.mounted("uid-1", "plain", "data"),
        1,
        "nothing is done behind the back of the newer version"
    );
    assert_eq!(fs::read(&record).unwrap(), br#"{"format":2}"#);
}

#[test]
fn what_is_unmounted_by_hand_is_mounted_again() {
    if !in_mount_namespace("what_is_unmounted_by_hand_is_mounted_again") {
        return;
    }
    let stage = Stage::new();
    stage.install("device", drivers::DEVICE);
    let manager = stage.manager();
    manager.mount(&pod("uid-1"), &[persistent("device", "pv-1")], NO_ARGUMENTS).unwrap();
    let mounter = flexvolume_host::os::System::host().mounter;
    mounter.unmount(&stage.mount_dir("uid-1", "device", "pv-1")).unwrap();
    mounter.unmount(&stage.device_path("device", "pv-1")).unwrap();
    assert!(manager.status().unwrap().volumes.iter().all(|line| !line.mounted));
    assert_eq!(effect_of_mount(&manager, "uid-1", persistent("device", "pv-1")), Effect::Changed);
    assert_eq!(stage.mounted("uid-1", "device", "pv-1"), 1);
    assert_eq!(stage.calls("device").iter().filter(|verb| *verb == "attach").count(), 1);
    manager.unmount(&uid("uid-1")).unwrap();
    nothing_is_left(&stage);
}

#[test]
fn what_a_driver_has_made_elsewhere_is_taken_back_although_the_mount_dir_is_gone() {
    if !in_mount_namespace("what_a_driver_has_made_elsewhere_is_taken_back_although_the_mount_dir_is_gone") {
        return;
    }
    let stage = Stage::new();
    let untidy = drivers::PLAIN
        .replace("mount)\n", "mount) touch @STATE@/image; [ -e @STATE@/works ] || fail 'not today'\n")
        .replace("unmount) umount", "unmount) rm @STATE@/image; umount");
    stage.install("plain", &untidy);
    let (manager, state) = (stage.manager(), stage.state("plain"));
    manager.mount(&pod("uid-1"), &[inline("plain", "data")], NO_ARGUMENTS).unwrap_err();
    assert!(!state.join("image").exists(), "{:?}", stage.calls("plain"));
    nothing_is_left(&stage);

    fs::write(state.join("works"), "").unwrap();
    manager.mount(&pod("uid-1"), &[inline("plain", "data")], NO_ARGUMENTS).unwrap();
    let mount_dir = stage.mount_dir("uid-1", "plain", "data");
    flexvolume_host::os::System::host().mounter.unmount(&mount_dir).unwrap();
    fs::remove_dir(&mount_dir).unwrap();
    manager.unmount(&uid("uid-1")).unwrap();
    assert!(!state.join("image").exists(), "{:?}", stage.calls("plain"));
    nothing_is_left(&stage);
}

/// A driver may remove what is in a volume at `unmount`, as `loop-ephemeral` does.
#[test]
fn a_volume_that_the_pod_had_before_is_not_undone_when_a_mount_fails() {
    if !in_mount_namespace("a_volume_that_the_pod_had_before_is_not_undone_when_a_mount_fails") {
        return;
    }
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    let failing = drivers::PLAIN.replace("mount)\n", "mount) fail 'not today'; \n");
    stage.install("failing", &failing);
    let manager = stage.manager();
    let unmount_by_hand = || {
        let mount_dir = stage.mount_dir("uid-1", "plain", "data");
        flexvolume_host::os::System::host().mounter.unmount(&mount_dir).unwrap();
    };
    manager.mount(&pod("uid-1"), &[inline("plain", "data")], NO_ARGUMENTS).unwrap();

    unmount_by_hand();
    let both = [inline("plain", "data"), inline("failing", "other")];
    manager.mount(&pod("uid-1"), &both, NO_ARGUMENTS).unwrap_err();
    assert_eq!(stage.mounted("uid-1", "plain", "data"), 1);
    assert_eq!(stage.calls("plain"), ["mount", "mount"]);

    unmount_by_hand();
    stage.install("plain", &failing);
    manager.mount(&pod("uid-1"), &[inline("plain", "data")], NO_ARGUMENTS).unwrap_err();
    let overview = manager.status().unwrap();
    assert!(overview.volumes[0].error.as_ref().unwrap().contains("not today"), "{overview:?}");
    assert_eq!(stage.calls("plain"), ["mount", "mount", "mount"]);

    stage.install("plain", drivers::PLAIN);
    manager.mount(&pod("uid-1"), &[inline("plain", "data")], NO_ARGUMENTS).unwrap();
    manager.unmount(&uid("uid-1")).unwrap();
    nothing_is_left(&stage);
}

#[test]
fn a_device_that_somebody_else_uses_is_not_taken_away() {
    if !in_mount_namespace("a_device_that_somebody_else_uses_is_not_taken_away") {
        return;
    }
    let stage = Stage::new();
    stage.install("device", drivers::DEVICE);
    let manager = stage.manager();
    manager.mount(&pod("uid-1"), &[persistent("device", "pv-1")], NO_ARGUMENTS).unwrap();
    let elsewhere = stage.top().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let mounter = flexvolume_host::os::System::host().mounter;
    mounter.bind(&stage.device_path("device", "pv-1"), &elsewhere).unwrap();
    let errors = manager.unmount(&uid("uid-1")).unwrap_err();
    assert!(errors[0].to_string().contains("is still mounted at"), "{}", errors[0]);
    assert!(errors[0].to_string().contains("elsewhere"), "{}", errors[0]);
    assert!(!stage.calls("device").contains(&"unmountdevice".to_owned()));
    // The volume can be wanted again in between.
    manager.mount(&pod("uid-1"), &[persistent("device", "pv-1")], NO_ARGUMENTS).unwrap();
    mounter.unmount(&elsewhere).unwrap();
    manager.unmount(&uid("uid-1")).unwrap();
    nothing_is_left(&stage);
}

#[test]
fn the_last_user_of_a_pod_unmounts_unless_it_is_kept() {
    if !in_mount_namespace("the_last_user_of_a_pod_unmounts_unless_it_is_kept") {
        return;
    }
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    let manager = stage.manager();
    let first = manager.enter(&uid("uid-1")).unwrap();
    manager.mount(&pod("uid-1"), &[inline("plain", "data")], NO_ARGUMENTS).unwrap();
    let second = manager.enter(&uid("uid-1")).unwrap();
    assert!(matches!(first.leave().unwrap(), Leaving::OthersRemain));
    manager.keep(&uid("uid-1")).unwrap();
    assert!(matches!(second.leave().unwrap(), Leaving::Kept));
    let third = manager.enter(&uid("uid-1")).unwrap();
    manager.unmount(&uid("uid-1")).unwrap();
    let Leaving::Last(guard) = third.leave().unwrap() else { panic!("unmount takes the wish to keep back") };
    let newcomer = std::thread::spawn({
        let manager = stage.manager();
        move || manager.enter(&uid("uid-1")).map(|user| (user, std::time::Instant::now())).unwrap()
    });
    std::thread::sleep(std::time::Duration::from_millis(100));
    let cleaned = std::time::Instant::now();
    drop(guard);
    let (user, entered) = newcomer.join().unwrap();
    assert!(entered >= cleaned, "nobody enters while the last user cleans up");
    assert!(matches!(user.leave().unwrap(), Leaving::Last(_)));
    nothing_is_left(&stage);
}

#[test]
fn a_wish_to_keep_what_cannot_be_mounted_is_forgotten() {
    if !in_mount_namespace("a_wish_to_keep_what_cannot_be_mounted_is_forgotten") {
        return;
    }
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    let manager = stage.manager();
    manager.keep(&uid("uid-1")).unwrap();
    manager.mount(&pod("uid-1"), &[inline("missing", "data")], NO_ARGUMENTS).unwrap_err();
    let user = manager.enter(&uid("uid-1")).unwrap();
    manager.mount(&pod("uid-1"), &[inline("plain", "data")], NO_ARGUMENTS).unwrap();
    assert!(matches!(user.leave().unwrap(), Leaving::Last(_)));
    manager.unmount(&uid("uid-1")).unwrap();
    nothing_is_left(&stage);
}

#[test]
fn two_volumes_that_would_share_a_mount_dir_are_refused() {
    let stage = Stage::new();
    let manager = stage.manager();
    let volumes = [inline("plain", "data"), persistent("plain", "data")];
    let error = manager.mount(&pod("uid-1"), &volumes, NO_ARGUMENTS).unwrap_err();
    assert!(matches!(error, LifecycleError::Collision { .. }), "{error}");
    assert!(!stage.root().exists(), "nothing was begun");
}
