//! Recording the transcripts anew, with the real Kubernetes code.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

/// Where the source of the recording program is looked for when it is not given.
const VARIABLE: &str = "FLEXVOL_ORACLE";

/// Runs the recording program on a folder of scenarios.
#[expect(clippy::disallowed_methods, reason = "the Go tool, which a person waits for")]
pub(crate) fn record(folder: &Path, source: Option<&Path>) -> Result<ExitCode, String> {
    let source = match source {
        Some(source) => source.to_owned(),
        None => env::var_os(VARIABLE).map(PathBuf::from).ok_or_else(|| {
            format!("say where the Go source of the recording program is: --oracle DIR, or the variable {VARIABLE}")
        })?,
    };
    if !source.join("go.mod").is_file() {
        return Err(format!("{}: no go.mod here, so it is not the recording program", source.display()));
    }
    let folder = fs::canonicalize(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let status = Command::new("go").args(["run", ".", "record"]).arg(folder).current_dir(&source).status();
    match status {
        Ok(status) if status.success() => Ok(ExitCode::SUCCESS),
        Ok(status) => Err(format!("go run . record: {status}")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err("Go is not installed: transcripts can only be recorded with it (1.26 or newer)".to_owned())
        }
        Err(error) => Err(format!("go: {error}")),
    }
}
