//! `flexvol resize`.

use std::path::PathBuf;

use flexvolume_host::contract::{Bytes, PodUid};
use flexvolume_host::lifecycle::{PodVolume, Resize, Resized};
use flexvolume_host::plugin::Effect;
use flexvolume_host::spec::{Source, VolumeSpec};
use serde::Serialize;

use crate::args::{Global, ResizeArguments};
use crate::failure::{BAD_INPUT, Failure, NOT_FOUND, OK};
use crate::output::{Tone, toned};
use crate::secrets::ManifestSecrets;
use crate::session::Session;
use crate::usage::{Surveyor, shown};
use crate::workload::load;

/// Which volume, and how the manifest describes it now.
struct Target {
    pod: PodUid,
    volume: String,
    described: Option<VolumeSpec>,
}

/// What became of it, as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    pod: PodUid,
    pod_volume: String,
    volume: String,
    driver: String,
    mount_dir: PathBuf,
    effect: &'static str,
    old_size: u64,
    size: u64,
    /// The size of the file system, if it is the volume's own.
    file_system: Option<u64>,
    /// What is left to do by hand.
    warnings: Vec<String>,
}

pub(super) fn run(global: &Global, arguments: &ResizeArguments) -> Result<u8, Failure> {
    let target = target(global, arguments)?;
    let session = Session::new(global, ManifestSecrets::default())?;
    let surveyor = Surveyor::new(&*session.host.system.runner);
    let resized = session.manager().resize(&Resize {
        pod: &target.pod,
        volume: &target.volume,
        size: arguments.size.get(),
        capacity: &|mount_dir| surveyor.figures(mount_dir).ok().map(|metrics| metrics.capacity),
    })?;
    let report = Report::new(&target, resized);
    session.output.print(&report, text)?;
    if global.output == crate::args::OutputFormat::Text {
        report.warnings.iter().for_each(|warning| session.output.note(warning));
    }
    Ok(OK)
}

/// The one volume that is meant.
fn target(global: &Global, arguments: &ResizeArguments) -> Result<Target, Failure> {
    if let (Some(pod), Some(volume)) = (&arguments.pod, &arguments.volume) {
        let pod = PodUid::parse(pod.clone()).map_err(|error| Failure::new(BAD_INPUT, error))?;
        return Ok(Target { pod, volume: volume.clone(), described: None });
    }
    let workload = load(&arguments.files, global.reading.into())?;
    let volumes = workload.pods.into_iter().flat_map(|plan| {
        let pod = plan.pod;
        plan.volumes.into_iter().map(move |volume| (pod.clone(), volume))
    });
    let (meant, others): (Vec<_>, Vec<_>) =
        volumes.partition(|(_, volume)| arguments.volume.as_ref().is_none_or(|name| is_called(volume, name)));
    match <[_; 1]>::try_from(meant) {
        Ok([(pod, PodVolume { pod_volume, spec })]) => {
            Ok(Target { pod: pod.uid, volume: pod_volume, described: Some(spec) })
        }
        Err(meant) => {
            let all: Vec<_> = meant
                .iter()
                .chain(&others)
                .map(|(pod, volume)| format!("{} of {}/{}", volume.pod_volume, pod.namespace, pod.name))
                .collect();
            let listed = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
            Err(if meant.is_empty() {
                Failure::says(
                    NOT_FOUND,
                    format_args!("no such volume in the manifests (FlexVolume volumes: {listed})"),
                )
            } else {
                Failure::says(
                    BAD_INPUT,
                    format_args!(
                        "several volumes are meant ({listed}): say which one, with --volume NAME or --pod UID"
                    ),
                )
            })
        }
    }
}

fn is_called(volume: &PodVolume, name: &str) -> bool {
    volume.pod_volume == name || volume.spec.name.as_str() == name
}

impl Report {
    fn new(target: &Target, resized: Resized) -> Self {
        let described = target.described.as_ref().unwrap_or(&resized.spec);
        Self {
            warnings: warnings(described, resized.size),
            pod: target.pod.clone(),
            pod_volume: resized.pod_volume,
            volume: resized.spec.name.to_string(),
            driver: resized.spec.driver,
            mount_dir: resized.mount_dir,
            effect: if resized.effect == Effect::Changed { "changed" } else { "unchanged" },
            old_size: resized.old_size,
            size: resized.size,
            file_system: resized.file_system,
        }
    }
}

/// Where the description still has another size: a driver may take it for a volume that it does not know.
fn warnings(described: &VolumeSpec, size: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Source::PersistentVolume { capacity: Some(capacity), .. } = described.source
        && capacity != size
    {
        warnings.push(format!(
            "the persistent volume says spec.capacity.storage {}; write {size} there",
            shown(capacity)
        ));
    }
    let option = described.options.get("size");
    if let Some(option) =
        option.filter(|option| Bytes::parse_size(option).is_ok_and(|bytes| bytes.get() != size))
    {
        warnings.push(format!(
            "the volume's option \"size\" is {option}; the driver may want {size} there at the next mount"
        ));
    }
    warnings
}

fn text(report: &Report) -> String {
    let Report { pod, pod_volume, effect, old_size, size, file_system, .. } = report;
    let word = if *effect == "changed" { "resized" } else { "has that size already" };
    let word = toned(word, Tone::Good);
    let from = if *effect == "changed" && *old_size > 0 {
        format!(" from {}", shown(*old_size))
    } else {
        String::new()
    };
    let holds = file_system.map(|bytes| format!(" (file system {})", shown(bytes))).unwrap_or_default();
    format!("{pod}: {pod_volume} {word}{from}: {}{holds}", shown(*size))
}
