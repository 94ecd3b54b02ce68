//! Call-outs that Kubernetes does not have: the administration of volumes, and their repair.
//!
//! Host and driver meet only across a process boundary, so what an administrator does with volumes goes the same way as
//! everything else. A driver that knows nothing of these call-outs answers `Not supported`, as the contract asks.

use std::ffi::{OsStr, OsString};

use thiserror::Error;

use crate::{Options, OptionsError, Rendering};

mod capacity;
mod description;
mod finding;

pub use capacity::{Capacity, Fill};
pub use description::{Orphan, VolumeDescription, VolumeState};
pub use finding::{Finding, Severity};

/// The name of an extension call-out, spelled as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ExtensionVerb {
    /// `createvolume <options>`, answered with `volume`.
    CreateVolume,
    /// `deletevolume <options>`, answered with `volume` if there was one.
    DeleteVolume,
    /// `listvolumes <options>`, answered with `volumes`.
    ListVolumes,
    /// `getcapacity <options>`, answered with `capacity`.
    GetCapacity,
    /// `diagnose <options>`, answered with `findings`.
    Diagnose,
    /// `heal <options>`, answered with nothing.
    Heal,
}

impl ExtensionVerb {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::CreateVolume,
        Self::DeleteVolume,
        Self::ListVolumes,
        Self::GetCapacity,
        Self::Diagnose,
        Self::Heal,
    ];

    /// The option in which `heal` is told the mount dir.
    pub const MOUNT_DIR: &str = "mountDir";

    /// The spelling on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateVolume => "createvolume",
            Self::DeleteVolume => "deletevolume",
            Self::ListVolumes => "listvolumes",
            Self::GetCapacity => "getcapacity",
            Self::Diagnose => "diagnose",
            Self::Heal => "heal",
        }
    }

    /// The call-out of this exact spelling.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word)
    }
}

/// One invocation of a driver with an extension call-out; each takes the options and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionCall {
    /// The call-out.
    pub verb: ExtensionVerb,
    /// The volume or the pool, in the keys of a manifest, and what is said at [`Driver`](crate::Driver) for each
    /// call-out.
    pub options: Options,
}

/// Why arguments are not an extension call-out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// There are no arguments, or the first one is another word: a call-out of Kubernetes, perhaps.
    #[error("not an extension call-out")]
    AnotherWord,
    /// Too few or too many arguments.
    #[error("arguments of {verb}: takes 1 (<options>) and got {given}", verb = .verb.as_str())]
    Arguments {
        /// The call-out.
        verb: ExtensionVerb,
        /// How many there were.
        given: usize,
    },
    /// The options cannot be read.
    #[error("{verb}: {source}", verb = .verb.as_str())]
    Options {
        /// The call-out.
        verb: ExtensionVerb,
        /// Why.
        source: OptionsError,
    },
}

impl ExtensionCall {
    /// Reads the arguments that follow the program's name.
    ///
    /// # Errors
    /// [`ExtensionError`]; it never shows an argument.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ExtensionError> {
        let mut arguments = arguments.into_iter();
        let word = arguments.next().unwrap_or_default();
        let verb = word.to_str().and_then(ExtensionVerb::parse).ok_or(ExtensionError::AnotherWord)?;
        let [options] = <[OsString; 1]>::try_from(arguments.collect::<Vec<_>>())
            .map_err(|given| ExtensionError::Arguments { verb, given: given.len() })?;
        let options = read(&options).map_err(|source| ExtensionError::Options { verb, source })?;
        Ok(Self { verb, options })
    }

    /// The arguments that follow the program's name.
    #[must_use]
    pub fn to_arguments(&self, rendering: impl Into<Rendering>) -> [OsString; 2] {
        [self.verb.as_str().into(), self.options.to_json(rendering).into()]
    }
}

fn read(argument: &OsStr) -> Result<Options, OptionsError> {
    let json = argument.to_str().ok_or_else(|| OptionsError::Json("not UTF-8".to_owned()))?;
    Options::parse(json)
}

#[cfg(test)]
mod tests;
