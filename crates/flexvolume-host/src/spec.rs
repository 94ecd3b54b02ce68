//! Volumes and pods as the host sees them: validated, free of manifest types.

use std::collections::BTreeMap;

use flexvolume::{Access, NameError, PodUid, VolumeName};
use serde::{Deserialize, Serialize};

use crate::Reading;

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

impl VolumeSpec {
    /// The name under which an **attachable** driver knows the volume: `kubernetes.io/pvOrVolumeName`, the argument
    /// of `detach`, and the last component of the device mount path.
    ///
    /// A persistent volume has its own name, which all pods share. An inline volume belongs to its pod, so the
    /// tolerant reading calls it `<pod uid>-<name>`: with the bare name, as the strict reading and Kubernetes have
    /// it, two pods' inline volumes of one name are one device (kubernetes/kubernetes#71400). The mount dir keeps
    /// the bare name in both.
    ///
    /// # Errors
    /// [`NameError`] when uid and name together are no path component any more.
    pub fn device_name(&self, pod: &PodUid, reading: Reading) -> Result<VolumeName, NameError> {
        match (&self.source, reading) {
            (Source::PersistentVolume { .. }, _) | (Source::Inline, Reading::Strict) => Ok(self.name.clone()),
            (Source::Inline, Reading::Tolerant) => VolumeName::parse(format!("{pod}-{}", self.name)),
        }
    }
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
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// No word of the API's: the driver, which is told the group, does it all.
    Never,
}

/// How a volume is set up for a pod (the seed's `MounterArgs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MounterArguments {
    /// `securityContext.fsGroup`.
    pub fs_group: Option<i64>,
    /// `securityContext.fsGroupChangePolicy`.
    pub fs_group_change_policy: FsGroupChangePolicy,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(source: Source) -> VolumeSpec {
        VolumeSpec {
            name: VolumeName::parse("data").unwrap(),
            driver: "example.com/loop".to_owned(),
            fs_type: String::new(),
            access: Access::ReadWrite,
            options: BTreeMap::new(),
            secret: None,
            source,
        }
    }

    #[test]
    fn only_inline_volumes_of_the_tolerant_reading_are_named_by_their_pod() {
        let pod = PodUid::parse("uid-1").unwrap();
        let persistent = Source::PersistentVolume { mode: None, capacity: None };
        let name = |source, reading| spec(source).device_name(&pod, reading).unwrap().to_string();
        assert_eq!(name(Source::Inline, Reading::Tolerant), "uid-1-data");
        assert_eq!(name(Source::Inline, Reading::Strict), "data");
        assert_eq!(name(persistent.clone(), Reading::Tolerant), "data");
        assert_eq!(name(persistent, Reading::Strict), "data");
    }

    #[test]
    fn a_name_that_grows_too_long_is_refused() {
        let pod = PodUid::parse("u".repeat(200)).unwrap();
        let long = VolumeSpec { name: VolumeName::parse("v".repeat(60)).unwrap(), ..spec(Source::Inline) };
        long.device_name(&pod, Reading::Tolerant).unwrap_err();
        long.device_name(&pod, Reading::Strict).unwrap();
    }
}
