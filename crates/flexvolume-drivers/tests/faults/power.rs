//! Power cuts: every step is stopped at each of its fail points, the machine loses its power, and boots on the same disks.
//!
//! Two lives of the virtual machine, `before` and `after`; `$DISK3` has the drivers' state and the loop files. One cut
//! does for all points at once, since each has a volume of its own.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cell::{Depth, caught, keeps_data, numbered};
use crate::matrix::{Fault, LVM, Step};
use crate::stage::{Backend, Stage, pattern, write};
use crate::support::{World, answer, tool};

/// Where the disk with the state is mounted.
const DISK: &str = "/srv";

/// A volume that a step was stopped on.
struct Case {
    driver: String,
    step: Step,
    point: String,
    volume: String,
}

impl Case {
    fn name(&self) -> String {
        format!("{}/{}/power-cut at {}", self.driver, self.step.name(), self.point)
    }

    fn to_json(&self) -> Value {
        json!({"driver": self.driver, "step": self.step.name(), "point": self.point, "volume": self.volume})
    }

    fn from_json(json: &Value) -> Self {
        let text = |key: &str| json[key].as_str().unwrap().to_owned();
        let step = LVM.steps.iter().find(|step| step.name() == text("step")).unwrap();
        Self { driver: text("driver"), step: *step, point: text("point"), volume: text("volume") }
    }
}

fn world(volume: &str) -> PathBuf {
    Path::new(DISK).join(volume)
}

/// Stops every step at its points, and cuts the power.
pub(crate) fn before(backends: &[&dyn Backend], depth: Depth) -> ! {
    tool("mkfs.ext4", &["-q", &env::var("DISK3").unwrap()]);
    tool("mount", &[&env::var("DISK3").unwrap(), DISK]);
    let (mut cases, mut stopped) = (Vec::new(), Vec::new());
    for backend in backends {
        for step in backend.matrix().steps.iter().copied() {
            let in_short = backend.name() == "lvm" && matches!(step, Step::Create | Step::Delete);
            if depth.0 == 1 && !in_short {
                continue;
            }
            for point in Depth(depth.0.max(2)).choose(points(*backend, step)) {
                let volume = format!("v{}", cases.len());
                stopped.push(stop(*backend, step, (&volume, &point)));
                cases.push(Case { driver: backend.name().to_owned(), step, point, volume });
            }
        }
    }
    let list: Vec<Value> = cases.iter().map(Case::to_json).collect();
    write(&Path::new(DISK).join("cases"), Value::from(list).to_string().as_bytes());
    File::open(DISK).unwrap().sync_all().unwrap();
    println!("{} calls are stopped, and the power is cut", stopped.len());
    Command::new("power-cut").status().unwrap();
    unreachable!("the power was to be cut");
}

/// The fail points of a step, by taking it.
fn points(backend: &dyn Backend, step: Step) -> Vec<String> {
    let stage = Stage::new(backend, step, Fault::DriverKilled);
    let log = stage.world.path("points");
    let mut command = stage.command(step);
    answer(command.env("FLEXVOL_FAILPOINT_LOG", &log).spawn().unwrap()).success();
    numbered(&fs::read_to_string(log).unwrap())
}

/// Begins the step and leaves it at the point.
fn stop(backend: &dyn Backend, step: Step, (volume, point): (&str, &str)) -> Child {
    let stage = Stage::at(backend, step, World::at(world(volume))).of(volume);
    backend.set_up(&stage.world, Fault::DriverKilled);
    if step == Step::Copy && !backend.has_neighbour() {
        stage.make_neighbour();
    }
    stage.begin(Fault::DriverKilled);
    let log = stage.world.path("points");
    let mut command = stage.command(step);
    command.env("FLEXVOL_FAILPOINT_LOG", &log).env("FLEXVOL_FAILPOINT", format!("{point}=hang"));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !numbered(&fs::read_to_string(&log).unwrap_or_default()).iter().any(|passed| passed == point) {
        assert!(begun.elapsed() < Duration::from_secs(120), "{} never came to {point}", step.name());
        std::thread::sleep(Duration::from_millis(20));
    }
    // Not dropped: that would take the mounts down, and remove the volumes.
    std::mem::forget(stage);
    child
}

/// The next call on each volume, after the next boot.
pub(crate) fn after(backends: &[&dyn Backend]) -> (u32, u32) {
    tool("mount", &[&env::var("DISK3").unwrap(), DISK]);
    backends.iter().for_each(|backend| backend.wake());
    let list: Value = serde_json::from_slice(&fs::read(Path::new(DISK).join("cases")).unwrap()).unwrap();
    let (mut passed, mut failed) = (0, 0);
    let mut results: BTreeMap<(String, usize), (u32, u32)> = BTreeMap::new();
    for case in list.as_array().unwrap().iter().map(Case::from_json) {
        let backend = backends.iter().find(|backend| backend.name() == case.driver).unwrap();
        let result = caught(|| resume(*backend, &case));
        println!("test {} ... {}", case.name(), if result.is_ok() { "ok" } else { "FAILED" });
        let position = LVM.steps.iter().position(|step| *step == case.step).unwrap();
        let counts = results.entry((case.driver.clone(), position)).or_default();
        match result {
            Ok(()) => counts.0 += 1,
            Err(error) => {
                counts.1 += 1;
                println!("  {error}");
            }
        }
    }
    for counts in results.values() {
        passed += counts.0;
        failed += counts.1;
    }
    document(&results);
    for backend in backends {
        let left = backend.leftovers(Path::new(DISK));
        println!(
            "test {}/power-cut leaves nothing ... {}",
            backend.name(),
            if left.is_empty() { "ok" } else { "FAILED" }
        );
        if left.is_empty() {
            passed += 1;
        } else {
            failed += 1;
            println!("  {left:?}");
        }
    }
    (passed, failed)
}

fn document(results: &BTreeMap<(String, usize), (u32, u32)>) {
    let Some(directory) = env::var_os("FLEXVOL_FAULTS_DIR") else { return };
    let mut text = "## Power cuts\n\nEach call is stopped at fail points of the driver, a volume of its own for each; then the machine loses its \
        power with whatever its kernel\nhad not written, boots on the same disks, and the call is made again.\n\n| driver | step | points | converge |\n|---|---|---|---|\n"
        .to_owned();
    for ((driver, step), (passed, failed)) in results {
        text += &format!("| `{driver}` | {} | {} | {passed} |\n", LVM.steps[*step].name(), passed + failed);
    }
    fs::write(Path::new(&directory).join("power-cut.md"), text).unwrap();
}

fn resume(backend: &dyn Backend, case: &Case) {
    let stage = Stage::at(backend, case.step, World::at(world(&case.volume))).of(&case.volume);
    // A mount does not survive: what the host called before the step is called anew.
    if case.step == Step::Grow {
        answer(stage.command(Step::Mount).spawn().unwrap()).success();
    }
    for _ in 0..2 {
        let again = stage.call_step(case.step);
        assert_eq!(again.status(), "Success", "the next call: {}", again.message());
    }
    stage.check(keeps_data(case.step, Fault::DriverKilled));
    match case.step {
        Step::Mount | Step::Grow => drop(stage.call_step(Step::Unmount).success()),
        Step::Unmount => {
            stage.call_step(Step::Mount).success();
            stage.check_data();
            stage.call_step(Step::Unmount).success();
        }
        Step::Publish => drop(stage.call_step(Step::Delete).success()),
        _ => {}
    }
    backend.check_foreign(&stage.world);
    // Its volume is looked for among the leftovers.
    std::mem::forget(stage);
}

/// The bytes of somebody else's are what they were made of.
pub(crate) fn is_foreign_whole(bytes: &[u8]) -> bool {
    bytes.starts_with(&pattern(5))
}
