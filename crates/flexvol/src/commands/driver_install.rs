//! `flexvol driver install`.

use std::path::PathBuf;
use std::sync::Arc;

use flexvolume_host::contract::{Capabilities, DriverName};
use flexvolume_host::registry::{Registry, RegistryError};
use serde::Serialize;

use super::driver_list::capability_words;
use crate::args::{Global, InstallArguments};
use crate::failure::{BAD_INPUT, Failure, OK, REFUSED, STEP_FAILED};
use crate::installation::{InstallError, Installation, Installed};
use crate::output::{Tone, toned};
use crate::secrets::ManifestSecrets;
use crate::session::Session;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    name: DriverName,
    effect: Installed,
    executable: PathBuf,
    size: u64,
    capabilities: Option<Capabilities>,
    /// Why `init` fails, of a driver that was forced.
    #[serde(skip_serializing_if = "Option::is_none")]
    init_error: Option<String>,
}

pub(super) fn run(global: &Global, arguments: &InstallArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let name = DriverName::parse(arguments.name.clone()).map_err(|error| Failure::new(BAD_INPUT, error))?;
    let Some(plugin_dir) = session.plugin_dirs.first() else {
        return Err(Failure::says(BAD_INPUT, "no plugin directory: give --plugin-dir DIR"));
    };
    let installation = Installation::begin(plugin_dir, &name).map_err(refused)?;
    let report = install(&session, arguments, &installation);
    let ended = installation.end().map_err(refused);
    let report = report?;
    ended?;
    session.output.print(&report, text)?;
    Ok(OK)
}

fn install(
    session: &Session,
    arguments: &InstallArguments,
    installation: &Installation<'_>,
) -> Result<Report, Failure> {
    let name = DriverName::parse(arguments.name.clone()).map_err(|error| Failure::new(BAD_INPUT, error))?;
    installation.stage(&arguments.file).map_err(refused)?;
    // A registry of its own over the staging directory: the driver is called as it will be, by its own name.
    let trial = Registry::new(Arc::clone(&session.host), vec![installation.staging()]);
    let (capabilities, init_error) = match trial.find_by_name(&name) {
        Ok(plugin) => (Some(plugin.capabilities()), None),
        Err(error) if arguments.force => (None, Some(why(error))),
        Err(error) => {
            let why = why(error);
            let words =
                format_args!("{name} is not installed, because its init fails: {why} (--force installs it)");
            return Err(Failure::says(REFUSED, words));
        }
    };
    let effect = installation.publish().map_err(refused)?;
    let executable = installation.program();
    let size = std::fs::metadata(&executable)?.len();
    Ok(Report { name, effect, executable, size, capabilities, init_error })
}

/// The cause alone: where the driver was tried is nobody's business.
fn why(error: RegistryError) -> String {
    match error {
        RegistryError::Unusable { why, .. } => why,
        other => other.to_string(),
    }
}

/// The exit code of an installation or removal that did not happen.
pub(super) fn refused(error: InstallError) -> Failure {
    let code = match error {
        InstallError::ForeignFiles { .. } | InstallError::InTheWay(_) => REFUSED,
        InstallError::Program { .. } | InstallError::NotAFile(_) => BAD_INPUT,
        InstallError::File { .. } | InstallError::Lock(_) => STEP_FAILED,
    };
    Failure::new(code, error)
}

fn text(report: &Report) -> String {
    let word = match report.effect {
        Installed::New => "installed",
        Installed::Upgraded => "upgraded",
        Installed::Unchanged => "unchanged",
    };
    let place = report.executable.display();
    let mut text =
        format!("{} {} at {place} ({} bytes)\n", report.name, toned(word, Tone::Good), report.size);
    if let Some(capabilities) = &report.capabilities {
        text.push_str(&format!(
            "capabilities: {}
",
            capability_words(*capabilities)
        ));
    }
    if let Some(error) = &report.init_error {
        text.push_str(&format!(
            "{}: init fails: {error}
",
            toned("warning", Tone::Doubtful)
        ));
    }
    text
}
