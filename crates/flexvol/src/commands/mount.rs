//! `flexvol mount`.

use flexvolume_host::lifecycle::{Leaving, Mounted, VolumeManager};
use flexvolume_host::plugin::Effect;
use serde::Serialize;

use crate::args::{Global, MountArguments};
use crate::failure::{Failure, OK};
use crate::manifest::resolve::PodPlan;
use crate::output::{Tone, toned};
use crate::session::Session;
use crate::workload::{check_drivers, load};

/// What became of the pods, as JSON.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) pods: Vec<PodReport>,
}

#[derive(Serialize)]
pub(super) struct PodReport {
    pub(super) uid: String,
    /// `namespace/name`.
    pub(super) pod: Option<String>,
    pub(super) volumes: Vec<VolumeReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VolumeReport {
    #[serde(flatten)]
    volume: Mounted,
    effect: &'static str,
}

pub(super) fn run(global: &Global, arguments: &MountArguments) -> Result<u8, Failure> {
    let workload = load(&arguments.files, global.reading.into())?;
    let session = Session::new(global, workload.secrets)?;
    workload.pods.iter().try_for_each(|plan| check_drivers(&session, plan))?;
    let manager = session.manager();
    let mut report = Report { pods: Vec::new() };
    let mut failed: Option<Failure> = None;
    for plan in &workload.pods {
        match mount(&manager, plan) {
            Ok(pod) => report.pods.push(pod),
            Err(failure) => match &mut failed {
                Some(known) => known.lines.extend(failure.lines),
                None => failed = Some(failure),
            },
        }
    }
    session.output.print(&report, |report| text(report, "mounted"))?;
    failed.map_or(Ok(OK), Err)
}

fn mount(manager: &VolumeManager, plan: &PodPlan) -> Result<PodReport, Failure> {
    // As a user of the volumes, so that a `flexvol run` that ends meanwhile does not unmount them.
    let pod_use = manager.enter(&plan.pod.uid)?;
    let mounted = manager.mount(&plan.pod, &plan.volumes, plan.arguments);
    let kept = mounted.and_then(|mounted| manager.keep(&plan.pod.uid).map(|()| mounted));
    let left = pod_use.leave();
    match kept {
        Ok(mounted) => {
            left?;
            let pod = format!("{}/{}", plan.pod.namespace, plan.pod.name);
            Ok(PodReport::new(plan.pod.uid.to_string(), Some(pod), mounted))
        }
        Err(error) => {
            let mut failure = Failure::from(error);
            if let Ok(Leaving::Last(_guard)) = left {
                // Whoever used the volumes has left them to us.
                let undone = manager.unmount(&plan.pod.uid).map_err(Failure::from);
                failure.lines.extend(undone.err().into_iter().flat_map(|failure| failure.lines));
            }
            Err(failure)
        }
    }
}

impl PodReport {
    pub(super) fn new(uid: String, pod: Option<String>, mounted: Vec<Mounted>) -> Self {
        let report = |volume: Mounted| {
            let changed = volume.effect == Some(Effect::Changed);
            VolumeReport { effect: if changed { "changed" } else { "unchanged" }, volume }
        };
        Self { uid, pod, volumes: mounted.into_iter().map(report).collect() }
    }
}

/// A line for each volume.
pub(super) fn text(report: &Report, done: &str) -> String {
    let mut text = String::new();
    for pod in &report.pods {
        let who = pod.pod.as_deref().unwrap_or(&pod.uid);
        if pod.volumes.is_empty() {
            text.push_str(&format!("{who}: no volumes\n"));
        }
        for VolumeReport { volume, effect } in &pod.volumes {
            let word = if *effect == "changed" { done.to_owned() } else { format!("{done} already") };
            let word = toned(&word, Tone::Good);
            text.push_str(&format!(
                "{who}: {} {word} at {}\n",
                volume.pod_volume,
                volume.mount_dir.display()
            ));
        }
    }
    text
}
