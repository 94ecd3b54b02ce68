//! Plays scenarios of Kubernetes' FlexVolume host through ours, in the strict reading, and compares the transcripts.
//!
//! ```text
//! oracle run [--keep DIR] SCENARIO.json       plays one scenario and prints the transcript
//! oracle verify [--errors exact|presence] [DIR]  plays all scenarios of a folder, compares with NAME.expected.json
//! oracle record [--oracle DIR] [DIR]          re-records NAME.expected.json with the real Kubernetes code (needs Go)
//! ```
//!
//! The transcripts were recorded with `k8s.io/kubernetes/pkg/volume/flexvolume` v1.37.2; the scenarios, and what is in
//! them, are described in `tests/oracle/README.md`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to a person")]

mod compare;
mod expansion;
mod layout;
mod lookup;
mod mounters;
mod operations;
mod quantity;
mod record;
mod recorder;
mod scenario;
mod verify;
mod world;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compare::Errors;
use scenario::Scenario;

const USAGE: &str = "usage: oracle run [--keep DIR] SCENARIO.json
       oracle verify [--errors exact|presence] [DIR]
       oracle record [--oracle DIR] [DIR]";

fn main() -> ExitCode {
    match dispatch(env::args().skip(1).collect()) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("oracle: {message}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(arguments: Vec<String>) -> Result<ExitCode, String> {
    let mut arguments = arguments.into_iter();
    let command = arguments.next().ok_or(USAGE)?;
    let (mut option, mut place) = (None, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--keep" | "--errors" | "--oracle" => option = Some(arguments.next().ok_or(USAGE)?),
            _ if argument.starts_with('-') || place.is_some() => return Err(USAGE.to_owned()),
            _ => place = Some(PathBuf::from(argument)),
        }
    }
    match command.as_str() {
        "run" => run(&place.ok_or(USAGE)?, option.as_deref().map(Path::new)),
        "verify" => {
            let errors = match option.as_deref() {
                None | Some("presence") => Errors::Presence,
                Some("exact") => Errors::Exact,
                Some(_) => return Err(USAGE.to_owned()),
            };
            enter_private_world();
            verify::verify(&place.unwrap_or_else(fixtures), errors)
        }
        "record" => record::record(&place.unwrap_or_else(fixtures), option.as_deref().map(Path::new)),
        _ => Err(USAGE.to_owned()),
    }
}

/// The scenarios that come with the project.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

/// Directories get the modes that kubelet's get, and mounts stay among ourselves.
fn enter_private_world() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if let Err(error) = flexvolume_host::os::namespace::enter_private_mounts()
        && is_root()
    {
        eprintln!("oracle: no mount namespace of its own, scenarios with real mounts may fail: {error}");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn run(file: &Path, keep: Option<&Path>) -> Result<ExitCode, String> {
    let scenario = Scenario::load(file).map_err(|error| error.to_string())?;
    enter_private_world();
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let root = keep.unwrap_or(scratch.path());
    let root = std::path::absolute(root).map_err(|error| error.to_string())?;
    let transcript = world::play(&scenario, &root).map_err(|error| {
        format!("{}:{}: {}", file.display(), Scenario::line_of_step(file, error.step), error.why)
    })?;
    verify::detach_mounts(&root);
    let text = serde_json::to_string_pretty(&transcript).map_err(|error| error.to_string())?;
    println!("{text}");
    Ok(ExitCode::SUCCESS)
}
