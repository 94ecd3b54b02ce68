//! What a driver says of one volume.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A volume as its driver knows it, in answer to `createvolume`, `deletevolume` and `listvolumes`.
///
/// Sizes are bytes. What does not apply or cannot be known is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeDescription {
    /// The volume's id in its pool: what `kubernetes.io/pvOrVolumeName` must hold to mean it.
    pub id: String,
    /// Where it lies: the directory, the volume group, or `group/thin pool`.
    #[serde(default)]
    pub pool: String,
    /// Where it stands.
    #[serde(default)]
    pub state: VolumeState,
    /// How it is kept, in the driver's word: `reserved`, `thin`, `linear`, `striped`, `raid1`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What it takes in its pool at the moment; less than the size for a thin volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// The file system on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fs_type: String,
    /// The file system's UUID.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// Whose it is: the driver that made it, as it stands in the driver's record. Another one's is never touched.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// When it was made, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// The volume that it was made from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Its file or device on this node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// Where this node has its file system mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<String>,
    /// What keeps it from being deleted, one text for each user: `mounted at /…`, `attached as /dev/loop3`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_use_by: Vec<String>,
    /// Why nobody seems to need it, or nobody can use it. Absent for a volume like any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orphan: Option<Orphan>,
    /// For a person: what else is worth knowing, such as why its state cannot be known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The `options` with which a manifest names this volume, its `fsType` apart.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// Where a volume stands, in the same words for every driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeState {
    /// Being made: nobody has used it.
    Creating,
    /// In use, or ready for use.
    Ready,
    /// Being removed: its data is given up. Space that is still being erased is in this state too.
    Removing,
    /// It cannot be known; the note says why.
    #[default]
    #[serde(other)]
    Unknown,
}

impl VolumeState {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Removing => "removing",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a volume is an orphan.
///
/// `deletevolume` takes such a volume only if the option `orphan` says the same word, and only if it is still true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Orphan {
    /// Data of which no record (tag) of the driver tells.
    NoRecord,
    /// A record whose data is missing.
    NoData,
    /// The pod that it was made for has no directory on this node any more.
    PodGone,
    /// What an interrupted creation has left.
    HalfMade,
    /// What an interrupted removal has left.
    HalfRemoved,
    /// A reason that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Orphan {
    /// All that have a name of their own.
    pub const ALL: [Self; 5] =
        [Self::NoRecord, Self::NoData, Self::PodGone, Self::HalfMade, Self::HalfRemoved];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRecord => "noRecord",
            Self::NoData => "noData",
            Self::PodGone => "podGone",
            Self::HalfMade => "halfMade",
            Self::HalfRemoved => "halfRemoved",
            Self::Unknown => "unknown",
        }
    }

    /// The reason of this exact spelling; `None` also for "unknown", which nothing can be deleted by.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}
