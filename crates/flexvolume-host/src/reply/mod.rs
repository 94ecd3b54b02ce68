//! Reading what a driver printed: `strict` as Kubernetes does, `tolerant` as it takes.
//!
//! Both readers are pure functions of what came back from the process: they look at nothing else and never panic,
//! whatever the bytes are. Their time is linear in the size of the output and they do not recurse.

mod advice;
mod answer;
mod broken;
mod evidence;
mod explain;
mod failure;
mod go_json;
mod json;
mod rule;
mod scan;
pub mod strict;
mod syntax;
pub(crate) mod text;
pub mod tolerant;

use flexvolume::{Capabilities, ExtensionVerb, Verb};
use flexvolume_os::runner::{Output, StartError};

pub use explain::{Advice, Applied, Explanation, StrictView, TolerantView, explain};
pub use failure::{Cause, Failure, Field};
pub use rule::Rule;

/// The call-out that was made, or the nonsense verb by which a host learns how a driver answers unknown verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// A call-out.
    Call(Verb),
    /// A call-out that Kubernetes does not have.
    Extension(ExtensionVerb),
    /// A verb that no driver knows, such as [`tolerant::NONSENSE`].
    Nonsense(&'a str),
}

impl<'a> Asked<'a> {
    /// The call-out of this spelling, or a nonsense verb.
    #[must_use]
    pub fn parse(word: &'a str) -> Self {
        let extension = || ExtensionVerb::parse(word).map(Asked::Extension);
        Verb::parse(word).map(Asked::Call).or_else(extension).unwrap_or(Asked::Nonsense(word))
    }

    /// The verb as the driver saw it.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Asked::Call(verb) => verb.as_str(),
            Asked::Extension(verb) => verb.as_str(),
            Asked::Nonsense(verb) => verb,
        }
    }
}

/// What came back from the process.
pub type Run = Result<Output, StartError>;

/// The fields of a reply that a host uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields {
    /// `message`.
    pub message: String,
    /// `device`; empty when absent.
    pub device: String,
    /// `volumeName`; empty when absent.
    pub volume_name: String,
    /// `attached`.
    pub attached: bool,
    /// `volumeNewSize`.
    pub new_size: i64,
    /// `capabilities`, defaults filled in; `None` when the driver said null (strict), or at other calls than `init`.
    pub capabilities: Option<Capabilities>,
}
