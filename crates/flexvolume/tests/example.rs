//! The example `memory` as a process, in a mount namespace of its own.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use support::{call, in_mount_namespace};

const SUCCESS: &str = r#"{"status":"Success"}"#;

fn mount(mount_dir: &Path, options: &str) -> String {
    call("memory", &[OsStr::new("mount"), mount_dir.as_os_str(), OsStr::new(options)])
}

fn unmount(mount_dir: &Path) -> String {
    call("memory", &[OsStr::new("unmount"), mount_dir.as_os_str()])
}

fn mounts_on(mount_dir: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    assert!(!table.is_empty(), "no mount table");
    table.lines().filter(|line| line.split(' ').nth(4) == mount_dir.to_str()).count()
}

#[test]
fn init_says_that_there_is_nothing_to_attach() {
    assert_eq!(
        call("memory", &["init"]),
        r#"{"status":"Success","capabilities":{"attach":false,"selinuxRelabel":true,"supportsMetrics":true,"fsGroup":true,"requiresFSResize":false}}"#
    );
}

#[test]
fn a_volume_is_mounted_once_and_its_size_is_enforced() {
    if !in_mount_namespace("a_volume_is_mounted_once_and_its_size_is_enforced") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        assert_eq!(mount(dir.path(), r#"{"size":"1Mi","kubernetes.io/readwrite":"rw"}"#), SUCCESS);
        assert_eq!(mounts_on(dir.path()), 1);
    }
    assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o7777, 0o777);
    fs::write(dir.path().join("fits"), vec![1; 900 << 10]).unwrap();
    let error = fs::write(dir.path().join("does not"), vec![1; 200 << 10]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let figures = rustix::fs::statvfs(dir.path()).unwrap();
    assert_eq!(figures.f_blocks * figures.f_frsize, 1 << 20);
    for _ in 0..2 {
        assert_eq!(unmount(dir.path()), SUCCESS);
        assert_eq!(mounts_on(dir.path()), 0);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_read_only_volume_of_another_mode_is_just_that() {
    if !in_mount_namespace("a_read_only_volume_of_another_mode_is_just_that") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(mount(dir.path(), r#"{"size":"64k","mode":"1770","kubernetes.io/readwrite":"ro"}"#), SUCCESS);
    let error = fs::write(dir.path().join("file"), "x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o7777, 0o1770);
    assert_eq!(unmount(dir.path()), SUCCESS);
}

#[test]
fn a_busy_volume_is_left_mounted() {
    if !in_mount_namespace("a_busy_volume_is_left_mounted") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(mount(dir.path(), r#"{"size":"64Ki"}"#), SUCCESS);
    let open = fs::File::create(dir.path().join("open")).unwrap();
    let reply = unmount(dir.path());
    assert!(reply.contains("cannot unmount the tmpfs on") && reply.contains("busy"), "{reply}");
    assert_eq!(mounts_on(dir.path()), 1);
    drop(open);
    assert_eq!(unmount(dir.path()), SUCCESS);
}

#[test]
fn a_symlink_leads_nowhere() {
    if !in_mount_namespace("a_symlink_leads_nowhere") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let reply = mount(&link, r#"{"size":"64Ki"}"#);
    assert!(reply.starts_with(r#"{"status":"Failure","message":"cannot open "#), "{reply}");
    assert_eq!(mounts_on(&real), 0);
    assert_eq!(mount(&real, r#"{"size":"64Ki"}"#), SUCCESS);
    assert!(unmount(&link).contains("Failure"));
    assert_eq!(mounts_on(&real), 1);
    assert_eq!(unmount(&real), SUCCESS);
}

#[test]
fn what_somebody_else_mounted_is_not_touched() {
    if !in_mount_namespace("what_somebody_else_mounted_is_not_touched") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().to_str().unwrap();
    let bound = support::program("mount").args(["--rbind", "/proc", target]).status().unwrap();
    assert!(bound.success());
    let refused = |reply: &str| reply.contains("something that is not a memory volume is mounted on");
    assert!(refused(&mount(dir.path(), r#"{"size":"64Ki"}"#)));
    assert!(refused(&unmount(dir.path())));
    assert_eq!(mounts_on(dir.path()), 1);
}

#[test]
fn a_mount_dir_that_is_gone_is_unmounted_already() {
    assert_eq!(unmount(Path::new("/nowhere/at/all")), SUCCESS);
    assert!(
        mount(Path::new("/nowhere/at/all"), r#"{"size":"64Ki"}"#).contains("cannot open /nowhere/at/all")
    );
}

#[test]
fn wrong_options_are_told_before_anything_is_mounted() {
    let dir = tempfile::tempdir().unwrap();
    for (options, expected) in [
        ("{}", r#"option \"size\" is missing"#),
        (r#"{"size":"0"}"#, "is zero"),
        (r#"{"size":"10m"}"#, "for mebibytes write 10Mi"),
        (r#"{"size":"1GB"}"#, "probably Gi was meant"),
        (r#"{"size":"9Ei"}"#, "is more than"),
        (r#"{"size":64}"#, "is not a string"),
        (r#"{"size":"1Mi","mode":"rwx"}"#, "is not an octal mode"),
        (r#"{"size":"1Mi","mode":"777,size=0"}"#, "is not an octal mode"),
        (
            r#"{"size":"1Mi","sise":"2Mi"}"#,
            r#"option \"sise\" is not known to this driver; it knows size, mode"#,
        ),
    ] {
        let reply = mount(dir.path(), options);
        assert!(reply.contains("\"Failure\"") && reply.contains(expected), "{options}: {reply}");
        assert_eq!(mounts_on(dir.path()), 0);
    }
}

#[test]
fn other_call_outs_are_left_to_the_host() {
    for arguments in [vec!["getvolumename", "{}"], vec!["detach", "v", "n"], vec!["provision", "x"]] {
        let reply = call("memory", &arguments);
        assert!(reply.starts_with(r#"{"status":"Not supported""#), "{reply}");
    }
}
