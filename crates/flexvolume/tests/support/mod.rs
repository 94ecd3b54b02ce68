//! Drivers as processes, and a mount namespace to try them in.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "only tests include this file")]

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A program of this crate's examples.
pub(crate) fn driver(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let file = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(file.exists(), "{} is missing: run `cargo build -p flexvolume --examples`", file.display());
    file
}

#[expect(clippy::disallowed_methods, reason = "tests start drivers and tools as processes")]
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    command
}

/// Calls a driver as a host does, and checks what holds for every call: exit code 0, one line on standard output,
/// nothing on standard error.
pub(crate) fn call<A: AsRef<OsStr>>(name: &str, arguments: &[A]) -> String {
    let output = program(driver(name)).args(arguments).output().unwrap();
    reply(&output)
}

pub(crate) fn reply(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let line = text.strip_suffix('\n').unwrap();
    serde_json::from_str::<flexvolume::Reply>(line).unwrap();
    line.to_owned()
}

/// Runs the calling test again in a mount namespace of its own, as root of a user namespace where need be.
///
/// True inside, where the test does its work. False outside: then the work is done, or said to be skipped.
pub(crate) fn in_mount_namespace(test: &str) -> bool {
    const MARK: &str = "FLEXVOLUME_TEST_IN_NAMESPACE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let root = ["--mount", "--propagation", "private"].as_slice();
    let user = ["--user", "--map-root-user", "--mount", "--propagation", "private"].as_slice();
    let works = |flags: &&[&str]| {
        program("unshare")
            .args(*flags)
            .args(["mount", "-t", "tmpfs", "none", "/mnt"])
            .output()
            .is_ok_and(|o| o.status.success())
    };
    let Some(flags) = [root, user].into_iter().find(works) else {
        eprintln!("skipped: {test}: needs a mount namespace (unshare --mount)");
        return false;
    };
    let this = std::env::current_exe().unwrap();
    let mut inside = program("unshare");
    inside.args(flags).arg("--").arg(this).args([test, "--exact", "--nocapture"]).env(MARK, "1");
    let output = inside.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}
