//! A bridge as a process in a mount namespace of its own, with drivers that are a few lines of shell.
#![allow(dead_code, reason = "each test uses a part")]
#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests stop at the first surprise, start the program that they test, and say what they skip"
)]

pub(crate) mod client;

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use client::{Answer, Client, Refusal};
use flexvolume_csi::messages::*;

/// Codes of gRPC.
pub(crate) const INVALID_ARGUMENT: i32 = 3;
pub(crate) const NOT_FOUND: i32 = 5;
pub(crate) const ALREADY_EXISTS: i32 = 6;
pub(crate) const FAILED_PRECONDITION: i32 = 9;
pub(crate) const ABORTED: i32 = 10;
pub(crate) const UNIMPLEMENTED: i32 = 12;
pub(crate) const INTERNAL: i32 = 13;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A driver that mounts memory, writes down how it was called, and does what files in its folder say: `slow` (seconds),
/// `gate` (`mount` waits until the file is gone), `fail` (`mount` fails and tells its options).
pub(crate) const DRIVER: &str = r#"#!/bin/sh
here=${0%/*}
printf '%s\n' "$*" >>"$here/../../calls"
fail() { echo "{\"status\":\"Failure\",\"message\":\"$1\"}"; exit 1; }
case "$1" in
init) echo '{"status":"Success","capabilities":{"attach":ATTACH,"fsGroup":false}}'; exit 0 ;;
mount)
    if [ -e "$here/slow" ]; then sleep "$(cat "$here/slow")"; fi
    while [ -e "$here/gate" ]; do sleep 0.05; done
    if [ -e "$here/fail" ]; then fail "no: $(printf '%s' "$3" | tr -d '"\\')"; fi
    mount -t tmpfs -o size=1m shell "$2" >&2 || fail mount ;;
unmount) umount "$2" >&2 || fail unmount ;;
attach|waitforattach) echo '{"status":"Success","device":"/dev/null"}'; exit 0 ;;
mountdevice) mount -t tmpfs -o size=1m device "$2" >&2 || fail mountdevice ;;
unmountdevice) umount "$2" >&2 || fail unmountdevice ;;
detach) ;;
*) echo '{"status":"Not supported"}'; exit 1 ;;
esac
echo '{"status":"Success"}'
"#;

/// A host: the shell is process 1, and starts its arguments in another mount namespace, as a container would.
const CONTAINER: &str = "mount -t proc proc /proc; unshare --mount --propagation private \"$@\" & wait";

/// Why tests that mount cannot run here.
pub(crate) fn cannot_mount(test: &str) -> bool {
    let mut try_out = Command::new("unshare");
    let works = try_out.args(["--mount", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"]);
    let works = works.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !works {
        eprintln!("skipped: {test}: needs root, to mount");
    }
    !works
}

/// A bridge and its folder.
pub(crate) struct Bridge {
    pub(crate) place: tempfile::TempDir,
    process: Option<Child>,
    arguments: Vec<String>,
    /// Keeps the mounts while the bridge is dead.
    holder: Option<Child>,
    /// Process 1 is a shell in a mount namespace of its own, and the bridge is in yet another one.
    pub(crate) in_container: bool,
    /// What is logged.
    pub(crate) log_level: &'static str,
}

impl Bridge {
    /// A folder with the driver `test/shell`, which has devices or not; nothing runs yet.
    pub(crate) fn prepare(attach: bool, arguments: &[&str]) -> Self {
        let bridge = Self {
            place: tempfile::tempdir().expect("a folder"),
            process: None,
            holder: None,
            in_container: false,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            log_level: "info,flexvolume_csi=debug,flexvolume_host=debug",
        };
        fs::create_dir_all(bridge.path("kubelet/pods")).expect("a folder");
        bridge.install("test~shell", attach);
        bridge
    }

    /// One that serves `test/shell` at `csi.sock`.
    pub(crate) fn start(attach: bool, config: &str) -> Self {
        let mut bridge = Self::prepare(attach, &["--driver", "test/shell", "--endpoint", "@/csi.sock"]);
        fs::write(bridge.path("config.toml"), config).expect("the configuration");
        bridge.arguments.extend(["--config".to_owned(), "@/config.toml".to_owned()]);
        bridge.run();
        bridge.wait_for("csi.sock");
        bridge
    }

    /// More of the command line; before it is run.
    pub(crate) fn add_arguments(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Puts a driver in place as installers should: complete, by renaming.
    pub(crate) fn install(&self, name: &str, attach: bool) {
        let hidden = self.path("new");
        fs::create_dir_all(&hidden).expect("a folder");
        let program = hidden.join(name.rsplit('~').next().expect("a name"));
        // Written by another process: no thread of this one can hold it open while it is started.
        let text = DRIVER.replace("ATTACH", if attach { "true" } else { "false" });
        let mut writer = Command::new("sh");
        let writer = writer.args(["-c", "cat >\"$0\"; chmod 755 \"$0\""]).arg(&program).stdin(Stdio::piped());
        let mut writer = writer.spawn().expect("a shell");
        std::io::Write::write_all(&mut writer.stdin.take().expect("a pipe"), text.as_bytes())
            .expect("a driver");
        assert!(writer.wait().expect("a shell").success());
        fs::create_dir_all(self.path("plugins")).expect("a folder");
        fs::rename(&hidden, self.path("plugins").join(name)).expect("the driver's place");
    }

    /// Starts the process.
    pub(crate) fn run(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).expect("a log");
        let mut command = match &self.holder {
            None if self.in_container => {
                let mut command = Command::new("unshare");
                command.args([
                    "--mount",
                    "--propagation",
                    "private",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "sh",
                    "-c",
                ]);
                command.args([CONTAINER, "sh"]);
                command
            }
            None => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "--propagation", "private"]);
                command
            }
            Some(holder) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--mount=/proc/{}/ns/mnt", holder.id()));
                command
            }
        };
        command.args([env!("CARGO_BIN_EXE_flexvol-csi"), "serve"]);
        for (flag, value) in [
            ("--plugin-dir", "plugins"),
            ("--root", "root"),
            ("--kubelet-root", "kubelet"),
            ("--settings-dir", "settings"),
        ] {
            command.arg(flag).arg(self.path(value));
        }
        command.args(["--node-id", "node-1"]);
        let place = self.place.path().display().to_string();
        command.args(self.arguments.iter().map(|argument| argument.replace('@', &place)));
        command.env_remove("CSI_ENDPOINT").env_remove("NODE_NAME").env("RUST_LOG", self.log_level);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().expect("the bridge"));
    }

    /// Gives the process to the caller, who ends it.
    pub(crate) fn take_process(&mut self) -> Child {
        self.process.take().expect("a bridge")
    }

    /// Has the mounts stay when the bridge is killed; before it is run.
    pub(crate) fn hold_mounts(&mut self) {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 3600"]);
        let mut holder = command.stdout(Stdio::piped()).spawn().expect("a holder");
        let mut line = [0];
        std::io::Read::read_exact(holder.stdout.as_mut().expect("a pipe"), &mut line).expect("a line");
        self.holder = Some(holder);
    }

    /// Waits until there is a file.
    pub(crate) fn wait_for(&self, name: &str) {
        wait(&format!("{name} to appear; log: {}", self.log()), || self.path(name).exists());
    }

    /// Ends the process at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a kill");
            process.wait().expect("an end");
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// How the driver was called, but for `init` and `getvolumename`.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let is_asking = |line: &&str| line.starts_with("init") || line.starts_with("getvolumename");
        calls.lines().filter(|line| !is_asking(line)).map(ToOwned::to_owned).collect()
    }

    /// The verbs of [`Bridge::calls`].
    pub(crate) fn verbs(&self) -> Vec<String> {
        let calls = self.calls();
        calls.iter().map(|call| call.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    /// Mounts below the folder, as process 1 of [`Bridge::in_container`] sees them.
    pub(crate) fn mounts_of_init(&self) -> Vec<String> {
        let unshare = self.process.as_ref().expect("a bridge").id();
        let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"));
        let init = children.expect("children").trim().to_owned();
        let table = fs::read_to_string(format!("/proc/{init}/mountinfo")).expect("a mount table");
        let place = self.place.path().display().to_string();
        table.lines().filter(|line| line.contains(&place)).map(ToOwned::to_owned).collect()
    }

    /// Mounts below the folder, as the bridge sees them.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let process = self.process.as_ref().expect("a bridge").id();
        let table = fs::read_to_string(format!("/proc/{process}/mountinfo")).expect("a mount table");
        let place = self.place.path().display().to_string();
        table.lines().filter(|line| line.contains(&place)).map(ToOwned::to_owned).collect()
    }

    /// The path by which a file in the bridge's namespace is reached.
    pub(crate) fn seen(&self, path: &Path) -> PathBuf {
        let process = self.process.as_ref().expect("a bridge").id();
        Path::new("/proc")
            .join(process.to_string())
            .join("root")
            .join(path.strip_prefix("/").expect("a path"))
    }

    pub(crate) fn resident_kibibytes(&self) -> u64 {
        let process = self.process.as_ref().expect("a bridge").id();
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }

    /// The target of a pod's volume, as kubelet makes it; its parent exists.
    pub(crate) fn target(&self, pod: &str, volume: &str) -> PathBuf {
        let directory = self.path("kubelet/pods").join(pod).join("volumes/kubernetes.io~csi").join(volume);
        fs::create_dir_all(&directory).expect("a folder");
        directory.join("mount")
    }

    pub(crate) async fn client(&self) -> Client {
        self.client_at("csi.sock").await
    }

    pub(crate) async fn client_at(&self, socket: &str) -> Client {
        Client::connect(&self.path(socket)).await.expect("a connection")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log:\n{}\ncalls:\n{}", self.log(), self.calls().join("\n"));
        }
        self.kill();
        if let Some(mut holder) = self.holder.take() {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// Waits, at most as long as a busy machine may take.
pub(crate) fn wait(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// [`wait`] while calls go on.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a test's calls.
pub(crate) fn block_on<T>(calls: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 2, calls).await.expect("an answer in time") })
}

pub(crate) fn capability(mode: Mode) -> Option<VolumeCapability> {
    Some(VolumeCapability {
        block: None,
        mount: Some(MountVolume::default()),
        access_mode: Some(AccessMode { mode: mode.into() }),
    })
}

pub(crate) fn publish_request(volume: &str, target: &Path) -> NodePublishVolumeRequest {
    NodePublishVolumeRequest {
        volume_id: volume.to_owned(),
        target_path: target.display().to_string(),
        volume_capability: capability(Mode::SingleNodeMultiWriter),
        ..NodePublishVolumeRequest::default()
    }
}

pub(crate) async fn publish(client: &Client, request: &NodePublishVolumeRequest) -> Answer<()> {
    client.tell("csi.v1.Node/NodePublishVolume", request).await
}

pub(crate) async fn unpublish(client: &Client, volume: &str, target: &Path) -> Answer<()> {
    let target_path = target.display().to_string();
    let request = NodeUnpublishVolumeRequest { volume_id: volume.to_owned(), target_path };
    client.tell("csi.v1.Node/NodeUnpublishVolume", &request).await
}

/// The code of an answer; 0 for a success.
pub(crate) fn code<T>(answer: &Answer<T>) -> i32 {
    answer.as_ref().err().map_or(0, |Refusal { code, .. }| *code)
}
