//! Whatever a driver does, its host reads one document, and no secret.

mod support;

use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{call, driver, program, reply};

const PASSWORD: &str = "correct-horse";
const PASSWORD_BASE64: &str = "Y29ycmVjdC1ob3JzZQ==";

fn options(what: &str) -> String {
    format!(r#"{{"do":"{what}","kubernetes.io/secret/password":"{PASSWORD_BASE64}"}}"#)
}

fn mount(dir: &tempfile::TempDir, what: &str) -> String {
    let options = options(what);
    let reply = call("unruly", &["mount".as_ref(), dir.path().as_os_str(), options.as_ref()]);
    assert!(!reply.contains(PASSWORD) && !reply.contains("Y29ycmVjdC1ob3JzZQ"), "{reply}");
    reply
}

#[test]
fn prints_of_the_driver_and_its_children_go_nowhere() {
    assert!(call("unruly", &["init"]).starts_with(r#"{"status":"Success","capabilities""#));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(mount(&dir, "print"), r#"{"status":"Success"}"#);
    assert!(dir.path().join("printed").exists());
}

#[test]
fn a_child_left_behind_does_not_keep_the_host_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let start = Instant::now();
    assert_eq!(mount(&dir, "daemon"), r#"{"status":"Success"}"#);
    assert!(start.elapsed() < Duration::from_secs(30), "the host waited for the child");
    let pid = loop {
        match fs::read_to_string(dir.path().join("pid")) {
            Ok(pid) => break pid.trim().to_owned(),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        assert!(start.elapsed() < Duration::from_secs(60), "the child never started");
    };
    // It was alive all the time, so it is this one that the host did not wait for.
    assert!(program("kill").arg(&pid).status().unwrap().success());
}

#[test]
fn children_inherit_nothing_but_the_standard_streams() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(mount(&dir, "descriptors"), r#"{"status":"Success"}"#);
    let list = fs::read_to_string(dir.path().join("list")).unwrap();
    // What this test itself was started with is no fault of the driver.
    let bare = program("ls").arg("/proc/self/fd").output().unwrap();
    assert_eq!(list, String::from_utf8(bare.stdout).unwrap());
}

#[test]
fn a_failure_does_not_tell_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(mount(&dir, "fail"), r#"{"status":"Failure","message":"login with <redacted> failed"}"#);
}

#[test]
fn a_panic_is_a_failure_that_does_not_tell_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    for what in ["panic", "panic-in-thread"] {
        let reply = mount(&dir, what);
        assert!(reply.starts_with(r#"{"status":"Failure","message":"the driver panicked at "#), "{reply}");
        assert!(reply.ends_with(r#": no login with <redacted>"}"#), "{reply}");
    }
    let reply = mount(&dir, "panic-with-number");
    assert!(reply.contains("the driver panicked at "), "{reply}");
}

#[test]
fn a_host_that_does_not_listen_is_no_reason_to_fail() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for stdout in [Stdio::from(full), Stdio::from(writer), Stdio::null()] {
        let status = program(driver("unruly")).arg("init").stdout(stdout).status().unwrap();
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn closed_standard_streams_are_survived() {
    let script = format!("exec '{}' init <&- >&- 2>&-", driver("unruly").display());
    assert_eq!(program("sh").args(["-c", &script]).status().unwrap().code(), Some(0));
}

#[test]
fn both_streams_into_one_pipe_still_carry_one_document() {
    let script = format!("exec '{}' init 2>&1", driver("unruly").display());
    let output = program("sh").args(["-c", &script]).output().unwrap();
    assert!(reply(&output).starts_with(r#"{"status":"Success""#));
}
