//! `corpus verify [DIR]`: runs every case of a folder of reply files through both readers and prints each difference.

#[path = "../tests/support/corpus.rs"]
mod corpus;
#[path = "../tests/support/corpus_format.rs"]
mod corpus_format;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let folder = match arguments.as_slice() {
        [verb] if verb == "verify" => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"),
        [verb, folder] if verb == "verify" => PathBuf::from(folder),
        _ => return refuse("usage: corpus verify [DIR]"),
    };
    let cases = match corpus::load(&folder) {
        Ok(cases) => cases,
        Err(error) => return refuse(&error),
    };
    match verify(&cases, &mut std::io::stdout().lock()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => refuse(&error.to_string()),
    }
}

fn refuse(text: &str) -> ExitCode {
    // Nothing is left to do if standard error is closed.
    let _ = writeln!(std::io::stderr(), "corpus: {text}");
    ExitCode::from(2)
}

/// Prints the differences and a closing line; the number of cases that differ.
fn verify(cases: &[corpus::Case], out: &mut impl Write) -> std::io::Result<usize> {
    let mut failed = 0;
    for case in cases {
        let differences = case.differences();
        failed += usize::from(!differences.is_empty());
        for difference in differences {
            writeln!(out, "{}: {} {}", case.id, difference.reader, difference.field)?;
            writeln!(out, "  expected {}", difference.expected)?;
            writeln!(out, "  got      {}", difference.got)?;
        }
    }
    writeln!(out, "{} passed, {failed} failed", cases.len() - failed)?;
    Ok(failed)
}
