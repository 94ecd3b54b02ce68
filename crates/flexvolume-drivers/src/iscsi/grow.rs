//! Growth: the target's administrator enlarges the disk, and this follows.

use std::time::Duration;

use flexvolume_os::failpoint::hit;

use super::error::{IscsiError, Result, of_network};
use super::link::{Connected, Node};
use super::request::IscsiRequest;
use super::session::reach;
use crate::remote_disk::{DiskError, Grow, fill_mounted};

const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the device as large as the disk, which must have at least `wanted` bytes; answers its size.
pub(crate) fn grow(node: Node<'_>, request: &IscsiRequest, wanted: u64, which: Grow) -> Result<u64> {
    let target = &request.target;
    let _lock = node.shelf.lock(target)?;
    let mut connected = node.connected(target)?;
    reach(&request.portals, PATIENCE).map_err(of_network(target))?;
    let size = follow(node, request, &mut connected, wanted)?;
    if which == Grow::Both {
        fill_mounted(node.system, request.file_system.fs_type, &connected.device, target)?;
    }
    Ok(size)
}

fn follow(node: Node<'_>, request: &IscsiRequest, connected: &mut Connected, wanted: u64) -> Result<u64> {
    let size = |connected: &Connected| connected.disk.size().unwrap_or_default();
    if size(connected) < wanted {
        node.ask_anew(&request.target, &connected.disk, &connected.device)?;
        hit("iscsi.rescanned");
        node.identify(request, &mut connected.record, &connected.disk)?;
    }
    match size(connected) {
        size if size < wanted => {
            Err(not_grown(request, format!("has {size} bytes: enlarge it to {wanted} at the target first")))
        }
        size => Ok(size),
    }
}

fn not_grown(request: &IscsiRequest, why: String) -> IscsiError {
    DiskError::NotGrown { subject: request.target.to_string(), why }.into()
}
