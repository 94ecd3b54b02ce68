//! The world of the chaos test: a node, an agent, drivers of all kinds, and what should be so.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "only tests include this file")]

mod drivers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flexvolume_os::loop_device::{Availability, availability};
use serde_json::Value;

use self::drivers::{Kind, State};
use crate::node::{Agent, Node, program};

/// How long the agent may take to come to rest: back-offs are cut short, but the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);
const PODS: usize = 12;
const POINTS: [&str; 17] = [
    "lifecycle.mount.recorded",
    "lifecycle.mount.called",
    "lifecycle.mount.done",
    "lifecycle.unmount.recorded",
    "lifecycle.unmount.called",
    "lifecycle.unmount.forgotten",
    "lifecycle.attach.recorded",
    "lifecycle.attach.called",
    "lifecycle.waitforattach.called",
    "lifecycle.mountdevice.recorded",
    "lifecycle.mountdevice.called",
    "lifecycle.unmountdevice.recorded",
    "lifecycle.unmountdevice.called",
    "lifecycle.detach.called",
    "lifecycle.resize.recorded",
    "atomic.written",
    "atomic.renamed",
];

/// A volume that a pod is meant to have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    pod: String,
    kind: Kind,
    /// The pod's name for it, or the persistent volume's.
    volume: String,
}

/// The world.
pub(crate) struct World {
    node: Node,
    agent: Option<Agent>,
    random: u64,
    seed: u64,
    kinds: Vec<Kind>,
    states: BTreeMap<Kind, State>,
    pods: BTreeMap<String, Vec<Wanted>>,
    /// Pods whose manifest is garbage now: they stay as they are.
    broken: BTreeSet<String>,
    /// What was written into a volume while it was mounted, as long as it must be there.
    marks: BTreeMap<Wanted, String>,
    /// What was written into persistent volumes that keep it.
    disks: BTreeMap<String, String>,
    capacity: BTreeMap<String, u64>,
    log: Vec<String>,
    counts: BTreeMap<&'static str, u32>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let node = Node::new();
        let root = node.root();
        fs::create_dir(&root).unwrap();
        let own =
            program("mount").args(["-t", "tmpfs", "-o", "mode=0750,size=64m", "root"]).arg(&root).status();
        assert!(own.unwrap().success());
        let mut kinds = vec![Kind::Memory, Kind::Flaky, Kind::Slow, Kind::Disk];
        if drivers::loop_driver().is_some() && availability() == Availability::Available {
            kinds.push(Kind::Loop);
        } else {
            eprintln!(
                "skipped: chaos with the loop driver: needs loop devices and the driver (cargo build -p flexvolume-drivers)"
            );
        }
        let mut world = Self {
            node,
            agent: None,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            seed,
            states: kinds.iter().map(|kind| (*kind, State::Healthy)).collect(),
            kinds,
            pods: BTreeMap::new(),
            broken: BTreeSet::new(),
            marks: BTreeMap::new(),
            disks: BTreeMap::new(),
            capacity: BTreeMap::new(),
            log: Vec::new(),
            counts: BTreeMap::new(),
        };
        fs::create_dir(world.node.top().join("state")).unwrap();
        for kind in world.kinds.clone() {
            world.install(kind);
            world.put_disks(kind);
        }
        world.start();
        world
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % u64::try_from(bound).unwrap()).unwrap()
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.below(all.len())].clone()) }
    }

    fn note(&mut self, what: &'static str, about: impl std::fmt::Display) {
        *self.counts.entry(what).or_default() += 1;
        self.log.push(format!("{what} {about}"));
    }

    fn fail(&self, words: &str) -> ! {
        let first = self.log.len().saturating_sub(60);
        let report = self.node.report();
        let lines: Vec<_> = report.lines().collect();
        panic!(
            "seed {}: {words}\noperations:\n{}\nmounts: {:?}\nagent:\n{}\nstatus: {}",
            self.seed,
            self.log[first..].join("\n"),
            self.node.mounts(),
            lines[lines.len().saturating_sub(60)..].join("\n"),
            self.status().map(|status| status.to_string()).unwrap_or_default(),
        );
    }

    /// Does something.
    pub(crate) fn act(&mut self) {
        match self.below(100) {
            0..30 => self.put_pod(),
            30..52 => self.remove_pod(),
            52..58 => self.break_manifest(),
            58..72 => self.disturb_driver(),
            72..84 => self.kill(),
            84..90 => self.unmount_by_hand(),
            90..94 => self.raise(),
            94..97 => self.fill_the_disk(),
            _ => self.make_read_only(),
        }
        if self.below(3) == 0 {
            let pause = self.below(40);
            std::thread::sleep(Duration::from_millis(u64::try_from(pause).unwrap()));
        }
    }

    fn start(&mut self) {
        assert!(self.agent.is_none());
        let with_point = self.below(2) == 0;
        let point = POINTS[self.below(POINTS.len())];
        let number = 1 + self.below(6);
        let mut command = self.node.agent(&["--deadline", "10s"]);
        if with_point {
            command.env("FLEXVOL_FAILPOINT", format!("{point}#{number}=abort"));
        }
        self.agent = Some(Agent::of(command.spawn().unwrap()));
    }

    /// Starts another agent if a fail point has ended this one.
    fn revive(&mut self) {
        if self.agent.as_mut().is_some_and(Agent::has_ended) {
            self.note("died at a fail point", "");
            self.agent = None;
            self.start();
        }
    }

    fn kill(&mut self) {
        let pause = self.below(30);
        std::thread::sleep(Duration::from_millis(u64::try_from(pause).unwrap()));
        self.note("kill", "");
        if let Some(agent) = self.agent.take() {
            agent.kill();
        }
        self.start();
    }

    fn put_pod(&mut self) {
        let pod = format!("pod-{}", self.below(PODS));
        let mut volumes = Vec::new();
        for number in 0..=self.below(3) {
            let kinds = self.kinds.clone();
            let Some(kind) = self.pick(&kinds) else { return };
            let volume = match kind.disks() {
                [] => format!("v{number}"),
                disks => self.pick(disks).unwrap().to_owned(),
            };
            let wanted = Wanted { pod: pod.clone(), kind, volume };
            if !volumes.contains(&wanted) {
                volumes.push(wanted);
            }
        }
        self.note("put", format_args!("{pod}: {volumes:?}"));
        self.node.put(&format!("{pod}.yaml"), &pod_text(&pod, &volumes));
        self.marks.retain(|wanted, _| wanted.pod != pod || volumes.contains(wanted));
        self.broken.remove(&pod);
        self.pods.insert(pod, volumes);
    }

    fn remove_pod(&mut self) {
        let pods: Vec<_> = self.pods.keys().cloned().collect();
        let Some(pod) = self.pick(&pods) else { return };
        self.note("remove", &pod);
        fs::remove_file(self.node.manifest(&pod)).unwrap();
        self.pods.remove(&pod);
        self.broken.remove(&pod);
        self.marks.retain(|wanted, _| wanted.pod != pod);
    }

    fn break_manifest(&mut self) {
        let pods: Vec<_> = self.pods.keys().cloned().collect();
        let Some(pod) = self.pick(&pods) else { return };
        self.note("break the manifest of", &pod);
        let garbage = ["kind: [", "", "kind: Pod\nmetadata: {name: 7}\n"];
        let text = garbage[self.below(garbage.len())];
        self.node.put(&format!("{pod}.yaml"), text);
        self.broken.insert(pod);
    }

    fn disturb_driver(&mut self) {
        let kinds = self.kinds.clone();
        let Some(kind) = self.pick(&kinds) else { return };
        let state = match self.below(6) {
            0 => State::Removed,
            1 => State::Broken,
            2 => State::Hung,
            _ => State::Healthy,
        };
        self.note("driver", format_args!("{kind:?} {state:?}"));
        self.states.insert(kind, state);
        self.install(kind);
    }

    fn install(&mut self, kind: Kind) {
        let name = kind.place();
        let cases = match self.states[&kind] {
            State::Healthy => kind.cases(self.node.top()),
            State::Broken => "init) echo no >&2; exit 3 ;;".to_owned(),
            State::Hung => "init) exec sleep 600 ;;".to_owned(),
            State::Removed => {
                self.node.remove_driver_if_there(&name);
                return;
            }
        };
        self.node.install(&name, &cases);
    }

    fn unmount_by_hand(&mut self) {
        let memory = |wanted: &&Wanted| wanted.kind == Kind::Memory;
        let all: Vec<_> = self.pods.values().flatten().filter(memory).cloned().collect();
        let Some(wanted) = self.pick(&all) else { return };
        self.note("unmount by hand", format_args!("{wanted:?}"));
        let _ = program("umount").arg(self.mount_dir(&wanted)).output();
        self.marks.remove(&wanted);
    }

    fn raise(&mut self) {
        let Some(disk) = self.pick(Kind::Disk.disks()) else { return };
        let now = self.capacity.entry(disk.to_owned()).or_insert(1);
        *now += 1;
        self.note("raise", disk);
        self.put_disks(Kind::Disk);
    }

    fn fill_the_disk(&mut self) {
        self.note("fill the disk", "");
        let file = self.node.root().join("filler");
        let _ = program("dd")
            .args(["if=/dev/zero", "bs=1M", "count=128"])
            .arg(format!("of={}", file.display()))
            .output();
        std::thread::sleep(Duration::from_millis(150));
        self.revive();
        fs::remove_file(file).unwrap();
    }

    fn make_read_only(&mut self) {
        self.note("make the root read-only", "");
        let remount = |how: &str| {
            let options = format!("remount,{how}");
            program("mount").args(["-o", &options]).arg(self.node.root()).status().unwrap().success()
        };
        let read_only = remount("ro");
        std::thread::sleep(Duration::from_millis(150));
        assert!(remount("rw") || !read_only);
    }

    fn put_disks(&mut self, kind: Kind) {
        for disk in kind.disks() {
            let capacity = self.capacity.get(*disk).copied().unwrap_or(1);
            self.node.put(&format!("{disk}.yaml"), &kind.disk_text(disk, capacity));
        }
    }

    fn mount_dir(&self, wanted: &Wanted) -> PathBuf {
        let driver = wanted.kind.directory();
        self.node.root().join("pods").join(&wanted.pod).join("volumes").join(driver).join(&wanted.volume)
    }

    fn status(&self) -> Option<Value> {
        let output = self.node.flexvol().args(["status", "--output", "json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        status.get("agent").cloned()
    }

    fn healthy(&self, kind: Kind) -> bool {
        self.states[&kind] == State::Healthy
    }

    /// What must be mounted when the agent has come to rest: of pods whose manifests and drivers are in order.
    fn expected(&self) -> BTreeSet<Wanted> {
        let pods = self.pods.iter().filter(|(pod, _)| !self.broken.contains(*pod));
        pods.flat_map(|(_, volumes)| volumes).filter(|wanted| self.healthy(wanted.kind)).cloned().collect()
    }

    /// Waits until everything is as it should be, and looks into the volumes.
    pub(crate) fn check(&mut self) {
        self.note("check", "");
        let begun = Instant::now();
        loop {
            self.revive();
            let wrong = self.wrong();
            if wrong.is_empty() {
                break;
            }
            if begun.elapsed() > PATIENCE {
                self.fail(&format!("not within {PATIENCE:?}: {}", wrong.join("; ")));
            }
            let _ = self.node.flexvol().arg("retry").output();
            std::thread::sleep(Duration::from_millis(150));
        }
        self.look_into_volumes();
    }

    fn wrong(&self) -> Vec<String> {
        let Some(status) = self.status() else { return vec!["the agent does not answer".to_owned()] };
        if status["populated"] != true {
            return vec!["the agent has not read the manifests".to_owned()];
        }
        let lines = status["volumes"].as_array().cloned().unwrap_or_default();
        let of = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let mut missing = self.expected();
        let mut wrong = Vec::new();
        for line in &lines {
            let (pod, volume, stage) = (of(line, "pod"), of(line, "volume"), of(line, "stage"));
            let Some(kind) = self.kinds.iter().copied().find(|kind| kind.name() == of(line, "driver")) else {
                continue;
            };
            let wanted = Wanted { pod: pod.clone(), kind, volume };
            if stage == "mounted" {
                missing.remove(&wanted);
            }
            let settled = stage == "mounted" || stage == "left-alone" || !self.healthy(kind);
            let gone = !self.pods.contains_key(&pod) && self.healthy(kind);
            if gone
                || !settled
                || (line["wanted"] == false && self.healthy(kind) && !self.broken.contains(&pod))
            {
                wrong.push(format!("{wanted:?} is {stage}: {}", line["why"]));
            }
        }
        wrong.extend(missing.iter().map(|wanted| format!("{wanted:?} is missing")));
        // What was unmounted by hand a moment ago may not have been noticed yet.
        let mounts = self.node.mounts();
        let is_there = |wanted: &&Wanted| mounts.contains(&format!("{}/{}", wanted.pod, wanted.volume));
        let expected = self.expected();
        wrong.extend(
            expected
                .iter()
                .filter(|wanted| !is_there(wanted))
                .map(|wanted| format!("{wanted:?} is no mount")),
        );
        wrong
    }

    fn look_into_volumes(&mut self) {
        for wanted in self.expected() {
            let file = self.mount_dir(&wanted).join("mark");
            let found = fs::read_to_string(&file).ok();
            let persistent = wanted.kind == Kind::Loop;
            let mark = if persistent { self.disks.get(&wanted.volume) } else { self.marks.get(&wanted) };
            match mark {
                Some(mark) if found.as_ref() != Some(mark) => {
                    self.fail(&format!("{wanted:?} has lost its data: {found:?}, not {mark:?}"));
                }
                Some(_) => {}
                None => {
                    let text = format!("{wanted:?} {}", self.log.len());
                    write_durably(&file, &text)
                        .unwrap_or_else(|error| self.fail(&format!("{wanted:?}: {error}")));
                    if persistent {
                        self.disks.insert(wanted.volume.clone(), text);
                    } else if wanted.kind.disks().is_empty() {
                        self.marks.insert(wanted, text);
                    }
                }
            }
        }
    }

    /// Everything is repaired and every pod is removed: nothing may be left.
    pub(crate) fn end(&mut self) {
        for kind in self.kinds.clone() {
            self.states.insert(kind, State::Healthy);
            self.install(kind);
        }
        self.check();
        for pod in self.pods.keys().cloned().collect::<Vec<_>>() {
            fs::remove_file(self.node.manifest(&pod)).unwrap();
        }
        (self.pods, self.broken, self.marks) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        self.check();
        self.check_disks();
        self.revive();
        if let Some(agent) = self.agent.take() {
            agent.stop();
        }
        self.check_leftovers();
    }

    /// The data of every persistent volume that keeps it, by a pod that has them all.
    fn check_disks(&mut self) {
        if !self.kinds.contains(&Kind::Loop) {
            return;
        }
        let all = Kind::Loop.disks().iter().map(|disk| Wanted {
            pod: "last".to_owned(),
            kind: Kind::Loop,
            volume: (*disk).to_owned(),
        });
        let all: Vec<_> = all.collect();
        self.node.put("last.yaml", &pod_text("last", &all));
        self.pods.insert("last".to_owned(), all);
        self.check();
        fs::remove_file(self.node.manifest("last")).unwrap();
        self.pods.clear();
        self.check();
    }

    fn check_leftovers(&self) {
        let mut left = Vec::new();
        if !self.node.mounts().is_empty() {
            left.push(format!("mounts {:?}", self.node.mounts()));
        }
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let devices = self.node.root().join("plugins");
        left.extend(
            table.lines().filter(|line| line.contains(&*devices.to_string_lossy())).map(str::to_owned),
        );
        left.extend(self.node.leftovers().iter().map(|path| path.display().to_string()));
        left.extend(entries(&self.node.top().join("attached")).map(|name| format!("attached {name}")));
        let loops =
            program("losetup").args(["--list", "--noheadings", "--output", "BACK-FILE"]).output().unwrap();
        let here = self.node.top().display().to_string();
        left.extend(
            String::from_utf8_lossy(&loops.stdout)
                .lines()
                .filter(|line| line.contains(&here))
                .map(str::to_owned),
        );
        left.extend(entries(Path::new("/proc")).filter_map(|name| stray(&name)));
        if !left.is_empty() {
            self.fail(&format!("left behind: {left:#?}"));
        }
    }

    pub(crate) fn figures(&self) -> String {
        let counts: Vec<_> = self.counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        counts.join(", ")
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = String> {
    let listing = fs::read_dir(directory).into_iter().flatten().flatten();
    listing.filter_map(|entry| entry.file_name().into_string().ok())
}

/// A process in our namespace that is neither this one nor its parent nor a moment's tool. The kernel's are not here.
fn stray(pid: &str) -> Option<String> {
    let pid: u32 = pid.parse().ok()?;
    if pid == 1 || pid == std::process::id() {
        return None;
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = String::from_utf8_lossy(&line).replace('\0', " ");
    // An `init` that hung is ended at its deadline by the agent that asked; of a killed agent it sleeps on by itself.
    (!words.is_empty() && !words.starts_with("sleep 600")).then(|| format!("process {pid}: {words}"))
}

fn write_durably(file: &Path, text: &str) -> std::io::Result<()> {
    fs::write(file, text)?;
    fs::File::open(file)?.sync_all()
}

fn pod_text(pod: &str, volumes: &[Wanted]) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, uid: {pod}}}\nspec:\n  containers: [{{name: c}}]\n  volumes:\n"
    );
    if volumes.is_empty() {
        text.push_str("  []\n");
    }
    for (number, wanted) in volumes.iter().enumerate() {
        let line = match wanted.kind.disks() {
            [] => {
                format!("  - {{name: {}, flexVolume: {{driver: {}}}}}\n", wanted.volume, wanted.kind.name())
            }
            _ => {
                format!("  - {{name: c{number}, persistentVolumeClaim: {{claimName: {}}}}}\n", wanted.volume)
            }
        };
        text.push_str(&line);
    }
    text
}
