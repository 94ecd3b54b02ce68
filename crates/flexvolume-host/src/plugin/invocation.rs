//! How a driver is started.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume::{Call, Encoding, ExtensionCall};
use flexvolume_os::command::{Command, EndOfRun, Streams};

use super::shape;
use crate::Reading;
use crate::settings::DriverSettings;

/// How a driver is started.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The driver's program.
    pub program: &'a Path,
    /// The driver's settings.
    pub settings: &'a DriverSettings,
    /// How its answer will be read.
    pub reading: Reading,
    /// How options are written.
    pub encoding: Encoding,
}

impl Invocation<'_> {
    /// A call-out on a volume; the device is for the call-outs that some drivers want it in, and may be empty.
    #[must_use]
    pub fn command(&self, (call, device): (&Call, &str), deadline: Duration) -> Command {
        let mut arguments = shape::arguments(call, device, self.settings, self.encoding);
        let secret = if carries_secrets(call) { arguments.pop() } else { None };
        let command = self.bare(deadline).arguments(arguments);
        match secret {
            Some(options) => command.secret_argument(options),
            None => command,
        }
    }

    /// A call-out that Kubernetes does not have. Nothing of the settings that bend arguments applies to it.
    #[must_use]
    pub fn extension(&self, call: &ExtensionCall, deadline: Duration) -> Command {
        let [verb, options] = call.to_arguments(self.encoding);
        let command = self.bare(deadline).argument(verb);
        if call.options.secrets.is_empty() {
            command.argument(options)
        } else {
            command.secret_argument(options)
        }
    }

    /// The driver without an argument.
    #[must_use]
    pub fn bare(&self, deadline: Duration) -> Command {
        let command = Command::new(self.program, deadline);
        let command = match self.reading {
            Reading::Strict => command.streams(Streams::Shared).end(EndOfRun::EndOfFile).limit(STRICT_LIMIT),
            Reading::Tolerant => {
                let command = command.streams(Streams::Unordered).end(EndOfRun::Exit).limit(TOLERANT_LIMIT);
                let command = command.directory(&self.settings.working_directory.value);
                match longer_search_path() {
                    Some(path) => command.variable("PATH", path),
                    None => command,
                }
            }
        };
        self.settings.environment.iter().fold(command, |command, (name, setting)| {
            command.variable(name, OsString::from_vec(setting.value.expose().to_vec()))
        })
    }
}

/// Only the options of `mount` hold secrets, and of `attach` in protocol v1; they are the last argument there.
fn carries_secrets(call: &Call) -> bool {
    matches!(call, Call::Mount { options, .. } | Call::Attach { options, .. } if !options.secrets.is_empty())
}

/// Kubernetes keeps all output; a bound is needed all the same.
const STRICT_LIMIT: usize = 64 << 20;
/// A reply after some MiB of text is still found.
const TOLERANT_LIMIT: usize = 16 << 20;

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
