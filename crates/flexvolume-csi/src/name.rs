//! Names of CSI drivers.

use std::fmt;

use flexvolume_host::contract::DriverName;
use thiserror::Error;

/// The name under which a driver is known to CSI: at most 63 letters, digits, `-` and `.`, a letter or digit at both
/// ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CsiName(String);

/// Why a text is no name of a CSI driver.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{name:?} is no name for a CSI driver: at most 63 letters, digits, `-` and `.`, with a letter or digit at both ends; set `name` in the configuration"
)]
pub struct CsiNameError {
    name: String,
}

impl CsiName {
    /// Accepts a name as the specification has it.
    ///
    /// # Errors
    /// [`CsiNameError`].
    pub fn parse(name: impl Into<String>) -> Result<Self, CsiNameError> {
        let name = name.into();
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        let is_good = bytes.len() <= 63
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
        if is_good { Ok(Self(name)) } else { Err(CsiNameError { name }) }
    }

    /// The usual name of a FlexVolume driver: `vendor/driver` becomes `driver.vendor`, in lower case, `_` becomes `-`.
    ///
    /// # Errors
    /// [`CsiNameError`] when that is too long.
    pub fn of(driver: &DriverName) -> Result<Self, CsiNameError> {
        let name = match driver.as_str().split_once('/') {
            Some((vendor, driver)) => format!("{driver}.{vendor}"),
            None => driver.as_str().to_owned(),
        };
        Self::parse(name.to_ascii_lowercase().replace('_', "-"))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CsiName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_have_usual_names() {
        for (driver, name) in [
            ("juliohm/cifs", "cifs.juliohm"),
            ("example.com/a_b", "a-b.example.com"),
            ("lvm", "lvm"),
            ("foo/Bar", "bar.foo"),
        ] {
            assert_eq!(CsiName::of(&DriverName::parse(driver).unwrap()).unwrap().as_str(), name);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["", "-a", "a.", "a b", "a/b", "ä", &"a".repeat(64)] {
            CsiName::parse(name).unwrap_err();
        }
        CsiName::parse("a".repeat(63)).unwrap();
    }
}
