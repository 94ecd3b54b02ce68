//! A node of its own for a test: a root, plugins, manifests, and agents, in namespaces that end with the test.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "only tests include this file"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Set in the process that a test runs again in namespaces of its own.
const INSIDE: &str = "FLEXVOL_TEST_IN_NAMESPACES";
/// The CI machine is busy: nothing here takes long, but anything may have to wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
const FLEXVOL: &str = env!("CARGO_BIN_EXE_flexvol");

#[expect(clippy::disallowed_methods, reason = "tests start tools and programs as processes")]
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    command
}

/// Runs the calling test again in mount and process namespaces of its own: whatever it starts or mounts ends with it.
/// True inside.
pub(crate) fn in_namespaces(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let flags =
        ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"].as_slice();
    let works = program("unshare").args(flags).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !works.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {test}: needs mount and process namespaces of its own, as root");
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let mut inside = program("unshare");
    inside.args(flags).arg("--").arg(this).args([test, "--exact", "--nocapture"]).env(INSIDE, test);
    let output = inside.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    for line in text.lines().filter(|line| line.starts_with("skipped: ") || line.starts_with("chaos: ")) {
        eprintln!("{line}");
    }
    false
}

/// Mounts memory.
pub(crate) const MEMORY: &str = r#"
init) echo '{"status": "Success", "capabilities": {"attach": false}}' ;;
mount) mount -t tmpfs -o size=1m memory "$2" && echo '{"status": "Success"}' ;;
unmount) umount "$2" && echo '{"status": "Success"}' ;;
"#;

/// The node.
pub(crate) struct Node {
    directory: TempDir,
    top: PathBuf,
}

impl Node {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("flexvol-agent-").tempdir().unwrap();
        let top = fs::canonicalize(directory.path()).unwrap();
        // In memory: records are written durably, and that is slow on a disk.
        let mounted = program("mount").args(["-t", "tmpfs", "-o", "mode=0755", "node"]).arg(&top).status();
        assert!(mounted.unwrap().success());
        for name in ["manifests", "plugins", "staging", "settings"] {
            fs::create_dir(top.join(name)).unwrap();
        }
        Self { directory, top }
    }

    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.top.join("root")
    }

    /// Installs a driver: `cases` are those of a shell's `case $1 in`.
    pub(crate) fn install(&self, driver: &str, cases: &str) {
        let log = self.log(driver);
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$*\" >>'{}'\ncase $1 in\n{cases}\n*) echo '{{\"status\": \"Not supported\"}}' ;;\nesac\n",
            log.display()
        );
        let staged = self.top.join("staging/driver");
        // A child writes it: another thread's fork must not hold it open.
        let source = self.top.join("staging/source");
        fs::write(&source, script).unwrap();
        assert!(program("cp").args([&source, &staged]).status().unwrap().success());
        fs::set_permissions(&staged, fs::Permissions::from_mode(0o755)).unwrap();
        let place = self.top.join("plugins").join(driver);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::rename(staged, place).unwrap();
    }

    pub(crate) fn remove_driver(&self, driver: &str) {
        let place = self.top.join("plugins").join(driver);
        fs::remove_file(&place).unwrap();
        fs::remove_dir(place.parent().unwrap()).unwrap();
    }

    pub(crate) fn remove_driver_if_there(&self, driver: &str) {
        if self.top.join("plugins").join(driver).exists() {
            self.remove_driver(driver);
        }
    }

    fn log(&self, driver: &str) -> PathBuf {
        self.top.join(driver.replace('/', ",") + ".log")
    }

    /// The calls that a driver has got.
    pub(crate) fn calls(&self, driver: &str) -> Vec<String> {
        let text = fs::read_to_string(self.log(driver)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn manifest(&self, pod: &str) -> PathBuf {
        self.top.join("manifests").join(format!("{pod}.yaml"))
    }

    /// Puts a manifest there in one step.
    pub(crate) fn put(&self, file: &str, text: &str) {
        let staged = self.top.join("staging/manifest");
        fs::write(&staged, text).unwrap();
        fs::rename(staged, self.top.join("manifests").join(file)).unwrap();
    }

    /// Puts the manifest of a pod there with inline volumes of the memory driver.
    pub(crate) fn pod(&self, pod: &str, volumes: &[&str]) {
        self.put(&format!("{pod}.yaml"), &pod_text(pod, "example.com/memory", volumes));
    }

    pub(crate) fn mount_dir(&self, pod: &str, volume: &str) -> PathBuf {
        self.root().join("pods").join(pod).join("volumes/example.com~memory").join(volume)
    }

    /// `pod/volume` of everything that is mounted in pods.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let pods = self.root().join("pods");
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let name = |point: &str| -> Option<String> {
            let parts: Vec<_> =
                Path::new(point).strip_prefix(&pods).ok()?.iter().filter_map(OsStr::to_str).collect();
            Some(format!("{}/{}", parts.first()?, parts.last()?))
        };
        let mut mounts: Vec<String> = points.filter_map(name).collect();
        mounts.sort_unstable();
        mounts
    }

    pub(crate) fn wait_for_mounts(&self, wanted: &[&str]) {
        self.wait_until(&format!("{wanted:?} are mounted"), || self.mounts() == wanted);
    }

    pub(crate) fn wait_until(&self, what: &str, so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !so() {
            if begun.elapsed() > PATIENCE {
                panic!("not within {PATIENCE:?}: {what}; mounted: {:?}\n{}", self.mounts(), self.report());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the agents said.
    pub(crate) fn report(&self) -> String {
        fs::read_to_string(self.top.join("agent.log")).unwrap_or_default()
    }

    /// Directories of pods and records that are there.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for place in ["pods", "flexvol/publishes", "flexvol/volumes", "flexvol/kept", "flexvol/locks/pods"] {
            let listing = fs::read_dir(self.root().join(place)).into_iter().flatten().flatten();
            left.extend(listing.map(|entry| entry.path()));
        }
        left
    }

    pub(crate) fn flexvol(&self) -> Command {
        // Another one than was built last, for runs that take longer than the next build.
        let mut command = program(std::env::var_os("FLEXVOL_TEST_PROGRAM").unwrap_or_else(|| FLEXVOL.into()));
        command.env("FLEXVOL_ROOT", self.root()).env("FLEXVOL_PLUGIN_DIR", self.top.join("plugins"));
        command.env("FLEXVOL_SETTINGS_DIR", self.top.join("settings")).env_remove("RUST_LOG");
        command
    }

    pub(crate) fn start(&self) -> Agent {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, flags: &[&str]) -> Agent {
        Agent(self.agent(flags).spawn().unwrap())
    }

    /// An agent that is to be started.
    pub(crate) fn agent(&self, flags: &[&str]) -> Command {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.top.join("agent.log")).unwrap();
        let mut command = self.flexvol();
        command.args(["agent", "-v", "--manifests"]).arg(self.top.join("manifests")).args(flags);
        command.stdout(Stdio::null()).stderr(log);
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // With all that is mounted below: a directory on which something is mounted would stay for ever.
        let _ = program("umount").arg("--lazy").arg(&self.top).status();
    }
}

/// The manifest of a pod whose uid is its name.
pub(crate) fn pod_text(pod: &str, driver: &str, volumes: &[&str]) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, uid: {pod}}}\nspec:\n  containers: [{{name: c}}]\n  volumes:\n"
    );
    for volume in volumes {
        text.push_str(&format!("  - {{name: {volume}, flexVolume: {{driver: {driver}}}}}\n"));
    }
    text
}

/// A running agent.
pub(crate) struct Agent(Child);

impl Agent {
    pub(crate) fn of(child: Child) -> Self {
        Self(child)
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Ends it with SIGTERM; it must be gone soon, with success.
    pub(crate) fn stop(mut self) -> Duration {
        let begun = Instant::now();
        let asked = program("kill").arg(self.0.id().to_string()).status().unwrap();
        assert!(asked.success());
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return begun.elapsed();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut text = String::new();
        let _ = fs::File::open(format!("/proc/{}/stack", self.0.id()))
            .map(|mut file| file.read_to_string(&mut text));
        panic!("the agent does not end: {text}");
    }
}
