//! Every call-out of every driver as a process, without a mount: what it answers to good and bad arguments.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may stop at the first surprise")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};
use support::{Answer, Program, World, crash_points, in_private_mounts, options, pod_options, tool};

const ALL: [Program; 3] = [Program::Loop, Program::Ephemeral, Program::Scratch];

#[test]
fn init_declares_what_each_driver_can_do() {
    let capabilities = |program| World::new().call(program, &["init"]).success().json["capabilities"].clone();
    let expected = |attach, metrics, resize| -> Value {
        json!({
            "attach": attach, "selinuxRelabel": true, "supportsMetrics": metrics, "fsGroup": true,
            "requiresFSResize": resize,
        })
    };
    assert_eq!(capabilities(Program::Loop), expected(true, true, true));
    assert_eq!(capabilities(Program::Ephemeral), expected(false, true, false));
    assert_eq!(capabilities(Program::Scratch), expected(false, false, false));
}

#[test]
fn what_a_driver_leaves_to_the_host_is_not_supported() {
    let world = World::new();
    let options = options("", "rw", &[("size", "16Mi")]);
    let left: [(Program, &[&[&str]]); 3] = [
        (Program::Loop, &[&["getvolumename", &options], &["mount", "/x", &options], &["unmount", "/x"]]),
        (
            Program::Ephemeral,
            &[&["attach", &options, "n"], &["waitforattach", "", &options], &["detach", "x", "n"]],
        ),
        (Program::Scratch, &[&["mountdevice", "/x", "", &options], &["unmountdevice", "/x"]]),
    ];
    for (program, calls) in left {
        for call in calls {
            assert_eq!(world.call(program, call).status(), "Not supported", "{call:?}");
        }
    }
    for program in ALL {
        assert_eq!(world.call(program, &["levitate"]).status(), "Not supported");
    }
    assert!(!world.path("state").exists(), "nothing was written");
}

#[test]
fn attach_isattached_and_detach_of_loop_touch_nothing() {
    let world = World::new();
    let options = options("", "rw", &[("size", "16Mi")]);
    let call = |arguments: &[&str]| world.call(Program::Loop, arguments).success().json;
    assert_eq!(call(&["attach", &options, "node"]), json!({"status": "Success"}));
    assert_eq!(call(&["isattached", &options, "node"]), json!({"status": "Success", "attached": true}));
    assert_eq!(call(&["isattached", "node", &options])["attached"], json!(true), "the order of 2017");
    assert_eq!(call(&["detach", "data", "node"]), json!({"status": "Success"}));
    assert!(!world.path("state").exists(), "nothing was written");
}

#[test]
fn bad_options_are_refused_by_every_call_that_reads_them_before_anything_is_touched() {
    let world = World::new();
    let target = world.target();
    let target = target.to_str().unwrap();
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 8] = [
        (&[], &["option \"size\" is required"]),
        (&[("size", "10m")], &["10m", "10Mi"]),
        (&[("size", "-1Gi")], &["negative"]),
        (&[("size", "16Mi"), ("sise", "1Mi")], &["\"sise\"", "did you mean \"size\""]),
        (&[("size", "100Ki")], &["102400 bytes is too small for ext4", "262144"]),
        (&[("size", "16Mi"), ("allocation", "both")], &["reserved", "thin"]),
        (&[("size", "16Mi"), ("directory", "pool")], &["absolute path"]),
        (
            &[("size", "16Mi"), ("directory", "/no/such/pool")],
            &["/no/such/pool does not exist", "mount its disk"],
        ),
    ];
    for (user, texts) in cases {
        let of_loop = options("", "rw", user);
        world.call(Program::Loop, &["waitforattach", "", &of_loop]).failure(texts);
        world.call(Program::Loop, &["mountdevice", target, "", &of_loop]).failure(texts);
        world.call(Program::Loop, &["expandfs", &of_loop, "", target, "1", "1"]).failure(texts);
        let of_pod = pod_options("0b5c", user);
        world.call(Program::Ephemeral, &["mount", target, &of_pod]).failure(texts);
        assert!(!world.path("state").exists(), "something was written for {user:?}");
    }
    let of_loop = options("zfs", "rw", &[("size", "16Mi")]);
    world.call(Program::Loop, &["attach", &of_loop, "node"]).failure(&["zfs", "ext4, xfs and btrfs"]);
    let no_pod = options("", "rw", &[("size", "16Mi")]);
    world.call(Program::Ephemeral, &["mount", target, &no_pod]).failure(&["kubernetes.io/pod.uid"]);
    let sized = options("", "rw", &[("size", "16Mi")]);
    world.call(Program::Scratch, &["mount", target, &sized]).failure(&["this driver has no options"]);
}

#[test]
fn strange_volume_ids_stay_in_the_pool() {
    let world = World::new();
    let make = |id: &str| {
        let options = options("", "rw", &[("size", "1Mi"), ("volume", id), ("allocation", "thin")]);
        world.call(Program::Loop, &["waitforattach", "", &options])
    };
    let files = [
        ("../../escape", "%2E.~..~escape.img"),
        ("..", "%2E..img"),
        ("-rf", "%2Drf.img"),
        ("a\nb c", "a%0Ab%20c.img"),
        ("ä", "%C3%A4.img"),
    ];
    for (id, file) in files {
        let device = make(id).success().json["device"].as_str().unwrap().to_owned();
        assert_eq!(device, world.path("state/loop").join(file).to_str().unwrap());
    }
    make(&"n".repeat(200)).success();
    make(&"n".repeat(255)).failure(&["too long for a file name"]);
    assert_eq!(world.files("."), ["loop"]);
    assert_eq!(world.files("loop").len(), 3 * 6);
}

/// A scratch directory, as its host sees it.
struct Scratch(World);

impl Scratch {
    fn mount(&self) -> Answer {
        let options = pod_options("0b5c", &[]);
        self.0.call(Program::Scratch, &["mount", self.0.target().to_str().unwrap(), &options])
    }

    fn unmount(&self) -> Answer {
        self.unmount_with(&[])
    }

    fn unmount_with(&self, variables: &[(&str, &str)]) -> Answer {
        self.0.call_with(Program::Scratch, &["unmount", self.0.target().to_str().unwrap()], variables)
    }

    fn mounted() -> Self {
        let scratch = Self(World::new());
        scratch.mount().success();
        fs::create_dir_all(scratch.0.target().join("a/b")).unwrap();
        fs::write(scratch.0.target().join("a/file"), "x").unwrap();
        scratch
    }

    #[track_caller]
    fn assert_nothing_is_left(&self) {
        assert_eq!(fs::read_dir(self.0.target()).unwrap().count(), 0);
        assert_eq!(self.0.files("scratch"), [""; 0]);
    }
}

#[test]
fn a_scratch_directory_is_prepared_and_emptied() {
    let scratch = Scratch(World::new());
    let mode = |scratch: &Scratch| fs::metadata(scratch.0.target()).unwrap().permissions().mode() & 0o7777;
    scratch.mount().success();
    assert_eq!(mode(&scratch), 0o777);
    fs::write(scratch.0.target().join("file"), "x").unwrap();
    scratch.mount().success();
    assert!(scratch.0.target().join("file").exists(), "a repeated mount keeps what is there");
    scratch.unmount().success();
    scratch.unmount().success();
    scratch.assert_nothing_is_left();

    let mut options: Value = serde_json::from_str(&pod_options("0b5c", &[])).unwrap();
    options["kubernetes.io/mounterArgs.FsGroup"] = json!("1000");
    let target = scratch.0.target();
    scratch.0.call(Program::Scratch, &["mount", target.to_str().unwrap(), &options.to_string()]).success();
    assert_eq!(mode(&scratch), 0o2770);
    fs::remove_dir(&target).unwrap();
    scratch.unmount().success();
    assert_eq!(scratch.0.files("scratch"), [""; 0]);
    scratch.mount().success();
    scratch.unmount().success();
    scratch.assert_nothing_is_left();
}

#[test]
fn scratch_empties_only_what_it_prepared() {
    let scratch = Scratch(World::new());
    fs::write(scratch.0.target().join("foreign"), "x").unwrap();
    scratch.mount().failure(&["not ours", "is not empty"]);
    scratch.unmount().failure(&["cannot know", "holds files"]);
    assert!(scratch.0.target().join("foreign").exists());
    assert_eq!(scratch.0.files("scratch"), [""; 0]);

    let scratch = Scratch::mounted();
    let (target, aside) = (scratch.0.target(), scratch.0.path("aside"));
    fs::rename(&target, &aside).unwrap();
    symlink(&aside, &target).unwrap();
    scratch.unmount().failure(&[]);
    fs::remove_file(&target).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("foreign"), "x").unwrap();
    scratch.unmount().failure(&["is not the directory that this driver prepared"]);
    assert!(target.join("foreign").exists() && aside.join("a/file").exists());
}

#[test]
fn scratch_never_crosses_a_mount() {
    if !in_private_mounts("scratch_never_crosses_a_mount") {
        return;
    }
    let scratch = Scratch::mounted();
    let (outside, inside) = (scratch.0.path("outside"), scratch.0.target().join("a/b"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("keep"), "x").unwrap();
    tool("mount", &["--bind", outside.to_str().unwrap(), inside.to_str().unwrap()]);
    scratch.unmount().failure(&["is still in use", "is mounted below it"]);
    assert!(outside.join("keep").exists() && scratch.0.target().join("a/file").exists());
    tool("umount", &[inside.to_str().unwrap()]);
    scratch.unmount().success();
    scratch.assert_nothing_is_left();
    tool("mount", &["-t", "tmpfs", "foreign", scratch.0.target().to_str().unwrap()]);
    scratch.mount().failure(&["is a mount point"]);
    scratch.unmount().failure(&["is a mount point"]);
}

/// The mount table knows no symlinks: without resolving them the pod's files went before the mount was noticed.
#[test]
fn scratch_sees_a_mount_below_a_root_that_is_a_symlink() {
    if !in_private_mounts("scratch_sees_a_mount_below_a_root_that_is_a_symlink") {
        return;
    }
    let world = World::new();
    symlink(world.path(""), world.path("link")).unwrap();
    let mount_dir = world.path("link/target");
    let mount_dir = mount_dir.to_str().unwrap();
    let options = pod_options("uid", &[]);
    world.call(Program::Scratch, &["mount", mount_dir, &options]).success();
    let below = world.target().join("z");
    fs::create_dir(&below).unwrap();
    fs::write(world.target().join("a"), "x").unwrap();
    tool("mount", &["-t", "tmpfs", "foreign", below.to_str().unwrap()]);
    world.call(Program::Scratch, &["unmount", mount_dir]).failure(&["is mounted below it"]);
    assert!(world.target().join("a").exists());
    tool("umount", &[below.to_str().unwrap()]);
    world.call(Program::Scratch, &["unmount", mount_dir]).success();
}

#[test]
fn scratch_that_dies_is_called_again() {
    for verb in ["mount", "unmount"] {
        let begin = || if verb == "mount" { Scratch(World::new()) } else { Scratch::mounted() };
        let options = pod_options("0b5c", &[]);
        let run = |scratch: &Scratch, fate: &[(&str, &str)]| {
            let target = scratch.0.target();
            let all = [verb, target.to_str().unwrap(), &options];
            let words = if verb == "mount" { &all[..] } else { &all[..2] };
            scratch.0.call_with(Program::Scratch, words, fate)
        };
        let learned = begin();
        let target = learned.0.target();
        let all = [verb, target.to_str().unwrap(), &options];
        let points =
            crash_points(&learned.0, Program::Scratch, if verb == "mount" { &all } else { &all[..2] });
        assert!(points.len() >= 2, "{points:?}");
        for point in points {
            let scratch = begin();
            assert_eq!(run(&scratch, &[("FLEXVOL_FAILPOINT", &format!("{point}=abort"))]).signal, Some(9));
            run(&scratch, &[]).success();
            run(&scratch, &[]).success();
            scratch.unmount().success();
            scratch.assert_nothing_is_left();
        }
    }
}
