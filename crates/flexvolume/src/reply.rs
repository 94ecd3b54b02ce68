//! The document that a driver answers with.

use serde::{Deserialize, Serialize};

use crate::{Capacity, Finding, VolumeDescription};

/// How a call-out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It is done, or was so already.
    Success,
    /// It is not done; the message says why.
    Failure,
    /// The driver leaves this call-out to the host.
    #[serde(rename = "Not supported")]
    NotSupported,
}

/// What a driver declares at `init`.
///
/// The default is what Kubernetes assumes for each key that is absent
/// (Kubernetes v1.37 `pkg/volume/flexvolume/driver-call.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// The driver takes part in attach, waitforattach, mountdevice, unmountdevice, detach. Default true.
    pub attach: bool,
    /// The container runtime may relabel the volume for SELinux. Default true.
    pub selinux_relabel: bool,
    /// The mount dir's `statfs` figures are the volume's. Default false.
    pub supports_metrics: bool,
    /// The host changes group and mode of all files to the pod's fsGroup. Default true.
    pub fs_group: bool,
    /// After a volume has grown the host calls `expandfs`. Default true.
    #[serde(rename = "requiresFSResize")]
    pub requires_fs_resize: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            attach: true,
            selinux_relabel: true,
            supports_metrics: false,
            fs_group: true,
            requires_fs_resize: true,
        }
    }
}

/// The one JSON document on a driver's standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// How the call-out ended.
    pub status: Status,
    /// Why, for a person; empty when there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The device, in answer to `attach` and `waitforattach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The cluster-wide name, in answer to `getvolumename`.
    #[serde(default, rename = "volumeName", skip_serializing_if = "Option::is_none")]
    pub volume_name: Option<String>,
    /// In answer to `isattached`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<bool>,
    /// In answer to `init`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// The size in bytes, in answer to `expandvolume`.
    #[serde(default, rename = "volumeNewSize", skip_serializing_if = "Option::is_none")]
    pub new_size: Option<u64>,
    /// In answer to `createvolume` and `deletevolume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Box<VolumeDescription>>,
    /// In answer to `listvolumes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<VolumeDescription>>,
    /// In answer to `getcapacity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Box<Capacity>>,
    /// In answer to `diagnose`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Vec<Finding>>,
}

impl Reply {
    /// It is done.
    #[must_use]
    pub fn success() -> Self {
        Self::new(Status::Success, String::new())
    }

    /// It is not done.
    #[must_use]
    pub fn failure(why: impl Into<String>) -> Self {
        Self::new(Status::Failure, why.into())
    }

    /// The host uses its default.
    #[must_use]
    pub fn not_supported() -> Self {
        Self::new(Status::NotSupported, String::new())
    }

    fn new(status: Status, message: String) -> Self {
        Self {
            status,
            message,
            device: None,
            volume_name: None,
            attached: None,
            capabilities: None,
            new_size: None,
            volume: None,
            volumes: None,
            capacity: None,
            findings: None,
        }
    }

    /// The document, on one line without a line end.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and booleans under fixed keys: there is nothing that could fail.
        serde_json::to_string(self).unwrap_or_else(|_| r#"{"status":"Failure"}"#.to_owned())
    }
}
