//! The test programs that run in the machine, built so that they need nothing from it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::drivers::Build;
use crate::process;
use crate::workspace::root;

/// The crates whose integration tests run there.
const PACKAGES: [&str; 2] = ["flexvolume-os", "flexvolume-drivers"];

/// The tests of the command line that run there, in a full run only: the crate takes its time to build.
const PODS: [&str; 10] = [
    "--package",
    "flexvol",
    "--test",
    "lvm_pod",
    "--test",
    "cifs_pod",
    "--test",
    "iscsi_pod",
    "--test",
    "remote_pods",
];

/// A test program.
#[derive(Debug, Clone)]
pub(super) struct TestProgram {
    /// The name of its target.
    pub(super) name: String,
    /// Where it is, below the workspace's root if it is there.
    pub(super) file: PathBuf,
}

/// What cargo says of something that it built; other messages have no `executable`.
#[derive(Debug, Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the integration tests, and with them the drivers with their fail points. Against musl, and so static, where
/// that target is installed; otherwise the guest's own C library must be as new as ours.
pub(super) fn build() -> Result<Vec<TestProgram>> {
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    build_tests(&packages.chain(["--test", "*"]).collect::<Vec<_>>())
}

/// Builds the tests of pods.
pub(super) fn build_pods() -> Result<Vec<TestProgram>> {
    build_tests(&PODS)
}

fn build_tests(which: &[&str]) -> Result<Vec<TestProgram>> {
    let mut command = process::cargo();
    command.args(["test", "--quiet", "--no-run", "--message-format", "json", "--all-features"]).args(which);
    if let Build::Shipped(Some(triple)) = Build::shipped()? {
        command.args(["--target", &triple]);
    }
    // Cargo's own words are for people; its messages are not.
    command.stderr(std::process::Stdio::inherit());
    read(&process::capture(&mut command)?)
}

fn read(messages: &str) -> Result<Vec<TestProgram>> {
    let mut programs = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).context("cannot read what cargo says")?;
        let Message { executable: Some(file), target: Some(target), profile: Some(profile) } = message else {
            continue;
        };
        if profile.test && target.kind == ["test"] {
            programs.push(TestProgram { name: target.name, file: below_root(&file).to_owned() });
        }
    }
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}

fn below_root(file: &Path) -> &Path {
    file.strip_prefix(root()).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integration_tests_are_taken_and_other_artifacts_are_not() {
        let artifact = |name: &str, kind: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"{name}","kind":["{kind}"]}},
                "profile":{{"test":{test}}},"executable":"/x/{name}"}}"#
            )
            .replace('\n', "")
        };
        let messages = [
            artifact("loop_file", "test", true),
            artifact("loop", "bin", false),
            artifact("unit", "lib", true),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let programs = read(&messages.join("\n")).unwrap();
        let [program] = &programs[..] else { panic!("{programs:?}") };
        assert_eq!((&*program.name, &*program.file), ("loop_file", Path::new("/x/loop_file")));
    }
}
