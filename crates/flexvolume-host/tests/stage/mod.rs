//! A node of its own for a test: a root, a plugin directory with scripted drivers, a private mount namespace.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "only tests include this file"
)]

pub(crate) mod drivers;
pub(crate) mod worker;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flexvolume_host::contract::{Access, DriverName, PodUid, Secret, VolumeName};
use flexvolume_host::lifecycle::{PodVolume, VolumeManager};
use flexvolume_host::os::System;
use flexvolume_host::os::mount::FileSystemMount;
use flexvolume_host::registry::Registry;
use flexvolume_host::settings::Settings;
use flexvolume_host::spec::{Pod, SecretReference, Source, VolumeSpec};
use flexvolume_host::{Deadlines, Reading, SecretError, SecretObject, SecretSource, VolumeHost};

/// Set in the process that a test runs again in a namespace of its own.
const INSIDE: &str = "FLEXVOL_TEST_IN_NAMESPACE";

#[expect(clippy::disallowed_methods, reason = "tests start tools and themselves as processes")]
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    command
}

/// Runs the calling test again in a mount namespace of its own, as root of a user namespace where need be.
///
/// True inside, where the test does its work. False outside: then the work is done, or said to be skipped.
pub(crate) fn in_mount_namespace(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let root = ["--mount", "--propagation", "private"].as_slice();
    let user = ["--user", "--map-root-user", "--mount", "--propagation", "private"].as_slice();
    let works = |flags: &&[&str]| {
        let mount = ["mount", "-t", "tmpfs", "none", "/mnt"];
        program("unshare").args(*flags).args(mount).output().is_ok_and(|output| output.status.success())
    };
    let Some(flags) = [root, user].into_iter().find(works) else {
        eprintln!("skipped: {test}: needs a mount namespace (unshare --mount)");
        return false;
    };
    let this = std::env::current_exe().unwrap();
    let mut inside = program("unshare");
    inside.args(flags).arg("--").arg(this).args([test, "--exact", "--nocapture"]).env(INSIDE, mark(test));
    let output = inside.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    for line in text.lines().filter(|line| line.starts_with("skipped: ")) {
        eprintln!("{line}");
    }
    false
}

/// The environment of everything that a test starts tells whose it is.
fn mark(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

/// The processes that a test inside has started, and what they have started, as far as they still live; `Z` first for
/// those that nobody has reaped.
pub(crate) fn processes() -> Vec<(u32, String)> {
    let me = std::process::id();
    let mark = format!("{INSIDE}={}", std::env::var(INSIDE).unwrap());
    let numbers =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut found = Vec::new();
    for pid in numbers.filter(|pid: &u32| *pid != me) {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let (state, parent) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let marked = read("environ").split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        if marked || (state == "Z" && parent == me.to_string()) {
            let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            found.push((pid, format!("{state} {command}")));
        }
    }
    found
}

/// Secrets of a test: any name, always the same content.
struct Secrets {
    driver: String,
    value: String,
}

impl SecretSource for Secrets {
    fn secret(&self, _: &str, _: &str) -> Result<SecretObject, SecretError> {
        let data = BTreeMap::from([("password".to_owned(), Secret::new(self.value.as_bytes()))]);
        Ok(SecretObject { kind: self.driver.clone(), data })
    }
}

/// Short enough for a test, long enough for a shell on a busy machine.
pub(crate) const DEADLINES: Deadlines = Deadlines {
    question: Duration::from_secs(5),
    wait_for_attach: Duration::from_secs(5),
    call: Duration::from_secs(5),
    lock: Duration::from_secs(30),
};

/// The place of a test.
#[derive(Debug)]
pub(crate) struct Stage {
    directory: Option<tempfile::TempDir>,
    top: PathBuf,
    pub(crate) deadlines: Deadlines,
    pub(crate) reading: Reading,
    pub(crate) secret: Option<(String, String)>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("flexvol-test-").tempdir().unwrap();
        let top = fs::canonicalize(directory.path()).unwrap();
        if std::env::var_os(INSIDE).is_some() {
            // In memory: records are written durably, and that is slow on a disk.
            let memory = FileSystemMount {
                source: "stage".into(),
                fs_type: "tmpfs".to_owned(),
                access: flexvolume_host::os::mount::Access::ReadWrite,
                data: vec!["mode=0755".to_owned()],
            };
            System::host().mounter.mount(&memory, &top).unwrap();
        }
        let mut stage = Self::at(&top);
        stage.directory = Some(directory);
        fs::create_dir(stage.plugin_dir()).unwrap();
        stage
    }

    /// The stage of another process.
    pub(crate) fn at(top: &Path) -> Self {
        Self {
            directory: None,
            top: top.to_owned(),
            deadlines: DEADLINES,
            reading: Reading::Tolerant,
            secret: None,
        }
    }

    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.top.join("root")
    }

    pub(crate) fn plugin_dir(&self) -> PathBuf {
        self.top.join("plugins")
    }

    /// Where the settings of drivers are, if a test makes some.
    pub(crate) fn settings_dir(&self) -> PathBuf {
        self.top.join("settings")
    }

    /// Writes the settings of the driver `example.com/<name>`.
    pub(crate) fn set(&self, name: &str, toml: &str) {
        fs::create_dir_all(self.settings_dir()).unwrap();
        let file = self.settings_dir().join(format!("example.com~{name}.toml"));
        fs::write(&file, toml).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// The directory of the driver `example.com/<name>`.
    pub(crate) fn driver_dir(&self, name: &str) -> PathBuf {
        self.plugin_dir().join(format!("example.com~{name}"))
    }

    /// Installs a script as `example.com/<name>`; `@STATE@` in it becomes a directory for its notes.
    pub(crate) fn install(&self, name: &str, script: &str) {
        let state = self.state(name);
        fs::create_dir_all(&state).unwrap();
        self.install_file(name, script.replace("@STATE@", state.to_str().unwrap()).as_bytes());
    }

    /// Installs bytes as `example.com/<name>`.
    pub(crate) fn install_file(&self, name: &str, bytes: &[u8]) {
        let directory = self.driver_dir(name);
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join(name);
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.top.join("state").join(name)
    }

    /// The loop devices whose backing file is on the stage.
    pub(crate) fn loop_devices(&self) -> Vec<String> {
        let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let backing =
            devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
        let ours = backing.filter(|file| Path::new(file).starts_with(&self.top));
        let mut ours: Vec<_> =
            ours.map(|file| file[self.top.as_os_str().len()..].trim_end().to_owned()).collect();
        ours.sort();
        ours
    }

    /// The verbs that a driver was called with, without its questions.
    pub(crate) fn calls(&self, name: &str) -> Vec<String> {
        let log = fs::read_to_string(self.state(name).join("log")).unwrap_or_default();
        let asks = |verb: &str| matches!(verb, "init" | "getvolumename" | "isattached");
        log.lines().map(str::to_owned).filter(|verb| !asks(verb)).collect()
    }

    /// `driver verb` of all calls that undo something, in their order.
    pub(crate) fn undoing_calls(&self) -> Vec<String> {
        let order = fs::read_to_string(self.top.join("state/order")).unwrap_or_default();
        let undoes =
            |line: &str| [" unmount", " unmountdevice", " detach"].iter().any(|verb| line.ends_with(verb));
        order.lines().filter(|line| undoes(line)).map(str::to_owned).collect()
    }

    pub(crate) fn forget_calls(&self, name: &str) {
        let _ = fs::remove_file(self.state(name).join("log"));
    }

    pub(crate) fn manager(&self) -> VolumeManager {
        let (driver, value) = self.secret.clone().unwrap_or_default();
        let host = Arc::new(VolumeHost {
            root: self.root(),
            node: "node-1".to_owned(),
            system: System::host(),
            secrets: Arc::new(Secrets { driver, value }),
            reading: self.reading,
            deadlines: self.deadlines,
            settings: Arc::new(Settings::in_directory(self.settings_dir())),
        });
        let registry = Registry::new(Arc::clone(&host), vec![self.plugin_dir()]);
        VolumeManager::new(host, Arc::new(registry))
    }

    /// Everything below root and what the drivers remember: directories with a slash, mounts with their file system
    /// type. Not the directories and locks that are there once for all volumes.
    pub(crate) fn picture(&self) -> Vec<String> {
        let mounts = self.mounts();
        let mut picture = Vec::new();
        for top in [self.root(), self.top.join("state")] {
            self.draw(&top, &mounts, &mut picture);
        }
        picture.sort();
        picture
    }

    fn draw(&self, place: &Path, mounts: &[(PathBuf, String)], picture: &mut Vec<String>) {
        let shown = place.strip_prefix(&self.top).unwrap().display().to_string();
        let here: Vec<_> =
            mounts.iter().filter(|(at, _)| at == place).map(|(_, kind)| kind.as_str()).collect();
        match fs::symlink_metadata(place) {
            Ok(metadata) if metadata.is_dir() => {
                let of_a_volume =
                    shown.contains("uid-") || shown.contains("/mounts/") || shown.starts_with("state");
                if of_a_volume || !here.is_empty() {
                    picture.push(format!("{shown}/ {}", here.join(" on ")).trim_end().to_owned());
                }
                let mut entries: Vec<_> =
                    fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
                entries.sort();
                for entry in entries {
                    self.draw(&entry, mounts, picture);
                }
            }
            Ok(_)
                if shown.ends_with("/log") || shown == "state/order" || shown.contains("/locks/drivers/") => {
            }
            Ok(_) => picture.push(shown),
            Err(_) => {}
        }
    }

    /// What is mounted below the stage, with file system types.
    pub(crate) fn mounts(&self) -> Vec<(PathBuf, String)> {
        let table = System::host().mounter.table().unwrap();
        let below = table.below(&self.top).filter(|mount| mount.mount_point != self.top);
        below.map(|mount| (mount.mount_point.clone(), mount.fs_type.clone())).collect()
    }

    /// How often something is mounted at the mount dir of a pod's volume.
    pub(crate) fn mounted(&self, uid: &str, driver: &str, volume: &str) -> usize {
        let at = self.mount_dir(uid, driver, volume);
        self.mounts().iter().filter(|(place, _)| *place == at).count()
    }

    pub(crate) fn mount_dir(&self, uid: &str, driver: &str, volume: &str) -> PathBuf {
        self.root().join("pods").join(uid).join("volumes").join(format!("example.com~{driver}")).join(volume)
    }

    pub(crate) fn device_path(&self, driver: &str, name: &str) -> PathBuf {
        self.root()
            .join("plugins/kubernetes.io/flexvolume/example.com")
            .join(driver)
            .join("mounts")
            .join(name)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.directory.is_none() {
            return;
        }
        // What a failed test has left mounted, the last first: the directory must not be emptied through a mount.
        let mounter = System::host().mounter;
        for (place, _) in self.mounts().into_iter().rev() {
            let _ = mounter.unmount_lazy(&place);
        }
        let _ = mounter.unmount_lazy(&self.top);
    }
}

pub(crate) fn uid(text: &str) -> PodUid {
    PodUid::parse(text).unwrap()
}

pub(crate) fn pod(text: &str) -> Pod {
    Pod {
        uid: uid(text),
        name: format!("pod-{text}"),
        namespace: "default".to_owned(),
        service_account: String::new(),
    }
}

pub(crate) fn driver_name(name: &str) -> DriverName {
    DriverName::parse(format!("example.com/{name}")).unwrap()
}

fn volume(driver: &str, name: &str, source: Source) -> PodVolume {
    let spec = VolumeSpec {
        name: VolumeName::parse(name).unwrap(),
        driver: format!("example.com/{driver}"),
        fs_type: String::new(),
        access: Access::ReadWrite,
        options: BTreeMap::new(),
        secret: None,
        source,
    };
    PodVolume { pod_volume: name.to_owned(), spec }
}

pub(crate) fn inline(driver: &str, name: &str) -> PodVolume {
    volume(driver, name, Source::Inline)
}

pub(crate) fn persistent(driver: &str, name: &str) -> PodVolume {
    volume(driver, name, Source::PersistentVolume { mode: None, capacity: None })
}

pub(crate) fn with_secret(mut volume: PodVolume) -> PodVolume {
    volume.spec.secret = Some(SecretReference { namespace: None, name: "key".to_owned() });
    volume
}
