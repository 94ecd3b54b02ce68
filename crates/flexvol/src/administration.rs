//! What the commands for volumes have in common: which driver, which options, and how a volume is shown.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flexvolume_host::contract::{DriverName, Options, VolumeDescription, VolumeState};
use flexvolume_host::plugin::{PluginError, VolumePlugin};
use flexvolume_host::registry::RegistryError;

use crate::args::{PoolArguments, PoolOptions};
use crate::call_options::given;
use crate::failure::{BAD_INPUT, Failure, NOT_FOUND, STEP_FAILED};
use crate::output::{Cell, Tone};
use crate::session::Session;
use crate::usage::shown;
use crate::workload::remedy;

/// A driver that is asked about one volume, or about a pool.
pub(crate) struct Subject {
    pub(crate) plugin: Arc<VolumePlugin>,
    /// What the command line says, without a volume's name.
    pub(crate) options: Options,
}

impl Subject {
    pub(crate) fn new(session: &Session, arguments: &PoolArguments) -> Result<Self, Failure> {
        let plugin = find(session, &arguments.driver)?;
        Ok(Self { plugin, options: options(&arguments.options)? })
    }

    /// The options with the name of a volume.
    pub(crate) fn named(&self, volume: &str) -> Options {
        Options { volume_name: volume.to_owned(), ..self.options.clone() }
    }

    /// What the driver says of the volume of this name, leftovers first.
    pub(crate) fn all_of(&self, volume: &str) -> Result<Vec<VolumeDescription>, Failure> {
        self.plugin.list_volumes(self.named(named(volume)?)).map_err(failed)
    }

    /// The one volume of this name.
    pub(crate) fn one(&self, volume: &str) -> Result<VolumeDescription, Failure> {
        let found = self.all_of(volume)?;
        // Leftovers of a volume stand beside it.
        let known = found.iter().find(|found| found.state != VolumeState::Unknown).or_else(|| found.first());
        let known = known.filter(|known| known.id == volume).cloned();
        known.ok_or_else(|| {
            let driver = self.plugin.name();
            let words = format!("{driver} has no volume {volume:?} here; `flexvol volume list --driver {driver}` shows which there are");
            Failure::says(NOT_FOUND, words)
        })
    }
}

/// The name of a volume on the command line: without one a driver is asked about its whole pool.
pub(crate) fn named(volume: &str) -> Result<&str, Failure> {
    if volume.is_empty() {
        return Err(Failure::says(BAD_INPUT, "the name of the volume is empty"));
    }
    Ok(volume)
}

/// The options of the command line.
pub(crate) fn options(pool: &PoolOptions) -> Result<Options, Failure> {
    given(pool.options_file.as_deref(), &pool.options)
}

/// The driver of this name, or the only installed one whose name ends so.
pub(crate) fn find(session: &Session, name: &str) -> Result<Arc<VolumePlugin>, Failure> {
    let parsed = DriverName::parse(name).map_err(|error| Failure::new(BAD_INPUT, error))?;
    let error = match session.registry.find_by_name(&parsed) {
        Ok(plugin) => return Ok(plugin),
        Err(error) => error,
    };
    let code = if matches!(error, RegistryError::NotFound { .. }) { NOT_FOUND } else { STEP_FAILED };
    if code == NOT_FOUND && !name.contains('/') {
        let (installed, _) = session.registry.list();
        let meant: Vec<_> =
            installed.into_iter().filter(|plugin| plugin.name().executable() == name).collect();
        match <[_; 1]>::try_from(meant) {
            Ok([plugin]) => return Ok(plugin),
            Err(several) if !several.is_empty() => {
                let names: Vec<_> = several.iter().map(|plugin| plugin.name().to_string()).collect();
                let words = format!("{name} can be {}: say which", names.join(" or "));
                return Err(Failure::says(BAD_INPUT, words));
            }
            Err(_) => {}
        }
    }
    Err(Failure::says(code, remedy(&error)))
}

/// The failure of a call to a driver.
pub(crate) fn failed(error: PluginError) -> Failure {
    Failure::new(STEP_FAILED, error)
}

/// How long ago a time in seconds since 1970 was: the largest unit that fits.
pub(crate) fn age(created: u64) -> String {
    let seconds = age_of(created).as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    match units.into_iter().find(|(unit, _)| seconds >= *unit) {
        Some((unit, letter)) => format!("{}{letter}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

/// How long ago that was; nothing for the future.
pub(crate) fn age_of(created: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_secs(created))
}

/// The state of a volume in one word.
pub(crate) fn state(volume: &VolumeDescription) -> Cell {
    match (volume.orphan, volume.state) {
        (Some(reason), _) => Cell::toned(reason.as_str(), Tone::Doubtful),
        (None, VolumeState::Ready) if volume.in_use_by.is_empty() => Cell::toned("ready", Tone::Good),
        (None, VolumeState::Ready) => Cell::toned("in use", Tone::Good),
        (None, VolumeState::Unknown) => Cell::toned("unknown", Tone::Bad),
        (None, other) => Cell::toned(other.as_str(), Tone::Doubtful),
    }
}

/// A size for people, and exactly.
pub(crate) fn both(bytes: u64) -> String {
    let short = shown(bytes);
    if bytes < 1024 { format!("{bytes} bytes") } else { format!("{short} ({bytes} bytes)") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_one_unit() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        assert_eq!(age(now - 100), "1m");
        assert_eq!(age(now - 7200 - 5), "2h");
        assert_eq!(age(now - 86_400 * 40 - 5), "40d");
        assert_eq!(age(now + 1000), "0s", "a clock that was set back");
        assert_eq!(age(u64::MAX), "0s");
    }

    #[test]
    fn a_size_is_shown_for_people_and_exactly() {
        assert_eq!(both(1 << 30), "1Gi (1073741824 bytes)");
        assert_eq!(both(12), "12 bytes");
    }
}
