//! A world with one volume in it, brought to where a step begins.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::matrix::{Fault, Matrix, Step};
use crate::support::{Answer, Program, World, answer, options, pod_options, tool};

pub(crate) const UID: &str = "0b5c8f1e-6d1a-4c55-9d3e-2f6a1c0e7b11";
const MIB: u64 = 1 << 20;

/// What differs between loop files and logical volumes.
pub(crate) trait Backend {
    /// In front of the names of its cases.
    fn name(&self) -> &'static str;
    /// What must hold.
    fn matrix(&self) -> &'static Matrix;
    /// The driver of volumes that stay.
    fn persistent(&self) -> Program;
    /// The driver of volumes that go with their pod.
    fn ephemeral(&self) -> Program;
    /// The file system of volumes for this step, and their size.
    fn shape(&self, step: Step) -> Result<(&'static str, &'static str), String>;
    /// The user's options that say where volumes are, and which one this is.
    fn place(&self, volume: &str) -> Vec<(&'static str, String)>;
    /// More options of the volume that a step is about.
    fn layout(&self, step: Step) -> &'static [(&'static str, &'static str)];
    /// Whether these bytes, all of a block, can be read where a removed volume was.
    fn shows(&self, _block: &[u8]) -> bool {
        false
    }
    /// Makes the place where volumes are.
    fn set_up(&self, world: &World, fault: Fault);
    /// Whether the neighbour of an earlier world is still there.
    fn has_neighbour(&self) -> bool {
        false
    }
    /// Removes what would outlive the world of a volume and of a pod's volume with these names.
    fn clean_up(&self, _volume: &str, _uid: &str) {}
    /// What a restart does to devices; mounts are gone already.
    fn after_restart(&self, _stage: &Stage<'_>) {}
    /// Brings up, after a boot, the disks that volumes lie on.
    fn wake(&self) {}
    /// Checks that what is somebody else's is whole.
    fn check_foreign(&self, world: &World);
    /// What should not be there when every volume `v…` was finished with; the worlds are in this directory.
    fn leftovers(&self, worlds: &Path) -> Vec<String>;
    /// Everything there is on disk, by name: what a call leaves over shows up here.
    fn inventory(&self, world: &World) -> Vec<String>;
    /// How many devices of volumes there are.
    fn devices(&self, world: &World) -> usize;
    /// The bytes of everything that is not the volume's.
    fn others(&self, world: &World) -> BTreeMap<String, Vec<u8>>;
    /// The names of the ways in which the fault comes about; empty if it cannot be brought about here.
    fn variants(&self, step: Step, fault: Fault) -> Result<Vec<&'static str>, String>;
    /// Brings the fault about.
    fn inject(&self, stage: &Stage<'_>, fault: Fault, variant: &str) -> Injection;
}

/// A fault that was brought about.
#[derive(Default)]
pub(crate) struct Injection {
    /// For the environment of the call.
    pub(crate) environment: Vec<(String, String)>,
    /// A lock that is held while the call runs.
    pub(crate) lock: Option<PathBuf>,
    /// Ends the fault.
    pub(crate) heal: Option<Box<dyn FnOnce()>>,
}

impl Injection {
    pub(crate) fn variable(name: &str, value: String) -> Self {
        Self { environment: vec![(name.to_owned(), value)], lock: None, heal: None }
    }

    pub(crate) fn lock(path: PathBuf) -> Self {
        Self { environment: Vec::new(), lock: Some(path), heal: None }
    }

    pub(crate) fn healed_by(heal: impl FnOnce() + 'static) -> Self {
        Self { environment: Vec::new(), lock: None, heal: Some(Box::new(heal)) }
    }

    pub(crate) fn end(mut self) {
        if let Some(heal) = self.heal.take() {
            heal();
        }
    }
}

/// A case that failed ends its fault too: the next one shall not meet it.
impl Drop for Injection {
    fn drop(&mut self) {
        if let Some(heal) = self.heal.take() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(heal));
        }
    }
}

/// A world with one volume, `data`, and others.
pub(crate) struct Stage<'a> {
    pub(crate) world: World,
    pub(crate) backend: &'a dyn Backend,
    pub(crate) step: Step,
    /// The name of the volume, and the uid of the pod that has an ephemeral one.
    identity: (String, String),
    target: String,
    /// What there was before the volume.
    pub(crate) empty: Vec<String>,
    others: BTreeMap<String, Vec<u8>>,
}

impl<'a> Stage<'a> {
    /// Brought to where the step begins.
    pub(crate) fn new(backend: &'a dyn Backend, step: Step, fault: Fault) -> Self {
        let mut stage = Self::at(backend, step, World::new());
        backend.set_up(&stage.world, fault);
        if !backend.has_neighbour() {
            stage.make_neighbour();
        }
        stage.empty = backend.inventory(&stage.world);
        stage.begin(fault);
        stage.others = backend.others(&stage.world);
        assert!(stage.others.len() >= 2, "a neighbour and somebody else's: {:?}", stage.others.keys());
        stage
    }

    /// In a world, whatever is there.
    pub(crate) fn at(backend: &'a dyn Backend, step: Step, world: World) -> Self {
        let target = world.target().to_str().unwrap().to_owned();
        let identity = ("data".to_owned(), UID.to_owned());
        Self { world, backend, step, identity, target, empty: Vec::new(), others: BTreeMap::new() }
    }

    /// The same, with another volume.
    pub(crate) fn of(mut self, volume: &str) -> Self {
        self.identity = (volume.to_owned(), format!("{}-{volume}", &UID[..8]));
        self
    }

    /// The same, mounted at a place of its own.
    pub(crate) fn mounted_at(mut self, place: &str) -> Self {
        let target = self.world.path(place);
        fs::create_dir_all(&target).unwrap();
        target.to_str().unwrap().clone_into(&mut self.target);
        self
    }

    /// Another volume of the same driver, with data.
    pub(crate) fn make_neighbour(&self) {
        let target = self.world.path("neighbour");
        fs::create_dir(&target).unwrap();
        let target = target.to_str().unwrap();
        self.make(target, &self.options_of("neighbour", ("ext4", "4Mi"), &[]));
    }

    /// A volume of the same driver with a file, made with these options.
    fn make(&self, target: &str, options: &str) {
        self.call_persistent(&["waitforattach", "", options]).success();
        self.call_persistent(&["mountdevice", target, "", options]).success();
        write(&Path::new(target).join("file"), &pattern(9));
        self.call_persistent(&["unmountdevice", target]).success();
        self.world.assert_no_loops();
    }

    /// The volume, in the same thin pool, that a snapshot is taken of.
    fn make_source(&self) {
        let mut layout = self.backend.layout(Step::Snapshot).to_vec();
        layout.retain(|(key, _)| *key != "source");
        self.make(&self.target, &self.options_of("source", self.shape(), &layout));
    }

    /// What comes before the step. A fault of a volume that must be there is met by one that is.
    pub(crate) fn begin(&self, fault: Fault) {
        if self.step == Step::Snapshot {
            self.make_source();
        }
        match self.step {
            Step::Publish if fault.needs_volume() => {
                self.call_step(Step::Publish).success();
                write(&self.file(), &self.data());
                tool("umount", &[self.target()]);
                self.world.assert_no_loops();
            }
            Step::Publish => {}
            step if step.makes() && !fault.needs_volume() => {}
            Step::Delete => {
                self.call_step(Step::Publish).success();
                write(&self.file(), &self.data());
            }
            Step::Grow | Step::Unmount => {
                self.make_with_data();
                self.call_step(Step::Mount).success();
            }
            _ => self.make_with_data(),
        }
    }

    fn make_with_data(&self) {
        self.call_step(Step::Create).success();
        self.call_step(Step::Mount).success();
        write(&self.file(), &self.data());
        self.call_step(Step::Unmount).success();
        self.world.assert_no_loops();
    }

    /// What the file of the volume has.
    pub(crate) fn data(&self) -> Vec<u8> {
        match self.step {
            // As the source.
            step if step.copies() => pattern(9),
            Step::DeleteVolume => secret(),
            _ => pattern(1),
        }
    }

    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    fn target_dir(&self) -> &Path {
        Path::new(&self.target)
    }

    /// What is mounted there, as lines of the mount table.
    pub(crate) fn mounts(&self) -> Vec<String> {
        self.world.mounts_at(self.target_dir())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.target_dir().join("file")
    }

    fn options_of(&self, volume: &str, (fs_type, size): (&str, &str), layout: &[(&str, &str)]) -> String {
        let place = self.backend.place(volume);
        let mut user: Vec<(&str, &str)> = place.iter().map(|(key, value)| (*key, &**value)).collect();
        user.extend(layout);
        user.push(("size", size));
        options(fs_type, "rw", &user)
    }

    fn pod_options(&self) -> String {
        let place = self.backend.place("");
        let mut user: Vec<(&str, &str)> = place.iter().map(|(key, value)| (*key, &**value)).collect();
        user.push(("size", self.shape().1));
        pod_options(&self.identity.1, &user)
    }

    fn shape(&self) -> (&'static str, &'static str) {
        self.backend.shape(self.step).unwrap()
    }

    fn call_persistent(&self, words: &[&str]) -> Answer {
        self.world.call(self.backend.persistent(), words)
    }

    /// Whether a mounted volume can grow here.
    pub(crate) fn grows(&self) -> bool {
        self.backend.shape(Step::Grow).is_ok_and(|shape| shape == self.shape())
    }

    /// The size that the volume is made with.
    pub(crate) fn size(&self) -> u64 {
        self.grown() / 2
    }

    /// The size that `grow` asks for.
    fn grown(&self) -> u64 {
        let (_, size) = self.shape();
        2 * MIB * size.trim_end_matches("Mi").parse::<u64>().unwrap()
    }

    /// The call of a step.
    pub(crate) fn command(&self, step: Step) -> Command {
        let target = self.target();
        let options = self.options_of(&self.identity.0, self.shape(), self.backend.layout(self.step));
        let (persistent, ephemeral) = (self.backend.persistent(), self.backend.ephemeral());
        match step {
            step if step.makes() => self.world.command(persistent, &["waitforattach", "", &options]),
            Step::Mount => self.world.command(persistent, &["mountdevice", target, "", &options]),
            Step::Grow => {
                let size = self.grown().to_string();
                self.world.command(persistent, &["expandfs", &options, "", target, &size, "0"])
            }
            Step::Unmount => self.world.command(persistent, &["unmountdevice", target]),
            Step::DeleteVolume => self.world.command(persistent, &["deletevolume", &options]),
            Step::Publish => self.world.command(ephemeral, &["mount", target, &self.pod_options()]),
            _ => self.world.command(ephemeral, &["unmount", target]),
        }
    }

    pub(crate) fn call_step(&self, step: Step) -> Answer {
        answer(self.command(step).spawn().unwrap())
    }

    /// Checks what must hold when the step is done, whatever happened meanwhile.
    pub(crate) fn check(&self, keeps_data: bool) {
        match self.step {
            step if step.makes() => {
                self.check_mounted(0);
                self.call_step(Step::Mount).success();
                self.check_contents(keeps_data);
                self.call_step(Step::Unmount).success();
                self.check_mounted(0);
            }
            Step::Mount => {
                self.check_mounted(1);
                self.check_contents(true);
            }
            Step::Grow => {
                self.check_mounted(1);
                self.check_contents(true);
                let figures = rustix::fs::statvfs(self.target_dir()).unwrap();
                let size = figures.f_blocks * figures.f_frsize;
                assert!(size > self.grown() * 3 / 4, "{size} bytes after growing to {}", self.grown());
            }
            Step::Publish => {
                self.check_mounted(1);
                self.check_contents(keeps_data);
            }
            _ => self.check_mounted(0),
        }
    }

    fn check_mounted(&self, count: usize) {
        let mounts = self.mounts();
        assert_eq!(mounts.len(), count, "{mounts:?}");
    }

    /// Our file, whole, and no other.
    fn check_contents(&self, has_data: bool) {
        let entries = fs::read_dir(self.target_dir()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "lost+found" && name != "busy").collect();
        names.sort();
        let expected: &[&str] = if has_data { &["file"] } else { &[] };
        assert_eq!(names, expected, "what is in the volume");
        if has_data {
            assert!(fs::read(self.file()).unwrap() == self.data(), "our file has changed");
        }
    }

    /// Our file is whole, in a volume that is mounted again.
    pub(crate) fn check_data(&self) {
        self.check_mounted(1);
        self.check_contents(true);
    }

    /// Checks, when the volume is unmounted again, its data once more, and that nobody else's was touched.
    pub(crate) fn check_others(&self) {
        let now = self.backend.others(&self.world);
        assert_eq!(now.keys().collect::<Vec<_>>(), self.others.keys().collect::<Vec<_>>());
        for (name, bytes) in &self.others {
            assert!(now[name] == *bytes, "{name} has changed");
        }
    }

    /// Everything that is there, with devices and mounts; save what the next call uses again or removes: locks, and files
    /// that were to replace others.
    pub(crate) fn inventory(&self) -> Vec<String> {
        let mut all = self.possessions();
        all.extend(self.claims());
        all.push(format!("{} devices", self.backend.devices(&self.world)));
        all.push(format!("{} mounts", self.mounts().len()));
        all
    }

    /// What a refusal may not change: what is on disk, save the claims of mount dirs, by which `unmount` knows what was
    /// asked for.
    pub(crate) fn possessions(&self) -> Vec<String> {
        let mut all = self.lasting();
        all.retain(|name| !name.contains("claims"));
        all
    }

    fn claims(&self) -> Vec<String> {
        let mut all = self.lasting();
        all.retain(|name| name.contains("claims"));
        all
    }

    fn lasting(&self) -> Vec<String> {
        let mut all = self.backend.inventory(&self.world);
        all.retain(|name| !name.contains(".lock") && !name.contains(".tmp"));
        all
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // Also after a failure: the next world begins with nothing of this one.
        self.world.unmount_all();
        self.backend.clean_up(&self.identity.0, &self.identity.1);
    }
}

/// 256 KiB that nobody else writes.
pub(crate) fn pattern(seed: u8) -> Vec<u8> {
    (0..(256 << 10) as u32).map(|at| seed ^ at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect()
}

/// What must not be seen once it is erased: each of its blocks is the same.
fn secret() -> Vec<u8> {
    b"a secret which nobody else sees\n".repeat(8 << 10)
}

/// A block of it.
pub(crate) fn secret_block() -> Vec<u8> {
    secret()[..1024].to_vec()
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
}
