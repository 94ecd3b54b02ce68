//! What a call-out may end with besides success.

use std::fmt;

/// The answer to a call-out that did not succeed.
///
/// Every error type converts into a failure, so `?` works on the results of the standard library and of a driver's own
/// steps:
///
/// ```
/// fn size_of(image: &std::path::Path) -> Result<u64, flexvolume::Error> {
///     let file = std::fs::File::open(image)
///         .map_err(|error| flexvolume::Error::failure(format!("cannot open {}: {error}", image.display())))?;
///     Ok(file.metadata()?.len())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The host uses its default for the call-out, and may never ask again: Kubernetes remembers this answer until
    /// the driver is replaced or the host restarts. It is no way to say "not now".
    NotSupported,
    /// The text for the person who reads the pod's events: which step failed, on what, and what to do next.
    Failure(String),
}

impl Error {
    /// A failure with this text.
    pub fn failure(text: impl fmt::Display) -> Self {
        Self::Failure(text.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotSupported => out.write_str("not supported"),
            Error::Failure(text) => out.write_str(text),
        }
    }
}

/// The text of the error and of all its causes, each said once.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many errors already end with the text of their cause.
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self::Failure(text)
    }
}

#[cfg(test)]
mod tests {
    use thiserror::Error as ThisError;

    use super::*;

    #[derive(Debug, ThisError)]
    #[error("cannot open the image")]
    struct Open(#[source] Read);

    #[derive(Debug, ThisError)]
    #[error("reading failed: {0}")]
    struct Read(#[source] std::io::Error);

    #[test]
    fn a_failure_names_every_cause_once() {
        let cause = std::io::Error::other("the disk is on fire");
        let text = Error::from(Open(Read(cause))).to_string();
        assert_eq!(text, "cannot open the image: reading failed: the disk is on fire");
    }
}
