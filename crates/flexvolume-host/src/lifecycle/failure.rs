//! What went wrong in one step of one volume.

use std::error::Error;
use std::fmt;

/// A step and why it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) step: &'static str,
    pub(super) cause: String,
}

impl Failure {
    pub(super) fn new(step: &'static str, cause: impl Into<String>) -> Self {
        Self { step, cause: cause.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.step, self.cause)
    }
}

/// Says at which step an error came up; for `map_err`.
pub(super) fn at<E: Error>(step: &'static str) -> impl Fn(E) -> Failure {
    move |error| {
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(deeper) = source {
            let text = deeper.to_string();
            // Our own errors show their source already; those of others may not.
            if !cause.contains(&text) {
                cause = format!("{cause}: {text}");
            }
            source = deeper.source();
        }
        Failure { step, cause }
    }
}
