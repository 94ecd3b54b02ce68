//! Real loop devices. Each test detaches what it attached, or lets it go by itself.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops at the first surprise, and says what it skips"
)]

mod privately;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use flexvolume_os::block;
use flexvolume_os::loop_device::{
    Availability, Lifetime, LoopDevice, LoopOptions, attach, availability, detach, find, refresh_size,
};
use flexvolume_os::mount::{Access, FileSystemMount, Mounter as _, SystemMounter};
use privately::privately;

const MEBIBYTE: u64 = 1 << 20;

fn ready(test: &str) -> bool {
    match availability() {
        Availability::Available => true,
        Availability::Unavailable(why) => {
            eprintln!("skipped: {test}: {why}");
            false
        }
    }
}

struct Image {
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Image {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        File::create(&path).unwrap().set_len(MEBIBYTE).unwrap();
        Self { path, _directory: directory }
    }

    fn attach(&self, access: Access, lifetime: Lifetime) -> LoopDevice {
        attach(&self.path, LoopOptions { access, lifetime }).unwrap()
    }
}

/// Whether nothing is attached any more; not at once, since others who look for their file hold the device for a moment.
fn is_free_soon(path: &Path) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if find(path).unwrap().is_empty() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn a_device_shows_its_file_and_is_found_by_it() {
    if !ready("a_device_shows_its_file_and_is_found_by_it") {
        return;
    }
    let (image, other) = (Image::new(), Image::new());
    assert!(find(&image.path).unwrap().is_empty());
    let device = image.attach(Access::ReadWrite, Lifetime::UntilDetached);
    assert_eq!(block::size(&device.path).unwrap(), MEBIBYTE);

    (&device.file).write_all(b"through the device").unwrap();
    device.file.sync_all().unwrap();
    let mut start = [0; 18];
    File::open(&image.path).unwrap().read_exact(&mut start).unwrap();
    assert_eq!(&start, b"through the device");

    // By its inode and not by its name.
    let renamed = image.path.with_file_name("renamed");
    fs::rename(&image.path, &renamed).unwrap();
    let found = find(&renamed).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path, device.path);
    let number = fs::metadata(&device.path).unwrap().rdev();
    assert_eq!(found[0].device, (rustix::fs::major(number), rustix::fs::minor(number)));
    assert!(find(&other.path).unwrap().is_empty());

    drop(device.file);
    detach(&device.path).unwrap();
    assert!(is_free_soon(&renamed));
    detach(&device.path).unwrap();
}

#[test]
fn a_device_in_use_outlives_its_detaching() {
    if !ready("a_device_in_use_outlives_its_detaching") {
        return;
    }
    let image = Image::new();
    let device = image.attach(Access::ReadWrite, Lifetime::UntilDetached);
    detach(&device.path).unwrap();
    assert_eq!(find(&image.path).unwrap().len(), 1, "we still hold it");
    drop(device.file);
    assert!(is_free_soon(&image.path));
}

#[test]
fn a_device_until_unused_goes_with_its_last_user() {
    if !ready("a_device_until_unused_goes_with_its_last_user") {
        return;
    }
    let image = Image::new();
    let device = image.attach(Access::ReadWrite, Lifetime::UntilUnused);
    assert_eq!(find(&image.path).unwrap().len(), 1);
    drop(device.file);
    assert!(is_free_soon(&image.path));
}

#[test]
fn a_device_until_unused_goes_with_its_mount() {
    const TEST: &str = "a_device_until_unused_goes_with_its_mount";
    privately(TEST, || {
        if !ready(TEST) {
            return;
        }
        let image = Image::new();
        let made = command("mkfs.ext4", &["-F".as_ref(), "-q".as_ref(), &image.path]);
        if !made {
            eprintln!("skipped: {TEST}: needs mkfs.ext4 (e2fsprogs)");
            return;
        }
        let target = image.path.with_file_name("target");
        fs::create_dir(&target).unwrap();
        let device = image.attach(Access::ReadWrite, Lifetime::UntilUnused);
        let mount = FileSystemMount {
            source: device.path.clone(),
            fs_type: "ext4".into(),
            access: Access::ReadWrite,
            data: Vec::new(),
        };
        SystemMounter.mount(&mount, &target).unwrap();
        drop(device);
        fs::write(target.join("file"), "kept").unwrap();
        assert_eq!(find(&image.path).unwrap().len(), 1, "the mount holds it");
        SystemMounter.unmount(&target).unwrap();
        assert!(is_free_soon(&image.path));
    });
}

fn command(program: &str, arguments: &[&Path]) -> bool {
    #[expect(clippy::disallowed_methods, reason = "prepares the test")]
    let mut prepared = Command::new(program);
    prepared
        .args(arguments)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn a_read_only_device_refuses_writes() {
    if !ready("a_read_only_device_refuses_writes") {
        return;
    }
    let image = Image::new();
    let device = image.attach(Access::ReadOnly, Lifetime::UntilUnused);
    assert!(
        fs::OpenOptions::new()
            .write(true)
            .open(&device.path)
            .and_then(|mut file| file.write_all(b"x"))
            .is_err()
    );
    assert!(device.file.write_at(b"x", 0).is_err());
}

#[test]
fn a_grown_file_is_noticed_when_asked() {
    if !ready("a_grown_file_is_noticed_when_asked") {
        return;
    }
    let image = Image::new();
    let device = image.attach(Access::ReadWrite, Lifetime::UntilUnused);
    File::options().write(true).open(&image.path).unwrap().set_len(3 * MEBIBYTE).unwrap();
    refresh_size(&device.path).unwrap();
    assert_eq!(block::size(&device.path).unwrap(), 3 * MEBIBYTE);
}

#[test]
fn forty_at_once_get_forty_devices() {
    if !ready("forty_at_once_get_forty_devices") {
        return;
    }
    let images: Vec<_> = (0..40).map(|_| Image::new()).collect();
    let devices: Vec<_> = std::thread::scope(|scope| {
        let attaching: Vec<_> = images
            .iter()
            .map(|image| scope.spawn(|| image.attach(Access::ReadWrite, Lifetime::UntilUnused)))
            .collect();
        attaching.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: HashSet<_> = devices.iter().map(|device| &device.path).collect();
    assert_eq!(distinct.len(), 40);
    for (image, device) in images.iter().zip(&devices) {
        let found = find(&image.path).unwrap();
        assert_eq!(found.iter().map(|status| &status.path).collect::<Vec<_>>(), [&device.path]);
    }
}

#[test]
fn what_is_no_file_and_what_is_no_loop_device_are_errors() {
    if !ready("what_is_no_file_and_what_is_no_loop_device_are_errors") {
        return;
    }
    let image = Image::new();
    let options = LoopOptions { access: Access::ReadWrite, lifetime: Lifetime::UntilUnused };
    let missing = image.path.with_file_name("missing");
    assert!(attach(&missing, options).unwrap_err().to_string().starts_with("open "));
    assert!(attach(image.path.parent().unwrap(), options).is_err());
    assert!(find(&missing).is_err());
    assert!(refresh_size(&image.path).is_err());
    assert!(detach(Path::new("/dev/null")).is_err());
    detach(&missing).unwrap();
}
