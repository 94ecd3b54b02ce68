//! What a volume goes through when nothing fails.

use std::fs;

use crate::support::{crash_points, tool};
use crate::volume::{
    Controller, Hosts, OPEN, Volume, machine_is_missing, records, reservations, sessions, shell,
};

#[test]
fn a_volume_lives() {
    if machine_is_missing("life::a_volume_lives") {
        return;
    }
    let _hosts = Hosts::fresh();
    let controller = Controller::new();
    let mut volume = Volume::new("a");
    controller.admit(&mut volume, "a");
    assert!(controller.is_attached(&volume, "a") && !controller.is_attached(&volume, "b"));
    let device = volume.up();
    // What was done is not done again.
    assert_eq!(volume.up(), device);
    assert_eq!(sessions(), 1);
    let status = reservations(&device);
    assert!(
        status.contains("Reservation holder") && status.contains("Write Exclusive, registrants only"),
        "{status}"
    );
    let table = volume.world.mounts_at(&volume.world.target()).concat();
    assert!(table.contains("nosuid,nodev"), "{table}");
    fs::write(volume.file(), "precious").unwrap();
    volume.unmount().success();
    volume.unmount().success();
    assert_eq!((sessions(), records(), volume.is_mounted()), (0, 0, false));
    controller.detach(&volume, "a");
    controller.detach(&volume, "a");

    // By its second address, and by another node.
    let mut other = Volume::new("b").with("targetPortal", "[fd00:99::2]:3260").with("portals", "10.99.0.2");
    other.user.retain(|(key, _)| *key != "format");
    controller.admit(&mut other, "b");
    let device = other.up();
    assert_eq!(fs::read_to_string(other.file()).unwrap(), "precious");
    let status = reservations(&device);
    assert_eq!(status.matches("Key=").count(), 1, "{status}");
    other.unmount().success();
    assert_eq!((sessions(), records()), (0, 0));
}

#[test]
fn a_session_ends_with_the_last_disk_of_its_target() {
    if machine_is_missing("life::a_session_ends_with_the_last_disk_of_its_target") {
        return;
    }
    let _hosts = Hosts::fresh();
    let volume = Volume::new("a");
    let mut other = Volume::new("a").with("lun", "1");
    other.name = "other";
    let (device, others) = (volume.up(), other.up());
    assert_ne!(device, others);
    assert_eq!(sessions(), 1, "disks of one target share it");
    fs::write(other.file(), "precious").unwrap();
    volume.unmount().success();
    assert_eq!((sessions(), records()), (1, 1));
    // It is not only our own records that count.
    volume.up();
    other.unmount().success();
    shell("echo '0 0 1' >/sys/class/scsi_host/$(ls /sys/class/iscsi_host)/scan");
    volume.unmount().success();
    assert_eq!(sessions(), 1, "somebody else has a disk of it");
    assert_eq!(fs::read_dir("/sys/class/scsi_disk").unwrap().count(), 1);
    other.up();
    assert_eq!(fs::read_to_string(other.file()).unwrap(), "precious");
    other.unmount().success();
    assert_eq!((sessions(), records()), (0, 0));
}

#[test]
fn a_disk_that_is_in_use_is_not_taken_away() {
    if machine_is_missing("life::a_disk_that_is_in_use_is_not_taken_away") {
        return;
    }
    let _hosts = Hosts::fresh();
    let volume = Volume::new("a");
    let device = volume.up();
    let elsewhere = volume.world.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    tool("mount", &[&device, elsewhere.to_str().unwrap()]);
    volume.unmount().failure(&["still in use", &device]);
    assert_eq!(sessions(), 1);
    volume.call(&["detach", "data", "a"]).failure(&["still in use"]);
    tool("umount", &[elsewhere.to_str().unwrap()]);
    volume.unmount().success();
    assert_eq!(sessions(), 0);

    let mut second = Volume::new("a");
    volume.up();
    second.name = "second";
    second.world = crate::support::World::at(volume.world.path(""));
    second.connect().failure(&["as the volume \"data\"", "one disk is one volume"]);
    volume.unmount().success();
}

#[test]
fn a_volume_grows_while_it_is_mounted() {
    if machine_is_missing("life::a_volume_grows_while_it_is_mounted") {
        return;
    }
    let _hosts = Hosts::fresh();
    // A disk whose size the target looks up anew each time.
    let store = "/sys/kernel/config/target/core/iblock_0/grow";
    let lun = format!("/sys/kernel/config/target/iscsi/{OPEN}/tpgt_1/lun/lun_5");
    shell(&format!(
        "modprobe target_core_iblock; truncate -s 64M /srv/grow; losetup /dev/loop7 /srv/grow
         mkdir -p {store}; echo udev_path=/dev/loop7 >{store}/control; echo 1 >{store}/enable
         echo grow >{store}/wwn/vpd_unit_serial; mkdir {lun}; ln -s {store} {lun}/disk"
    ));
    let volume = Volume::new("a").with("lun", "5");
    let device = volume.up();
    let size = || -> u64 { tool("findmnt", &["-bnro", "SIZE", &volume.target()]).trim().parse().unwrap() };
    let before = size();
    let grow = |bytes: u64| {
        let new = bytes.to_string();
        volume.call(&["expandfs", &volume.options(), &device, &volume.target(), &new, "0"])
    };
    grow(128 << 20).failure(&["enlarge it to 134217728 at the target first"]);
    shell("truncate -s 128M /srv/grow; losetup -c /dev/loop7");
    grow(128 << 20).success();
    grow(128 << 20).success();
    assert!(size() > before + (48 << 20), "{before} {}", size());
    volume.unmount().success();
    shell(&format!("rm {lun}/disk; rmdir {lun} {store}; losetup -d /dev/loop7; rm /srv/grow"));
}

#[test]
fn after_a_restart_everything_is_finished_without_options() {
    if machine_is_missing("life::after_a_restart_everything_is_finished_without_options") {
        return;
    }
    let _hosts = Hosts::fresh();
    let controller = Controller::new();
    let mut volume = Volume::new("a");
    controller.admit(&mut volume, "a");
    volume.up();
    fs::write(volume.file(), "precious").unwrap();
    // What a restart leaves: the records, here and at the disk.
    volume.world.unmount_all();
    shell("iscsiadm -m session --logout >/dev/null");
    let device = volume.up();
    assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious");
    let status = reservations(&device);
    assert_eq!(status.matches("Key=").count(), 1, "the key of the old session is left: {status}");
    volume.world.unmount_all();
    shell("iscsiadm -m session --logout >/dev/null");
    volume.unmount().success();
    assert_eq!((sessions(), records()), (0, 0));
    // Nobody has ended the session, and nothing is mounted.
    volume.up();
    volume.world.unmount_all();
    assert_eq!(sessions(), 1);
    volume.call(&["detach", "data", "a"]).success();
    assert_eq!((sessions(), records()), (0, 0));
    // Somebody has ended it under the mount.
    volume.up();
    shell("iscsiadm -m session --logout >/dev/null");
    volume.unmount().success();
    assert_eq!((volume.is_mounted(), records()), (false, 0));
    volume.up();
    volume.unmount().success();
}

#[test]
fn whoever_dies_at_whichever_step_the_next_call_goes_on() {
    if machine_is_missing("life::whoever_dies_at_whichever_step_the_next_call_goes_on") {
        return;
    }
    let _hosts = Hosts::fresh();
    let volume = Volume::new("a");
    let options = volume.options();
    let points = |arguments: &[&str]| {
        let _ = fs::remove_file(volume.world.path("points"));
        let points = crash_points(&volume.world, volume.program, arguments);
        let ours = ["iscsi.", "disk."];
        points.into_iter().filter(|point| ours.iter().any(|name| point.starts_with(name))).collect::<Vec<_>>()
    };
    let connect = points(&["waitforattach", "", &options]);
    let device = volume.device();
    let mount = points(&["mountdevice", &volume.target(), &device, &options]);
    let unmount = points(&["unmountdevice", &volume.target()]);
    assert!(
        connect.len() >= 6 && mount.len() >= 4 && unmount.len() >= 4,
        "{connect:?} {mount:?} {unmount:?}"
    );
    let dying = |arguments: &[&str], point: &str| {
        let died = volume.call_with(arguments, &[("FLEXVOL_FAILPOINT", &format!("{point}=abort"))]);
        // A file system that is there is not made again.
        assert!(died.signal == Some(9) || died.status() == "Success", "{point} {died:?}");
    };
    for point in &connect {
        dying(&["waitforattach", "", &options], point);
        volume.up();
        volume.unmount().success();
        assert_eq!((sessions(), records()), (0, 0), "{point}");
    }
    for point in &mount {
        let device = volume.device();
        dying(&["mountdevice", &volume.target(), &device, &options], point);
        volume.up();
        fs::write(volume.file(), point).unwrap();
        volume.unmount().success();
    }
    for point in &unmount {
        volume.up();
        fs::write(volume.file(), "precious").unwrap();
        dying(&["unmountdevice", &volume.target()], point);
        volume.unmount().success();
        assert_eq!((sessions(), records(), volume.is_mounted()), (0, 0, false), "{point}");
        volume.up();
        assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious", "{point}");
        volume.unmount().success();
    }
}
