//! The driver `loop-ephemeral` with real file systems, mounted in a private mount namespace.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may stop at the first surprise")]

mod support;

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use support::{Answer, Program, World, answer, crash_points, in_private_mounts, pod_options, tool};

const UID: &str = "0b5c8f1e-6d1a-4c55-9d3e-2f6a1c0e7b11";

/// A pod's volume, as its host sees it.
struct Volume {
    world: World,
    options: String,
}

impl Volume {
    fn new() -> Self {
        Self { world: World::new(), options: pod_options(UID, &[("size", "16Mi")]) }
    }

    fn words(&self, verb: &str) -> Vec<String> {
        let mut words = vec![verb.to_owned(), self.world.target().to_str().unwrap().to_owned()];
        if verb == "mount" {
            words.push(self.options.clone());
        }
        words
    }

    fn call(&self, verb: &str, variables: &[(&str, &str)]) -> Answer {
        let words = self.words(verb);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        self.world.call_with(Program::Ephemeral, &words, variables)
    }

    fn mount(&self) -> Answer {
        self.call("mount", &[])
    }

    fn unmount(&self) -> Answer {
        self.call("unmount", &[])
    }

    fn image(&self) -> PathBuf {
        self.world.path("state/loop-ephemeral").join(format!("{UID}~data.img"))
    }

    fn mounted() -> Self {
        let volume = Self::new();
        volume.mount().success();
        fs::write(volume.world.target().join("file"), "precious").unwrap();
        volume
    }

    #[track_caller]
    fn assert_mounted_once_with_the_file(&self) {
        assert_eq!(self.world.mounts_at(&self.world.target()).len(), 1);
        assert_eq!(self.world.loops().len(), 1);
        assert_eq!(fs::read_to_string(self.world.target().join("file")).unwrap(), "precious");
    }

    /// No mount, no device, no file: not even a lock's.
    #[track_caller]
    fn assert_nothing_is_left(&self) {
        assert_eq!(self.world.mounts_at(&self.world.target()), [""; 0]);
        self.world.assert_no_loops();
        assert_eq!(self.world.files("loop-ephemeral/claims"), [""; 0]);
        let pool = self.world.files("loop-ephemeral");
        assert!(pool.is_empty() || pool == ["claims"], "{pool:?}");
        assert_eq!(fs::read_dir(self.world.target()).unwrap().count(), 0);
    }
}

#[test]
fn a_volume_is_made_for_its_pod_and_removed_with_it() {
    if !in_private_mounts("a_volume_is_made_for_its_pod_and_removed_with_it") {
        return;
    }
    let volume = Volume::new();
    volume.mount().success();
    assert!(volume.image().exists());
    assert_eq!(fs::metadata(volume.world.target()).unwrap().mode() & 0o7777, 0o777, "as in an emptyDir");
    let mut big = fs::File::create(volume.world.target().join("big")).unwrap();
    let block = vec![1; 1 << 20];
    let error = (0..16).find_map(|_| big.write_all(&block).and_then(|()| big.sync_data()).err());
    assert_eq!(error.unwrap().kind(), ErrorKind::StorageFull);
    drop(big);
    volume.unmount().success();
    volume.assert_nothing_is_left();
}

#[test]
fn every_call_may_be_repeated() {
    if !in_private_mounts("every_call_may_be_repeated") {
        return;
    }
    let volume = Volume::mounted();
    for _ in 0..2 {
        volume.mount().success();
        volume.assert_mounted_once_with_the_file();
    }
    for _ in 0..2 {
        volume.unmount().success();
        volume.assert_nothing_is_left();
    }
    fs::remove_dir(volume.world.target()).unwrap();
    volume.unmount().success();
}

#[test]
fn the_data_survives_a_reboot() {
    if !in_private_mounts("the_data_survives_a_reboot") {
        return;
    }
    let volume = Volume::mounted();
    tool("umount", &[volume.world.target().to_str().unwrap()]);
    volume.world.assert_no_loops();
    volume.mount().success();
    volume.assert_mounted_once_with_the_file();
    tool("umount", &[volume.world.target().to_str().unwrap()]);
    volume.unmount().success();
    volume.assert_nothing_is_left();
}

#[test]
fn a_failed_mount_leaves_nothing_of_a_new_volume_and_everything_of_an_old_one() {
    if !in_private_mounts("a_failed_mount_leaves_nothing_of_a_new_volume_and_everything_of_an_old_one") {
        return;
    }
    let volume = Volume::new();
    let target = volume.world.target();
    let spoil = || {
        fs::remove_dir(&target).unwrap();
        symlink("/tmp", &target).unwrap();
    };
    let repair = || {
        fs::remove_file(&target).unwrap();
        fs::create_dir(&target).unwrap();
    };
    spoil();
    volume.mount().failure(&["symlink"]);
    repair();
    volume.assert_nothing_is_left();

    volume.mount().success();
    fs::write(target.join("file"), "precious").unwrap();
    tool("umount", &[target.to_str().unwrap()]);
    spoil();
    volume.mount().failure(&["symlink"]);
    repair();
    volume.mount().success();
    volume.assert_mounted_once_with_the_file();
    volume.unmount().success();
    volume.assert_nothing_is_left();
}

#[test]
fn what_is_attached_or_mounted_elsewhere_is_not_removed() {
    if !in_private_mounts("what_is_attached_or_mounted_elsewhere_is_not_removed") {
        return;
    }
    let volume = Volume::mounted();
    let elsewhere = volume.world.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    tool("mount", &["--bind", volume.world.target().to_str().unwrap(), elsewhere.to_str().unwrap()]);
    volume.unmount().failure(&["is still in use", "it is attached as /dev/loop"]);
    assert_eq!(fs::read_to_string(elsewhere.join("file")).unwrap(), "precious");
    tool("umount", &[elsewhere.to_str().unwrap()]);
    volume.unmount().success();
    volume.assert_nothing_is_left();
}

#[test]
fn a_busy_volume_stays() {
    if !in_private_mounts("a_busy_volume_stays") {
        return;
    }
    let volume = Volume::mounted();
    let held = fs::File::open(volume.world.target().join("file")).unwrap();
    volume.unmount().failure(&["is still in use", "fuser -vm"]);
    volume.assert_mounted_once_with_the_file();
    drop(held);
    volume.unmount().success();
    volume.assert_nothing_is_left();
}

#[test]
fn what_this_driver_did_not_mount_is_left_alone() {
    if !in_private_mounts("what_this_driver_did_not_mount_is_left_alone") {
        return;
    }
    let volume = Volume::new();
    let target = volume.world.target();
    tool("mount", &["-t", "tmpfs", "foreign", target.to_str().unwrap()]);
    volume.mount().failure(&["is the mount point of foreign"]);
    volume.unmount().failure(&["not ours", "foreign"]);
    assert_eq!(volume.world.mounts_at(&target).len(), 1);
    tool("umount", &[target.to_str().unwrap()]);
    volume.mount().success();
    tool("mount", &["-t", "tmpfs", "foreign", target.to_str().unwrap()]);
    volume.unmount().failure(&["not ours", "foreign"]);
    assert!(volume.image().exists());
    tool("umount", &[target.to_str().unwrap()]);
    volume.unmount().success();
    volume.assert_nothing_is_left();
}

#[test]
fn one_pod_s_volume_is_not_another_mount_dir_s() {
    if !in_private_mounts("one_pod_s_volume_is_not_another_mount_dir_s") {
        return;
    }
    let volume = Volume::mounted();
    let other = volume.world.path("other");
    fs::create_dir(&other).unwrap();
    let words = ["mount", other.to_str().unwrap(), &volume.options];
    volume.world.call(Program::Ephemeral, &words).failure(&["mount dir", "other"]);
    volume.world.call(Program::Ephemeral, &["unmount", other.to_str().unwrap()]).success();
    volume.assert_mounted_once_with_the_file();
    volume.unmount().success();
    volume.assert_nothing_is_left();
}

#[test]
fn a_lost_or_damaged_record_never_costs_the_data() {
    if !in_private_mounts("a_lost_or_damaged_record_never_costs_the_data") {
        return;
    }
    let volume = Volume::mounted();
    let claims = volume.world.path("state/loop-ephemeral/claims");
    let mut files = fs::read_dir(&claims).unwrap().map(|entry| entry.unwrap().path());
    let claim = files.find(|file| file.extension().is_some_and(|end| end == "claim")).unwrap();
    fs::write(&claim, "{").unwrap();
    volume.unmount().failure(&["cannot know", claim.to_str().unwrap()]);
    volume.assert_mounted_once_with_the_file();
    // Without a claim what is mounted says which volume it is.
    fs::remove_file(&claim).unwrap();
    volume.unmount().success();
    volume.assert_nothing_is_left();

    let volume = Volume::mounted();
    let record = volume.image().with_extension("json");
    fs::write(&record, "{").unwrap();
    volume.unmount().failure(&["cannot know", record.to_str().unwrap()]);
    assert!(volume.image().exists());
}

/// A volume in a small pool of its own, mounted as a disk.
fn in_a_small_pool() -> (Volume, String) {
    let world = World::new();
    let pool = world.path("pool").to_str().unwrap().to_owned();
    fs::create_dir(&pool).unwrap();
    tool("mount", &["-t", "tmpfs", "-o", "size=24m,mode=0700", "disk", &pool]);
    let user = [("size", "16Mi"), ("allocation", "thin"), ("directory", pool.as_str())];
    (Volume { options: pod_options(UID, &user), world }, pool)
}

#[test]
fn a_full_disk_does_not_keep_a_volume_from_being_removed() {
    if !in_private_mounts("a_full_disk_does_not_keep_a_volume_from_being_removed") {
        return;
    }
    let (volume, pool) = in_a_small_pool();
    volume.mount().success();
    let filler = fs::File::create(format!("{pool}/filler")).unwrap();
    let error = (0..).find_map(|_| (&filler).write_all(&[1; 4096]).err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    volume.unmount().success();
    let left: Vec<_> = fs::read_dir(&pool).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the pool's mark and the filler: {left:?}");
}

#[test]
fn a_volume_whose_disk_is_away_is_not_taken_for_removed() {
    if !in_private_mounts("a_volume_whose_disk_is_away_is_not_taken_for_removed") {
        return;
    }
    let (volume, pool) = in_a_small_pool();
    volume.mount().success();
    tool("umount", &[volume.world.target().to_str().unwrap()]);
    volume.world.assert_no_loops();
    let away = volume.world.path("away").to_str().unwrap().to_owned();
    fs::create_dir(&away).unwrap();
    tool("mount", &["--move", &pool, &away]);
    fs::set_permissions(&pool, PermissionsExt::from_mode(0o700)).unwrap();
    volume.unmount().failure(&["is its disk mounted?"]);
    assert_eq!(fs::read_dir(&pool).unwrap().count(), 0);
    tool("mount", &["--move", &away, &pool]);
    volume.unmount().success();
    assert_eq!(fs::read_dir(&pool).unwrap().count(), 1, "the pool's mark");
}

#[test]
fn many_callers_at_once_make_one_volume_and_remove_it() {
    if !in_private_mounts("many_callers_at_once_make_one_volume_and_remove_it") {
        return;
    }
    let volume = Volume::new();
    let all = |verb: &str| {
        let words = volume.words(verb);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let start = |_| volume.world.command(Program::Ephemeral, &words).spawn().unwrap();
        let children: Vec<_> = (0..8).map(start).collect();
        for child in children {
            answer(child).success();
        }
    };
    all("mount");
    fs::write(volume.world.target().join("file"), "precious").unwrap();
    volume.assert_mounted_once_with_the_file();
    all("unmount");
    volume.assert_nothing_is_left();
}

/// Dies at every point of `mount` or `unmount`, then goes on with `next`.
fn die_everywhere(verb: &str, next: fn(&Volume)) {
    let begin = || if verb == "mount" { Volume::new() } else { Volume::mounted() };
    let learned = begin();
    let words = learned.words(verb);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let points = crash_points(&learned.world, Program::Ephemeral, &words);
    learned.unmount().success();
    assert!(points.len() >= 5, "{points:?}");
    for point in points {
        let volume = begin();
        let died = volume.call(verb, &[("FLEXVOL_FAILPOINT", &format!("{point}=abort"))]);
        assert_eq!(died.signal, Some(9), "{point}");
        next(&volume);
        volume.unmount().success();
        volume.unmount().success();
        volume.assert_nothing_is_left();
    }
}

#[test]
fn a_driver_that_dies_in_mount_is_called_again() {
    if !in_private_mounts("a_driver_that_dies_in_mount_is_called_again") {
        return;
    }
    die_everywhere("mount", |volume| {
        for _ in 0..2 {
            volume.mount().success();
            assert_eq!(volume.world.mounts_at(&volume.world.target()).len(), 1);
            assert_eq!(volume.world.loops().len(), 1);
        }
    });
}

#[test]
fn a_driver_that_dies_in_mount_is_told_to_unmount() {
    if !in_private_mounts("a_driver_that_dies_in_mount_is_told_to_unmount") {
        return;
    }
    die_everywhere("mount", |_| {});
}

#[test]
fn a_driver_that_dies_in_unmount_is_called_again() {
    if !in_private_mounts("a_driver_that_dies_in_unmount_is_called_again") {
        return;
    }
    die_everywhere("unmount", |_| {});
}

#[test]
fn a_driver_that_dies_in_unmount_is_told_to_mount() {
    if !in_private_mounts("a_driver_that_dies_in_unmount_is_told_to_mount") {
        return;
    }
    die_everywhere("unmount", |volume| {
        volume.mount().success();
        assert_eq!(volume.world.mounts_at(&volume.world.target()).len(), 1);
    });
}

#[test]
fn a_driver_that_is_killed_at_any_moment_converges() {
    if !in_private_mounts("a_driver_that_is_killed_at_any_moment_converges") {
        return;
    }
    let volume = Volume::new();
    let kill = |verb: &str, after: u64| {
        let words = volume.words(verb);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let mut child = volume.world.command(Program::Ephemeral, &words).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(after));
        child.kill().unwrap();
        child.wait().unwrap();
    };
    for round in 0..25 {
        kill("mount", 2 * round);
        if round % 2 == 0 {
            volume.mount().success();
            fs::write(volume.world.target().join("file"), "precious").unwrap();
            volume.assert_mounted_once_with_the_file();
            kill("unmount", round / 2);
        }
        volume.unmount().success();
        volume.assert_nothing_is_left();
    }
}
