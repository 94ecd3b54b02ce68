//! What a check works with: one world for itself, calls in it, and the findings.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume::{Call, Capabilities, Encoding, Verb};
use flexvolume_os::System;
use flexvolume_os::command::Command;
use flexvolume_os::mount::{MountError, MountPoint};
use flexvolume_os::runner::Ended;

use super::answer::{Answer, Meaning, shown};
use super::leftovers::Before;
use super::report::Finding;
use super::suite::{Profile, Subject};
use crate::Reading;
use crate::plugin::shape;
use crate::reply::{Asked, Fields};

/// Why a check ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The findings say why.
    Failed,
    /// There is nothing to check.
    NotApplicable(String),
    /// It cannot be checked.
    Undecided(String),
}

/// How a check ends; what is wrong with the driver is among the findings.
pub(super) type Outcome = Result<(), Stop>;

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Undecided(error.to_string())
    }
}

impl From<MountError> for Stop {
    fn from(error: MountError) -> Self {
        Stop::Undecided(error.to_string())
    }
}

/// A step of a volume's life that did not work.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The driver's doing.
    Driver(Finding),
    /// Ours, or the machine's.
    Suite(String),
}

/// A check that needs a volume only to look at something else cannot decide; whether volumes live is for another one.
impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Driver(finding) => {
                Stop::Undecided(format!("a volume does not live: {}: {}", finding.done, finding.happened))
            }
            Trouble::Suite(why) => Stop::Undecided(why),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Suite(error.to_string())
    }
}

impl From<MountError> for Trouble {
    fn from(error: MountError) -> Self {
        Trouble::Suite(error.to_string())
    }
}

/// What a driver that does not fail says.
pub(super) enum Done {
    Success(Fields),
    NotSupported,
}

/// How often each call that changes something is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Once,
    /// Twice, one after the other; the second answer must be like the first.
    Twice,
    /// Twice at the same time; one of the two must work.
    AtOnce,
}

/// A call that is to be killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kill {
    pub(super) verb: Verb,
    pub(super) after: Duration,
}

/// One check at work.
#[derive(Clone)]
pub(super) struct Trial<'a> {
    pub(super) subject: &'a Subject,
    pub(super) system: &'a System,
    pub(super) profile: &'a Profile,
    /// The temporary file system, laid out as kubelet's root directory, with a few directories more.
    pub(super) root: PathBuf,
    pub(super) before: &'a Before,
    pub(super) reading: Reading,
    /// Instead of that of the reading.
    pub(super) encoding: Option<Encoding>,
    pub(super) times: Times,
    /// Kills the next call of its verb, once.
    pub(super) kill: Option<Kill>,
    /// Instead of the inherited one.
    pub(super) search_path: Option<PathBuf>,
    /// The last `mountdevice`, with its device in it.
    pub(super) mount_device: Option<Call>,
    /// The device of the last volume brought up, which some drivers want to be told.
    pub(super) device: String,
    /// Every answer so far.
    pub(super) answers: Vec<Answer>,
    pub(super) findings: Vec<Finding>,
    /// What must not be shown.
    pub(super) secrets: Vec<String>,
}

/// The exit code of a fence that could not be put up.
const NO_FENCE: i32 = 125;

const SEE_WHY: &str = "run the call by hand with `flexvol call`, and mend what the driver says";
const SEE_HOW_IT_READS: &str =
    "print one JSON object and nothing else, in time; `flexvol driver explain` shows how an answer is read";

/// What more a check finds is left out: the first ones are the ones to mend.
const MOST_FINDINGS: usize = 8;

/// The directories that every world has.
pub(super) const WORKING_DIRECTORY: &str = "working-directory";
pub(super) const TEMPORARY: &str = "temporary";
pub(super) const STATE: &str = "state";

/// Makes the directories of a new world.
pub(super) fn furnish(root: &Path) -> io::Result<()> {
    [WORKING_DIRECTORY, TEMPORARY, STATE, "empty"].iter().try_for_each(|name| fs::create_dir(root.join(name)))
}

impl Trial<'_> {
    /// How this trial writes options.
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding.unwrap_or(self.reading.encoding())
    }

    /// What the driver can do, as the host of this trial takes it.
    pub(super) fn capabilities(&self) -> Capabilities {
        let declared = self.profile.capabilities.unwrap_or_default();
        Capabilities { attach: self.settings().attaches(declared.attach), ..declared }
    }

    /// Makes a call; its answer is among the answers too.
    pub(super) fn call(&mut self, call: &Call) -> Answer {
        let verb = call.verb();
        let arguments = shape::arguments(call, &self.device, &self.settings(), self.encoding());
        let command = self.command(Some(verb), arguments);
        let killed = self.kill.take_if(|kill| kill.verb == verb);
        let run = match killed {
            Some(kill) => self.run_killed(&command, kill.after),
            None => self.system.runner.run(&command),
        };
        let answer = Answer { call: in_words(call), asked: Asked::Call(verb), run };
        self.answers.push(answer.clone());
        answer
    }

    /// Makes a call with any arguments.
    pub(super) fn raw(&mut self, asked: Asked<'static>, arguments: &[&str]) -> Answer {
        let command = self.command(None, arguments.iter().map(OsString::from).collect());
        let run = self.system.runner.run(&command);
        let answer = Answer { call: format!("call with the arguments {arguments:?}"), asked, run };
        self.answers.push(answer.clone());
        answer
    }

    /// Makes a call that makes no sense, with nothing but this trial's world in reach of what it may break.
    ///
    /// # Errors
    /// [`Stop::Undecided`] when there is no fence.
    pub(super) fn fenced(&mut self, asked: Asked<'static>, arguments: &[&str]) -> Result<Answer, Stop> {
        let mut words = self.subject.fence.iter().cloned();
        let Some(program) = words.next() else { return Err(Stop::Undecided("there is no fence".to_owned())) };
        let driver = [OsString::from(&self.root), "--".into(), OsString::from(&self.subject.program)];
        let words = words.chain(driver).chain(arguments.iter().map(OsString::from));
        let command = words.fold(self.prepared(program.into(), None), Command::secret_argument);
        let run = self.system.runner.run(&command);
        if let Ok(Ended::Exited(NO_FENCE)) = run.as_ref().map(|output| output.ended) {
            let why = Answer { call: String::new(), asked, run }.printed();
            return Err(Stop::Undecided(format!("the rest of the machine cannot be made read-only: {why}")));
        }
        let answer = Answer { call: format!("call with the arguments {arguments:?}"), asked, run };
        self.answers.push(answer.clone());
        Ok(answer)
    }

    /// How the host of this trial understands an answer.
    pub(super) fn meaning(&self, answer: &Answer) -> Meaning {
        answer.meaning(self.reading, self.profile.probe.as_ref())
    }

    /// Makes a call, as often as this trial wants it, that must not fail.
    pub(super) fn ask(&mut self, call: &Call) -> Result<Done, Trouble> {
        let first = match self.times {
            Times::AtOnce => return self.ask_at_once(call),
            Times::Once | Times::Twice => self.call(call),
        };
        let done = self.done(call, &first)?;
        if self.times == Times::Twice {
            let second = self.call(call);
            let same = match (&done, self.meaning(&second)) {
                (Done::Success(first), Meaning::Success(second) | Meaning::Claimed(second)) => {
                    (&first.device, &first.volume_name) == (&second.device, &second.volume_name)
                }
                (Done::NotSupported, Meaning::NotSupported) => true,
                _ => false,
            };
            if !same {
                let happened = format!("the second answer: {}", second.printed());
                let fix =
                    "look at what is there before doing anything, and answer Success when it is done already";
                self.found([&format!("{}, twice", first.call), "the same answer twice", &happened, fix]);
            }
        }
        Ok(done)
    }

    fn ask_at_once(&mut self, call: &Call) -> Result<Done, Trouble> {
        let mut other = self.clone();
        let (first, second) = std::thread::scope(|scope| {
            let thread = scope.spawn(|| other.call(call));
            (self.call(call), thread.join())
        });
        match (self.done(call, &first), second) {
            (Err(Trouble::Driver(_)), Ok(second)) => self.done(call, &second),
            (done, _) => done,
        }
    }

    fn done(&self, call: &Call, answer: &Answer) -> Result<Done, Trouble> {
        match self.meaning(answer) {
            Meaning::Success(fields) => Ok(Done::Success(fields)),
            Meaning::Claimed(fields) if self.is_evident(call)? => Ok(Done::Success(fields)),
            Meaning::Claimed(_) => Err(self.trouble([
                &answer.call,
                "a Success that leaves no doubt, or else a directory in which it can be seen",
                &format!("{}, {}, and nothing is there", answer.printed(), answer.ended()),
                "print nothing but the reply, exit with status 0, and mount before saying so",
            ])),
            Meaning::NotSupported => Ok(Done::NotSupported),
            Meaning::Failed { why, replied } => Err(self.trouble([
                &answer.call,
                "Success, or Not supported where the host has a default",
                &format!("{why} ({})", answer.ended()),
                if replied { SEE_WHY } else { SEE_HOW_IT_READS },
            ])),
        }
    }

    /// Whether a doubtful Success can be seen (rule 9). What an unmount leaves is looked at by whoever asked for it.
    fn is_evident(&self, call: &Call) -> Result<bool, Trouble> {
        let (Call::Mount { path, .. } | Call::MountDevice { path, .. }) = call else { return Ok(true) };
        let filled = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        Ok(path.is_symlink() || self.is_mounted(path)? || filled())
    }

    /// Notes a finding: done, expected, happened, to mend. One of a kind, and not too many.
    pub(super) fn found(&mut self, words: [&str; 4]) {
        let finding = self.finding(words);
        if self.findings.len() < MOST_FINDINGS && !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Notes a finding unless `fine`.
    pub(super) fn expect(&mut self, fine: bool, words: [&str; 4]) {
        if !fine {
            self.found(words);
        }
    }

    pub(super) fn trouble(&self, words: [&str; 4]) -> Trouble {
        Trouble::Driver(self.finding(words))
    }

    /// A step that is what the check is about: trouble in it is a finding.
    pub(super) fn must<T>(&mut self, when: &str, result: Result<T, Trouble>) -> Result<T, Stop> {
        match result {
            Ok(value) => Ok(value),
            Err(Trouble::Driver(mut finding)) => {
                finding.done = format!("{when}: {}", finding.done);
                self.findings.push(finding);
                Err(Stop::Failed)
            }
            Err(Trouble::Suite(why)) => Err(Stop::Undecided(why)),
        }
    }

    fn finding(&self, words: [&str; 4]) -> Finding {
        let root = self.root.display().to_string();
        let [done, expected, happened, fix] =
            words.map(|text| shown(&text.replace(&root, "ROOT"), &self.secrets));
        Finding { done, expected, happened, fix }
    }

    /// Whether something is mounted there, answering or not.
    pub(super) fn is_mounted(&self, path: &Path) -> Result<bool, MountError> {
        let found = self.system.mounter.mount_point(path)?;
        Ok(matches!(found, MountPoint::Yes | MountPoint::Dead(_)))
    }

    /// How many mounts are stacked there.
    pub(super) fn depth(&self, path: &Path) -> Result<usize, MountError> {
        Ok(self.system.mounter.table()?.at(path).count())
    }
}

/// A call for a person: its options are left out.
fn in_words(call: &Call) -> String {
    let verb = call.verb().as_str();
    match call {
        Call::Mount { path, .. } | Call::Unmount { path } | Call::UnmountDevice { path } => {
            format!("{verb} {}", path.display())
        }
        Call::MountDevice { path, device, .. } => format!("{verb} {} {device:?}", path.display()),
        Call::WaitForAttach { device, .. } => format!("{verb} {device:?}"),
        Call::Detach { volume, .. } => format!("{verb} {volume}"),
        _ => verb.to_owned(),
    }
}
