//! A random walk: operations on many volumes, with drivers that die at any point, against a model of what must be there.

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::cell::{Depth, caught};
use crate::matrix::{Fault, Step};
use crate::stage::{Backend, Stage, pattern, write};
use crate::support::{World, answer, tool};

const VOLUMES: usize = 30;
/// Every third one is ephemeral.
const EPHEMERAL: usize = 3;
/// Operations between two looks at everything.
const AUDIT: usize = 50;

/// What somebody does to a volume. What makes no sense at the moment must be refused, or change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// `waitforattach`, or for an ephemeral volume `mount`.
    Make,
    Mount,
    Write(u8),
    Grow,
    /// `unmountdevice`, or for an ephemeral volume `unmount`, which removes it.
    Unmount,
    /// The mount is lost, as with the machine.
    Restart,
}

/// One operation; the driver dies at its nth fail point, if it comes to so many.
#[derive(Debug, Clone, Copy)]
struct Operation {
    volume: usize,
    act: Act,
    death: Option<u8>,
}

/// What must be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Model {
    made: bool,
    mounted: bool,
    grown: bool,
    /// What its file was made of.
    written: Option<u8>,
}

fn operations(count: usize) -> impl Strategy<Value = Vec<Operation>> {
    let act = prop_oneof![
        3 => Just(Act::Make),
        3 => Just(Act::Mount),
        3 => (10..250_u8).prop_map(Act::Write),
        1 => Just(Act::Grow),
        2 => Just(Act::Unmount),
        1 => Just(Act::Restart),
    ];
    let death = prop_oneof![1 => Just(None), 1 => (1..9_u8).prop_map(Some)];
    let operation =
        (0..VOLUMES, act, death).prop_map(|(volume, act, death)| Operation { volume, act, death });
    proptest::collection::vec(operation, count)
}

/// As many operations as `FLEXVOL_WALK` says, from the seed `FLEXVOL_WALK_SEED`, or from a new one.
pub(crate) fn run(backend: &dyn Backend, depth: Depth) -> Result<(), String> {
    let count = env::var("FLEXVOL_WALK").ok().map(|text| text.parse().unwrap());
    let count = count.unwrap_or(if depth.0 == 1 { 60 } else { 200 });
    let seed = env::var("FLEXVOL_WALK_SEED").ok().map(|text| text.parse().unwrap());
    let seed: u64 = seed.unwrap_or_else(new_seed);
    println!("{}/walk: {count} operations, FLEXVOL_WALK={count} FLEXVOL_WALK_SEED={seed}", backend.name());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let operations = operations(count).new_tree(&mut runner).unwrap().current();
    caught(|| Walk::new(backend).all(&operations))
}

fn new_seed() -> u64 {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    u64::from_str_radix(&text[..8], 16).unwrap()
}

struct Walk<'a> {
    stages: Vec<Stage<'a>>,
    models: Vec<Model>,
    /// Operations that met their death.
    deaths: usize,
}

impl<'a> Walk<'a> {
    fn new(backend: &'a dyn Backend) -> Self {
        // All volumes of one driver, in one place.
        let root = tempfile::tempdir().unwrap().keep();
        let stages = (0..VOLUMES).map(|number| {
            let step = if number % EPHEMERAL == 0 { Step::Delete } else { Step::Mount };
            let name = format!("v{number}");
            Stage::at(backend, step, World::at(root.clone())).of(&name).mounted_at(&name)
        });
        let stages: Vec<_> = stages.collect();
        backend.set_up(&stages[0].world, Fault::DriverKilled);
        Self { stages, models: vec![Model::default(); VOLUMES], deaths: 0 }
    }

    fn all(&mut self, operations: &[Operation]) {
        for (number, operation) in operations.iter().enumerate() {
            if let Err(error) = caught(|| self.one(*operation)) {
                let model = self.models[operation.volume];
                panic!("operation {number}, {operation:?} on {model:?}: {error}");
            }
            if number % AUDIT == AUDIT - 1 {
                caught(|| self.audit()).unwrap_or_else(|error| panic!("after operation {number}: {error}"));
            }
        }
        self.audit();
        println!("{} drivers died", self.deaths);
    }

    fn one(&mut self, operation: Operation) {
        let Operation { volume, act, death } = operation;
        let ephemeral = volume % EPHEMERAL == 0;
        let model = self.models[volume];
        match act {
            Act::Write(seed) if model.mounted => {
                write(&self.stages[volume].file(), &pattern(seed));
                self.models[volume].written = Some(seed);
            }
            Act::Restart if model.mounted => {
                tool("umount", &[self.stages[volume].target()]);
                self.stages[volume].backend.after_restart(&self.stages[volume]);
                self.models[volume].mounted = false;
            }
            Act::Write(_) | Act::Restart => {}
            Act::Make if ephemeral => {
                self.call(volume, Step::Publish, death);
                self.models[volume] = Model { made: true, mounted: true, ..model };
            }
            Act::Make => {
                self.call(volume, Step::Create, death);
                self.models[volume].made = true;
            }
            Act::Unmount if ephemeral => {
                self.call(volume, Step::Delete, death);
                self.models[volume] = Model::default();
            }
            Act::Unmount => {
                self.call(volume, Step::Unmount, death);
                self.models[volume].mounted = false;
            }
            Act::Mount | Act::Grow if ephemeral => {}
            Act::Mount if model.made => {
                self.call(volume, Step::Mount, death);
                self.models[volume].mounted = true;
            }
            Act::Mount => self.refused(volume, Step::Mount, "does not exist"),
            Act::Grow if !model.made => self.refused(volume, Step::Grow, "does not exist"),
            Act::Grow if model.mounted && self.stages[volume].grows() => {
                self.call(volume, Step::Grow, death);
                self.models[volume].grown = true;
            }
            Act::Grow => {}
        }
        self.look_at(volume);
    }

    /// The call, which may die; then it is made again.
    fn call(&mut self, volume: usize, step: Step, death: Option<u8>) {
        let stage = &self.stages[volume];
        if let Some(point) = death {
            let mut command = stage.command(step);
            let output = command.env("FLEXVOL_FAILPOINT", format!("*#{point}=abort")).output().unwrap();
            if output.status.signal() == Some(9) {
                self.deaths += 1;
            }
        }
        let again = answer(stage.command(step).spawn().unwrap());
        assert_eq!(again.status(), "Success", "{}: {}", step.name(), again.message());
    }

    fn refused(&self, volume: usize, step: Step, words: &str) {
        answer(self.stages[volume].command(step).spawn().unwrap()).failure(&[words]);
    }

    /// The volume is as the model says.
    fn look_at(&self, volume: usize) {
        let (stage, model) = (&self.stages[volume], self.models[volume]);
        assert_eq!(stage.mounts().len(), usize::from(model.mounted), "v{volume}: mounts");
        if !model.mounted {
            return;
        }
        let file = fs::read(stage.file()).ok();
        assert!(file == model.written.map(pattern), "v{volume}: its file has changed");
        let names = fs::read_dir(stage.target()).unwrap().count();
        assert!(names <= 2, "v{volume}: {names} files in it");
        let figures = rustix::fs::statvfs(stage.target()).unwrap();
        assert_eq!(figures.f_blocks * figures.f_frsize > stage.size(), model.grown, "v{volume}: its size");
    }

    /// All volumes are as the model says, and nothing else is there.
    fn audit(&self) {
        (0..VOLUMES).for_each(|volume| self.look_at(volume));
        let stage = &self.stages[0];
        let volumes = stage.inventory().iter().filter(|line| is_volume(line)).count();
        let made = self.models.iter().filter(|model| model.made).count();
        assert_eq!(volumes, made, "volumes: {:?}", stage.inventory());
        stage.backend.check_foreign(&stage.world);
    }
}

/// A line of an inventory that stands for one whole volume: an image, or a logical volume that is ready.
fn is_volume(line: &str) -> bool {
    let image = line.contains(".img ") && !line.contains("other.img") && !line.contains("/.");
    image || line.starts_with("fv.") && line.contains("state=ready") && !line.contains("neighbour")
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        let root = self.stages[0].world.path("");
        self.stages.clear();
        // Nothing is mounted in it any more, or this fails and leaves it.
        if let Err(error) = fs::remove_dir_all(&root) {
            println!("{} is left: {error}", root.display());
        }
    }
}
