//! A kill at each of the points that a call passes, and the call once more.

use std::fs;

use crate::group::{Group, MARKER, ephemeral_options, is_left, mapper_is_missing};
use crate::support::{Answer, Program, World, crash_points, tool};

fn call(world: &World, arguments: &[&str]) -> Answer {
    world.call(Program::LvmEphemeral, arguments)
}

/// What an earlier owner had there: a file system with a file, all over the disk.
fn leave_data_of_an_earlier_owner(group: &Group) {
    group.lvm(&["lvcreate", "-q", "-y", "-l", "100%FREE", "-n", "earlier", &group.vg]);
    let device = format!("/dev/{}/earlier", group.vg);
    tool("mkfs.ext4", &["-q", "-F", "-U", "11111111-2222-4333-8444-555555555555", &device]);
    group.lvm(&["lvremove", "-q", "-y", &format!("{}/earlier", group.vg)]);
}

#[test]
fn a_driver_that_is_killed_at_any_step_of_the_making_is_taken_up_by_the_next_call() {
    if mapper_is_missing("a_driver_that_is_killed_at_any_step_of_the_making_is_taken_up_by_the_next_call") {
        return;
    }
    let begun = |group: &Group| {
        leave_data_of_an_earlier_owner(group);
        group.options("", &[("size", "16Mi")])
    };
    let first = Group::new(1, 64);
    let options = begun(&first);
    let points = crash_points(&first.world, Program::Lvm, &["waitforattach", "", &options]);
    assert!(points.iter().any(|point| point.starts_with("lvm.formatted")), "{points:?}");
    for point in points {
        let group = Group::new(1, 64);
        let options = begun(&group);
        let setting = format!("{point}=abort");
        let died = group.world.call_with(
            Program::Lvm,
            &["waitforattach", "", &options],
            &[("FLEXVOL_FAILPOINT", &setting)],
        );
        assert_eq!(died.signal, Some(9), "{point}");
        group.call(&["waitforattach", "", &options]).success();
        let target = group.world.target();
        group.call(&["mountdevice", target.to_str().unwrap(), &group.mapped(), &options]).success();
        let names: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["lost+found"], "{point}");
        assert_eq!(group.volumes(), ["fv.data"], "{point}");
        let tags = group.column("fv.data", "lv_tags");
        assert!(tags.contains("state=ready") && !tags.contains("11111111"), "{point}: {tags}");
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
        let options = ephemeral_options(&group, &[("size", "16Mi"), ("erase", "zero")]);
        call(&group.world, &["mount", target.to_str().unwrap(), &options]).success();
        fs::write(target.join("file"), MARKER.repeat(4096)).unwrap();
        group
    };
    let first = mounted();
    let target = first.world.target();
    let points = crash_points(&first.world, Program::LvmEphemeral, &["unmount", target.to_str().unwrap()]);
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
