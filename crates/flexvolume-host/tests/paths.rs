//! Names and places that are not what one expects.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod stage;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use flexvolume_host::contract::{PodUid, VolumeName};
use flexvolume_host::spec::MounterArguments;

use stage::{Stage, drivers, in_mount_namespace, inline, persistent, pod, uid};

/// `@STATE@` cannot hold these names; the driver needs none of them.
const ANY_NAME: &str = r#"#!/bin/sh
case "$1" in
init) echo '{"status":"Success","capabilities":{"attach":true,"fsGroup":false}}' ;;
mountdevice) mount -t tmpfs -o size=64k,mode=0755 x "$2" && echo '{"status":"Success"}' ;;
*) echo '{"status":"Not supported"}' ;;
esac
"#;

fn odd_names() -> Vec<String> {
    vec![
        "a b".to_owned(),
        " ".to_owned(),
        "...".to_owned(),
        "-rf".to_owned(),
        "line\nbreak".to_owned(),
        "tab\tand\\backslash".to_owned(),
        "quote\"and'$(id)`id`;".to_owned(),
        "päth".to_owned(),
        "x".repeat(255),
        "\u{1}".repeat(255),
    ]
}

fn round_trip(stage: &Stage, driver: &str, name: &str) {
    let manager = stage.manager();
    let volume = if driver == "plain" { inline(driver, name) } else { persistent(driver, name) };
    manager.mount(&pod("uid-1"), &[volume], MounterArguments::default()).unwrap();
    assert_eq!(stage.mounted("uid-1", driver, name), 1, "{name:?}");
    let overview = manager.status().unwrap();
    assert!(overview.volumes.iter().all(|line| line.mounted && line.volume.as_str() == name), "{overview:?}");
    manager.unmount(&uid("uid-1")).unwrap();
    assert_eq!(stage.mounts(), [], "{name:?}");
    assert!(!stage.root().join("pods/uid-1").exists(), "{name:?}");
    assert_eq!(manager.status().unwrap().volumes, [], "{name:?}");
}

#[test]
fn any_name_that_a_directory_can_have_is_fine() {
    if !in_mount_namespace("any_name_that_a_directory_can_have_is_fine") {
        return;
    }
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    stage.install("any", ANY_NAME);
    for name in odd_names() {
        round_trip(&stage, "plain", &name);
        round_trip(&stage, "any", &name);
    }
}

#[test]
fn names_that_leave_their_directory_are_no_names() {
    for name in ["", ".", "..", "../x", "a/b", "/", "a\0b", &"x".repeat(256)] {
        VolumeName::parse(name).unwrap_err();
        PodUid::parse(name).unwrap_err();
    }
}

#[test]
fn an_inline_volume_whose_device_name_is_too_long_is_refused_before_anything_is_done() {
    if !in_mount_namespace(
        "an_inline_volume_whose_device_name_is_too_long_is_refused_before_anything_is_done",
    ) {
        return;
    }
    let stage = Stage::new();
    stage.install("any", ANY_NAME);
    let manager = stage.manager();
    let volumes = [inline("any", &"x".repeat(255))];
    let error = manager.mount(&pod("uid-1"), &volumes, MounterArguments::default()).unwrap_err();
    assert!(error.to_string().contains("longer than 255 bytes"), "{error}");
    assert_eq!(manager.status().unwrap().volumes, []);
}

fn refused(stage: &Stage, link: &Path) {
    let target = stage.top().join("elsewhere");
    fs::create_dir_all(target.join("data")).unwrap();
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink(&target, link).unwrap();
    let manager = stage.manager();
    let volumes = [inline("plain", "data")];
    let error = manager.mount(&pod("uid-1"), &volumes, MounterArguments::default()).unwrap_err();
    assert!(error.to_string().contains("is a symlink to"), "{error}");
    assert!(error.to_string().contains(link.to_str().unwrap()), "{error}");
    assert_eq!(stage.calls("plain"), [""; 0], "no driver is called");
    assert_eq!(stage.mounts(), []);
    assert_eq!(manager.status().unwrap().volumes, [], "nothing is on record");
    manager.unmount(&uid("uid-1")).unwrap();
    assert!(link.is_symlink() && target.join("data").exists(), "nothing is removed");
}

#[test]
fn a_mount_dir_that_is_a_symlink_is_refused() {
    if !in_mount_namespace("a_mount_dir_that_is_a_symlink_is_refused") {
        return;
    }
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    refused(&stage, &stage.mount_dir("uid-1", "plain", "data"));
}

#[test]
fn a_symlink_above_the_mount_dir_is_refused() {
    if !in_mount_namespace("a_symlink_above_the_mount_dir_is_refused") {
        return;
    }
    for above in 1..4 {
        let stage = Stage::new();
        stage.install("plain", drivers::PLAIN);
        let mount_dir = stage.mount_dir("uid-1", "plain", "data");
        refused(&stage, mount_dir.ancestors().nth(above).unwrap());
    }
}

#[test]
fn a_mount_dir_that_becomes_a_symlink_is_not_unmounted_through() {
    if !in_mount_namespace("a_mount_dir_that_becomes_a_symlink_is_not_unmounted_through") {
        return;
    }
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    let manager = stage.manager();
    for name in ["data", "victim"] {
        let volumes = [inline("plain", name)];
        manager.mount(&pod(&format!("uid-{name}")), &volumes, MounterArguments::default()).unwrap();
    }
    let (mount_dir, victim) =
        (stage.mount_dir("uid-data", "plain", "data"), stage.mount_dir("uid-victim", "plain", "victim"));
    flexvolume_host::os::System::host().mounter.unmount(&mount_dir).unwrap();
    fs::remove_dir(&mount_dir).unwrap();
    symlink(&victim, &mount_dir).unwrap();
    let errors = manager.unmount(&uid("uid-data")).unwrap_err();
    assert!(errors[0].to_string().contains("is a symlink to"), "{}", errors[0]);
    assert_eq!(stage.mounted("uid-victim", "plain", "victim"), 1);
    fs::remove_file(&mount_dir).unwrap();
    manager.unmount(&uid("uid-data")).unwrap();
    manager.unmount(&uid("uid-victim")).unwrap();
    assert_eq!(stage.mounts(), []);
}

#[test]
fn a_root_below_a_symlink_works() {
    if !in_mount_namespace("a_root_below_a_symlink_works") {
        return;
    }
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    stage.install("any", ANY_NAME);
    let real = stage.top().join("a real place");
    fs::create_dir(&real).unwrap();
    symlink(&real, stage.root()).unwrap();
    let manager = stage.manager();
    let volumes = [inline("plain", "data"), persistent("any", "pv-1")];
    manager.mount(&pod("uid-1"), &volumes, MounterArguments::default()).unwrap();
    let overview = manager.status().unwrap();
    assert_eq!(overview.volumes.len(), 3);
    assert!(overview.volumes.iter().all(|line| line.mounted), "{overview:?}");
    assert!(stage.mounts().iter().all(|(place, _)| place.starts_with(&real)));
    manager.unmount(&uid("uid-1")).unwrap();
    assert_eq!(stage.mounts(), []);
}

#[test]
fn a_root_with_any_bytes_in_its_name_works() {
    if !in_mount_namespace("a_root_with_any_bytes_in_its_name_works") {
        return;
    }
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    let real = stage.top().join(OsStr::from_bytes(b"r\xff\xfe oot\n"));
    fs::create_dir(&real).unwrap();
    symlink(&real, stage.root()).unwrap();
    round_trip_below(&stage, &real);
}

fn round_trip_below(stage: &Stage, real: &Path) {
    let manager = stage.manager();
    manager.mount(&pod("uid-1"), &[inline("plain", "data")], MounterArguments::default()).unwrap();
    assert!(stage.mounts()[0].0.starts_with(real));
    assert!(manager.status().unwrap().volumes[0].mounted);
    manager.unmount(&uid("uid-1")).unwrap();
    assert_eq!(stage.mounts(), []);
}
