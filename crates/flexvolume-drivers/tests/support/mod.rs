//! Drivers as processes, as a host calls them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use flexvolume_os::loop_device::{self, Availability};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Set in the process that runs inside the private mount namespace.
pub(crate) const INSIDE: &str = "FLEXVOL_TEST_INSIDE";

/// A driver.
#[derive(Clone, Copy)]
pub(crate) enum Program {
    Loop,
    Ephemeral,
    Scratch,
    Lvm,
    LvmEphemeral,
    Nfs,
    Nbd,
    Cifs,
    Iscsi,
    IscsiPod,
}

impl Program {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Program::Loop => env!("CARGO_BIN_EXE_loop"),
            Program::Ephemeral => env!("CARGO_BIN_EXE_loop-ephemeral"),
            Program::Scratch => env!("CARGO_BIN_EXE_scratch"),
            Program::Lvm => env!("CARGO_BIN_EXE_lvm"),
            Program::LvmEphemeral => env!("CARGO_BIN_EXE_lvm-ephemeral"),
            Program::Cifs => env!("CARGO_BIN_EXE_cifs"),
            Program::Nbd => env!("CARGO_BIN_EXE_nbd"),
            Program::Iscsi => env!("CARGO_BIN_EXE_iscsi"),
            Program::IscsiPod => env!("CARGO_BIN_EXE_iscsi-pod"),
            Program::Nfs => env!("CARGO_BIN_EXE_nfs"),
        }
    }
}

/// What came back from a call-out.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) json: Value,
    pub(crate) signal: Option<i32>,
}

impl Answer {
    pub(crate) fn status(&self) -> &str {
        self.json["status"].as_str().unwrap_or("none")
    }

    pub(crate) fn message(&self) -> &str {
        self.json["message"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.status(), "Success", "{self:?}");
        self
    }

    /// Checks that it failed, and that its message has all of these texts.
    #[track_caller]
    pub(crate) fn failure(self, texts: &[&str]) -> Self {
        assert_eq!(self.status(), "Failure", "{self:?}");
        for text in texts {
            assert!(self.message().contains(text), "{text:?} is missing in {:?}", self.message());
        }
        self
    }
}

/// A state directory and places to mount at, all in a temporary directory.
pub(crate) struct World {
    root: PathBuf,
    /// Removes the directory at the end, unless it is to outlive this process.
    _temporary: Option<TempDir>,
    /// For the environment of everything that is started in it.
    variables: Vec<(String, String)>,
}

/// A test may end, or fail, with something mounted: the temporary directory could not be removed then.
impl Drop for World {
    fn drop(&mut self) {
        self.unmount_all();
    }
}

impl World {
    /// Unmounts what is mounted in it.
    pub(crate) fn unmount_all(&self) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount_points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let ours: Vec<_> = mount_points.filter(|path| Path::new(path).starts_with(&self.root)).collect();
        for mount_point in ours.into_iter().rev() {
            let _ = spawning("umount").arg(mount_point).stderr(Stdio::null()).status();
        }
    }

    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("target")).unwrap();
        Self { root: root.path().to_owned(), _temporary: Some(root), variables: Vec::new() }
    }

    /// A world that is there, or is made, and stays.
    pub(crate) fn at(root: PathBuf) -> Self {
        fs::create_dir_all(root.join("target")).unwrap();
        Self { root, _temporary: None, variables: Vec::new() }
    }

    /// Sets a variable for everything that is started in this world.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// A program of the machine, to be run in this world.
    pub(crate) fn spawning(&self, program: &str) -> Command {
        let mut command = spawning(program);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The place to mount at.
    pub(crate) fn target(&self) -> PathBuf {
        self.path("target")
    }

    pub(crate) fn command(&self, program: Program, arguments: &[&str]) -> Command {
        let mut command = self.spawning(program.path());
        command.args(arguments).env("FLEXVOL_STATE_DIR", self.path("state"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn call(&self, program: Program, arguments: &[&str]) -> Answer {
        self.call_with(program, arguments, &[])
    }

    pub(crate) fn call_with(
        &self,
        program: Program,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Answer {
        let mut command = self.command(program, arguments);
        answer(command.envs(variables.iter().copied()).spawn().unwrap())
    }

    /// The names in a directory of the state.
    pub(crate) fn files(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("state").join(directory)) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// What is mounted at a path, as lines of `mountinfo`.
    pub(crate) fn mounts_at(&self, path: &Path) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = |line: &&str| line.split(' ').nth(4) == path.to_str();
        table.lines().filter(here).map(str::to_owned).collect()
    }

    /// Checks that no loop device is left. One may outlive its mount for a moment: another test's driver that looks for
    /// its own device holds each of them open in turn.
    #[track_caller]
    pub(crate) fn assert_no_loops(&self) {
        for _ in 0..500 {
            if self.loops().is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(self.loops(), [""; 0]);
    }

    /// The loop devices whose files are in this world, in whatever state.
    pub(crate) fn loops(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/sys/block").unwrap() {
            let file = entry.unwrap().path().join("loop/backing_file");
            let backing = fs::read_to_string(file).unwrap_or_default();
            if Path::new(&backing).starts_with(&self.root) {
                found.push(backing);
            }
        }
        found
    }
}

/// Waits for a driver and reads its reply: one document on standard output, nothing on standard error, exit code 0.
#[track_caller]
pub(crate) fn answer(child: Child) -> Answer {
    let output = child.wait_with_output().unwrap();
    let signal = output.status.signal();
    if signal.is_some() {
        return Answer { json: Value::Null, signal };
    }
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let json = serde_json::from_slice(&output.stdout).unwrap();
    Answer { json, signal }
}

/// Runs a tool that must succeed.
#[track_caller]
pub(crate) fn tool(program: &str, arguments: &[&str]) -> String {
    let output = spawning(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|directory| Path::new(directory).join(program).exists())
}

#[expect(clippy::disallowed_methods, reason = "a test plays the host, and drives the tools of the machine")]
fn spawning(program: &str) -> Command {
    Command::new(program)
}

/// Options of a volume named `data`.
pub(crate) fn options(fs_type: &str, access: &str, user: &[(&str, &str)]) -> String {
    let mut map = json!({
        "kubernetes.io/fsType": fs_type,
        "kubernetes.io/readwrite": access,
        "kubernetes.io/pvOrVolumeName": "data",
    });
    for (key, value) in user {
        map[*key] = json!(value);
    }
    map.to_string()
}

/// Options as `mount` gets them, for the pod with this uid.
pub(crate) fn pod_options(uid: &str, user: &[(&str, &str)]) -> String {
    let mut map: Value = serde_json::from_str(&options("", "rw", user)).unwrap();
    map["kubernetes.io/pod.name"] = json!("web");
    map["kubernetes.io/pod.namespace"] = json!("default");
    map["kubernetes.io/pod.uid"] = json!(uid);
    map["kubernetes.io/serviceAccount.name"] = json!("default");
    map.to_string()
}

/// Whether the rest of the test `name` runs here. The first call starts the test once more, in a mount namespace of
/// its own, and waits; in there the answer is yes.
#[track_caller]
pub(crate) fn in_private_mounts(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if let Some(why) = obstacle() {
        eprintln!("skipped: {name}: {why}");
        return false;
    }
    let exe = std::env::current_exe().unwrap();
    let status = spawning("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(exe)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its private mount namespace: its output is above");
    false
}

pub(crate) fn obstacle() -> Option<String> {
    if !rustix_is_root() {
        return Some("mounts need root".to_owned());
    }
    match loop_device::availability() {
        Availability::Available => {}
        Availability::Unavailable(why) => return Some(why),
    }
    if !installed("mkfs.ext4") {
        return Some("needs e2fsprogs".to_owned());
    }
    (!installed("unshare")).then(|| "needs util-linux".to_owned())
}

pub(crate) fn rustix_is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

/// The points at which a call can die, as the call itself lists them: `NAME#1`, `NAME#2` …
pub(crate) fn crash_points(world: &World, program: Program, arguments: &[&str]) -> Vec<String> {
    let log = world.path("points");
    world.call_with(program, arguments, &[("FLEXVOL_FAILPOINT_LOG", log.to_str().unwrap())]).success();
    let text = fs::read_to_string(&log).unwrap_or_default();
    let mut points: Vec<String> = Vec::new();
    for (position, name) in text.lines().enumerate() {
        let before = text.lines().take(position).filter(|earlier| *earlier == name).count();
        points.push(format!("{name}#{}", before + 1));
    }
    points
}
