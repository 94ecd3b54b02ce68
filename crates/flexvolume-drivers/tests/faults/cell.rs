//! One cell of the matrix: a step under a fault, in each way in which the fault can come about.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::matrix::{Fault, Step};
use crate::shims::{Death, Fate, Shims, can_trace};
use crate::stage::{Backend, Injection, Stage, secret_block};
use crate::support::{Answer, answer, tool};
use crate::table::Expect;

/// What came of a cell.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It holds, in so many ways.
    Holds(usize),
    /// It cannot be tried here.
    Skipped(String),
    /// It does not hold, in these ways.
    Fails(Vec<String>),
}

/// What a step is like without a fault.
pub(crate) struct Reference {
    /// What is there afterwards.
    inventory: Vec<String>,
    /// The driver's fail points.
    points: Vec<String>,
    /// The tools that it starts.
    starts: Vec<String>,
}

/// One way in which a fault comes about.
enum Way {
    Backend(&'static str),
    Point(String),
    Tool(Fate),
    Callers(usize),
    Busy,
    Restart,
}

impl Way {
    fn name(&self) -> String {
        match self {
            Way::Backend(variant) => (*variant).to_owned(),
            Way::Point(point) => point.clone(),
            Way::Tool(fate) => fate.name(),
            Way::Callers(count) => format!("{count} callers"),
            Way::Busy | Way::Restart => String::new(),
        }
    }
}

/// How many ways of each cell are tried at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depth(pub(crate) usize);

impl Depth {
    /// As many as `FLEXVOL_FAULTS_WAYS` says, or all.
    pub(crate) fn asked() -> Self {
        Self(std::env::var("FLEXVOL_FAULTS_WAYS").map_or(usize::MAX, |text| text.parse().unwrap()))
    }

    /// So many of them at most, from everywhere among them.
    pub(crate) fn choose<T>(self, ways: Vec<T>) -> Vec<T> {
        let (have, take) = (ways.len(), self.0.min(ways.len()));
        let chosen = |at: &usize| (0..take).any(|turn| (2 * turn + 1) * have / (2 * take) == *at);
        ways.into_iter().enumerate().filter(|(at, _)| chosen(at)).map(|(_, way)| way).collect()
    }
}

/// Steps without a fault that have been taken already: what they are like depends on the step, and on what is there before.
#[derive(Default)]
pub(crate) struct References(HashMap<String, Result<Rc<Reference>, String>>);

impl References {
    fn get(&mut self, backend: &dyn Backend, step: Step, fault: Fault) -> Result<Rc<Reference>, String> {
        let key = format!("{} {step:?} {}", backend.name(), is_there(step, fault));
        let taken = || caught(|| Rc::new(reference(backend, step, fault)));
        self.0.entry(key).or_insert_with(taken).clone()
    }
}

/// Tries a cell.
pub(crate) fn run(
    backend: &dyn Backend,
    (step, fault, expect): (Step, Fault, Expect),
    references: &mut References,
    depth: Depth,
) -> Verdict {
    if let Err(why) = backend.shape(step) {
        return Verdict::Skipped(why);
    }
    let reference = match references.get(backend, step, fault) {
        Ok(reference) => reference,
        Err(error) => return Verdict::Fails(vec![format!("without a fault: {error}")]),
    };
    let ways = match ways(backend, step, (fault, &reference)) {
        Ok(ways) => depth.choose(ways),
        Err(why) => return Verdict::Skipped(why),
    };
    let mut failures = Vec::new();
    for way in &ways {
        let case = Case { backend, step, fault, expect, reference: &reference };
        if let Err(error) = caught(|| case.run(way)) {
            failures.push(format!("{}: {error}", way.name()));
        }
    }
    if failures.is_empty() { Verdict::Holds(ways.len()) } else { Verdict::Fails(failures) }
}

/// The text of a panic, which says what does not hold.
pub(crate) fn caught<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(body)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// Takes the step without a fault.
fn reference(backend: &dyn Backend, step: Step, fault: Fault) -> Reference {
    let stage = Stage::new(backend, step, fault);
    let log = stage.world.path("points");
    let shims = Shims::new(stage.world.path("tools"), None);
    let mut command = stage.command(step);
    command.env("FLEXVOL_FAILPOINT_LOG", &log).env("PATH", shims.path());
    answer(command.spawn().unwrap()).success();
    stage.check(keeps_data(step, fault));
    settle(&stage);
    let text = fs::read_to_string(&log).unwrap_or_default();
    let reference =
        Reference { inventory: stage.inventory(), points: numbered(&text), starts: shims.starts() };
    finish(&stage);
    reference
}

/// `NAME#1`, `NAME#2` …: each passage of a point.
pub(crate) fn numbered(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let number = |at: usize| lines[..=at].iter().filter(|line| **line == lines[at]).count();
    (0..lines.len()).map(|at| format!("{}#{}", lines[at], number(at))).collect()
}

/// Whether the volume was there before the step.
fn is_there(step: Step, fault: Fault) -> bool {
    fault.needs_volume() || !(step.makes() || step == Step::Publish)
}

/// Whether the volume has data when the step is done.
pub(crate) fn keeps_data(step: Step, fault: Fault) -> bool {
    is_there(step, fault) || step.copies()
}

fn ways(
    backend: &dyn Backend,
    step: Step,
    (fault, reference): (Fault, &Reference),
) -> Result<Vec<Way>, String> {
    match fault {
        Fault::DriverKilled => {
            assert!(!reference.points.is_empty(), "the drivers have no fail points: build with all features");
            Ok(reference.points.iter().cloned().map(Way::Point).collect())
        }
        Fault::ToolKilled => {
            assert!(!reference.starts.is_empty(), "no tool was started");
            Ok(reference.starts.iter().flat_map(|start| deaths(start)).map(Way::Tool).collect())
        }
        Fault::TwoCallers => Ok(vec![Way::Callers(4)]),
        Fault::Busy => Ok(vec![Way::Busy]),
        Fault::Restart => Ok(vec![Way::Restart]),
        _ => Ok(backend.variants(step, fault)?.into_iter().map(Way::Backend).collect()),
    }
}

fn deaths(start: &str) -> Vec<Fate> {
    let mut deaths = vec![Death::Before, Death::After];
    if can_trace() {
        let calls = if start.starts_with("lvm") { ("ioctl", [8, 24]) } else { ("write,pwrite64", [1, 16]) };
        deaths.extend(calls.1.map(|number| Death::At(calls.0, number)));
    }
    deaths.into_iter().map(|death| Fate { start: start.to_owned(), death }).collect()
}

/// A cell, with what it is compared with.
struct Case<'a> {
    backend: &'a dyn Backend,
    step: Step,
    fault: Fault,
    expect: Expect,
    reference: &'a Reference,
}

impl Case<'_> {
    fn run(&self, way: &Way) {
        let stage = Stage::new(self.backend, self.step, self.fault);
        let injection = self.inject(&stage, way);
        let before = stage.possessions();
        self.call(&stage, way, &injection);
        if let Expect::Refuses(_) = self.expect {
            assert_eq!(stage.possessions(), before, "a refusal has changed something");
        }
        injection.end();
        for _ in 0..2 {
            let again = stage.call_step(self.step);
            assert_eq!(again.status(), "Success", "the next call: {}", again.message());
        }
        stage.check(keeps_data(self.step, self.fault));
        settle(&stage);
        assert_eq!(
            self.left(stage.inventory()),
            self.left(self.reference.inventory.clone()),
            "what is there afterwards"
        );
        finish(&stage);
    }

    /// What counts of an inventory: a volume that nobody mounts after a restart need not become active, nor one whose disk
    /// was away.
    fn left(&self, mut inventory: Vec<String>) -> Vec<String> {
        if matches!(self.fault, Fault::Restart | Fault::DeviceAbsent) {
            inventory.retain(|line| !line.ends_with(" devices"));
        }
        inventory
    }

    fn inject(&self, stage: &Stage<'_>, way: &Way) -> Injection {
        let variable = |name: &str, value| Injection::variable(name, value);
        match way {
            Way::Backend(variant) => self.backend.inject(stage, self.fault, variant),
            Way::Point(point) => variable("FLEXVOL_FAILPOINT", format!("{point}=abort")),
            Way::Tool(fate) => variable("PATH", Shims::new(stage.world.path("tools"), Some(fate)).path()),
            Way::Callers(_) => Injection::default(),
            Way::Busy => make_busy(stage),
            Way::Restart => restart(stage),
        }
    }

    fn call(&self, stage: &Stage<'_>, way: &Way, injection: &Injection) {
        if let Way::Callers(count) = way {
            let children: Vec<_> = (0..*count).map(|_| stage.command(self.step).spawn().unwrap()).collect();
            for answer in children.into_iter().map(answer).collect::<Vec<_>>() {
                answer.success();
            }
            return;
        }
        let mut command = stage.command(self.step);
        command.envs(injection.environment.iter().map(|(name, value)| (name, value)));
        let mut child = command_under(injection, || command.spawn().unwrap());
        if let Some(lock) = &mut child.1 {
            thread::sleep(Duration::from_secs(1));
            assert!(child.0.try_wait().unwrap().is_none(), "the call did not wait for the lock");
            lock.unlock().unwrap();
        }
        let first = answer(child.0);
        self.judge(way, &first);
    }

    fn judge(&self, way: &Way, first: &Answer) {
        if matches!(way, Way::Point(_)) {
            assert_eq!(first.signal, Some(9), "the driver was to die: {first:?}");
            return;
        }
        match self.expect {
            Expect::Converges => {
                assert!(first.status() == "Success" || first.status() == "Failure", "{first:?}");
                assert!(first.status() == "Success" || !first.message().is_empty(), "no word on what failed");
            }
            Expect::Succeeds => assert_eq!(first.status(), "Success", "{}", first.message()),
            Expect::Refuses(words) => {
                assert_eq!(first.status(), "Failure", "{first:?}");
                for word in words {
                    assert!(first.message().contains(word), "{word:?} is missing in {:?}", first.message());
                }
            }
            Expect::Never(why) => unreachable!("{why}"),
        }
    }
}

/// Starts the call while the injection's lock is held, if it has one.
fn command_under<T>(injection: &Injection, start: impl FnOnce() -> T) -> (T, Option<File>) {
    let lock = injection.lock.as_ref().map(|path| {
        let file = File::options().create(true).append(true).open(path).unwrap();
        file.lock().unwrap();
        file
    });
    (start(), lock)
}

/// Something keeps the step from its mount dir, or uses the volume.
fn make_busy(stage: &Stage<'_>) -> Injection {
    let target = stage.target().to_owned();
    match stage.step {
        Step::Mount | Step::Publish => {
            tool("mount", &["-t", "tmpfs", "foreign", &target]);
            write_in(&target);
            Injection::healed_by(move || {
                assert_eq!(fs::read_to_string(Path::new(&target).join("foreign")).unwrap(), "x");
                tool("umount", &[&target]);
            })
        }
        Step::Grow => {
            let stop = Arc::new(AtomicBool::new(false));
            let (told, path) = (Arc::clone(&stop), Path::new(&target).join("busy"));
            let writer = thread::spawn(move || {
                let mut file = File::create(path).unwrap();
                while !told.load(Ordering::Relaxed) {
                    file.write_all(&[1; 4096]).unwrap();
                    file.sync_data().unwrap();
                    thread::sleep(Duration::from_millis(20));
                }
            });
            Injection::healed_by(move || {
                stop.store(true, Ordering::Relaxed);
                writer.join().unwrap();
            })
        }
        Step::DeleteVolume => {
            stage.call_step(Step::Mount).success();
            Injection::healed_by(move || drop(tool("umount", &[&target])))
        }
        _ => {
            let held = File::open(stage.file()).unwrap();
            Injection::healed_by(move || drop(held))
        }
    }
}

fn write_in(target: &str) {
    fs::write(Path::new(target).join("foreign"), "x").unwrap();
}

/// The mount is gone, and what was in memory with it.
fn restart(stage: &Stage<'_>) -> Injection {
    if !stage.mounts().is_empty() {
        tool("umount", &[stage.target()]);
    }
    stage.backend.after_restart(stage);
    let grows = stage.step == Step::Grow;
    let mount = grows.then(|| stage.command(Step::Mount));
    Injection::healed_by(move || {
        if let Some(mut mount) = mount {
            answer(mount.spawn().unwrap()).success();
        }
    })
}

/// Waits for what goes by itself after a mount.
fn settle(stage: &Stage<'_>) {
    if stage.mounts().is_empty() {
        stage.world.assert_no_loops();
    }
}

/// Unmounts what the step leaves mounted, and looks at the others and at our data once more.
fn finish(stage: &Stage<'_>) {
    match stage.step {
        Step::Mount | Step::Grow => {
            stage.call_step(Step::Unmount).success();
            stage.call_step(Step::Mount).success();
            stage.check_data();
            stage.call_step(Step::Unmount).success();
        }
        Step::Publish => drop(stage.call_step(Step::Delete).success()),
        _ => {}
    }
    stage.world.assert_no_loops();
    stage.check_others();
    if matches!(stage.step, Step::DeleteVolume | Step::Publish | Step::Delete) {
        assert_eq!(stage.backend.inventory(&stage.world), stage.empty, "what is left of a removed volume");
    }
    if stage.step == Step::DeleteVolume {
        assert!(!stage.backend.shows(&secret_block()), "data of a volume that was erased can still be read");
    }
}
