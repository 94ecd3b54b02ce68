//! One driver call: render, run, read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use flexvolume::{Call, Capabilities, ExtensionCall, Verb};
use flexvolume_os::runner::{Captured, Ended};

use super::redaction::Redaction;
use super::{Invocation, PluginError, v1};
use crate::reply::tolerant::Probe;
use crate::reply::{Asked, Fields, Run, strict, tolerant};
use crate::settings::{DriverSettings, Protocol};
use crate::{Reading, VolumeHost};

/// What the driver answered, when it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Done.
    Done(Fields),
    /// The driver says that it is done, but there is reason to look.
    Claimed(Fields),
    /// The host does it.
    NotSupported,
}

/// A driver's executable, and what was learnt of it.
pub(super) struct Executable {
    host: Arc<VolumeHost>,
    path: PathBuf,
    settings: Arc<DriverSettings>,
    /// Call-outs that were answered "Not supported": they are not made again as long as this value lives.
    unsupported: Mutex<BTreeSet<Verb>>,
    /// How the driver answers a verb that nobody knows.
    nonsense: OnceLock<Run>,
    /// The warnings that were given: once is enough.
    warned: Mutex<BTreeSet<String>>,
}

impl Executable {
    pub(super) fn new(host: Arc<VolumeHost>, path: PathBuf, settings: Arc<DriverSettings>) -> Self {
        Self {
            host,
            path,
            settings,
            unsupported: Mutex::default(),
            nonsense: OnceLock::new(),
            warned: Mutex::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn host(&self) -> &VolumeHost {
        &self.host
    }

    pub(super) fn settings(&self) -> &Arc<DriverSettings> {
        &self.settings
    }

    /// Asks the driver what it can do; answers the message as well.
    pub(super) fn init(&self) -> Result<(Capabilities, String), PluginError> {
        match self.call(&Call::Init)? {
            Answer::Done(fields) | Answer::Claimed(fields) => {
                let capabilities = fields.capabilities.ok_or(PluginError::NullCapabilities)?;
                Ok((capabilities, fields.message))
            }
            Answer::NotSupported => Err(PluginError::NotSupported),
        }
    }

    /// Makes a call-out within the usual time of its verb.
    pub(super) fn call(&self, call: &Call) -> Result<Answer, PluginError> {
        self.call_on(call, "")
    }

    /// Makes a call-out on a volume with this device, which some drivers want to be told.
    pub(super) fn call_on(&self, call: &Call, device: &str) -> Result<Answer, PluginError> {
        self.make(call, device, self.usual_deadline(call.verb()))
    }

    /// Makes a call-out within this time.
    pub(super) fn call_within(&self, call: &Call, deadline: Duration) -> Result<Answer, PluginError> {
        self.make(call, "", deadline)
    }

    fn make(&self, call: &Call, device: &str, deadline: Duration) -> Result<Answer, PluginError> {
        let verb = call.verb();
        if self.is_unsupported(verb) {
            return Ok(Answer::NotSupported);
        }
        let run = self.host.system.runner.run(&self.invocation().command((call, device), deadline));
        let redaction = Redaction::of(call);
        let answer = match self.host.reading {
            Reading::Strict => understand_strictly(verb, &run, &redaction)?,
            Reading::Tolerant => self.understand_tolerantly(Asked::Call(verb), &run, &redaction)?,
        };
        if answer == Answer::NotSupported {
            self.unsupported.lock().unwrap_or_else(PoisonError::into_inner).insert(verb);
        }
        Ok(answer)
    }

    fn is_unsupported(&self, verb: Verb) -> bool {
        if self.settings.protocol.value == Protocol::V1 && !v1::has(verb) {
            return true;
        }
        self.unsupported.lock().unwrap_or_else(PoisonError::into_inner).contains(&verb)
    }

    fn invocation(&self) -> Invocation<'_> {
        let reading = self.host.reading;
        Invocation { program: &self.path, settings: &self.settings, reading, encoding: reading.encoding() }
    }

    /// How long a call-out may take: what Kubernetes lets run for ever gets an hour in the strict reading.
    pub(super) fn usual_deadline(&self, verb: Verb) -> Duration {
        match (self.settings.deadline(verb), self.host.reading, verb) {
            (Some(deadline), ..) => deadline,
            (None, Reading::Tolerant, _) | (None, Reading::Strict, Verb::WaitForAttach) => {
                self.host.deadlines.of(verb)
            }
            (None, Reading::Strict, _) => Duration::from_secs(3600),
        }
    }

    fn understand_tolerantly(
        &self,
        asked: Asked<'_>,
        run: &Run,
        redaction: &Redaction,
    ) -> Result<Answer, PluginError> {
        let probe = |run| Probe { verb: tolerant::NONSENSE, run };
        let mut understood = tolerant::read(asked, run, self.nonsense.get().map(probe));
        if self.nonsense.get().is_none() && is_mute(&understood.outcome, run) && may_be_unknown(asked) {
            let nonsense = self.nonsense.get_or_init(|| self.talk_nonsense());
            understood = tolerant::read(asked, run, Some(probe(nonsense)));
        }
        if let Some(rules) = understood.warning() {
            self.warn(asked, rules);
        }
        match understood.outcome {
            tolerant::Outcome::Success(fields) => Ok(Answer::Done(fields)),
            tolerant::Outcome::Claimed(fields) => Ok(Answer::Claimed(fields)),
            tolerant::Outcome::NotSupported => Ok(Answer::NotSupported),
            tolerant::Outcome::Failed(failure) => {
                Err(PluginError::Driver { text: redaction.failure(&failure, run) })
            }
        }
    }

    fn warn(&self, asked: Asked<'_>, rules: String) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if !warned.contains(&rules) {
            let driver = self.path.display();
            tracing::warn!(%driver, call = asked.name(), "the driver's answer needed {rules}");
            warned.insert(rules);
        }
    }

    /// Makes a call-out that Kubernetes does not have; answers what the driver printed when it succeeded, and `None`
    /// when it does not have it either. That is not remembered: the driver may be replaced, and nobody waits for it.
    pub(super) fn call_extension(
        &self,
        call: &ExtensionCall,
        deadline: Duration,
    ) -> Result<Option<Captured>, PluginError> {
        let redaction = Redaction::of_options(&call.options);
        // Kubernetes has no reading of it.
        let invocation = Invocation { reading: Reading::Tolerant, ..self.invocation() };
        let run = self.host.system.runner.run(&invocation.extension(call, deadline));
        match self.understand_tolerantly(Asked::Extension(call.verb), &run, &redaction)? {
            Answer::NotSupported => Ok(None),
            Answer::Done(_) | Answer::Claimed(_) => match run {
                Ok(output) if !redaction.is_in(&output) => Ok(Some(output.stdout)),
                _ => {
                    let text = format!("the answer to {} holds a secret", call.verb.as_str());
                    Err(PluginError::Driver { text })
                }
            },
        }
    }

    /// Runs `init` once more and says how it was answered, whatever it was.
    pub(super) fn ask_init(&self) -> Run {
        let deadline = self.usual_deadline(Verb::Init);
        self.host.system.runner.run(&self.invocation().command((&Call::Init, ""), deadline))
    }

    /// Runs the driver with a verb that it cannot know.
    pub(super) fn talk_nonsense(&self) -> Run {
        let deadline = self.usual_deadline(Verb::Init);
        self.host.system.runner.run(&self.invocation().bare(deadline).argument(tolerant::NONSENSE))
    }
}

/// A driver that ended by itself without a reply may simply not know the verb.
fn is_mute(outcome: &tolerant::Outcome, run: &Run) -> bool {
    let mute = matches!(outcome, tolerant::Outcome::Failed(failure) if !failure.replied);
    mute && matches!(run, Ok(output) if matches!(output.ended, Ended::Exited(_)))
}

/// The call-outs of which silence may mean "I do not know that": never of those that a driver must have.
fn may_be_unknown(asked: Asked<'_>) -> bool {
    !matches!(asked, Asked::Call(Verb::Init | Verb::Mount | Verb::Unmount))
}

fn understand_strictly(verb: Verb, run: &Run, redaction: &Redaction) -> Result<Answer, PluginError> {
    match strict::read(Asked::Call(verb), run) {
        strict::Outcome::Success(fields) => Ok(Answer::Done(fields)),
        strict::Outcome::NotSupported => Ok(Answer::NotSupported),
        strict::Outcome::Failed(text)
        | strict::Outcome::Unreadable(text)
        | strict::Outcome::ExecError(text) => Err(PluginError::Driver { text: redaction.text(&text) }),
        strict::Outcome::TimedOut => Err(PluginError::Driver { text: "timeout".to_owned() }),
    }
}
