//! The namespaces of this process: one case per process, since a namespace cannot be left.
//!
//! Without the usual harness, which has threads: `main` starts itself once more for each case.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it skips"
)]

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use flexvolume_os::mount::{Access, FileSystemMount, MountPoint, Mounter as _, SystemMounter};
use flexvolume_os::namespace;

/// The exit code by which a case says that it cannot run here.
const SKIPPED: u8 = 77;

/// Who runs a case when root runs the tests.
#[derive(PartialEq, Eq)]
enum User {
    Root,
    Ordinary,
}

const NOBODY: u32 = 65_534;

type Case = fn(&Path) -> io::Result<()>;
const CASES: [(&str, User, Case); 4] = [
    ("mounts_in_a_private_namespace_are_not_seen_outside", User::Root, private),
    ("mounts_of_the_host_are_followed_and_ours_are_not_seen", User::Root, following),
    ("an_ordinary_user_mounts_in_a_user_namespace", User::Ordinary, user),
    ("a_process_with_two_threads_is_refused", User::Root, two_threads),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [name, place] if CASES.iter().any(|(case, ..)| case == name) => inside(name, Path::new(place)),
        _ => outside(arguments.iter().find(|word| !word.starts_with('-')).map_or("", String::as_str)),
    }
}

fn inside(name: &str, place: &Path) -> ExitCode {
    let Some((.., case)) = CASES.iter().find(|(case, ..)| *case == name) else { return ExitCode::FAILURE };
    match case(place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::from(SKIPPED)
        }
    }
}

fn outside(filter: &str) -> ExitCode {
    let (mut run, mut failed) = (0, 0);
    for (name, user, _) in CASES.iter().filter(|(name, ..)| name.contains(filter)) {
        run += 1;
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().canonicalize().unwrap();
        fs::set_permissions(&place, Permissions::from_mode(0o777)).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a namespace needs a process of its own")]
        let mut case = Command::new(std::env::current_exe().unwrap());
        if *user == User::Ordinary && rustix::process::geteuid().is_root() {
            case.uid(NOBODY).gid(NOBODY);
        }
        let output = match case.arg(name).arg(&place).current_dir("/").output() {
            Ok(output) => output,
            Err(error) => {
                eprintln!("skipped: {name}: {error}");
                continue;
            }
        };
        let text = String::from_utf8_lossy(&output.stdout);
        match output.status.code() {
            Some(0) => println!("test {name} ... ok"),
            Some(code) if code == i32::from(SKIPPED) => eprintln!("skipped: {name}: {}", text.trim()),
            _ => {
                failed += 1;
                println!("test {name} ... FAILED");
                let _ = io::stdout().write_all(&output.stderr);
            }
        }
        let table = SystemMounter.table().unwrap();
        assert_eq!(table.below(&place).count(), 0, "{name} left a mount outside");
    }
    // As the usual harness says it; what was skipped counts as passed there too.
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {word}. {} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out",
        run - failed
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn directory(place: &Path, name: &str) -> PathBuf {
    let path = place.join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

fn tmpfs() -> FileSystemMount {
    FileSystemMount {
        source: "t".into(),
        fs_type: "tmpfs".into(),
        access: Access::ReadWrite,
        data: Vec::new(),
    }
}

fn is_mounted(path: &Path) -> bool {
    SystemMounter.mount_point(path).unwrap() == MountPoint::Yes
}

fn private(place: &Path) -> io::Result<()> {
    namespace::enter_private_mounts()?;
    let target = directory(place, "target");
    SystemMounter.mount(&tmpfs(), &target).unwrap();
    assert!(is_mounted(&target));
    Ok(())
}

fn following(place: &Path) -> io::Result<()> {
    // A host of our own, whose mounts travel.
    namespace::enter_private_mounts()?;
    rustix::mount::mount_change("/", rustix::mount::MountPropagationFlags::SHARED)?;
    let (before, after, ours) =
        (directory(place, "before"), directory(place, "after"), directory(place, "ours"));
    SystemMounter.mount(&tmpfs(), place).unwrap();
    rustix::mount::mount_change(place, rustix::mount::MountPropagationFlags::SHARED)?;
    for target in [&before, &after, &ours] {
        fs::create_dir(target).unwrap();
    }
    SystemMounter.mount(&tmpfs(), &before).unwrap();
    // The host stays behind as the table of its thread: another process that entered nothing.
    #[expect(clippy::disallowed_methods, reason = "the host of this case")]
    let mut host = Command::new("sh")
        .args(["-c", "read _; umount before && mount -t tmpfs t after && ! mountpoint -q ours && echo yes"])
        .current_dir(place)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    namespace::enter_following_mounts()?;
    SystemMounter.mount(&tmpfs(), &ours).unwrap();
    assert!(is_mounted(&before) && !is_mounted(&after));
    host.stdin.take().unwrap().write_all(b"go\n")?;
    assert_eq!(host.wait_with_output()?.stdout, b"yes\n", "the host sees its own mounts and not ours");
    assert!(!is_mounted(&before) && is_mounted(&after) && is_mounted(&ours));
    Ok(())
}

fn user(place: &Path) -> io::Result<()> {
    namespace::enter_user_namespace()?;
    assert!(rustix::process::geteuid().is_root() && rustix::process::getegid().is_root());
    let (source, target) = (directory(place, "source"), directory(place, "target"));
    SystemMounter.mount(&tmpfs(), &source).unwrap();
    SystemMounter.bind(&source, &target).unwrap();
    fs::write(source.join("file"), "").unwrap();
    SystemMounter.make_read_only(&target).unwrap();
    assert!(fs::write(target.join("file"), "x").is_err());
    SystemMounter.unmount(&target).unwrap();

    // In a namespace further down the flags of what is mounted are locked, and a remount must repeat them.
    use rustix::mount::MountFlags;
    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    rustix::mount::mount_remount(&source, flags, c"")?;
    namespace::enter_user_namespace()?;
    SystemMounter.bind(&source, &target).unwrap();
    SystemMounter.make_read_only(&target).unwrap();
    assert!(fs::write(target.join("file"), "x").is_err());
    Ok(())
}

fn two_threads(_: &Path) -> io::Result<()> {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || stopped.recv());
    for enter in [namespace::enter_private_mounts, namespace::enter_user_namespace] {
        assert_eq!(enter().unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    drop(stop);
    let _ = thread.join();
    Ok(())
}
