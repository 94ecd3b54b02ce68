//! `flexvol status`.

use std::path::Path;

use flexvolume_host::lifecycle::{Overview, Phase, UnreadableRecord, VolumeStatus};
use flexvolume_host::plugin::Metrics;
use serde::Serialize;

use super::status_agent;
use crate::agent::StatusDocument;
use crate::args::{Global, StatusArguments};
use crate::failure::{Failure, OK};
use crate::output::{Cell, Tone, table, toned};
use crate::secrets::ManifestSecrets;
use crate::session::Session;
use crate::usage::{NoFigures, Surveyor, shown};

/// What is so, as JSON.
#[derive(Serialize)]
struct Report {
    volumes: Vec<Line>,
    unreadable: Vec<UnreadableRecord>,
    /// What the agent of this root says, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<StatusDocument>,
}

/// A volume, and with `--usage` how full it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(flatten)]
    volume: VolumeStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Metrics>,
    /// Why there is no usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_usage: Option<String>,
}

pub(super) fn run(global: &Global, arguments: &StatusArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    if arguments.watch {
        return status_agent::watch(&session);
    }
    let overview = session.manager().status()?;
    let usage = arguments.usage.then(|| survey(&session, &overview));
    // Records and mount table stand for themselves: an agent that does not answer changes nothing about them.
    let agent = status_agent::ask_if_there(&session);
    let report = Report { agent, ..report(overview, usage) };
    session.output.print(&report, |report| text(report, arguments))?;
    Ok(OK)
}

/// How full the pods' volumes are; the device below shows the same file system and is left out.
fn survey(session: &Session, overview: &Overview) -> Vec<Result<Metrics, NoFigures>> {
    let places: Vec<_> = overview.volumes.iter().map(|volume| place(session, volume)).collect();
    Surveyor::new(&*session.host.system.runner).all(&places)
}

/// Where to look, if the figures there are the volume's.
fn place<'a>(session: &Session, volume: &'a VolumeStatus) -> Result<&'a Path, NoFigures> {
    if volume.pod.is_none() || !volume.mounted {
        return Err(NoFigures::NotMounted);
    }
    let plugin = session.registry.find_by_name(&volume.driver);
    let plugin = plugin.map_err(|error| NoFigures::NoDriver(error.to_string()))?;
    if plugin.capabilities().supports_metrics { Ok(&volume.path) } else { Err(NoFigures::NotSupported) }
}

fn report(overview: Overview, usage: Option<Vec<Result<Metrics, NoFigures>>>) -> Report {
    let mut usage = usage.into_iter().flatten();
    let line = |volume: VolumeStatus| {
        let is_device = volume.pod.is_none();
        let (usage, no_usage) = match usage.next().filter(|_| !is_device) {
            None => (None, None),
            Some(Ok(metrics)) => (Some(metrics), None),
            Some(Err(why)) => (None, Some(why.to_string())),
        };
        Line { volume, usage, no_usage }
    };
    Report {
        volumes: overview.volumes.into_iter().map(line).collect(),
        unreadable: overview.unreadable,
        agent: None,
    }
}

fn text(report: &Report, arguments: &StatusArguments) -> String {
    let agent = report.agent.as_ref().map(status_agent::text).unwrap_or_default();
    if report.volumes.is_empty() && report.unreadable.is_empty() {
        return format!("no volumes\n{agent}");
    }
    let rows = report.volumes.iter().map(|Line { volume, .. }| {
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
    if arguments.usage {
        text.push_str(&usage_table(report));
    }
    for Line { volume, .. } in &report.volumes {
        if let Some(size) = volume.resizing_to {
            let word = toned("unfinished resize", Tone::Doubtful);
            text.push_str(&format!("{word}: {} of {}: to {}\n", volume.volume, who(volume), shown(size)));
        }
        if let Some(error) = &volume.error {
            text.push_str(&format!(
                "{}: {} of {}: {error}\n",
                toned("error", Tone::Bad),
                volume.volume,
                who(volume)
            ));
        }
    }
    for record in &report.unreadable {
        let file = record.file.display();
        text.push_str(&format!("{}: {file}: {}\n", toned("unreadable record", Tone::Bad), record.why));
    }
    text + &agent
}

fn usage_table(report: &Report) -> String {
    let rows = report.volumes.iter().filter_map(|line| {
        let volume = &line.volume;
        let ends = match (&line.usage, &line.no_usage) {
            (Some(usage), _) => {
                let sizes = [usage.capacity, usage.used, usage.available].map(|bytes| shown(bytes).into());
                let [capacity, used, available]: [Cell; 3] = sizes;
                [capacity, used, available, format!("{} of {}", usage.inodes_used, usage.inodes).into()]
            }
            (None, Some(why)) => {
                [Cell::toned("-", Tone::Doubtful), "-".into(), "-".into(), why.as_str().into()]
            }
            (None, None) => return None,
        };
        let [capacity, used, available, inodes] = ends;
        Some([who(volume).into(), (&volume.volume).into(), capacity, used, available, inodes])
    });
    table(["POD", "VOLUME", "SIZE", "USED", "AVAILABLE", "INODES USED"], rows)
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
