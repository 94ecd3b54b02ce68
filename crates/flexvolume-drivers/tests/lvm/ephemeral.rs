//! Volumes that live as long as their pod.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use crate::group::{Group, mapper_is_missing};
use crate::support::{Answer, Program, World, pod_options};

const POD: &str = "0b5c8f1e-6d1a-4c55-9d3e-2f6a1c0e7b11";
const LV: &str = "fv.0b5c8f1e.6d1a.4c55.9d3e.2f6a1c0e7b11++data";
const MARKER: &[u8] = b"a secret of an earlier pod, which nobody else must ever see";

fn options(group: &Group, user: &[(&str, &str)]) -> String {
    let all: Vec<_> = [("volumegroup", &*group.vg)].into_iter().chain(user.iter().copied()).collect();
    pod_options(POD, &all)
}

fn call(world: &World, arguments: &[&str]) -> Answer {
    world.call(Program::LvmEphemeral, arguments)
}

/// Whether the bytes are anywhere on the free space of the group.
fn is_left(group: &Group, marker: &[u8]) -> bool {
    group.lvm(&["lvcreate", "-q", "-y", "-Zn", "-Wn", "-l", "100%FREE", "-n", "all", &group.vg]);
    let mut bytes = Vec::new();
    fs::File::open(format!("/dev/{}/all", group.vg)).unwrap().read_to_end(&mut bytes).unwrap();
    group.lvm(&["lvremove", "-q", "-y", &format!("{}/all", group.vg)]);
    bytes.windows(marker.len()).any(|window| window == marker)
}

#[test]
fn a_pods_volume_comes_with_mount_and_goes_with_unmount() {
    if mapper_is_missing("a_pods_volume_comes_with_mount_and_goes_with_unmount") {
        return;
    }
    for (erase, left) in [("none", true), ("zero", false), ("discard", false)] {
        let group = Group::new(1, 64);
        let target = group.world.target();
        let (path, options) =
            (target.to_str().unwrap(), options(&group, &[("size", "16Mi"), ("erase", erase)]));
        call(&group.world, &["mount", path, &options]).success();
        call(&group.world, &["mount", path, &options]).success();
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o777);
        assert!(!group.column(LV, "lv_tags").contains("mode"));
        fs::write(target.join("file"), MARKER.repeat(4096)).unwrap();
        call(&group.world, &["unmount", path]).success();
        call(&group.world, &["unmount", path]).success();
        assert_eq!(group.volumes(), [""; 0]);
        assert_eq!(group.world.files("lvm-ephemeral/claims"), [""; 0]);
        assert_eq!(group.world.files("lvm"), [""; 0]);
        assert_eq!(is_left(&group, MARKER), left, "{erase}");
    }
}

#[test]
fn a_driver_that_is_killed_at_any_step_of_the_removal_is_taken_up_by_the_next_call() {
    if mapper_is_missing("a_driver_that_is_killed_at_any_step_of_the_removal_is_taken_up_by_the_next_call") {
        return;
    }
    let mounted = || {
        let group = Group::new(1, 64);
        let target = group.world.target();
        let options = options(&group, &[("size", "16Mi"), ("erase", "zero")]);
        call(&group.world, &["mount", target.to_str().unwrap(), &options]).success();
        fs::write(target.join("file"), MARKER.repeat(4096)).unwrap();
        group
    };
    let first = mounted();
    let target = first.world.target();
    let points = crate::support::crash_points(
        &first.world,
        Program::LvmEphemeral,
        &["unmount", target.to_str().unwrap()],
    );
    for name in ["lvm.quarantined", "lvm.erased", "lvm.removed", "lvm-ephemeral.removed"] {
        assert!(points.iter().any(|point| point.starts_with(name)), "{name} is missing in {points:?}");
    }
    for point in points {
        let group = mounted();
        let target = group.world.target();
        let setting = format!("{point}=abort");
        let arguments = ["unmount", target.to_str().unwrap()];
        let died =
            group.world.call_with(Program::LvmEphemeral, &arguments, &[("FLEXVOL_FAILPOINT", &setting)]);
        assert_eq!(died.signal, Some(9), "{point}");
        call(&group.world, &arguments).success();
        assert_eq!(group.volumes(), [""; 0], "{point}");
        assert_eq!(group.world.files("lvm-ephemeral/claims"), [""; 0], "{point}");
        assert!(!is_left(&group, MARKER), "{point}");
    }
}

#[test]
fn a_mount_that_fails_leaves_nothing() {
    if mapper_is_missing("a_mount_that_fails_leaves_nothing") {
        return;
    }
    let group = Group::new(1, 64);
    let target = group.world.target();
    let path = target.to_str().unwrap();
    call(&group.world, &["mount", path, &options(&group, &[("size", "1Gi")])]).failure(&["has no room"]);
    fs::remove_dir(&target).unwrap();
    call(&group.world, &["mount", path, &options(&group, &[("size", "16Mi")])]).failure(&[path]);
    assert_eq!(group.volumes(), [""; 0]);
    assert_eq!(group.world.files("lvm-ephemeral/claims"), [""; 0]);
}
