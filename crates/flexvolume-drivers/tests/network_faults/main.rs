//! The fault matrix of remote storage: every step of a mount's life under every fault of its server, each cell a test of
//! its own. It needs the second host of the virtual machine (`vm/guest/server`).
//!
//! In every cell, besides what it says: each call comes back within 30 s, an unmount of a silent server within 10 s; the
//! mount table is what the reply says; no process of the driver is left; a secret that is passed is in no argument or
//! environment of any other process, in no answer and in no record; a neighbour's mount of the same server stays and
//! serves again; when the fault is gone, every next call succeeds, and no record is left.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise; this one prints its own report"
)]

mod cell;
mod cifs;
mod document;
mod matrix;
mod nfs;
mod stage;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/table.rs"]
mod table;

use std::env;
use std::process::ExitCode;

use cell::Verdict;
use cifs::Cifs;
use document::Document;
use matrix::{Length, Row, STEPS, Step};
use nfs::Nfs;
use stage::Backend;
use table::{Expect, case_name};

/// The drivers that are tried.
fn backends() -> Vec<&'static dyn Backend> {
    vec![&Nfs, &Cifs]
}

/// All cells instead of the quick ones.
fn length() -> Length {
    if env::var_os("FLEXVOL_FAULTS_DIR").is_some() { Length::Full } else { Length::Quick }
}

/// A cell, and its name.
type Cell = (String, &'static Row, Step, Expect);

/// The cells of a driver that are to be tried.
fn cells(backend: &dyn Backend, wanted: impl Fn(&str, Length) -> bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    for row in backend.rows() {
        for (step, expect) in STEPS.into_iter().zip(row.cells) {
            let name = case_name(backend.name(), step.name(), row.fault.name());
            if !matches!(expect, Expect::Never(_)) && wanted(&name, row.length) {
                cells.push((name, row, step, expect));
            }
        }
    }
    cells
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let exact = words.iter().any(|word| word == "--exact");
    let names = |word: &str| backends().iter().any(|backend| word.starts_with(backend.name()));
    let filters: Vec<_> = words.iter().filter(|word| word.contains('/') || names(word)).collect();
    if words.iter().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    if env::var_os("FLEXVOL_VM").is_none() {
        eprintln!("skipped: network_faults: needs the virtual machine (cargo xtask vm)");
        println!("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        return ExitCode::SUCCESS;
    }
    // A driver's name stands for those of its rows that run at all; the beginning of a cell's name for any.
    let wanted = |name: &str, length_of_row: Length| {
        let runs = length() == Length::Full || length_of_row == Length::Quick;
        let chosen = |filter: &&String| match exact {
            true => name == **filter,
            false => name.starts_with(filter.as_str()) && (runs || filter.contains('/')),
        };
        if filters.is_empty() { runs } else { filters.iter().any(chosen) }
    };
    // What does not hold is told with the cell's name, not as it happens.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut passed, mut failed) = (0, 0);
    let mut document = Document::open();
    for backend in backends() {
        let cells = cells(backend, wanted);
        if !cells.is_empty() {
            stage::server(&["start", backend.server()]);
        }
        for (name, row, step, expect) in cells {
            let verdict = cell::run(backend, (step, row.fault, expect));
            // Also a run that is ended leaves what it has found.
            document.add(&name, &verdict);
            document.write();
            match verdict {
                Verdict::Holds(..) => {
                    passed += 1;
                    println!("test {name} ... ok");
                }
                Verdict::Fails(why) => {
                    failed += 1;
                    println!("test {name} ... FAILED\n  {name}: {why}");
                }
            }
        }
    }
    document.write();
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
