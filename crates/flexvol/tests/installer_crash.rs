//! The installer is killed at every point that it passes. Whoever looks then sees a whole driver or none, and the next
//! run makes everything right.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DRIVER: &str = "example.com~driver";
const OWN: [&str; 3] = [".flexvol-installed.json", ".flexvol-install.lock", "..flexvol-installed.json.tmp"];
const KILL: i32 = 9;

/// What is done to a plugin directory.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Install,
    Upgrade,
    Remove,
}

struct Stage(tempfile::TempDir);

impl Stage {
    fn new() -> Self {
        let stage = Self(tempfile::tempdir().unwrap());
        for (version, files) in
            [("old", ["driver", "gone", "lib/tool"]), ("new", ["driver", "more", "lib/tool"])]
        {
            for file in files {
                let path = stage.path(version).join(DRIVER).join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let answer = r#"echo '{"status": "Success"}'"#;
                fs::write(path, format!("#!/bin/sh\n{answer}\n# {file} {version}\n")).unwrap();
            }
        }
        stage
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn command(&self, step: Step) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the program under test")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_flexvol"));
        command.arg("driver").args(match step {
            Step::Install => ["install", "--from", "old"],
            Step::Upgrade => ["install", "--from", "new"],
            Step::Remove => ["remove", "--installed-by", "flexvol"],
        });
        command.args(["--plugin-dir", "to", "--root", "root"]);
        command.current_dir(self.0.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn does(&self, step: Step) {
        let status = self.command(step).status().unwrap();
        assert!(status.success(), "{step:?}: {status}\n{:#?}", self.tree());
    }

    /// What is in the plugin directory, with the version of each file; but not the
    /// installer's own: the ledger, and the empty lock and the unfinished ledger that stay until the next change.
    fn tree(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut left = vec![self.path("to")];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.path("to")).unwrap().display().to_string();
                if path.is_dir() {
                    left.push(path);
                } else if !OWN.contains(&name.as_str()) {
                    files.push(format!("{name} {}", version(&path)));
                }
            }
        }
        files.sort();
        files
    }

    /// What a host sees: the program, if any, must be whole, and all that it needs must be there before it.
    fn check_what_is_visible(&self, at: &str) {
        let program = self.path("to").join(DRIVER).join("driver");
        if !program.exists() {
            return;
        }
        let version = version(&program);
        assert!(["old", "new"].contains(&version.as_str()), "{at}: {version}");
        assert!(program.with_file_name("lib").join("tool").exists(), "{at}");
        let beside = if version == "old" { "gone" } else { "more" };
        assert!(program.with_file_name(beside).exists(), "{at}: {version} without {beside}");
    }
}

/// The last word of a whole file.
fn version(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let whole = text.ends_with('\n').then(|| text.split_whitespace().last()).flatten();
    whole.unwrap_or("half").to_owned()
}

fn expected(step: Step) -> Vec<String> {
    let files: &[&str] = match step {
        Step::Install => &["driver old", "gone old", "lib/tool old"],
        Step::Upgrade => &["driver new", "lib/tool new", "more new"],
        Step::Remove => &[],
    };
    files.iter().map(|file| format!("{DRIVER}/{file}")).collect()
}

/// What comes before a step.
fn before(step: Step) -> &'static [Step] {
    match step {
        Step::Install => &[],
        Step::Upgrade => &[Step::Install],
        Step::Remove => &[Step::Install, Step::Upgrade],
    }
}

/// The points that a step passes, in order.
fn points(step: Step) -> Vec<String> {
    let stage = Stage::new();
    before(step).iter().for_each(|step| stage.does(*step));
    let log = stage.path("log");
    assert!(stage.command(step).env("FLEXVOL_FAILPOINT_LOG", &log).status().unwrap().success());
    assert_eq!(stage.tree(), expected(step));
    fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

fn killed_everywhere(step: Step) {
    let points = points(step);
    assert!(points.len() >= 5, "{points:?}");
    for number in 1..=points.len() {
        let at = format!("{step:?} killed at {} (point {number})", points[number - 1]);
        let stage = Stage::new();
        before(step).iter().for_each(|step| stage.does(*step));
        let mut command = stage.command(step);
        let status = command.env("FLEXVOL_FAILPOINT", format!("*#{number}=abort")).status().unwrap();
        assert_eq!(status.signal(), Some(KILL), "{at}");
        stage.check_what_is_visible(&at);
        // The same again, and then all the way down.
        stage.does(step);
        assert_eq!(stage.tree(), expected(step), "{at}");
        stage.does(Step::Remove);
        assert_eq!(stage.tree(), expected(Step::Remove), "{at}");
        assert!(!stage.path("to/.flexvol-installed.json").exists(), "{at}");
    }
    // Killed, and then the other way.
    for number in 1..=points.len() {
        let stage = Stage::new();
        before(step).iter().for_each(|step| stage.does(*step));
        let mut command = stage.command(step);
        command.env("FLEXVOL_FAILPOINT", format!("*#{number}=abort")).status().unwrap();
        stage.does(Step::Remove);
        assert_eq!(stage.tree(), expected(Step::Remove), "{step:?} at point {number}, then removed");
    }
}

#[test]
fn an_installation_that_is_killed_anywhere_is_made_right_by_the_next() {
    killed_everywhere(Step::Install);
}

#[test]
fn an_upgrade_that_is_killed_anywhere_is_made_right_by_the_next() {
    killed_everywhere(Step::Upgrade);
}

#[test]
fn a_removal_that_is_killed_anywhere_is_made_right_by_the_next() {
    killed_everywhere(Step::Remove);
}
