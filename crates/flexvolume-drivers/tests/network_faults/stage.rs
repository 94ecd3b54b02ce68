//! A server, places to mount it at, and what is looked at after each call.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::matrix::{Fault, Row};
use crate::support::{Answer, Program, World, tool};

/// A secret that must be nowhere but in the driver's own arguments; and as it stands there.
pub(crate) const SECRET: &str = "qZ7-marker-of-a-secret";
pub(crate) const SECRET_ENCODED: &str = "cVo3LW1hcmtlci1vZi1hLXNlY3JldA==";

/// Any call.
pub(crate) const CALL: Duration = Duration::from_secs(30);
/// An unmount whose server is silent.
pub(crate) const SILENT_UNMOUNT: Duration = Duration::from_secs(10);

/// A driver of remote storage and its server.
pub(crate) trait Backend {
    fn name(&self) -> &'static str;
    fn program(&self) -> Program;
    /// As `server start` knows it.
    fn server(&self) -> &'static str;
    fn rows(&self) -> &'static [Row];
    /// The directory on the server that good options mount.
    fn directory(&self) -> PathBuf;
    /// Fills it.
    fn prepare(&self);
    /// Options of a mount under a fault, in each way in which it comes about; the first way has good ones for a fault
    /// of another kind.
    fn options(&self, fault: Fault) -> Vec<Value>;
    /// Brings about a fault that is not the same for every server.
    fn begin(&self, fault: Fault);
    fn end(&self, fault: Fault);
    /// Of `mount` and `unmount`.
    fn fail_points(&self) -> [&'static [&'static str]; 2];
}

/// A command of the second host.
pub(crate) fn server(arguments: &[&str]) {
    tool("server", arguments);
}

/// One cell's world.
pub(crate) struct Stage<'a> {
    pub(crate) backend: &'a dyn Backend,
    pub(crate) world: World,
    fault: Fault,
    begun: bool,
    programs: Vec<Child>,
}

impl<'a> Stage<'a> {
    /// With the server up, and a neighbour's mount of it.
    pub(crate) fn new(backend: &'a dyn Backend, fault: Fault) -> Self {
        let world = World::new();
        backend.prepare();
        fs::write(backend.directory().join("known"), "known").unwrap();
        let stage = Self { backend, world, fault, begun: false, programs: Vec::new() };
        fs::create_dir(stage.neighbour()).unwrap();
        stage.call("mount", &stage.neighbour(), Some(&stage.good())).0.success();
        stage
    }

    pub(crate) fn neighbour(&self) -> PathBuf {
        self.world.path("neighbour")
    }

    pub(crate) fn subject(&self) -> PathBuf {
        self.world.path("target")
    }

    /// Options that work.
    pub(crate) fn good(&self) -> Value {
        // What a fault is about may lie in the options; those of a silent server do not.
        self.backend.options(Fault::Silent).remove(0)
    }

    /// Brings the fault about.
    pub(crate) fn begin(&mut self) {
        self.begun = true;
        let (name, subject) = (self.backend.server(), self.subject());
        match self.fault {
            Fault::Stopped => server(&["stop", name]),
            Fault::Crashed => server(&["kill", name]),
            Fault::Silent | Fault::Fifty => server(&["drop"]),
            Fault::LinkCut => server(&["cut"]),
            Fault::Busy => self.start(&subject, "exec sleep 1000"),
            Fault::WorkingDirectory => {
                self.start(&subject, "exec sleep 1000");
                server(&["drop"]);
            }
            Fault::DirtyPages => {
                fs::write(subject.join("dirty"), vec![7; 1 << 20]).unwrap();
                server(&["drop"]);
            }
            Fault::BlockedWriter => {
                server(&["drop"]);
                let write = "exec dd if=/dev/zero of=blocked bs=64k count=16 conv=fsync 2>/dev/null";
                self.start(&subject, write);
            }
            Fault::Rebooted => self.reboot(),
            Fault::Missing | Fault::NoName | Fault::DriverKilled => {}
            Fault::LinkInExport | Fault::Climbing => {}
            Fault::LinkAsTarget => {
                fs::create_dir(self.world.path("elsewhere")).unwrap();
                fs::remove_dir(&subject).unwrap();
                symlink(self.world.path("elsewhere"), &subject).unwrap();
            }
            Fault::Replaced | Fault::Denied | Fault::WrongSecret => self.backend.begin(self.fault),
        }
    }

    /// Takes it away.
    pub(crate) fn end(&mut self) {
        if !std::mem::take(&mut self.begun) {
            return;
        }
        let name = self.backend.server();
        match self.fault {
            Fault::Stopped | Fault::Crashed => server(&["start", name]),
            Fault::Silent | Fault::Fifty => server(&["heal"]),
            Fault::LinkCut => server(&["restore"]),
            Fault::WorkingDirectory | Fault::DirtyPages | Fault::BlockedWriter => server(&["heal"]),
            Fault::LinkAsTarget => {
                fs::remove_file(self.subject()).unwrap();
                fs::create_dir(self.subject()).unwrap();
            }
            Fault::Replaced | Fault::Denied | Fault::WrongSecret => self.backend.end(self.fault),
            _ => {}
        }
        self.end_programs();
    }

    fn end_programs(&mut self) {
        for mut program in self.programs.drain(..) {
            let _ = program.kill();
            let _ = program.wait();
        }
    }

    /// A program of the node with its working directory in the mount.
    fn start(&mut self, directory: &Path, script: &str) {
        let mut command = self.world.spawning("sh");
        let script = format!("cd {} && echo in && {script}", directory.display());
        let child = command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        if self.fault != Fault::BlockedWriter {
            // It is inside when it says so.
            use std::io::Read as _;
            child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        } else {
            thread::sleep(Duration::from_secs(1));
        }
        self.programs.push(child);
    }

    /// The mounts go, the records stay.
    fn reboot(&self) {
        for directory in [self.neighbour(), self.subject()] {
            if self.is_mounted(&directory) {
                tool("umount", &["-l", directory.to_str().unwrap()]);
            }
        }
    }

    pub(crate) fn is_mounted(&self, directory: &Path) -> bool {
        !self
            .world
            .mounts_at(&fs::canonicalize(self.world.path("")).unwrap().join(directory.file_name().unwrap()))
            .is_empty()
    }

    fn command(&self, verb: &str, directory: &Path, options: Option<&Value>) -> Command {
        let mut arguments = vec![verb.to_owned()];
        if verb != "heal" {
            arguments.push(directory.to_str().unwrap().to_owned());
        }
        if let Some(options) = options {
            let mut options = options.clone();
            if verb == "heal" {
                options["mountDir"] = json!(directory);
            }
            options["kubernetes.io/secret/marker"] = json!(SECRET_ENCODED);
            options["kubernetes.io/readwrite"] = json!("rw");
            arguments.push(options.to_string());
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        self.world.command(self.backend.program(), &arguments)
    }

    /// Makes a call, and looks for what it must not leave.
    pub(crate) fn call(&self, verb: &str, directory: &Path, options: Option<&Value>) -> (Answer, Duration) {
        self.call_with(verb, directory, (options, &[]))
    }

    pub(crate) fn call_with(
        &self,
        verb: &str,
        directory: &Path,
        (options, variables): (Option<&Value>, &[(&str, &str)]),
    ) -> (Answer, Duration) {
        let begun = Instant::now();
        let mut command = self.command(verb, directory, options);
        let child = command.envs(variables.iter().copied()).spawn().unwrap();
        let watch = Watch::start(child.id());
        let answer = finish(child);
        let taken = begun.elapsed();
        watch.stop();
        self.check_for_leavings(&answer);
        (answer, taken)
    }

    /// All of them at once; the longest.
    pub(crate) fn call_all(&self, verb: &str, directories: &[PathBuf]) -> Duration {
        let begun = Instant::now();
        let children: Vec<_> = directories
            .iter()
            .map(|directory| self.command(verb, directory, None).spawn().unwrap())
            .collect();
        for child in children {
            finish(child).success();
        }
        begun.elapsed()
    }

    /// No process, and the secret nowhere.
    fn check_for_leavings(&self, answer: &Answer) {
        assert!(!answer.json.to_string().contains(SECRET), "the secret is in the answer: {answer:?}");
        for file in self.world.files(self.backend.name()) {
            let path = self.world.path("state").join(self.backend.name()).join(file);
            let text = fs::read_to_string(&path).unwrap_or_default();
            let found = [SECRET, SECRET_ENCODED].iter().any(|marker| text.contains(marker));
            assert!(!found, "the secret is in {}", path.display());
        }
        let mut left = Vec::new();
        for _ in 0..100 {
            left = processes_of(self.backend.program());
            if left.is_empty() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("processes are left: {left:?}");
    }

    /// Whether a file of the export can be read there; never waits longer than a few seconds.
    pub(crate) fn is_readable(&self, directory: &Path) -> bool {
        let mut command = self.world.spawning("timeout");
        command.args(["-s", "KILL", "10", "cat"]).arg(directory.join("known"));
        command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .is_ok_and(|output| output.stdout == b"known")
    }

    /// Waits until it can be read.
    pub(crate) fn becomes_readable(&self, directory: &Path, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            if self.is_readable(directory) {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            thread::sleep(Duration::from_millis(500));
        }
    }
}

impl Drop for Stage<'_> {
    /// A cell that does not hold leaves things as they are; the next one wants them well.
    fn drop(&mut self) {
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.end()));
        self.end_programs();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let root = fs::canonicalize(self.world.path("")).unwrap_or_default();
        for point in table.lines().filter_map(|line| line.split(' ').nth(4)) {
            if Path::new(point).starts_with(&root) {
                let _ = self.world.spawning("umount").args(["-l", point]).status();
            }
        }
    }
}

/// A driver's end; one that is ended by a signal has no answer.
fn finish(mut child: Child) -> Answer {
    // Longer than any deadline that is judged, and an end all the same.
    let end = Instant::now() + Duration::from_secs(90);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the driver did not come back within 90 s");
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let signal = output.status.signal();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    assert!(signal.is_some() || output.status.code() == Some(0) && !json.is_null(), "{output:?}");
    Answer { json, signal }
}

/// The processes that run a driver's program, and their states.
fn processes_of(program: Program) -> Vec<String> {
    let program = fs::canonicalize(program.path()).unwrap();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()) {
        if fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program) {
            let status = fs::read_to_string(process.join("status")).unwrap_or_default();
            let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or_default();
            if !state.contains('Z') {
                let waits = fs::read_to_string(process.join("stack")).unwrap_or_default();
                found.push(format!("{} {state} {waits}", process.display()));
            }
        }
    }
    found
}

/// Looks, while a call runs, whether any process but the driver has the secret in its arguments or its environment.
struct Watch {
    over: Arc<AtomicBool>,
    watching: thread::JoinHandle<Option<String>>,
}

impl Watch {
    fn start(driver: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let watching = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                if let Some(found) = holder(driver) {
                    return Some(found);
                }
                thread::sleep(Duration::from_millis(30));
            }
            None
        });
        Self { over, watching }
    }

    fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        assert_eq!(self.watching.join().unwrap(), None, "a process has the secret");
    }
}

fn holder(driver: u32) -> Option<String> {
    let ours = [driver.to_string(), std::process::id().to_string()];
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name().to_string_lossy().into_owned();
        if ours.contains(&name) || !name.starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        let has = |file: &str| {
            let bytes = fs::read(process.path().join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.contains(SECRET) || text.contains(SECRET_ENCODED)
        };
        for file in ["cmdline", "environ"] {
            // What the driver starts is a copy of the driver until it begins with its own arguments.
            let mut looks = (0..20).map(|_| {
                thread::sleep(Duration::from_millis(100));
                has(file)
            });
            if has(file) && looks.all(|has| has) {
                return Some(format!("{name}: {file}"));
            }
        }
    }
    None
}
