//! Volumes that live as long as their pod.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::group::{Group, MARKER, ephemeral_options, is_left, mapper_is_missing};
use crate::support::{Answer, Program, World};

const LV: &str = "fv.0b5c8f1e.6d1a.4c55.9d3e.2f6a1c0e7b11++data";

fn call(world: &World, arguments: &[&str]) -> Answer {
    world.call(Program::LvmEphemeral, arguments)
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
            (target.to_str().unwrap(), ephemeral_options(&group, &[("size", "16Mi"), ("erase", erase)]));
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
fn a_mount_that_fails_leaves_nothing() {
    if mapper_is_missing("a_mount_that_fails_leaves_nothing") {
        return;
    }
    let group = Group::new(1, 64);
    let target = group.world.target();
    let path = target.to_str().unwrap();
    call(&group.world, &["mount", path, &ephemeral_options(&group, &[("size", "1Gi")])])
        .failure(&["has no room"]);
    fs::remove_dir(&target).unwrap();
    call(&group.world, &["mount", path, &ephemeral_options(&group, &[("size", "16Mi")])]).failure(&[path]);
    assert_eq!(group.volumes(), [""; 0]);
    assert_eq!(group.world.files("lvm-ephemeral/claims"), [""; 0]);
}
