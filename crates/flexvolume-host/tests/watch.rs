//! A watch of real plugin directories with real drivers: small shell programs that note each `init`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flexvolume_host::contract::DriverName;
use flexvolume_host::os::System;
use flexvolume_host::registry::{DriverEvent, Registry, WatchError, Watcher};
use flexvolume_host::{Deadlines, Reading, SecretError, SecretObject, SecretSource, VolumeHost};

const SETTLE: Duration = Duration::from_millis(100);
const GOOD: &str = r#"echo '{"status": "Success", "capabilities": {"attach": false}}'"#;
const BAD: &str = r#"echo '{"status": "Failure", "message": "no kernel module"}'; exit 1"#;

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn secret(&self, _namespace: &str, name: &str) -> Result<SecretObject, SecretError> {
        Err(SecretError::NotFound { name: name.to_owned() })
    }
}

struct Stage {
    directory: tempfile::TempDir,
    registry: Arc<Registry>,
}

impl Stage {
    /// With the plugin directories `first` and `second`, neither of which is there.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let host = VolumeHost {
            root: directory.path().join("root"),
            node: "node".to_owned(),
            system: System::host(),
            secrets: Arc::new(NoSecrets),
            reading: Reading::Tolerant,
            deadlines: Deadlines { question: Duration::from_secs(2), ..Deadlines::default() },
            settings: Arc::default(),
        };
        let plugin_dirs = vec![directory.path().join("above/first"), directory.path().join("second")];
        let registry = Arc::new(Registry::new(Arc::new(host), plugin_dirs));
        Self { directory, registry }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    /// Puts a driver into place in one step.
    fn install(&self, plugin_dir: &str, driver: &str, does: &str) {
        let directory = self.path(plugin_dir).join(format!("example.com~{driver}"));
        fs::create_dir_all(&directory).unwrap();
        let temporary = directory.join(".new");
        write_program(&temporary, &self.program(driver, does));
        fs::rename(temporary, directory.join(driver)).unwrap();
    }

    fn remove(&self, plugin_dir: &str, driver: &str) {
        let directory = self.path(plugin_dir).join(format!("example.com~{driver}"));
        fs::remove_file(directory.join(driver)).unwrap();
        fs::remove_dir(directory).unwrap();
    }

    fn program(&self, driver: &str, does: &str) -> String {
        format!("#!/bin/sh\necho x >>{}/{driver}.inits\n{does}\n", self.directory.path().display())
    }

    fn inits(&self, driver: &str) -> usize {
        fs::read(self.path(&format!("{driver}.inits"))).map_or(0, |lines| lines.len() / 2)
    }

    fn watch(&self) -> Watcher {
        self.registry.watch(SETTLE).unwrap()
    }
}

fn write_program(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn words(event: &DriverEvent) -> String {
    match event {
        DriverEvent::Added(plugin) => format!("added {}", plugin.name()),
        DriverEvent::Updated(plugin) => format!("updated {}", plugin.name()),
        DriverEvent::Removed(name) => format!("removed {name}"),
        DriverEvent::Broken(broken) => {
            format!("broken {}: {}", broken.directory.file_name().unwrap().display(), broken.why)
        }
        other => format!("{other:?}"),
    }
}

/// What is told until as many events are there, or for ten seconds.
fn told(watcher: &mut Watcher, count: usize) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(10);
    let mut all = Vec::new();
    while all.len() < count && Instant::now() < end {
        all.extend(watcher.poll(Duration::from_millis(200)).unwrap().iter().map(words));
    }
    all.sort();
    all
}

/// What is told within a time in which nothing should happen.
fn told_within(watcher: &mut Watcher, time: Duration) -> Vec<String> {
    let end = Instant::now() + time;
    let mut all = Vec::new();
    while Instant::now() < end {
        all.extend(watcher.poll(Duration::from_millis(50)).unwrap().iter().map(words));
    }
    all
}

#[test]
fn drivers_come_change_break_heal_and_go() {
    let stage = Stage::new();
    stage.install("second", "a", GOOD);
    let mut watcher = stage.watch();
    assert_eq!(told(&mut watcher, 1), ["added example.com/a"]);
    stage.install("second", "b", GOOD);
    assert_eq!(told(&mut watcher, 1), ["added example.com/b"]);
    stage.install("second", "b", &format!("{GOOD} # newer"));
    assert_eq!(told(&mut watcher, 1), ["updated example.com/b"]);
    stage.install("second", "b", BAD);
    assert_eq!(told(&mut watcher, 1), ["broken example.com~b: no kernel module"]);
    stage.install("second", "b", GOOD);
    assert_eq!(told(&mut watcher, 1), ["added example.com/b"]);
    stage.remove("second", "b");
    assert_eq!(told(&mut watcher, 1), ["removed example.com/b"]);
    assert_eq!((stage.inits("a"), stage.inits("b")), (1, 4));
}

#[test]
fn plugin_directories_may_come_late_go_and_be_replaced() {
    let stage = Stage::new();
    let mut watcher = stage.watch();
    assert_eq!(told_within(&mut watcher, SETTLE), [""; 0]);
    stage.install("above/first", "a", GOOD);
    assert_eq!(told(&mut watcher, 1), ["added example.com/a"]);
    fs::rename(stage.path("above"), stage.path("away")).unwrap();
    assert_eq!(told(&mut watcher, 1), ["removed example.com/a"]);
    stage.install("above/first", "b", GOOD);
    assert_eq!(told(&mut watcher, 1), ["added example.com/b"]);
}

#[test]
fn a_driver_that_writes_beside_itself_is_asked_once() {
    let stage = Stage::new();
    stage.install("second", "noisy", &format!("echo log >>\"$(dirname \"$0\")/log\"\n{GOOD}"));
    let mut watcher = stage.watch();
    assert_eq!(told(&mut watcher, 1), ["added example.com/noisy"]);
    for _ in 0..5 {
        fs::write(stage.path("second/example.com~noisy/log"), "more").unwrap();
        assert_eq!(told_within(&mut watcher, SETTLE), [""; 0]);
    }
    assert_eq!(stage.inits("noisy"), 1);
}

#[test]
fn a_program_that_is_still_being_written_is_left_alone() {
    let stage = Stage::new();
    // Long, so that a busy machine does not make a pause of the writer look like its end.
    let mut watcher = stage.registry.watch(Duration::from_secs(1)).unwrap();
    let directory = stage.path("second/example.com~slow");
    fs::create_dir_all(&directory).unwrap();
    let text = stage.program("slow", GOOD);
    let (half, _) = text.split_at(text.len() / 2);
    for part in [1, half.len() / 2, half.len(), text.len()] {
        write_program(&directory.join("slow"), &text[..part]);
        assert_eq!(told_within(&mut watcher, SETTLE), [""; 0]);
    }
    assert_eq!(told(&mut watcher, 1), ["added example.com/slow"]);
    assert_eq!(stage.inits("slow"), 1);
}

#[test]
fn drivers_that_hang_hold_up_nobody_and_are_ended_at_the_deadline() {
    let stage = Stage::new();
    for number in 0..40 {
        stage.install("second", &format!("a{number}-hangs"), "exec sleep 60");
    }
    for number in 0..40 {
        stage.install("second", &format!("b{number}"), GOOD);
    }
    let mut watcher = stage.watch();
    let first = told(&mut watcher, 40);
    assert!(first.iter().all(|words| words.starts_with("added example.com/b")), "{first:?}");
    let broken = told(&mut watcher, 40);
    assert_eq!(broken.len(), 40);
    assert!(broken.iter().all(|words| words.contains("-hangs: ")), "{broken:?}");
}

#[test]
fn a_broken_driver_is_told_of_once_and_tried_again() {
    let stage = Stage::new();
    let (proof, good) = (stage.path("module"), GOOD);
    stage.install("second", "a", &format!("[ -e {} ] || {{ {BAD}; }}\n{good}", proof.display()));
    let mut watcher = stage.watch();
    assert_eq!(told(&mut watcher, 1), ["broken example.com~a: no kernel module"]);
    assert_eq!(told_within(&mut watcher, Duration::from_millis(1500)), [""; 0]);
    let tries = stage.inits("a");
    assert!((2..=3).contains(&tries), "{tries}");
    fs::write(proof, "").unwrap();
    assert_eq!(told(&mut watcher, 1), ["added example.com/a"]);
}

#[test]
fn the_first_plugin_directory_wins_and_the_other_driver_is_reported() {
    let stage = Stage::new();
    stage.install("above/first", "a", GOOD);
    stage.install("second", "a", GOOD);
    let shadowed = stage.registry.shadowed().unwrap();
    assert_eq!(shadowed.len(), 1);
    assert_eq!(shadowed[0].directory, stage.path("second/example.com~a"));
    assert_eq!(shadowed[0].by, stage.path("above/first/example.com~a"));
    let mut watcher = stage.watch();
    assert_eq!(told(&mut watcher, 1), ["added example.com/a"]);
    stage.remove("above/first", "a");
    assert_eq!(told(&mut watcher, 1), ["updated example.com/a"]);
    let plugin = stage.registry.find_by_name(&DriverName::parse("example.com/a").unwrap()).unwrap();
    assert_eq!(plugin.executable(), stage.path("second/example.com~a/a"));
}

#[test]
fn links_are_followed_and_changes_behind_them_noticed() {
    let stage = Stage::new();
    stage.install("elsewhere", "a", GOOD);
    write_program(&stage.path("b-program"), &stage.program("b", GOOD));
    fs::create_dir_all(stage.path("second/example.com~b")).unwrap();
    symlink(stage.path("b-program"), stage.path("second/example.com~b/b")).unwrap();
    symlink(stage.path("elsewhere/example.com~a"), stage.path("second/example.com~a")).unwrap();
    symlink("nowhere", stage.path("second/example.com~dangling")).unwrap();
    let mut watcher = stage.watch();
    assert_eq!(told(&mut watcher, 2), ["added example.com/a", "added example.com/b"]);
    stage.install("elsewhere", "a", &format!("{GOOD} # newer"));
    assert_eq!(told(&mut watcher, 1), ["updated example.com/a"]);
    write_program(&stage.path("b-program"), &stage.program("b", &format!("{GOOD} # newer")));
    assert_eq!(told(&mut watcher, 1), ["updated example.com/b"]);
}

#[test]
fn what_is_no_driver_is_told_of_and_hides_no_healthy_one() {
    let stage = Stage::new();
    fs::create_dir_all(stage.path("above")).unwrap();
    fs::write(stage.path("above/first"), "a file").unwrap();
    stage.install("second", "a", GOOD);
    stage.install("second/.example.com~tmp", "hidden", GOOD);
    fs::create_dir(stage.path("second/Upper~case")).unwrap();
    fs::create_dir(stage.path("second/example.com~empty")).unwrap();
    fs::write(stage.path("second/README"), "").unwrap();
    stage.install("second", "plain-file", "");
    fs::set_permissions(
        stage.path("second/example.com~plain-file/plain-file"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let mut watcher = stage.watch();
    let told = told(&mut watcher, 5);
    assert_eq!(told[0], "added example.com/a");
    assert!(told[1].starts_with("broken Upper~case: driver name \"Upper/case\""), "{told:?}");
    assert!(told[2].starts_with("broken example.com~empty: it holds no program \"empty\""), "{told:?}");
    assert!(told[3].contains("plain-file: ") && told[3].contains("not executable"), "{told:?}");
    assert_eq!(told[4], "broken first: it is not a directory: give a plugin directory");
    assert_eq!(told_within(&mut watcher, SETTLE * 3), [""; 0]);
}

#[test]
fn a_strict_registry_is_not_watched() {
    let stage = Stage::new();
    let host = VolumeHost {
        root: stage.path("root"),
        node: "node".to_owned(),
        system: System::host(),
        secrets: Arc::new(NoSecrets),
        reading: Reading::Strict,
        deadlines: Deadlines::default(),
        settings: Arc::default(),
    };
    let registry = Arc::new(Registry::new(Arc::new(host), vec![stage.path("second")]));
    assert!(matches!(registry.watch(SETTLE), Err(WatchError::Strict)));
}

#[test]
fn a_watcher_that_is_given_up_ends_while_a_driver_hangs() {
    let stage = Stage::new();
    stage.install("second", "hangs", "exec sleep 60");
    let mut watcher = stage.watch();
    assert_eq!(told_within(&mut watcher, SETTLE), [""; 0]);
    assert!(watcher.is_busy());
    let begun = Instant::now();
    drop(watcher);
    assert!(begun.elapsed() < Duration::from_secs(1));
    // Its deadline passes before the test ends: no process is left behind.
    thread::sleep(Duration::from_millis(2300));
}
