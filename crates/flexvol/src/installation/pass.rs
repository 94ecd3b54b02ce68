//! One pass of an installer: every driver of a directory is in place afterwards, or its error is told.

use std::path::{Path, PathBuf};

use flexvolume_host::contract::{Capabilities, DriverName};
use serde::{Deserialize, Serialize};

use super::bundle::Bundle;
use super::digest::{Digest, Facts, KnownFacts};
use super::ledger::{Entry, Ledger};
use super::removal::Program;
use super::{InstallError, Installation, Installed, Strangers};

/// Where drivers come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From<'a> {
    pub(crate) directory: &'a Path,
    /// Of the drivers that are plain files in it; without it they are left alone.
    pub(crate) vendor: Option<&'a str>,
}

/// What `init` said of a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) capabilities: Capabilities,
    pub(crate) version: Option<String>,
}

/// Asks the driver in a plugin directory of its own for `init`; else the reason why it failed.
pub(crate) type Try<'a> = &'a dyn Fn(&Path, &DriverName) -> Result<Trial, String>;

/// What is done with a driver whose `init` fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Untried {
    /// It is installed: where it is tried may lack what it needs.
    Install,
    /// It is refused.
    Refuse,
}

/// How drivers are installed.
pub(crate) struct Policy<'a> {
    pub(crate) installed_by: &'a str,
    pub(crate) try_init: Try<'a>,
    pub(crate) untried: Untried,
    pub(crate) strangers: Strangers,
}

/// What became of a driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    /// The driver, or the file that is none.
    pub(crate) name: String,
    /// `None` if it could not be installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effect: Option<Installed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) executable: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capabilities: Option<Capabilities>,
    /// Why `init` fails, of a driver that was installed all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) init_error: Option<String>,
}

impl Outcome {
    fn failed(name: String, error: &impl ToString) -> Self {
        Self {
            name,
            effect: None,
            error: Some(error.to_string()),
            executable: None,
            sha256: None,
            size: None,
            version: None,
            capabilities: None,
            init_error: None,
        }
    }
}

/// What a pass remembers for the next one.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    known: KnownFacts,
}

/// Why a driver was not installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error("not installed, because its init fails: {0}")]
    Init(String),
}

impl Policy<'_> {
    /// Installs every driver of `from` that is not in `to` as it is in `from`.
    ///
    /// # Errors
    /// When `from` cannot be read. What goes wrong with one driver is in its outcome.
    pub(crate) fn install_all(
        &self,
        from: From<'_>,
        to: &Path,
        memory: &mut Memory,
    ) -> Result<Vec<Outcome>, InstallError> {
        let found = Bundle::all_in(from.directory, from.vendor, &mut memory.known)?;
        let outcomes = found.into_iter().map(|found| match found {
            Err((path, error)) => Outcome::failed(path.display().to_string(), &error),
            Ok(bundle) => {
                let name = bundle.name.to_string();
                let outcome = self.install_if_different(&bundle, to, memory);
                outcome.unwrap_or_else(|error| Outcome::failed(name, &error))
            }
        });
        Ok(outcomes.collect())
    }

    fn install_if_different(
        &self,
        bundle: &Bundle,
        to: &Path,
        memory: &mut Memory,
    ) -> Result<Outcome, Refusal> {
        let place = to.join(bundle.name.directory());
        let ledger = Ledger::read(to)?;
        if let Some(Entry { current: Some(release), next: None }) = ledger.drivers.get(&bundle.name)
            && release.installed_by == self.installed_by
            && bundle.has_files_of(release)
            && release
                .files
                .iter()
                .all(|(name, facts)| memory.known.of(&place.join(name)).is_ok_and(|there| there == *facts))
        {
            let mut outcome = outcome(bundle, Installed::Unchanged, place.join(bundle.name.executable()));
            outcome.version.clone_from(&release.version);
            outcome.capabilities = release.capabilities;
            return Ok(outcome);
        }
        self.install(bundle, to)
    }

    /// Installs one driver.
    ///
    /// # Errors
    /// [`Refusal`]; what was in place is then as it was.
    pub(crate) fn install(&self, bundle: &Bundle, to: &Path) -> Result<Outcome, Refusal> {
        let mut installation = Installation::begin(to, &bundle.name)?;
        let installed = self.install_in(bundle, &mut installation);
        let ended = installation.end();
        let outcome = installed?;
        ended?;
        Ok(outcome)
    }

    fn install_in(&self, bundle: &Bundle, installation: &mut Installation<'_>) -> Result<Outcome, Refusal> {
        installation.stage(bundle, self.installed_by)?;
        let trial = (self.try_init)(&installation.staging(), &bundle.name);
        match &trial {
            Err(why) if self.untried == Untried::Refuse => return Err(Refusal::Init(why.clone())),
            Err(_) => {}
            Ok(trial) => installation.note(|release| {
                release.version.clone_from(&trial.version);
                release.capabilities = Some(trial.capabilities);
            }),
        }
        let effect = installation.publish(self.strangers)?;
        let mut outcome = outcome(bundle, effect, installation.program());
        match trial {
            Ok(Trial { capabilities, version }) => {
                (outcome.capabilities, outcome.version) = (Some(capabilities), version);
            }
            Err(why) => outcome.init_error = Some(why),
        }
        Ok(outcome)
    }
}

fn outcome(bundle: &Bundle, effect: Installed, executable: PathBuf) -> Outcome {
    let program = bundle.program().cloned();
    let (sha256, size) = program.map(|Facts { sha256, size, .. }| (sha256, size)).unzip();
    Outcome {
        name: bundle.name.to_string(),
        effect: Some(effect),
        error: None,
        executable: Some(executable),
        sha256,
        size,
        version: None,
        capabilities: None,
        init_error: None,
    }
}

/// A driver that was to be removed, and why it is still there if it is.
pub(crate) type Removal = (DriverName, Result<(), InstallError>);

/// Removes all drivers that `installed_by` has put into a plugin directory and that are as it left them.
///
/// # Errors
/// When it is not known what was installed.
pub(crate) fn remove_all(plugin_dir: &Path, installed_by: &str) -> Result<Vec<Removal>, InstallError> {
    let ledger = Ledger::read(plugin_dir)?;
    let ours = ledger.drivers.iter().filter(|(_, entry)| entry.installed_by() == Some(installed_by));
    let remove = |name: &DriverName| Installation::begin(plugin_dir, name)?.remove(Program::Ours);
    Ok(ours.map(|(name, _)| (name.clone(), remove(name))).collect())
}

/// The version that a driver states in the message of its `init`: the first word such as `1.2` or `v1.2.3-rc1`.
pub(crate) fn version_in(message: &str) -> Option<String> {
    let separators = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | ':' | '(' | ')' | '"');
    message
        .split(separators)
        .map(|word| word.trim_end_matches('.'))
        .find(|word| is_version(word))
        .map(str::to_owned)
}

fn is_version(word: &str) -> bool {
    let word = word.strip_prefix('v').unwrap_or(word);
    let Some((major, rest)) = word.split_once('.') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
    digits(major)
        && rest.starts_with(|c: char| c.is_ascii_digit())
        && rest.chars().all(plain)
        && word.len() <= 64
}
