//! What must hold whatever a driver does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flexvolume_host::Deadlines;
use flexvolume_host::lifecycle::{PodVolume, VolumeManager};
use flexvolume_host::os::System;
use flexvolume_host::os::mount::FileSystemMount;
use flexvolume_host::spec::MounterArguments;

use crate::stage::{Stage, drivers, in_mount_namespace, inline, persistent, pod, processes, program, uid};

/// A driver and what comes of it.
pub(crate) struct Behaviour {
    /// The sentence that begins with "The driver".
    pub(crate) the_driver: &'static str,
    pub(crate) program: Program,
    pub(crate) mount: Outcome,
    pub(crate) unmount: Outcome,
    /// Processes that live on: they left the process group, or the driver ended in time.
    pub(crate) left_running: usize,
    /// A remark for the reader of the table.
    pub(crate) remark: &'static str,
}

/// What is installed.
#[derive(Clone, Copy)]
pub(crate) enum Program {
    /// Arms of a script's `case "$1" in`, before the arms of a good plain driver.
    Plain(&'static str),
    /// The same before the arms of a good attachable driver.
    Attachable(&'static str),
    /// Anything else.
    Made(fn(&Stage)),
}

/// How `mount` or `unmount` of the pod ends.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    Done,
    /// Fails with an error that says this.
    Fails(&'static str),
}

/// A good driver in every respect that a table line does not mention.
pub(crate) const GOOD: Behaviour = Behaviour {
    the_driver: "",
    program: Program::Plain(""),
    mount: Outcome::Done,
    unmount: Outcome::Done,
    left_running: 0,
    remark: "",
};

const DEADLINES: Deadlines = Deadlines {
    question: Duration::from_secs(3),
    wait_for_attach: Duration::from_secs(3),
    call: Duration::from_secs(3),
    lock: Duration::from_secs(30),
};

/// No behaviour makes more than two calls that run into their deadline; TERM and KILL take a moment too.
const LONGEST: Duration = Duration::from_secs(12);
/// What a host may need to read an endless answer, in KiB.
const MOST_MEMORY: u64 = 128 << 10;

pub(crate) fn check(test: &str, behaviour: &Behaviour) {
    if !in_mount_namespace(test) {
        return;
    }
    let stage = stage_with(behaviour.program);
    let manager = Arc::new(stage.manager());
    let before = Traces::now();
    let neighbour = Neighbour::start(&manager);
    let mount = timed(|| {
        let mounted = manager.mount(&pod("uid-1"), &[volume(behaviour.program)], MounterArguments::default());
        mounted.map(|_| ()).map_err(|error| error.to_string())
    });
    expect("mount", behaviour.mount, &mount);
    let unmount = timed(|| unmount(&manager));
    expect("unmount", behaviour.unmount, &unmount);
    neighbour.finish();
    let left = processes();
    assert_eq!(left.len(), behaviour.left_running, "processes left: {left:?}");
    for (pid, _) in left {
        assert!(program("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    }
    before.compare();
    nothing_foreign_is_touched(&stage);
    cure(&stage, behaviour);
    nothing_is_left(&stage);
}

fn unmount(manager: &VolumeManager) -> Result<(), String> {
    manager.unmount(&uid("uid-1")).map(|_| ()).map_err(|errors| {
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        texts.join("; ")
    })
}

fn timed(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let begun = Instant::now();
    let result = work();
    assert!(begun.elapsed() < LONGEST, "it took {:?}", begun.elapsed());
    result
}

fn expect(step: &str, outcome: Outcome, result: &Result<(), String>) {
    match (outcome, result) {
        (Outcome::Done, Ok(())) => {}
        (Outcome::Fails(text), Err(error)) if error.contains(text) => {}
        (Outcome::Done, _) => panic!("{step} should be done: {result:?}"),
        (Outcome::Fails(text), _) => panic!("{step} should fail with {text:?}: {result:?}"),
    }
}

/// The table's driver as `example.com/hostile`, a good one as `example.com/plain`, and things that are nobody's business.
fn stage_with(driver: Program) -> Stage {
    let mut stage = Stage::new();
    stage.deadlines = DEADLINES;
    stage.install("plain", drivers::PLAIN);
    let elsewhere = stage.top().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let tmpfs = FileSystemMount {
        source: "foreign".into(),
        fs_type: "tmpfs".to_owned(),
        access: flexvolume_host::os::mount::Access::ReadWrite,
        data: vec!["size=64k".to_owned()],
    };
    System::host().mounter.mount(&tmpfs, &elsewhere).unwrap();
    let of_another_pod = stage.mount_dir("uid-2", "hostile", "data");
    fs::create_dir_all(&of_another_pod).unwrap();
    for place in [&elsewhere, &of_another_pod, &stage.root(), &stage.plugin_dir()] {
        fs::write(place.join("sentinel"), "untouched").unwrap();
    }
    let script = |good: &str, arms: &str| {
        let script = good.replacen("case \"$1\" in\n", &format!("case \"$1\" in\n{arms}\n"), 1);
        script.replace("@ELSEWHERE@", elsewhere.to_str().unwrap())
    };
    match driver {
        Program::Plain(arms) => stage.install("hostile", &script(drivers::PLAIN, arms)),
        Program::Attachable(arms) => stage.install("hostile", &script(drivers::DEVICE, arms)),
        Program::Made(make) => make(&stage),
    }
    stage
}

fn volume(driver: Program) -> PodVolume {
    match driver {
        Program::Attachable(_) => persistent("hostile", "data"),
        _ => inline("hostile", "data"),
    }
}

fn nothing_foreign_is_touched(stage: &Stage) {
    let of_another_pod = stage.mount_dir("uid-2", "hostile", "data");
    for place in [stage.top().join("elsewhere"), of_another_pod, stage.root(), stage.plugin_dir()] {
        let sentinel = fs::read_to_string(place.join("sentinel"));
        assert_eq!(sentinel.unwrap_or_default(), "untouched", "{}", place.display());
    }
}

/// What a person does after an unmount that failed: put a good driver there, remove what the bad one has left, and
/// unmount again.
fn cure(stage: &Stage, behaviour: &Behaviour) {
    if matches!(behaviour.unmount, Outcome::Done) {
        return;
    }
    if let Some(foreign) = mounted_over_the_parent(stage) {
        System::host().mounter.unmount(&foreign).unwrap();
    } else {
        let overview = stage.manager().status().unwrap();
        assert!(!overview.volumes.is_empty(), "what is not undone stays on record");
    }
    let good =
        if matches!(behaviour.program, Program::Attachable(_)) { drivers::DEVICE } else { drivers::PLAIN };
    stage.install("hostile", good);
    remove_what_is_left(&stage.mount_dir("uid-1", "hostile", "data"), stage);
    unmount(&stage.manager()).unwrap();
}

fn mounted_over_the_parent(stage: &Stage) -> Option<PathBuf> {
    let parent = stage.mount_dir("uid-1", "hostile", "data").parent().unwrap().to_owned();
    stage.mounts().into_iter().map(|(place, _)| place).find(|place| *place == parent)
}

fn remove_what_is_left(mount_dir: &Path, stage: &Stage) {
    let is_mounted = stage.mounts().iter().any(|(place, _)| place == mount_dir);
    if mount_dir.is_symlink() || mount_dir.is_file() {
        fs::remove_file(mount_dir).unwrap();
    } else if mount_dir.is_dir() && !is_mounted {
        for entry in fs::read_dir(mount_dir).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

fn nothing_is_left(stage: &Stage) {
    let overview = stage.manager().status().unwrap();
    assert_eq!((overview.volumes, overview.unreadable), (Vec::new(), Vec::new()));
    let mounts: Vec<_> = stage.mounts().into_iter().map(|(place, _)| place).collect();
    assert_eq!(mounts, [stage.top().join("elsewhere")]);
    assert!(!stage.root().join("pods/uid-1").exists(), "{:#?}", stage.picture());
}

/// A good driver that mounts and unmounts all the time.
struct Neighbour {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

impl Neighbour {
    fn start(manager: &Arc<VolumeManager>) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (manager, stopped, counted) = (Arc::clone(manager), Arc::clone(&stop), Arc::clone(&rounds));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) || counted.load(Ordering::Relaxed) == 0 {
                let volumes = [inline("plain", "data")];
                manager.mount(&pod("uid-neighbour"), &volumes, MounterArguments::default()).unwrap();
                manager.unmount(&uid("uid-neighbour")).unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, rounds, thread }
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert!(self.thread.join().is_ok(), "the good driver beside it works all the time");
        assert!(self.rounds.load(Ordering::Relaxed) > 0);
    }
}

/// What a run may leave in this process.
struct Traces {
    descriptors: usize,
    umask: String,
    directory: PathBuf,
}

impl Traces {
    fn now() -> Self {
        Self {
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            umask: status_line("Umask:"),
            directory: std::env::current_dir().unwrap(),
        }
    }

    fn compare(&self) {
        let now = Self::now();
        assert_eq!(now.descriptors, self.descriptors, "descriptors are left open");
        assert_eq!((&now.umask, &now.directory), (&self.umask, &self.directory));
        let peak = status_line("VmHWM:");
        let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
        assert!(peak < MOST_MEMORY, "{peak} KiB");
    }
}

fn status_line(key: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned()
}
