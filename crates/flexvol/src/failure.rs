//! How a command ends when it does not end well.

use std::error::Error;
use std::fmt;

use flexvolume_host::lifecycle::LifecycleError;

use crate::manifest::ManifestError;

/// The exit codes; `flexvol --help` lists them.
pub(crate) const OK: u8 = 0;
/// A step failed: a driver, a mount, a file.
pub(crate) const STEP_FAILED: u8 = 1;
/// The command line or a manifest is wrong; nothing was done.
pub(crate) const BAD_INPUT: u8 = 2;
/// There is no such driver, pod or container.
pub(crate) const NOT_FOUND: u8 = 3;
/// Refused, because something would be lost.
pub(crate) const REFUSED: u8 = 4;
/// `run`: flexvol failed before or after the command.
pub(crate) const RUN_FAILED: u8 = 125;
/// `run`: the command cannot be executed.
pub(crate) const CANNOT_EXECUTE: u8 = 126;
/// `run`: the command was not found.
pub(crate) const COMMAND_NOT_FOUND: u8 = 127;

/// Why a command did not do what it was asked for: at least one line for a person, and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) lines: Vec<String>,
}

impl Failure {
    /// A failure with one line: the error, and its causes as far as it does not tell them itself.
    pub(crate) fn new(code: u8, error: impl Error) -> Self {
        let mut line = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !line.contains(&text) {
                line = format!("{line}: {text}");
            }
            source = cause.source();
        }
        Self { code, lines: vec![line] }
    }

    /// A failure with these words.
    pub(crate) fn says(code: u8, words: impl fmt::Display) -> Self {
        Self { code, lines: vec![words.to_string()] }
    }

    /// The same failure under another exit code.
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }
}

impl From<Vec<ManifestError>> for Failure {
    fn from(errors: Vec<ManifestError>) -> Self {
        Self { code: BAD_INPUT, lines: errors.iter().map(ToString::to_string).collect() }
    }
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        vec![error].into()
    }
}

impl From<LifecycleError> for Failure {
    fn from(error: LifecycleError) -> Self {
        let code = match error {
            LifecycleError::NoVolume { .. } => NOT_FOUND,
            LifecycleError::Shrink { .. } => REFUSED,
            _ => STEP_FAILED,
        };
        Self { code, lines: vec![error.to_string()] }
    }
}

impl From<Vec<LifecycleError>> for Failure {
    fn from(errors: Vec<LifecycleError>) -> Self {
        Self { code: STEP_FAILED, lines: errors.iter().map(ToString::to_string).collect() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(STEP_FAILED, error)
    }
}
