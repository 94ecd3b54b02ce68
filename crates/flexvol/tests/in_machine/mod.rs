//! Pods in the virtual machine: a node of their own, manifests of the pages, and a report as cargo's own harness writes it.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise; these print their own report, and play a person at a shell"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) const FLEXVOL: &str = env!("CARGO_BIN_EXE_flexvol");

/// Says that the tests of this name cannot run here.
pub(crate) fn skip(name: &str) {
    eprintln!("skipped: {name}: needs the virtual machine: cargo xtask vm --full");
    close(0);
}

/// The last line of the report.
pub(crate) fn close(passed: u32) {
    println!("test result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

/// A manifest of a page, by its number, with what is on the second host in place of what it names.
pub(crate) fn of_page(page: &str, number: usize, places: &[(&str, &str)]) -> String {
    let block = page.split("```yaml\n").nth(number + 1).unwrap().split("```").next().unwrap();
    places.iter().fold(block.to_owned(), |text, (theirs, ours)| {
        assert!(text.contains(theirs), "{theirs}");
        text.replace(theirs, ours)
    })
}

/// The mounts of pods, as the mount table has them.
pub(crate) fn pod_mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains("/pods/")).map(str::to_owned).collect()
}

/// A node with one driver and one file of manifests.
pub(crate) struct Node {
    pub(crate) top: PathBuf,
}

impl Node {
    /// With the driver under the name `VENDOR~DRIVER`.
    pub(crate) fn new(driver: &str, manifest: &str) -> Self {
        Self::at(&Path::new("/var/tmp").join(driver), driver, manifest)
    }

    /// The same, with everything in this directory.
    pub(crate) fn at(top: &Path, driver: &str, manifest: &str) -> Self {
        let place = top.join("plugins").join(driver);
        let (_, program) = driver.split_once('~').unwrap();
        fs::create_dir_all(&place).unwrap();
        fs::copy(Path::new(FLEXVOL).parent().unwrap().join(program), place.join(program)).unwrap();
        fs::set_permissions(place.join(program), Permissions::from_mode(0o755)).unwrap();
        fs::write(top.join("pods.yaml"), manifest).unwrap();
        Self { top: top.to_owned() }
    }

    /// `flexvol`, with the file of manifests between the two parts of its arguments.
    pub(crate) fn command(&self, front: &[&str], back: &[&str]) -> Command {
        let path = |name: &str| self.top.join(name);
        let mut command = Command::new(FLEXVOL);
        command.args(front).arg(path("pods.yaml")).args(back).stdin(Stdio::null());
        command.env("FLEXVOL_ROOT", path("root")).env("FLEXVOL_PLUGIN_DIR", path("plugins"));
        command.env("FLEXVOL_STATE_DIR", path("state")).env_remove("RUST_LOG");
        command
    }

    /// The same, run; it must succeed.
    #[track_caller]
    pub(crate) fn flexvol(&self, front: &[&str], back: &[&str]) -> Output {
        let output = self.command(front, back).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

/// A program that must succeed; answers what it prints.
#[track_caller]
pub(crate) fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
