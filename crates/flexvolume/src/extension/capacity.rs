//! What a pool can hold.

use serde::{Deserialize, Serialize};

/// The room of one pool in bytes, in answer to `getcapacity`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// The directory, the volume group, or `group/thin pool`.
    pub pool: String,
    /// All that the pool's disk has.
    pub total: u64,
    /// What a new volume can have at most: what is free, less what is promised to volumes that exist.
    pub free: u64,
    /// The sum of the sizes of volumes whose space is set aside for them.
    #[serde(default)]
    pub reserved: u64,
    /// The sizes of thin volumes, and what they take so far. More can be promised than there is.
    #[serde(default)]
    pub thin: Fill,
    /// The room for the pool's own bookkeeping, where it can run out before the data does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Fill>,
    /// The smallest volume, if there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_volume: Option<u64>,
    /// Sizes are rounded up to multiples of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granularity: Option<u64>,
    /// What somebody should do something about, such as thin volumes that are promised more than there is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How full something is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fill {
    /// How much there is, or is promised.
    pub total: u64,
    /// How much of it is taken.
    pub used: u64,
}
