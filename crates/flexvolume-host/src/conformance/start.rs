//! How a trial starts the driver.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

use flexvolume::Verb;
use flexvolume_os::command::{Command, EndOfRun, Streams};

use super::processes;
use super::stage::{STATE, TEMPORARY, Trial, WORKING_DIRECTORY};
use crate::Reading;
use crate::reply::Run;
use crate::settings::{DriverSettings, Origin};

impl Trial<'_> {
    /// The settings that the host of this trial uses.
    pub(super) fn settings(&self) -> Cow<'_, DriverSettings> {
        match self.reading {
            Reading::Tolerant => Cow::Borrowed(&self.subject.settings),
            Reading::Strict => Cow::Owned(self.subject.settings.clone().for_strict_reading()),
        }
    }

    /// Runs it and kills its process group after a while.
    pub(super) fn run_killed(&self, command: &Command, after: Duration) -> Run {
        let before = processes::our_children();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(after);
                let mut new = processes::our_children();
                new.retain(|child| !before.contains(child));
                processes::kill_groups(&new);
            });
            self.system.runner.run(command)
        })
    }

    /// The driver with these arguments. Every one of them counts as secret: findings show none.
    pub(super) fn command(&self, verb: Option<Verb>, arguments: Vec<OsString>) -> Command {
        let command = self.prepared(self.subject.program.clone(), verb);
        arguments.into_iter().fold(command, Command::secret_argument)
    }

    /// A program as the host of this trial starts the driver.
    pub(super) fn prepared(&self, program: PathBuf, verb: Option<Verb>) -> Command {
        let (streams, end) = match self.reading {
            Reading::Strict => (Streams::Shared, EndOfRun::EndOfFile),
            Reading::Tolerant => (Streams::Apart, EndOfRun::Exit),
        };
        let settings = self.settings();
        let deadline = verb.and_then(|verb| settings.deadline(verb)).unwrap_or(self.subject.deadline);
        let directory = match settings.working_directory.origin {
            Origin::BuiltIn => self.root.join(WORKING_DIRECTORY),
            _ => settings.working_directory.value.clone(),
        };
        let mut command = Command::new(program, deadline)
            .directory(directory)
            .variable("TMPDIR", self.root.join(TEMPORARY))
            .variable("FLEXVOL_STATE_DIR", self.root.join(STATE))
            .streams(streams)
            .end(end);
        for (name, setting) in &settings.environment {
            command = command.variable(name, OsString::from_vec(setting.value.expose().to_vec()));
        }
        for (name, value) in &self.subject.environment {
            command = command.variable(name, value);
        }
        match &self.search_path {
            Some(path) => command.variable("PATH", path),
            None => command,
        }
    }
}
