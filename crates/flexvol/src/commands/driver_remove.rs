//! `flexvol driver remove`.

use std::path::{Path, PathBuf};

use flexvolume_host::contract::DriverName;
use serde::Serialize;

use super::driver_describe::volumes_of;
use super::driver_install::{driver_name, refused};
use crate::args::{Global, RemoveArguments};
use crate::failure::{Failure, NOT_FOUND, OK, REFUSED, STEP_FAILED};
use crate::installation::Installation;
use crate::installation::pass::remove_all;
use crate::installation::removal::Program;
use crate::output::{Tone, toned};
use crate::secrets::ManifestSecrets;
use crate::session::Session;

/// A driver that was to be removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Removed {
    name: DriverName,
    executable: PathBuf,
    effect: &'static str,
    /// Why it is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl Removed {
    fn new(name: DriverName, plugin_dir: &Path, error: Option<String>) -> Self {
        let executable = plugin_dir.join(name.directory()).join(name.executable());
        Self { name, executable, effect: if error.is_some() { "failed" } else { "removed" }, error }
    }

    /// In words.
    pub(super) fn text(&self) -> String {
        let place = self.executable.display();
        match &self.error {
            None => format!("{} {} from {place}\n", self.name, toned("removed", Tone::Good)),
            Some(error) => format!("{} {}: {error}\n", self.name, toned("not removed", Tone::Bad)),
        }
    }
}

pub(super) fn run(global: &Global, arguments: &RemoveArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    match (&arguments.name, &arguments.installed_by) {
        (Some(name), _) => remove_one(&session, driver_name(name)?, arguments),
        (None, Some(installer)) => remove_many(&session, installer, arguments),
        (None, None) => Ok(OK),
    }
}

fn remove_one(session: &Session, name: DriverName, arguments: &RemoveArguments) -> Result<u8, Failure> {
    let directory = name.directory();
    let holder =
        session.plugin_dirs.iter().find(|plugin_dir| plugin_dir.join(&directory).symlink_metadata().is_ok());
    let Some(plugin_dir) = holder else {
        return Err(Failure::says(
            NOT_FOUND,
            format_args!("there is no driver {name} in the plugin directories"),
        ));
    };
    refuse_in_use(session, &name, arguments)?;
    Installation::begin(plugin_dir, &name).and_then(|it| it.remove(Program::Any)).map_err(refused)?;
    let removed = Removed::new(name, plugin_dir, None);
    session.output.print(&removed, Removed::text)?;
    Ok(OK)
}

fn refuse_in_use(session: &Session, name: &DriverName, arguments: &RemoveArguments) -> Result<(), Failure> {
    let volumes = volumes_of(session, name)?;
    if volumes == 0 || arguments.force {
        return Ok(());
    }
    Err(Failure::says(
        REFUSED,
        format_args!(
            "volumes of {name} are on record ({volumes}) and could not be unmounted without it: unmount them first (`flexvol status` shows them), or use --force"
        ),
    ))
}

fn remove_many(session: &Session, installer: &str, arguments: &RemoveArguments) -> Result<u8, Failure> {
    for plugin_dir in &session.plugin_dirs {
        let ledger = crate::installation::ledger::Ledger::read(plugin_dir).map_err(refused)?;
        for (name, entry) in &ledger.drivers {
            if entry.installed_by() == Some(installer) {
                refuse_in_use(session, name, arguments)?;
            }
        }
    }
    let mut removed = Vec::new();
    for plugin_dir in &session.plugin_dirs {
        removed.extend(remove_installed_by(plugin_dir, installer)?);
    }
    let all_removed = removed.iter().all(|driver| driver.error.is_none());
    session.output.print(&removed, |removed| removed.iter().map(Removed::text).collect())?;
    Ok(if all_removed { OK } else { STEP_FAILED })
}

/// Removes what an installer has installed.
pub(super) fn remove_installed_by(plugin_dir: &Path, installer: &str) -> Result<Vec<Removed>, Failure> {
    let removals = remove_all(plugin_dir, installer).map_err(refused)?;
    let removed = removals
        .into_iter()
        .map(|(name, result)| Removed::new(name, plugin_dir, result.err().map(|error| error.to_string())));
    Ok(removed.collect())
}
