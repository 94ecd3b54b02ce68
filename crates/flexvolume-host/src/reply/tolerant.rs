//! The reading that runs every real driver: the 21 rules.

use super::{Asked, Fields, Rule, Run};

/// What a tolerant host makes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The call worked.
    Success(Fields),
    /// The driver says so, but there is reason to doubt: the host looks at the directory.
    /// Only for `mount`, `unmount`, `mountdevice`, `unmountdevice`.
    Claimed(Fields),
    /// The default of the call applies.
    NotSupported,
    /// It failed.
    Failed(Failure),
}

/// A failure as a person should read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The driver's own message, or what happened instead of one.
    pub message: String,
    /// Whether a reply with a status was found at all.
    pub replied: bool,
}

/// An outcome and how it was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Understanding {
    /// What the host goes on with.
    pub outcome: Outcome,
    /// The rules that were needed, in order; a non-empty list is the occasion for a warning.
    pub rules: Vec<Rule>,
    /// What was printed beside the reply, for diagnostics.
    pub noise: String,
}

/// Reads a run; `nonsense` is the run of the same driver with the verb [`NONSENSE`], when known.
#[must_use]
pub fn read(asked: Asked, run: &Run, nonsense: Option<&Run>) -> Understanding {
    todo!("{asked:?} {run:?} {nonsense:?}")
}

/// The verb sent at registration to learn how a driver answers what it does not know.
pub const NONSENSE: &str = "flexvol-unknown-verb";
