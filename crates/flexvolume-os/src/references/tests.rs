use std::fs;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::mount::{Access, FileSystemMount, MountPoint, Mounter as _, SystemMounter};

#[path = "../../tests/privately/mod.rs"]
mod privately;
use privately::privately;

/// Some lie below others, and some need escaping in the table.
const PLACES: [&str; 6] = ["a", "a/b", "a/b/c", "with space", "tab\tand\\040#", "line\nend"];

#[derive(Debug, Clone)]
enum Step {
    Mount(usize),
    Bind(usize, usize),
    Unmount(usize),
    UnmountLazily(usize),
    MakeDirectory(usize),
    /// What is bound from there is then marked as deleted.
    RemoveDirectory(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let place = || 0..PLACES.len();
    prop_oneof![
        3 => place().prop_map(Step::Mount),
        6 => (place(), place()).prop_map(|(from, to)| Step::Bind(from, to)),
        2 => place().prop_map(Step::Unmount),
        1 => place().prop_map(Step::UnmountLazily),
        3 => place().prop_map(Step::MakeDirectory),
        1 => place().prop_map(Step::RemoveDirectory),
    ]
}

fn memory() -> FileSystemMount {
    let data = vec!["size=64k".to_owned()];
    FileSystemMount { source: "memory".into(), fs_type: "tmpfs".into(), access: Access::ReadWrite, data }
}

/// Steps that are impossible do nothing: they are chosen blindly.
fn perform(root: &Path, step: &Step) {
    let place = |number: &usize| root.join(PLACES[*number]);
    let _ = match step {
        Step::Mount(at) => SystemMounter.mount(&memory(), &place(at)).ok(),
        Step::Bind(from, to) => SystemMounter.bind(&place(from), &place(to)).ok(),
        Step::Unmount(at) => SystemMounter.unmount(&place(at)).ok(),
        Step::UnmountLazily(at) => SystemMounter.unmount_lazy(&place(at)).ok(),
        Step::MakeDirectory(at) => fs::create_dir_all(place(at)).ok(),
        Step::RemoveDirectory(at) => fs::remove_dir(place(at)).ok(),
    };
}

fn sorted(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort_unstable();
    paths
}

fn from_table(path: &Path) -> Vec<PathBuf> {
    let table = SystemMounter.table().unwrap();
    sorted(table.references(path).into_iter().map(|mount| mount.mount_point.clone()).collect())
}

/// A tmpfs at a temporary directory, under its real name; everything in it goes when it is dropped.
struct Stage {
    root: PathBuf,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        SystemMounter.mount(&memory(), &root).unwrap();
        PLACES.iter().for_each(|place| fs::create_dir_all(root.join(place)).unwrap());
        Self { root, _directory: directory }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        SystemMounter.unmount_lazy(&self.root).unwrap();
    }
}

/// `None`, with a line that says so, where the kernel has to be asked for its table.
fn stage(test: &str) -> Option<Stage> {
    let stage = Stage::new();
    match ask(&stage.root) {
        Ok(found) => assert_eq!(found, Vec::<PathBuf>::new()),
        Err(error) => {
            eprintln!("skipped: {test}: needs statmount (Linux 6.8): {error}");
            return None;
        }
    }
    Some(stage)
}

#[test]
fn the_kernel_and_its_table_say_the_same() {
    const TEST: &str = "the_kernel_and_its_table_say_the_same";
    privately(&format!("references::tests::{TEST}"), || {
        if stage(TEST).is_none() {
            return;
        }
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(200) });
        let compare = |steps: Vec<Step>| {
            let stage = Stage::new();
            steps.iter().for_each(|step| perform(&stage.root, step));
            for mount in SystemMounter.table().unwrap().below(&stage.root) {
                let (path, asked) = (&mount.mount_point, ask(&mount.mount_point));
                // What another mount hides is not there for the kernel.
                if SystemMounter.mount_point(path).unwrap() == MountPoint::Yes {
                    prop_assert_eq!(sorted(asked.unwrap()), from_table(path));
                } else {
                    prop_assert!(asked.is_err());
                }
                prop_assert_eq!(sorted(SystemMounter.references(path).unwrap()), from_table(path));
            }
            Ok(())
        };
        runner.run(&prop::collection::vec(step(), 1..40), compare).unwrap();
    });
}

#[test]
fn a_mount_that_came_later_is_seen_and_one_that_went_is_not() {
    const TEST: &str = "a_mount_that_came_later_is_seen_and_one_that_went_is_not";
    privately(&format!("references::tests::{TEST}"), || {
        let Some(stage) = stage(TEST) else { return };
        let (device, user) = (stage.root.join("a"), stage.root.join("with space"));
        SystemMounter.mount(&memory(), &device).unwrap();
        assert_eq!(ask(&device).unwrap(), Vec::<PathBuf>::new());
        SystemMounter.bind(&device, &user).unwrap();
        assert_eq!(ask(&device).unwrap().as_slice(), std::slice::from_ref(&user));
        SystemMounter.unmount(&user).unwrap();
        assert_eq!(ask(&device).unwrap(), Vec::<PathBuf>::new());
    });
}

#[test]
fn a_removed_directory_is_still_the_same_one() {
    const TEST: &str = "a_removed_directory_is_still_the_same_one";
    privately(&format!("references::tests::{TEST}"), || {
        let Some(stage) = stage(TEST) else { return };
        let [source, one, other] = ["source", "one", "other"].map(|name| stage.root.join(name));
        [&source, &one, &other].into_iter().for_each(|place| fs::create_dir(place).unwrap());
        SystemMounter.bind(&source, &one).unwrap();
        SystemMounter.bind(&source, &other).unwrap();
        fs::remove_dir(&source).unwrap();
        assert!(SystemMounter.table().unwrap().top(&one).unwrap().is_root_deleted());
        assert_eq!(ask(&one).unwrap(), [other]);
        assert_eq!(from_table(&one), ask(&one).unwrap());
    });
}

#[test]
fn paths_of_any_length_are_read_whole() {
    const TEST: &str = "paths_of_any_length_are_read_whole";
    privately(&format!("references::tests::{TEST}"), || {
        let Some(stage) = stage(TEST) else { return };
        let long: PathBuf = std::iter::repeat_n("d".repeat(250), 14).collect();
        let (device, user) = (stage.root.join("a"), stage.root.join(long));
        assert!(user.as_os_str().len() > ROOM);
        fs::create_dir_all(&user).unwrap();
        SystemMounter.mount(&memory(), &device).unwrap();
        SystemMounter.bind(&device, &user).unwrap();
        assert_eq!(ask(&device).unwrap().as_slice(), std::slice::from_ref(&user));
        assert_eq!(ask(&user).unwrap(), [device]);
    });
}

#[test]
fn more_mounts_than_a_page_are_all_seen() {
    const TEST: &str = "more_mounts_than_a_page_are_all_seen";
    privately(&format!("references::tests::{TEST}"), || {
        let Some(stage) = stage(TEST) else { return };
        SystemMounter.mount(&FileSystemMount { data: Vec::new(), ..memory() }, &stage.root).unwrap();
        let place = |number: usize| stage.root.join(format!("m{number}"));
        let (device, count) = (place(0), PAGE + 200);
        (0..=count).for_each(|number| fs::create_dir(place(number)).unwrap());
        SystemMounter.mount(&memory(), &device).unwrap();
        (1..=count).for_each(|number| SystemMounter.bind(&device, &place(number)).unwrap());
        assert_eq!(sorted(ask(&device).unwrap()), from_table(&device));
        assert_eq!(ask(&device).unwrap().len(), count);
        SystemMounter.unmount_lazy(&stage.root).unwrap();
    });
}

#[test]
fn where_nothing_is_mounted_the_kernel_is_no_help() {
    let directory = tempfile::tempdir().unwrap();
    assert!(ask(directory.path()).is_err());
    assert!(ask(&directory.path().join("absent")).is_err());
    assert_eq!(SystemMounter.references(directory.path()).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn an_answer_that_is_cut_or_lies_is_an_error() {
    assert!(expect(&[0; 4], STATMOUNT_SB_BASIC).is_err());
    assert!(path(&[], offset_of!(statmount, mnt_root)).is_err());
    let mut answer = vec![0xff; size_of::<statmount>() + 8];
    assert!(path(&answer, offset_of!(statmount, mnt_root)).is_err());
    answer[offset_of!(statmount, mnt_root)..][..4].copy_from_slice(&2_u32.to_ne_bytes());
    assert!(path(&answer, offset_of!(statmount, mnt_root)).is_err(), "no string ends there");
    answer[size_of::<statmount>() + 4] = 0;
    assert_eq!(
        path(&answer, offset_of!(statmount, mnt_root)).unwrap(),
        Path::new(OsStr::from_bytes(b"\xff\xff"))
    );
}
