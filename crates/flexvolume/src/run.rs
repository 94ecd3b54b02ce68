//! A driver's `main`.

use std::process::ExitCode;

use crate::Driver;

/// Runs one call-out: reads the arguments, calls `driver`, answers with one JSON document, and ends with exit code 0.
#[must_use]
pub fn run(driver: impl Driver) -> ExitCode {
    let _ = driver;
    todo!()
}
