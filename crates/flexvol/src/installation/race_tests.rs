//! Upgrades while another process looks, as kubelet does. `FLEXVOL_UPGRADES=10000` makes it a long one.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use flexvolume_host::contract::{Capabilities, DriverName};
use flexvolume_host::os::System;
use flexvolume_host::os::command::Command;
use flexvolume_host::os::runner::{Ended, Output};

use super::digest::{Digest, Facts};
use super::pass::{From, Memory, Policy, Trial, Untried};
use super::*;

/// Makes this test program a scanner of a plugin directory.
const SCAN: &str = "FLEXVOL_TEST_SCAN";
const STOP: &str = ".stop";

/// Not a test: what the other process does. It tells what it saw that no driver may look like.
#[test]
#[ignore = "started by the test below"]
fn scanner() {
    let Some(plugin_dir) = std::env::var_os(SCAN).map(PathBuf::from) else { return };
    let allowed: Vec<Digest> = fs::read_to_string(plugin_dir.join(".allowed"))
        .unwrap()
        .lines()
        .map(|line| Digest::parse(line).unwrap())
        .collect();
    let mut scans = 0_u64;
    while !plugin_dir.join(STOP).exists() {
        let seen = visible(&plugin_dir);
        assert_eq!(seen, ["example.com~driver"], "scan {scans}");
        let directory = plugin_dir.join("example.com~driver");
        for name in visible(&directory) {
            assert!(["driver", "beside"].contains(&name.as_str()), "{name} in scan {scans}");
        }
        for name in ["driver", "beside"] {
            let facts = Facts::of(&directory.join(name)).unwrap();
            assert!(allowed.contains(&facts.sha256), "{name} is neither old nor new in scan {scans}");
            assert_eq!(facts.mode, if name == "driver" { 0o755 } else { 0o644 }, "{name}");
        }
        scans += 1;
    }
    assert!(scans > 0);
    eprintln!("{scans} scans");
}

fn visible(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// Scans in another process until it is told to stop.
fn scan(plugin_dir: &Path) -> Output {
    let command = Command::new(std::env::current_exe().unwrap(), Duration::from_secs(3600))
        .arguments(["--exact", "installation::race_tests::scanner", "--ignored", "--nocapture"])
        .variable(SCAN, plugin_dir);
    System::host().runner.run(&command).unwrap()
}

#[test]
fn who_looks_while_a_driver_is_upgraded_sees_the_old_one_or_the_new_one() {
    let upgrades: usize =
        std::env::var("FLEXVOL_UPGRADES").map_or(500, |number| number.parse().expect("a number"));
    let base = tempfile::tempdir().unwrap();
    let at = |below: &str| base.path().join(below);
    let (from, to) = ([at("old"), at("new")], at("to"));
    let mut allowed = String::new();
    for (number, source) in from.iter().enumerate() {
        let directory = source.join("example.com~driver");
        fs::create_dir_all(&directory).unwrap();
        for name in ["driver", "beside"] {
            let file = directory.join(name);
            // Of different sizes, and larger than a page.
            fs::write(&file, format!("{name} {number}\n").repeat(1000 + 500 * number)).unwrap();
            allowed += Facts::of(&file).unwrap().sha256.as_str();
            allowed += "\n";
        }
    }
    let try_init =
        |_: &Path, _: &DriverName| Ok(Trial { capabilities: Capabilities::default(), version: None });
    let policy = Policy {
        installed_by: "test",
        try_init: &try_init,
        untried: Untried::Refuse,
        strangers: Strangers::KeepFiles,
    };
    let mut memory = Memory::default();
    let mut install = |source: &Path| {
        let outcomes =
            policy.install_all(From { directory: source, vendor: None }, &to, &mut memory).unwrap();
        outcomes[0].effect.expect("installed")
    };
    assert_eq!(install(&from[0]), Installed::New);
    fs::write(to.join(".allowed"), allowed).unwrap();
    let scanned = thread::scope(|scope| {
        let scanner = scope.spawn(|| scan(&to));
        let effects: Vec<_> = (1..=upgrades).map(|number| install(&from[number % 2])).collect();
        fs::write(to.join(STOP), "").unwrap();
        assert!(effects.iter().all(|effect| *effect == Installed::Upgraded));
        scanner.join().unwrap()
    });
    let told = String::from_utf8_lossy(&scanned.stderr.bytes).into_owned();
    assert_eq!(scanned.ended, Ended::Exited(0), "the scanner saw what no driver may look like: {told}");
    eprintln!("{upgrades} upgrades, {}", told.trim());
}
