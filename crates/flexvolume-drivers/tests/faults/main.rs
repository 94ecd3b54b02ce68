//! The fault matrix: every step of a volume's life under every fault, each cell a test of its own.
//!
//! `cargo test -p flexvolume-drivers --test faults -- loop/create` runs the cells whose names begin so. With
//! `FLEXVOL_FAULTS_WAYS=N`, each cell is tried in so many of the ways in which its fault comes about.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise; this one prints its own report and starts itself in a namespace"
)]

mod cell;
mod document;
mod loops;
mod lvms;
mod matrix;
mod power;
mod shims;
mod stage;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/table.rs"]
mod table;
mod walk;

use std::env;
use std::process::{Command, ExitCode};

use cell::{Depth, References, Verdict};
use document::Document;
use loops::Loops;
use lvms::Lvms;
use stage::Backend;
use table::{Expect, case_name};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let exact = words.iter().any(|word| word == "--exact");
    let values = ["--test-threads", "--skip", "--format", "--color"];
    let mut filters = Vec::new();
    let mut previous = "";
    for word in &words {
        if !word.starts_with('-') && !values.contains(&previous) {
            filters.push(word.clone());
        }
        previous = word;
    }
    if words.iter().any(|word| word == "--list") {
        cases().iter().for_each(|(name, ..)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if env::var_os(support::INSIDE).is_some() {
        return inside(&|name| {
            filters.is_empty()
                || filters
                    .iter()
                    .any(|filter| if exact { name == filter } else { name.starts_with(&**filter) })
        });
    }
    if let Some(why) = support::obstacle() {
        eprintln!("skipped: faults: {why}");
        println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        return ExitCode::SUCCESS;
    }
    // In memory, where it can be: what is tried is the order of things, and a disk takes its time for each `fsync`.
    let memory = tempfile::tempdir().unwrap();
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(env::current_exe().unwrap())
        .args(&words)
        .env(support::INSIDE, "1")
        .env("TMPDIR", memory.path())
        .status()
        .unwrap();
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whose volumes are tried.
fn backends() -> Vec<&'static dyn Backend> {
    let mut backends: Vec<&'static dyn Backend> = vec![&Loops];
    if lvms::obstacle().is_none() {
        backends.push(&Lvms);
    }
    backends
}

type Case = (String, &'static dyn Backend, matrix::Step, (matrix::Fault, Expect));

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for backend in backends() {
        for (step, fault, expect) in backend.matrix().cells() {
            cases.push((
                case_name(backend.name(), step.name(), fault.name()),
                backend,
                step,
                (fault, expect),
            ));
        }
    }
    cases
}

fn inside(wanted: &dyn Fn(&str) -> bool) -> ExitCode {
    let memory = env::temp_dir();
    support::tool("mount", &["-t", "tmpfs", "-o", "mode=700", "faults", memory.to_str().unwrap()]);
    let depth = Depth::asked();
    match env::var("FLEXVOL_POWER_CUT").as_deref() {
        Ok("before") => power::before(&backends(), depth),
        Ok(_) => return close(power::after(&backends())),
        Err(_) => {}
    }
    // What does not hold is told with the cell's name, not as it happens.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut passed, mut failed) = (0, 0);
    if let Some(why) = lvms::obstacle() {
        eprintln!("skipped: faults of logical volumes: {why}");
        passed += 1;
    }
    let (mut document, mut references) = (Document::open(), References::default());
    for (name, backend, step, (fault, expect)) in cases() {
        if let Expect::Never(_) = expect {
            continue;
        }
        if !wanted(&name) {
            continue;
        }
        let verdict = cell::run(backend, (step, fault, expect), &mut references, depth);
        match &verdict {
            Verdict::Holds(_) => passed += 1,
            Verdict::Skipped(why) => {
                passed += 1;
                eprintln!("skipped: {name}: {why}");
            }
            Verdict::Fails(_) => failed += 1,
        }
        println!("test {name} ... {}", if let Verdict::Fails(_) = verdict { "FAILED" } else { "ok" });
        if let Verdict::Fails(texts) = &verdict {
            texts.iter().for_each(|text| println!("  {name}: {text}"));
        }
        document.add(&name, &verdict);
        document.write();
    }
    for backend in backends() {
        let name = format!("{}/walk", backend.name());
        if wanted(&name) {
            let result = walk::run(backend, depth);
            println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
            match result {
                Ok(()) => passed += 1,
                Err(error) => {
                    failed += 1;
                    println!("  {name}: {error}");
                }
            }
        }
    }
    document.write();
    close((passed, failed))
}

fn close((passed, failed): (u32, u32)) -> ExitCode {
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
