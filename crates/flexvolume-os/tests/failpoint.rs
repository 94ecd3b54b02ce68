//! A process that dies at a fail point: this test binary, started once more.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise, and says what it skips")]

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

use flexvolume_os::{atomic, failpoint};

const RECORD: &str = "FLEXVOL_TEST_RECORD";

/// Runs the test `writes` in a process of its own.
fn write(directory: &Path, failpoint: &str) -> ExitStatus {
    #[expect(clippy::disallowed_methods, reason = "this starts the test itself, to see it die")]
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "writes", "--test-threads=1"]).env(RECORD, directory.join("record"));
    again.env("FLEXVOL_FAILPOINT", failpoint).env("FLEXVOL_FAILPOINT_LOG", directory.join("log"));
    again.output().unwrap().status
}

/// The body of the other process; alone it has nothing to do.
#[test]
fn writes() {
    if let Some(record) = std::env::var_os(RECORD) {
        atomic::write(record.as_ref(), b"new").unwrap();
        failpoint::hit("test.done");
    }
}

#[test]
fn a_crash_leaves_the_old_file_or_the_new_one_and_the_next_write_succeeds() {
    const KILL: i32 = 9;
    for (failpoint, expected) in [("atomic.written", "old"), ("atomic.renamed", "new"), ("test.*", "new")] {
        let directory = tempfile::tempdir().unwrap();
        let record = directory.path().join("record");
        fs::write(&record, "old").unwrap();
        let status = write(directory.path(), &format!("{failpoint}=abort"));
        assert_eq!(status.signal(), Some(KILL), "{failpoint}");
        assert_eq!(fs::read_to_string(&record).unwrap(), expected, "{failpoint}");

        assert!(write(directory.path(), "").success());
        assert_eq!(fs::read_to_string(&record).unwrap(), "new");
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["log", "record"]);
    }
}

#[test]
fn the_log_lists_the_points_that_were_passed() {
    let directory = tempfile::tempdir().unwrap();
    assert!(write(directory.path(), "no.such.point=abort").success());
    let log = fs::read_to_string(directory.path().join("log")).unwrap();
    assert_eq!(log, "atomic.written\natomic.renamed\ntest.done\n");
}

#[test]
fn a_point_can_delay_the_process() {
    use std::time::{Duration, Instant};
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    assert!(write(directory.path(), "atomic.written=sleep:300").success());
    assert!(start.elapsed() >= Duration::from_millis(300));
}
