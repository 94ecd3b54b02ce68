//! The JSON map of options that goes with most call-outs.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{PodUid, Secret};

/// Whether the volume may be written (`kubernetes.io/readwrite`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// `rw`.
    #[default]
    ReadWrite,
    /// `ro`.
    ReadOnly,
}

/// The pod that a `mount` is for (`kubernetes.io/pod.*`, `kubernetes.io/serviceAccount.name`).
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// How the map is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Byte for byte what Go's `encoding/json` writes, and so what Kubernetes passes.
    Kubernetes,
    /// The same value with white space and control characters inside strings written as `\u00XX`, so that it
    /// survives a shell driver's unquoted `$*` and dash's `echo`.
    Escaped,
}

/// Which spellings of the fsGroup key are written.
///
/// Kubernetes sends `kubernetes.io/mounterArgs.FsGroup` since 1.15 and sent `kubernetes.io/fsGroup` before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `kubernetes.io/fsType`; empty when the manifest leaves it open.
    pub fs_type: String,
    /// `kubernetes.io/readwrite`.
    pub access: Access,
    /// `kubernetes.io/pvOrVolumeName`.
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

/// Why a text is not a map of options. Never holds a value of the map.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The argument is not JSON.
    #[error("the options are not a JSON object of strings: {0}")]
    Json(String),
    /// A value is not of its type.
    #[error("option {key}: {why}")]
    Value {
        /// The key.
        key: String,
        /// What was expected.
        why: &'static str,
    },
}

impl Options {
    /// Reads the map as a driver receives it.
    ///
    /// # Errors
    /// [`OptionsError`] names the key, never the value.
    pub fn parse(json: &str) -> Result<Self, OptionsError> {
        todo!("{json}")
    }

    /// Writes the map for a driver: compact, keys sorted by bytes, an option of the manifest wins over a reserved
    /// key of the same name (as in Kubernetes v1.37 `pkg/volume/flexvolume/driver-call.go`).
    #[must_use]
    pub fn to_json(&self, encoding: Encoding) -> String {
        todo!("{encoding:?}")
    }

    /// An option of the manifest, `None` when absent or empty.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.user.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The pod's uid, when the map names a pod.
    #[must_use]
    pub fn pod_uid(&self) -> Option<PodUid> {
        self.pod.as_ref().and_then(|pod| PodUid::parse(pod.uid.clone()).ok())
    }
}
