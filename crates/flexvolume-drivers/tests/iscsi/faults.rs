//! Servers that fail, and what holds all the same.

use std::fs;
use std::net::TcpListener;
use std::time::Instant;

use crate::volume::{
    Hosts, OPEN, SILENT_UNMOUNT, Volume, eventually, machine_is_missing, records, sessions, shell,
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
