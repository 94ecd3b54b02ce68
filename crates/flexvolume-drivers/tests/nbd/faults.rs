//! Servers that fail, and what holds all the same.

use std::fs::{self, File};
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use flexvolume_os::nbd::Nbd;

use crate::server::Mood;
use crate::support::tool;
use crate::volume::{Volume, eventually, kernel_is_missing};

#[test]
fn a_server_that_refuses_or_is_silent_leaves_nothing_connected() {
    if kernel_is_missing("faults::a_server_that_refuses_or_is_silent_leaves_nothing_connected") {
        return;
    }
    let mut volume = Volume::new(8);
    for (mood, texts) in [
        (Mood::Refusing(2), &["does not allow it"][..]),
        (Mood::Refusing(6), &["no export of this name"]),
        (Mood::Silent, &["said nothing"]),
    ] {
        volume.server.set_mood(mood);
        volume.connect().failure(texts);
        assert_eq!(volume.connected(), 0);
    }
    volume.server.die();
    volume.connect().failure(&["refuses connections"]);
    volume.server.come_back();
    volume.up();
    volume.unmount().success();
}

#[test]
fn a_server_that_comes_back_is_taken_up_without_an_error() {
    if kernel_is_missing("faults::a_server_that_comes_back_is_taken_up_without_an_error") {
        return;
    }
    let mut volume = Volume::new(16);
    let device = volume.up();
    volume.server.die();
    let path = volume.file();
    let writer = thread::spawn(move || {
        let mut file = File::create(path)?;
        file.write_all(b"precious")?;
        file.sync_all()
    });
    thread::sleep(Duration::from_secs(2));
    volume.connect().failure(&["refuses connections"]);
    assert!(!writer.is_finished(), "it waits");
    volume.server.come_back();
    assert_eq!(volume.connect().success().json["device"].as_str(), Some(&*device));
    writer.join().unwrap().unwrap();
    // The call that comes by itself repairs too, and so does the one for a sick mount.
    for call in ["isattached", "heal"] {
        volume.server.die();
        volume.server.come_back();
        let before = volume.server.uses();
        volume.set("mountDir", &volume.target());
        let healing = volume.options();
        volume.more.retain(|(key, _)| *key != "mountDir");
        let plain = volume.options();
        let arguments = if call == "heal" { vec![call, &healing] } else { vec![call, &plain, "node"] };
        eventually("the kernel notices", || {
            volume.call(&arguments).success();
            volume.server.uses() > before
        });
        fs::write(volume.file(), call).unwrap();
        tool("sync", &["-f", &volume.target()]);
    }
    volume.unmount().success();
    volume.up();
    assert_eq!(fs::read_to_string(volume.file()).unwrap(), "heal");
    volume.unmount().success();
}

#[test]
fn a_server_that_comes_back_with_another_disk_is_not_taken_up() {
    if kernel_is_missing("faults::a_server_that_comes_back_with_another_disk_is_not_taken_up") {
        return;
    }
    let mut volume = Volume::new(16);
    volume.set("reconnectTimeout", "3");
    volume.up();
    fs::write(volume.file(), "precious").unwrap();
    tool("sync", &["-f", &volume.target()]);
    volume.server.die();
    let other = volume.world.path("other");
    File::create(&other).unwrap().set_len(16 << 20).unwrap();
    tool("mkfs.ext4", &["-q", "-F", other.to_str().unwrap()]);
    let before = fs::read(&other).unwrap();
    volume.server.export("disk", &other);
    volume.server.come_back();
    volume.connect().failure(&["holds the file system", "now and held"]);
    eventually("the time is up", || volume.unmount().status() == "Success");
    assert!(!volume.is_mounted());
    assert!(before == fs::read(&other).unwrap(), "the other disk was changed");
    volume.server.export("disk", &volume.image());
    volume.up();
    assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious");
    volume.unmount().success();
}

#[test]
fn an_unmount_from_a_server_that_is_gone_waits_as_long_as_it_was_told() {
    if kernel_is_missing("faults::an_unmount_from_a_server_that_is_gone_waits_as_long_as_it_was_told") {
        return;
    }
    for mood in [None, Some(Mood::Silent)] {
        let mut volume = Volume::new(16);
        volume.set("reconnectTimeout", "8");
        volume.set("requestTimeout", "3");
        volume.up();
        fs::write(volume.file(), "dirty").unwrap();
        match mood {
            None => volume.server.die(),
            Some(mood) => volume.server.set_mood(mood),
        }
        let begun = Instant::now();
        volume.unmount().failure(&["waits for the server", "then it is given up"]);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(volume.is_mounted());
        eventually("the time is up", || volume.unmount().status() == "Success");
        assert!(!volume.is_mounted());
        assert_eq!(volume.connected(), 0);
        volume.server.die();
        volume.server.come_back();
        volume.up();
        volume.unmount().success();
    }
}

#[test]
fn a_device_number_that_is_used_again_is_never_mistaken() {
    if kernel_is_missing("faults::a_device_number_that_is_used_again_is_never_mistaken") {
        return;
    }
    let volume = Volume::new(16);
    let device = volume.up();
    volume.unmount().success();
    let device_again = volume.connect().success().json["device"].as_str().unwrap().to_owned();
    assert_eq!(device, device_again);
    // The connection ends behind our back, as in a restart, and somebody else gets the number.
    let index = flexvolume_os::nbd::index_of(device.as_ref()).unwrap();
    Nbd::open().unwrap().disconnect(index).unwrap();
    let other = Volume::new(8);
    let others = other.connect().success().json["device"].as_str().unwrap().to_owned();
    assert_eq!(device, others);
    volume.mount(&device).failure(&["not connected on this node"]);
    volume.detach("node").success();
    assert_eq!(other.connected(), 1, "the other's connection was ended");
    let mine = volume.up();
    assert_ne!(mine, others);
    volume.unmount().success();
    other.up();
    other.unmount().success();
}

#[test]
fn two_volumes_never_share_an_export() {
    if kernel_is_missing("faults::two_volumes_never_share_an_export") {
        return;
    }
    let volume = Volume::new(16);
    volume.up();
    let other = volume.options().replace("\"data\"", "\"other\"");
    volume
        .call(&["waitforattach", "", &other])
        .failure(&["as the volume \"data\"", "one disk is one volume"]);
    volume.unmount().success();
}
