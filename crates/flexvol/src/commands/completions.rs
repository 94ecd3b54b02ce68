//! `flexvol completions` and `flexvol man`.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;

use crate::args::Arguments;
use crate::failure::{Failure, OK, STEP_FAILED};
use crate::output::write_out;

pub(super) fn completions(shell: clap_complete::Shell) -> Result<u8, Failure> {
    // First into memory: the generators panic when nobody reads.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "flexvol", &mut script);
    write_out(&script)?;
    Ok(OK)
}

/// Writes `flexvol.1` and a page for every command.
pub(super) fn man(directory: &Path) -> Result<u8, Failure> {
    let failed =
        |error: std::io::Error| Failure::says(STEP_FAILED, format_args!("{}: {error}", directory.display()));
    fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), directory).map_err(failed)?;
    Ok(OK)
}
