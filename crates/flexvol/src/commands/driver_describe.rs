//! `flexvol driver describe`.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use flexvolume_host::contract::{Capabilities, DriverName};
use flexvolume_host::lifecycle::Overview;
use flexvolume_host::registry::RegistryError;
use serde::Serialize;

use super::driver_list::capability_words;
use crate::args::{DescribeArguments, Global};
use crate::failure::{BAD_INPUT, Failure, NOT_FOUND, OK, STEP_FAILED};
use crate::identity::Identity;
use crate::secrets::ManifestSecrets;
use crate::session::Session;
use crate::workload::remedy;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    name: DriverName,
    executable: PathBuf,
    /// Where the executable leads, when it is a symlink.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<PathBuf>,
    size: u64,
    mode: String,
    #[serde(flatten)]
    identity: Identity,
    capabilities: Capabilities,
    attachable: bool,
    volumes_on_record: usize,
}

pub(super) fn run(global: &Global, arguments: &DescribeArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let name = DriverName::parse(arguments.name.clone()).map_err(|error| Failure::new(BAD_INPUT, error))?;
    let plugin = session.registry.find_by_name(&name).map_err(|error| not_there(&error))?;
    let executable = plugin.executable().to_owned();
    let metadata = std::fs::metadata(&executable)?;
    let description = Description {
        target: std::fs::read_link(&executable).ok(),
        size: metadata.len(),
        identity: Identity::of(&plugin),
        mode: format!("{:04o}", metadata.mode() & 0o7777),
        capabilities: plugin.capabilities(),
        attachable: plugin.capabilities().attach,
        volumes_on_record: volumes_of(&session, &name)?,
        executable,
        name,
    };
    session.output.print(&description, text)?;
    Ok(OK)
}

/// The failure for a driver that is not there, or not usable.
pub(super) fn not_there(error: &RegistryError) -> Failure {
    let code = if matches!(error, RegistryError::NotFound { .. }) { NOT_FOUND } else { STEP_FAILED };
    Failure::says(code, remedy(error))
}

/// How many volumes of a driver are on record.
pub(super) fn volumes_of(session: &Session, name: &DriverName) -> Result<usize, Failure> {
    let Overview { volumes, .. } = session.manager().status()?;
    Ok(volumes.iter().filter(|volume| volume.driver == *name).count())
}

fn text(description: &Description) -> String {
    let mut lines = vec![
        ("name", description.name.to_string()),
        ("executable", description.executable.display().to_string()),
    ];
    lines.extend(description.target.as_ref().map(|target| ("symlink to", target.display().to_string())));
    lines.extend([("size", format!("{} bytes", description.size)), ("mode", description.mode.clone())]);
    lines.extend(description.identity.lines());
    lines.extend([
        ("shape", shape(description.attachable).to_owned()),
        ("capabilities", capability_words(description.capabilities)),
        ("volumes on record", description.volumes_on_record.to_string()),
    ]);
    lines.into_iter().map(|(what, value)| format!("{what:18}{value}\n")).collect()
}

fn shape(attachable: bool) -> &'static str {
    if attachable {
        "attachable: attach, waitforattach, mountdevice, mount and back"
    } else {
        "plain: mount, unmount"
    }
}
