//! Volumes made, listed and deleted by an administrator.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may stop at the first surprise")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Answer, Program, World, crash_points, in_private_mounts, installed, pod_options, tool};

const MIB: u64 = 1 << 20;

/// Options that name `volume`, and say this besides.
fn named(volume: &str, user: &[(&str, &str)]) -> String {
    let mut map = json!({
        "kubernetes.io/fsType": "",
        "kubernetes.io/readwrite": "rw",
        "kubernetes.io/pvOrVolumeName": volume,
    });
    for (key, value) in user {
        map[*key] = json!(value);
    }
    map.to_string()
}

/// A node, and the driver `loop` on it.
struct Node(World);

impl Node {
    fn new() -> Self {
        Self(World::new())
    }

    fn call(&self, verb: &str, volume: &str, user: &[(&str, &str)]) -> Answer {
        self.0.call(Program::Loop, &[verb, &named(volume, user)])
    }

    fn create(&self, volume: &str) -> Value {
        let answer = self.call("createvolume", volume, &[("size", "1Mi"), ("allocation", "thin")]);
        answer.success().json["volume"].clone()
    }

    fn list(&self) -> Vec<Value> {
        self.call("listvolumes", "", &[]).success().json["volumes"].as_array().unwrap().clone()
    }

    fn pool(&self, name: &str) -> std::path::PathBuf {
        self.0.path("state/loop").join(name)
    }
}

/// What is interesting of each volume of a list.
fn shown(volumes: &[Value]) -> Vec<String> {
    let word = |volume: &Value, key: &str| volume[key].as_str().unwrap_or("-").to_owned();
    volumes.iter().map(|v| format!("{} {} {}", word(v, "id"), word(v, "state"), word(v, "orphan"))).collect()
}

#[test]
fn a_volume_is_made_listed_used_and_deleted() {
    let name = "a_volume_is_made_listed_used_and_deleted";
    if !in_private_mounts(name) {
        return;
    }
    let node = Node::new();
    let made = node.create("data");
    assert_eq!((made["id"].as_str(), made["state"].as_str()), (Some("data"), Some("ready")));
    assert_eq!((made["size"].as_u64(), made["kind"].as_str()), (Some(MIB), Some("thin")));
    assert_eq!(node.create("data"), made, "a second time changes nothing");
    assert_eq!(node.list(), std::slice::from_ref(&made));

    // What the description says of the options is what a manifest says to use the volume.
    let mut options = made["options"].clone();
    options["kubernetes.io/pvOrVolumeName"] = json!("some-pv");
    options["kubernetes.io/fsType"] = made["fsType"].clone();
    options["kubernetes.io/readwrite"] = json!("rw");
    let options = options.to_string();
    let device = node.0.call(Program::Loop, &["waitforattach", "", &options]).success();
    let device = device.json["device"].as_str().unwrap().to_owned();
    assert_eq!(made["device"].as_str(), Some(&*device));
    let target = node.0.target();
    let target = target.to_str().unwrap();
    node.0.call(Program::Loop, &["mountdevice", target, &device, &options]).success();
    let used = &node.list()[0];
    assert_eq!(used["mounts"], json!([target]));
    assert_eq!(used["inUseBy"].as_array().unwrap().len(), 2);
    for dry_run in ["true", "false"] {
        node.call("deletevolume", "data", &[("dryRun", dry_run)])
            .failure(&["is still in use", "attached as"]);
    }
    assert_eq!(node.0.mounts_at(Path::new(target)).len(), 1);
    node.0.call(Program::Loop, &["unmountdevice", target]).success();

    let dry = node.call("deletevolume", "data", &[("dryRun", "true")]).success();
    assert_eq!(dry.json["volume"]["id"].as_str(), Some("data"));
    assert_eq!(node.list().len(), 1);
    let gone = node.call("deletevolume", "data", &[]).success();
    assert_eq!(gone.json["volume"], dry.json["volume"]);
    assert_eq!(node.list().len(), 0);
    assert_eq!(node.0.files("loop"), [""; 0]);
    let again = node.call("deletevolume", "data", &[]).success();
    assert_eq!(again.json["volume"], Value::Null);
    assert_eq!(node.0.files("loop"), [""; 0]);
}

#[test]
fn what_is_not_absent_is_deleted_by_nobody_but_who_says_why() {
    let node = Node::new();
    for volume in ["bare", "bereft", "damaged", "half", "removed"] {
        node.create(volume);
    }
    let edit = |volume: &str, state: &str| {
        let path = node.pool(&format!("{volume}.json"));
        let text = fs::read_to_string(&path).unwrap().replace("ready", state);
        fs::write(&path, text).unwrap();
    };
    fs::remove_file(node.pool("bare.json")).unwrap();
    fs::remove_file(node.pool("bereft.img")).unwrap();
    fs::write(node.pool("damaged.json"), "{").unwrap();
    edit("half", "creating");
    edit("removed", "removing");
    fs::write(node.pool(".half.img.00000000"), "an attempt before the last one").unwrap();
    assert_eq!(
        shown(&node.list()),
        [
            "bare unknown noRecord",
            "bereft unknown noData",
            "damaged unknown -",
            "half creating halfMade",
            "half unknown halfMade",
            "removed removing halfRemoved",
        ]
    );
    node.call("deletevolume", "bare", &[]).failure(&["not ours", "has no record beside it"]);
    node.call("deletevolume", "bereft", &[]).failure(&["cannot know", "is missing"]);
    node.call("deletevolume", "damaged", &[]).failure(&["cannot know", "not a record"]);
    let wrong = node.call("deletevolume", "bare", &[("orphan", "noData")]);
    wrong.failure(&["no orphan of the kind \"noData\"", "it is noRecord", "nothing was changed"]);
    node.call("deletevolume", "damaged", &[("orphan", "noRecord")]).failure(&["it is unknown cannot know"]);
    assert_eq!(node.list().len(), 6);

    for (volume, orphan) in
        [("bare", "noRecord"), ("bereft", "noData"), ("half", "halfMade"), ("removed", "halfRemoved")]
    {
        let before = node.list();
        node.call("deletevolume", volume, &[("orphan", orphan), ("dryRun", "true")]).success();
        assert_eq!(node.list(), before);
        node.call("deletevolume", volume, &[("orphan", orphan)]).success();
    }
    node.call("deletevolume", "half", &[("orphan", "halfMade")]).success();
    assert_eq!(shown(&node.list()), ["damaged unknown -"]);
    assert_eq!(node.0.files("loop"), [".damaged.lock", "damaged.img", "damaged.json"]);
}

#[test]
fn a_creation_that_goes_on_is_no_orphan() {
    let node = Node::new();
    node.create("data");
    let path = node.pool("data.json");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("ready", "creating")).unwrap();
    let lock = flexvolume_os::lock::Lock::acquire(&node.pool(".data.lock"), Duration::ZERO).unwrap();
    assert_eq!(shown(&node.list()), ["data creating -"]);
    drop(lock);
    assert_eq!(shown(&node.list()), ["data creating halfMade"]);
}

#[test]
fn another_driver_s_volume_is_shown_and_never_deleted() {
    let node = Node::new();
    node.create("data");
    let path = node.pool("data.json");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("flexvol/loop", "acme/loop")).unwrap();
    let volumes = node.list();
    assert_eq!(volumes[0]["note"].as_str(), Some("belongs to another driver"));
    node.call("deletevolume", "data", &[]).failure(&["not ours", "acme/loop"]);
    for orphan in ["noRecord", "noData", "podGone", "halfMade", "halfRemoved"] {
        node.call("deletevolume", "data", &[("orphan", orphan)]).failure(&["nothing was changed"]);
    }
    assert_eq!(node.list(), volumes);
}

#[test]
fn a_directory_that_is_no_pool_shows_and_loses_nothing() {
    let node = Node::new();
    let elsewhere = node.0.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    tool("chmod", &["0700", elsewhere.to_str().unwrap()]);
    fs::write(elsewhere.join("disk.img"), "somebody's virtual machine").unwrap();
    let directory = [("directory", elsewhere.to_str().unwrap())];
    let listed = node.call("listvolumes", "", &directory).success();
    assert_eq!(listed.json["volumes"], json!([]));
    node.call("deletevolume", "disk", &directory).failure(&["not ours"]);
    let orphan = [directory[0], ("orphan", "noRecord")];
    node.call("deletevolume", "disk", &orphan).failure(&["there is nothing of it"]);
    assert_eq!(fs::read_to_string(elsewhere.join("disk.img")).unwrap(), "somebody's virtual machine");

    let made = [directory[0], ("size", "1Mi"), ("allocation", "thin")];
    node.call("createvolume", "data", &made).success();
    let away = node.0.path("away");
    fs::rename(&elsewhere, &away).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    tool("chmod", &["0700", elsewhere.to_str().unwrap()]);
    for verb in ["listvolumes", "deletevolume", "getcapacity"] {
        node.call(verb, "data", &directory).failure(&["is its disk mounted?"]);
    }
}

#[test]
fn every_wrong_word_is_told_and_makes_nothing() {
    let node = Node::new();
    let long = "x".repeat(201);
    for (volume, user, expected) in [
        ("a", &[("size", "0")][..], "zero"),
        ("a", &[("size", "-1")], "negative"),
        ("a", &[("size", "10m")], "for mebibytes write 10Mi"),
        ("a", &[("size", "1GB")], "probably Gi was meant"),
        ("a", &[("size", "8Ei")], "is more than"),
        ("a", &[("size", "1")], "too small for ext4"),
        (
            "a",
            &[("size", "4Ei"), ("allocation", "reserved")],
            "has no room: 4611686018427387904 bytes are needed and",
        ),
        ("a", &[], "\"size\" is required"),
        ("", &[("size", "1Mi")], "is empty"),
        (&long, &[("size", "1Mi")], "is too long"),
        ("a", &[("size", "1Mi"), ("sise", "2Mi")], "did you mean \"size\"?"),
        ("a", &[("size", "1Mi"), ("erase", "shred")], "it is \"none\", \"discard\" or \"zero\""),
        ("a", &[("size", "1Mi"), ("dryRun", "true")], "unknown option \"dryRun\""),
        ("a", &[("size", "1Mi"), ("source", "a")], "cannot be a copy of itself"),
        ("a", &[("size", "1Mi"), ("source", "nothing")], "does not exist"),
        ("a", &[("size", "1Mi"), ("directory", "../x")], "absolute path without `..`"),
    ] {
        let answer = node.call("createvolume", volume, user);
        assert_eq!(answer.status(), "Failure", "{volume} {user:?} {answer:?}");
        assert!(answer.message().contains(expected), "{volume} {user:?}: {}", answer.message());
    }
    assert_eq!(node.0.files("loop"), [""; 0]);
    for (user, expected) in [
        (&[("orphan", "yes")][..], "it is one of noRecord, noData"),
        (&[("dryRun", "yes")], "it is \"true\" or \"false\""),
        (&[("erase", "")], ""),
    ] {
        let answer = node.call("deletevolume", "a", user);
        assert!(answer.message().contains(expected), "{user:?}: {}", answer.message());
    }
    for (name, file) in [("..", "%2E..img"), ("-x", "%2Dx.img"), ("a/b c", "a~b%20c.img")] {
        node.create(name);
        assert!(node.pool(file).exists());
        node.call("deletevolume", name, &[]).success();
    }
    node.create("odd");
    node.call("createvolume", "odd", &[("size", "2Mi"), ("allocation", "thin")])
        .failure(&["of 1048576 bytes, but of 2097152"]);
    let rounded =
        node.call("createvolume", "fraction", &[("size", "1000001"), ("allocation", "thin")]).success();
    assert_eq!(rounded.json["volume"]["size"].as_u64(), Some(1_003_520));
    assert_eq!(rounded.json["volume"]["options"]["size"].as_str(), Some("980Ki"));
}

#[test]
fn a_deletion_that_dies_anywhere_is_finished_by_the_next_one() {
    for erase in ["none", "discard", "zero"] {
        let arguments = ["deletevolume", &named("data", &[("erase", erase)])];
        let node = Node::new();
        node.create("data");
        let points = crash_points(&node.0, Program::Loop, &arguments);
        assert!(points.len() >= 5, "{points:?}");
        for point in points {
            node.create("data");
            let point = format!("{point}=abort");
            let died = node.0.call_with(Program::Loop, &arguments, &[("FLEXVOL_FAILPOINT", &point)]);
            assert!(died.signal.is_some(), "{point}: {died:?}");
            for volume in node.list() {
                assert!(volume["state"] == "ready" || volume["orphan"] == "halfRemoved", "{point}: {volume}");
            }
            node.0.call(Program::Loop, &arguments).success();
            assert_eq!(
                node.0.files("loop").iter().filter(|name| !name.ends_with(".lock")).count(),
                0,
                "{point}"
            );
        }
    }
}

#[test]
fn reserved_volumes_are_never_promised_twice() {
    let node = Node::new();
    let room = node.call("getcapacity", "", &[]).success();
    let (total, free) = (room.json["capacity"]["total"].as_u64(), room.json["capacity"]["free"].as_u64());
    assert!(free > Some(0) && free < total, "{room:?}");
    assert_eq!(room.json["capacity"]["pool"].as_str(), node.0.path("state/loop").to_str());
    assert!(!node.0.path("state").exists(), "to ask changes nothing");
    node.call("createvolume", "reserved", &[("size", "4Mi")]).success();
    // Somebody trims it: the blocks must come back, whatever else wants them.
    File::options().write(true).open(node.pool("reserved.img")).unwrap();
    tool(
        "fallocate",
        &[
            "--punch-hole",
            "--offset",
            "2097152",
            "--length",
            "2097152",
            node.pool("reserved.img").to_str().unwrap(),
        ],
    );
    let image = fs::metadata(node.pool("reserved.img")).unwrap();
    assert!(image.blocks() * 512 < image.len());
    let room = node.call("getcapacity", "", &[]).success();
    assert_eq!(room.json["capacity"]["reserved"].as_u64(), Some(4 * MIB));
    node.create("thin");
    let room = node.call("getcapacity", "", &[]).success();
    assert_eq!(room.json["capacity"]["thin"]["total"].as_u64(), Some(MIB));
}

#[test]
fn the_volume_of_a_pod_that_is_gone_is_an_orphan_and_no_other_is() {
    let name = "the_volume_of_a_pod_that_is_gone_is_an_orphan_and_no_other_is";
    if !in_private_mounts(name) {
        return;
    }
    let world = World::new();
    let mount_dir = |uid: &str| world.path(&format!("pods/{uid}/volumes/flexvol~loop-ephemeral/data"));
    let call = |verb: &str, volume: &str, user: &[(&str, &str)]| {
        world.call(Program::Ephemeral, &[verb, &named(volume, user)])
    };
    for uid in ["uid-1", "uid-2"] {
        fs::create_dir_all(mount_dir(uid)).unwrap();
        let options = pod_options(uid, &[("size", "1Mi")]);
        world.call(Program::Ephemeral, &["mount", mount_dir(uid).to_str().unwrap(), &options]).success();
    }
    let listed = || call("listvolumes", "", &[]).success().json["volumes"].as_array().unwrap().clone();
    assert_eq!(shown(&listed()), ["uid-1/data ready -", "uid-2/data ready -"]);
    call("deletevolume", "uid-1/data", &[("orphan", "podGone")]).failure(&["nothing was changed"]);
    // A pod that was deleted while nobody could call `unmount`.
    tool("umount", &[mount_dir("uid-1").to_str().unwrap()]);
    for directory in mount_dir("uid-1").ancestors().take(4) {
        fs::remove_dir(directory).unwrap();
    }
    assert_eq!(shown(&listed()), ["uid-1/data ready podGone", "uid-2/data ready -"]);
    call("deletevolume", "uid-1/data", &[]).failure(&["it belongs to", "orphan=podGone"]);
    call("deletevolume", "uid-2/data", &[("orphan", "podGone")]).failure(&["it is ready"]);
    call("deletevolume", "uid-1/data", &[("orphan", "podGone"), ("dryRun", "true")]).success();
    assert_eq!(listed().len(), 2);
    call("deletevolume", "uid-1/data", &[("orphan", "podGone")]).success();
    assert_eq!(shown(&listed()), ["uid-2/data ready -"]);
    assert_eq!(world.files("loop-ephemeral/claims").len(), 1);
    call("createvolume", "x", &[("size", "1Mi")]);
    world.call(Program::Ephemeral, &["unmount", mount_dir("uid-2").to_str().unwrap()]).success();
    assert_eq!(listed().len(), 0);
}

#[test]
fn a_foreign_loop_mount_is_not_unmounted() {
    let name = "a_foreign_loop_mount_is_not_unmounted";
    if !in_private_mounts(name) {
        return;
    }
    let node = Node::new();
    let (image, target) = (node.0.path("foreign.img"), node.0.target());
    let (image, target) = (image.to_str().unwrap(), target.to_str().unwrap());
    File::create(image).unwrap().set_len(4 * MIB).unwrap();
    tool("mkfs.ext4", &["-q", "-F", image]);
    tool("mount", &["-o", "loop", image, target]);
    node.0.call(Program::Loop, &["unmountdevice", target]).failure(&["not ours", "no volume of this driver"]);
    assert_eq!(node.0.mounts_at(Path::new(target)).len(), 1);
    tool("umount", &[target]);
}

#[test]
fn a_volume_that_grows_while_it_is_not_mounted_is_grown_by_the_next_mount() {
    let name = "a_volume_that_grows_while_it_is_not_mounted_is_grown_by_the_next_mount";
    if !in_private_mounts(name) {
        return;
    }
    // An ext4 is grown only with CAP_SYS_RESOURCE; without it the data must be there all the same.
    for (fs_type, old, new) in [("ext4", "8Mi", 32 * MIB), ("xfs", "300Mi", 600 * MIB)] {
        if !installed(&format!("mkfs.{fs_type}")) {
            eprintln!("skipped: {name}/{fs_type}: needs xfsprogs");
            continue;
        }
        let node = Node::new();
        let options = named("data", &[("size", old), ("allocation", "thin")])
            .replace(r#"fsType":""#, &format!(r#"fsType":"{fs_type}"#));
        node.0.call(Program::Loop, &["createvolume", &options]).success();
        let target = node.0.target();
        let (image, target) = (node.pool("data.img"), target.to_str().unwrap());
        let grow = ["expandvolume", &options, image.to_str().unwrap(), &new.to_string(), "0"];
        assert_eq!(node.0.call(Program::Loop, &grow).success().json["volumeNewSize"].as_u64(), Some(new));
        let note = || node.list()[0]["note"].as_str().unwrap_or_default().to_owned();
        assert!(note().contains(&format!("still has {old}")), "{}", note());
        node.0.call(Program::Loop, &["mountdevice", target, "", &options]).success();
        let figures = rustix::fs::statvfs(target).unwrap();
        let is_grown = figures.f_blocks * figures.f_frsize > new * 3 / 4;
        assert_eq!(is_grown, note().is_empty());
        assert!(is_grown || fs_type == "ext4");
        fs::write(node.0.target().join("file"), "x").unwrap();
        node.0.call(Program::Loop, &["unmountdevice", target]).success();
    }
}

/// A pool on a file system of its own, mounted in the world; `None` where its tool is missing.
fn pool_on(node: &Node, fs_type: &str) -> Option<String> {
    if !installed(&format!("mkfs.{fs_type}")) {
        return None;
    }
    let (disk, pool) = (node.0.path("disk"), node.0.path("pool"));
    File::create(&disk).unwrap().set_len(1 << 30).unwrap();
    fs::create_dir(&pool).unwrap();
    tool(&format!("mkfs.{fs_type}"), &["-q", disk.to_str().unwrap()]);
    tool("mount", &["-o", "loop", disk.to_str().unwrap(), pool.to_str().unwrap()]);
    tool("chmod", &["0700", pool.to_str().unwrap()]);
    Some(pool.to_str().unwrap().to_owned())
}

#[test]
fn a_copy_has_the_content_another_uuid_and_is_mounted_beside_its_source() {
    let name = "a_copy_has_the_content_another_uuid_and_is_mounted_beside_its_source";
    if !in_private_mounts(name) {
        return;
    }
    for (fs_type, size) in [("ext4", "16Mi"), ("xfs", "300Mi"), ("btrfs", "128Mi")] {
        for allocation in ["thin", "reserved"] {
            if !installed(&format!("mkfs.{fs_type}")) {
                eprintln!("skipped: {name}/{fs_type}: needs its tools");
                continue;
            }
            let node = Node::new();
            let call = |verb: &[&str], volume: &str, user: &[(&str, &str)]| {
                let options = named(volume, &[&[("size", size), ("allocation", allocation)], user].concat());
                let options = options.replace(r#"fsType":""#, &format!(r#"fsType":"{fs_type}"#));
                node.0.call(Program::Loop, &[verb, &[&options]].concat())
            };
            let (one, other) = (node.0.target(), node.0.path("other"));
            fs::create_dir(&other).unwrap();
            call(&["createvolume"], "one", &[]).success();
            call(&["mountdevice", one.to_str().unwrap(), ""], "one", &[]).success();
            fs::write(one.join("file"), "precious").unwrap();
            call(&["createvolume"], "other", &[("source", "one")])
                .failure(&["is still in use", "unmount it"]);
            node.0.call(Program::Loop, &["unmountdevice", one.to_str().unwrap()]).success();
            // What the file system is need not be said.
            let plain = [("size", size), ("allocation", allocation), ("source", "one")];
            let made = node.call("createvolume", "other", &plain).success().json["volume"].clone();
            assert_eq!(node.call("createvolume", "other", &plain).success().json["volume"], made);
            assert_eq!((made["source"].as_str(), made["fsType"].as_str()), (Some("one"), Some(fs_type)));
            for (volume, target) in [("one", &one), ("other", &other)] {
                call(&["mountdevice", target.to_str().unwrap(), ""], volume, &[]).success();
            }
            assert_eq!(fs::read_to_string(other.join("file")).unwrap(), "precious");
            fs::write(other.join("file"), "changed").unwrap();
            assert_eq!(fs::read_to_string(one.join("file")).unwrap(), "precious");
            for target in [&one, &other] {
                node.0.call(Program::Loop, &["unmountdevice", target.to_str().unwrap()]).success();
            }
            node.call("deletevolume", "one", &[]).success();
            assert_eq!(
                node.call("createvolume", "other", &plain).success().json["volume"]["uuid"],
                made["uuid"]
            );
            let smaller = [("size", "8Mi"), ("allocation", allocation), ("source", "other")];
            if fs_type == "ext4" {
                node.call("createvolume", "third", &smaller).failure(&["at least that of the source"]);
                node.call(
                    "createvolume",
                    "other",
                    &[("size", size), ("allocation", allocation), ("source", "x")],
                )
                .failure(&["with the source one, but x"]);
            }
        }
    }
}

#[test]
fn a_volume_of_the_size_that_is_said_to_be_free_can_be_made_and_no_larger_one() {
    let name = "a_volume_of_the_size_that_is_said_to_be_free_can_be_made_and_no_larger_one";
    if !in_private_mounts(name) {
        return;
    }
    for pool_type in ["ext4", "xfs", "btrfs"] {
        let node = Node::new();
        let Some(pool) = pool_on(&node, pool_type) else {
            eprintln!("skipped: {name}/{pool_type}: needs its tools");
            continue;
        };
        let directory = [("directory", &*pool)];
        let free = |node: &Node| {
            let room = node.call("getcapacity", "", &directory).success();
            room.json["capacity"]["free"].as_u64().unwrap()
        };
        let create = |volume: &str, size: u64| {
            node.call("createvolume", volume, &[directory[0], ("size", &size.to_string())])
        };
        create("first", 100 * MIB).success();
        let all = free(&node);
        create("larger", all + 64 * MIB).failure(&["has no room", "are needed and"]);
        create("all", all).success();
        assert!(free(&node) < 32 * MIB, "{pool_type}: {}", free(&node));
        create("none", 64 * MIB).failure(&["has no room"]);
        node.call("deletevolume", "all", &directory).success();
        // Some file systems give blocks back a while later.
        let begun = Instant::now();
        while free(&node) < all - 8 * MIB && begun.elapsed() < Duration::from_secs(20) {
            tool("sync", &["-f", &pool]);
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(free(&node) > all - 8 * MIB, "{pool_type}: {} of {all}", free(&node));
        tool("umount", &[&pool]);
    }
}

#[test]
fn a_thin_volume_that_is_in_use_is_copied_at_once_where_blocks_can_be_shared() {
    let name = "a_thin_volume_that_is_in_use_is_copied_at_once_where_blocks_can_be_shared";
    if !in_private_mounts(name) {
        return;
    }
    for pool_type in ["xfs", "btrfs"] {
        let node = Node::new();
        let Some(pool) = pool_on(&node, pool_type) else {
            eprintln!("skipped: {name}/{pool_type}: needs its tools");
            continue;
        };
        let user = [("size", "64Mi"), ("allocation", "thin"), ("directory", &*pool)];
        let (one, other) = (node.0.target(), node.0.path("other"));
        fs::create_dir(&other).unwrap();
        let mount = |volume: &str, target: &Path| {
            node.0
                .call(Program::Loop, &["mountdevice", target.to_str().unwrap(), "", &named(volume, &user)])
                .success()
        };
        node.call("createvolume", "one", &user).success();
        mount("one", &one);
        fs::write(one.join("file"), vec![7; 8 << 20]).unwrap();
        tool("sync", &["-f", one.join("file").to_str().unwrap()]);
        let before = rustix::fs::statvfs(&*pool).unwrap();
        node.call("createvolume", "other", &[&user[..], &[("source", "one")]].concat()).success();
        let after = rustix::fs::statvfs(&*pool).unwrap();
        let taken = before.f_bavail.saturating_sub(after.f_bavail) * after.f_frsize;
        assert!(taken < 4 * MIB, "{pool_type}: {taken} bytes for a copy of 8 MiB that share their blocks");
        mount("other", &other);
        assert!(fs::read(other.join("file")).unwrap() == vec![7; 8 << 20]);
        // To share blocks must not make either of them need another device than the one that it was made for.
        for _ in 0..2 {
            for target in [&one, &other] {
                node.0.call(Program::Loop, &["unmountdevice", target.to_str().unwrap()]).success();
            }
            mount("one", &one);
            mount("other", &other);
        }
        for target in [&one, &other] {
            node.0.call(Program::Loop, &["unmountdevice", target.to_str().unwrap()]).success();
        }
        tool("umount", &[&pool]);
    }
}

#[test]
fn a_copy_that_dies_anywhere_is_made_by_the_next_call_and_the_source_is_unharmed() {
    let node = Node::new();
    let one = node.create("one");
    let user = [("size", "1Mi"), ("allocation", "thin"), ("source", "one")];
    let arguments = ["createvolume", &named("other", &user)];
    let points = crash_points(&node.0, Program::Loop, &arguments);
    assert!(points.iter().any(|point| point == "image.copied#1"), "{points:?}");
    for point in points {
        node.call("deletevolume", "other", &[]).success();
        let died =
            node.0.call_with(Program::Loop, &arguments, &[("FLEXVOL_FAILPOINT", &format!("{point}=abort"))]);
        assert!(died.signal.is_some(), "{point}: {died:?}");
        let made = node.0.call(Program::Loop, &arguments).success();
        assert_eq!(shown(&node.list()), ["one ready -", "other ready -"], "{point}");
        assert_ne!(made.json["volume"]["uuid"], one["uuid"]);
    }
    assert_eq!(node.list()[0], one);
}

#[test]
fn a_diagnosis_names_what_is_wrong_and_changes_nothing() {
    let node = Node::new();
    let findings = |user: &[(&str, &str)]| {
        let answer = node.call("diagnose", "", user).success();
        let findings = answer.json["findings"].as_array().unwrap().clone();
        let line = |f: &Value| {
            format!(
                "{} {}: {}",
                f["severity"].as_str().unwrap(),
                f["subject"].as_str().unwrap(),
                f["what"].as_str().unwrap()
            )
        };
        findings.iter().map(line).collect::<Vec<_>>()
    };
    let has = |lines: &[String], words: &str| {
        assert!(lines.iter().any(|line| line.contains(words)), "{words}: {lines:#?}");
    };
    has(&findings(&[]), "does not exist yet");
    assert!(!node.0.path("state").exists());
    for volume in ["data", "bereft", "damaged"] {
        node.create(volume);
    }
    has(&findings(&[]), "3 volumes");
    fs::remove_file(node.pool("bereft.img")).unwrap();
    fs::write(node.pool("damaged.json"), "{").unwrap();
    let lines = findings(&[]);
    has(&lines, "good tools of ext4: mke2fs");
    has(&lines, "orphans of the kind noData, such as \"bereft\"");
    has(&lines, "problem volume damaged: cannot know");
    has(&findings(&[("directory", "/nowhere/at/all")]), "problem pool /nowhere/at/all: pool directory");
}
