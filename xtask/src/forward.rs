//! Chores that need the host crate run as its examples, so that this crate depends on none of ours.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::process;

/// What is passed on.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Passed on as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// Runs the example `name` of the host crate.
pub(crate) fn run(name: &str, arguments: &Arguments) -> Result<()> {
    process::run(example(name).args(&arguments.rest))
}

/// The command that runs an example of the host crate; its arguments are to be added.
pub(crate) fn example(name: &str) -> Command {
    let mut command = process::cargo();
    command.args([
        "run",
        "--quiet",
        "--package",
        "flexvolume-host",
        "--all-features",
        "--example",
        name,
        "--",
    ]);
    command
}
