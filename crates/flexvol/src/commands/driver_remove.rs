//! `flexvol driver remove`.

use std::path::PathBuf;

use flexvolume_host::contract::DriverName;
use serde::Serialize;

use super::driver_describe::volumes_of;
use super::driver_install::refused;
use crate::args::{Global, RemoveArguments};
use crate::failure::{BAD_INPUT, Failure, NOT_FOUND, OK, REFUSED};
use crate::installation::Installation;
use crate::output::{Tone, toned};
use crate::secrets::ManifestSecrets;
use crate::session::Session;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    name: DriverName,
    executable: PathBuf,
    effect: &'static str,
}

pub(super) fn run(global: &Global, arguments: &RemoveArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let name = DriverName::parse(arguments.name.clone()).map_err(|error| Failure::new(BAD_INPUT, error))?;
    let directory = name.directory();
    let holder =
        session.plugin_dirs.iter().find(|plugin_dir| plugin_dir.join(&directory).symlink_metadata().is_ok());
    let Some(plugin_dir) = holder else {
        return Err(Failure::says(
            NOT_FOUND,
            format_args!("there is no driver {name} in the plugin directories"),
        ));
    };
    let volumes = volumes_of(&session, &name)?;
    if volumes > 0 && !arguments.force {
        return Err(Failure::says(
            REFUSED,
            format_args!(
                "volumes of {name} are on record ({volumes}) and could not be unmounted without it: unmount them first (`flexvol status` shows them), or use --force"
            ),
        ));
    }
    let installation = Installation::begin(plugin_dir, &name).map_err(refused)?;
    let executable = installation.program();
    let hidden = installation.hide();
    let ended = installation.end();
    hidden.and(ended).map_err(refused)?;
    let report = Report { name, executable, effect: "removed" };
    session.output.print(&report, |report| {
        format!("{} {} from {}", report.name, toned("removed", Tone::Good), report.executable.display())
    })?;
    Ok(OK)
}
