//! The real tools on image files and loop devices.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops at the first surprise, and says what it skips"
)]

mod privately;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume_os::command::Command;
use flexvolume_os::filesystem::{
    Discard, FilesystemError, FsType, GrowTarget, MakeFilesystem, Probe, check, grow, make, probe,
};
use flexvolume_os::loop_device::{
    Availability, Lifetime, LoopDevice, LoopOptions, attach, availability, refresh_size,
};
use flexvolume_os::mount::{Access, FileSystemMount, Mounter as _, SystemMounter};
use flexvolume_os::runner::{Runner as _, SystemRunner};
use privately::privately;

const DEADLINE: Duration = Duration::from_secs(60);
const MEBIBYTE: u64 = 1 << 20;

struct Image {
    path: PathBuf,
    uuid: String,
    directory: tempfile::TempDir,
}

impl Image {
    fn new(size: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        File::create(&path).unwrap().set_len(size).unwrap();
        // btrfs refuses one that it has seen on any other device.
        let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().to_owned();
        Self { path, uuid, directory }
    }

    fn make(&self, fs_type: FsType, discard: Discard) -> Result<(), FilesystemError> {
        let request = MakeFilesystem {
            fs_type,
            device: &self.path,
            uuid: Some(&self.uuid),
            discard,
            deadline: DEADLINE,
        };
        make(&SystemRunner, &request)
    }

    fn probe(&self) -> Result<Probe, FilesystemError> {
        probe(&SystemRunner, &self.path, DEADLINE)
    }

    fn target(&self) -> PathBuf {
        let target = self.directory.path().join("target");
        fs::create_dir_all(&target).unwrap();
        target
    }
}

/// Whether the test can go on: a missing tool skips it, any other error fails it.
fn made(test: &str, result: Result<(), FilesystemError>) -> bool {
    match result {
        Ok(()) => true,
        Err(FilesystemError::ToolMissing { tool, package }) => {
            eprintln!("skipped: {test}: needs {tool} ({package})");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_was_made_is_what_is_found() {
    const TEST: &str = "what_was_made_is_what_is_found";
    for fs_type in [FsType::Ext4, FsType::Xfs, FsType::Btrfs] {
        let image = Image::new(fs_type.minimum_size());
        assert_eq!(image.probe().unwrap(), Probe::NothingKnown);
        if made(TEST, image.make(fs_type, Discard::Allow)) {
            let expected =
                Probe::FileSystem { fs_type: fs_type.as_str().to_owned(), uuid: Some(image.uuid.clone()) };
            assert_eq!(image.probe().unwrap(), expected);
            check(&SystemRunner, fs_type, &image.path, DEADLINE).unwrap();
        }
    }
}

#[test]
fn a_reserved_file_stays_reserved() {
    const TEST: &str = "a_reserved_file_stays_reserved";
    for fs_type in [FsType::Ext4, FsType::Xfs, FsType::Btrfs] {
        let (image, size) = (Image::new(0), fs_type.minimum_size().max(16 * MEBIBYTE));
        let file = File::options().write(true).open(&image.path).unwrap();
        if let Err(error) = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size) {
            eprintln!("skipped: {TEST}: the temporary directory cannot reserve {size} bytes: {error}");
            return;
        }
        if made(TEST, image.make(fs_type, Discard::Forbid)) {
            assert!(file.metadata().unwrap().blocks() * 512 >= size, "{fs_type:?} gave blocks back");
        }
    }
}

#[test]
fn partitions_and_contradictions_are_not_file_systems() {
    let image = Image::new(16 * MEBIBYTE);
    let file = File::options().write(true).open(&image.path).unwrap();
    // A partition table of one Linux partition from sector 2048 on.
    let mut sector = [0; 512];
    sector[446..462].copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 2, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    file.write_all_at(&sector, 0).unwrap();
    assert_eq!(image.probe().unwrap(), Probe::Partitions("dos".into()));
}

#[test]
fn nothing_is_known_of_a_device_that_cannot_be_read() {
    let image = Image::new(0);
    assert!(matches!(image.probe(), Err(FilesystemError::Unreadable { .. })));
    fs::remove_file(&image.path).unwrap();
    assert!(matches!(image.probe(), Err(FilesystemError::Unreadable { .. })));
}

#[test]
fn a_device_that_is_too_small_is_refused_with_the_words_of_the_tool() {
    let error = Image::new(4096).make(FsType::Ext4, Discard::Allow).unwrap_err();
    assert!(matches!(&error, FilesystemError::Tool { text, .. } if !text.is_empty()), "{error}");
    assert!(error.to_string().starts_with("mkfs.ext4 /"), "{error}");
}

#[test]
fn damage_that_cannot_be_repaired_is_told() {
    const TEST: &str = "damage_that_cannot_be_repaired_is_told";
    let image = Image::new(8 * MEBIBYTE);
    if !made(TEST, image.make(FsType::Ext4, Discard::Allow)) {
        return;
    }
    // The root directory loses its inode, and the kernel has seen errors: a clean file system is not looked at.
    let script = image.directory.path().join("script");
    fs::write(&script, "clri <2>\nset_super_value state 2\n").unwrap();
    let debugfs = Command::new("/usr/sbin/debugfs", DEADLINE).arguments(["-w", "-f"]).argument(script);
    match SystemRunner.run(&debugfs.argument(&image.path)) {
        Ok(output) if output.ended.is_success() => {}
        other => {
            eprintln!("skipped: {TEST}: needs debugfs (e2fsprogs): {other:?}");
            return;
        }
    }
    let error = check(&SystemRunner, FsType::Ext4, &image.path, DEADLINE).unwrap_err();
    assert!(matches!(error, FilesystemError::Damaged { .. }), "{error}");
}

#[test]
fn what_is_no_file_system_cannot_be_checked() {
    let image = Image::new(MEBIBYTE);
    match check(&SystemRunner, FsType::Ext4, &image.path, DEADLINE) {
        Err(FilesystemError::Tool { ended, .. }) => assert_eq!(ended, "exit code 8"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ext4_fills_and_grows() {
    fills_and_grows("ext4_fills_and_grows", FsType::Ext4);
}

#[test]
fn xfs_fills_and_grows() {
    fills_and_grows("xfs_fills_and_grows", FsType::Xfs);
}

#[test]
fn btrfs_fills_and_grows() {
    fills_and_grows("btrfs_fills_and_grows", FsType::Btrfs);
}

fn fills_and_grows(test: &str, fs_type: FsType) {
    privately(test, || {
        if let Availability::Unavailable(why) = availability() {
            eprintln!("skipped: {test}: {why}");
            return;
        }
        // Twice this is above 256 MiB: the kernel resizes btrfs to nothing smaller.
        let size = fs_type.minimum_size().max(16 * MEBIBYTE) + 32 * MEBIBYTE;
        let image = Image::new(size);
        if !made(test, image.make(fs_type, Discard::Allow)) {
            return;
        }
        let device = mount(fs_type, &image);
        is_full_at_its_size(&image.target(), size);
        if fs_type == FsType::Ext4 && !may_grow_ext4() {
            eprintln!("skipped: {test}: it fills, but growing needs CAP_SYS_RESOURCE");
        } else {
            grows(fs_type, &image, &device);
        }
        SystemMounter.unmount(&image.target()).unwrap();
    });
}

fn is_full_at_its_size(target: &Path, size: u64) {
    assert!(room(target) <= size);
    let error = fill(&target.join("too much"), size).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    fs::remove_file(target.join("too much")).unwrap();
}

fn grows(fs_type: FsType, image: &Image, device: &Path) {
    let target = image.target();
    let (size, before) = (fs::metadata(&image.path).unwrap().len(), room(&target));
    fs::write(target.join("kept"), "data").unwrap();
    let request = GrowTarget { fs_type, device, mount_point: &target, deadline: DEADLINE };
    // It fills its device already, and is smaller than what the kernel resizes btrfs to.
    grow(&SystemRunner, &request).unwrap();
    File::options().write(true).open(&image.path).unwrap().set_len(2 * size).unwrap();
    refresh_size(device).unwrap();
    grow(&SystemRunner, &request).unwrap();
    assert!(room(&target) > before + size / 2, "{before} and now {}", room(&target));
    assert_eq!(fs::read_to_string(target.join("kept")).unwrap(), "data");
    // Again: nothing to do.
    grow(&SystemRunner, &request).unwrap();
}

fn mount(fs_type: FsType, image: &Image) -> PathBuf {
    let options = LoopOptions { access: Access::ReadWrite, lifetime: Lifetime::UntilUnused };
    let LoopDevice { path, file } = attach(&image.path, options).unwrap();
    let mount = FileSystemMount {
        source: path.clone(),
        fs_type: fs_type.as_str().to_owned(),
        access: Access::ReadWrite,
        data: Vec::new(),
    };
    SystemMounter.mount(&mount, &image.target()).unwrap();
    drop(file);
    path
}

fn room(target: &Path) -> u64 {
    let status = rustix::fs::statvfs(target).unwrap();
    status.f_blocks * status.f_frsize
}

fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::create(path)?;
    // Not zeros, which btrfs may keep small.
    let piece: Vec<u8> = (0..=255_u8).cycle().take(1 << 20).collect();
    for at in (0..bytes).step_by(1 << 20) {
        file.write_all_at(&piece, at)?;
    }
    file.sync_all()
}

/// Whether this process may grow a mounted ext4 file system, which root in a container may lack.
fn may_grow_ext4() -> bool {
    const SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    u64::from_str_radix(mask, 16).unwrap() & (1 << SYS_RESOURCE) != 0
}
