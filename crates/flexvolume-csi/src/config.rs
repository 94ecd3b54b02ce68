//! The configuration file: what an administrator sets per driver, for CSI.

use std::collections::BTreeMap;
use std::path::Path;

use flexvolume_host::contract::DriverName;
use serde::Deserialize;

use crate::failure::Failure;
use crate::name::CsiName;
use crate::settings::Settings;

/// What a file says; nothing, if there is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    drivers: BTreeMap<DriverName, Settings>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    driver: BTreeMap<String, Settings>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Failure`] that names the place.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        Self::parse(file, &read_text(file)?)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`Failure`] that names the place.
    pub(crate) fn parse(file: &Path, text: &str) -> Result<Self, Failure> {
        let wrong =
            |why: String| Failure::Flag { flag: "--config", why: format!("{}: {why}", file.display()) };
        let File { driver } = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let mut drivers = BTreeMap::new();
        for (driver, settings) in driver {
            drivers.insert(DriverName::parse(driver)?, settings);
        }
        Ok(Self { drivers })
    }

    /// The name of a driver for CSI.
    ///
    /// # Errors
    /// [`Failure::CsiName`] when its usual name will not do.
    pub(crate) fn name_of(&self, driver: &DriverName) -> Result<CsiName, Failure> {
        match self.drivers.get(driver).and_then(|settings| settings.name.clone()) {
            Some(name) => Ok(CsiName::parse(name)?),
            None => Ok(CsiName::of(driver)?),
        }
    }

    /// The settings of a driver.
    pub(crate) fn settings_of(&self, driver: &DriverName) -> Settings {
        self.drivers.get(driver).cloned().unwrap_or_default()
    }
}

/// The text of a configuration file.
///
/// # Errors
/// [`Failure::System`].
pub(crate) fn read_text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(Failure::system("read", file))
}
