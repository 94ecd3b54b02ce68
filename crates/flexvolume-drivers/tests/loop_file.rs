//! The driver `loop` with real file systems, mounted in a private mount namespace.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may stop at the first surprise")]

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;

use support::{Answer, Program, World, answer, crash_points, in_private_mounts, installed, options, tool};

const MIB: u64 = 1 << 20;

/// One volume, as the driver's host sees it.
struct Volume {
    world: World,
    options: String,
}

impl Volume {
    fn of(fs_type: &str, user: &[(&str, &str)]) -> Self {
        Self { world: World::new(), options: options(fs_type, "rw", user) }
    }

    fn ext4(size: &str) -> Self {
        Self::of("ext4", &[("size", size)])
    }

    fn call(&self, arguments: &[&str]) -> Answer {
        self.world.call(Program::Loop, arguments)
    }

    fn make(&self) -> Answer {
        self.call(&["waitforattach", "", &self.options])
    }

    fn mount(&self) -> Answer {
        self.call(&["mountdevice", self.world.target().to_str().unwrap(), &self.image(), &self.options])
    }

    fn unmount(&self) -> Answer {
        self.call(&["unmountdevice", self.world.target().to_str().unwrap()])
    }

    fn expand_fs(&self, new_size: u64) -> Answer {
        let target = self.world.target();
        self.call(&["expandfs", &self.options, "", target.to_str().unwrap(), &new_size.to_string(), "0"])
    }

    fn image(&self) -> String {
        self.world.path("state/loop/data.img").to_str().unwrap().to_owned()
    }

    fn record(&self) -> String {
        self.image().replace(".img", ".json")
    }

    fn target(&self, name: &str) -> std::path::PathBuf {
        self.world.target().join(name)
    }

    /// Made, mounted, with a file on it.
    fn mounted(self) -> Self {
        self.make().success();
        self.mount().success();
        fs::write(self.target("file"), "precious").unwrap();
        self
    }

    #[track_caller]
    fn assert_gone_but_kept(&self) {
        assert_eq!(self.world.mounts_at(&self.world.target()), [""; 0]);
        self.world.assert_no_loops();
        assert_eq!(self.world.files("loop"), [".data.lock", "data.img", "data.json"]);
    }

    #[track_caller]
    fn assert_mounted_once_with_the_file(&self) {
        assert_eq!(self.world.mounts_at(&self.world.target()).len(), 1);
        assert_eq!(self.world.loops().len(), 1);
        assert_eq!(fs::read_to_string(self.target("file")).unwrap(), "precious");
    }
}

/// Writes until the file system says no, and returns the error and how much it took.
fn fill(path: &Path) -> (std::io::Error, u64) {
    let mut file = File::create(path).unwrap();
    let block = vec![0x5a; 1 << 20];
    let mut written = 0;
    loop {
        match file.write(&block).and_then(|count| file.sync_data().map(|()| count)) {
            Ok(count) => written += count as u64,
            Err(error) => return (error, written),
        }
    }
}

fn file_systems(test: &str) -> Vec<(&'static str, &'static str)> {
    let all = [("ext4", "16Mi"), ("xfs", "300Mi"), ("btrfs", "128Mi")];
    let (run, skipped): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(fs_type, _)| installed(&format!("mkfs.{fs_type}")));
    for (fs_type, _) in skipped {
        let package = if fs_type == "xfs" { "xfsprogs" } else { "btrfs-progs" };
        eprintln!("skipped: {test}/{fs_type}: needs {package}");
    }
    run
}

#[test]
fn a_volume_lives_from_nothing_to_mounted_and_back_and_keeps_its_data() {
    let name = "a_volume_lives_from_nothing_to_mounted_and_back_and_keeps_its_data";
    if !in_private_mounts(name) {
        return;
    }
    for (fs_type, size) in file_systems(name) {
        for allocation in ["reserved", "thin"] {
            let volume = Volume::of(fs_type, &[("size", size), ("allocation", allocation)]);
            volume.call(&["attach", &volume.options, "node"]).success();
            let made = volume.make().success();
            assert_eq!(made.json["device"].as_str(), Some(&*volume.image()));
            volume.world.assert_no_loops();
            volume.mount().success();
            let mounted = &volume.world.mounts_at(&volume.world.target())[0];
            assert!(mounted.contains(&format!(" - {fs_type} ")), "{mounted}");
            let options = mounted.split_whitespace().last().unwrap();
            let discards = options.split(',').any(|option| option.starts_with("discard"));
            assert_eq!(discards, allocation == "thin", "{mounted}");
            fs::write(volume.target("file"), "precious").unwrap();
            volume.unmount().success();
            volume.assert_gone_but_kept();
            volume.make().success();
            volume.mount().success();
            volume.assert_mounted_once_with_the_file();
            volume.unmount().success();
            volume.call(&["detach", "data", "node"]).success();
            volume.assert_gone_but_kept();
        }
    }
}

#[test]
fn the_size_is_enforced() {
    let name = "the_size_is_enforced";
    if !in_private_mounts(name) {
        return;
    }
    for (fs_type, size) in file_systems(name) {
        let volume = Volume::of(fs_type, &[("size", size)]).mounted();
        let length = fs::metadata(volume.image()).unwrap().len();
        let (error, written) = fill(&volume.target("big"));
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{fs_type}: {error}");
        assert!(written < length && written > length / 4, "{fs_type}: {written} of {length}");
        volume.assert_mounted_once_with_the_file();
        volume.unmount().success();
        assert_eq!(fs::metadata(volume.image()).unwrap().len(), length);
    }
}

#[test]
fn reserved_blocks_stay_reserved_and_thin_ones_come_back() {
    let name = "reserved_blocks_stay_reserved_and_thin_ones_come_back";
    if !in_private_mounts(name) {
        return;
    }
    let allocated = |volume: &Volume| fs::metadata(volume.image()).unwrap().blocks() * 512;
    for (fs_type, size) in file_systems(name) {
        let reserved = Volume::of(fs_type, &[("size", size)]).mounted();
        let length = fs::metadata(reserved.image()).unwrap().len();
        assert!(allocated(&reserved) >= length, "{fs_type}: {} of {length}", allocated(&reserved));
        tool("fstrim", &[reserved.world.target().to_str().unwrap()]);
        assert!(allocated(&reserved) < length, "{fs_type}: a trim takes blocks");
        reserved.unmount().success();
        reserved.mount().success();
        assert!(allocated(&reserved) >= length, "{fs_type}: a mount brings them back");
        reserved.unmount().success();
        let thin = Volume::of(fs_type, &[("size", size), ("allocation", "thin")]).mounted();
        assert!(allocated(&thin) < length / 2, "{fs_type}: {} of {length}", allocated(&thin));
        thin.unmount().success();
    }
}

#[test]
fn every_call_may_be_repeated() {
    if !in_private_mounts("every_call_may_be_repeated") {
        return;
    }
    let volume = Volume::ext4("16Mi").mounted();
    for _ in 0..2 {
        volume.make().success();
        volume.mount().success();
        volume.assert_mounted_once_with_the_file();
    }
    for _ in 0..2 {
        volume.unmount().success();
        volume.assert_gone_but_kept();
    }
    fs::remove_dir(volume.world.target()).unwrap();
    volume.unmount().success();
}

#[test]
fn what_is_already_mounted_must_be_this_volume() {
    if !in_private_mounts("what_is_already_mounted_must_be_this_volume") {
        return;
    }
    let volume = Volume::ext4("16Mi");
    volume.make().success();
    let target = volume.world.target();
    let target = target.to_str().unwrap();
    tool("mount", &["-t", "tmpfs", "foreign", target]);
    volume.mount().failure(&[target, "is the mount point of foreign", &volume.image()]);
    volume.unmount().failure(&["not ours", "foreign"]);
    tool("umount", &[target]);
    let other = options("ext4", "rw", &[("size", "16Mi"), ("volume", "other")]);
    volume.call(&["waitforattach", "", &other]).success();
    volume.call(&["mountdevice", target, "", &other]).success();
    volume.mount().failure(&["other.img", "data.img"]);
    volume.mount().failure(&["unmount it first"]);
    volume.unmount().success();
    volume.mount().success();
    volume.unmount().success();
    volume.world.assert_no_loops();
}

#[test]
fn read_only_is_read_only_down_to_the_device() {
    if !in_private_mounts("read_only_is_read_only_down_to_the_device") {
        return;
    }
    let mut volume = Volume::ext4("16Mi").mounted();
    volume.unmount().success();
    volume.options = options("ext4", "ro", &[("size", "16Mi")]);
    volume.mount().success();
    volume.assert_mounted_once_with_the_file();
    let error = fs::write(volume.target("file"), "changed").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    let mount = &volume.world.mounts_at(&volume.world.target())[0];
    let device = mount.split(' ').nth_back(1).unwrap().trim_start_matches("/dev/");
    assert_eq!(fs::read_to_string(format!("/sys/block/{device}/ro")).unwrap().trim(), "1");
    let writable = options("ext4", "rw", &[("size", "16Mi")]);
    let target = volume.world.target();
    volume.call(&["mountdevice", target.to_str().unwrap(), "", &writable]).failure(&["read-only"]);
    volume.unmount().success();
    volume.assert_gone_but_kept();
}

#[test]
fn a_new_root_directory_gets_its_mode_once() {
    if !in_private_mounts("a_new_root_directory_gets_its_mode_once") {
        return;
    }
    let volume = Volume::of("ext4", &[("size", "16Mi"), ("mode", "0770")]).mounted();
    let mode = || fs::metadata(volume.world.target()).unwrap().mode() & 0o7777;
    assert_eq!(mode(), 0o770);
    tool("chmod", &["700", volume.world.target().to_str().unwrap()]);
    volume.unmount().success();
    volume.make().success();
    volume.mount().success();
    assert_eq!(mode(), 0o700);
    volume.unmount().success();
}

#[test]
fn a_journal_is_replayed_by_a_writable_mount_and_asked_for_by_a_read_only_one() {
    if !in_private_mounts("a_journal_is_replayed_by_a_writable_mount_and_asked_for_by_a_read_only_one") {
        return;
    }
    let mut volume = Volume::ext4("16Mi").mounted();
    File::open(volume.target("file")).unwrap().sync_all().unwrap();
    // What a power cut would leave: the image as it is while mounted.
    let copy = volume.world.path("copy");
    fs::copy(volume.image(), &copy).unwrap();
    volume.unmount().success();
    fs::copy(&copy, volume.image()).unwrap();
    let writable = volume.options.clone();
    volume.options = options("ext4", "ro", &[("size", "16Mi")]);
    volume.mount().failure(&["not unmounted cleanly", "mount it read-write once"]);
    volume.assert_gone_but_kept();
    volume.options = writable;
    volume.mount().success();
    volume.assert_mounted_once_with_the_file();
    volume.unmount().success();
}

#[test]
fn a_busy_volume_stays_mounted_and_the_error_says_what_to_do() {
    if !in_private_mounts("a_busy_volume_stays_mounted_and_the_error_says_what_to_do") {
        return;
    }
    let volume = Volume::ext4("16Mi").mounted();
    let held = File::open(volume.target("file")).unwrap();
    volume.unmount().failure(&["is still in use", "fuser -vm"]);
    volume.assert_mounted_once_with_the_file();
    drop(held);
    volume.unmount().success();
    volume.assert_gone_but_kept();
}

#[test]
fn a_volume_grows_while_it_is_used_and_never_shrinks() {
    let name = "a_volume_grows_while_it_is_used_and_never_shrinks";
    if !in_private_mounts(name) {
        return;
    }
    for (fs_type, size) in file_systems(name) {
        let volume = Volume::of(fs_type, &[("size", size)]).mounted();
        let old = fs::metadata(volume.image()).unwrap().len();
        let blocks = |volume: &Volume| rustix::fs::statvfs(volume.world.target()).unwrap().f_blocks;
        let before = blocks(&volume);
        // As stock Kubernetes does: `expandfs` alone, and again.
        for _ in 0..2 {
            let answer = volume.expand_fs(2 * old);
            if fs_type == "ext4" && answer.status() != "Success" {
                // resize2fs needs CAP_SYS_RESOURCE, which not every container has.
                answer.failure(&["resize2fs", "Permission denied"]);
                eprintln!("skipped: {name}/ext4: needs CAP_SYS_RESOURCE");
                break;
            }
            answer.success();
            assert!(blocks(&volume) > before * 3 / 2, "{fs_type}");
        }
        assert_eq!(fs::metadata(volume.image()).unwrap().len(), 2 * old);
        let target = volume.world.target();
        let expand = |size: u64| {
            let arguments =
                ["expandvolume", &volume.options, target.to_str().unwrap(), &size.to_string(), "0"];
            volume.call(&arguments).success().json["volumeNewSize"].as_u64().unwrap()
        };
        assert_eq!(expand(3 * old), 3 * old);
        assert_eq!(expand(old), 3 * old);
        // The manifest still says the old size.
        volume.make().success();
        volume.assert_mounted_once_with_the_file();
        volume.unmount().success();
        volume.mount().success();
        volume.assert_mounted_once_with_the_file();
        volume.unmount().success();
        volume.expand_fs(4 * old).failure(&["is not mounted here"]);
        volume.assert_gone_but_kept();
    }
}

#[test]
fn many_callers_at_once_make_one_volume_one_device_and_one_mount() {
    if !in_private_mounts("many_callers_at_once_make_one_volume_one_device_and_one_mount") {
        return;
    }
    let volume = Volume::ext4("16Mi");
    let target = volume.world.target();
    let target = target.to_str().unwrap();
    let all = |arguments: &[&str]| {
        let start = |_| volume.world.command(Program::Loop, arguments).spawn().unwrap();
        let children: Vec<_> = (0..8).map(start).collect();
        for child in children {
            answer(child).success();
        }
    };
    all(&["waitforattach", "", &volume.options]);
    let record = fs::read(volume.record()).unwrap();
    all(&["mountdevice", target, "", &volume.options]);
    fs::write(volume.target("file"), "precious").unwrap();
    volume.assert_mounted_once_with_the_file();
    all(&["unmountdevice", target]);
    volume.assert_gone_but_kept();
    assert_eq!(fs::read(volume.record()).unwrap(), record);
}

#[test]
fn a_volume_is_mounted_at_a_second_place_through_the_same_device() {
    if !in_private_mounts("a_volume_is_mounted_at_a_second_place_through_the_same_device") {
        return;
    }
    let volume = Volume::ext4("16Mi").mounted();
    let second = volume.world.path("second");
    fs::create_dir(&second).unwrap();
    volume.call(&["mountdevice", second.to_str().unwrap(), "", &volume.options]).success();
    assert_eq!(volume.world.loops().len(), 1);
    assert_eq!(fs::read_to_string(second.join("file")).unwrap(), "precious");
    volume.call(&["unmountdevice", second.to_str().unwrap()]).success();
    volume.assert_mounted_once_with_the_file();
    volume.unmount().success();
    volume.assert_gone_but_kept();
}

#[test]
fn hostile_surroundings_are_refused_and_left_alone() {
    if !in_private_mounts("hostile_surroundings_are_refused_and_left_alone") {
        return;
    }
    let volume = Volume::ext4("16Mi").mounted();
    volume.unmount().success();
    let (image, aside) = (volume.image(), volume.world.path("aside"));
    fs::rename(&image, &aside).unwrap();
    volume.make().failure(&["cannot know", &image, "bring the image back"]);
    volume.mount().failure(&["cannot know"]);
    symlink(&aside, &image).unwrap();
    volume.make().failure(&["not ours", "is not a regular file"]);
    volume.mount().failure(&["not ours"]);
    fs::remove_file(&image).unwrap();
    fs::rename(&aside, &image).unwrap();

    let record = fs::read(volume.record()).unwrap();
    fs::write(volume.record(), &record[..record.len() / 2]).unwrap();
    volume.make().failure(&["cannot know", &volume.record(), "is not a record of this version"]);
    volume.mount().failure(&["cannot know"]);
    fs::remove_file(volume.record()).unwrap();
    volume.make().failure(&["not ours", &image, "has no record beside it"]);
    fs::write(volume.record(), &record).unwrap();

    let file = OpenOptions::new().write(true).open(&image).unwrap();
    file.write_all_at(&[7; 16], 1024 + 0x68).unwrap();
    volume.mount().failure(&["07070707-0707", "but its record says"]);
    volume.world.assert_no_loops();

    let target = volume.world.target();
    fs::remove_dir(&target).unwrap();
    symlink("/tmp", &target).unwrap();
    volume.mount().failure(&[]);
    volume.world.assert_no_loops();

    let linked = volume.world.path("linked");
    symlink(volume.world.path("state/loop"), &linked).unwrap();
    let through = options("ext4", "rw", &[("size", "16Mi"), ("directory", linked.to_str().unwrap())]);
    volume.call(&["waitforattach", "", &through]).failure(&["is a symlink"]);
}

#[test]
fn a_full_pool_is_an_error_with_figures_and_leaves_nothing() {
    if !in_private_mounts("a_full_pool_is_an_error_with_figures_and_leaves_nothing") {
        return;
    }
    let world = World::new();
    let pool = world.path("pool");
    fs::create_dir(&pool).unwrap();
    let pool = pool.to_str().unwrap();
    tool("mount", &["-t", "tmpfs", "-o", "size=24m,mode=700", "pool", pool]);
    let options = |size, volume, allocation| {
        let user = [("size", size), ("volume", volume), ("directory", pool), ("allocation", allocation)];
        options("ext4", "rw", &user)
    };
    let make = |options: String| world.call(Program::Loop, &["waitforattach", "", &options]);
    make(options("32Mi", "a", "reserved"))
        .failure(&["has no room: 33554432 bytes are needed and", "are free"]);
    let names = || {
        let entries =
            fs::read_dir(pool).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    };
    assert_eq!(names(), [""; 0]);
    assert!(!Path::new(pool).join(".a.lock").exists());
    make(options("16Mi", "b", "reserved")).success();
    make(options("16Mi", "c", "reserved")).failure(&["has no room: 16777216 bytes are needed"]);
    make(options("1Gi", "d", "thin")).success();
    assert_eq!(names(), ["b.img", "b.json", "d.img", "d.json"]);
    let grow = |size: &str| {
        let options = options("16Mi", "b", "reserved");
        world.call(Program::Loop, &["expandvolume", &options, "/nowhere", size, "0"])
    };
    grow("134217728").failure(&["has no room: 117440512 bytes are needed"]);
    grow("17825792").success();
}

#[test]
fn no_volume_is_made_below_the_mount_point_of_a_disk_that_is_away() {
    if !in_private_mounts("no_volume_is_made_below_the_mount_point_of_a_disk_that_is_away") {
        return;
    }
    let world = World::new();
    let pool = world.path("pool");
    fs::create_dir(&pool).unwrap();
    tool("chmod", &["700", pool.to_str().unwrap()]);
    let pool = pool.to_str().unwrap();
    let make = |volume| {
        let user = [("size", "1Mi"), ("volume", volume), ("directory", pool)];
        world.call(Program::Loop, &["waitforattach", "", &options("ext4", "rw", &user)])
    };
    tool("mount", &["-t", "tmpfs", "-o", "size=8m,mode=700", "disk", pool]);
    make("a").success();
    tool("mount", &["-t", "tmpfs", "-o", "size=8m,mode=700", "empty", pool]);
    make("a").failure(&["cannot know", pool, "is its disk mounted?"]);
    make("b").failure(&["cannot know", pool, "is its disk mounted?"]);
    assert!(!Path::new(pool).join("a.img").exists());
    tool("umount", &[pool]);
    make("a").success();
    make("b").success();
    tool("umount", &[pool]);
}

#[test]
fn a_mkfs_that_outlives_its_driver_harms_nobody() {
    if !in_private_mounts("a_mkfs_that_outlives_its_driver_harms_nobody") {
        return;
    }
    let volume = Volume::ext4("16Mi");
    let (tools, begun, done) =
        (volume.world.path("tools"), volume.world.path("begun"), volume.world.path("done"));
    fs::create_dir(&tools).unwrap();
    let real =
        if Path::new("/usr/sbin/mkfs.ext4").exists() { "/usr/sbin/mkfs.ext4" } else { "/sbin/mkfs.ext4" };
    let (begun_at, done_at) = (begun.display(), done.display());
    let script = format!("#!/bin/sh\ntouch {begun_at}\nsleep 1\n{real} \"$@\"\ntouch {done_at}\n");
    let slow = tools.join("mkfs.ext4");
    fs::write(&slow, script).unwrap();
    tool("chmod", &["755", slow.to_str().unwrap()]);
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = volume.world.command(Program::Loop, &["waitforattach", "", &volume.options]);
    let mut child = command.env("PATH", path).spawn().unwrap();
    wait_for(&begun);
    child.kill().unwrap();
    child.wait().unwrap();
    let volume = volume.mounted();
    wait_for(&done);
    volume.assert_mounted_once_with_the_file();
    volume.unmount().success();
    tool("e2fsck", &["-fn", &volume.image()]);
    volume.assert_gone_but_kept();
}

#[track_caller]
fn wait_for(file: &Path) {
    for _ in 0..1000 {
        if file.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(file.exists(), "{} did not appear", file.display());
}

/// Dies at every point of a call and calls again: the result must be the same as without the death.
fn at_every_point(begin: fn() -> Volume, act: fn(&Volume) -> Vec<String>, check: fn(&Volume)) {
    let arguments = |volume: &Volume| act(volume);
    let learned = begin();
    let words = arguments(&learned);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let points = crash_points(&learned.world, Program::Loop, &words);
    check(&learned);
    learned.unmount().success();
    assert!(points.len() >= 2, "{points:?}");
    for point in points {
        let volume = begin();
        let words = arguments(&volume);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let fate = format!("{point}=abort");
        let died = volume.world.call_with(Program::Loop, &words, &[("FLEXVOL_FAILPOINT", &fate)]);
        assert_eq!(died.signal, Some(9), "{point}");
        for _ in 0..2 {
            let again = volume.call(&words);
            assert_eq!(again.status(), "Success", "after {point}: {again:?}");
            check(&volume);
        }
        volume.unmount().success();
        volume.assert_gone_but_kept();
        tool("e2fsck", &["-fn", &volume.image()]);
    }
}

#[test]
fn a_driver_that_dies_while_it_makes_a_volume_is_called_again() {
    if !in_private_mounts("a_driver_that_dies_while_it_makes_a_volume_is_called_again") {
        return;
    }
    at_every_point(
        || Volume::ext4("16Mi"),
        |volume| vec!["waitforattach".into(), String::new(), volume.options.clone()],
        Volume::assert_gone_but_kept,
    );
}

#[test]
fn a_driver_that_dies_while_it_mounts_is_called_again() {
    if !in_private_mounts("a_driver_that_dies_while_it_mounts_is_called_again") {
        return;
    }
    at_every_point(
        || {
            let volume = Volume::ext4("16Mi").mounted();
            volume.unmount().success();
            volume
        },
        |volume| {
            let target = volume.world.target().to_str().unwrap().to_owned();
            vec!["mountdevice".into(), target, String::new(), volume.options.clone()]
        },
        Volume::assert_mounted_once_with_the_file,
    );
}

#[test]
fn a_driver_that_dies_while_it_unmounts_is_called_again() {
    if !in_private_mounts("a_driver_that_dies_while_it_unmounts_is_called_again") {
        return;
    }
    let volume = Volume::ext4("16Mi").mounted();
    let target = volume.world.target().to_str().unwrap().to_owned();
    let fate = [("FLEXVOL_FAILPOINT", "device.unmounted=abort")];
    let died = volume.world.call_with(Program::Loop, &["unmountdevice", &target], &fate);
    assert_eq!(died.signal, Some(9));
    volume.unmount().success();
    volume.assert_gone_but_kept();
    volume.mount().success();
    volume.assert_mounted_once_with_the_file();
    volume.unmount().success();
}

#[test]
fn a_driver_that_dies_while_a_volume_grows_is_called_again() {
    let name = "a_driver_that_dies_while_a_volume_grows_is_called_again";
    if !in_private_mounts(name) {
        return;
    }
    if !installed("mkfs.btrfs") {
        eprintln!("skipped: {name}: needs btrfs-progs");
        return;
    }
    let begin = || Volume::of("btrfs", &[("size", "128Mi")]).mounted();
    let size = (256 * MIB).to_string();
    let grow = |volume: &Volume, fate: &[(&str, &str)]| {
        let target = volume.world.target();
        let words = ["expandfs", &volume.options, "", target.to_str().unwrap(), &size, "0"];
        volume.world.call_with(Program::Loop, &words, fate)
    };
    for point in ["image.grown", "image.refreshed", "device.grown"] {
        let volume = begin();
        assert_eq!(
            grow(&volume, &[("FLEXVOL_FAILPOINT", &format!("{point}=abort"))]).signal,
            Some(9),
            "{point}"
        );
        // Killed and forgotten: it must still mount.
        volume.unmount().success();
        volume.mount().success();
        grow(&volume, &[]).success();
        let figures = rustix::fs::statvfs(volume.world.target()).unwrap();
        assert_eq!(figures.f_blocks * figures.f_frsize, 256 * MIB, "{point}");
        volume.assert_mounted_once_with_the_file();
        volume.unmount().success();
        volume.assert_gone_but_kept();
    }
}
