//! One driver call: render, run, read.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use flexvolume::{Call, Capabilities, Verb};
use flexvolume_os::command::{Command, EndOfRun, Streams};
use flexvolume_os::runner::Ended;

use super::PluginError;
use super::redaction::Redaction;
use crate::reply::tolerant::Probe;
use crate::reply::{Asked, Fields, Run, strict, tolerant};
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
    /// Call-outs that were answered "Not supported": they are not made again as long as this value lives.
    unsupported: Mutex<BTreeSet<Verb>>,
    /// How the driver answers a verb that nobody knows.
    nonsense: OnceLock<Run>,
    /// The warnings that were given: once is enough.
    warned: Mutex<BTreeSet<String>>,
}

impl Executable {
    pub(super) fn new(host: Arc<VolumeHost>, path: PathBuf) -> Self {
        Self {
            host,
            path,
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
        self.call_within(call, usual_deadline(&self.host, call.verb()))
    }

    /// Makes a call-out.
    pub(super) fn call_within(&self, call: &Call, deadline: Duration) -> Result<Answer, PluginError> {
        let verb = call.verb();
        if self.is_unsupported(verb) {
            return Ok(Answer::NotSupported);
        }
        let run = self.host.system.runner.run(&self.command(call, deadline));
        let redaction = Redaction::of(call);
        let answer = match self.host.reading {
            Reading::Strict => understand_strictly(verb, &run, &redaction)?,
            Reading::Tolerant => self.understand_tolerantly(verb, &run, &redaction)?,
        };
        if answer == Answer::NotSupported {
            self.unsupported.lock().unwrap_or_else(PoisonError::into_inner).insert(verb);
        }
        Ok(answer)
    }

    fn is_unsupported(&self, verb: Verb) -> bool {
        self.unsupported.lock().unwrap_or_else(PoisonError::into_inner).contains(&verb)
    }

    fn command(&self, call: &Call, deadline: Duration) -> Command {
        let mut arguments = call.to_arguments(self.host.reading.encoding());
        let secret = if carries_secrets(call) { arguments.pop() } else { None };
        let command = self.bare_command(deadline).arguments(arguments);
        match secret {
            Some(options) => command.secret_argument(options),
            None => command,
        }
    }

    fn bare_command(&self, deadline: Duration) -> Command {
        let command = Command::new(&self.path, deadline);
        match self.host.reading {
            Reading::Strict => command.streams(Streams::Shared).end(EndOfRun::EndOfFile).limit(STRICT_LIMIT),
            Reading::Tolerant => {
                let command =
                    command.streams(Streams::Apart).end(EndOfRun::Exit).limit(TOLERANT_LIMIT).directory("/");
                match longer_search_path() {
                    Some(path) => command.variable("PATH", path),
                    None => command,
                }
            }
        }
    }

    fn understand_tolerantly(
        &self,
        verb: Verb,
        run: &Run,
        redaction: &Redaction,
    ) -> Result<Answer, PluginError> {
        let asked = Asked::Call(verb);
        let probe = |run| Probe { verb: tolerant::NONSENSE, run };
        let mut understood = tolerant::read(asked, run, self.nonsense.get().map(probe));
        if self.nonsense.get().is_none() && is_mute(&understood.outcome, run) && may_be_unknown(verb) {
            let nonsense = self.nonsense.get_or_init(|| self.talk_nonsense());
            understood = tolerant::read(asked, run, Some(probe(nonsense)));
        }
        if let Some(rules) = understood.warning() {
            self.warn(verb, rules);
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

    fn warn(&self, verb: Verb, rules: String) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if !warned.contains(&rules) {
            let driver = self.path.display();
            tracing::warn!(%driver, call = verb.as_str(), "the driver's answer needed {rules}");
            warned.insert(rules);
        }
    }

    /// Runs the driver with a verb that it cannot know.
    fn talk_nonsense(&self) -> Run {
        let deadline = usual_deadline(&self.host, Verb::Init);
        self.host.system.runner.run(&self.bare_command(deadline).argument(tolerant::NONSENSE))
    }
}

/// Only the options of `mount` hold secrets; they are its last argument.
fn carries_secrets(call: &Call) -> bool {
    matches!(call, Call::Mount { options, .. } if !options.secrets.is_empty())
}

/// A driver that ended by itself without a reply may simply not know the verb.
fn is_mute(outcome: &tolerant::Outcome, run: &Run) -> bool {
    let mute = matches!(outcome, tolerant::Outcome::Failed(failure) if !failure.replied);
    mute && matches!(run, Ok(output) if matches!(output.ended, Ended::Exited(_)))
}

/// The call-outs of which silence may mean "I do not know that": never of those that a driver must have.
fn may_be_unknown(verb: Verb) -> bool {
    !matches!(verb, Verb::Init | Verb::Mount | Verb::Unmount)
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

/// Kubernetes keeps all output; a bound is needed all the same.
const STRICT_LIMIT: usize = 64 << 20;
/// A reply after some MiB of text is still found.
const TOLERANT_LIMIT: usize = 16 << 20;

/// How long a call-out may take: what Kubernetes lets run for ever gets an hour in the strict reading.
fn usual_deadline(host: &VolumeHost, verb: Verb) -> Duration {
    match (host.reading, verb) {
        (Reading::Tolerant, _) | (Reading::Strict, Verb::WaitForAttach) => host.deadlines.of(verb),
        (Reading::Strict, _) => Duration::from_secs(3600),
    }
}

/// `PATH` with the directories of system programs, which daemons and unprivileged users often lack; `None` where it has
/// them. An environment that is not changed need not be copied for each driver.
fn longer_search_path() -> Option<OsString> {
    let inherited = env::var_os("PATH").unwrap_or_default();
    let known: Vec<PathBuf> = env::split_paths(&inherited).collect();
    let usual =
        ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    let missing: Vec<PathBuf> = usual.into_iter().filter(|directory| !known.contains(directory)).collect();
    if missing.is_empty() { None } else { env::join_paths(known.into_iter().chain(missing)).ok() }
}
