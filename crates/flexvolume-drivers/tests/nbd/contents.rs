//! What is on an export, and what never happens to it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

use crate::support::{installed, tool};
use crate::volume::{MIB, Volume, kernel_is_missing};

#[track_caller]
fn refused(volume: &Volume, texts: &[&str]) {
    let before = fs::read(volume.image()).unwrap();
    let device = volume.connect().success().json["device"].as_str().unwrap().to_owned();
    volume.mount(&device).failure(texts);
    assert!(!volume.is_mounted());
    assert_eq!(volume.connected(), 0, "what cannot be mounted is not left connected");
    assert!(before == fs::read(volume.image()).unwrap(), "the export was changed");
}

#[test]
fn what_is_not_proven_blank_is_never_formatted() {
    let name = "contents::what_is_not_proven_blank_is_never_formatted";
    if kernel_is_missing(name) {
        return;
    }
    let mut volume = Volume::new(16);
    volume.set("format", "never");
    refused(&volume, &["holds no ext4", "set the option \"format\" to \"new\""]);
    volume.set("format", "new");
    let path = volume.image();
    let write = |bytes: &[u8], offset| {
        let image = OpenOptions::new().write(true).open(&path).unwrap();
        image.write_all_at(bytes, offset).unwrap();
    };
    for offset in [0, MIB - 1, 15 * MIB + 7, 16 * MIB - 1] {
        write(b"x", offset);
        refused(&volume, &["data that nobody recognises"]);
        write(b"\0", offset);
    }
    volume.access = "ro";
    refused(&volume, &["never formatted"]);
    volume.access = "rw";
    if installed("mkswap") {
        tool("mkswap", &[path.to_str().unwrap()]);
        refused(&volume, &["holds swap and not ext4", "wipefs"]);
        write(&[0; 8192], 0);
    }
    volume.up();
    volume.unmount().success();
    // What this node has made once is never made again, though the export is blank.
    File::create(&path).unwrap().set_len(16 * MIB).unwrap();
    refused(&volume, &["held the file system", "holds none now", "remove"]);
}

#[test]
fn a_file_system_of_somebody_else_is_mounted_and_not_made() {
    if kernel_is_missing("contents::a_file_system_of_somebody_else_is_mounted_and_not_made") {
        return;
    }
    let mut volume = Volume::new(16);
    tool("mkfs.ext4", &["-q", "-F", "-b", "1024", volume.image().to_str().unwrap()]);
    volume.set("format", "never");
    volume.up();
    fs::write(volume.file(), "precious").unwrap();
    volume.unmount().success();
    volume.set("format", "new");
    volume.up();
    assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious");
    volume.unmount().success();
}

#[test]
fn a_second_machine_is_kept_out_by_the_file_system() {
    if kernel_is_missing("contents::a_second_machine_is_kept_out_by_the_file_system") {
        return;
    }
    let mut volume = Volume::new(16);
    volume.set("multiMountProtection", "true");
    volume.up();
    let dump = tool("dumpe2fs", &["-h", volume.image().to_str().unwrap()]);
    assert!(dump.contains(" mmp"), "{dump}");
    // Another machine, that knows nothing of this one's records.
    let mut other = Volume::new(1);
    other.server.export("disk", &volume.image());
    other.set("multiMountProtection", "true");
    let device = other.connect().success().json["device"].as_str().unwrap().to_owned();
    let answer = other
        .world
        .call(crate::support::Program::Nbd, &["mountdevice", &other.target(), &device, &other.options()]);
    assert_eq!(answer.status(), "Failure", "{answer:?}");
    assert!(!other.is_mounted());
    fs::write(volume.file(), "precious").unwrap();
    volume.unmount().success();
}
