//! `flexvol volume` and `flexvol doctor` with the driver `loop` and real file systems in images.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise, and says what it skips"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const FLEXVOL: &str = env!("CARGO_BIN_EXE_flexvol");

/// A machine with the driver `loop`, all in a temporary directory.
struct Machine(TempDir);

impl Machine {
    /// `None` where volumes cannot be made; says why.
    fn new(test: &str) -> Option<Self> {
        let driver = Path::new(FLEXVOL).parent().unwrap().join("loop");
        let tool =
            |tool: &str| ["/usr/sbin", "/sbin"].iter().any(|place| Path::new(place).join(tool).exists());
        let lacks = [
            (driver.exists(), "the driver loop built (cargo build --workspace)"),
            (tool("mkfs.ext4"), "e2fsprogs"),
            (Path::new("/dev/loop-control").exists(), "loop devices"),
            (fs::metadata("/proc/self").unwrap().uid() == 0, "root"),
        ];
        if let Some((_, what)) = lacks.into_iter().find(|(is_there, _)| !is_there) {
            eprintln!("skipped: {test}: needs {what}");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("plugins/flexvol~loop");
        fs::create_dir_all(&place).unwrap();
        // A link needs no descriptor, which another thread's child could hold open for writing.
        fs::hard_link(&driver, place.join("loop"))
            .or_else(|_| fs::copy(&driver, place.join("loop")).map(drop))
            .unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Some(Self(directory))
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let at = |name: &str| self.0.path().join(name);
        #[expect(clippy::disallowed_methods, reason = "a test plays a person at a shell")]
        Command::new(FLEXVOL)
            .args(arguments)
            .args(["--driver", "loop"].iter().filter(|_| arguments[0] == "volume"))
            .env("FLEXVOL_PLUGIN_DIR", at("plugins"))
            .env("FLEXVOL_STATE_DIR", at("state"))
            .env("FLEXVOL_ROOT", at("root"))
            .env("FLEXVOL_SETTINGS_DIR", at("settings"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a command that succeeds prints as JSON.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--output", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The exit code and the words of a command that fails.
    #[track_caller]
    fn failure(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn names(&self) -> Vec<String> {
        let listed = self.json(&["volume", "list"]);
        let volumes = listed["drivers"][0]["volumes"].as_array().unwrap();
        volumes.iter().map(|volume| volume["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_volume_is_made_copied_grown_and_deleted_by_hand() {
    let Some(machine) = Machine::new("a_volume_is_made_copied_grown_and_deleted_by_hand") else { return };
    let made = machine.json(&["volume", "create", "notes", "--size", "1Mi", "allocation=thin"]);
    assert_eq!((made["id"].as_str(), made["size"].as_u64()), (Some("notes"), Some(1 << 20)));
    assert_eq!(machine.json(&["volume", "show", "notes"]), made);
    let copy = machine.json(&["volume", "snapshot", "notes", "copy"]);
    assert_eq!((copy["kind"].as_str(), copy["source"].as_str()), (Some("thin"), Some("notes")));
    assert_ne!(copy["uuid"], made["uuid"]);
    let grown = machine.json(&["volume", "resize", "copy", "2Mi"]);
    assert_eq!(grown["size"].as_u64(), Some(2 << 20));
    let (code, words) = machine.failure(&["volume", "resize", "copy", "1Mi"]);
    assert!(code == 4 && words.contains("never shrinks"), "{words}");
    let (code, words) = machine.failure(&["volume", "create", "notes", "--size", "2Mi"]);
    assert!(code == 1 && words.contains("exists with a size of 1048576 bytes"), "{words}");
    assert_eq!(machine.names(), ["copy", "notes"]);
    machine.json(&["volume", "delete", "notes", "--dry-run"]);
    machine.json(&["volume", "delete", "notes", "--erase", "zero"]);
    assert_eq!(machine.names(), ["copy"]);
    assert_eq!(machine.json(&["volume", "delete", "notes"])["deleted"], Value::Array(Vec::new()));
    fs::remove_file(machine.0.path().join("state/loop/copy.json")).unwrap();
    let (code, words) = machine.failure(&["volume", "delete", "copy"]);
    assert!(code == 1 && words.contains("has no record beside it"), "{words}");
    assert_eq!(machine.json(&["volume", "delete", "--all-orphans"])["dryRun"].as_bool(), Some(true));
    assert_eq!(machine.names(), ["copy"]);
    machine.json(&["volume", "delete", "--all-orphans", "--yes"]);
    assert!(machine.names().is_empty());
}

#[test]
fn a_doctor_ends_with_1_when_something_does_not_work() {
    let Some(machine) = Machine::new("a_doctor_ends_with_1_when_something_does_not_work") else { return };
    let report = machine.json(&["doctor", "loop"]);
    assert_eq!(report["driver"].as_str(), Some("flexvol/loop"));
    assert!(report["findings"].as_array().unwrap().len() > 4, "{report}");
    let output = machine.run(&["doctor", "loop", "directory=/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("problem  pool /nowhere/at/all: pool directory /nowhere/at/all does not exist"),
        "{text}"
    );
}
