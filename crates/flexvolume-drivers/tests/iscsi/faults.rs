//! Servers that fail, and what holds all the same.

use std::fs;
use std::net::TcpListener;
use std::time::Instant;

use crate::volume::{
    CHAP, Hosts, OPEN, SILENT_UNMOUNT, Volume, eventually, machine_is_missing, records, sessions, shell,
};

#[test]
fn a_server_that_refuses_or_is_silent_leaves_nothing_behind() {
    if machine_is_missing("faults::a_server_that_refuses_or_is_silent_leaves_nothing_behind") {
        return;
    }
    let _hosts = Hosts::fresh();
    let volume = Volume::new("a");
    for (begin, end, texts) in [
        ("server stop iscsi", "server start iscsi", &["refuses connections"][..]),
        ("server drop", "server heal", &["does not answer"]),
        ("server cut", "server restore", &["10.99.0.2"]),
    ] {
        shell(begin);
        volume.connect().failure(texts);
        assert_eq!((sessions(), records()), (0, 0), "{begin}");
        shell(end);
    }
    let other = Volume::new("a").with("iqn", "iqn.2026-01.test.flexvol:none");
    other.connect().failure(&["name of the target"]);
    let other = Volume::new("a").with("lun", "9");
    other.connect().failure(&["LUN 9", "shows no such disk", "iqn.2026-01.test.flexvol:a"]);
    assert_eq!((sessions(), records()), (0, 0));
    // Somebody takes connections, and is no target.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = Volume::new("a").with("targetPortal", &mute.local_addr().unwrap().to_string());
    other.connect().failure(&["gave no session in time"]);
    assert_eq!((sessions(), records()), (0, 0));
    volume.up();
    volume.unmount().success();
}

#[test]
fn what_was_written_waits_for_a_server_that_comes_back() {
    if machine_is_missing("faults::what_was_written_waits_for_a_server_that_comes_back") {
        return;
    }
    let _hosts = Hosts::fresh();
    let volume = Volume::new("a");
    let device = volume.up();
    fs::write(volume.file(), "precious").unwrap();
    shell("server drop");
    let begun = Instant::now();
    volume.unmount().failure(&["waits for the server", "then it is given up"]);
    assert!(begun.elapsed() < SILENT_UNMOUNT, "{:?}", begun.elapsed());
    assert!(volume.is_mounted());
    let answer = volume.connect();
    assert_eq!(sessions(), 1, "{answer:?}");
    shell("server heal");
    eventually("the server is back", || volume.unmount().status() == "Success");
    assert_eq!((sessions(), records(), volume.is_mounted()), (0, 0, false));
    assert_eq!(volume.up(), device);
    assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious");
    volume.unmount().success();
}

#[test]
fn a_server_that_is_gone_for_too_long_is_given_up() {
    if machine_is_missing("faults::a_server_that_is_gone_for_too_long_is_given_up") {
        return;
    }
    let _hosts = Hosts::fresh();
    let volume = Volume::new("a").with("reconnectTimeout", "5");
    volume.up();
    fs::write(volume.file(), "dirty").unwrap();
    shell("server cut");
    let mut longest = std::time::Duration::ZERO;
    eventually("the time is up", || {
        let begun = Instant::now();
        let done = volume.unmount().status() == "Success";
        longest = longest.max(begun.elapsed());
        done
    });
    assert!(longest < SILENT_UNMOUNT, "{longest:?}");
    assert_eq!((sessions(), records(), volume.is_mounted()), (0, 0, false));
    shell("server restore");
    volume.up();
    volume.unmount().success();
}

#[test]
fn a_program_that_writes_meanwhile_sees_no_error_and_is_in_nobodys_way() {
    if machine_is_missing("faults::a_program_that_writes_meanwhile_sees_no_error_and_is_in_nobodys_way") {
        return;
    }
    let _hosts = Hosts::fresh();
    let volume = Volume::new("a");
    volume.up();
    let (path, inside) = (volume.file(), volume.target());
    let start = |script: &str| volume.world.spawning("sh").args(["-c", script]).spawn().unwrap();
    let mut sitting = start(&format!("cd '{inside}' && exec sleep 1000"));
    shell("server kill iscsi");
    let writing =
        format!("exec dd if=/dev/zero of='{}' bs=64k count=16 conv=fsync status=none", path.display());
    let mut writing = start(&writing);
    let begun = Instant::now();
    volume.unmount().failure(&["waits for the server"]);
    assert!(begun.elapsed() < SILENT_UNMOUNT, "{:?}", begun.elapsed());
    assert!(writing.try_wait().unwrap().is_none(), "it waits");
    shell("server start iscsi");
    assert!(writing.wait().unwrap().success());
    // Now it is only that somebody is inside.
    volume.unmount().failure(&["in use"]);
    assert!(volume.is_mounted());
    sitting.kill().unwrap();
    sitting.wait().unwrap();
    volume.unmount().success();
    assert_eq!((sessions(), records()), (0, 0));
    volume.up();
    assert_eq!(fs::metadata(volume.file()).unwrap().len(), 1 << 20);
    volume.unmount().success();
}

#[test]
fn a_volume_that_is_only_read_does_not_wait_for_its_server() {
    if machine_is_missing("faults::a_volume_that_is_only_read_does_not_wait_for_its_server") {
        return;
    }
    let _hosts = Hosts::fresh();
    let mut volume = Volume::new("a");
    volume.up();
    fs::write(volume.file(), "precious").unwrap();
    volume.unmount().success();
    volume.access = "ro";
    for _ in 0..2 {
        volume.up();
        assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious");
        shell("server drop");
        let begun = Instant::now();
        volume.unmount().success();
        assert!(begun.elapsed() < SILENT_UNMOUNT, "{:?}", begun.elapsed());
        assert_eq!((sessions(), records(), volume.is_mounted()), (0, 0, false));
        shell("server heal");
    }
}

#[test]
fn a_server_that_comes_back_with_another_password_does_not_hold_a_pod_for_ever() {
    if machine_is_missing(
        "faults::a_server_that_comes_back_with_another_password_does_not_hold_a_pod_for_ever",
    ) {
        return;
    }
    let _hosts = Hosts::fresh();
    let volume = Volume::new("a").with("iqn", CHAP).with("reconnectTimeout", "5");
    crate::chap::give(&volume, "secret-of-chap");
    volume.up();
    fs::write(volume.file(), "dirty").unwrap();
    let group = format!("/sys/kernel/config/target/iscsi/{CHAP}/tpgt_1");
    shell(&format!("server kill iscsi; server start iscsi; printf another-word >{group}/auth/password"));
    // A session may have come back in between: this one may not.
    shell(&format!("echo 0 >{group}/enable; echo 1 >{group}/enable"));
    eventually("the time is up", || volume.unmount().status() == "Success");
    assert_eq!((sessions(), records(), volume.is_mounted()), (0, 0, false));
    volume.connect().failure(&["refuses the login", "CHAP"]);
    crate::chap::give(&volume, "another-word");
    volume.up();
    volume.unmount().success();
}

#[test]
fn a_server_is_described() {
    if machine_is_missing("faults::a_server_is_described") {
        return;
    }
    let _hosts = Hosts::fresh();
    let volume = Volume::new("a");
    let diagnose = |address: &str| {
        let given = crate::support::options("", "rw", &[("address", address)]);
        volume.call(&["diagnose", &given]).success().json.to_string()
    };
    volume.up();
    for address in ["10.99.0.2", "[fd00:99::2]:3260", "server"] {
        let text = diagnose(address);
        for part in [OPEN, "takes orders", "takes connections", "reserved with the key 0x"] {
            assert!(text.contains(part), "{address} {part}: {text}");
        }
    }
    let text = diagnose("10.99.0.2:1");
    assert!(text.contains("refuses connections"), "{text}");
    volume.unmount().success();
    assert_eq!(records(), 0, "nothing of a discovery is kept");
}
