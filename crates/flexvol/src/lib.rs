//! `flexvol`, the command line: FlexVolume volumes on this machine.
//!
//! The program is [`main`]. What else is public is the reading of manifests, so that it can be tested and fuzzed
//! without a process.

mod administration;
mod agent;
mod args;
mod call_options;
mod commands;
mod container;
mod failure;
mod identity;
mod installation;
pub mod manifest;
mod output;
mod progress;
pub mod secrets;
mod session;
mod usage;
mod workload;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::args::{Arguments, Global, OutputFormat};
use crate::output::Output;

/// Reads the command line of this process, carries the command out, and answers the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version end here too; nobody is left to hear that they could not be printed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::BAD_INPUT } else { failure::OK });
        }
    };
    start_log(&arguments.global);
    let code = commands::run(&arguments).unwrap_or_else(|failure| {
        Output { format: arguments.global.output }.failed(&failure);
        failure.code
    });
    ExitCode::from(code)
}

/// Logs to standard error, from warnings on; `RUST_LOG` has the last word.
fn start_log(global: &Global) {
    let level = match global.verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    match global.log_format {
        OutputFormat::Json => log.json().init(),
        OutputFormat::Text => {
            let log = log.with_ansi(std::io::stderr().is_terminal());
            // Warnings are for the person at the terminal, who knows what time it is.
            if global.verbose > 0 { log.init() } else { log.without_time().with_target(false).init() }
        }
    }
}
