//! The controller's calls, and what is refused before anything is done: no target is needed.

use std::net::TcpListener;

use crate::support::{Program, World, options};
use crate::volume::{Controller, OPEN, Volume};

#[test]
fn a_volume_is_attached_to_one_node_at_a_time() {
    let controller = Controller::new();
    let mut volume = Volume::new("one");
    assert!(!controller.is_attached(&volume, "one"));
    controller.admit(&mut volume, "one");
    let first = volume.pass.clone();
    controller.admit(&mut volume, "one");
    assert_eq!(first, volume.pass, "again is no change");
    assert!(controller.is_attached(&volume, "one") && !controller.is_attached(&volume, "two"));
    controller.attach(&volume, "two").failure(&["LUN 0 of iqn", "is attached to node one", "two writers"]);
    // It is the disk that counts, whichever way leads there.
    let mut same = Volume::new("two").with("targetPortal", "[fd00:99::2]:3260");
    same.name = "other";
    controller.attach(&same, "one").failure(&["as the volume \"data\""]);
    let mut neighbour = Volume::new("two").with("lun", "1");
    neighbour.name = "other";
    controller.attach(&neighbour, "two").success();
    controller.detach(&volume, "two");
    controller.detach(&volume, "one");
    controller.detach(&volume, "one");
    controller.admit(&mut volume, "two");
    assert!(volume.pass.contains(r#""released":[{"node":"one","number":1}]"#), "{}", volume.pass);
    controller.detach(&volume, "two");
    controller.admit(&mut volume, "one");
    assert_ne!(first, volume.pass, "each attachment is another one");
}

#[test]
fn calls_that_come_often_send_no_packet() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let portal = listener.local_addr().unwrap().to_string();
    let controller = Controller::new();
    let volume = Volume::new("one").with("targetPortal", &portal);
    volume.call(&["init"]).success();
    controller.attach(&volume, "one").success();
    assert!(controller.is_attached(&volume, "one"));
    controller.detach(&volume, "one");
    volume.unmount().success();
    assert!(listener.accept().is_err(), "a packet was sent");
}

#[test]
fn what_is_no_volume_is_refused_before_anything_is_done() {
    let world = World::new();
    let portal = ("targetPortal", "s");
    let iqn = ("iqn", OPEN);
    for (user, texts) in [
        (&[][..], &["\"iqn\" is required"][..]),
        (&[iqn], &["\"lun\" is required"]),
        (&[iqn, ("lun", "0")], &["\"targetPortal\" is required"]),
        (&[portal, iqn, ("lnu", "0")], &["did you mean \"lun\"?"]),
        (&[portal, ("iqn", "iqn.2026-01.x:a\nb"), ("lun", "0")], &["option \"iqn\""]),
        (&[("targetPortal", "a,b"), iqn, ("lun", "0")], &["option \"targetPortal\""]),
        (&[("targetPortal", "s:65536"), iqn, ("lun", "0")], &["from 1 to 65535"]),
        (&[portal, iqn, ("lun", "16384")], &["from 0 to 16383"]),
        (&[portal, iqn, ("lun", "0"), ("initiatorName", "a\0b")], &["option \"initiatorName\""]),
        (&[portal, iqn, ("lun", "0"), ("mountOptions", "suid")], &["nosuid and nodev are always on"]),
    ] {
        let given = options("", "rw", user);
        for call in [vec!["attach", &given, "n"], vec!["waitforattach", "", &given]] {
            world.call(Program::Iscsi, &call).failure(texts);
        }
        world.call(Program::IscsiPod, &["mount", world.target().to_str().unwrap(), &given]).failure(texts);
    }
    for directory in ["iscsi", "iscsi-pod"] {
        assert_eq!(world.files(directory), [""; 0]);
    }
}

#[test]
fn a_server_that_is_not_there_is_told_from_one_that_refuses() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let volume = Volume::new("one").with("targetPortal", &closed);
    volume.connect().failure(&["LUN 0 of iqn", "refuses connections"]);
    volume.connect().failure(&["refuses connections"]);
    assert_eq!(volume.world.files("iscsi/volumes").iter().filter(|name| name.ends_with(".json")).count(), 0);
    let volume = Volume::new("one").with("targetPortal", "no-such-host.invalid");
    volume.connect().failure(&["no-such-host.invalid"]);
}

#[test]
fn a_node_is_described_whatever_is_missing_there() {
    let world = World::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for program in [Program::Iscsi, Program::IscsiPod] {
        let answer =
            world.call(program, &["diagnose", &options("", "rw", &[("address", &closed)])]).success();
        let text = answer.json.to_string();
        for part in ["open-iscsi", "iscsid", "initiator", "refuses connections"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        world
            .call(program, &["diagnose", &options("", "rw", &[("address", "a b")])])
            .failure(&["\"address\""]);
    }
}
