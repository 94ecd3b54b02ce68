//! From nothing to mounted and back, with every layout and file system, and through crashes.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;

use crate::group::{Group, mapper_is_missing};
use crate::support::{Answer, Program, installed, tool};

const MIB: u64 = 1 << 20;

struct Volume {
    group: Group,
    options: String,
}

impl Volume {
    fn of(group: Group, fs_type: &str, user: &[(&str, &str)]) -> Self {
        let options = group.options(fs_type, user);
        Self { group, options }
    }

    fn make(&self) -> Answer {
        self.group.call(&["waitforattach", "", &self.options])
    }

    fn target(&self) -> String {
        self.group.world.target().to_str().unwrap().to_owned()
    }

    fn mount(&self) -> Answer {
        self.group.call(&["mountdevice", &self.target(), &self.group.mapped(), &self.options])
    }

    fn unmount(&self) -> Answer {
        self.group.call(&["unmountdevice", &self.target()])
    }

    fn file(&self) -> std::path::PathBuf {
        self.group.world.target().join("file")
    }

    fn free(&self) -> u64 {
        tool("df", &["-B1", "--output=avail", &self.target()]).lines().last().unwrap().trim().parse().unwrap()
    }
}

fn lives(volume: &Volume, layout: &str) {
    volume.group.call(&["attach", &volume.options, "node"]).success();
    let made = volume.make().success();
    assert_eq!(made.json["device"].as_str(), Some(&*volume.group.mapped()));
    assert_eq!(volume.group.column("fv.data", "lv_layout"), layout);
    assert_eq!(volume.group.column("fv.data", "lv_autoactivation"), "");
    volume.mount().success();
    volume.mount().success();
    fs::write(volume.file(), "precious").unwrap();
    volume.unmount().success();
    volume.unmount().success();
    volume.make().success();
    volume.make().success();
    // As after a reboot: nothing but LVM's metadata is left.
    volume.group.lvm(&["lvchange", "-an", &format!("{}/fv.data", volume.group.vg)]);
    volume.make().success();
    volume.mount().success();
    assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious");
    volume.unmount().success();
    volume.group.call(&["detach", "data", "node"]).success();
}

#[test]
fn a_volume_lives_from_nothing_to_mounted_and_back_and_keeps_its_data() {
    let name = "a_volume_lives_from_nothing_to_mounted_and_back_and_keeps_its_data";
    if mapper_is_missing(name) {
        return;
    }
    for (fs_type, size) in [("ext4", "16Mi"), ("xfs", "300Mi"), ("btrfs", "128Mi")] {
        if !installed(&format!("mkfs.{fs_type}")) {
            eprintln!("skipped: {name}/{fs_type}: needs mkfs.{fs_type}");
            continue;
        }
        lives(&Volume::of(Group::new(1, 400), fs_type, &[("size", size)]), "linear");
    }
}

#[test]
fn every_layout_is_made_as_it_was_asked_for() {
    if mapper_is_missing("every_layout_is_made_as_it_was_asked_for") {
        return;
    }
    let size = ("size", "32Mi");
    lives(&Volume::of(Group::new(2, 100), "", &[size, ("layout", "striped")]), "striped");
    lives(&Volume::of(Group::new(2, 100), "", &[size, ("layout", "raid1")]), "raid,raid1");
    let pool = [size, ("pool", "tp"), ("poolSize", "64Mi")];
    let thin = Volume::of(Group::new(1, 200), "", &pool);
    lives(&thin, "thin,sparse");
    assert_eq!(thin.group.column("tp", "lv_when_full"), "error");
    let error = Volume::of(Group::new(1, 100), "", &[size, ("pool", "tp")]).make();
    error.failure(&["no such thin pool", "poolSize"]);
}

#[test]
fn the_size_is_enforced_and_rounded_up_to_whole_extents() {
    if mapper_is_missing("the_size_is_enforced_and_rounded_up_to_whole_extents") {
        return;
    }
    let user = [("size", "63000000"), ("mountOptions", "nosuid,nodev,noatime")];
    let volume = Volume::of(Group::new(1, 100), "", &user);
    volume.make().success();
    assert_eq!(volume.group.column("fv.data", "lv_size"), (64 * MIB).to_string());
    volume.mount().success();
    let mounted = &volume.group.world.mounts_at(&volume.group.world.target())[0];
    assert!(mounted.contains(" rw,nosuid,nodev,noatime "), "{mounted}");
    let mut file = fs::File::create(volume.file()).unwrap();
    let error = loop {
        if let Err(error) = file.write_all(&[0x5a; 1 << 20]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    drop(file);
    volume.make().success();
}

#[test]
fn a_volume_grows_while_it_is_written_to_and_at_the_next_mount() {
    if mapper_is_missing("a_volume_grows_while_it_is_written_to_and_at_the_next_mount") {
        return;
    }
    let volume = Volume::of(Group::new(1, 400), "", &[("size", "64Mi")]);
    volume.make().success();
    volume.mount().success();
    fs::write(volume.file(), "precious").unwrap();
    let grow = |size: u64| {
        let size = size.to_string();
        volume.group.call(&[
            "expandfs",
            &volume.options,
            &volume.group.mapped(),
            &volume.target(),
            &size,
            "0",
        ])
    };
    for _ in 0..2 {
        grow(128 * MIB).success();
        assert_eq!(volume.group.column("fv.data", "lv_size"), (128 * MIB).to_string());
        assert!(volume.free() > 100 * MIB, "{}", volume.free());
    }
    grow(64 * MIB).success();
    assert_eq!(volume.group.column("fv.data", "lv_size"), (128 * MIB).to_string());
    grow(4096 * MIB).failure(&["has no room", "are free"]);
    volume.unmount().success();
    let grown =
        volume.group.call(&["expandvolume", &volume.options, &volume.target(), "200000000", "0"]).success();
    assert_eq!(grown.json["volumeNewSize"].as_u64(), Some(192 * MIB), "{grown:?}");
    assert!(volume.group.column("fv.data", "lv_tags").contains("flexvol.grow=201326592"));
    volume.make().success();
    volume.mount().success();
    assert!(volume.free() > 150 * MIB, "{}", volume.free());
    assert!(!volume.group.column("fv.data", "lv_tags").contains("grow"));
    assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious");
}

#[test]
fn a_volume_that_differs_from_the_options_is_an_error_with_both_values() {
    if mapper_is_missing("a_volume_that_differs_from_the_options_is_an_error_with_both_values") {
        return;
    }
    let volume = Volume::of(Group::new(1, 400), "ext4", &[("size", "64Mi")]);
    volume.make().success();
    let tags = volume.group.column("fv.data", "lv_tags");
    let make = |fs_type: &str, user: &[(&str, &str)]| {
        volume.group.call(&["waitforattach", "", &volume.group.options(fs_type, user)])
    };
    make("ext4", &[("size", "32Mi")]).failure(&["67108864", "33554432", "never shrinks"]);
    make("btrfs", &[("size", "128Mi")]).failure(&["67108864", "134217728", "expandvolume"]);
    make("ext4", &[("size", "64Mi"), ("layout", "striped")]).failure(&["the layout linear", "striped"]);
    assert_eq!(volume.group.column("fv.data", "lv_tags"), tags);
}

#[test]
fn another_file_system_in_the_volume_is_never_mounted_nor_formatted() {
    if mapper_is_missing("another_file_system_in_the_volume_is_never_mounted_nor_formatted") {
        return;
    }
    let volume = Volume::of(Group::new(1, 100), "", &[("size", "16Mi")]);
    volume.make().success();
    let tags = volume.group.column("fv.data", "lv_tags");
    let recorded = tags.split("ext4:").nth(1).unwrap().split(',').next().unwrap();
    let other = "11111111-2222-4333-8444-555555555555";
    tool("mkfs.ext4", &["-q", "-F", "-U", other, &volume.group.mapped()]);
    volume.make().success();
    volume.mount().failure(&[other, recorded, "nothing was changed"]);
    let device = OpenOptions::new().write(true).open(volume.group.mapped()).unwrap();
    device.write_all_at(&[0; 4096], 0).unwrap();
    drop(device);
    volume.mount().failure(&["holds no ext4 superblock", recorded]);
    assert_eq!(volume.group.column("fv.data", "lv_tags"), tags);
}

#[test]
fn four_callers_at_once_make_one_volume() {
    if mapper_is_missing("four_callers_at_once_make_one_volume") {
        return;
    }
    let group = Group::new(1, 64);
    let options = group.options("", &[("size", "16Mi")]);
    let arguments = ["waitforattach", "", &*options];
    let callers: Vec<_> =
        (0..4).map(|_| group.world.command(Program::Lvm, &arguments).spawn().unwrap()).collect();
    for caller in callers {
        crate::support::answer(caller).success();
    }
    assert_eq!(group.volumes(), ["fv.data"]);
}
