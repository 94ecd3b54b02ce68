//! `flexvol status`.

use flexvolume_host::lifecycle::{Overview, Phase, VolumeStatus};

use crate::args::Global;
use crate::failure::{Failure, OK};
use crate::output::{Cell, Tone, table, toned};
use crate::secrets::ManifestSecrets;
use crate::session::Session;

pub(super) fn run(global: &Global) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let overview = session.manager().status()?;
    session.output.print(&overview, text)?;
    Ok(OK)
}

fn text(overview: &Overview) -> String {
    if overview.volumes.is_empty() && overview.unreadable.is_empty() {
        return "no volumes".to_owned();
    }
    let rows = overview.volumes.iter().map(|volume| {
        [
            who(volume).into(),
            (&volume.volume).into(),
            (&volume.driver).into(),
            state(volume),
            volume.to_undo.join(", ").into(),
            volume.path.display().into(),
        ]
    });
    let mut text = table(["POD", "VOLUME", "DRIVER", "STATE", "TO UNDO", "PATH"], rows);
    for volume in &overview.volumes {
        if let Some(error) = &volume.error {
            text.push_str(&format!(
                "{}: {} of {}: {error}\n",
                toned("error", Tone::Bad),
                volume.volume,
                who(volume)
            ));
        }
    }
    for record in &overview.unreadable {
        let file = record.file.display();
        text.push_str(&format!("{}: {file}: {}\n", toned("unreadable record", Tone::Bad), record.why));
    }
    text
}

fn who(volume: &VolumeStatus) -> String {
    match (&volume.pod_name, &volume.pod) {
        (Some(name), Some(uid)) if uid.as_str() == name.replacen('/', ".", 1) => name.clone(),
        (Some(name), Some(uid)) => format!("{name} ({uid})"),
        (None, Some(uid)) => uid.to_string(),
        (_, None) => "(node)".to_owned(),
    }
}

/// What is so, in one word: the record's phase, checked against the mount table.
fn state(volume: &VolumeStatus) -> Cell {
    match (volume.phase, volume.mounted) {
        (Phase::Mounted, true) => Cell::toned("mounted", Tone::Good),
        (Phase::Mounted, false) => Cell::toned("mounted (no mount there)", Tone::Doubtful),
        (phase, _) => Cell::toned(phase_word(phase), Tone::Doubtful),
    }
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Attaching => "attaching",
        Phase::Attached => "attached",
        Phase::MountingDevice => "mounting-device",
        Phase::DeviceMounted => "device-mounted",
        Phase::Mounting => "mounting",
        Phase::Mounted => "mounted",
        Phase::Unmounting => "unmounting",
        Phase::UnmountingDevice => "unmounting-device",
        Phase::Detaching => "detaching",
    }
}
