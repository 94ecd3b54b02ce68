//! What this node knows of the way to a disk, written before we act.

use serde::{Deserialize, Serialize};

use super::key::Pass;
use super::request::IscsiRequest;
use super::target::{Portal, Target};
use crate::remote_disk;

/// One disk on this node.
pub(crate) type Record = remote_disk::Record<DiskLink>;
/// All records of this node.
pub(crate) type Shelf = remote_disk::Shelf<Target, DiskLink>;

/// The way to a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiskLink {
    portals: Vec<String>,
    /// Which session it is.
    pub(crate) interface: String,
    pub(crate) reconnect_timeout: u64,
    /// Which disk of the world it is: noted when this node first had it, and compared from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<Identity>,
    /// Something of it is here, or was about to be: a session, a device, a key at the disk.
    pub(crate) connected: bool,
    /// Which attachment it is, and which ones are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pass: Option<Pass>,
    /// The key of the pass is at the disk, or was about to be.
    pub(crate) reserved: bool,
    /// When the server was found gone, in seconds since 1970; gone when it is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lost_since: Option<u64>,
}

/// Which disk of the world a volume is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) wwid: String,
    pub(crate) volume: String,
}

impl DiskLink {
    fn new(request: &IscsiRequest) -> Self {
        Self {
            portals: request.portals.iter().map(ToString::to_string).collect(),
            interface: request.interface.clone(),
            reconnect_timeout: request.reconnect_timeout.as_secs(),
            identity: None,
            connected: false,
            pass: None,
            reserved: false,
            lost_since: None,
        }
    }

    /// Where the target may be.
    pub(crate) fn portals(&self) -> Vec<Portal> {
        self.portals.iter().filter_map(|portal| Portal::parse(portal).ok()).collect()
    }
}

/// The record of a disk, with what an earlier one knew.
pub(crate) fn renewed(request: &IscsiRequest, known: Option<Record>) -> Record {
    let mut record = Record::new(&request.volume, &request.target, DiskLink::new(request));
    let Some(known) = known else { return record };
    record.contents = known.contents;
    record.grow = known.grow;
    record.mounted_at = known.mounted_at;
    record.link.identity = known.link.identity;
    record.link.pass = known.link.pass.filter(|_| known.volume == request.volume);
    record.link.reserved = known.link.reserved;
    record.link.connected = known.link.connected;
    record
}
