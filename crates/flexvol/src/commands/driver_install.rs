//! `flexvol driver install` and `upgrade` of one driver.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flexvolume_host::VolumeHost;
use flexvolume_host::contract::DriverName;
use flexvolume_host::registry::{Registry, RegistryError};

use super::driver_install_all;
use super::driver_list::capability_words;
use crate::args::{Global, InstallArguments, UpgradeArguments};
use crate::failure::{BAD_INPUT, Failure, NOT_FOUND, OK, REFUSED, STEP_FAILED};
use crate::installation::bundle::Bundle;
use crate::installation::digest::Digest;
use crate::installation::pass::{Outcome, Policy, Refusal, Trial, Untried, version_in};
use crate::installation::{InstallError, Installed, Strangers};
use crate::output::{Tone, toned};
use crate::secrets::ManifestSecrets;
use crate::session::Session;

/// One program that is to be installed.
struct Order<'a> {
    file: &'a Path,
    name: &'a str,
    sha256: Option<&'a str>,
    force: bool,
    installed_by: &'a str,
}

pub(super) fn run(global: &Global, arguments: &InstallArguments) -> Result<u8, Failure> {
    let (Some(file), Some(name)) = (&arguments.file, &arguments.name) else {
        return driver_install_all::run(global, arguments);
    };
    let order = Order {
        file,
        name,
        sha256: arguments.sha256.as_deref(),
        force: arguments.force,
        installed_by: &arguments.installed_by,
    };
    let session = Session::new(global, ManifestSecrets::default())?;
    install(&session, first_plugin_dir(&session)?, &order)
}

pub(super) fn upgrade(global: &Global, arguments: &UpgradeArguments) -> Result<u8, Failure> {
    let UpgradeArguments { file, name, sha256, force, installed_by } = arguments;
    let session = Session::new(global, ManifestSecrets::default())?;
    let directory = driver_name(name)?.directory();
    let holder = session.plugin_dirs.iter().find(|plugin_dir| plugin_dir.join(&directory).is_dir());
    let Some(plugin_dir) = holder else {
        let words =
            format_args!("there is no driver {name} to upgrade; `flexvol driver install` installs it");
        return Err(Failure::says(NOT_FOUND, words));
    };
    let order = Order { file, name, sha256: sha256.as_deref(), force: *force, installed_by };
    install(&session, plugin_dir, &order)
}

fn install(session: &Session, plugin_dir: &Path, order: &Order<'_>) -> Result<u8, Failure> {
    let bundle = Bundle::of_program(driver_name(order.name)?, order.file).map_err(refused)?;
    check_digest(&bundle, order)?;
    let (untried, strangers) = if order.force {
        (Untried::Install, Strangers::Replace)
    } else {
        (Untried::Refuse, Strangers::KeepFiles)
    };
    let try_init = |staging: &Path, name: &DriverName| try_init(&session.host, staging, name);
    let policy = Policy { installed_by: order.installed_by, try_init: &try_init, untried, strangers };
    let outcome = policy.install(&bundle, plugin_dir).map_err(|refusal| match refusal {
        Refusal::Install(error) => refused(error),
        Refusal::Init(why) => {
            let name = &bundle.name;
            let words =
                format_args!("{name} is not installed, because its init fails: {why} (--force installs it)");
            Failure::says(REFUSED, words)
        }
    })?;
    session.output.print(&outcome, text)?;
    Ok(OK)
}

pub(super) fn driver_name(name: &str) -> Result<DriverName, Failure> {
    DriverName::parse(name).map_err(|error| Failure::new(BAD_INPUT, error))
}

pub(super) fn first_plugin_dir(session: &Session) -> Result<&PathBuf, Failure> {
    let none = || Failure::says(BAD_INPUT, "no plugin directory: give --plugin-dir DIR");
    session.plugin_dirs.first().ok_or_else(none)
}

fn check_digest(bundle: &Bundle, order: &Order<'_>) -> Result<(), Failure> {
    let Some(text) = order.sha256 else { return Ok(()) };
    let Some(wanted) = Digest::parse(text) else {
        return Err(Failure::says(BAD_INPUT, "--sha256 takes the 64 digits that sha256sum prints"));
    };
    match bundle.program() {
        Some(program) if program.sha256 == wanted => Ok(()),
        Some(program) => {
            let (file, is) = (order.file.display(), program.sha256.as_str());
            let words = format_args!("not installed: the SHA-256 of {file} is {is}, not {}", wanted.as_str());
            Err(Failure::says(REFUSED, words))
        }
        None => Err(Failure::says(BAD_INPUT, "there is no program")),
    }
}

/// Calls the driver as it will be called, by its own name: a registry of its own over the staging directory.
pub(super) fn try_init(host: &Arc<VolumeHost>, staging: &Path, name: &DriverName) -> Result<Trial, String> {
    let trial = Registry::new(Arc::clone(host), vec![staging.to_owned()]);
    match trial.find_by_name(name) {
        Ok(plugin) => {
            Ok(Trial { capabilities: plugin.capabilities(), version: version_in(plugin.init_message()) })
        }
        Err(RegistryError::Unusable { why, .. }) => Err(why),
        Err(error) => Err(error.to_string()),
    }
}

/// The exit code of an installation or removal that did not happen.
pub(super) fn refused(error: InstallError) -> Failure {
    let code = match error {
        InstallError::ForeignFiles { .. } | InstallError::InTheWay(_) | InstallError::Changed(_) => REFUSED,
        InstallError::Program { .. }
        | InstallError::NotAFile(_)
        | InstallError::NotText(_)
        | InstallError::NoProgram { .. }
        | InstallError::TooMuch(_)
        | InstallError::Name(_) => BAD_INPUT,
        InstallError::File { .. }
        | InstallError::SourceChanged(_)
        | InstallError::Ledger { .. }
        | InstallError::Lock(_) => STEP_FAILED,
    };
    Failure::new(code, error)
}

/// What was done with one driver, in words.
pub(super) fn text(outcome: &Outcome) -> String {
    let Some(effect) = outcome.effect else {
        let error = outcome.error.as_deref().unwrap_or_default();
        return format!("{} {}: {error}\n", outcome.name, toned("failed", Tone::Bad));
    };
    let word = match effect {
        Installed::New => "installed",
        Installed::Upgraded => "upgraded",
        Installed::Unchanged => "unchanged",
    };
    let place = outcome.executable.as_deref().unwrap_or(Path::new("")).display().to_string();
    let size = outcome.size.unwrap_or_default();
    let mut text = format!("{} {} at {place} ({size} bytes)\n", outcome.name, toned(word, Tone::Good));
    if let Some(sha256) = &outcome.sha256 {
        text.push_str(&format!("sha256: {}\n", sha256.as_str()));
    }
    if let Some(version) = &outcome.version {
        text.push_str(&format!("version: {version}\n"));
    }
    if let Some(capabilities) = outcome.capabilities {
        text.push_str(&format!("capabilities: {}\n", capability_words(capabilities)));
    }
    if let Some(error) = &outcome.init_error {
        text.push_str(&format!("{}: init fails: {error}\n", toned("warning", Tone::Doubtful)));
    }
    text
}
