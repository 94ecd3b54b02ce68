//! The reading of Kubernetes v1.37 (`pkg/volume/flexvolume/driver-call.go`).

use super::{Asked, Fields, Run};

/// What Kubernetes makes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// One document, `Success`, exit 0.
    Success(Fields),
    /// `Not supported`, whatever the exit code.
    NotSupported,
    /// Another status: `<call> command failed, status: …, reason: …`.
    Failed(String),
    /// Not one JSON document of the right types: the text of Go's JSON package.
    Unreadable(String),
    /// `Success` with a bad exit: `exit status 1`, `signal: killed` …
    ExecError(String),
    /// Stopped at the deadline, whatever was printed.
    TimedOut,
}

/// Reads a run.
#[must_use]
pub fn read(asked: Asked, run: &Run) -> Outcome {
    todo!("{asked:?} {run:?}")
}
