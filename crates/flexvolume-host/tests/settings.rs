//! Settings files and what is read from them: each folder below `tests/settings` is one settings directory with the
//! driver `acme/disk`, and says in `expected.txt` what differs from what is built in, or the error.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flexvolume_host::contract::{DriverName, Verb};
use flexvolume_host::settings::{DriverSettings, Settings};
use proptest::prelude::*;

fn disk() -> DriverName {
    DriverName::parse("acme/disk").unwrap()
}

fn read(directory: &Path) -> String {
    let built_in = DriverSettings::default().table();
    match Settings::in_directory(directory.to_owned()).of(&disk()) {
        Ok(settings) => {
            let set = settings.table().into_iter().filter(|line| !built_in.contains(line));
            set.map(|line| format!("{} = {} ({})\n", line.key, line.value, line.origin)).collect()
        }
        Err(error) => format!("error: {error}\n"),
    }
}

#[test]
fn every_case_reads_as_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/settings");
    let mut directories: Vec<PathBuf> =
        fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    directories.sort();
    assert!(directories.len() > 20, "cases are missing");
    let mut wrong = Vec::new();
    for directory in directories {
        let expected = fs::read_to_string(directory.join("expected.txt")).unwrap();
        let expected = expected.replace("@DIR@", directory.to_str().unwrap());
        let got = read(&directory);
        if got != expected {
            wrong.push(format!("{}:\nexpected {expected}got      {got}", directory.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
}

#[test]
fn what_the_documents_show_is_good_and_sets_something() {
    let mut count = 0;
    for name in ["settings.md", "drivers-settings.md"] {
        for block in document(name).split("```toml\n").skip(1) {
            let directory = tempfile::tempdir().unwrap();
            let (toml, _) = block.split_once("```").unwrap();
            fs::write(directory.path().join("acme~disk.toml"), toml).unwrap();
            let read = read(directory.path());
            assert!(!read.is_empty() && !read.starts_with("error"), "{name}: {toml}{read}");
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn every_key_is_documented_with_its_default() {
    let document = document("settings.md");
    for line in DriverSettings::default().table() {
        let row = document.lines().find(|row| row.starts_with(&format!("| `{}` |", line.key)));
        assert!(row.is_some_and(|row| row.contains(&line.value)), "{}", line.key);
    }
}

#[test]
fn a_directory_that_is_not_there_sets_nothing() {
    let settings = Settings::in_directory("/nonexistent/settings".into()).of(&disk()).unwrap();
    assert_eq!(settings, DriverSettings::default());
    assert_eq!(Settings::default().of(&disk()).unwrap(), DriverSettings::default());
}

#[test]
fn what_is_no_settings_file_is_an_error_and_no_wait() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("acme~disk.toml");
    let refused = |contains: &str| {
        let begun = Instant::now();
        let error = read(directory.path());
        assert!(error.starts_with("error: ") && error.contains(contains), "{error}");
        assert!(error.contains("acme~disk.toml") && begun.elapsed() < Duration::from_secs(5), "{error}");
    };
    fs::create_dir(&file).unwrap();
    refused("not a file");
    fs::remove_dir(&file).unwrap();
    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    refused("No such file");
    fs::remove_file(&file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    refused("not a file");
    fs::remove_file(&file).unwrap();
    fs::write(&file, [0xff, 0xfe]).unwrap();
    refused("UTF-8");
    fs::write(&file, vec![b'#'; 70_000]).unwrap();
    refused("64 KiB");
    fs::write(&file, "attach = \"off\"\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    refused("everyone can write");
}

#[test]
fn one_deadline_for_all_goes_over_the_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("default.toml"), "[deadlines]\nmount = \"1h\"\n").unwrap();
    let settings = Settings::in_directory(directory.path().to_owned());
    assert_eq!(settings.of(&disk()).unwrap().deadline(Verb::Mount), Some(Duration::from_secs(3600)));
    assert_eq!(settings.of(&disk()).unwrap().deadline(Verb::Unmount), None);
    let all = settings.with_deadline(Duration::from_secs(7)).of(&disk()).unwrap();
    assert!(Verb::ALL.into_iter().all(|verb| all.deadline(verb) == Some(Duration::from_secs(7))));
}

#[test]
fn no_print_shows_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("acme~disk.toml");
    fs::write(&file, "[environment]\nTOKEN = \"hunter2\"\n").unwrap();
    let settings = Settings::in_directory(directory.path().to_owned()).of(&disk()).unwrap();
    let json = serde_json::to_string(&settings.table()).unwrap();
    let printed = format!("{settings:?} {json}");
    assert!(printed.contains("TOKEN") && !printed.contains("hunter2"), "{printed}");
    assert!(json.contains(&format!("{}:2", file.display())), "{json}");
}

proptest! {
    #[test]
    fn foreign_text_never_panics_and_errors_name_a_line_of_the_file(text in "[\\[\\]a-z\"'=.#{}, \n\\\\0-9é-]{0,80}") {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("acme~disk.toml"), &text).unwrap();
        if let Some(error) = read(directory.path()).strip_prefix("error: ") {
            let after = error.split("acme~disk.toml:").nth(1).unwrap();
            let line: usize = after.split(':').next().unwrap().parse().unwrap();
            prop_assert!((1..=text.lines().count() + 1).contains(&line), "{} in {:?}", error, text);
        }
    }
}
