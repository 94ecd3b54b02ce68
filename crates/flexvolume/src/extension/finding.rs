//! What a driver finds when it examines the node.

use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Something does not work.
    Problem,
    /// Something works, but not for long, or not as well as it could. A word of a later version counts as this one.
    #[serde(other)]
    Warning,
}

impl Severity {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at, in answer to `diagnose`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was looked at: a tool, a pool, a volume.
    pub subject: String,
    /// What was found.
    pub what: String,
    /// What to do; empty when nothing has to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    /// All is well with `subject`.
    #[must_use]
    pub fn good(subject: impl Into<String>, what: impl Into<String>) -> Self {
        let (subject, what) = (subject.into(), what.into());
        Self { severity: Severity::Good, subject, what, remedy: String::new() }
    }

    /// Something should be done.
    #[must_use]
    pub fn warning(subject: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::problem(subject, what, remedy) }
    }

    /// Something must be done.
    #[must_use]
    pub fn problem(subject: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (subject, what) = (subject.into(), what.into());
        Self { severity: Severity::Problem, subject, what, remedy: remedy.into() }
    }
}
