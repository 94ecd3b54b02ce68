//! Volumes and pods as the host sees them: validated, free of manifest types.

use std::collections::BTreeMap;

use flexvolume::{Access, PodUid, VolumeName};
use serde::{Deserialize, Serialize};

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// The persistent volume's name, or the pod volume's for an inline volume.
    pub name: VolumeName,
    /// `flexVolume.driver`, compared byte for byte with the names of the loaded drivers.
    pub driver: String,
    /// `flexVolume.fsType`; empty when open.
    pub fs_type: String,
    /// Read-only as the driver is told: for an inline volume `flexVolume.readOnly`, for a persistent volume the
    /// claim's `readOnly` (Kubernetes ignores the volume's own; the tolerant reading honours either).
    pub access: Access,
    /// `flexVolume.options`.
    pub options: BTreeMap<String, String>,
    /// `flexVolume.secretRef`.
    pub secret: Option<SecretReference>,
    /// Where the volume comes from.
    pub source: Source,
}

/// Where a volume comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The pod itself.
    Inline,
    /// A persistent volume.
    PersistentVolume {
        /// `spec.volumeMode`; `None` when the object does not say.
        mode: Option<VolumeMode>,
        /// `spec.capacity.storage` in bytes.
        capacity: Option<u64>,
    },
}

/// `spec.volumeMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the API's words")]
pub enum VolumeMode {
    Filesystem,
    Block,
}

/// `secretRef`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretReference {
    /// The namespace; `None` means the pod's.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// The pod that a volume is mounted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its uid.
    pub uid: PodUid,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// `spec.serviceAccountName`; may be empty.
    pub service_account: String,
}

/// `securityContext.fsGroupChangePolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the API's words")]
pub enum FsGroupChangePolicy {
    #[default]
    Always,
    OnRootMismatch,
}

/// How a volume is set up for a pod (the seed's `MounterArgs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MounterArguments {
    /// `securityContext.fsGroup`.
    pub fs_group: Option<i64>,
    /// `securityContext.fsGroupChangePolicy`.
    pub fs_group_change_policy: FsGroupChangePolicy,
}
