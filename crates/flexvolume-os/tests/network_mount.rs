//! Mounts in a child, with tmpfs in the place of a network file system.
//!
//! Without the usual harness: this program is its own child, and enters a mount namespace, which one with threads cannot.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it skips"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use flexvolume_os::System;
use flexvolume_os::mount::{Access, Mounter as _, SystemMounter};
use flexvolume_os::mountinfo::Mount;
use flexvolume_os::namespace;
use flexvolume_os::network_mount::{
    Attributes, FileSystem, Health, Making, Mounted, NetworkMount, NetworkMountError, NetworkMounter,
    Permission, Server, Setting, Step, Subdirectory, Unmounted, Unmounting, child_entry,
};

const PATIENCE: Duration = Duration::from_secs(20);

type Case = fn(&NetworkMounter<'_>, &Path);
const CASES: [(&str, Case); 8] = [
    ("settings_and_attributes_arrive", settings_and_attributes_arrive),
    ("the_next_attempt_is_made_after_some_errors_only", attempts),
    ("what_the_file_system_says_is_passed_on", messages),
    ("a_symlink_is_no_target", symlink_target),
    ("a_subdirectory_is_mounted_alone", subdirectory),
    ("a_child_that_hangs_is_ended", hanging),
    ("what_is_in_use_stays_if_the_server_answers", busy),
    ("a_mount_of_somebody_else_stays", foreign),
];

fn main() -> ExitCode {
    if let Some(code) = child_entry() {
        return code;
    }
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    if let Err(error) = namespace::enter_private_mounts() {
        eprintln!("skipped: network_mount: needs root and mount namespaces: {error}");
        println!("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        return ExitCode::SUCCESS;
    }
    let mut run = 0;
    let system = System::host();
    for (name, case) in CASES.iter().filter(|(name, _)| name.contains(&filter)) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let target = root.join("target");
        fs::create_dir(&target).unwrap();
        case(&NetworkMounter::new(&system), &target);
        for mount in SystemMounter.table().unwrap().below(&root) {
            SystemMounter.unmount_lazy(&mount.mount_point).unwrap();
        }
        println!("test {name} ... ok");
        run += 1;
    }
    println!("test result: ok. {run} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
    ExitCode::SUCCESS
}

fn tmpfs(settings: &[(&str, &str)]) -> FileSystem {
    let settings = settings.iter().map(|(key, value)| Setting::text(key, *value).unwrap()).collect();
    FileSystem { fs_type: "tmpfs".to_owned(), source: c"server:/a b".into(), settings, log_words: Vec::new() }
}

fn plain(file_system: FileSystem) -> NetworkMount {
    NetworkMount {
        attempts: vec![file_system],
        go_on: Vec::new(),
        attributes: Attributes::default(),
        subdirectory: None,
        replaces: 0,
    }
}

fn top(target: &Path) -> Mount {
    SystemMounter.table().unwrap().top(target).unwrap().clone()
}

fn unmount(
    mounter: &NetworkMounter<'_>,
    target: &Path,
    server: Server,
) -> Result<Unmounted, NetworkMountError> {
    let is_ours = |mount: &Mount| mount.fs_type == "tmpfs";
    mounter.unmount(target, &Unmounting { is_ours: &is_ours, server: &|_| server })
}

fn settings_and_attributes_arrive(mounter: &NetworkMounter<'_>, target: &Path) {
    let mut mount = plain(tmpfs(&[("size", "1m"), ("mode", "0750")]));
    mount.attributes =
        Attributes { access: Access::ReadOnly, programs: Permission::Refused, ..Attributes::default() };
    assert_eq!(mounter.mount(&mount, target, PATIENCE).unwrap(), Mounted(Some(0)));
    let found = top(target);
    for option in ["ro", "nosuid", "nodev", "noexec", "relatime"] {
        assert!(found.options.iter().any(|has| has == option), "{option}: {found:?}");
    }
    assert!(found.super_options.iter().any(|has| has == "size=1024k"), "{found:?}");
    assert_eq!(found.source, Path::new("server:/a b"));
    assert_eq!(mounter.look(target, PATIENCE).unwrap(), Health::Well);
    assert_eq!(unmount(mounter, target, Server::Answers).unwrap(), Unmounted::Plainly);
    assert_eq!(unmount(mounter, target, Server::Answers).unwrap(), Unmounted::Already);
}

fn attempts(mounter: &NetworkMounter<'_>, target: &Path) {
    const INVALID: i32 = 22;
    let (bad, good) = (tmpfs(&[("size", "x")]), tmpfs(&[]));
    let mut mount = plain(bad);
    mount.attempts.push(good);
    let error = mounter.mount(&mount, target, PATIENCE).unwrap_err();
    let NetworkMountError::Refused(refusal) = error else { panic!("{error}") };
    assert_eq!(
        (refusal.step, &*refusal.subject, refusal.errno, refusal.attempt),
        (Step::Setting, "size", INVALID, 0)
    );
    mount.go_on = vec![INVALID];
    assert_eq!(mounter.mount(&mount, target, PATIENCE).unwrap(), Mounted(Some(1)));
}

fn messages(mounter: &NetworkMounter<'_>, target: &Path) {
    // A comma does not begin another setting, and what belongs to the mount is no setting of a file system.
    for (key, value, message) in
        [("size", "1m,mode=0777", "size"), ("nosuid", "x", "Unknown parameter 'nosuid'")]
    {
        let error = mounter.mount(&plain(tmpfs(&[(key, value)])), target, PATIENCE).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    let unknown = FileSystem { fs_type: "no-such-fs".to_owned(), ..tmpfs(&[]) };
    let error = mounter.mount(&plain(unknown), target, PATIENCE).unwrap_err();
    assert!(
        matches!(&error, NetworkMountError::Refused(refusal) if refusal.step == Step::FileSystem),
        "{error}"
    );
    assert!(SystemMounter.table().unwrap().top(target).is_none());
}

fn symlink_target(mounter: &NetworkMounter<'_>, target: &Path) {
    let link = target.with_file_name("link");
    symlink(target, &link).unwrap();
    for mount in [plain(tmpfs(&[])), narrowed("a", None)] {
        let error = mounter.mount(&mount, &link, PATIENCE).unwrap_err();
        assert!(
            matches!(&error, NetworkMountError::Refused(refusal) if refusal.step == Step::Target),
            "{error}"
        );
        assert!(SystemMounter.table().unwrap().below(target.parent().unwrap()).next().is_none());
    }
}

fn narrowed(path: &str, making: Option<Making>) -> NetworkMount {
    let subdirectory = Subdirectory::parse(path).unwrap();
    let subdirectory = Some(making.map_or(subdirectory.clone(), |making| subdirectory.made(making)));
    NetworkMount { subdirectory, ..plain(tmpfs(&[])) }
}

fn subdirectory(mounter: &NetworkMounter<'_>, target: &Path) {
    let error = mounter.mount(&narrowed("a/b", None), target, PATIENCE).unwrap_err();
    assert!(
        matches!(&error, NetworkMountError::Refused(refusal) if refusal.step == Step::Subdirectory && refusal.subject == "a"),
        "{error}"
    );
    assert!(SystemMounter.table().unwrap().top(target).is_none());
    let making = Making { mode: 0o2771, owner: Some(1234), group: Some(567) };
    mounter.mount(&narrowed("a/b", Some(making)), target, PATIENCE).unwrap();
    let found = top(target);
    assert_eq!(found.root, PathBuf::from("/a/b"));
    assert!(found.options.iter().any(|option| option == "nosuid"), "{found:?}");
    let root = fs::metadata(target).unwrap();
    assert_eq!((root.permissions().mode() & 0o7777, root.uid(), root.gid()), (0o2771, 1234, 567));
    assert_eq!(SystemMounter.table().unwrap().at(target).count(), 1);
    // A new one in the place of that one, in use or not.
    let held = fs::File::create(target.join("held")).unwrap();
    let replacing = NetworkMount { replaces: 1, ..narrowed("c", Some(making)) };
    mounter.mount(&replacing, target, PATIENCE).unwrap();
    assert_eq!((top(target).root, SystemMounter.table().unwrap().at(target).count()), ("/c".into(), 1));
    let impossible = NetworkMount { replaces: 1, ..narrowed("absent", None) };
    mounter.mount(&impossible, target, PATIENCE).unwrap_err();
    assert_eq!((top(target).root, SystemMounter.table().unwrap().at(target).count()), ("/c".into(), 1));
    drop(held);
    assert_eq!(unmount(mounter, target, Server::Answers).unwrap(), Unmounted::Plainly);
}

fn hanging(_: &NetworkMounter<'_>, target: &Path) {
    let system = System::host();
    let program = target.with_file_name("hangs");
    fs::write(&program, "#!/bin/sh\nexec sleep 600\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mounter = NetworkMounter::with_child(&system, &program);
    let start = Instant::now();
    let deadline = Duration::from_millis(300);
    let error = mounter.mount(&plain(tmpfs(&[])), target, deadline).unwrap_err();
    assert!(matches!(error, NetworkMountError::Deadline { .. }), "{error}");
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    let honest = NetworkMounter::new(&system);
    honest.mount(&plain(tmpfs(&[])), target, PATIENCE).unwrap();
    let error = unmount(&mounter, target, Server::Silent).unwrap_err();
    assert!(matches!(error, NetworkMountError::Deadline { .. }), "{error}");
    assert_eq!(unmount(&honest, target, Server::Silent).unwrap(), Unmounted::Plainly);
}

fn busy(mounter: &NetworkMounter<'_>, target: &Path) {
    mounter.mount(&plain(tmpfs(&[])), target, PATIENCE).unwrap();
    let held = fs::File::create(target.join("file")).unwrap();
    let error = unmount(mounter, target, Server::Answers).unwrap_err();
    assert!(matches!(error, NetworkMountError::Busy { .. }), "{error}");
    top(target);
    // Its server is gone: nothing is served by waiting.
    assert_eq!(unmount(mounter, target, Server::Silent).unwrap(), Unmounted::Lazily);
    assert!(SystemMounter.table().unwrap().top(target).is_none());
    drop(held);
}

fn foreign(mounter: &NetworkMounter<'_>, target: &Path) {
    mounter.mount(&plain(tmpfs(&[])), target, PATIENCE).unwrap();
    let nobody = Unmounting { is_ours: &|_| false, server: &|_| Server::Answers };
    let error = mounter.unmount(target, &nobody).unwrap_err();
    assert!(matches!(error, NetworkMountError::Other { .. }), "{error}");
    top(target);
}
