//! From nothing to mounted and back.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use crate::share::{DIRECTORY, PASSWORD, SERVER, Share, put, put_directory, server, server_is_missing};

#[test]
fn a_share_lives() {
    if server_is_missing("life::a_share_lives") {
        return;
    }
    let share = Share::new();
    share.mount().success();
    share.mount().success();
    let line = share.line();
    for word in ["nosuid", "nodev", "vers=3.1.1", "//10.99.0.2/data"] {
        assert!(line.contains(word), "{line}");
    }
    fs::write(share.file(), "precious").unwrap();
    assert_eq!(fs::read_to_string(format!("{DIRECTORY}/file")).unwrap(), "precious");
    let records = share.records();
    assert!(records.contains("//10.99.0.2/data") && !records.contains(PASSWORD), "{records}");
    share.unmount().success();
    share.unmount().success();
    share.assert_gone();
    assert_eq!(fs::read_dir(share.world.target()).unwrap().count(), 0);
}

#[test]
fn a_share_is_found_by_every_way_of_naming_it() {
    if server_is_missing("life::a_share_is_found_by_every_way_of_naming_it") {
        return;
    }
    for options in [
        json!({"server": "server", "share": "data"}),
        json!({"server": "fd00:99::2", "share": "/data"}),
        json!({"source": r"\\10.99.0.2\data", "mountoptions": "vers=3.0,dir_mode=0777,file_mode=0777"}),
        json!({"networkPath": "//[fd00:99::2]/data", "mountOptions": "dir_mode=0755,file_mode=0644,noperm"}),
        json!({"server": SERVER, "share": "/data", "opts": "vers=2.1", "passwdMethod": "env"}),
    ] {
        let share = Share::of(options);
        share.mount().success();
        fs::write(share.file(), "precious").unwrap();
        share.unmount().success();
        share.assert_gone();
    }
}

#[test]
fn each_version_is_spoken_that_is_asked_for() {
    if server_is_missing("life::each_version_is_spoken_that_is_asked_for") {
        return;
    }
    for version in ["2.1", "3.0", "3.0.2", "3.1.1"] {
        let share = Share::of(json!({"server": SERVER, "share": "data", "vers": version}));
        share.mount().success();
        let line = share.line();
        assert!(line.contains(&format!("vers={version}")) || version == "3.0.2", "{line}");
        share.unmount().success();
    }
}

#[test]
fn owner_group_and_modes_are_those_of_the_options_and_the_pod() {
    if server_is_missing("life::owner_group_and_modes_are_those_of_the_options_and_the_pod") {
        return;
    }
    put_directory("inner");
    let about = |share: &Share| {
        share.mount().success();
        fs::write(share.file(), "").unwrap();
        let file = share.file().metadata().unwrap();
        let directory = share.world.target().join("inner").metadata().unwrap();
        share.unmount().success();
        (file.uid(), file.gid(), file.mode() & 0o7777, directory.mode() & 0o7777)
    };
    let at = json!({"server": SERVER, "share": "data"});
    assert_eq!(about(&Share::of(at.clone())), (0, 0, 0o755, 0o755));
    let mut own = at.clone();
    own["uid"] = json!("1000");
    own["mountOptions"] = json!("gid=0100,file_mode=640,dir_mode=0750");
    assert_eq!(about(&Share::of(own)), (1000, 100, 0o640, 0o750));
    let mut pod = at;
    pod["kubernetes.io/fsGroup"] = json!("2000");
    assert_eq!(about(&Share::of(pod)), (0, 2000, 0o775, 0o775));
}

#[test]
fn read_only_is_of_one_mount_and_not_of_its_neighbours() {
    if server_is_missing("life::read_only_is_of_one_mount_and_not_of_its_neighbours") {
        return;
    }
    put("file", "precious");
    let writer = Share::new();
    writer.mount().success();
    let mut reader = Share::new();
    reader.options["kubernetes.io/readwrite"] = json!("ro");
    reader.mount().success();
    assert_eq!(fs::read_to_string(reader.file()).unwrap(), "precious");
    fs::write(reader.file(), "x").unwrap_err();
    fs::write(writer.file(), "more").unwrap();
    let device = |share: &Share| share.line().split(' ').nth(2).map(str::to_owned);
    assert_eq!(device(&reader), device(&writer), "they share a file system");
    reader.unmount().success();
    fs::write(writer.file(), "precious").unwrap();
    writer.unmount().success();
    let fixed = Share::of(json!({"server": SERVER, "share": "fixed"}));
    fixed.mount().success();
    fs::write(fixed.file(), "x").unwrap_err();
    fixed.unmount().success();
}

#[test]
fn encryption_is_used_where_it_is_asked_for_or_demanded() {
    if server_is_missing("life::encryption_is_used_where_it_is_asked_for_or_demanded") {
        return;
    }
    let asked = Share::of(json!({"server": SERVER, "share": "data", "seal": "true"}));
    asked.mount().success();
    assert!(asked.line().contains("seal"), "{}", asked.line());
    fs::write(asked.file(), "precious").unwrap();
    asked.unmount().success();
    for seal in ["true", "false"] {
        let demanded = Share::of(json!({"server": SERVER, "share": "sealed", "seal": seal}));
        demanded.mount().success();
        assert_eq!(fs::read_to_string(demanded.file()).unwrap(), "precious");
        demanded.unmount().success();
    }
    let impossible = json!({"server": SERVER, "share": "data", "seal": "true", "vers": "2.1"});
    let impossible = Share::of(impossible);
    impossible.mount().failure(&["cannot mount //10.99.0.2/data"]);
    impossible.assert_gone();
}

#[test]
fn a_sub_directory_is_mounted_and_nothing_above_it() {
    if server_is_missing("life::a_sub_directory_is_mounted_and_nothing_above_it") {
        return;
    }
    put_directory("a b/c,d");
    put("a b/c,d/file", "precious");
    for options in [
        json!({"networkPath": "//server/data/a b/c,d"}),
        json!({"networkPath": "//server/data/a b", "subdirectory": "c,d"}),
        json!({"server": SERVER, "share": "data", "subdirectory": r"a b\c,d"}),
    ] {
        let share = Share::of(options);
        share.mount().success();
        assert_eq!(fs::read_to_string(share.file()).unwrap(), "precious");
        share.unmount().success();
        share.assert_gone();
    }
    let missing = Share::of(json!({"networkPath": "//server/data/a b/nope"}));
    missing.mount().failure(&["there is no \"nope\"", "make it on the server"]);
    missing.assert_gone();
    let file = Share::of(json!({"networkPath": "//server/data/a b/c,d/file"}));
    file.mount().failure(&["\"file\"", "name a real directory"]);
    file.assert_gone();
}

#[test]
fn a_doctor_tells_what_a_server_offers() {
    if server_is_missing("life::a_doctor_tells_what_a_server_offers") {
        return;
    }
    let told = |address: &str| {
        let share = Share::guest(json!({"address": address}));
        share.call(&["diagnose", &share.options.to_string()]).success().json["findings"].to_string()
    };
    for address in [SERVER, "fd00:99::2", "//server/data"] {
        let findings = told(address);
        for part in [
            "file system cifs",
            "answers on port 445",
            "it speaks the versions 3.1.1, 3.0.2, 3.0, 2.1",
            "it can encrypt",
            "its clock and this node's agree",
        ] {
            assert!(findings.contains(part), "{part:?} is missing in {findings}");
        }
        assert!(!findings.contains("problem"), "{findings}");
    }
    assert!(told("no-such-host.invalid").contains("the name no-such-host.invalid"));
    server(&["stop", "smb"]);
    let stopped = told(SERVER);
    server(&["start", "smb"]);
    assert!(stopped.contains("refuses connections"), "{stopped}");
}
