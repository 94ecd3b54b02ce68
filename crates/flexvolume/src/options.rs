//! The JSON map of options that goes with most call-outs.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value;
use thiserror::Error;

use crate::quantity::BytesError;
use crate::{Bytes, PodUid, Secret};

mod render;
mod reserved;

pub use render::{Encoding, FsGroupKeys, Rendering, ReservedKeys};

/// Whether the volume may be written (`kubernetes.io/readwrite`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Access {
    /// `rw`.
    #[default]
    ReadWrite,
    /// `ro`.
    ReadOnly,
}

/// The pod that a `mount` is for (`kubernetes.io/pod.*`, `kubernetes.io/serviceAccount.name`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodReference {
    /// `kubernetes.io/pod.name`.
    pub name: String,
    /// `kubernetes.io/pod.namespace`.
    pub namespace: String,
    /// `kubernetes.io/pod.uid`.
    pub uid: String,
    /// `kubernetes.io/serviceAccount.name`; may be empty.
    pub service_account: String,
}

/// The options of one call-out: the keys that Kubernetes reserves, typed; secrets, decoded and apart; and what the
/// manifest says, verbatim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `kubernetes.io/fsType`; empty when the manifest leaves it open.
    pub fs_type: String,
    /// `kubernetes.io/readwrite`.
    pub access: Access,
    /// `kubernetes.io/pvOrVolumeName`: the persistent volume's name, or the pod's name for an inline volume.
    pub volume_name: String,
    /// Present at `mount` only.
    pub pod: Option<PodReference>,
    /// Present at `mount` only, when the pod sets `securityContext.fsGroup`; both spellings are understood.
    pub fs_group: Option<i64>,
    /// `kubernetes.io/secret/<key>`, decoded; at `mount` only.
    pub secrets: BTreeMap<String, Secret>,
    /// The options of the manifest, and reserved keys that this version does not know.
    pub user: BTreeMap<String, String>,
}

/// Why options cannot be used. Names the key, never holds a value of the map.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The argument is not JSON, or not an object.
    #[error("the options are not a JSON object of strings: {0}")]
    Json(String),
    /// A value is not of its type.
    #[error("option {key:?}: {why}")]
    Value {
        /// The key.
        key: String,
        /// What was expected.
        why: &'static str,
    },
    /// A size cannot be read.
    #[error("option {key:?}: {why}")]
    Size {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: BytesError,
    },
    /// The driver needs an option that the manifest does not give.
    #[error("option {key:?} is missing; add it to `flexVolume.options` of the volume")]
    Missing {
        /// The key.
        key: String,
    },
    /// The driver needs a key of the Secret that is not there.
    #[error("secret key {key:?} is missing; add it to the Secret that `flexVolume.secretRef` names")]
    MissingSecret {
        /// The key.
        key: String,
    },
    /// The manifest gives an option that the driver does not have: a slip, most likely.
    #[error("option {key:?} is not known to this driver; it knows {known}")]
    Unknown {
        /// The key.
        key: String,
        /// What the driver knows, as a list.
        known: String,
    },
}

impl Options {
    /// Reads the map as a driver receives it. Where a key stands twice the last one counts, as in Go.
    ///
    /// # Errors
    /// [`OptionsError`] names the key, never the value.
    pub fn parse(json: &str) -> Result<Self, OptionsError> {
        // Errors of serde_json about syntax quote nothing of the text; errors about types would, hence `Value` first.
        let value: Value =
            serde_json::from_str(json).map_err(|error| OptionsError::Json(error.to_string()))?;
        let Value::Object(map) = value else {
            return Err(OptionsError::Json("not an object".to_owned()));
        };
        let mut options = Self::default();
        for (key, value) in map {
            let Value::String(value) = value else {
                return Err(OptionsError::Value {
                    key,
                    why: "is not a string; every value must be one, so put it in quotes",
                });
            };
            options.insert(key, value)?;
        }
        Ok(options)
    }

    /// An option of the manifest, `None` when absent or empty.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.user.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// An option of the manifest that must be there.
    ///
    /// # Errors
    /// [`OptionsError::Missing`] when it is absent or empty.
    pub fn require(&self, key: &str) -> Result<&str, OptionsError> {
        self.get(key).ok_or_else(|| OptionsError::Missing { key: key.to_owned() })
    }

    /// An option of the manifest as a `T`, `None` when absent or empty. `expected` completes the sentence
    /// "option "port" …", such as `is not a port number`.
    ///
    /// # Errors
    /// [`OptionsError::Value`] when it cannot be read as a `T`.
    pub fn parsed<T: FromStr>(&self, key: &str, expected: &'static str) -> Result<Option<T>, OptionsError> {
        let wrong = || OptionsError::Value { key: key.to_owned(), why: expected };
        self.get(key).map(|value| value.parse().map_err(|_| wrong())).transpose()
    }

    /// A yes-or-no option of the manifest, `None` when absent or empty.
    ///
    /// # Errors
    /// [`OptionsError::Value`] when it is neither `true` nor `false`.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, OptionsError> {
        self.parsed(key, "is neither \"true\" nor \"false\"")
    }

    /// The size of a volume as a Kubernetes quantity such as `64Mi`, `None` when absent or empty; read by
    /// [`Bytes::parse_size`].
    ///
    /// # Errors
    /// [`OptionsError::Size`].
    pub fn size(&self, key: &str) -> Result<Option<Bytes>, OptionsError> {
        let wrong = |why| OptionsError::Size { key: key.to_owned(), why };
        self.get(key).map(|value| Bytes::parse_size(value).map_err(wrong)).transpose()
    }

    /// The size of a volume, which must be there; read by [`Bytes::parse_size`].
    ///
    /// # Errors
    /// [`OptionsError::Missing`], [`OptionsError::Size`].
    pub fn require_size(&self, key: &str) -> Result<Bytes, OptionsError> {
        self.size(key)?.ok_or_else(|| OptionsError::Missing { key: key.to_owned() })
    }

    /// A key of the volume's Secret that must be there. Only `mount` ever gets secrets.
    ///
    /// # Errors
    /// [`OptionsError::MissingSecret`].
    pub fn require_secret(&self, key: &str) -> Result<&Secret, OptionsError> {
        self.secrets.get(key).ok_or_else(|| OptionsError::MissingSecret { key: key.to_owned() })
    }

    /// Refuses an option of the manifest that is not in `known`. Keys that begin with `kubernetes.io/` pass: a newer
    /// host may add some.
    ///
    /// # Errors
    /// [`OptionsError::Unknown`] names the first such key and what there is instead.
    pub fn allow_only(&self, known: &[&str]) -> Result<(), OptionsError> {
        let foreign = |key: &&String| !key.starts_with(reserved::PREFIX) && !known.contains(&key.as_str());
        match self.user.keys().find(foreign) {
            Some(key) => Err(OptionsError::Unknown { key: key.clone(), known: known.join(", ") }),
            None => Ok(()),
        }
    }

    /// The pod's uid, when the map names a pod.
    #[must_use]
    pub fn pod_uid(&self) -> Option<PodUid> {
        self.pod.as_ref().and_then(|pod| PodUid::parse(pod.uid.clone()).ok())
    }
}

#[cfg(test)]
mod tests;
