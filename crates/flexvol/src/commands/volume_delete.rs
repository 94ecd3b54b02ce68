//! `flexvol volume delete`.

use flexvolume_host::contract::{Options, Orphan, VolumeDescription, VolumeState};
use serde::Serialize;

use super::call::printable;
use crate::administration::{Subject, age, age_of, failed, named};
use crate::args::{EraseWord, Global, VolumeDeleteArguments};
use crate::failure::{Failure, OK, STEP_FAILED};
use crate::secrets::ManifestSecrets;
use crate::session::Session;
use crate::usage::shown;

/// What became of the volumes, or would.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    deleted: Vec<VolumeDescription>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

pub(super) fn run(global: &Global, arguments: &VolumeDeleteArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let subject = Subject::new(&session, &arguments.pool)?;
    let wish = Wish::of(arguments);
    let mut report = Report { dry_run: wish.run == Run::Dry, deleted: Vec::new(), errors: Vec::new() };
    match &arguments.volume {
        Some(volume) => {
            let options = wish.options(subject.named(named(volume)?), arguments.orphan);
            report.deleted.extend(delete(&subject, &options)?);
        }
        None => {
            for orphan in orphans(&subject, arguments)? {
                let options = wish.options(subject.named(&orphan.id), orphan.orphan);
                match delete(&subject, &options) {
                    Ok(deleted) => report.deleted.extend(deleted),
                    Err(failure) => report.errors.extend(failure.lines),
                }
            }
        }
    }
    session.output.print(&report, text)?;
    if report.dry_run && !arguments.dry_run && !report.deleted.is_empty() {
        session.output.note("nothing was deleted: give --yes to delete this");
    }
    if report.errors.is_empty() {
        return Ok(OK);
    }
    Err(Failure { code: STEP_FAILED, lines: report.errors })
}

/// The orphans of the pool that are old enough.
fn orphans(subject: &Subject, arguments: &VolumeDeleteArguments) -> Result<Vec<VolumeDescription>, Failure> {
    let mut found = subject.plugin.list_volumes(subject.options.clone()).map_err(failed)?;
    found.retain(|volume| volume.orphan.is_some_and(|reason| Orphan::ALL.contains(&reason)));
    if let Some(min_age) = arguments.min_age {
        found.retain(|volume| volume.created.is_some_and(|created| age_of(created) >= min_age));
    }
    Ok(found)
}

/// How volumes are to be deleted.
struct Wish {
    erase: Option<EraseWord>,
    run: Run,
}

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Dry,
    Real,
}

impl Wish {
    /// Orphans are shown first, and deleted when that was confirmed.
    fn of(arguments: &VolumeDeleteArguments) -> Self {
        let unconfirmed = (arguments.all_orphans || arguments.orphan.is_some()) && !arguments.yes;
        let run = if arguments.dry_run || unconfirmed { Run::Dry } else { Run::Real };
        Self { erase: arguments.erase, run }
    }

    /// The options of the volume with those of its deletion.
    fn options(&self, mut options: Options, orphan: Option<Orphan>) -> Options {
        let mut say = |key: &str, value: &str| options.user.insert(key.to_owned(), value.to_owned());
        if let Some(erase) = self.erase {
            say("erase", erase.as_str());
        }
        if let Some(reason) = orphan {
            say("orphan", reason.as_str());
        }
        if self.run == Run::Dry {
            say("dryRun", "true");
        }
        options
    }
}

/// Deletes one volume. A driver overwrites for a while and then fails; as long as each call has come further, it is
/// called again.
fn delete(subject: &Subject, options: &Options) -> Result<Option<VolumeDescription>, Failure> {
    let mut left = None;
    loop {
        let error = match subject.plugin.delete_volume(options.clone()) {
            Ok(deleted) => return Ok(deleted),
            Err(error) => failed(error),
        };
        let before = left;
        left = being_removed(subject, &options.volume_name);
        if left.is_none() || left == before {
            return Err(error);
        }
    }
}

/// How far the removal of a volume has come: what it still takes, and what the driver says of it.
fn being_removed(subject: &Subject, volume: &str) -> Option<(Option<u64>, String)> {
    let found = subject.all_of(volume).ok()?;
    let removing = found.into_iter().find(|found| found.state == VolumeState::Removing)?;
    Some((removing.used, removing.note))
}

fn text(report: &Report) -> String {
    let word = if report.dry_run { "would delete" } else { "deleted" };
    if report.deleted.is_empty() && report.errors.is_empty() {
        return "there is nothing to delete\n".to_owned();
    }
    let lines = report.deleted.iter().map(|volume| {
        let mut words = vec![format!("{word} {}", volume.id)];
        words.extend(volume.orphan.map(|reason| format!("orphan: {}", reason.as_str())));
        words.extend(volume.size.map(shown));
        words.extend(volume.created.map(|created| format!("{} old", age(created))));
        words.push(volume.device.clone());
        words.retain(|word| !word.is_empty());
        printable(&words.join(", ")) + "\n"
    });
    lines.collect()
}
