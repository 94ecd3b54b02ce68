//! Two nodes and one disk.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use crate::support::Program;
use crate::volume::{Controller, Hosts, Volume, machine_is_missing, reservations, sessions, shell};

/// Writes a block to the disk itself, past all caches.
fn write(device: &str) -> std::io::Result<()> {
    let flags = i32::try_from(rustix::fs::OFlags::DSYNC.bits()).unwrap();
    let mut disk = OpenOptions::new().write(true).custom_flags(flags).open(device)?;
    std::io::Seek::seek(&mut disk, std::io::SeekFrom::Start(60 << 20))?;
    disk.write_all(&[7; 4096])
}

#[test]
fn a_second_node_is_refused_until_the_first_is_detached_and_then_takes_over() {
    if machine_is_missing("fence::a_second_node_is_refused_until_the_first_is_detached_and_then_takes_over") {
        return;
    }
    let _hosts = Hosts::fresh();
    let controller = Controller::new();
    let (mut one, mut two) = (Volume::new("one"), Volume::new("two"));
    controller.admit(&mut one, "one");
    let ones = one.up();
    controller.attach(&two, "two").failure(&["is attached to node one"]);
    // One that asks nobody is refused by the disk, and leaves nothing behind.
    two.connect().failure(&["is reserved by the key 0x", "two writers"]);
    assert_eq!(sessions(), 1);
    // The first node is thought dead, and lives.
    controller.detach(&one, "one");
    controller.admit(&mut two, "two");
    let twos = two.up();
    let status = reservations(&twos);
    assert_eq!(status.matches("Key=").count(), 1, "{status}");
    write(&twos).unwrap();
    write(&ones).unwrap_err();
    write(&twos).unwrap();
    // What it was told before is told in vain now.
    one.connect().failure(&["is reserved by the key 0x"]);
    one.world.unmount_all();
    one.unmount().success();
    let status = reservations(&twos);
    assert_eq!(status.matches("Key=").count(), 1, "the first node has taken the key of the second: {status}");
    assert!(two.is_mounted());
    two.unmount().success();
    // Back again, as an attachment of its own.
    controller.detach(&two, "two");
    controller.admit(&mut one, "one");
    one.up();
    one.unmount().success();
    assert_eq!(sessions(), 0);
}

#[test]
fn a_pod_waits_for_the_one_that_has_the_disk() {
    if machine_is_missing("fence::a_pod_waits_for_the_one_that_has_the_disk") {
        return;
    }
    let _hosts = Hosts::fresh();
    let (mut one, mut two) = (Volume::new("one"), Volume::new("two"));
    let mount = |volume: &Volume| volume.call(&["mount", &volume.target(), &volume.options()]);
    for volume in [&mut one, &mut two] {
        volume.program = Program::IscsiPod;
    }
    mount(&one).success();
    mount(&two).failure(&["is reserved by the key 0x"]);
    let elsewhere = one.world.path("elsewhere");
    one.call(&["mount", elsewhere.to_str().unwrap(), &one.options()]).failure(&["another pod of this node"]);
    one.call(&["unmount", &one.target()]).success();
    mount(&two).success();
    two.call(&["unmount", &two.target()]).success();
    // All may read; nobody keeps them from it, and they keep nobody.
    one.access = "ro";
    two.access = "ro";
    mount(&one).success();
    mount(&two).success();
    for volume in [&one, &two] {
        volume.call(&["unmount", &volume.target()]).success();
    }
    assert_eq!(sessions(), 0);
}

#[test]
fn another_disk_on_the_same_number_is_refused() {
    if machine_is_missing("fence::another_disk_on_the_same_number_is_refused") {
        return;
    }
    let _hosts = Hosts::fresh();
    let serial = "/sys/kernel/config/target/core/fileio_0/first/wwn/vpd_unit_serial";
    let exchange = |to: &str| shell(&format!("server stop iscsi; echo {to} >{serial}; server start iscsi"));
    let mut volume = Volume::new("a");
    volume.up();
    volume.unmount().success();
    exchange("0badcafe");
    volume.connect().failure(&["is the disk naa.", "and was naa.", "on purpose"]);
    assert_eq!(sessions(), 0);
    exchange("flexvol-first");
    let device = volume.up();
    let wwid = shell(&format!("cat /sys/block/{}/device/wwid", device.trim_start_matches("/dev/")));
    volume.unmount().success();
    volume.set("wwid", "naa.6001405000000000000000000000000");
    volume.connect().failure(&["the option \"wwid\""]);
    volume.set("wwid", wwid.trim());
    // While it is connected the kernel goes on saying who it was, until it asks anew.
    let device = volume.device();
    exchange("0badcafe");
    volume.mount(&device).failure(&["naa."]);
    assert!(!volume.is_mounted());
    exchange("flexvol-first");
    volume.up();
    volume.unmount().success();
    File::open("/srv/iscsi-first").unwrap();
}

#[test]
fn a_disk_may_go_without_reservations_where_that_is_allowed() {
    if machine_is_missing("fence::a_disk_may_go_without_reservations_where_that_is_allowed") {
        return;
    }
    let _hosts = Hosts::fresh();
    let volume = Volume::new("a").with("reservation", "off");
    let device = volume.up();
    let status = reservations(&device);
    assert_eq!(status.matches("Key=").count(), 0, "{status}");
    volume.unmount().success();
    let without = "/sys/kernel/config/target/core/fileio_0/first/attrib/emulate_pr";
    shell(&format!("server stop iscsi; echo 0 >{without}; server start iscsi"));
    let required = Volume::new("a").with("reservation", "required");
    required.connect().failure(&["has no persistent reservations"]);
    let volume = Volume::new("a");
    volume.up();
    volume.unmount().success();
    shell(&format!("server stop iscsi; echo 1 >{without}; server start iscsi"));
}
