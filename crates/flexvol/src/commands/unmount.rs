//! `flexvol unmount`.

use flexvolume_host::contract::PodUid;
use flexvolume_host::lifecycle::{Leaving, Mounted, VolumeManager};

use super::mount::{PodReport, Report, text};
use crate::args::{Global, UnmountArguments};
use crate::failure::{BAD_INPUT, Failure, OK, REFUSED, STEP_FAILED};
use crate::manifest::resolve::pods;
use crate::secrets::ManifestSecrets;
use crate::session::Session;
use crate::workload::{documents, no_pod};

pub(super) fn run(global: &Global, arguments: &UnmountArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let manager = session.manager();
    let mut report = Report { pods: Vec::new() };
    let mut failed = Failure { code: STEP_FAILED, lines: Vec::new() };
    for (uid, name) in wanted(arguments)? {
        match unmount(&manager, &uid, arguments) {
            Ok(unmounted) => report.pods.push(PodReport::new(uid.to_string(), name, unmounted)),
            Err(failure) => {
                failed.code = failure.code;
                failed.lines.extend(failure.lines);
            }
        }
    }
    session.output.print(&report, |report| text(report, "unmounted"))?;
    if failed.lines.is_empty() { Ok(OK) } else { Err(failed) }
}

fn unmount(
    manager: &VolumeManager,
    uid: &PodUid,
    arguments: &UnmountArguments,
) -> Result<Vec<Mounted>, Failure> {
    // While this lives nobody begins to use the volumes.
    let leaving = manager.enter(uid)?.leave()?;
    if matches!(leaving, Leaving::OthersRemain) && !arguments.force {
        let words = "a command of `flexvol run` uses the volumes; let it end first, or use --force";
        return Err(Failure::says(REFUSED, format_args!("pod {uid}: {words}")));
    }
    Ok(manager.unmount(uid)?)
}

/// The pods by uid, with their names where they are known.
fn wanted(arguments: &UnmountArguments) -> Result<Vec<(PodUid, Option<String>)>, Failure> {
    let mut wanted = Vec::new();
    for uid in &arguments.pod {
        let uid = PodUid::parse(uid.clone()).map_err(|error| Failure::new(BAD_INPUT, error))?;
        wanted.push((uid, None));
    }
    let named = pods(&documents(&arguments.files)?)?;
    wanted.extend(named.into_iter().map(|(uid, name)| (uid, Some(name))));
    if wanted.is_empty() { Err(no_pod()) } else { Ok(wanted) }
}
