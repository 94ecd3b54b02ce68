//! Runs the checks.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flexvolume::{Capabilities, DriverName, Options, Verb};
use flexvolume_os::System;

use super::answer::{Answer, Meaning};
use super::check::{CHECKS, Check};
use super::leftovers::Before;
use super::place::{PlaceError, PrivatePlace};
use super::report::{CheckReport, Report, Verdict};
use super::secrets::forms;
use super::stage::{Stop, Times, Trial, furnish};
use crate::Reading;
use crate::reply::tolerant::NONSENSE;
use crate::reply::{Asked, Run};
use crate::settings::DriverSettings;

/// The driver that is examined, and with what.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its program, an absolute path.
    pub program: PathBuf,
    /// Its name, from which the directories for mounts are made.
    pub name: DriverName,
    /// A program and its first arguments, to be followed by a directory and the command line of a driver: it must run
    /// that command with [`enter_fence`](super::enter_fence) around that directory. Calls that make no sense go through it.
    pub fence: Vec<OsString>,
    /// The options of every volume; secrets go to `mount` only. Name and pod are set by the suite.
    pub options: Options,
    /// What an operator knows of the driver.
    pub settings: DriverSettings,
    /// Variables on top of the inherited environment and of the settings.
    pub environment: Vec<(OsString, OsString)>,
    /// The longest time for a call of which the settings say nothing.
    pub deadline: Duration,
}

/// Whether the suite goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// Go on.
    None,
    /// Stop before the next check; the report has those that were made, and reaches no level that lacks one.
    Stop,
}

/// What a driver says about itself, learnt once.
pub(super) struct Profile {
    /// `None` if `init` cannot be read.
    pub(super) capabilities: Option<Capabilities>,
    /// Its answer to a verb that nobody knows.
    pub(super) probe: Option<Run>,
}

/// Makes all checks on a driver, each in a world of its own. `watch` is told of each check that was made, and says
/// whether to go on.
///
/// # Errors
/// [`PlaceError`] when the temporary file system cannot be mounted or unmounted.
pub fn run(
    subject: &Subject,
    system: &System,
    place: &PrivatePlace,
    mut watch: impl FnMut(&CheckReport) -> Interruption,
) -> Result<Report, PlaceError> {
    let suite = Suite { subject, system, place };
    let mut profile = Profile { capabilities: None, probe: None };
    suite.in_a_world(&profile, |trial| Ok(learn(trial)))?.into_iter().for_each(|learnt| profile = learnt);
    let mut checks = Vec::new();
    let mut closed = None;
    for check in CHECKS {
        let made = match closed {
            None => suite.make(check, &profile)?,
            Some(gate) => untried(check, gate),
        };
        if GATES.contains(&check.id) && closed.is_none() && made.verdict != Verdict::Passed {
            closed = Some(check.id);
        }
        let interruption = watch(&made);
        checks.push(made);
        if interruption == Interruption::Stop {
            break;
        }
    }
    Ok(Report::new(subject.program.clone(), &subject.settings, profile.capabilities, checks))
}

/// Checks after which none makes sense if they do not pass: each call of a driver that hangs takes its whole time.
const GATES: [&str; 2] = ["init", "life"];

fn untried(check: &Check, gate: &str) -> CheckReport {
    let reason = format!("not tried, because the check {gate} did not pass");
    CheckReport { check: *check, verdict: Verdict::Undecided { reason }, duration: Duration::ZERO }
}

fn learn(trial: &mut Trial<'_>) -> Profile {
    let init = trial.raw(Asked::Call(Verb::Init), &["init"]);
    let capabilities = match init.meaning(Reading::Tolerant, None) {
        Meaning::Success(fields) => fields.capabilities,
        Meaning::Claimed(_) | Meaning::NotSupported | Meaning::Failed { .. } => None,
    };
    let Answer { run: probe, .. } = trial.raw(Asked::Nonsense(NONSENSE), &[NONSENSE]);
    Profile { capabilities, probe: Some(probe) }
}

struct Suite<'a> {
    subject: &'a Subject,
    system: &'a System,
    place: &'a PrivatePlace,
}

impl Suite<'_> {
    fn make(&self, check: &Check, profile: &Profile) -> Result<CheckReport, PlaceError> {
        let start = Instant::now();
        let verdict = self.in_a_world(profile, |trial| {
            let outcome = (check.work)(trial);
            Ok(verdict(outcome, std::mem::take(&mut trial.findings)))
        })?;
        let verdict = verdict.unwrap_or_else(|reason| Verdict::Undecided { reason });
        Ok(CheckReport { check: *check, verdict, duration: start.elapsed() })
    }

    /// Makes a world, does something in it, and takes it away with all that was left in it.
    fn in_a_world<T>(
        &self,
        profile: &Profile,
        work: impl FnOnce(&mut Trial<'_>) -> Result<T, String>,
    ) -> Result<Result<T, String>, PlaceError> {
        let root = self.place.set_up(self.system)?.to_owned();
        let before = Before::look(self.system);
        let result = match (furnish(&root), &before) {
            (Err(error), _) => Err(error.to_string()),
            (Ok(()), Err(error)) => Err(error.to_string()),
            (Ok(()), Ok(before)) => {
                let mut trial = Trial {
                    subject: self.subject,
                    system: self.system,
                    profile,
                    root: root.clone(),
                    before,
                    reading: Reading::Tolerant,
                    encoding: None,
                    times: Times::Once,
                    kill: None,
                    search_path: None,
                    mount_device: None,
                    device: String::new(),
                    answers: Vec::new(),
                    findings: Vec::new(),
                    secrets: secrets(self.subject),
                };
                let result = work(&mut trial);
                before.restore(self.system, &root);
                result
            }
        };
        self.place.tear_down(self.system)?;
        Ok(result)
    }
}

/// What must not be shown: people put secrets into the environment too.
fn secrets(subject: &Subject) -> Vec<String> {
    let mut known = forms(&subject.options.secrets);
    known.extend(subject.settings.environment.iter().flat_map(|(name, setting)| {
        forms(&[(name.to_string_lossy().into_owned(), setting.value.clone())].into())
    }));
    known
}

fn verdict(outcome: Result<(), Stop>, findings: Vec<super::Finding>) -> Verdict {
    match outcome {
        _ if !findings.is_empty() => Verdict::Failed { findings },
        Ok(()) => Verdict::Passed,
        Err(Stop::NotApplicable(reason)) => Verdict::NotApplicable { reason },
        Err(Stop::Undecided(reason)) => Verdict::Undecided { reason },
        Err(Stop::Failed) => Verdict::Undecided { reason: "the check failed without saying why".to_owned() },
    }
}
