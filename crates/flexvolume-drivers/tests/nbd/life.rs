//! From nothing to mounted and back.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;

use crate::server::Server;
use crate::support::{Program, World, crash_points, installed, tool};
use crate::volume::{MIB, Volume, kernel_is_missing};

fn lives(volume: &Volume) {
    volume.attach("node").success();
    let device = volume.up();
    volume.mount(&device).success();
    assert_eq!(volume.connect().success().json["device"].as_str(), Some(&*device));
    assert_eq!(volume.server.uses(), 1, "a connection that lives is used again");
    fs::write(volume.file(), "precious").unwrap();
    let line = volume.world.mounts_at(&volume.world.target()).concat();
    assert!(line.contains("nosuid") && line.contains("nodev"), "{line}");
    volume.detach("node").failure(&["still in use"]);
    volume.unmount().success();
    volume.unmount().success();
    assert!(!volume.is_mounted());
    assert_eq!(volume.connected(), 0);
    volume.detach("node").success();
    let device = volume.up();
    assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious");
    volume.mount("/dev/nbd99").failure(&["are options and device of one volume"]);
    assert!(device.starts_with("/dev/nbd"));
    volume.unmount().success();
}

#[test]
fn a_volume_lives_on_every_file_system() {
    let name = "life::a_volume_lives_on_every_file_system";
    if kernel_is_missing(name) {
        return;
    }
    for (fs_type, mib) in [("ext4", 16), ("xfs", 300), ("btrfs", 128)] {
        if !installed(&format!("mkfs.{fs_type}")) {
            eprintln!("skipped: {name}: no mkfs.{fs_type}");
            continue;
        }
        let mut volume = Volume::new(mib);
        volume.fs_type = fs_type;
        lives(&volume);
    }
}

#[test]
fn a_volume_lives_behind_a_unix_socket() {
    if kernel_is_missing("life::a_volume_lives_behind_a_unix_socket") {
        return;
    }
    let world = World::new();
    let server = Server::unix(&world.path("nbd.sock"));
    lives(&Volume::with(server, world, 16));
}

#[test]
fn an_export_that_is_served_read_only_is_mounted_so() {
    if kernel_is_missing("life::an_export_that_is_served_read_only_is_mounted_so") {
        return;
    }
    let mut volume = Volume::new(16);
    volume.up();
    fs::write(volume.file(), "precious").unwrap();
    volume.unmount().success();
    volume.server.serve_read_only();
    volume.connect().failure(&["served read-only"]);
    assert_eq!(volume.connected(), 0);
    volume.access = "ro";
    volume.up();
    assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious");
    fs::write(volume.file(), "x").unwrap_err();
    volume.unmount().success();
}

#[test]
fn a_volume_grows_while_it_is_mounted_or_says_when_it_will() {
    if kernel_is_missing("life::a_volume_grows_while_it_is_mounted_or_says_when_it_will") {
        return;
    }
    let volume = Volume::new(16);
    let device = volume.up();
    let grow = |mib: u64| {
        let new = (mib * MIB).to_string();
        volume.call(&["expandfs", &volume.options(), &device, &volume.target(), &new, "0"])
    };
    let size = || {
        tool("df", &["-B1", "--output=size", &volume.target()])
            .lines()
            .last()
            .unwrap()
            .trim()
            .parse::<u64>()
            .unwrap()
    };
    let before = size();
    grow(32).failure(&["enlarge it to 33554432 at the server first"]);
    let enlarge =
        |mib: u64| OpenOptions::new().write(true).open(volume.image()).unwrap().set_len(mib * MIB).unwrap();
    enlarge(32);
    grow(32).success();
    grow(32).success();
    assert!(size() > before + 12 * MIB, "{before} {}", size());
    volume.unmount().success();
    let device = volume.up();
    let grow = |mib: u64| {
        let new = (mib * MIB).to_string();
        volume.call(&["expandfs", &volume.options(), &device, &volume.target(), &new, "0"])
    };
    // As nbd-server does it.
    volume.server.fix_sizes();
    enlarge(64);
    let between = size();
    grow(64).failure(&["grows at the next mount"]);
    assert_eq!(size(), between);
    fs::write(volume.file(), "precious").unwrap();
    volume.unmount().success();
    volume.up();
    assert!(size() > between + 24 * MIB, "{between} {}", size());
    assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious");
    volume.unmount().success();
}

#[test]
fn whoever_dies_at_whichever_step_the_next_call_goes_on() {
    if kernel_is_missing("life::whoever_dies_at_whichever_step_the_next_call_goes_on") {
        return;
    }
    let learn = Volume::new(8);
    let options = learn.options();
    let points = |arguments: &[&str]| {
        let _ = fs::remove_file(learn.world.path("points"));
        crash_points(&learn.world, Program::Nbd, arguments)
    };
    let connect = points(&["waitforattach", "", &options]);
    let device = learn.connect().success().json["device"].as_str().unwrap().to_owned();
    let target = learn.target();
    let mount = points(&["mountdevice", &target, &device, &options]);
    let unmount = points(&["unmountdevice", &target]);
    drop(learn);
    let ours = |points: Vec<String>| {
        points
            .into_iter()
            .filter(|point| ["nbd.", "disk."].iter().any(|ours| point.starts_with(ours)))
            .collect::<Vec<_>>()
    };
    let (connect, mount, unmount) = (ours(connect), ours(mount), ours(unmount));
    assert!(
        connect.len() >= 3 && mount.len() >= 4 && unmount.len() >= 2,
        "{connect:?} {mount:?} {unmount:?}"
    );
    let dying = |point: &str| format!("{point}=abort");
    for point in &connect {
        let volume = Volume::new(8);
        let died = volume
            .call_with(&["waitforattach", "", &volume.options()], &[("FLEXVOL_FAILPOINT", &dying(point))]);
        assert_eq!(died.signal, Some(9), "{point} {died:?}");
        volume.up();
        assert_eq!(volume.connected(), 1, "{point}");
        volume.unmount().success();
    }
    for point in &mount {
        let volume = Volume::new(8);
        let device = volume.connect().success().json["device"].as_str().unwrap().to_owned();
        let died = volume.call_with(
            &["mountdevice", &volume.target(), &device, &volume.options()],
            &[("FLEXVOL_FAILPOINT", &dying(point))],
        );
        assert_eq!(died.signal, Some(9), "{point} {died:?}");
        volume.up();
        fs::write(volume.file(), "precious").unwrap();
        volume.unmount().success();
    }
    for point in &unmount {
        let volume = Volume::new(8);
        volume.up();
        let mut file = File::create(volume.file()).unwrap();
        file.write_all(b"precious").unwrap();
        drop(file);
        let died =
            volume.call_with(&["unmountdevice", &volume.target()], &[("FLEXVOL_FAILPOINT", &dying(point))]);
        assert_eq!(died.signal, Some(9), "{point} {died:?}");
        volume.unmount().success();
        assert_eq!(volume.connected(), 0, "{point}");
        volume.up();
        assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious", "{point}");
        volume.unmount().success();
    }
}
