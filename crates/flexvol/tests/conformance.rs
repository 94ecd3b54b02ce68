//! The conformance suite on drivers good and bad, as a pipeline runs it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise, and says what it leaves out"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const FLEXVOL: &str = env!("CARGO_BIN_EXE_flexvol");

/// Everything that a driver should not do.
const BAD: &str = r#"#!/bin/sh
echo "called with $1" >&2
case $1 in
init)
  echo '{"status":"Success","capabilities":{"attach":"false","fsgroup":true}}'
  echo x > "$TMPDIR/init.$$" ;;
mount)
  echo "$3" > "$TMPDIR/options.$$"
  touch leftover
  sh -c 'sleep 0.05; :' "$3"
  eval "x=\"$3\"" 2>/dev/null
  mount -t tmpfs bad "$2"
  (sleep 20 &)
  echo '{"status":"Success"}' ;;
unmount)
  umount "$2" || { echo '{"status":"Failure","message":"cannot unmount"}'; exit 1; }
  echo '{"status":"Success"}' ;;
*) echo "usage: bad init|mount|unmount"; exit 1 ;;
esac
"#;

/// What `BAD` must be found out about.
const BAD_CHECKS: [&str; 22] = [
    "broken-options",
    "clean-replies",
    "concurrent-calls",
    "init-capabilities",
    "init-repeated",
    "init-strict",
    "killed",
    "leaves-files",
    "leaves-processes",
    "life-strict",
    "missing-arguments",
    "missing-tools",
    "mount-dir-missing",
    "mount-dir-symlink",
    "odd-options",
    "output-held",
    "read-only",
    "reboot",
    "repeated-calls",
    "secret-arguments",
    "secret-traces",
    "unknown-verb",
];

/// Fine for Kubernetes, but it mounts again what is mounted.
const PLAIN: &str = r#"#!/bin/sh
case $1 in
init) echo '{"status":"Success","capabilities":{"attach":false}}' ;;
mount) mount -t tmpfs plain "$2" >/dev/null 2>&1 && echo '{"status":"Success"}' || echo '{"status":"Failure"}' ;;
unmount) umount "$2" >/dev/null 2>&1 && echo '{"status":"Success"}' || echo '{"status":"Failure"}' ;;
*) echo '{"status":"Not supported"}' ;;
esac
"#;

/// Of the first protocol, with a variable that it cannot do without.
const OLD: &str = r#"#!/bin/sh
[ "$WANTED" = yes ] || exit 1
success() { echo '{"status":"Success"}'; }
failure() { echo '{"status":"Failure"}'; exit 1; }
case $1 in
init) success ;;
attach) [ $# = 2 ] && echo '{"status":"Success","device":"memory"}' || failure ;;
detach) [ "$2" = memory ] && success || failure ;;
mount) [ "$3" = memory ] && [ $# = 4 ] && mount -t tmpfs old "$2" >/dev/null 2>&1 && success || failure ;;
unmount) umount "$2" >/dev/null 2>&1 && success || failure ;;
*) echo '{"status":"Not supported"}' ;;
esac
"#;

#[test]
fn a_driver_is_examined_with_its_settings() {
    let name = "a_driver_is_examined_with_its_settings";
    let directory = tempfile::tempdir().unwrap();
    let driver = script(&directory, OLD);
    let settings = directory.path().join("old.toml");
    fs::write(&settings, "protocol = \"v1\"\nmount-check = \"strict\"\n[environment]\nWANTED = \"yes\"\n")
        .unwrap();
    let with = ["--settings", settings.to_str().unwrap(), "--report", "json"];
    let output = run(&directory, &driver, &with);
    if skipped(name, &output) {
        return;
    }
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["level"], "works-under-flexvol", "{report:#}");
    let keys: Vec<_> = report["settings"].as_array().unwrap().iter().map(|setting| &setting["key"]).collect();
    assert_eq!(keys, ["protocol", "mount-check", "environment.WANTED"]);

    // Where it is installed, its name leads to the same file.
    let home = directory.path().join("example.com~old");
    fs::create_dir(&home).unwrap();
    fs::copy(&driver, home.join("old")).unwrap();
    fs::rename(&settings, directory.path().join("example.com~old.toml")).unwrap();
    let place = directory.path().to_str().unwrap();
    let output = run(&directory, &home.join("old"), &["--settings-dir", place, "--report", "json"]);
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    let installed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(installed["settings"].as_array().unwrap().len(), 3);

    let output = run(&directory, &driver, &["--report", "json"]);
    let bare: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&bare["level"], &bare["settings"]), (&Value::Null, &Value::Array(Vec::new())));

    let output = run(&directory, &driver, &["--settings", settings.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output.stderr));
}

#[test]
fn a_bad_driver_is_found_out() {
    let name = "a_bad_driver_is_found_out";
    let directory = tempfile::tempdir().unwrap();
    let Some(report) = examined(name, &directory, &script(&directory, BAD), &["--call-timeout", "2s"]) else {
        return;
    };
    let verdicts = verdicts(&report);
    let failed: Vec<&str> = BAD_CHECKS.into_iter().filter(|check| verdicts[*check] != "failed").collect();
    assert!(failed.is_empty(), "not found out: {failed:?}\n{report:#}");
    assert_eq!(verdicts["life"], "passed", "{report:#}");
    assert_eq!(report["level"], "works-under-flexvol");
    let text = report.to_string();
    assert!(!text.contains("flexvol-conformance-secret"), "a secret is shown");
    for check in report["checks"].as_array().unwrap() {
        for finding in check["findings"].as_array().into_iter().flatten() {
            for field in ["done", "expected", "happened", "fix"] {
                let text = finding[field].as_str().unwrap();
                assert!(!text.is_empty() && !text.contains('\n') && text.len() < 1000, "{finding:#}");
            }
        }
    }
}

/// Crashes between the lock and its removal lock it out for ever.
const LOCKED: &str = r#"#!/bin/sh
case $1 in
init) echo '{"status":"Success","capabilities":{"attach":false}}' ;;
mount)
  mkdir "$FLEXVOL_STATE_DIR/lock" 2>/dev/null || { echo '{"status":"Failure","message":"locked"}'; exit 1; }
  mountpoint -q "$2" || mount -t tmpfs locked "$2"
  sleep 0.1
  rmdir "$FLEXVOL_STATE_DIR/lock"
  echo '{"status":"Success"}' ;;
unmount) mountpoint -q "$2" && umount "$2"; echo '{"status":"Success"}' ;;
*) echo '{"status":"Not supported"}' ;;
esac
"#;

#[test]
fn what_a_crash_leaves_locked_is_found_out() {
    let name = "what_a_crash_leaves_locked_is_found_out";
    let directory = tempfile::tempdir().unwrap();
    let Some(report) = examined(name, &directory, &script(&directory, LOCKED), &[]) else { return };
    let verdicts = verdicts(&report);
    assert_eq!(verdicts["killed"], "failed", "{report:#}");
    assert_eq!(verdicts["concurrent-volumes"], "failed", "{report:#}");
    assert_eq!(verdicts["repeated-calls"], "passed", "{report:#}");
}

/// An attaching driver that lies, forgets and leaves things behind; `@LOOP@` stands for what only root can do.
const ATTACHING: &str = r#"#!/bin/sh
case $1 in
init) echo '{"status":"Success","capabilities":{"attach":true}}' ;;
getvolumename) echo "{\"status\":\"Success\",\"volumeName\":\"volume-$$\"}" ;;
attach) mkdir "$FLEXVOL_STATE_DIR/attached" 2>/dev/null; echo '{"status":"Success","device":"/dev/null"}' ;;
isattached)
  case $2 in {*) echo '{"status":"Success"}' ;; *) echo '{"status":"Failure"}' ;; esac ;;
waitforattach) echo "{\"status\":\"Success\",\"device\":\"/dev/null$$\"}" ;;
mountdevice)
  @LOOP@
  mkdir -p "$FLEXVOL_STATE_DIR/extra"
  mountpoint -q "$FLEXVOL_STATE_DIR/extra" || mount -t tmpfs extra "$FLEXVOL_STATE_DIR/extra"
  mountpoint -q "$2" || mount --bind "$FLEXVOL_STATE_DIR/extra" "$2"
  echo '{"status":"Success"}' ;;
unmountdevice) ! mountpoint -q "$2" || umount "$2"; echo '{"status":"Success"}' ;;
detach)
  rmdir "$FLEXVOL_STATE_DIR/attached" 2>/dev/null || { echo '{"status":"Failure","message":"not attached"}'; exit 1; }
  echo '{"status":"Success"}' ;;
*) echo '{"status":"Not supported"}' ;;
esac
"#;

#[test]
fn an_attaching_driver_that_lies_and_leaves_things_is_found_out() {
    let name = "an_attaching_driver_that_lies_and_leaves_things_is_found_out";
    let directory = tempfile::tempdir().unwrap();
    let loops = Path::new("/dev/loop-control").exists() && is_root();
    let attach =
        "f=$FLEXVOL_STATE_DIR/conformance-left-by-a-test; [ -f $f ] || { truncate -s 1M $f; losetup -f $f; }";
    let text = ATTACHING.replace("@LOOP@", if loops { attach } else { ":" });
    let Some(report) = examined(name, &directory, &script(&directory, &text), &[]) else { return };
    assert_eq!(loop_devices_over("conformance-left-by-a-test"), 0, "left attached");
    let verdicts = verdicts(&report);
    let mut wanted = vec!["volume-name", "is-attached", "is-attached-orders", "mount-dir-symlink"];
    wanted.extend(["repeated-calls", "unmount-of-nothing", "leaves-mounts", "read-only"]);
    if loops {
        wanted.push("leaves-loop-devices");
    } else {
        eprintln!("skipped: {name}: the loop device that is left needs root and loop devices");
    }
    let missed: Vec<&str> = wanted.into_iter().filter(|check| verdicts[*check] != "failed").collect();
    assert!(missed.is_empty(), "not found out: {missed:?}\n{report:#}");
    assert_eq!(report["level"], "works-under-flexvol");
}

#[test]
fn a_driver_that_hangs_costs_one_deadline_for_each_check_before_its_life() {
    let name = "a_driver_that_hangs_costs_one_deadline_for_each_check_before_its_life";
    let directory = tempfile::tempdir().unwrap();
    let hanging = PLAIN.replace("mount) mount", "mount) sleep 1000; mount");
    let Some(report) =
        examined(name, &directory, &script(&directory, &hanging), &["--call-timeout", "500ms"])
    else {
        return;
    };
    let verdicts = verdicts(&report);
    assert_eq!((report["level"].as_str(), &*verdicts["life"]), (None, "failed"));
    assert_eq!(verdicts["killed"], "undecided", "{report:#}");
}

#[test]
fn each_level_is_told_from_the_next() {
    let name = "each_level_is_told_from_the_next";
    let directory = tempfile::tempdir().unwrap();
    let noisy = PLAIN.replace("case $1 in", "echo working\ncase $1 in");
    let failing = PLAIN.replace("init) echo '{\"status\":\"Success\"", "init) echo '{\"status\":\"Failure\"");
    let cases =
        [(PLAIN, Some("works-under-kubernetes")), (&noisy, Some("works-under-flexvol")), (&failing, None)];
    for (text, level) in cases {
        let Some(report) = examined(name, &directory, &script(&directory, text), &[]) else { return };
        assert_eq!(report["level"].as_str(), level, "{report:#}");
    }
    let driver = script(&directory, PLAIN);
    for (level, code) in [("works-under-flexvol", 0), ("works-under-kubernetes", 0), ("robust", 1)] {
        let output = run(&directory, &driver, &["--level", level]);
        assert_eq!(output.status.code(), Some(code), "{level}: {}", text_of(&output.stdout));
    }
}

#[test]
fn our_drivers_are_robust() {
    let name = "our_drivers_are_robust";
    let loops = Path::new("/dev/loop-control").exists() && is_root();
    for (driver, option, needs_loops) in [
        ("examples/memory", Some("size=4Mi"), false),
        ("scratch", None, false),
        ("loop", Some("size=16Mi"), true),
        ("loop-ephemeral", Some("size=16Mi"), true),
    ] {
        let program = Path::new(FLEXVOL).parent().unwrap().join(driver);
        if !program.exists() {
            eprintln!("skipped: {name}: {driver} is not built (cargo build --workspace --examples)");
            continue;
        }
        if needs_loops && !loops {
            eprintln!("skipped: {name}: {driver} needs root and loop devices");
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        let arguments: Vec<&str> = option.into_iter().flat_map(|option| ["--options", option]).collect();
        let Some(report) = examined(name, &directory, &program, &arguments) else { return };
        assert_eq!(report["level"], "robust", "{report:#}");
    }
}

#[test]
fn the_junit_report_goes_to_a_file() {
    let name = "the_junit_report_goes_to_a_file";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("conformance.xml");
    let arguments = ["--report", "junit", "--out", file.to_str().unwrap()];
    let output = run(&directory, &script(&directory, PLAIN), &arguments);
    if skipped(name, &output) {
        return;
    }
    assert_eq!((output.status.code(), text_of(&output.stdout)), (Some(0), String::new()));
    let xml = fs::read_to_string(file).unwrap();
    assert!(xml.starts_with("<?xml") && xml.ends_with("</testsuite>\n"), "{xml}");
    assert!(xml.contains("<testcase classname=\"works-under-flexvol\" name=\"life\""), "{xml}");
    assert!(xml.contains("<failure message=\"Each call made twice has the effect of one\">"), "{xml}");
}

#[test]
fn a_call_without_arguments_can_break_nothing() {
    let name = "a_call_without_arguments_can_break_nothing";
    let directory = tempfile::tempdir().unwrap();
    let precious = directory.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    let careless = format!(
        "case $1 in\nunmount) [ -n \"$2\" ] || {{ rm -rf \"$2\"{}; exit 77; }} ;;\nesac\ncase $1 in",
        precious.display()
    );
    let driver = script(&directory, &PLAIN.replace("case $1 in", &careless));
    let Some(report) = examined(name, &directory, &driver, &[]) else { return };
    assert_eq!(fs::read_to_string(precious).unwrap(), "precious", "{report:#}");
    assert_eq!(verdicts(&report)["missing-arguments"], "passed", "{report:#}");
}

#[test]
fn bad_usage_is_told_from_a_bad_driver() {
    let directory = tempfile::tempdir().unwrap();
    let driver = script(&directory, PLAIN);
    assert_eq!(run(&directory, &driver, &["--options", "novalue"]).status.code(), Some(2));
    assert_eq!(run(&directory, &driver, &["--level", "perfect"]).status.code(), Some(2));
    assert_eq!(run(&directory, &directory.path().join("nothing"), &[]).status.code(), Some(3));
}

/// The JSON report; `None` where this machine has no private mounts.
fn examined(name: &str, directory: &TempDir, driver: &Path, arguments: &[&str]) -> Option<Value> {
    let output = run(directory, driver, &[&["--report", "json"], arguments].concat());
    if skipped(name, &output) {
        return None;
    }
    let left: Vec<_> = fs::read_dir(directory.path().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let report = serde_json::from_slice(&output.stdout);
    assert!(report.is_ok(), "{output:?}");
    report.ok()
}

fn skipped(name: &str, output: &Output) -> bool {
    let errors = text_of(&output.stderr);
    let cannot = errors.lines().find(|line| line.contains("cannot enter a private mount namespace"));
    if let Some(line) = cannot {
        eprintln!("skipped: {name}: {line}");
    }
    cannot.is_some()
}

fn run(directory: &TempDir, driver: &Path, arguments: &[&str]) -> Output {
    fs::create_dir_all(directory.path().join("tmp")).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test plays a person at a shell")]
    let mut command = Command::new(FLEXVOL);
    command.arg("conformance").arg(driver).args(arguments).env("TMPDIR", directory.path().join("tmp"));
    command.output().unwrap()
}

fn script(directory: &TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("driver");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn verdicts(report: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    checks.map(|check| (text(&check["id"]), text(&check["verdict"]))).collect()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How many loop devices have a backing file whose path ends so.
fn loop_devices_over(name: &str) -> usize {
    let Ok(entries) = fs::read_dir("/sys/block") else { return 0 };
    let backing = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("loop/backing_file")).ok();
    entries.flatten().filter_map(backing).filter(|path| path.trim_end().ends_with(name)).count()
}

/// Whether this process is root of the machine and not of a user namespace.
fn is_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
    whole && fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
