//! `flexvol volume show`, and how the other commands show the volume that they are about.

use flexvolume_host::contract::VolumeDescription;

use super::call::printable;
use crate::administration::{Subject, age, both};
use crate::args::{Global, VolumeShowArguments};
use crate::failure::{Failure, OK};
use crate::secrets::ManifestSecrets;
use crate::session::Session;

pub(super) fn run(global: &Global, arguments: &VolumeShowArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let subject = Subject::new(&session, &arguments.pool)?;
    let volume = subject.one(&arguments.volume)?;
    session.output.print(&volume, text)?;
    Ok(OK)
}

/// All that is known, a line each; what is absent is left out.
pub(super) fn text(volume: &VolumeDescription) -> String {
    let mut lines = vec![
        ("volume", volume.id.clone()),
        ("pool", volume.pool.clone()),
        ("state", volume.state.as_str().to_owned()),
        ("orphan", volume.orphan.map(|reason| reason.as_str().to_owned()).unwrap_or_default()),
        ("size", volume.size.map(both).unwrap_or_default()),
        ("used", volume.used.map(both).unwrap_or_default()),
        ("kind", volume.kind.clone()),
        ("file system", format!("{} {}", volume.fs_type, volume.uuid).trim().to_owned()),
        ("copy of", volume.source.clone()),
        ("age", volume.created.map(age).unwrap_or_default()),
        ("owner", volume.owner.clone()),
        ("device", volume.device.clone()),
    ];
    lines.extend(volume.in_use_by.iter().map(|user| ("in use", user.clone())));
    lines.push(("note", volume.note.clone()));
    let options: Vec<_> = volume.options.iter().map(|(key, value)| format!("{key}: {value:?}")).collect();
    lines.push(("options", options.join(", ")));
    let lines = lines.into_iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(name, value)| format!("{:13}{}\n", format!("{name}:"), printable(&value))).collect()
}
