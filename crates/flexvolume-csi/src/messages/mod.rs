//! The messages of the Container Storage Interface (`csi.v1`, v1.12) and of kubelet's plugin registration, as far as the
//! bridge knows them. Fields that came later are skipped when read; unions are two optional fields, which are the same
//! bytes.
#![expect(missing_docs, reason = "messages and fields are those of the specification, under its names")]

mod controller;
mod identity;
mod node;
mod registration;

use std::collections::BTreeMap;
use std::fmt;

use flexvolume_host::contract::Secret;

pub use self::controller::*;
pub use self::identity::*;
pub use self::node::*;
pub use self::registration::*;

/// Secrets as they come: taken out before anything else is done with a request.
pub type SecretStrings = BTreeMap<String, String>;

/// Takes secrets out of a request, so that nothing that is later done with it can show them.
pub(crate) fn take_secrets(strings: &mut SecretStrings) -> BTreeMap<String, Secret> {
    std::mem::take(strings).into_iter().map(|(key, value)| (key, Secret::new(value.into_bytes()))).collect()
}

/// The name of a capability of a volume.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct VolumeCapability {
    #[prost(message, optional, tag = "1")]
    pub block: Option<BlockVolume>,
    #[prost(message, optional, tag = "2")]
    pub mount: Option<MountVolume>,
    #[prost(message, optional, tag = "3")]
    pub access_mode: Option<AccessMode>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BlockVolume {}

/// Mount flags can hold passwords: no debug print.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct MountVolume {
    #[prost(string, tag = "1")]
    pub fs_type: String,
    #[prost(string, repeated, tag = "2")]
    pub mount_flags: Vec<String>,
    #[prost(string, tag = "3")]
    pub volume_mount_group: String,
}

impl fmt::Debug for MountVolume {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("MountVolume").field("fs_type", &self.fs_type).finish_non_exhaustive()
    }
}

impl fmt::Debug for VolumeCapability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("VolumeCapability").field("mount", &self.mount).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AccessMode {
    #[prost(enumeration = "Mode", tag = "1")]
    pub mode: i32,
}

/// Who may use a volume at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Mode {
    Unknown = 0,
    SingleNodeWriter = 1,
    SingleNodeReaderOnly = 2,
    MultiNodeReaderOnly = 3,
    MultiNodeSingleWriter = 4,
    MultiNodeMultiWriter = 5,
    SingleNodeSingleWriter = 6,
    SingleNodeMultiWriter = 7,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CapacityRange {
    #[prost(int64, tag = "1")]
    pub required_bytes: i64,
    #[prost(int64, tag = "2")]
    pub limit_bytes: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Topology {
    #[prost(btree_map = "string, string", tag = "1")]
    pub segments: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests;
