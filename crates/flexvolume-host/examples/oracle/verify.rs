//! All scenarios of a folder against their recorded transcripts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use flexvolume_host::os::mount::{Mounter, SystemMounter};
use serde_json::json;

use crate::compare::{self, Errors};
use crate::is_root;
use crate::scenario::{MounterKind, Scenario};
use crate::world;

/// What became of one scenario.
enum Verdict {
    Same,
    Differs(Vec<String>),
    Skipped(&'static str),
}

/// A scenario and what Kubernetes should not be followed in.
struct Case {
    name: String,
    in_tree_bug: String,
    verdict: Verdict,
}

/// Plays them all and says what differs.
pub(crate) fn verify(folder: &Path, errors: Errors) -> Result<ExitCode, String> {
    let files = scenarios(folder)?;
    if files.is_empty() {
        return Err(format!("{}: no scenario (NAME.json with NAME.expected.json) here", folder.display()));
    }
    let cases = play_all(&files, errors)?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for case in cases.iter().filter(|case| case.in_tree_bug.is_empty()) {
        match &case.verdict {
            Verdict::Same => passed += 1,
            Verdict::Skipped(why) => {
                skipped += 1;
                println!("skipped: {}: {why}", case.name);
            }
            Verdict::Differs(differences) => {
                failed += 1;
                println!("FAILED {}", case.name);
                differences.iter().for_each(|difference| println!("{difference}"));
            }
        }
    }
    for case in cases.iter().filter(|case| !case.in_tree_bug.is_empty()) {
        print_apart(case);
    }
    if skipped > 0 {
        println!("{skipped} skipped");
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A scenario in which Kubernetes does what no host should: shown, but neither passed nor failed.
fn print_apart(case: &Case) {
    let ours = match &case.verdict {
        Verdict::Same => "the strict reading does as Kubernetes does",
        Verdict::Differs(_) => "the strict reading differs:",
        Verdict::Skipped(why) => why,
    };
    println!("apart: {} ({}): {ours}", case.name, case.in_tree_bug);
    if let Verdict::Differs(differences) = &case.verdict {
        differences.iter().for_each(|difference| println!("{difference}"));
    }
}

fn scenarios(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".json") && !name.ends_with(".expected.json")
    });
    files.sort();
    Ok(files)
}

/// Most scenarios wait for their drivers: several are played at once.
fn play_all(files: &[PathBuf], errors: Errors) -> Result<Vec<Case>, String> {
    const AT_ONCE: usize = 4;
    let next = AtomicUsize::new(0);
    let cases = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let case = play_one(file, errors);
                    cases.lock().unwrap_or_else(PoisonError::into_inner).insert(file, case);
                }
            });
        }
    });
    cases.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

fn play_one(file: &Path, errors: Errors) -> Result<Case, String> {
    let scenario = Scenario::load(file).map_err(|error| error.to_string())?;
    let verdict = match skipped(&scenario) {
        Some(why) => Verdict::Skipped(why),
        None => compare_one(&scenario, file, errors)?,
    };
    Ok(Case { name: scenario.name, in_tree_bug: scenario.in_tree_bug, verdict })
}

fn compare_one(scenario: &Scenario, file: &Path, errors: Errors) -> Result<Verdict, String> {
    let recorded = file.with_extension("expected.json");
    let expected = compare::read(&recorded).map_err(|error| format!("{}: {error}", recorded.display()))?;
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let played = world::play(scenario, scratch.path());
    detach_mounts(scratch.path());
    let transcript = played.map_err(|error| {
        let line = Scenario::line_of_step(file, error.step);
        format!("{}:{line}: {}", file.display(), error.why)
    })?;
    let differences = compare::differences(&expected, &compare::steps(&json!(transcript)), errors);
    Ok(if differences.is_empty() { Verdict::Same } else { Verdict::Differs(differences) })
}

fn skipped(scenario: &Scenario) -> Option<&'static str> {
    let needs_root = scenario.needs_root || scenario.mounter == MounterKind::Real;
    (needs_root && !is_root()).then_some("needs root: other group ids or real mounts")
}

/// Takes away what a scenario has left mounted, so that its directory can be removed.
pub(crate) fn detach_mounts(root: &Path) {
    let Ok(table) = SystemMounter.table() else { return };
    for mount in table.below(root).collect::<Vec<_>>().into_iter().rev() {
        let _ = SystemMounter.unmount_lazy(&mount.mount_point);
    }
}
