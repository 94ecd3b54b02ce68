//! Drivers that need settings, as real processes with real mounts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod stage;

use std::fs;

use flexvolume_host::lifecycle::PodVolume;
use flexvolume_host::spec::{FsGroupChangePolicy, MounterArguments};

use stage::{Stage, drivers, in_mount_namespace, inline, persistent, pod, uid, with_secret};

const NO_ARGUMENTS: MounterArguments =
    MounterArguments { fs_group: None, fs_group_change_policy: FsGroupChangePolicy::Always };

fn mount(stage: &Stage, volume: &PodVolume) -> Result<(), String> {
    let mounted = stage.manager().mount(&pod("uid-1"), std::slice::from_ref(volume), NO_ARGUMENTS);
    mounted.map(drop).map_err(|error| error.to_string())
}

fn unmount(stage: &Stage) {
    stage.manager().unmount(&uid("uid-1")).unwrap();
    assert_eq!(stage.mounts(), []);
    assert_eq!(stage.manager().status().unwrap().volumes, []);
}

#[test]
fn a_driver_of_protocol_v1_goes_through_its_whole_life() {
    if !in_mount_namespace("a_driver_of_protocol_v1_goes_through_its_whole_life") {
        return;
    }
    let mut stage = Stage::new();
    stage.secret = Some(("example.com/v1".to_owned(), "swordfish".to_owned()));
    stage.install("v1", drivers::V1);
    let volume = with_secret(persistent("v1", "pv-1"));
    let error = mount(&stage, &volume).unwrap_err();
    assert!(error.contains("attach") && error.contains("usage"), "{error}");
    stage.set("v1", "protocol = \"v1\"\nworking-directory = \"/usr\"\nenvironment.REGION = \"eu-1\"\n");
    fs::remove_file(stage.state("v1").join("args")).unwrap();
    stage.forget_calls("v1");
    mount(&stage, &volume).unwrap();
    assert_eq!(stage.mounted("uid-1", "v1", "pv-1"), 1);
    mount(&stage, &volume).unwrap();
    unmount(&stage);
    assert_eq!(stage.calls("v1"), ["attach", "mount", "unmount", "detach"]);
    let disk = stage.state("v1").join("disk");
    let mount_dir = stage.mount_dir("uid-1", "v1", "pv-1");
    let options = r#"{"kubernetes.io/fsType":"","kubernetes.io/readwrite":"rw","kubernetes.io/secret/password":"c3dvcmRmaXNo"}"#;
    let expected = [
        format!("attach|{options}|"),
        format!("mount|{}|{}|{options}|", mount_dir.display(), disk.display()),
        format!("unmount|{}|", mount_dir.display()),
        format!("detach|{}|", disk.display()),
    ];
    let args = fs::read_to_string(stage.state("v1").join("args")).unwrap();
    let args: Vec<_> = args.lines().filter(|line| *line != "init|").collect();
    assert_eq!(args, expected);
    assert_eq!(fs::read_to_string(stage.state("v1").join("surroundings")).unwrap(), "/usr eu-1\n");
    let picture = stage.picture().join("\n");
    assert!(!picture.contains("locks/calls"), "{picture}");
}

#[test]
fn a_driver_whose_unmountdevice_wants_the_device_gets_it() {
    if !in_mount_namespace("a_driver_whose_unmountdevice_wants_the_device_gets_it") {
        return;
    }
    let stage = Stage::new();
    stage.install("device", &drivers::device_at_unmountdevice());
    let volume = persistent("device", "pv-1");
    mount(&stage, &volume).unwrap();
    let errors = stage.manager().unmount(&uid("uid-1")).unwrap_err();
    assert!(errors[0].to_string().contains("unmountdevice needs the device"), "{errors:?}");
    stage.set("device", "unmountdevice-argument = \"path-and-device\"\n");
    unmount(&stage);
}

#[test]
fn broken_settings_stop_their_driver_and_no_other_until_they_are_mended() {
    if !in_mount_namespace("broken_settings_stop_their_driver_and_no_other_until_they_are_mended") {
        return;
    }
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    stage.install("other", drivers::PLAIN);
    stage.set("plain", "\nmount-chek = \"off\"\n");
    let manager = stage.manager();
    let volume = inline("plain", "data");
    let mount = || manager.mount(&pod("uid-1"), std::slice::from_ref(&volume), NO_ARGUMENTS);
    let error = mount().unwrap_err().to_string();
    assert!(error.contains("example.com~plain.toml:2") && error.contains("\"mount-check\""), "{error}");
    assert_eq!(stage.calls("plain"), [""; 0]);
    manager.mount(&pod("uid-2"), &[inline("other", "data")], NO_ARGUMENTS).unwrap();
    stage.set("plain", "mount-check = \"strict\"\n");
    mount().unwrap();
    stage.set("plain", "mount-check = 1\n");
    let errors = manager.unmount(&uid("uid-1")).unwrap_err();
    assert!(errors[0].to_string().contains("example.com~plain.toml:1"), "{errors:?}");
    stage.set("plain", "");
    manager.unmount(&uid("uid-1")).unwrap();
    manager.unmount(&uid("uid-2")).unwrap();
    assert_eq!(stage.mounts(), []);
}

#[test]
fn a_driver_that_declares_nothing_and_only_mounts_needs_no_attach() {
    if !in_mount_namespace("a_driver_that_declares_nothing_and_only_mounts_needs_no_attach") {
        return;
    }
    let stage = Stage::new();
    stage
        .install("plain", &drivers::PLAIN.replace(r#","capabilities":{"attach":false,"fsGroup":false}"#, ""));
    stage.set("plain", "attach = \"off\"\n");
    mount(&stage, &inline("plain", "data")).unwrap();
    unmount(&stage);
    assert_eq!(stage.calls("plain"), ["mount", "unmount"]);
}
