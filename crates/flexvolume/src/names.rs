//! Names that are safe to use as one component of a path.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("{kind} is empty")]
    Empty {
        /// What the text should have named, such as `volume name`.
        kind: &'static str,
    },
    /// The text would leave its directory, or cannot be a file name.
    #[error("{kind} {name:?} cannot be one component of a path: {why}")]
    NotAComponent {
        /// What the text should have named.
        kind: &'static str,
        /// The text.
        name: String,
        /// The offence, such as `contains a slash`.
        why: &'static str,
    },
    /// The text is not a Kubernetes qualified name.
    #[error(
        "driver name {name:?} is not `vendor/driver`: an optional lower-case DNS name, a slash, and at most 63 letters, digits, `-`, `_` or `.` that begin and end with a letter or digit"
    )]
    NotQualified {
        /// The text.
        name: String,
    },
}

fn component(kind: &'static str, name: &str) -> Result<(), NameError> {
    let refuse = |why| Err(NameError::NotAComponent { kind, name: name.to_owned(), why });
    match name {
        "" => Err(NameError::Empty { kind }),
        "." | ".." => refuse("it means a directory"),
        _ if name.contains('/') => refuse("it contains a slash"),
        _ if name.contains('\0') => refuse("it contains NUL"),
        _ if name.len() > 255 => refuse("it is longer than 255 bytes"),
        _ => Ok(()),
    }
}

macro_rules! component_name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Accepts one path component: not empty, not `.` or `..`, no slash, no NUL, at most 255 bytes.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with the text.
            pub fn parse(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                component($kind, &name)?;
                Ok(Self(name))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::parse(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

component_name! {
    /// A volume's name: the persistent volume's, or the pod volume's for an inline volume
    /// (`kubernetes.io/pvOrVolumeName`).
    VolumeName, "volume name"
}
component_name! {
    /// A pod's uid, as it stands in kubelet's directory layout.
    PodUid, "pod uid"
}
component_name! {
    /// A node's name, as the API server knows it.
    NodeName, "node name"
}

/// A driver's name: `vendor/driver` in manifests, `vendor~driver` on disk.
///
/// The vendor is optional, as in Kubernetes v1.37 `pkg/volume/flexvolume/probe.go`; the name is a Kubernetes
/// qualified name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DriverName(String);

impl DriverName {
    /// Accepts `vendor/driver` or `driver`.
    ///
    /// # Errors
    /// [`NameError::NotQualified`] if Kubernetes would reject the name.
    pub fn parse(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if is_qualified(&name) { Ok(Self(name)) } else { Err(NameError::NotQualified { name }) }
    }

    /// Accepts the name of a driver's directory, `vendor~driver`: every `~` stands for a slash.
    ///
    /// # Errors
    /// [`NameError::NotQualified`] if Kubernetes would reject the name.
    pub fn from_directory(directory: &str) -> Result<Self, NameError> {
        Self::parse(directory.replace('~', "/"))
    }

    /// `vendor/driver`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `vendor~driver`, the name of the driver's directory and of the directory of its volumes in a pod.
    #[must_use]
    pub fn directory(&self) -> String {
        self.0.replace('/', "~")
    }

    /// The file name of the driver's executable: what follows the slash.
    #[must_use]
    pub fn executable(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for DriverName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl TryFrom<String> for DriverName {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(name)
    }
}

impl From<DriverName> for String {
    fn from(name: DriverName) -> String {
        name.0
    }
}

fn is_qualified(name: &str) -> bool {
    let (vendor, driver) = match name.split_once('/') {
        Some((vendor, driver)) => (Some(vendor), driver),
        None => (None, name),
    };
    vendor.is_none_or(is_dns_subdomain) && is_qualified_part(driver)
}

fn is_dns_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        edge(label.as_bytes().first())
            && edge(label.as_bytes().last())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn is_qualified_part(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    name.len() <= 63
        && edge(name.as_bytes().first())
        && edge(name.as_bytes().last())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn drivers_are_accepted_and_refused_as_by_kubernetes() {
        for (directory, name, executable) in [
            ("foo~cifs", "foo/cifs", "cifs"),
            ("lvm", "lvm", "lvm"),
            ("foo~Bar", "foo/Bar", "Bar"),
            ("example.com~a_b-c.d", "example.com/a_b-c.d", "a_b-c.d"),
        ] {
            let driver = DriverName::from_directory(directory).unwrap();
            assert_eq!((driver.as_str(), driver.executable()), (name, executable));
            assert_eq!(driver.directory(), directory);
        }
        let long_vendor = format!("{}~x", "a.".repeat(127));
        let long_driver = format!("a~{}", "b".repeat(64));
        for directory in [
            "Foo~bar",
            "foo~-x",
            "a~b~c",
            "a b~c",
            "under_score~d",
            "~foo",
            "vendor~",
            "",
            "..",
            ".hidden",
            "a..b~c",
            "foo~bär",
            "foo~bar\n",
            &long_vendor,
            &long_driver,
        ] {
            assert!(DriverName::from_directory(directory).is_err(), "{directory}");
        }
    }

    #[test]
    fn a_name_stays_in_its_directory() {
        for name in ["", ".", "..", "a/b", "/", "a\0b", &"x".repeat(256)] {
            assert!(VolumeName::parse(name).is_err(), "{name:?}");
        }
        for name in ["data", "...", "a b", "new\nline", "-x", "ümläut", &"x".repeat(255)] {
            assert_eq!(VolumeName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let error = |name: &str| PodUid::parse(name).unwrap_err().to_string();
        assert_eq!(error(""), "pod uid is empty");
        assert_eq!(error("../x"), "pod uid \"../x\" cannot be one component of a path: it contains a slash");
        assert!(NodeName::parse("..").unwrap_err().to_string().starts_with("node name \"..\""));
        assert!(DriverName::parse("A/b").unwrap_err().to_string().starts_with("driver name \"A/b\" is not"));
    }

    #[test]
    fn what_is_read_from_json_is_checked_too() {
        assert!(serde_json::from_str::<VolumeName>(r#""../etc""#).is_err());
        assert!(serde_json::from_str::<DriverName>(r#""a/b/c""#).is_err());
        let name: VolumeName = serde_json::from_str(r#""data""#).unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), r#""data""#);
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_one_component(name in ".{0,10}|[./~a]{0,4}") {
            if let Ok(name) = VolumeName::parse(name) {
                let path = std::path::Path::new("/root").join(name.as_str());
                prop_assert_eq!(path.components().count(), 3);
                prop_assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(name.as_str()));
            }
        }

        #[test]
        fn a_driver_has_one_directory(name in "([a-z0-9.]{1,8}/)?[a-zA-Z0-9_.-]{1,8}") {
            if let Ok(driver) = DriverName::parse(name) {
                prop_assert_eq!(DriverName::from_directory(&driver.directory()), Ok(driver));
            }
        }
    }
}
