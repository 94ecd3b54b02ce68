//! What a call-out may end with besides success.

use std::fmt;

/// The answer to a call-out that did not succeed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The host uses its default for the call-out.
    NotSupported,
    /// The text for the person who reads the pod's events: which step failed, on what, and what to do next.
    Failure(String),
}

impl Error {
    /// A failure with the text of `error` and of all its sources.
    pub fn failure(error: impl fmt::Display) -> Self {
        Self::Failure(error.to_string())
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::Failure(text)
    }
}
