//! What the host does to the world, written down.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flexvolume_host::os::command::Command;
use flexvolume_host::os::runner::{Output, Runner, StartError, StartFailure, SystemRunner};
use flexvolume_host::registry::Probed;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::layout::{PLUGIN_DIR, REPLAY_DIR, TOOL_DIR};

/// Stands for the working directory.
pub(crate) const ROOT_MARK: &str = "<root>";

/// One thing that the host did.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Effect {
    Ran { exec: Vec<String> },
    NotRun { exec: Vec<String>, not_run: bool },
    Mounted { mount: MountEffect },
    Unmounted { unmount: String },
    Probed { probe: ProbeEffect },
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct MountEffect {
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) fstype: String,
    pub(crate) options: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProbeEffect {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    added: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

/// Collects the effects of the current step.
#[derive(Debug)]
pub(crate) struct Recorder {
    root: PathBuf,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    effects: Vec<Effect>,
    /// How much of the tools' log has been seen.
    read: usize,
}

impl Recorder {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), noted: Mutex::default() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn add(&self, effect: Effect) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        self.drain_tools(&mut noted);
        noted.effects.push(effect);
    }

    pub(crate) fn add_probe(&self, probed: &Probed) {
        let sorted = |names: &[String]| {
            let mut names: Vec<String> = names.iter().map(|name| self.hide(name)).collect();
            names.sort();
            names
        };
        let probe = ProbeEffect {
            added: sorted(&probed.added),
            removed: sorted(&probed.removed),
            errors: sorted(&probed.errors),
        };
        self.add(Effect::Probed { probe });
    }

    /// The effects since the last call.
    pub(crate) fn take(&self) -> Vec<Effect> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        self.drain_tools(&mut noted);
        std::mem::take(&mut noted.effects)
    }

    /// Picks the runs of tools out of the replaying script's log; the runs of drivers are known from the runner.
    fn drain_tools(&self, noted: &mut Noted) {
        let Ok(log) = fs::read(self.root.join(REPLAY_DIR).join("log")) else { return };
        let mut fields = log[noted.read..].split(|byte| *byte == 0);
        noted.read = log.len();
        while let (Some(program), Some(count)) = (fields.next(), fields.next()) {
            let count = String::from_utf8_lossy(count).parse().unwrap_or(0);
            let argv = [program].into_iter().chain(fields.by_ref().take(count));
            let exec = argv.map(|argument| self.hide_argument(argument)).collect();
            if program.starts_with(self.root.join(TOOL_DIR).as_os_str().as_bytes()) {
                noted.effects.push(Effect::Ran { exec });
            }
        }
    }

    pub(crate) fn hide(&self, text: &str) -> String {
        text.replace(&*self.root.to_string_lossy(), ROOT_MARK)
    }

    fn hide_argument(&self, argument: &[u8]) -> String {
        const LONG: usize = 8192;
        if argument.len() > LONG {
            let digest: String = Sha256::digest(argument).iter().map(|byte| format!("{byte:02x}")).collect();
            return format!("<{} bytes, sha256 {digest}>", argument.len());
        }
        self.hide(&String::from_utf8_lossy(argument))
    }

    pub(crate) fn stat(&self, path: &Path) -> Stat {
        fs::symlink_metadata(path).map_or_else(|_| Stat::absent(), |metadata| Stat::of(&metadata))
    }
}

/// Runs drivers and writes them down; finds tools only where the scenario has put them.
pub(crate) struct RecordingRunner {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) tools: Tools,
}

/// Which tools there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tools {
    /// The scenario's.
    Replayed,
    /// The machine's.
    Real,
}

impl Runner for RecordingRunner {
    fn run(&self, command: &Command) -> Result<Output, StartError> {
        if command.program().starts_with(self.recorder.root.join(PLUGIN_DIR)) {
            return self.run_driver(command);
        }
        match self.tools {
            Tools::Real => SystemRunner.run(command),
            Tools::Replayed => self.run_tool(command),
        }
    }
}

impl RecordingRunner {
    fn run_driver(&self, command: &Command) -> Result<Output, StartError> {
        let run = SystemRunner.run(command);
        let argv = [command.program().as_os_str()].into_iter().chain(command.raw_arguments());
        let exec = argv.map(|argument| self.recorder.hide_argument(argument.as_bytes())).collect();
        self.recorder.add(match &run {
            Ok(_) => Effect::Ran { exec },
            Err(_) => Effect::NotRun { exec, not_run: true },
        });
        run
    }

    fn run_tool(&self, command: &Command) -> Result<Output, StartError> {
        let name = command.program().file_name().unwrap_or_default();
        let tool = self.recorder.root.join(TOOL_DIR).join(name);
        if !tool.exists() {
            return Err(StartError { program: command.program().to_owned(), reason: StartFailure::Missing });
        }
        // Both streams in one pipe whatever was asked: a tool's answer is read from either.
        let replayed = Command::new(tool, command.deadline())
            .arguments(command.raw_arguments())
            .streams(flexvolume_host::os::command::Streams::Shared);
        SystemRunner.run(&replayed)
    }
}

/// The state of one file.
#[derive(Debug, Serialize)]
pub(crate) struct Stat {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
}

impl Stat {
    fn absent() -> Self {
        Self { path: None, kind: "absent", mode: None, gid: None }
    }

    fn of(metadata: &Metadata) -> Self {
        if metadata.is_symlink() {
            return Self { kind: "symlink", ..Self::absent() };
        }
        let kind = if metadata.is_dir() { "dir" } else { "file" };
        let mode = Some(format!("{:04o}", metadata.mode() & 0o7777));
        // The transcripts were recorded by root: an ordinary user's own group stands for root's.
        let own = rustix::process::getegid().as_raw();
        let gid = Some(if metadata.gid() == own { 0 } else { metadata.gid() });
        Self { path: None, kind, mode, gid }
    }
}
