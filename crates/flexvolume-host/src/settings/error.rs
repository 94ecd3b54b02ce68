//! What is wrong with a settings file.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A settings file that cannot be used. Nothing of a value is shown: it could be a secret that does not belong there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It cannot be read.
    #[error("settings file {}: {source}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is not trusted, or not a settings file at all.
    #[error("settings file {}: {why}", .file.display())]
    Refused {
        /// The file.
        file: PathBuf,
        /// Why, and what to do.
        why: &'static str,
    },
    /// It is not TOML.
    #[error("{}:{line}: {why}", .file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser expected.
        why: String,
    },
    /// There is no such key.
    #[error("{}:{line}: unknown key {key:?}, {}", .file.display(), hint(*.nearest, .known))]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The key that was meant, most likely.
        nearest: Option<&'static str>,
        /// The keys that there are.
        known: String,
    },
    /// A value is not of its type, or not one of the words.
    #[error("{}:{line}: {key} must be {expected}, not {found}", .file.display())]
    Value {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: &'static str,
    },
}

fn hint(nearest: Option<&str>, known: &str) -> String {
    match nearest {
        Some(nearest) => format!("did you mean {nearest:?}?"),
        None => format!("the keys are {known}"),
    }
}
