//! What the books hold.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flexvolume_host::contract::{PodUid, VolumeName};
use serde::{Deserialize, Serialize};

use crate::book::Entry;

/// A volume at a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) volume_id: String,
    pub(crate) target: PathBuf,
    pub(crate) pod: PodUid,
    pub(crate) volume: VolumeName,
    /// What was asked for, in short; secrets and what changes from call to call are not part of it.
    pub(crate) terms: String,
    /// `SINGLE_NODE_SINGLE_WRITER`.
    pub(crate) alone: bool,
    /// The device belongs to the pod's volume, not to a stage.
    pub(crate) ephemeral: bool,
}

impl Entry for Published {
    fn key(&self) -> String {
        self.target.to_string_lossy().into_owned()
    }
}

/// A device that was made ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagedVolume {
    pub(crate) volume_id: String,
    pub(crate) staging_path: PathBuf,
    pub(crate) device: VolumeName,
    pub(crate) device_mount_path: PathBuf,
    pub(crate) terms: String,
}

impl Entry for StagedVolume {
    fn key(&self) -> String {
        self.volume_id.clone()
    }
}

/// A volume that the bridge has provisioned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Provisioned {
    pub(crate) volume_id: String,
    pub(crate) capacity: i64,
    pub(crate) parameters: BTreeMap<String, String>,
    /// The volume's attributes, as the driver will get them.
    pub(crate) context: BTreeMap<String, String>,
    /// The driver has been told, and has answered.
    pub(crate) made: bool,
}

impl Entry for Provisioned {
    fn key(&self) -> String {
        self.volume_id.clone()
    }
}

/// A volume that a controller has attached to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttachedVolume {
    pub(crate) volume_id: String,
    pub(crate) node: String,
    pub(crate) volume: VolumeName,
    pub(crate) terms: String,
    /// The driver's answer; `None` while nobody knows.
    pub(crate) device: Option<String>,
}

impl Entry for AttachedVolume {
    fn key(&self) -> String {
        format!("{}\n{}", self.volume_id, self.node)
    }
}
