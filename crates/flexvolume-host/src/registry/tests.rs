//! Discovery over real plugin directories and drivers that only answer.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use flexvolume_os::System;
use flexvolume_os::command::Command;
use flexvolume_os::fake::{FakeMounter, output};
use flexvolume_os::runner::{Output, Runner, StartError};
use tempfile::TempDir;

use super::*;
use crate::{Deadlines, SecretError, SecretObject, SecretSource};

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn secret(&self, _namespace: &str, name: &str) -> Result<SecretObject, SecretError> {
        Err(SecretError::NotFound { name: name.to_owned() })
    }
}

/// Answers with the content of the program; one that says `hang` waits for the test.
struct Contents {
    runs: AtomicUsize,
    hang: Mutex<Receiver<()>>,
}

impl Runner for Contents {
    fn run(&self, command: &Command) -> Result<Output, StartError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let content = fs::read(command.program()).unwrap();
        if content == b"hang" {
            self.hang.lock().unwrap().recv().unwrap();
        }
        Ok(output(0, content))
    }
}

struct Stage {
    directory: TempDir,
    runner: Arc<Contents>,
    release: std::sync::mpsc::Sender<()>,
}

impl Stage {
    fn new() -> Self {
        let (release, hang) = channel();
        let runner = Contents { runs: AtomicUsize::new(0), hang: Mutex::new(hang) };
        Self { directory: tempfile::tempdir().unwrap(), runner: Arc::new(runner), release }
    }

    fn plugin_dir(&self) -> PathBuf {
        self.directory.path().join("exec")
    }

    fn registry(&self, reading: Reading) -> Registry {
        let second = self.directory.path().join("second");
        let system = System { runner: self.runner.clone(), mounter: Arc::new(FakeMounter::new()) };
        let host = VolumeHost {
            root: self.directory.path().to_owned(),
            node: String::new(),
            system,
            secrets: Arc::new(NoSecrets),
            reading,
            deadlines: Deadlines::default(),
            settings: Arc::default(),
        };
        let plugin_dirs = match reading {
            Reading::Strict => vec![self.plugin_dir()],
            Reading::Tolerant => vec![self.plugin_dir(), second],
        };
        Registry::new(Arc::new(host), plugin_dirs)
    }

    fn runs(&self) -> usize {
        self.runner.runs.load(Ordering::Relaxed)
    }
}

const GOOD: &str = r#"{"status":"Success","capabilities":{"attach":false}}"#;
const ATTACHABLE: &str = r#"{"status":"Success"}"#;

fn install(plugin_dir: &Path, directory: &str, program: &str, content: &str) {
    fs::create_dir_all(plugin_dir.join(directory)).unwrap();
    fs::write(plugin_dir.join(directory).join(program), content).unwrap();
}

fn name(name: &str) -> DriverName {
    DriverName::parse(name).unwrap()
}

#[test]
fn only_the_driver_that_is_wanted_is_run_and_only_once() {
    let stage = Stage::new();
    for driver in ["a", "b", "c"] {
        install(&stage.plugin_dir(), &format!("acme~{driver}"), driver, GOOD);
    }
    let registry = stage.registry(Reading::Tolerant);
    assert_eq!(stage.runs(), 0);
    registry.find_by_name(&name("acme/b")).unwrap();
    registry.find_by_name(&name("acme/b")).unwrap();
    assert_eq!(stage.runs(), 1);
    fs::write(stage.plugin_dir().join("acme~b/log"), "x").unwrap();
    registry.find_by_name(&name("acme/b")).unwrap();
    assert_eq!(stage.runs(), 1, "what is not the program does not count");
}

#[test]
fn a_new_program_is_asked_again() {
    let stage = Stage::new();
    install(&stage.plugin_dir(), "acme~disk", "disk", GOOD);
    let registry = stage.registry(Reading::Tolerant);
    let old = registry.find_by_name(&name("acme/disk")).unwrap();
    install(&stage.plugin_dir(), "acme~disk", ".disk.new", ATTACHABLE);
    fs::rename(stage.plugin_dir().join("acme~disk/.disk.new"), stage.plugin_dir().join("acme~disk/disk"))
        .unwrap();
    let new = registry.find_by_name(&name("acme/disk")).unwrap();
    assert!(!old.capabilities().attach && new.capabilities().attach);
}

#[test]
fn a_broken_driver_hides_no_other() {
    let stage = Stage::new();
    install(&stage.plugin_dir(), "acme~bad", "bad", "no json");
    install(&stage.plugin_dir(), "acme~good", "good", GOOD);
    install(&stage.plugin_dir(), "Acme~name", "name", GOOD);
    install(&stage.plugin_dir(), ".acme~hidden", "hidden", GOOD);
    fs::create_dir(stage.plugin_dir().join("acme~half")).unwrap();
    fs::write(stage.plugin_dir().join("README"), "x").unwrap();
    let (plugins, broken) = stage.registry(Reading::Tolerant).list();
    let plugins: Vec<_> = plugins.iter().map(|plugin| plugin.name().to_string()).collect();
    assert_eq!(plugins, ["acme/good"]);
    let broken: Vec<_> =
        broken.iter().map(|broken| broken.directory.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(broken, ["Acme~name", "acme~bad", "acme~half"]);
}

#[test]
fn a_program_that_failed_is_not_run_again_at_once() {
    let stage = Stage::new();
    install(&stage.plugin_dir(), "acme~bad", "bad", "no json");
    let registry = stage.registry(Reading::Tolerant);
    for _ in 0..3 {
        assert!(matches!(registry.find_by_name(&name("acme/bad")), Err(RegistryError::Unusable { .. })));
    }
    let runs = stage.runs();
    install(&stage.plugin_dir(), "acme~bad", "bad", GOOD);
    registry.find_by_name(&name("acme/bad")).unwrap();
    assert_eq!(stage.runs(), runs + 1);
}

#[test]
fn the_first_directory_wins_and_a_missing_one_is_no_matter() {
    let stage = Stage::new();
    let second = stage.directory.path().join("second");
    install(&second, "acme~disk", "disk", ATTACHABLE);
    let registry = stage.registry(Reading::Tolerant);
    assert!(registry.find_by_name(&name("acme/disk")).unwrap().capabilities().attach);
    install(&stage.plugin_dir(), "acme~disk", "disk", GOOD);
    assert!(!registry.find_by_name(&name("acme/disk")).unwrap().capabilities().attach);
    let error = registry.find_by_name(&name("acme/dsik")).unwrap_err();
    assert_eq!(error.to_string(), "no volume plugin matched name: acme/dsik (installed: acme/disk)");
}

#[test]
fn a_driver_that_hangs_stops_only_itself() {
    let stage = Stage::new();
    install(&stage.plugin_dir(), "acme~slow", "slow", "hang");
    install(&stage.plugin_dir(), "acme~good", "good", GOOD);
    let registry = stage.registry(Reading::Tolerant);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| registry.find_by_name(&name("acme/slow")));
        while stage.runs() == 0 {
            std::thread::yield_now();
        }
        registry.find_by_name(&name("acme/good")).unwrap();
        assert!(!slow.is_finished());
        stage.release.send(()).unwrap();
        slow.join().unwrap().unwrap_err();
    });
}

#[test]
fn the_strict_reading_runs_all_at_start_and_then_what_has_changed() {
    let stage = Stage::new();
    install(&stage.plugin_dir(), "acme~a", "a", GOOD);
    install(&stage.plugin_dir(), "acme~b", "b", GOOD);
    let registry = stage.registry(Reading::Strict);
    registry.find_by_name(&name("acme/a")).unwrap();
    assert_eq!(stage.runs(), 2);
    fs::write(stage.plugin_dir().join("acme~b/log"), "x").unwrap();
    registry.find_by_name(&name("acme/a")).unwrap();
    registry.find_by_name(&name("acme/a")).unwrap();
    assert_eq!(stage.runs(), 3);
    fs::remove_file(stage.plugin_dir().join("acme~a/a")).unwrap();
    let error = registry.find_by_name(&name("acme/a")).unwrap_err();
    assert_eq!(error.to_string(), "no volume plugin matched name: acme/a");
}
