//! Real mounts, in a private namespace.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops at the first surprise, and says what it skips"
)]

mod privately;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flexvolume_os::command::Command;
use flexvolume_os::mount::{Access, FileSystemMount, MountError, MountPoint, Mounter as _, SystemMounter};
use flexvolume_os::runner::{Runner as _, StartFailure, SystemRunner};
use privately::privately;

const BUSY: i32 = 16;
const INVALID: i32 = 22;
const READ_ONLY: i32 = 30;
const NOT_CONNECTED: i32 = 107;

/// A directory on a tmpfs of its own, by its real name, as the mount table has it.
struct Place {
    root: PathBuf,
    _directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        Self { root, _directory: directory }
    }

    fn directory(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What a failed test left: the directory below must not be deleted through a mount.
        let table = SystemMounter.table().unwrap();
        let left: Vec<_> = table.below(&self.root).collect();
        left.iter().rev().for_each(|mount| SystemMounter.unmount_lazy(&mount.mount_point).unwrap());
    }
}

fn tmpfs(access: Access, data: &[&str]) -> FileSystemMount {
    let data = data.iter().map(|&option| option.to_owned()).collect();
    FileSystemMount { source: "volume".into(), fs_type: "tmpfs".into(), access, data }
}

fn errno(result: Result<(), MountError>) -> i32 {
    match result.unwrap_err() {
        MountError::Call { source, .. } => source.raw_os_error().unwrap(),
        other => panic!("{other}"),
    }
}

fn write_errno(path: &Path) -> Option<i32> {
    fs::write(path, "x").err().as_ref().and_then(io::Error::raw_os_error)
}

#[test]
fn flags_of_the_mount_stand_among_the_options_of_the_file_system() {
    privately("flags_of_the_mount_stand_among_the_options_of_the_file_system", || {
        for (access, first) in [(Access::ReadWrite, "rw"), (Access::ReadOnly, "ro")] {
            let place = Place::new();
            let (target, pod) = (place.directory("target"), place.directory("pod"));
            let data = ["nosuid", "size=64k", "noexec", "noatime"];
            SystemMounter.mount(&tmpfs(access, &data), &target).unwrap();
            SystemMounter.bind(&target, &pod).unwrap();
            for path in [&target, &pod] {
                let options = SystemMounter.table().unwrap().top(path).unwrap().options.join(",");
                assert_eq!(options, format!("{first},nosuid,noexec,noatime"));
            }
        }
    });
}

#[test]
fn a_tmpfs_has_the_size_it_was_given() {
    privately("a_tmpfs_has_the_size_it_was_given", || {
        let place = Place::new();
        let target = place.directory("target");
        SystemMounter.mount(&tmpfs(Access::ReadWrite, &["size=64k", "mode=0700"]), &target).unwrap();
        fs::write(target.join("fits"), [1; 60 << 10]).unwrap();
        let error = fs::write(target.join("does not"), [1; 60 << 10]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let table = SystemMounter.table().unwrap();
        let mount = table.top(&target).unwrap();
        assert_eq!((mount.fs_type.as_str(), mount.source.as_path()), ("tmpfs", Path::new("volume")));
        assert!(mount.super_options.iter().any(|option| option == "size=64k"), "{mount:?}");
        SystemMounter.unmount(&target).unwrap();
        assert!(!target.join("fits").exists());
    });
}

#[test]
fn a_read_only_file_system_refuses_writes() {
    privately("a_read_only_file_system_refuses_writes", || {
        let place = Place::new();
        let target = place.directory("target");
        SystemMounter.mount(&tmpfs(Access::ReadOnly, &[]), &target).unwrap();
        assert_eq!(write_errno(&target.join("x")), Some(READ_ONLY));
        assert!(SystemMounter.table().unwrap().top(&target).unwrap().is_read_only());
    });
}

#[test]
fn a_bind_shares_contents_and_read_only_is_its_own() {
    privately("a_bind_shares_contents_and_read_only_is_its_own", || {
        let place = Place::new();
        let (device_mount, pod) = (place.directory("device"), place.directory("pod"));
        SystemMounter.mount(&tmpfs(Access::ReadWrite, &[]), &device_mount).unwrap();
        SystemMounter.bind(&device_mount, &pod).unwrap();
        fs::write(device_mount.join("file"), "shared").unwrap();
        assert_eq!(fs::read_to_string(pod.join("file")).unwrap(), "shared");

        SystemMounter.make_read_only(&pod).unwrap();
        assert_eq!(write_errno(&pod.join("x")), Some(READ_ONLY));
        fs::write(device_mount.join("still writable"), "").unwrap();

        let table = SystemMounter.table().unwrap();
        let references: Vec<_> =
            table.references(&device_mount).iter().map(|mount| &mount.mount_point).collect();
        assert_eq!(references, [&pod]);
        assert!(table.top(&pod).unwrap().is_read_only() && !table.top(&device_mount).unwrap().is_read_only());
    });
}

#[test]
fn read_only_keeps_the_other_flags_of_the_mount() {
    privately("read_only_keeps_the_other_flags_of_the_mount", || {
        let place = Place::new();
        let target = place.directory("target");
        SystemMounter.mount(&tmpfs(Access::ReadWrite, &[]), &target).unwrap();
        // rustix's remount, since the mounter has no verb for these flags.
        let flags = rustix::mount::MountFlags::from_bits_retain(0x100)
            | rustix::mount::MountFlags::NOSUID
            | rustix::mount::MountFlags::NODEV
            | rustix::mount::MountFlags::NOEXEC
            | rustix::mount::MountFlags::NOATIME
            | rustix::mount::MountFlags::BIND;
        rustix::mount::mount_remount(&target, flags, c"").unwrap();
        SystemMounter.make_read_only(&target).unwrap();
        let table = SystemMounter.table().unwrap();
        let options = &table.top(&target).unwrap().options;
        for flag in ["ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"] {
            assert!(options.iter().any(|option| option == flag), "{flag} in {options:?}");
        }
    });
}

#[test]
fn a_symlink_is_no_target_and_no_mount_point() {
    privately("a_symlink_is_no_target_and_no_mount_point", || {
        let place = Place::new();
        let (source, mounted) = (place.directory("source"), place.directory("mounted"));
        SystemMounter.mount(&tmpfs(Access::ReadWrite, &[]), &mounted).unwrap();
        let link = place.root.join("link");
        symlink(&mounted, &link).unwrap();

        assert!(matches!(SystemMounter.bind(&source, &link), Err(MountError::Target { .. })));
        let refused = SystemMounter.mount(&tmpfs(Access::ReadWrite, &[]), &link);
        assert!(matches!(refused, Err(MountError::Target { .. })));
        assert!(matches!(SystemMounter.make_read_only(&link), Err(MountError::Target { .. })));
        assert_eq!(SystemMounter.mount_point(&link).unwrap(), MountPoint::No);
        assert_eq!(errno(SystemMounter.unmount(&link)), INVALID);
        assert_eq!(errno(SystemMounter.unmount_lazy(&link)), INVALID);

        assert_eq!(SystemMounter.mount_point(&mounted).unwrap(), MountPoint::Yes);
        assert_eq!(SystemMounter.table().unwrap().below(&place.root).count(), 1);
    });
}

#[test]
fn a_file_is_no_target_and_a_missing_directory_says_so() {
    privately("a_file_is_no_target_and_a_missing_directory_says_so", || {
        let place = Place::new();
        let source = place.directory("source");
        let file = place.root.join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(SystemMounter.bind(&source, &file), Err(MountError::Target { .. })));
        assert_eq!(errno(SystemMounter.bind(&source, &place.root.join("none"))), 2);
        let error = SystemMounter.bind(&place.root.join("gone"), &source).unwrap_err();
        assert!(error.to_string().starts_with("open the source of the bind mount"), "{error}");
    });
}

#[test]
fn a_bind_within_one_file_system_is_a_mount_point() {
    privately("a_bind_within_one_file_system_is_a_mount_point", || {
        let place = Place::new();
        let (source, target) = (place.directory("source"), place.directory("target"));
        assert_eq!(SystemMounter.mount_point(&target).unwrap(), MountPoint::No);
        SystemMounter.bind(&source, &target).unwrap();
        assert_eq!(SystemMounter.mount_point(&target).unwrap(), MountPoint::Yes);
        assert_eq!(SystemMounter.mount_point(&source).unwrap(), MountPoint::No);
        assert_eq!(SystemMounter.mount_point(&target.join("none")).unwrap(), MountPoint::Absent);
        fs::write(source.join("file"), "").unwrap();
        assert_eq!(SystemMounter.mount_point(&target.join("file")).unwrap(), MountPoint::No);
        assert_eq!(SystemMounter.mount_point(&target.join("file/below")).unwrap(), MountPoint::Absent);
    });
}

#[test]
fn stacked_mounts_leave_from_the_top_and_nothing_mounted_is_an_error() {
    privately("stacked_mounts_leave_from_the_top_and_nothing_mounted_is_an_error", || {
        let place = Place::new();
        let target = place.directory("target");
        for size in ["size=64k", "size=128k"] {
            SystemMounter.mount(&tmpfs(Access::ReadWrite, &[size]), &target).unwrap();
        }
        let has = |size: &str| {
            let table = SystemMounter.table().unwrap();
            table.top(&target).is_some_and(|mount| mount.super_options.iter().any(|option| option == size))
        };
        assert_eq!(SystemMounter.table().unwrap().at(&target).count(), 2);
        assert!(has("size=128k"));
        SystemMounter.unmount(&target).unwrap();
        assert!(has("size=64k"));
        SystemMounter.unmount(&target).unwrap();
        assert_eq!(errno(SystemMounter.unmount(&target)), INVALID);
    });
}

#[test]
fn what_is_in_use_is_busy_and_can_be_detached() {
    privately("what_is_in_use_is_busy_and_can_be_detached", || {
        let place = Place::new();
        let target = place.directory("target");
        SystemMounter.mount(&tmpfs(Access::ReadWrite, &[]), &target).unwrap();
        let user = File::create(target.join("in use")).unwrap();
        assert_eq!(errno(SystemMounter.unmount(&target)), BUSY);
        SystemMounter.unmount_lazy(&target).unwrap();
        assert_eq!(SystemMounter.mount_point(&target).unwrap(), MountPoint::No);
        drop(user);
    });
}

#[test]
fn every_name_is_found_again_in_the_table() {
    privately("every_name_is_found_again_in_the_table", || {
        let place = Place::new();
        let source = place.directory("source");
        let names: [&[u8]; 6] =
            [b"a b\tc", b"new\nline", b"back\\slash\\040", b"hash#", b"\xff\xfe", &[b'x'; 255]];
        for name in names {
            let target = place.directory(OsStr::from_bytes(name));
            SystemMounter.bind(&source, &target).unwrap();
            assert!(SystemMounter.table().unwrap().top(&target).is_some(), "{}", name.escape_ascii());
            SystemMounter.unmount(&target).unwrap();
        }
    });
}

#[test]
fn a_removed_source_is_marked_in_the_table() {
    privately("a_removed_source_is_marked_in_the_table", || {
        let place = Place::new();
        let (source, target) = (place.directory("source"), place.directory("target"));
        SystemMounter.bind(&source, &target).unwrap();
        fs::remove_dir(&source).unwrap();
        assert!(SystemMounter.table().unwrap().top(&target).unwrap().is_root_deleted());
    });
}

/// Mounts a FUSE file system; the file is its server, which never says a word.
fn silent_server(test: &str, target: &Path) -> Option<File> {
    let Ok(server) = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") else {
        eprintln!("skipped: {test}: needs /dev/fuse");
        return None;
    };
    let connection = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    let fuse = FileSystemMount {
        source: "server".into(),
        fs_type: "fuse".into(),
        access: Access::ReadWrite,
        data: vec![connection],
    };
    SystemMounter.mount(&fuse, target).unwrap();
    Some(server)
}

#[test]
fn a_file_system_whose_server_is_silent_is_mounted_and_does_not_hold_us() {
    const TEST: &str = "a_file_system_whose_server_is_silent_is_mounted_and_does_not_hold_us";
    privately(TEST, || {
        let place = Place::new();
        let target = place.directory("target");
        let Some(server) = silent_server(TEST, &target) else { return };
        let start = Instant::now();
        assert_eq!(SystemMounter.mount_point(&target).unwrap(), MountPoint::Yes);
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
        drop(server);
        // The question may still be on its way back, which keeps the mount busy.
        SystemMounter.unmount_lazy(&target).unwrap();
    });
}

#[test]
fn a_file_system_whose_server_is_gone_is_a_dead_mount() {
    const TEST: &str = "a_file_system_whose_server_is_gone_is_a_dead_mount";
    privately(TEST, || {
        let place = Place::new();
        let target = place.directory("target");
        let Some(server) = silent_server(TEST, &target) else { return };
        drop(server);
        // By a symlinked parent too: the table has the real name.
        let link = place.root.join("link");
        symlink(&place.root, &link).unwrap();
        for path in [&target, &link.join("target")] {
            assert_eq!(SystemMounter.mount_point(path).unwrap(), MountPoint::Dead(NOT_CONNECTED));
        }
        // Below a dead mount nobody knows anything.
        SystemMounter.mount_point(&target.join("below")).unwrap_err();
        SystemMounter.unmount(&target).unwrap();
    });
}

#[test]
fn a_program_on_a_noexec_mount_is_not_executable() {
    privately("a_program_on_a_noexec_mount_is_not_executable", || {
        let place = Place::new();
        let target = place.directory("target");
        SystemMounter.mount(&tmpfs(Access::ReadWrite, &[]), &target).unwrap();
        let program = target.join("program");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let command = Command::new(&program, Duration::from_secs(20));
        assert!(SystemRunner.run(&command).unwrap().ended.is_success());
        let flags = rustix::mount::MountFlags::BIND | rustix::mount::MountFlags::NOEXEC;
        rustix::mount::mount_remount(&target, flags, c"").unwrap();
        assert_eq!(SystemRunner.run(&command).unwrap_err().reason, StartFailure::NotExecutable);
    });
}

#[test]
fn a_table_of_hundreds_of_mounts_is_whole() {
    privately("a_table_of_hundreds_of_mounts_is_whole", || {
        let place = Place::new();
        let source = place.directory("source");
        let targets: Vec<_> = (0..600).map(|number| place.directory(format!("volume {number}"))).collect();
        for target in &targets {
            SystemMounter.bind(&source, target).unwrap();
        }
        let table = SystemMounter.table().unwrap();
        assert!(targets.iter().all(|target| table.top(target).is_some()));
    });
}
